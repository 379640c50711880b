/* Values by path: msg["PID-5.1"] and its relatives. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hl7/delims.h"
#include "hl7/escape.h"

#define STACK_BYTES 1024
#define CREATE_MAX  1000u /* segments that one assignment may create */

/* A leaf of a message that is not in UTF-8. */
static void push_decoded(lua_State *L, struct ln_lmessage *u, struct ln_span leaf)
{
    char local[STACK_BYTES];
    struct ln_text text = ln_lmessage_text(u);
    size_t room = ln_text_room(leaf);
    if (room <= sizeof local) {
        lua_pushlstring(L, local, ln_text_read(&text, leaf, local));
        return;
    }
    char *p = ln_lmessage_scratch(L, room);
    lua_pushlstring(L, p, ln_text_read(&text, leaf, p));
    lua_remove(L, -2);
}

void ln_lmessage_push_leaf(lua_State *L, struct ln_lmessage *u, struct ln_span leaf)
{
    const struct ln_delims *d = &u->m.delims;
    if (leaf.len == 0) {
        lua_pushnil(L);
    } else if (u->m.charset.kind > LN_CHARSET_ASCII) {
        push_decoded(L, u, leaf);
    } else if (!d->escape || !memchr(leaf.ptr, d->escape, leaf.len)) {
        lua_pushlstring(L, leaf.ptr, leaf.len);
    } else if (leaf.len <= STACK_BYTES) {
        char local[STACK_BYTES];
        lua_pushlstring(L, local, ln_unescape(d, leaf, local));
    } else {
        char *p = ln_lmessage_scratch(L, leaf.len);
        lua_pushlstring(L, p, ln_unescape(d, leaf, p));
        lua_remove(L, -2);
    }
}

/* Pushes a leaf of a part; MSH-2 holds the escape character and is never unescaped. */
static void push_part(lua_State *L, struct ln_lmessage *u, uint32_t slot,
                      const struct ln_part *part)
{
    struct ln_span leaf;
    int rc = ln_field_leaf(&u->m, slot, part, &leaf);
    if (rc)
        ln_lmessage_raise(L, rc, NULL);
    if (u->m.seg[slot].header && part->field <= 2 && leaf.len)
        lua_pushlstring(L, leaf.ptr, leaf.len);
    else
        ln_lmessage_push_leaf(L, u, leaf);
}

static void path_arg(lua_State *L, int idx, struct ln_path *path)
{
    struct ln_err err;
    struct ln_span s;
    s.ptr = luaL_checklstring(L, idx, &s.len);
    if (ln_path_parse(s, path, &err))
        luaL_error(L, "%s", err.text);
}

static struct ln_span name_of(const struct ln_path *path)
{
    return ln_span(path->name, path->name_len);
}

struct ln_part ln_lmessage_part(const struct ln_path *p)
{
    struct ln_part part = {p->field, p->repetition, p->component, p->subcomponent};
    if (!part.repetition && part.component)
        part.repetition = 1;
    return part;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* A segment that is not there: its name must be one that could be, or it is a slip of the pen. A
 * message with such names itself can be asked for them. */
static void check_name(lua_State *L, const struct ln_path *path)
{
    const char *name = path->name;
    char upper[LN_PATH_NAME_MAX + 1];
    size_t n = 0;
    bool capitals = true;
    for (; name[n]; n++) {
        bool small = name[n] >= 'a' && name[n] <= 'z';
        capitals = capitals && !small;
        upper[n] = small ? (char)(name[n] - 'a' + 'A') : name[n];
    }
    upper[n] = '\0';
    if (!capitals)
        luaL_error(L, "no segment is named '%s': names are written in capitals, '%s'", name, upper);
}

/* "PID", "OBX[2]": a handle, or nil. What looks like no segment name is a slip of the pen. */
static int get_segment(lua_State *L, struct ln_lmessage *u, const struct ln_path *path)
{
    uint32_t slot = ln_message_find(&u->m, name_of(path), path->segment);
    if (slot != LN_NO_SEGMENT) {
        ln_lhandle_push(L, u, LN_SEGMENT, slot, (struct ln_part){0});
        return 1;
    }
    if (path->name[strspn(path->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")] ||
        (path->name[0] >= '0' && path->name[0] <= '9'))
        return luaL_error(L,
                          "a message has no '%s': it is indexed by a path (\"PID-5.1\"), a segment "
                          "name or a method's name",
                          path->name);
    lua_pushnil(L);
    return 1;
}

int ln_lmessage_get(lua_State *L, struct ln_lmessage *u)
{
    struct ln_path path;
    path_arg(L, 2, &path);
    if (ln_path_many(&path))
        return luaL_error(L, "\"%s\" names several values: use msg:all(path)", lua_tostring(L, 2));
    if (!path.field)
        return get_segment(L, u, &path);
    uint32_t slot = ln_message_find(&u->m, name_of(&path), path.segment);
    struct ln_part part = {path.field, path.repetition, path.component, path.subcomponent};
    if (slot == LN_NO_SEGMENT) {
        check_name(L, &path);
        lua_pushnil(L);
    } else {
        push_part(L, u, slot, &part);
    }
    return 1;
}

void ln_lmessage_push_segment(lua_State *L, struct ln_lmessage *u, uint32_t slot)
{
    const struct ln_segment *s = &u->m.seg[slot];
    if (!s->edits) { /* nothing to be put together: no second copy of what may be 50 MB */
        lua_pushlstring(L, s->ptr, s->len);
        return;
    }
    size_t len = ln_message_segment_len(&u->m, slot);
    char *p = ln_lmessage_scratch(L, len);
    ln_message_segment(&u->m, slot, p);
    lua_pushlstring(L, p, len);
    lua_remove(L, -2);
}

int ln_lmessage_raw(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_path path;
    struct ln_span out = {0};
    path_arg(L, 2, &path);
    if (ln_path_many(&path))
        return luaL_error(L, "\"%s\" names several values: raw takes one", lua_tostring(L, 2));
    uint32_t slot = ln_message_find(&u->m, name_of(&path), path.segment);
    if (slot != LN_NO_SEGMENT && !path.field) {
        ln_lmessage_push_segment(L, u, slot);
        return 1;
    }
    struct ln_part part = ln_lmessage_part(&path);
    if (slot == LN_NO_SEGMENT)
        check_name(L, &path);
    if (slot != LN_NO_SEGMENT && ln_field_get(&u->m, slot, &part, &out))
        return ln_lmessage_raise(L, LN_ENOMEM, NULL);
    if (out.len)
        lua_pushlstring(L, out.ptr, out.len);
    else
        lua_pushnil(L);
    return 1;
}

/* How many repetitions a field has. */
static uint32_t repetitions(struct ln_lmessage *u, uint32_t slot, uint32_t field)
{
    struct ln_span text;
    struct ln_part whole = {.field = field};
    if (ln_field_get(&u->m, slot, &whole, &text) || !text.len)
        return 0;
    bool one = u->m.seg[slot].header && field <= 2;
    return one ? 1 : ln_field_pieces(&u->m.charset, text, u->m.delims.repetition);
}

/* Appends the values of one segment to the list on top. A field with many repetitions is walked
 * from its start for each: cut it once instead. */
static void all_of(lua_State *L, struct ln_lmessage *u, uint32_t slot, const struct ln_path *path,
                   int *n)
{
    struct ln_part part = {path->field, path->repetition, path->component, path->subcomponent};
    if (!path->field) {
        ln_lhandle_push(L, u, LN_SEGMENT, slot, (struct ln_part){0});
        lua_rawseti(L, -2, ++*n);
        return;
    }
    if (path->repetition != LN_PATH_ALL) {
        push_part(L, u, slot, &part);
        if (lua_isnil(L, -1))
            lua_pop(L, 1);
        else
            lua_rawseti(L, -2, ++*n);
        return;
    }
    const struct ln_delims *d = &u->m.delims;
    const struct ln_charset *cs = &u->m.charset;
    struct ln_span text, rep;
    struct ln_part whole = {.field = path->field};
    uint32_t left = repetitions(u, slot, path->field);
    if (!left || ln_field_get(&u->m, slot, &whole, &text))
        return;
    for (; left; left--) {
        rep = left > 1 ? ln_field_piece(cs, text, d->repetition, 1) : text;
        text = ln_span(rep.ptr + rep.len + 1, text.len - rep.len - (left > 1));
        if (!(u->m.seg[slot].header && path->field <= 2)) {
            rep = ln_field_piece(cs, rep, d->component, path->component ? path->component : 1);
            if (rep.ptr)
                rep = ln_field_piece(cs, rep, d->subcomponent,
                                     path->subcomponent ? path->subcomponent : 1);
        }
        if (!rep.len)
            continue;
        ln_lmessage_push_leaf(L, u, rep);
        lua_rawseti(L, -2, ++*n);
    }
}

int ln_lmessage_all(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_path path;
    int n = 0;
    path_arg(L, 2, &path);
    struct ln_span name = name_of(&path);
    lua_newtable(L);
    if (path.segment != LN_PATH_ALL && (path.field || strchr(lua_tostring(L, 2), '['))) {
        uint32_t slot = ln_message_find(&u->m, name, path.segment);
        if (slot != LN_NO_SEGMENT)
            all_of(L, u, slot, &path, &n);
        return 1;
    }
    for (uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT); s != LN_NO_SEGMENT;
         s = ln_message_next(&u->m, name, s))
        all_of(L, u, s, &path, &n);
    return 1;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static void set_bytes(lua_State *L, struct ln_lmessage *u, uint32_t slot,
                      const struct ln_part *part, struct ln_span v, bool escape)
{
    struct ln_err err = {0};
    int rc = ln_field_set(&u->m, slot, part, v, escape, &err);
    if (rc)
        ln_lmessage_raise(L, rc, &err);
}

/* Text that a message's set writes in bytes of its own. */
static void set_encoded(lua_State *L, struct ln_lmessage *u, uint32_t slot,
                        const struct ln_part *part, struct ln_span v)
{
    struct ln_text text = ln_lmessage_text(u);
    struct ln_err err = {0};
    size_t len;
    int rc = ln_text_write(&text, v, NULL, &len, &err);
    if (rc)
        ln_lmessage_raise(L, rc, &err);
    char *p = ln_lmessage_scratch(L, len);
    rc = ln_text_write(&text, v, p, &len, &err);
    if (rc)
        ln_lmessage_raise(L, rc, &err);
    set_bytes(L, u, slot, part, ln_span(p, len), false);
}

static void set(lua_State *L, struct ln_lmessage *u, uint32_t slot, const struct ln_part *part,
                struct ln_span v, bool escape)
{
    struct ln_span before = {0};
    bool name = part->field == 18 && u->m.seg[slot].header && slot == u->m.first;
    if (name) { /* kept, since the message may point elsewhere afterwards */
        if (ln_field_get(&u->m, slot, &(struct ln_part){.field = 18}, &before))
            ln_lmessage_raise(L, LN_ENOMEM, NULL);
        lua_pushlstring(L, before.ptr ? before.ptr : "", before.len);
        before.ptr = lua_tostring(L, -1);
    }
    if (escape && u->m.charset.kind != LN_CHARSET_UTF8 && !ln_text_is_plain(v))
        set_encoded(L, u, slot, part, v);
    else
        set_bytes(L, u, slot, part, v, escape);
    if (name)
        ln_lmessage_renamed(L, u, slot, before);
}

/* Level of a part, 0 whole field to 3 subcomponent. */
static int level(const struct ln_part *p)
{
    return p->subcomponent ? 3 : p->component ? 2 : p->repetition ? 1 : 0;
}

static struct ln_span converted(lua_State *L, const struct ln_text *from, const struct ln_text *to,
                                struct ln_span raw)
{
    struct ln_err err = {0};
    size_t len;
    int rc = ln_text_convert(from, to, raw, NULL, &len, &err);
    char *p = rc ? NULL : ln_lmessage_scratch(L, len);
    if (rc || (rc = ln_text_convert(from, to, raw, p, &len, &err)))
        ln_lmessage_raise(L, rc, &err);
    return ln_span(p, len);
}

/* Raw bytes of one message as another one writes them: by way of UTF-8, in which all delimiters can
 * be told from characters. Pushes scratch. */
static struct ln_span recoded(lua_State *L, const struct ln_lmessage *from,
                              const struct ln_lmessage *to, struct ln_span raw)
{
    struct ln_text a = ln_lmessage_text(from), b = ln_lmessage_text(to);
    struct ln_text plain_a = {.delims = a.delims}, plain_b = {.delims = b.delims};
    struct ln_err err = {0};
    size_t len;
    raw = converted(L, &a, &plain_a, raw);
    int rc = ln_reencode(&a.delims, &b.delims, raw, NULL, &len, &err);
    char *p = rc ? NULL : ln_lmessage_scratch(L, len);
    if (rc || (rc = ln_reencode(&a.delims, &b.delims, raw, p, &len, &err)))
        ln_lmessage_raise(L, rc, &err);
    return converted(L, &plain_b, &b, ln_span(p, len));
}

/* A part of a message as the value: structure and escapes come along, in the delimiters of the
 * message it goes to. What is larger than the place it goes to gives its first piece. */
static void assign_part(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                        const struct ln_lhandle *from)
{
    const struct ln_delims *fd = &from->msg->m.delims;
    const char cut[] = {fd->repetition, fd->component, fd->subcomponent};
    struct ln_span raw;
    struct ln_err err = {0};
    size_t len;
    if (!from->part.field)
        luaL_error(L, "a segment is no value for a field: use msg:add(segment) to copy it");
    if (ln_field_get(&from->msg->m, from->slot, &from->part, &raw))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    if (!raw.ptr)
        raw = ln_span("", 0);
    bool whole = level(&from->part) == 0 && level(&part) == 0;
    if (!whole && !part.repetition)
        part.repetition = 1;
    for (int i = level(&from->part); i < level(&part); i++)
        raw = ln_field_piece(&from->msg->m.charset, raw, cut[i], 1);
    bool foreign = !ln_charset_eq(from->msg->m.charset, u->m.charset) ||
                   (ln_charset_steps(&u->m.charset) && !ln_delims_eq(fd, &u->m.delims));
    if (foreign && !ln_text_is_plain(raw)) {
        raw = recoded(L, from->msg, u, raw);
        set(L, u, slot, &part, raw, false);
        return;
    }
    int rc = ln_reencode(fd, &u->m.delims, raw, NULL, &len, &err);
    if (rc)
        ln_lmessage_raise(L, rc, &err);
    char *p = ln_lmessage_scratch(L, len);
    if (ln_reencode(fd, &u->m.delims, raw, p, &len, &err) == LN_OK)
        set(L, u, slot, &part, ln_span(p, len), false);
}

/* A number as text: whole ones with all their digits, since 14 of them would spoil an id. */
static struct ln_span number_text(lua_State *L, lua_Number n, char *out, size_t cap)
{
    bool whole = n == floor(n) && fabs(n) <= 9007199254740992.0;
    if (!isfinite(n))
        luaL_error(L, "%f is no value for a field", n);
    int len = snprintf(out, cap, whole ? "%.0f" : "%.14g", n);
    return ln_span(out, (size_t)len);
}

void ln_lmessage_assign(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                        int idx)
{
    struct ln_span v = {"", 0};
    struct ln_lhandle *from;
    char number[40];
    int top = lua_gettop(L), self = u->idx;
    switch (lua_type(L, idx)) {
    case LUA_TNIL: break;
    case LUA_TSTRING: v.ptr = lua_tolstring(L, idx, &v.len); break;
    case LUA_TNUMBER: v = number_text(L, lua_tonumber(L, idx), number, sizeof number); break;
    default:
        from = ln_lhandle_test(L, idx);
        if (!from)
            luaL_error(L,
                       "a %s is no value for a field: strings, numbers, nil, hl7.null and parts of "
                       "messages are",
                       ln_message_is(L, idx) ? "message" : luaL_typename(L, idx));
        assign_part(L, u, slot, part, from);
        lua_settop(L, top);
        u->idx = self; /* the handle may be of this very message */
        return;
    }
    if (!part.repetition)
        part.repetition = 1;
    set(L, u, slot, &part, v, true);
    lua_settop(L, top);
}

void ln_lmessage_assign_raw(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                            int idx)
{
    struct ln_span v = {"", 0};
    if (!lua_isnil(L, idx))
        v.ptr = luaL_checklstring(L, idx, &v.len);
    set_bytes(L, u, slot, &part, v, false);
}

typedef void assigner(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                      int idx);

/* Creates what is missing up to the nth segment of that name, behind the last one there is. */
static uint32_t create(lua_State *L, struct ln_lmessage *u, const struct ln_path *path)
{
    struct ln_span name = name_of(path);
    struct ln_err err = {0};
    uint32_t have = 0, after = LN_NO_SEGMENT;
    for (uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT); s != LN_NO_SEGMENT;
         s = ln_message_next(&u->m, name, s)) {
        after = s;
        have++;
    }
    if (path->segment - have > CREATE_MAX)
        luaL_error(L, "%s[%d]: there are %d, and one assignment creates at most %d", path->name,
                   (int)path->segment, (int)have, (int)CREATE_MAX);
    for (; have < path->segment; have++) {
        int rc = ln_message_add(&u->m, name, after, &after, &err);
        if (rc)
            ln_lmessage_raise(L, rc, &err);
    }
    return after;
}

/* One segment: the part, or every repetition of it. Clearing all repetitions empties the field. */
static void write_segment(lua_State *L, struct ln_lmessage *u, uint32_t slot,
                          const struct ln_path *path, assigner *assign)
{
    struct ln_part part = ln_lmessage_part(path);
    if (path->repetition != LN_PATH_ALL) {
        assign(L, u, slot, part, 3);
        return;
    }
    size_t len = 1;
    if (lua_type(L, 3) == LUA_TSTRING)
        lua_tolstring(L, 3, &len);
    if (!path->component && (lua_isnil(L, 3) || len == 0)) {
        set(L, u, slot, &(struct ln_part){.field = path->field}, ln_span("", 0), false);
        return;
    }
    uint32_t n = repetitions(u, slot, path->field);
    for (part.repetition = 1; part.repetition <= n; part.repetition++)
        assign(L, u, slot, part, 3);
}

/* The part of write_path that may fail with segments made already. Stack: message, path, value. */
static int write_new(lua_State *L, assigner *assign)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_path path;
    path_arg(L, 2, &path);
    write_segment(L, u, create(L, u, &path), &path, assign);
    return 0;
}

static int new_text(lua_State *L)
{
    return write_new(L, ln_lmessage_assign);
}

static int new_raw(lua_State *L)
{
    return write_new(L, ln_lmessage_assign_raw);
}

/* A value that cannot be set leaves no empty segments behind: those made for it are taken out. */
static void write_missing(lua_State *L, struct ln_lmessage *u, const struct ln_path *path,
                          assigner *assign)
{
    struct ln_span name = name_of(path);
    struct ln_err err;
    uint32_t have = 0, slot = LN_NO_SEGMENT;
    while ((slot = ln_message_next(&u->m, name, slot)) != LN_NO_SEGMENT)
        have++;
    lua_pushcfunction(L, assign == ln_lmessage_assign ? new_text : new_raw);
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, i);
    if (lua_pcall(L, 3, 0, 0) == 0)
        return;
    while ((slot = ln_message_find(&u->m, name, have + 1)) != LN_NO_SEGMENT)
        if (ln_message_remove(&u->m, slot, &err))
            break;
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    lua_error(L);
}

static int write_path(lua_State *L, struct ln_lmessage *u, assigner *assign)
{
    struct ln_path path;
    size_t len = 1;
    path_arg(L, 2, &path);
    if (!path.field)
        return luaL_error(L,
                          "\"%s\" names a segment: set its fields, or use msg:add and msg:remove",
                          lua_tostring(L, 2));
    struct ln_span name = name_of(&path);
    if (path.segment == LN_PATH_ALL) {
        for (uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT); s != LN_NO_SEGMENT;
             s = ln_message_next(&u->m, name, s))
            write_segment(L, u, s, &path, assign);
        return 0;
    }
    uint32_t slot = ln_message_find(&u->m, name, path.segment);
    if (slot == LN_NO_SEGMENT) {
        if (lua_type(L, 3) == LUA_TSTRING)
            lua_tolstring(L, 3, &len);
        if (lua_isnil(L, 3) || len == 0 || path.repetition == LN_PATH_ALL)
            return 0;
        write_missing(L, u, &path, assign);
        return 0;
    }
    write_segment(L, u, slot, &path, assign);
    return 0;
}

int ln_lmessage_set(lua_State *L, struct ln_lmessage *u)
{
    return write_path(L, u, ln_lmessage_assign);
}

int ln_lmessage_set_raw(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    return write_path(L, u, ln_lmessage_assign_raw);
}
