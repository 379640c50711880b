#include "hl7/charset.h"
#include "script/sandbox.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "script/kv.h"
#include "script/limits.h"
#include "script/state.h"

#define LOADER                                                                                     \
    "lunate.sandbox.load" /* registry: function(text, chunk) -> function or nil, error             \
                           */

static struct ln_host *host_of(lua_State *L)
{
    return ln_state_user(L, LN_SLOT_HOST);
}

/* core.load(text, chunk, env) -> function, or nil and the error. */
static int core_load(lua_State *L)
{
    struct ln_span text;
    struct ln_err err;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    const char *chunk = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (ln_state_load(L, text, chunk, &err) != LN_OK) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    lua_pushvalue(L, 3);
    lua_setfenv(L, -2);
    return 1;
}

/* core.file(path) -> content or nil. */
static int core_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct ln_host *host = host_of(L);
    const struct ln_file *f = host && host->files ? ln_files_get(host->files, path) : NULL;
    if (f)
        lua_pushlstring(L, f->data, f->len);
    else
        lua_pushnil(L);
    return 1;
}

/* core.reading(true) before a table is read, core.reading(false) behind it: the script's time waits
 * meanwhile. */
static int core_reading(lua_State *L)
{
    struct ln_host *host = host_of(L);
    if (!lua_toboolean(L, 1)) {
        ln_limits_go_on();
        return 0;
    }
    ln_limits_hold();
    if (host && host->reading)
        host->reading(host->arg);
    return 0;
}

/* core.paths() -> list of the files handed over. */
static int core_paths(lua_State *L)
{
    struct ln_host *host = host_of(L);
    lua_newtable(L);
    for (size_t i = 0; host && host->files && i < host->files->n; i++) {
        lua_pushstring(L, host->files->list[i].path);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* core.log(level, text): the place is the innermost line of the site's own Lua. */
static int core_log(lua_State *L)
{
    struct ln_host *host = host_of(L);
    int level = (int)luaL_checkinteger(L, 1);
    struct ln_span text;
    text.ptr = luaL_checklstring(L, 2, &text.len);
    if (!host || !host->log)
        return 0;
    struct ln_buf where = {0}; /* nothing raises until it is freed */
    ln_state_where(L, 1, &where);
    host->log(host->arg, level, ln_buf_span(&where), text);
    ln_buf_fini(&where);
    return 0;
}

/* core.where() -> "file:line" of the innermost line of the site's own Lua, "" when there is none.
 */
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

/* core.now([format]): HL7's form of the local time, or as strftime has it; ! before it means UTC.
 */
static int core_now(lua_State *L)
{
    char text[256];
    const char *fmt = luaL_optstring(L, 1, NULL);
    int64_t now = ln_now_us();
    if (!fmt) {
        lua_pushlstring(L, text, ln_hl7_time(now, text, sizeof text));
        return 1;
    }
    time_t t = (time_t)(now / 1000000);
    struct tm tm;
    if (*fmt == '!') {
        gmtime_r(&t, &tm);
        fmt++;
    } else {
        localtime_r(&t, &tm);
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, fmt, &tm);
#pragma GCC diagnostic pop
    if (n == 0 && *fmt)
        return luaL_argerror(L, 1, "the result is empty or longer than 255 bytes");
    lua_pushlstring(L, text, n);
    return 1;
}

/* core.time() -> seconds since 1970, also when the clock is fixed (LN_P_CLOCK). */
static int core_time(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)(ln_now_us() / 1000000));
    return 1;
}

/* core.env(name) -> value or nil. */
static int core_env(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
    return 1;
}

/* core.is_address(text): an IPv4 or IPv6 address, or one with /bits. */
static int core_is_address(lua_State *L)
{
    char host[INET6_ADDRSTRLEN];
    unsigned char bin[16];
    const char *s = luaL_checkstring(L, 1), *slash = strchr(s, '/');
    size_t n = slash ? (size_t)(slash - s) : strlen(s);
    bool ok = n > 0 && n < sizeof host;
    if (ok) {
        memcpy(host, s, n);
        host[n] = '\0';
        long max = inet_pton(AF_INET, host, bin) == 1    ? 32
                   : inet_pton(AF_INET6, host, bin) == 1 ? 128
                                                         : -1;
        char *end = NULL;
        long bits = slash && slash[1] >= '0' && slash[1] <= '9' ? strtol(slash + 1, &end, 10) : 0;
        ok = max > 0 && (!slash || (end && *end == '\0' && bits <= max));
    }
    lua_pushboolean(L, ok);
    return 1;
}

/* core.charset(text): nothing when it is a policy (hl7/charset.h), else what is wrong with it. */
static int core_charset(lua_State *L)
{
    struct ln_charset_policy policy;
    struct ln_err err = {0};
    struct ln_span s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    if (ln_charset_policy_read(s, &policy, &err) == LN_OK)
        return 0;
    lua_pushstring(L, err.text);
    return 1;
}

int ln_sandbox_push_core(lua_State *L)
{
    static const luaL_Reg fns[] = {{"load", core_load},       {"file", core_file},
                                   {"paths", core_paths},     {"reading", core_reading},
                                   {"log", core_log},         {"where", core_where},
                                   {"now", core_now},         {"time", core_time},
                                   {"env", core_env},         {"is_address", core_is_address},
                                   {"charset", core_charset}, {"outside", ln_siteio_outside},
                                   {"http", ln_http_ask_lua}, {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, fns, 0);
    ln_state_push_module(L, "json");
    lua_setfield(L, -2, "json");
    ln_state_push_module(L, "hl7");
    lua_setfield(L, -2, "hl7");
    ln_kv_open(L);
    lua_setfield(L, -2, "kv");
    return 1;
}

/* Arguments: the script's path. */
static int open_sandbox(lua_State *L)
{
    ln_state_push_module(L, "lunate.sandbox");
    ln_sandbox_push_core(L);
    ln_siteio_push(L);
    lua_setfield(L, -2, "io");
    lua_pushvalue(L, 1);
    lua_call(L, 2, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, LOADER);
    return 0;
}

int ln_sandbox_open(lua_State *L, const struct ln_host *host, const char *path, struct ln_err *err)
{
    ln_state_set_user(L, LN_SLOT_HOST, (void *)host);
    lua_pushcfunction(L, open_sandbox);
    lua_pushstring(L, path);
    int code = ln_state_call(L, 1, 0);
    if (code != LN_OK)
        ln_state_fault_text(L, code, err);
    return code;
}

int ln_sandbox_load(lua_State *L, struct ln_span text, const char *chunk, struct ln_err *err)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LOADER);
    lua_pushlstring(L, text.ptr, text.len);
    lua_pushstring(L, chunk);
    int code = ln_state_call(L, 2, 2);
    if (code != LN_OK) {
        ln_state_fault_text(L, code, err);
        return code;
    }
    if (lua_isfunction(L, -2)) {
        lua_pop(L, 1);
        return LN_OK;
    }
    const char *why = lua_tostring(L, -1);
    ln_err_set(err, LN_ESCRIPT, "%s", why ? why : "does not load");
    lua_pop(L, 2);
    return LN_ESCRIPT;
}
