#include "script/channel.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/state.h"

/* Arguments: value, path, text, defaults. */
static int check(lua_State *L)
{
    ln_state_push_module(L, "lunate.channel");
    lua_getfield(L, -1, "check");
    lua_pushvalue(L, 1);
    lua_newtable(L);
    static const char *const names[] = {"path", "text", "defaults"};
    for (int i = 0; i < 3; i++) {
        lua_pushvalue(L, 2 + i);
        lua_setfield(L, -2, names[i]);
    }
    lua_call(L, 2, 3);
    return 3;
}

int ln_channel_eval(lua_State *L, const struct ln_host *host, const char *path, int defaults,
                    struct ln_err *err)
{
    char chunk[512];
    const struct ln_file *file = ln_files_get(host->files, path);
    if (!file)
        return ln_err_set(err, LN_ENOTFOUND, "%s is not among the files handed over", path);
    snprintf(chunk, sizeof chunk, "@%s", path);
    int code = ln_sandbox_open(L, host, path, err);
    if (code == LN_OK)
        code = ln_sandbox_load(L, ln_span(file->data, file->len), chunk, err);
    if (code != LN_OK)
        return code;
    if ((code = ln_state_call(L, 0, 1)) == LN_OK) {
        lua_pushcfunction(L, check);
        lua_insert(L, -2);
        lua_pushstring(L, path);
        lua_pushlstring(L, file->data, file->len);
        if (defaults)
            lua_pushvalue(L, defaults);
        else
            lua_pushnil(L);
        code = ln_state_call(L, 4, 3);
    }
    if (code != LN_OK)
        ln_state_fault_text(L, code, err);
    return code;
}

static int take_fn(lua_State *L, int plan, const char *key)
{
    lua_getfield(L, plan, key);
    if (lua_isfunction(L, -1))
        return luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    return LN_NO_FN;
}

static struct ln_channel_fns take_fns(lua_State *L, int plan)
{
    struct ln_channel_fns fns;
    fns.filter = take_fn(L, plan, "filter");
    fns.transform = take_fn(L, plan, "transform");
    return fns;
}

/* The charset that lua/channel.lua has checked; a "trust" when there is none. */
static struct ln_charset_policy take_charset(lua_State *L, int plan)
{
    struct ln_charset_policy policy = {0};
    struct ln_span s = {NULL, 0};
    lua_getfield(L, plan, "charset");
    if (lua_type(L, -1) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    if (s.len && ln_charset_policy_read(s, &policy, NULL))
        policy = (struct ln_charset_policy){0};
    lua_pop(L, 1);
    return policy;
}

/* The plan is on top. */
static int take_plan(lua_State *L, struct ln_channel *ch)
{
    int plan = lua_gettop(L);
    unsigned n = (unsigned)lua_objlen(L, plan);
    ch->dest = calloc(n + 1, sizeof *ch->dest);
    if (!ch->dest)
        return LN_ENOMEM;
    ch->fns = take_fns(L, plan);
    ch->charset = take_charset(L, plan);
    for (; ch->ndest < n; ch->ndest++) {
        struct ln_channel_dest *d = &ch->dest[ch->ndest];
        lua_rawgeti(L, plan, (int)ch->ndest + 1);
        lua_getfield(L, -1, "name");
        snprintf(d->name, sizeof d->name, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        d->fns = take_fns(L, lua_gettop(L));
        d->charset = take_charset(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    return LN_OK;
}

int ln_channel_load(lua_State *L, const struct ln_host *host, const char *path,
                    struct ln_channel *ch, struct ln_err *err)
{
    *ch = (struct ln_channel){.fns = {LN_NO_FN, LN_NO_FN}};
    int top = lua_gettop(L), code = ln_channel_eval(L, host, path, 0, err);
    if (code != LN_OK)
        return code;
    lua_rawgeti(L, -2, 1);
    if (lua_isstring(L, -1)) {
        code = ln_err_set(err, LN_EINVAL, "%s", lua_tostring(L, -1));
    } else {
        lua_pop(L, 1);
        code = take_plan(L, ch);
        if (code != LN_OK)
            ln_err_set(err, code, "out of memory");
    }
    lua_settop(L, top);
    return code;
}

void ln_channel_fini(struct ln_channel *ch)
{
    free(ch->dest);
    *ch = (struct ln_channel){0};
}
