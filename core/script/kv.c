/* The tables live in one array in the registry: KEPT key -> JSON text; PENDING key -> JSON text or
 * false (deleted); UNDO a list key, old pending value or true (there was none), while a mark is
 * set. */
#include "script/kv.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "script/luajson.h"

enum { KEPT = 1, PENDING, UNDO };

#define PLACE "lunate.kv"
#define STATE "lunate.kv.state"

struct kv {
    bool open; /* a message is being processed */
    bool marked;
    int undo; /* entries in UNDO */
    unsigned writes;
    bool stale; /* PENDING and UNDO are of an earlier message */
};

static struct kv *state(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, STATE);
    struct kv *kv = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return kv;
}

static void push_table(lua_State *L, int which)
{
    lua_getfield(L, LUA_REGISTRYINDEX, PLACE);
    lua_rawgeti(L, -1, which);
    lua_remove(L, -2);
}

static void new_table(lua_State *L, int which)
{
    lua_getfield(L, LUA_REGISTRYINDEX, PLACE);
    lua_newtable(L);
    lua_rawseti(L, -2, which);
    lua_pop(L, 1);
}

static void check_key(lua_State *L)
{
    size_t len;
    luaL_argcheck(L, lua_type(L, 1) == LUA_TSTRING, 1, "a kv key is a string");
    lua_tolstring(L, 1, &len);
    luaL_argcheck(L, len > 0 && len <= LN_KV_KEY_MAX, 1, "a kv key is 1 to 400 bytes long");
}

static int kv_get(lua_State *L)
{
    check_key(L);
    push_table(L, PENDING);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        push_table(L, KEPT);
        lua_pushvalue(L, 1);
        lua_rawget(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        lua_pushnil(L);
        return 1;
    }
    struct ln_span text;
    struct ln_err err;
    text.ptr = lua_tolstring(L, -1, &text.len);
    if (ln_luajson_decode(L, text, LN_LUAJSON_RAW | LN_LUAJSON_EXACT, &err) != LN_OK)
        return luaL_error(L, "kv holds something that does not read: %s", err.text);
    return 1;
}

/* Key at 1, its new text or false on top. */
static void write_pending(lua_State *L)
{
    struct kv *kv = state(L);
    int value = lua_gettop(L);
    if (!kv->open)
        luaL_error(L, "kv can be written only while a message is processed");
    if (++kv->writes > LN_KV_WRITES_MAX)
        luaL_error(L, "more than %d kv writes by one message", (int)LN_KV_WRITES_MAX);
    push_table(L, PENDING);
    if (kv->marked) {
        push_table(L, UNDO);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, kv->undo + 1);
        lua_pushvalue(L, 1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, 1);
        }
        lua_rawseti(L, -2, kv->undo + 2);
        kv->undo += 2;
        lua_pop(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, value);
    lua_rawset(L, -3);
    lua_settop(L, value);
}

static int kv_delete(lua_State *L)
{
    check_key(L);
    lua_settop(L, 1);
    lua_pushboolean(L, 0);
    write_pending(L);
    return 0;
}

static int kv_set(lua_State *L)
{
    check_key(L);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_settop(L, 1);
        return kv_delete(L);
    }
    struct ln_span s = ln_luajson_encode(L, 2, LN_LUAJSON_RAW, 0);
    if (s.len > LN_KV_VALUE_MAX)
        return luaL_error(L, "a kv value is at most 1 MiB of JSON; this one has %d bytes",
                          (int)s.len);
    lua_pushlstring(L, s.ptr, s.len);
    write_pending(L);
    return 0;
}

/* kv.keys([prefix]): a sorted list is made by the caller (lua/sandbox.lua). */
static int kv_keys(lua_State *L)
{
    size_t plen, len;
    const char *prefix = luaL_optlstring(L, 1, "", &plen);
    lua_newtable(L);
    int list = lua_gettop(L), n = 0;
    for (int which = KEPT; which <= PENDING; which++) {
        push_table(L, PENDING);
        push_table(L, which);
        lua_pushnil(L);
        for (; lua_next(L, -2); lua_pop(L, 1)) {
            const char *key = lua_tolstring(L, -2, &len);
            bool there = lua_toboolean(L, -1);
            if (which == KEPT) { /* what is pending says the last word */
                lua_pushvalue(L, -2);
                lua_rawget(L, -5);
                there = lua_isnil(L, -1);
                lua_pop(L, 1);
            }
            if (there && len >= plen && memcmp(key, prefix, plen) == 0) {
                lua_pushvalue(L, -2);
                lua_rawseti(L, list, ++n);
            }
        }
        lua_pop(L, 2);
    }
    return 1;
}

int ln_kv_open(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"get", kv_get}, {"set", kv_set}, {"delete", kv_delete}, {"keys", kv_keys}, {NULL, NULL}};
    memset(lua_newuserdata(L, sizeof(struct kv)), 0, sizeof(struct kv));
    lua_setfield(L, LUA_REGISTRYINDEX, STATE);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, PLACE);
    for (int i = KEPT; i <= UNDO; i++)
        new_table(L, i);
    lua_newtable(L);
    luaL_setfuncs(L, fns, 0);
    return 1;
}

void ln_kv_load(lua_State *L, struct ln_span key, struct ln_span value)
{
    push_table(L, KEPT);
    lua_pushlstring(L, key.ptr, key.len);
    lua_pushlstring(L, value.ptr, value.len);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

void ln_kv_begin(lua_State *L)
{
    struct kv *kv = state(L);
    if (kv->stale) {
        new_table(L, PENDING);
        new_table(L, UNDO);
        kv->stale = false;
    }
    kv->open = true;
    kv->marked = false;
    kv->undo = 0;
    kv->writes = 0;
}

void ln_kv_undo(lua_State *L)
{
    struct kv *kv = state(L);
    kv->open = false;
    kv->stale = kv->stale || kv->writes > 0;
}

unsigned ln_kv_pending(lua_State *L)
{
    return state(L)->writes;
}

void ln_kv_commit(lua_State *L, void (*each)(void *arg, struct ln_span key, struct ln_span value),
                  void *arg)
{
    push_table(L, KEPT);
    push_table(L, PENDING);
    lua_pushnil(L);
    for (; lua_next(L, -2); lua_pop(L, 1)) {
        struct ln_span k, v = {NULL, 0};
        k.ptr = lua_tolstring(L, -2, &k.len);
        if (lua_type(L, -1) == LUA_TSTRING)
            v.ptr = lua_tolstring(L, -1, &v.len);
        each(arg, k, v);
        lua_pushvalue(L, -2);
        if (v.ptr)
            lua_pushvalue(L, -2);
        else
            lua_pushnil(L);
        lua_rawset(L, -6);
    }
    lua_pop(L, 2);
    ln_kv_undo(L); /* only what is pending goes */
}

void ln_kv_mark(lua_State *L)
{
    struct kv *kv = state(L);
    kv->marked = true;
    kv->undo = 0;
}

void ln_kv_back(lua_State *L)
{
    struct kv *kv = state(L);
    kv->marked = false;
    if (kv->undo == 0)
        return;
    push_table(L, PENDING);
    push_table(L, UNDO);
    for (; kv->undo > 0; kv->undo -= 2) {
        lua_rawgeti(L, -1, kv->undo - 1);
        lua_rawgeti(L, -2, kv->undo);
        if (lua_isboolean(L, -1) && lua_toboolean(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
        lua_rawset(L, -4);
    }
    lua_pop(L, 2);
}
