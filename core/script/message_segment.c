/* Structure: walking, adding, removing and moving segments. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

#include "hl7/escape.h"

/* Upvalues: the message, the name ("" for any), the slot last given (or the one to start behind),
 * the name at which to stop ("" for none). A segment that was removed meanwhile still leads on. */
static int next_segment(lua_State *L)
{
    struct ln_span name, stop;
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    name.ptr = lua_tolstring(L, lua_upvalueindex(2), &name.len);
    stop.ptr = lua_tolstring(L, lua_upvalueindex(4), &stop.len);
    uint32_t slot = (uint32_t)lua_tonumber(L, lua_upvalueindex(3));
    do {
        slot = ln_message_next(&u->m, ln_span(NULL, 0), slot);
        if (slot == LN_NO_SEGMENT)
            return 0;
        if (stop.len && ln_message_is_named(&u->m, slot, stop))
            return 0;
    } while (name.len && !ln_message_is_named(&u->m, slot, name));
    lua_pushnumber(L, slot);
    lua_replace(L, lua_upvalueindex(3));
    ln_lhandle_push(L, u, LN_SEGMENT, slot, (struct ln_part){0});
    return 1;
}

int ln_lmessage_each(lua_State *L)
{
    size_t len = 0;
    uint32_t from = LN_NO_SEGMENT;
    const char *name = luaL_optlstring(L, 2, "", &len);
    if (len > LN_PATH_NAME_MAX || strpbrk(name, "-[."))
        return luaL_error(L, "each takes the name of a segment, not a path");
    if (ln_message_is(L, 1)) {
        lua_pushvalue(L, 1);
        lua_pushlstring(L, name, len);
        lua_pushnumber(L, from);
        lua_pushliteral(L, "");
    } else {
        struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_SEGMENT);
        struct ln_span own = ln_message_name(&h->msg->m, h->slot);
        if (len == own.len && memcmp(name, own.ptr, len) == 0)
            return luaL_error(L,
                              "each of an %s goes up to the next %s and has none in it; all of "
                              "them: msg:each \"%s\"",
                              name, name, name);
        lua_pushvalue(L, h->msg->idx);
        lua_pushlstring(L, name, len);
        lua_pushnumber(L, h->slot);
        lua_pushlstring(L, own.ptr, own.len);
    }
    lua_pushcclosure(L, next_segment, 4);
    return 1;
}

/* The slot of the segment handle at idx, which must be one of message u's. */
static uint32_t own_slot(lua_State *L, struct ln_lmessage *u, int idx)
{
    int self = u->idx;
    struct ln_lhandle *h = ln_lhandle_check(L, idx, LN_SEGMENT);
    if (h->msg != u)
        luaL_error(L, "the segment belongs to another message");
    u->idx = self;
    return h->slot;
}

/* Copies the fields of a segment of another (or the same) message into a new one. */
static void copy_fields(lua_State *L, struct ln_lmessage *u, uint32_t slot, int from_idx)
{
    struct ln_lhandle *from = ln_lhandle_test(L, from_idx);
    int there = from->msg->idx, here = u == from->msg ? there : u->idx, field = lua_gettop(L) + 1;
    struct ln_part part = {.field = u->m.seg[slot].header ? 3 : 1};
    uint32_t n = 0;
    if (ln_field_count(&from->msg->m, from->slot, &n))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    for (; part.field <= n; part.field++) {
        from->msg->idx = there;
        ln_lhandle_push(L, from->msg, LN_FIELD, from->slot, part);
        u->idx = here;
        ln_lmessage_assign(L, u, slot, part, field);
        lua_settop(L, field - 1);
    }
}

int ln_lmessage_add(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_err err = {0};
    struct ln_span name;
    uint32_t after = LN_NO_SEGMENT, slot;
    lua_settop(L, 3);
    if (!lua_isnil(L, 3))
        after = own_slot(L, u, 3);
    bool copy = lua_type(L, 2) != LUA_TSTRING;
    if (copy) {
        struct ln_lhandle *from = ln_lhandle_check(L, 2, LN_SEGMENT);
        struct ln_span n = ln_message_name(&from->msg->m, from->slot);
        lua_pushlstring(L, n.ptr, n.len);
        name.ptr = lua_tolstring(L, -1, &name.len);
        u->idx = 1;
    } else {
        name.ptr = lua_tolstring(L, 2, &name.len);
    }
    int rc = ln_message_add(&u->m, name, after, &slot, &err);
    if (rc)
        return ln_lmessage_raise(L, rc, &err);
    if (copy)
        copy_fields(L, u, slot, 2);
    u->idx = 1;
    ln_lhandle_push(L, u, LN_SEGMENT, slot, (struct ln_part){0});
    return 1;
}

static bool is_group(lua_State *L, int idx)
{
    if (!lua_istable(L, idx) || !luaL_getmetafield(L, idx, "__metatable"))
        return false;
    const char *kind = lua_tostring(L, -1);
    bool group = kind && !strcmp(kind, "group");
    lua_pop(L, 1);
    return group;
}

/* All segments of the group at 2, or none of them. */
static int remove_group(lua_State *L, struct ln_lmessage *u)
{
    struct ln_err err = {0};
    lua_settop(L, 2);
    lua_getfield(L, 2, "segments");
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    int n = (int)lua_objlen(L, 3);
    for (int i = 1; i <= n; i++, lua_settop(L, 3)) {
        lua_rawgeti(L, 3, i);
        if (own_slot(L, u, 4) == u->m.first)
            return luaL_error(L, "the group holds the header, which cannot be removed");
    }
    for (int i = 1; i <= n; i++, lua_settop(L, 3)) {
        lua_rawgeti(L, 3, i);
        int rc = ln_message_remove(&u->m, own_slot(L, u, 4), &err);
        if (rc)
            return ln_lmessage_raise(L, rc, &err);
    }
    return 0;
}

int ln_lmessage_remove(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_err err = {0};
    if (is_group(L, 2))
        return remove_group(L, u);
    int rc = ln_message_remove(&u->m, own_slot(L, u, 2), &err);
    return rc ? ln_lmessage_raise(L, rc, &err) : 0;
}

int ln_lmessage_move(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_err err = {0};
    uint32_t slot = own_slot(L, u, 2), after = own_slot(L, u, 3);
    int rc = ln_message_move(&u->m, slot, after, &err);
    return rc ? ln_lmessage_raise(L, rc, &err) : 0;
}
