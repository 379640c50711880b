#include "script/hl7core.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hl7/header.h"
#include "hl7/names.h"
#include "script/message_lua.h"
#include "script/state.h"

#define MODULE "lunate.hl7.core"

/* ---- dictionary ------------------------------------------------------------------------------ */

static struct ln_span span_arg(lua_State *L, int idx)
{
    struct ln_span s;
    s.ptr = luaL_checklstring(L, idx, &s.len);
    return s;
}

/* line(text, key) -> what stands behind the key in a text of the dictionary, or nil. */
static int core_line(lua_State *L)
{
    struct ln_span line;
    if (ln_names_line(luaL_checkstring(L, 1), span_arg(L, 2), &line))
        lua_pushlstring(L, line.ptr, line.len);
    else
        lua_pushnil(L);
    return 1;
}

/* keys(text) -> list of all keys. */
static int core_keys(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1), *at = NULL;
    struct ln_span key;
    lua_newtable(L);
    for (int n = 1; ln_names_key(text, &at, &key); n++) {
        lua_pushlstring(L, key.ptr, key.len);
        lua_rawseti(L, -2, n);
    }
    return 1;
}

/* version([text]) -> number from 1 and text of the version of the standard that is meant. */
static int core_version(lua_State *L)
{
    struct ln_span text = lua_isnoneornil(L, 1) ? ln_span("", 0) : span_arg(L, 1);
    unsigned v = ln_names_version(text);
    lua_pushinteger(L, (lua_Integer)v);
    lua_pushstring(L, ln_names_version_text(v));
    return 2;
}

/* names(owner, table): what msg.ZPD.name and the like mean: owner "=ZPD" or ":ZZZ", table of
 * name -> number and number -> data type. */
static int core_names(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    ln_lnames_extend(L);
    return 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* next_message(bytes, pos) -> first and last byte of the next message (from 1) and the position to
 * go on from; nothing when there is none. */
static int core_next_message(lua_State *L)
{
    struct ln_span bytes = span_arg(L, 1), message;
    size_t pos = (size_t)luaL_checknumber(L, 2);
    if (!ln_batch_next(bytes, &pos, &message))
        return 0;
    size_t from = (size_t)(message.ptr - bytes.ptr);
    lua_pushnumber(L, (lua_Number)(from + 1));
    lua_pushnumber(L, (lua_Number)(from + message.len));
    lua_pushnumber(L, (lua_Number)pos);
    return 3;
}

/* narrow(bytes) -> the same text in UTF-8 when it is UTF-16 or UTF-32; else nothing. */
static int core_narrow(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    return ln_lmessage_push_wide(L, 1) ? 1 : 0;
}

/* ---- time zones ------------------------------------------------------------------------------ */

#define ZONE_MAX 65536 /* the largest zone of tzdata has less than 4 KiB */

/* Letters, digits and _ + - in parts between slashes: nothing that leads out of the folder. */
static bool zone_name_ok(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-";
    if (!*name || strlen(name) > 64)
        return false;
    while (*name) {
        size_t n = strspn(name, letters);
        name += n;
        if (n == 0 || (*name != '/' && *name != '\0') || (*name == '/' && name[1] == '\0'))
            return false;
        name += *name == '/';
    }
    return true;
}

/* zone_file(name) -> bytes of a zone of the system's tzdata, or nil and why. "local" is the
 * system's own zone. */
static int core_zone_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *dir = getenv("TZDIR");
    char path[512], data[ZONE_MAX];
    bool local = strcmp(name, "local") == 0;
    if (!local && !zone_name_ok(name)) {
        lua_pushnil(L);
        lua_pushliteral(L, "it is no name of a zone");
        return 2;
    }
    if (local)
        snprintf(path, sizeof path, "/etc/localtime");
    else
        snprintf(path, sizeof path, "%s/%s", dir && *dir ? dir : "/usr/share/zoneinfo", name);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        n = read(fd, data, sizeof data);
    else if (fd >= 0)
        errno = EISDIR;
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(e));
        return 2;
    }
    lua_pushlstring(L, data, (size_t)n);
    return 1;
}

/* environment(name) -> value or nil. */
static int core_environment(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
    return 1;
}

/* where() -> "file:line" of the innermost line of the site's own Lua, "" when there is none. */
static int core_where(lua_State *L)
{
    struct ln_buf where = {0};
    char text[256] = "";
    ln_state_where(L, 1, &where);
    if (where.len < sizeof text)
        memcpy(text, where.data ? where.data : "", where.len);
    ln_buf_fini(&where);
    lua_pushstring(L, text);
    return 1;
}

/* ---- modules --------------------------------------------------------------------------------- */

void ln_hl7core_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"line", core_line},
                                         {"keys", core_keys},
                                         {"version", core_version},
                                         {"names", core_names},
                                         {"next_message", core_next_message},
                                         {"narrow", core_narrow},
                                         {"zone_file", core_zone_file},
                                         {"environment", core_environment},
                                         {"where", core_where},
                                         {NULL, NULL}};
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 16);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, MODULE);
    lua_pop(L, 1);
}

/* hl7.KEY for a key that is not there (yet): the module's value of that name, or the module. */
static int lazy_index(lua_State *L)
{
    static const char *const modules[][2] = {
        {"dictionary", "lunate.dictionary"}, {"time", "lunate.hl7.time"},
        {"diff", "lunate.hl7.diff"},         {"text", "lunate.hl7.text"},
        {"batch", "lunate.hl7.batch"},       {"profile", "lunate.hl7.profile"},
    };
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        if (strcmp(key, modules[i][0]) != 0)
            continue;
        ln_state_push_module(L, modules[i][1]);
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, key);
            if (lua_isnil(L, -1))
                lua_pop(L, 1);
        }
        /* Made anew for each place that names it, as it tells of mistakes there: by the time it is
         * called, `return hl7.profile { ... }` has left no frame behind. */
        if (strcmp(key, "profile") == 0) {
            lua_call(L, 0, 1);
            return 1;
        }
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        return 1;
    }
    return 0;
}

void ln_hl7core_lazy(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, lazy_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

void ln_hl7core_method(lua_State *L, int methods)
{
    ln_state_push_module(L, lua_tostring(L, -1));
    lua_replace(L, -2);
    lua_pushvalue(L, 2);
    lua_gettable(L, -2);
    lua_replace(L, -2);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, methods);
}
