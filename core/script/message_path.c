/* Values read by path: msg["PID-5.1"] and its relatives. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

#include "hl7/delims.h"
#include "hl7/escape.h"

#define STACK_BYTES 1024

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

void ln_lmessage_path_arg(lua_State *L, int idx, struct ln_path *path)
{
    struct ln_err err;
    struct ln_span s;
    s.ptr = luaL_checklstring(L, idx, &s.len);
    if (ln_path_parse(s, path, &err))
        luaL_error(L, "%s", err.text);
}

struct ln_span ln_lmessage_path_name(const struct ln_path *path)
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

void ln_lmessage_check_name(lua_State *L, const struct ln_path *path)
{
    const char *name = path->name;
    char upper[LN_PATH_NAME_MAX + 1];
    size_t n = 0;
    bool capitals = true;
    if (ln_message_name_ok(ln_lmessage_path_name(path)))
        return;
    for (; name[n]; n++) {
        bool small = name[n] >= 'a' && name[n] <= 'z';
        capitals = capitals && !small;
        upper[n] = small ? (char)(name[n] - 'a' + 'A') : name[n];
    }
    upper[n] = '\0';
    if (!capitals)
        luaL_error(L, "no segment is named '%s': names are written in capitals, '%s'", name, upper);
    if (name[0] == 'Z') /* local ones, which some feeds name as they like */
        return;
    if (n > 3 && strspn(name + 3, "0123456789") == n - 3)
        luaL_error(L, "no segment is named '%s': did you mean '%c%c%c-%s'?", name, name[0], name[1],
                   name[2], name + 3);
    luaL_error(
        L,
        "no segment is named '%s': a name has three characters, a capital letter first, then "
        "capitals or digits",
        name);
}

/* "PID", "OBX[2]": a handle, or nil. What looks like no segment name is a slip of the pen. */
static int get_segment(lua_State *L, struct ln_lmessage *u, const struct ln_path *path)
{
    uint32_t slot = ln_message_find(&u->m, ln_lmessage_path_name(path), path->segment);
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
    ln_lmessage_check_name(L, path);
    lua_pushnil(L);
    return 1;
}

int ln_lmessage_get(lua_State *L, struct ln_lmessage *u)
{
    struct ln_path path;
    ln_lmessage_path_arg(L, 2, &path);
    if (ln_path_many(&path))
        return luaL_error(L, "\"%s\" names several values: use msg:all(path)", lua_tostring(L, 2));
    if (!path.field)
        return get_segment(L, u, &path);
    uint32_t slot = ln_message_find(&u->m, ln_lmessage_path_name(&path), path.segment);
    struct ln_part part = {path.field, path.repetition, path.component, path.subcomponent};
    if (slot == LN_NO_SEGMENT) {
        ln_lmessage_check_name(L, &path);
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
    ln_lmessage_path_arg(L, 2, &path);
    if (ln_path_many(&path))
        return luaL_error(L, "\"%s\" names several values: raw takes one", lua_tostring(L, 2));
    uint32_t slot = ln_message_find(&u->m, ln_lmessage_path_name(&path), path.segment);
    if (slot != LN_NO_SEGMENT && !path.field) {
        ln_lmessage_push_segment(L, u, slot);
        return 1;
    }
    struct ln_part part = ln_lmessage_part(&path);
    if (slot == LN_NO_SEGMENT)
        ln_lmessage_check_name(L, &path);
    if (slot != LN_NO_SEGMENT && ln_field_get(&u->m, slot, &part, &out))
        return ln_lmessage_raise(L, LN_ENOMEM, NULL);
    if (out.len)
        lua_pushlstring(L, out.ptr, out.len);
    else
        lua_pushnil(L);
    return 1;
}

uint32_t ln_lmessage_repetitions(struct ln_lmessage *u, uint32_t slot, uint32_t field)
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
    uint32_t left = ln_lmessage_repetitions(u, slot, path->field);
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
    ln_lmessage_path_arg(L, 2, &path);
    struct ln_span name = ln_lmessage_path_name(&path);
    lua_newtable(L);
    if (path.segment != LN_PATH_ALL && (path.field || strchr(lua_tostring(L, 2), '['))) {
        uint32_t slot = ln_message_find(&u->m, name, path.segment);
        if (slot == LN_NO_SEGMENT)
            ln_lmessage_check_name(L, &path);
        else
            all_of(L, u, slot, &path, &n);
        return 1;
    }
    uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT);
    if (s == LN_NO_SEGMENT)
        ln_lmessage_check_name(L, &path);
    for (; s != LN_NO_SEGMENT; s = ln_message_next(&u->m, name, s))
        all_of(L, u, s, &path, &n);
    return 1;
}
