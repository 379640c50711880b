/* io.open and io.lines of the sandbox: regular files below the site folder, for reading only, and
 * not the store's. The file handles are the standard library's. */
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/sandbox.h"
#include "script/state.h"

/* The folder of the file, or one above it below the site, holds an LMDB environment: what stands
 * there belongs to all channels. */
static bool in_store(const char *site, const char *real)
{
    char dir[PATH_MAX], probe[PATH_MAX + 16];
    snprintf(dir, sizeof dir, "%s", real);
    for (char *slash; (slash = strrchr(dir, '/')) && strlen(dir) > strlen(site);) {
        *slash = '\0';
        snprintf(probe, sizeof probe, "%s/data.mdb", dir);
        if (access(probe, F_OK) == 0)
            return true;
    }
    return false;
}

/* NULL when it may be read (real is then its path), else why not. */
static const char *refuse(const struct ln_host *host, const char *path, char *real)
{
    char joined[PATH_MAX], site[PATH_MAX];
    struct stat st;
    if (!host || !host->site || !realpath(host->site, site))
        return "there is no site folder";
    int n = path[0] == '/' ? snprintf(joined, sizeof joined, "%s", path)
                           : snprintf(joined, sizeof joined, "%s/%s", site, path);
    if (n < 0 || (size_t)n >= sizeof joined)
        return "path too long";
    if (!realpath(joined, real))
        return strerror(errno);
    size_t len = strlen(site);
    if (strncmp(real, site, len) != 0 || real[len] != '/')
        return "outside of the site folder";
    if (strncmp(real + len, "/secrets/", 9) == 0)
        return "a secret is asked for by its name: secret \"NAME\"";
    size_t rest = strlen(real + len);
    if (rest > 4 && strcmp(real + len + rest - 4, ".key") == 0)
        return "a private key is not for scripts";
    if (stat(real, &st) != 0 || !S_ISREG(st.st_mode))
        return "not a regular file";
    return in_store(site, real) ? "inside the store" : NULL;
}

static const char *check(lua_State *L, char *real)
{
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    if (strlen(path) != len)
        return "path holds a zero byte";
    return refuse(ln_state_user(L, LN_SLOT_HOST), path, real);
}

/* The original function is upvalue 1. */
static int call_original(lua_State *L, const char *real, const char *mode)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushstring(L, real);
    if (mode)
        lua_pushstring(L, mode);
    lua_call(L, mode ? 2 : 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int site_open(lua_State *L)
{
    char real[PATH_MAX];
    const char *mode = luaL_optstring(L, 2, "r");
    if (strcmp(mode, "r") != 0 && strcmp(mode, "rb") != 0)
        return luaL_argerror(L, 2, "a channel script may only read: mode \"r\" or \"rb\"");
    const char *why = check(L, real);
    if (!why)
        return call_original(L, real, "rb");
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", lua_tostring(L, 1), why);
    return 2;
}

static int site_lines(lua_State *L)
{
    char real[PATH_MAX];
    const char *why = check(L, real);
    if (why)
        return luaL_error(L, "%s: %s", lua_tostring(L, 1), why);
    return call_original(L, real, NULL);
}

void ln_siteio_push(lua_State *L)
{
    lua_getglobal(L, "io");
    int io = lua_gettop(L);
    lua_newtable(L);
    lua_getfield(L, io, "open");
    lua_pushcclosure(L, site_open, 1);
    lua_setfield(L, -2, "open");
    lua_getfield(L, io, "lines");
    lua_pushcclosure(L, site_lines, 1);
    lua_setfield(L, -2, "lines");
    lua_getfield(L, io, "type");
    lua_setfield(L, -2, "type");
    lua_remove(L, io);
}
