/* Values written by path: msg["PID-5.1"] = v and its relatives. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#include "hl7/delims.h"

#define CREATE_MAX 1000u /* segments that one assignment may create */

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
    struct ln_span name = ln_lmessage_path_name(path);
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
    uint32_t n = ln_lmessage_repetitions(u, slot, path->field);
    for (part.repetition = 1; part.repetition <= n; part.repetition++)
        assign(L, u, slot, part, 3);
}

/* The part of write_path that may fail with segments made already. Stack: message, path, value. */
static int write_new(lua_State *L, assigner *assign)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_path path;
    ln_lmessage_path_arg(L, 2, &path);
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
    struct ln_span name = ln_lmessage_path_name(path);
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
    ln_lmessage_path_arg(L, 2, &path);
    if (!path.field)
        return luaL_error(L,
                          "\"%s\" names a segment: set its fields, or use msg:add and msg:remove",
                          lua_tostring(L, 2));
    struct ln_span name = ln_lmessage_path_name(&path);
    if (path.segment == LN_PATH_ALL) {
        uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT);
        if (s == LN_NO_SEGMENT)
            ln_lmessage_check_name(L, &path);
        for (; s != LN_NO_SEGMENT; s = ln_message_next(&u->m, name, s))
            write_segment(L, u, s, &path, assign);
        return 0;
    }
    uint32_t slot = ln_message_find(&u->m, name, path.segment);
    if (slot == LN_NO_SEGMENT) {
        if (lua_type(L, 3) == LUA_TSTRING)
            lua_tolstring(L, 3, &len);
        if (lua_isnil(L, 3) || len == 0 || path.repetition == LN_PATH_ALL) {
            ln_lmessage_check_name(L, &path);
            return 0;
        }
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
