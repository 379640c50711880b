/* msg:ack: an acknowledgement as a message, written by core/hl7/ack. */
#include "script/message_lua.h"

#include <lauxlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "hl7/ack.h"
#include "hl7/header.h"

#define LN_MT_BUF "lunate.buf"

static int buf_gc(lua_State *L)
{
    ln_buf_fini(lua_touserdata(L, 1));
    return 0;
}

/* A buffer that is freed by the collector, whatever is raised. Pushes it. */
static struct ln_buf *push_buf(lua_State *L)
{
    struct ln_buf *b = lua_newuserdata(L, sizeof *b);
    *b = (struct ln_buf){0};
    if (luaL_newmetatable(L, LN_MT_BUF)) {
        lua_pushcfunction(L, buf_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return b;
}

/* A string option; pushes it, so that the span stays valid. */
static struct ln_span option(lua_State *L, const char *key)
{
    struct ln_span s = {"", 0};
    lua_getfield(L, 2, key);
    if (lua_isnil(L, -1))
        return s;
    if (!lua_isstring(L, -1))
        luaL_error(L, "msg:ack: %s is a string, not a %s", key, luaL_typename(L, -1));
    s.ptr = lua_tolstring(L, -1, &s.len);
    return s;
}

static enum ln_ack_code code_option(lua_State *L)
{
    struct ln_span code = option(L, "code");
    enum ln_ack_code c = LN_ACK_AA;
    if (code.len && !ln_ack_code_read(code, &c))
        luaL_error(L,
                   "msg:ack: code is \"AA\", \"AE\", \"AR\", \"CA\", \"CE\" or \"CR\", not \"%s\"",
                   code.ptr);
    return c;
}

static void check_keys(lua_State *L)
{
    static const char *const known[] = {"code",       "text",     "error_code", "location",
                                        "control_id", "problems", NULL};
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            luaL_error(L,
                       "msg:ack knows no '%s': code, text, error_code, location, control_id and "
                       "problems are known",
                       key);
    }
}

#define PROBLEMS_MAX 100 /* ERR segments in one acknowledgement */

/* A member of the problem on top. What the span points to is held by the problem's table. */
static struct ln_span member(lua_State *L, int i, const char *key)
{
    struct ln_span s = {"", 0};
    lua_getfield(L, -1, key);
    if (lua_type(L, -1) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "msg:ack: %s of problem %d is a string, not a %s", key, i,
                   luaL_typename(L, -1));
    lua_pop(L, 1);
    return s;
}

/* "error", "warning", "info" -> E, W, I (table 0516). */
static char severity_of(lua_State *L, int i)
{
    struct ln_span s = member(L, i, "severity");
    if (s.len == 0 || ln_span_is(s, "error"))
        return 'E';
    if (ln_span_is(s, "warning"))
        return 'W';
    if (!ln_span_is(s, "info"))
        luaL_error(L, "msg:ack: severity of problem %d is \"error\", \"warning\" or \"info\"", i);
    return 'I';
}

/* The option `problems`: what msg:validate gives, or a list of { path, code, severity, text }.
 * Pushes what the spans point into. */
static void problems_option(lua_State *L, struct ln_ack *ack)
{
    lua_getfield(L, 2, "problems");
    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "msg:ack: problems is a list, not a %s", luaL_typename(L, -1));
    size_t n = lua_objlen(L, -1);
    n = n < PROBLEMS_MAX ? n : PROBLEMS_MAX;
    struct ln_ack_error *errors = lua_newuserdata(L, (n ? n : 1) * sizeof *errors);
    for (size_t i = 0; i < n; i++) {
        int k = (int)i + 1;
        lua_rawgeti(L, -2, k);
        if (!lua_istable(L, -1))
            luaL_error(L, "msg:ack: problem %d is a table, not a %s", k, luaL_typename(L, -1));
        errors[i] = (struct ln_ack_error){.location = member(L, k, "path"),
                                          .code = member(L, k, "code"),
                                          .text = member(L, k, "text"),
                                          .severity = severity_of(L, k)};
        lua_pop(L, 1);
    }
    ack->errors = errors;
    ack->nerrors = n;
}

/* MSA-3 when the script gives no text: the first problem. Pushes it. */
static void text_of_problems(lua_State *L, struct ln_ack *ack)
{
    const struct ln_ack_error *e = ack->errors;
    lua_pushlstring(L, e->location.ptr, e->location.len);
    lua_pushstring(L, e->location.len ? ": " : "");
    lua_pushlstring(L, e->text.ptr, e->text.len);
    lua_concat(L, 3);
    ack->text.ptr = lua_tolstring(L, -1, &ack->text.len);
}

int ln_lmessage_ack(lua_State *L)
{
    struct ln_charset_policy policy = ln_lmessage_policy(ln_lmessage_check(L, 1));
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    check_keys(L);
    char id[20];
    struct ln_ack ack = {.code = code_option(L), .time_us = ln_now_us()};
    ack.text = option(L, "text");
    ack.error_code = option(L, "error_code");
    ack.location = option(L, "location");
    ack.control_id = option(L, "control_id");
    problems_option(L, &ack);
    if (ack.nerrors && !ack.text.len && ack.code != LN_ACK_AA && ack.code != LN_ACK_CA)
        text_of_problems(L, &ack);
    if (!ack.control_id.len) {
        ln_lmessage_control_id(id);
        ack.control_id = ln_span_str(id);
    }
    struct ln_span wire;
    struct ln_header header;
    struct ln_err err = {0};
    ln_message_push_wire(L, 1, NULL);
    wire.ptr = lua_tolstring(L, -1, &wire.len);
    int rc = ln_header_read_as(wire, &policy, &header, &err);
    if (rc)
        return ln_lmessage_raise(L, rc, &err);
    struct ln_buf *out = push_buf(L);
    rc = ln_ack_write(out, &header, &ack);
    if (rc == LN_OK)
        rc = ln_message_push(L, ln_buf_span(out), &policy, &err);
    return rc ? ln_lmessage_raise(L, rc, &err) : 1;
}
