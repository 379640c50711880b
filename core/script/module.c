#include "script/module.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/embed.h"
#include "script/luajson.h"
#include "script/message.h"
#include "script/state.h"

static const struct ln_embedded *find_embedded(const char *name)
{
    for (const struct ln_embedded *e = ln_embedded; e->name; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

/* LUNATE_LUA=DIR: pushes the function of DIR/x/y.lua; false when it is not there. */
static bool push_from_dir(lua_State *L, const char *name)
{
    const char *dir = getenv("LUNATE_LUA");
    if (!dir || strncmp(name, "lunate.", 7) != 0)
        return false;
    const char *tail = luaL_gsub(L, name + 7, ".", "/");
    const char *path = lua_pushfstring(L, "%s/%s.lua", dir, tail);
    if (access(path, R_OK) != 0)
        path = lua_pushfstring(L, "%s/%s/init.lua", dir, tail);
    if (access(path, R_OK) != 0)
        return false;
    if (luaL_loadfile(L, path) != 0)
        lua_error(L);
    return true;
}

static int open_hl7(lua_State *L)
{
    return ln_message_open(L);
}

static int open_json(lua_State *L)
{
    return ln_luajson_open(L);
}

/* Pushes the module's function, or returns false. Its chunk name is "@lunate/x/y.lua". */
static bool push_chunk(lua_State *L, const char *name)
{
    if (strcmp(name, "hl7") == 0 || strcmp(name, "json") == 0) {
        lua_pushcfunction(L, *name == 'h' ? open_hl7 : open_json);
        return true;
    }
    if (push_from_dir(L, name))
        return true;
    const struct ln_embedded *e = find_embedded(name);
    if (!e)
        return false;
    const char *chunk = lua_pushfstring(L, "@%s.lua", luaL_gsub(L, name, ".", "/"));
    if (luaL_loadbufferx(L, e->text, e->len, chunk, "t") != 0)
        lua_error(L);
    return true;
}

/* Values are kept where the standard require keeps them, so both find the same one. */
void ln_state_push_module(lua_State *L, const char *name)
{
    luaL_checkstack(L, 10, NULL);
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 16);
    int loaded = lua_gettop(L);
    lua_getfield(L, loaded, name);
    if (lua_isnil(L, -1)) {
        if (!push_chunk(L, name))
            luaL_error(L, "no module '%s' in this binary", name);
        lua_pushstring(L, name);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, 1);
        }
        lua_pushvalue(L, -1);
        lua_setfield(L, loaded, name);
    }
    lua_replace(L, loaded);
    lua_settop(L, loaded);
}

int ln_module_require(lua_State *L)
{
    ln_state_push_module(L, luaL_checkstring(L, 1));
    return 1;
}

int ln_module_searcher(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (!push_chunk(L, name)) {
        lua_pushfstring(L, "\n\tno module '%s' in this binary", name);
        return 1;
    }
    return 1;
}

int ln_state_require(lua_State *L, const char *name, struct ln_err *err)
{
    lua_pushcfunction(L, ln_module_require);
    lua_pushstring(L, name);
    int code = ln_state_call(L, 1, 1);
    if (code != LN_OK)
        ln_state_fault_text(L, code, err);
    return code;
}
