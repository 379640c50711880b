#include "script/inspect.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/clock.h"
#include "script/limits.h"
#include "script/message_lua.h"
#include "script/state.h"

#define FRAME      "lunate.inspect.frame" /* registry: what frame() gives */
#define FRAMES_MAX 20
#define LOCALS_MAX 100
#define OWNED_MAX  255

/* ---- where a script failed ---------------------------------------------------------------------
 */

/* Appends { name, value, level } to the list at index 1; the value is on top and popped. */
static void note(lua_State *L, const char *name, int level)
{
    lua_createtable(L, 3, 0);
    lua_pushstring(L, name);
    lua_rawseti(L, -2, 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 2);
    lua_pushinteger(L, level);
    lua_rawseti(L, -2, 3);
    lua_rawseti(L, 1, (int)lua_objlen(L, 1) + 1);
}

static void note_function(lua_State *L, lua_Debug *ar, int level)
{
    const char *name;
    for (int i = 1; i <= LOCALS_MAX && (name = lua_getlocal(L, ar, i)); i++) {
        if (*name == '(')
            lua_pop(L, 1);
        else
            note(L, name, level);
    }
    lua_getinfo(L, "f", ar);
    for (int i = 1; i <= LOCALS_MAX && (name = lua_getupvalue(L, 2, i)); i++)
        note(L, name, level);
    lua_settop(L, 1);
}

static bool is_scripts(const lua_Debug *ar)
{
    return ar->currentline > 0 && ar->source[0] == '@' && strncmp(ar->source, "@lunate/", 8) != 0;
}

static int take_frame(lua_State *L)
{
    lua_Debug ar;
    lua_settop(L, 0); /* lua_cpcall's argument */
    lua_newtable(L);
    for (int i = 0, level = 0; level < FRAMES_MAX && lua_getstack(L, i, &ar); i++) {
        lua_getinfo(L, "Sln", &ar);
        if (!is_scripts(&ar))
            continue;
        if (++level == 1 && ar.name) {
            lua_pushstring(L, ar.name);
            lua_setfield(L, 1, "name");
        }
        note_function(L, &ar, level);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, FRAME);
    return 0;
}

/* In a protected call of its own: a failure to note a failure is no failure. */
static void on_fault(lua_State *L)
{
    if (!lua_checkstack(L, 20))
        return;
    int top = lua_gettop(L);
    lua_cpcall(L, take_frame, NULL);
    lua_settop(L, top);
}

void ln_inspect_forget(lua_State *L)
{
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, FRAME);
}

static int inspect_frame(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, FRAME);
    return 1;
}

/* ---- calls -------------------------------------------------------------------------------------
 */

static void push_buf(lua_State *L, const struct ln_buf *b)
{
    lua_pushlstring(L, b->data ? b->data : "", b->len);
}

static int inspect_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checkstack(L, 10, NULL);
    ln_limits_begin(ln_mono_us());
    int code = ln_state_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    ln_limits_begin(ln_mono_us()); /* what is done with the values has its own time */
    if (code == LN_OK) {
        lua_pushboolean(L, 1);
        lua_insert(L, 1);
        return lua_gettop(L);
    }
    if (code == LN_ELIMIT)
        ln_state_resume(L);
    const struct ln_fault *f = ln_state_fault(L);
    lua_pushboolean(L, 0);
    lua_pushstring(L, code == LN_ELIMIT ? "limit" : "error");
    push_buf(L, &f->reason);
    push_buf(L, &f->where);
    push_buf(L, &f->trace);
    return 5;
}

/* ---- functions ---------------------------------------------------------------------------------
 */

static int inspect_owned(lua_State *L)
{
    const char *name;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    if (lua_iscfunction(L, 1))
        lua_pushnil(L);
    else
        lua_getfenv(L, 1);
    lua_newtable(L);
    for (int i = 1, n = 0; i <= OWNED_MAX && (name = lua_getupvalue(L, 1, i)); i++) {
        if (!*name) { /* of a C function */
            lua_pop(L, 1);
            continue;
        }
        lua_createtable(L, 2, 0);
        lua_pushstring(L, name);
        lua_rawseti(L, -2, 1);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, 3, ++n);
    }
    return 2;
}

static int inspect_where(lua_State *L)
{
    lua_Debug ar;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &ar);
    if (ar.source[0] != '@' && ar.source[0] != '=')
        return 0;
    if (ar.linedefined <= 0 || strncmp(ar.source, "@lunate/", 8) == 0)
        return 0;
    lua_pushfstring(L, "%s:%d", ar.source + 1, ar.linedefined);
    return 1;
}

/* ---- parts of messages -------------------------------------------------------------------------
 */

static uint32_t number_of(struct ln_message *m, uint32_t slot, struct ln_span name)
{
    uint32_t n = 0, at = LN_NO_SEGMENT;
    while ((at = ln_message_next(m, name, at)) != LN_NO_SEGMENT) {
        n++;
        if (at == slot)
            break;
    }
    return n;
}

static int inspect_place(lua_State *L)
{
    static const char *const kinds[] = {"segment", "field", "component"};
    struct ln_lhandle *h = lua_type(L, 1) == LUA_TUSERDATA ? ln_lhandle_test(L, 1) : NULL;
    if (!h)
        return 0;
    struct ln_span name = ln_message_name(&h->msg->m, h->slot);
    lua_pushstring(L, kinds[h->kind - LN_SEGMENT]);
    lua_pushlstring(L, name.ptr, name.len);
    lua_pushinteger(L, (lua_Integer)number_of(&h->msg->m, h->slot, name));
    lua_pushinteger(L, (lua_Integer)h->part.field);
    lua_pushinteger(L, (lua_Integer)h->part.repetition);
    lua_pushinteger(L, (lua_Integer)h->part.component);
    lua_pushinteger(L, (lua_Integer)h->part.subcomponent);
    return 7;
}

void ln_inspect_push(lua_State *L)
{
    static const luaL_Reg functions[] = {{"call", inspect_call},   {"frame", inspect_frame},
                                         {"owned", inspect_owned}, {"where", inspect_where},
                                         {"place", inspect_place}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    ln_state_on_fault(L, on_fault);
}
