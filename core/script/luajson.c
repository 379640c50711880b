#include "script/luajson.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH "lunate.json.scratch"
#define KEEP    65536 /* bytes the scratch buffer keeps between calls */

struct ln_buf *ln_luajson_scratch(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, SCRATCH);
    struct ln_buf *b = lua_touserdata(L, -1);
    lua_pop(L, 1);
    ln_buf_clear(b, KEEP);
    return b;
}

static int scratch_gc(lua_State *L)
{
    ln_buf_fini(lua_touserdata(L, 1));
    return 0;
}

void ln_luajson_push_number(lua_State *L, struct ln_span text)
{
    char *p = lua_newuserdata(L, text.len + 1);
    memcpy(p, text.ptr, text.len);
    p[text.len] = '\0';
    luaL_getmetatable(L, LN_LUAJSON_NUMBER);
    lua_setmetatable(L, -2);
}

static int number_tostring(lua_State *L)
{
    lua_pushstring(L, luaL_checkudata(L, 1, LN_LUAJSON_NUMBER));
    return 1;
}

static int number_tonumber(lua_State *L)
{
    lua_pushnumber(L, strtod(luaL_checkudata(L, 1, LN_LUAJSON_NUMBER), NULL));
    return 1;
}

static int number_eq(lua_State *L)
{
    lua_pushboolean(L, strcmp(luaL_checkudata(L, 1, LN_LUAJSON_NUMBER),
                              luaL_checkudata(L, 2, LN_LUAJSON_NUMBER)) == 0);
    return 1;
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "json.null");
    return 1;
}

static bool option(lua_State *L, int idx, const char *name)
{
    if (lua_isnoneornil(L, idx))
        return false;
    luaL_checktype(L, idx, LUA_TTABLE);
    lua_getfield(L, idx, name);
    return true;
}

static int json_encode(lua_State *L)
{
    int indent = 0;
    luaL_checkany(L, 1);
    if (option(L, 2, "indent")) {
        indent = (int)luaL_optinteger(L, -1, 0);
        luaL_argcheck(L, indent >= 0 && indent <= 16, 2, "indent is 0 to 16 blanks");
    }
    struct ln_span s = ln_luajson_encode(L, 1, 0, indent);
    lua_pushlstring(L, s.ptr, s.len);
    return 1;
}

static int json_decode(lua_State *L)
{
    struct ln_span text;
    struct ln_err err;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    int flags = option(L, 2, "exact") && lua_toboolean(L, -1) ? LN_LUAJSON_EXACT : 0;
    if (ln_luajson_decode(L, text, flags, &err) == LN_OK)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

/* json.array(t): t is an array, also when it is empty. */
static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_getmetatable(L, LN_LUAJSON_ARRAY);
    lua_setmetatable(L, 1);
    return 1;
}

/* json.number "1.10": written as it stands. */
static int json_number(lua_State *L)
{
    struct ln_span text;
    struct ln_err err;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (ln_luajson_decode(L, text, 0, &err) != LN_OK ||
        (lua_type(L, -1) != LUA_TNUMBER && lua_type(L, -1) != LUA_TUSERDATA))
        return luaL_argerror(L, 1, "not a JSON number");
    const char *end = text.ptr + text.len;
    while (end > text.ptr && (end[-1] < '0' || end[-1] > '9'))
        end--;
    size_t lead = strspn(text.ptr, " \t\r\n");
    if (end == text.ptr)
        return luaL_argerror(L, 1, "not a JSON number");
    ln_luajson_push_number(L, ln_span(text.ptr + lead, (size_t)(end - text.ptr) - lead));
    return 1;
}

static void new_metatable(lua_State *L, const char *name, const luaL_Reg *fns)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, fns, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

int ln_luajson_open(lua_State *L)
{
    static const luaL_Reg number_mt[] = {
        {"__tostring", number_tostring}, {"__eq", number_eq}, {NULL, NULL}};
    static const luaL_Reg number_methods[] = {{"tonumber", number_tonumber}, {NULL, NULL}};
    static const luaL_Reg null_mt[] = {{"__tostring", null_tostring}, {NULL, NULL}};
    static const luaL_Reg scratch_mt[] = {{"__gc", scratch_gc}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg fns[] = {{"encode", json_encode},
                                   {"decode", json_decode},
                                   {"array", json_array},
                                   {"number", json_number},
                                   {NULL, NULL}};

    memset(lua_newuserdata(L, sizeof(struct ln_buf)), 0, sizeof(struct ln_buf));
    new_metatable(L, SCRATCH ".mt", scratch_mt);
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, SCRATCH);

    new_metatable(L, LN_LUAJSON_NUMBER, number_mt);
    lua_newtable(L);
    luaL_setfuncs(L, number_methods, 0);
    lua_setfield(L, -2, "__index");
    new_metatable(L, LN_LUAJSON_ARRAY, none);
    lua_pop(L, 2);

    lua_newtable(L);
    luaL_setfuncs(L, fns, 0);
    lua_newuserdata(L, 1);
    new_metatable(L, LN_LUAJSON_NULL ".mt", null_mt);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, LN_LUAJSON_NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
