/* lunate.token_core: tokens for Lua (audit/token.h). */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "audit/token.h"
#include "role/cli.h"

static int failed(lua_State *L, const struct ln_err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

static void push(lua_State *L, const struct ln_token *t)
{
    const char *const texts[] = {"id",       t->id,       "role", ln_role_name(t->role),
                                 "channels", t->channels, "name", t->name};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i += 2) {
        lua_pushstring(L, texts[i + 1]);
        lua_setfield(L, -2, texts[i]);
    }
    lua_pushnumber(L, (lua_Number)t->made_us);
    lua_setfield(L, -2, "made_us");
    lua_pushnumber(L, (lua_Number)t->ends_us);
    lua_setfield(L, -2, "ends_us");
}

/* new(data, role, channels, name, ends_us): the token's text, and the token; nil, why. */
static int token_new(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_token want = {0}, made;
    struct ln_span role;
    char text[LN_TOKEN_TEXT];
    const char *data = luaL_checkstring(L, 1), *channels = luaL_checkstring(L, 3),
               *name = luaL_checkstring(L, 4);
    role.ptr = luaL_checklstring(L, 2, &role.len);
    want.role = ln_role_of(role);
    want.ends_us = (int64_t)luaL_checknumber(L, 5);
    if ((size_t)snprintf(want.channels, sizeof want.channels, "%s", channels) >=
            sizeof want.channels ||
        (size_t)snprintf(want.name, sizeof want.name, "%s", name) >= sizeof want.name) {
        ln_err_set(&err, LN_EINVAL, "the token's name or list of channels is too long");
        return failed(L, &err);
    }
    if (ln_token_new(data, &want, &made, text, &err) != LN_OK)
        return failed(L, &err);
    lua_pushstring(L, text);
    push(L, &made);
    return 2;
}

static void take(void *arg, const struct ln_token *t)
{
    lua_State *L = arg;
    push(L, t);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* list(data): list of { id, role, channels, name, made_us, ends_us }; nil, why. */
static int token_list(lua_State *L)
{
    struct ln_err err = {0};
    const char *data = luaL_checkstring(L, 1);
    lua_newtable(L);
    return ln_token_each(data, take, L, &err) == LN_OK ? 1 : failed(L, &err);
}

/* revoke(data, id): true; nil, why. */
static int token_revoke(lua_State *L)
{
    struct ln_err err = {0};
    if (ln_token_revoke(luaL_checkstring(L, 1), luaL_checkstring(L, 2), &err) != LN_OK)
        return failed(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

int ln_cli_token_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"new", token_new}, {"list", token_list}, {"revoke", token_revoke}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
