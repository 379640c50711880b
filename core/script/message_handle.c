/* Handles: what they are, and where a key leads from them. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

/* Metatables by number in the registry: found faster than by name. */
static int registry_key(enum ln_kind kind)
{
    return 0x4c4e00 + (int)kind;
}

void ln_lhandle_register(lua_State *L, enum ln_kind kind)
{
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, registry_key(kind));
}

void ln_lhandle_push_metatable(lua_State *L, enum ln_kind kind)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, registry_key(kind));
}

void ln_lhandle_push(lua_State *L, struct ln_lmessage *u, enum ln_kind kind, uint32_t slot,
                     struct ln_part part)
{
    struct ln_lhandle *h = lua_newuserdata(L, sizeof *h);
    *h = (struct ln_lhandle){u, kind, slot, part};
    ln_lmessage_push_env(L, u);
    lua_setfenv(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, registry_key(kind));
    lua_setmetatable(L, -2);
}

struct ln_lhandle *ln_lhandle_test(lua_State *L, int idx)
{
    struct ln_lhandle *h = lua_touserdata(L, idx);
    if (!h || lua_objlen(L, idx) != sizeof *h || h->kind < LN_SEGMENT || h->kind > LN_COMPONENT ||
        !lua_getmetatable(L, idx))
        return NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, registry_key(h->kind));
    bool ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (!ours)
        return NULL;
    luaL_checkstack(L, 8, "message");
    lua_getfenv(L, idx);
    lua_rawgeti(L, -1, LN_ENV_MESSAGE);
    lua_remove(L, -2);
    h->msg->L = L;
    h->msg->idx = lua_gettop(L);
    if (h->msg->m.seg[h->slot].removed)
        luaL_error(L, "stale handle: this segment was removed from its message");
    return h;
}

struct ln_lhandle *ln_lhandle_check(lua_State *L, int idx, enum ln_kind kind)
{
    static const char *const names[] = {"segment", "field", "component"};
    struct ln_lhandle *h = ln_lhandle_test(L, idx);
    if (!h || h->kind != kind)
        luaL_typerror(L, idx, names[kind - LN_SEGMENT]);
    return h;
}

uint32_t ln_lhandle_number(lua_State *L, int idx, const char *what, lua_Number max)
{
    lua_Number n = lua_tonumber(L, idx);
    if (!(n >= 1 && n <= max) || n != (lua_Number)(uint32_t)n)
        luaL_error(L, "%s are counted from 1: %f is none", what, n);
    return (uint32_t)n;
}

static bool is_number(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TNUMBER;
}

/* ---- where a key leads -------------------------------------------------------------------------
 */

/* Pushes the data type of a field, for names of its components. What varies (OBX-5) has the type
 * that OBX-2 says. */
static void push_field_type(lua_State *L, struct ln_lhandle *h)
{
    struct ln_message *m = &h->msg->m;
    struct ln_span name = ln_message_name(m, h->slot), leaf = {0};
    char owner[8] = {0};
    if (name.len < sizeof owner)
        memcpy(owner, name.ptr, name.len);
    ln_lnames_type(L, h->msg, '=', owner, h->part.field);
    const char *type = lua_tostring(L, -1);
    if (type && h->part.field > 2 && (strcmp(type, "varies") == 0 || strcmp(type, "VARIES") == 0)) {
        struct ln_part two = {.field = 2};
        if (ln_field_leaf(m, h->slot, &two, &leaf) == LN_OK && leaf.ptr) {
            lua_pop(L, 1);
            lua_pushlstring(L, leaf.ptr, leaf.len);
        }
    }
}

/* The part below h that the key at idx (a number or a dictionary name) names. */
struct ln_part ln_lhandle_below(lua_State *L, struct ln_lhandle *h, int idx)
{
    struct ln_part part = h->part;
    if (h->kind == LN_SEGMENT) {
        char owner[8] = {0};
        struct ln_span name = ln_message_name(&h->msg->m, h->slot);
        if (name.len < sizeof owner)
            memcpy(owner, name.ptr, name.len);
        part.field = is_number(L, idx) ? ln_lhandle_number(L, idx, "fields", LN_PATH_PART_MAX)
                                       : ln_lnames_number(L, h->msg, '=', owner, idx);
        return part;
    }
    if (!part.repetition)
        part.repetition = 1;
    if (part.subcomponent)
        luaL_error(L, "a subcomponent has no parts");
    uint32_t *n = h->kind == LN_FIELD ? &part.component : &part.subcomponent;
    if (is_number(L, idx)) {
        *n = ln_lhandle_number(L, idx, h->kind == LN_FIELD ? "components" : "subcomponents",
                               LN_PATH_PART_MAX);
        return part;
    }
    push_field_type(L, h);
    const char *type = lua_tostring(L, -1);
    if (h->kind == LN_COMPONENT && type) {
        ln_lnames_type(L, h->msg, ':', type, part.component);
        type = lua_tostring(L, -1);
    }
    *n = ln_lnames_number(L, h->msg, ':', type ? type : "", idx);
    return part;
}

/* seg["5.1"]: a path within the segment. */
bool ln_lhandle_path(lua_State *L, int idx, struct ln_path *path)
{
    struct ln_err err;
    struct ln_span s;
    if (lua_type(L, idx) != LUA_TSTRING)
        return false;
    s.ptr = lua_tolstring(L, idx, &s.len);
    if (s.len == 0 || s.ptr[0] < '0' || s.ptr[0] > '9')
        return false;
    if (ln_path_parse_field(s, path, &err))
        luaL_error(L, "%s", err.text);
    if (ln_path_many(path))
        luaL_error(L, "\"%s\" names several values: give a number", s.ptr);
    return true;
}

static struct ln_span leaf_of(lua_State *L, struct ln_lhandle *h, const struct ln_part *part)
{
    struct ln_span leaf;
    if (ln_field_leaf(&h->msg->m, h->slot, part, &leaf))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    return leaf;
}

void ln_lhandle_push_value(lua_State *L, struct ln_lhandle *h, const struct ln_part *part)
{
    struct ln_span leaf = leaf_of(L, h, part);
    if (leaf.len && h->msg->m.seg[h->slot].header && part->field <= 2)
        lua_pushlstring(L, leaf.ptr, leaf.len);
    else
        ln_lmessage_push_leaf(L, h->msg, leaf);
}

struct ln_span ln_lhandle_raw(lua_State *L, struct ln_lhandle *h)
{
    struct ln_span raw;
    if (ln_field_get(&h->msg->m, h->slot, &h->part, &raw))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    return raw;
}

uint32_t ln_lhandle_count(lua_State *L, struct ln_lhandle *h)
{
    const struct ln_delims *d = &h->msg->m.delims;
    uint32_t n = 0;
    if (h->kind == LN_SEGMENT) {
        if (ln_field_count(&h->msg->m, h->slot, &n))
            ln_lmessage_raise(L, LN_ENOMEM, NULL);
        return n;
    }
    struct ln_span raw = ln_lhandle_raw(L, h);
    if (raw.len && h->msg->m.seg[h->slot].header && h->part.field <= 2)
        return 1;
    char c = h->part.subcomponent ? '\0'
             : h->part.component  ? d->subcomponent
             : h->part.repetition ? d->component
                                  : d->repetition;
    return raw.len ? ln_field_pieces(&h->msg->m.charset, raw, c) : 0;
}
