#include "script/returned.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "hl7/mllp.h"
#include "ipc/proto.h"
#include "script/message.h"

#define INSTEAD "return nil to send the message as it is, an empty list to send nothing"

/* A message or a string on top of the stack: what is wrong with it as a message, else NULL. */
static const char *wrong_item(lua_State *L)
{
    if (ln_message_is(L, -1))
        return NULL;
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_typename(L, -1);
    return lua_objlen(L, -1) == 0 ? "empty string" : NULL;
}

static void check_list(lua_State *L)
{
    size_t n = lua_objlen(L, -1);
    if (n > LN_RESULT_OUTPUTS_MAX)
        luaL_error(L, "transform returned more than %d messages", (int)LN_RESULT_OUTPUTS_MAX);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (int)i);
        const char *wrong = wrong_item(L);
        if (wrong && lua_type(L, -1) == LUA_TSTRING)
            luaL_error(L,
                       "transform returned a list whose item %d is an empty string: leave it out",
                       (int)i);
        if (wrong)
            luaL_error(L,
                       "transform returned a list whose item %d is a %s, not a message or string",
                       (int)i, wrong);
        lua_pop(L, 1);
    }
    if (n > 0)
        return;
    lua_pushnil(L);
    if (lua_next(L, -2))
        luaL_error(L, "transform returned a table that is not a list");
}

void ln_returned_take(lua_State *L, int msg, bool *list)
{
    *list = false;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushvalue(L, msg);
    }
    const char *wrong = wrong_item(L);
    if (!wrong)
        return;
    if (lua_type(L, -1) == LUA_TSTRING)
        luaL_error(L, "transform returned an empty string: " INSTEAD);
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L,
                   "transform returned a %s: return nothing (the message was edited in place), a "
                   "message, a string, or a list of them",
                   wrong);
    *list = true;
    check_list(L);
}

void ln_returned_check_wire(lua_State *L)
{
    size_t len;
    const char *text = lua_tolstring(L, -1, &len), *end = text + len;
    if (len == 0)
        luaL_error(L, "nothing would be sent: the message is empty: " INSTEAD);
    if (*text == LN_MLLP_VT)
        luaL_error(L, "what is to be sent begins with MLLP's start byte (0B): the frame is put "
                      "around it by the engine");
    for (const char *p = text; (p = memchr(p, LN_MLLP_FS, (size_t)(end - p))); p++)
        if (p + 1 < end && p[1] == LN_MLLP_CR)
            luaL_error(L,
                       "what is to be sent holds MLLP's end of a frame (1C 0D) at byte %d: the "
                       "receiver would take it for two messages",
                       (int)(p - text));
}
