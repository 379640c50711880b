/* Dictionary names for the message object. What a segment or data type holds in one version is read
 * from the dictionary's text once and kept in a table of the Lua state:
 * registry["lunate.names"][version][kind .. owner] = { patient_name = 5, [5] = "XPN", ... }. What a
 * site adds (hl7.dictionary.extend) stands under version "". */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

#include "hl7/names.h"

#define CACHE "lunate.names"
#define SHOWN 60 /* bytes of a wrong name that an error repeats */

static unsigned version_of(struct ln_lmessage *u)
{
    struct ln_part part = {.field = 12};
    struct ln_span leaf = {0};
    uint32_t slot = ln_message_find(&u->m, ln_span("MSH", 3), 1);
    if (slot != LN_NO_SEGMENT && ln_field_leaf(&u->m, slot, &part, &leaf))
        leaf = ln_span("", 0);
    return ln_names_version(leaf);
}

/* Pushes t[key], a table made when it is missing. */
static void sub_table(lua_State *L, const char *key)
{
    lua_getfield(L, -1, key);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, key);
    }
    lua_remove(L, -2);
}

/* Pushes registry["lunate.names"]. */
static void push_cache(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, CACHE);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, CACHE);
}

void ln_lnames_extend(lua_State *L)
{
    push_cache(L);
    sub_table(L, "");
    lua_newtable(L); /* what was read before is forgotten */
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "");
    lua_setfield(L, LUA_REGISTRYINDEX, CACHE);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Copies what the site says of an owner into the table on top. */
static void copy_site(lua_State *L, const char *key)
{
    int into = lua_gettop(L);
    push_cache(L);
    lua_getfield(L, -1, "");
    if (lua_istable(L, -1))
        lua_getfield(L, -1, key);
    if (lua_istable(L, -1) && lua_gettop(L) == into + 3) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, into);
        }
    }
    lua_settop(L, into);
}

/* Pushes the entries of one version into the table on top, nearest version first: what stands there
 * already stays. */
static void fill(lua_State *L, char kind, const char *owner, unsigned version)
{
    for (unsigned d = 0; d < LN_NAMES_VERSIONS; d++) {
        struct ln_names walk;
        struct ln_name e;
        if (!ln_names_open(&walk, kind, ln_span_str(owner)))
            return;
        while (ln_names_next(&walk, &e)) {
            if (ln_names_distance(&e, version) != d)
                continue;
            lua_pushlstring(L, e.name.ptr, e.name.len);
            lua_pushvalue(L, -1);
            lua_rawget(L, -3);
            bool known = !lua_isnil(L, -1);
            lua_pop(L, 1);
            lua_pushinteger(L, (lua_Integer)e.number);
            if (known)
                lua_pop(L, 2);
            else
                lua_rawset(L, -3);
            lua_rawgeti(L, -1, (int)e.number);
            known = !lua_isnil(L, -1) || ln_span_is(e.type, "-");
            lua_pop(L, 1);
            if (!known) {
                lua_pushlstring(L, e.type.ptr, e.type.len);
                lua_rawseti(L, -2, (int)e.number);
            }
        }
    }
}

/* Pushes the table of an owner in the message's version. */
static void push_owner(lua_State *L, struct ln_lmessage *u, char kind, const char *owner,
                       unsigned *version)
{
    luaL_checkstack(L, 10, "message");
    *version = version_of(u);
    push_cache(L);
    sub_table(L, ln_names_version_text(*version));
    lua_pushfstring(L, "%c%s", kind, owner);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        copy_site(L, lua_tostring(L, -2));
        fill(L, kind, owner, *version);
        /* Only what the dictionary knows is kept: owners come from messages, and are many. */
        if (lua_next(L, (lua_pushnil(L), -2))) {
            lua_pop(L, 2);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* The nearest name in the table on top, which is the owner's: there are some that no dictionary
 * has. */
static struct ln_span nearest_known(lua_State *L, struct ln_span name, unsigned *least)
{
    struct ln_span best = {0};
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        struct ln_span known;
        if (lua_type(L, -1) != LUA_TSTRING)
            continue;
        known.ptr = lua_tolstring(L, -1, &known.len); /* the table keeps it */
        unsigned n = ln_names_difference(name, known, *least + 1);
        if (n < *least || (n == *least && best.ptr && strcmp(known.ptr, best.ptr) < 0)) {
            *least = n;
            best = known;
        }
    }
    return best;
}

/* The owner's table is on top. */
static int unknown(lua_State *L, char kind, const char *owner, unsigned version, int idx)
{
    struct ln_span name;
    name.ptr = lua_tolstring(L, idx, &name.len);
    if (name.len > SHOWN) {
        lua_pushlstring(L, name.ptr, SHOWN);
        lua_insert(L, -2); /* the table stays on top */
        name = ln_span(lua_tostring(L, -2), SHOWN);
    }
    size_t own = strlen(owner);
    if (kind == '=' && own && name.len > own && memcmp(name.ptr, owner, own) == 0 &&
        name.ptr[own] == '-')
        return luaL_error(L, "a segment is asked by its own fields: ['%s'], not ['%s']",
                          name.ptr + own + 1, name.ptr);
    unsigned least = (unsigned)name.len * 2, nearest = LN_NAMES_VERSIONS;
    struct ln_span best = nearest_known(L, name, &least);
    struct ln_names walk;
    struct ln_name e;
    const char *what = kind == '=' ? "field" : "component";
    bool listed = *owner && ln_names_open(&walk, kind, ln_span_str(owner));
    if (!listed && best.ptr)
        return luaL_error(L, "no %s '%s' in %s: did you mean '%s'?", what, name.ptr, owner,
                          best.ptr);
    if (!listed)
        return luaL_error(L, "no %s '%s': the dictionary does not know %s%s; use numbers", what,
                          name.ptr, kind == '=' ? "segment " : "its data type ", owner);
    while (ln_names_next(&walk, &e)) {
        unsigned n = ln_names_difference(name, e.name, least + 1);
        unsigned d = ln_names_distance(&e, version);
        if (n < least || (n == least && d < nearest)) {
            least = n;
            nearest = d;
            best = e.name;
        }
    }
    lua_pushlstring(L, best.ptr ? best.ptr : "", best.len);
    return luaL_error(L,
                      best.ptr ? "no %s '%s' in %s (version %s): did you mean '%s'?"
                               : "no %s '%s' in %s (version %s)%s",
                      what, name.ptr, owner, ln_names_version_text(version), lua_tostring(L, -1));
}

uint32_t ln_lnames_number(lua_State *L, struct ln_lmessage *u, char kind, const char *owner,
                          int idx)
{
    unsigned version;
    push_owner(L, u, kind, owner, &version);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    uint32_t n = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (!n)
        unknown(L, kind, owner, version, idx);
    lua_pop(L, 1);
    return n;
}

void ln_lnames_type(lua_State *L, struct ln_lmessage *u, char kind, const char *owner, uint32_t n)
{
    unsigned version;
    push_owner(L, u, kind, owner, &version);
    lua_rawgeti(L, -1, (int)n);
    lua_remove(L, -2);
}
