/* hl7.new: a message with nothing but its header. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void ln_lmessage_control_id(char out[20])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static int64_t last;
    int64_t now = ln_now_us();
    /* Microseconds are the counter too: two calls within one take the next. */
    if (now <= last)
        now = last + 1;
    last = now;
    uint64_t t = (uint64_t)now, pid = (uint64_t)getpid();
    for (int i = 10; i >= 0; i--, t /= 36)
        out[i] = digits[t % 36];
    for (int i = 15; i >= 11; i--, pid /= 36)
        out[i] = digits[pid % 36];
    out[16] = '\0';
}

static const char *const known[] = {"type",       "event", "version",    "structure", "control_id",
                                    "processing", "time",  "delimiters", NULL};

/* Refuses keys that mean nothing, since they are slips of the pen. */
static void check_keys(lua_State *L)
{
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pop(L, 1);
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            luaL_error(L,
                       "hl7.new knows no '%s': type, event, version, structure, control_id, "
                       "processing, time and delimiters are known",
                       key);
    }
}

/* The option, or what it is by default; nil without either. Pushes it. */
static void option(lua_State *L, const char *key, const char *otherwise)
{
    lua_getfield(L, 1, key);
    if (lua_isnil(L, -1) && otherwise) {
        lua_pop(L, 1);
        lua_pushstring(L, otherwise);
    }
    if (!lua_isnil(L, -1) && !lua_isstring(L, -1))
        luaL_error(L, "hl7.new: %s is a string, not a %s", key, luaL_typename(L, -1));
}

static void set(lua_State *L, int msg, const char *path, int value)
{
    lua_pushvalue(L, value);
    lua_setfield(L, msg, path);
}

int ln_lmessage_new(lua_State *L)
{
    static const char *const fields[][3] = {
        {"type", "MSH-9.1"},       {"event", "MSH-9.2"},          {"structure", "MSH-9.3"},
        {"version", "MSH-12", ""}, {"processing", "MSH-11", "P"},
    };
    struct ln_err err = {0};
    char id[20], now[32];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_keys(L);
    option(L, "type", NULL);
    if (lua_isnil(L, -1))
        return luaL_error(L, "hl7.new needs a type: hl7.new { type = \"ADT\", event = \"A01\" }");
    option(L, "delimiters", "|^~\\&");
    lua_pushfstring(L, "MSH%s", lua_tostring(L, -1));
    int rc = ln_lmessage_parse(L, lua_gettop(L), NULL, &err);
    if (rc)
        return luaL_error(L, "hl7.new: %s", err.text);
    int msg = lua_gettop(L);
    ln_hl7_time(ln_now_us(), now, sizeof now);
    ln_lmessage_control_id(id);
    option(L, "time", now);
    set(L, msg, "MSH-7", msg + 1);
    lua_settop(L, msg);
    option(L, "control_id", id);
    set(L, msg, "MSH-10", msg + 1);
    lua_settop(L, msg);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const char *otherwise = fields[i][2];
        option(L, fields[i][0], otherwise && !*otherwise ? "2.5.1" : otherwise);
        set(L, msg, fields[i][1], msg + 1);
        lua_settop(L, msg);
    }
    return 1;
}
