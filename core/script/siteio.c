/* io.open and io.lines of the sandbox: regular files below the site folder, and those that the
 * channel names in allow.read, for reading only, and not the store's. The file handles are the
 * standard library's. */
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

#define OUTSIDE_MAX (64u << 20)
#define REPLACED                                                                                   \
    "another file took its place since the script was loaded, and allow.read named that one: "     \
    "lunate reload, or name its folder"

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

/* `real` is `folder`, or stands in it. */
static bool within(const char *real, const char *folder)
{
    size_t len = strlen(folder);
    while (len && folder[len - 1] == '/')
        len--;
    return strncmp(real, folder, len) == 0 && (real[len] == '/' || real[len] == '\0');
}

static bool granted(const struct ln_host *host, const char *real)
{
    for (unsigned i = 0; i < host->nread; i++)
        if (within(real, host->read[i]))
            return true;
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
    bool inside = within(real, site);
    size_t len = strlen(real), top = inside ? strlen(site) : 0;
    if (!inside && host->loading)
        return "outside of the site folder; what allow.read names can be read by functions that "
               "see a message, not while the script is loaded";
    if (!inside && !granted(host, real))
        return "outside of the site folder, and not in the channel's allow = { read = { ... } }";
    if (inside && strncmp(real + top, "/secrets/", 9) == 0)
        return "a secret is asked for by its name: secret \"NAME\"";
    if (len - top > 4 && strcmp(real + len - 4, ".key") == 0)
        return "a private key is not for scripts";
    if (stat(real, &st) != 0 || !S_ISREG(st.st_mode))
        return "not a regular file";
    return in_store(inside ? site : "", real) ? "inside the store" : NULL;
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

static int fail(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", lua_tostring(L, 1), why);
    return 2;
}

/* A granted file that the kernel does not let through is another one by now: the grant is for the
 * file itself, that for a folder for all that comes to stand in it. */
static bool was_replaced(lua_State *L, const char *real)
{
    const struct ln_host *host = ln_state_user(L, LN_SLOT_HOST);
    for (unsigned i = 0; i < host->nread; i++)
        if (strcmp(real, host->read[i]) == 0)
            return true;
    return false;
}

static int site_open(lua_State *L)
{
    char real[PATH_MAX];
    const char *mode = luaL_optstring(L, 2, "r");
    if (strcmp(mode, "r") != 0 && strcmp(mode, "rb") != 0)
        return luaL_argerror(L, 2, "a channel script may only read: mode \"r\" or \"rb\"");
    const char *why = check(L, real);
    if (why)
        return fail(L, why);
    int n = call_original(L, real, "rb");
    if (n < 3 || lua_tointeger(L, 3) != EACCES || !was_replaced(L, real))
        return n;
    lua_settop(L, 0);
    lua_pushstring(L, real);
    return fail(L, REPLACED);
}

static int site_lines(lua_State *L)
{
    char real[PATH_MAX];
    const char *why = check(L, real);
    if (why)
        return luaL_error(L, "%s: %s", lua_tostring(L, 1), why);
    return call_original(L, real, NULL);
}

static int outside_gc(lua_State *L)
{
    FILE **f = lua_touserdata(L, 1);
    if (*f)
        fclose(*f);
    *f = NULL;
    return 0;
}

/* All of a file that is open; pushes its text. */
static int read_all(lua_State *L, FILE *f)
{
    luaL_Buffer b;
    size_t n, all = 0;
    luaL_buffinit(L, &b);
    while (all <= OUTSIDE_MAX && (n = fread(luaL_prepbuffer(&b), 1, LUAL_BUFFERSIZE, f)) > 0) {
        luaL_addsize(&b, n);
        all += n;
    }
    luaL_pushresult(&b);
    return all > OUTSIDE_MAX ? EFBIG : ferror(f) ? EIO : 0;
}

int ln_siteio_outside(lua_State *L)
{
    char real[PATH_MAX], stamp[100];
    struct stat st = {0};
    const char *known = luaL_optstring(L, 2, ""), *why = check(L, real);
    if (why)
        return fail(L, why);
    if (stat(real, &st) != 0)
        return fail(L, strerror(errno));
    snprintf(stamp, sizeof stamp, "%lld.%09ld %lld %llu", (long long)st.st_mtim.tv_sec,
             (long)st.st_mtim.tv_nsec, (long long)st.st_size, (unsigned long long)st.st_ino);
    lua_pushstring(L, stamp);
    if (strcmp(stamp, known) == 0)
        return 1;
    FILE **f = lua_newuserdata(L, sizeof *f); /* closed by its collection when memory runs out */
    *f = NULL;
    if (luaL_newmetatable(L, "lunate.outside")) {
        lua_pushcfunction(L, outside_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *f = fopen(real, "rbe");
    int e = *f ? read_all(L, *f) : errno;
    if (*f)
        fclose(*f);
    *f = NULL;
    if (e)
        return fail(L, e == EACCES && was_replaced(L, real) ? REPLACED : strerror(e));
    lua_remove(L, -2);
    return 2;
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
