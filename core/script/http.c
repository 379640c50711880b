/* http(ask): hands a request of lua/http.lua to the process (ln_host.http) and its answer back. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "script/sandbox.h"
#include "script/state.h"

static int told_gc(lua_State *L)
{
    struct ln_http_told *t = lua_touserdata(L, 1);
    ln_buf_fini(&t->headers);
    ln_buf_fini(&t->body);
    *t = (struct ln_http_told){0};
    return 0;
}

/* Freed by its collection, should what follows raise. */
static struct ln_http_told *new_told(lua_State *L)
{
    struct ln_http_told *t = lua_newuserdata(L, sizeof *t);
    *t = (struct ln_http_told){0};
    if (luaL_newmetatable(L, "lunate.http")) {
        lua_pushcfunction(L, told_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return t;
}

/* A field of the table at 1; its string stays in the table. */
static struct ln_span text(lua_State *L, const char *key)
{
    struct ln_span s;
    lua_getfield(L, 1, key);
    s.ptr = luaL_optlstring(L, -1, "", &s.len);
    lua_pop(L, 1);
    return s;
}

static double number(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    double v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

static void push_headers(lua_State *L, const struct ln_buf *b)
{
    const char *p = b->data, *end = p + b->len;
    lua_newtable(L);
    while (p && p < end) {
        const char *value = p + strlen(p) + 1;
        lua_getfield(L, -1, p);
        bool again = lua_isstring(L, -1);
        if (again)
            lua_pushliteral(L, ", ");
        lua_pushstring(L, value);
        if (again)
            lua_concat(L, 3);
        else
            lua_remove(L, -2);
        lua_setfield(L, -2, p);
        p = value + strlen(value) + 1;
    }
}

static int not_granted(lua_State *L, const struct ln_http_ask *a)
{
    const char *form = strchr(a->host, ':') ? "[%s]:%d" : "%s:%d";
    lua_pushnil(L);
    lua_pushfstring(L, form, a->host, a->port);
    lua_pushfstring(L, "%s is not granted to this channel: add it to allow = { net = { \"%s\" } }",
                    lua_tostring(L, -1), lua_tostring(L, -1));
    lua_remove(L, -2);
    lua_pushboolean(L, 1);
    return 3;
}

/* -> status, headers, body; nil, why [, true: it is not granted]. */
int ln_http_ask_lua(lua_State *L)
{
    const struct ln_host *host = ln_state_user(L, LN_SLOT_HOST);
    struct ln_err err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    struct ln_http_ask ask = {.method = text(L, "method").ptr,
                              .url = text(L, "url").ptr,
                              .host = text(L, "host").ptr,
                              .port = (int)number(L, "port"),
                              .tls = number(L, "tls") != 0,
                              .headers = text(L, "headers"),
                              .body = text(L, "body"),
                              .target = text(L, "target"),
                              .timeout_s = number(L, "timeout"),
                              .max_body = (size_t)number(L, "max_body")};
    if (!host || (!host->http && !host->loading))
        return not_granted(L, &ask);
    struct ln_http_told *told = new_told(L);
    int code = host->loading ? ln_err_set(&err, LN_EAGAIN,
                                          "allow.net holds for functions that see a message, "
                                          "not while the script is loaded")
                             : host->http(host->arg, &ask, told, &err);
    if (code == LN_EINVAL)
        return not_granted(L, &ask);
    if (code != LN_OK) {
        lua_pushnil(L);
        lua_pushstring(L, err.text[0] ? err.text : ln_strerror(code));
        return 2;
    }
    lua_pushinteger(L, (lua_Integer)told->status);
    push_headers(L, &told->headers);
    lua_pushlstring(L, told->body.data ? told->body.data : "", told->body.len);
    ln_buf_fini(&told->headers);
    ln_buf_fini(&told->body);
    told->headers = told->body = (struct ln_buf){0};
    return 3;
}
