#include "script/evaluate.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "script/channel.h"
#include "script/limits.h"
#include "script/state.h"

#define SECONDS   5.0
#define MEMORY_MB 256

/* Everything of one evaluation; freed as a whole. */
struct job {
    struct ln_files files;
    struct ln_host host;
    lua_State *S; /* the sandboxed state */
    struct ln_err err;
};

static int job_gc(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    ln_limits_watch(NULL, 0, NULL);
    ln_state_free(job->S);
    ln_files_fini(&job->files);
    *job = (struct job){0};
    return 0;
}

static struct job *new_job(lua_State *L)
{
    struct job *job = lua_newuserdata(L, sizeof *job);
    *job = (struct job){0};
    if (luaL_newmetatable(L, "lunate.job")) {
        lua_pushcfunction(L, job_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return job;
}

static void take_files(lua_State *L, int idx, struct ln_files *files)
{
    lua_pushnil(L);
    for (; lua_next(L, idx); lua_pop(L, 1)) {
        struct ln_span path, data;
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, idx, "paths are strings");
        path.ptr = lua_tolstring(L, -2, &path.len);
        data.ptr = luaL_checklstring(L, -1, &data.len);
        if (ln_files_add(files, path, data) != LN_OK)
            luaL_error(L, "not enough memory");
    }
}

/* Copies a table of strings from one state to the other; lists and named ones alike. */
static void copy_strings(lua_State *from, int idx, lua_State *to)
{
    lua_newtable(to);
    lua_pushnil(from);
    for (; lua_next(from, idx); lua_pop(from, 1)) {
        size_t len;
        if (lua_type(from, -2) == LUA_TNUMBER)
            lua_pushnumber(to, lua_tonumber(from, -2));
        else
            lua_pushstring(to, lua_tostring(from, -2));
        const char *s = lua_tolstring(from, -1, &len);
        lua_pushlstring(to, s ? s : "", s ? len : 0);
        lua_rawset(to, -3);
    }
}

/* In the sandboxed state. Arguments: value, path, text. */
static int check_site(lua_State *S)
{
    ln_state_push_module(S, "lunate.sitefile");
    lua_insert(S, 1);
    lua_call(S, 3, 2);
    return 2;
}

static int eval_site(struct job *job, const char *path)
{
    const struct ln_file *file = ln_files_get(&job->files, path);
    if (!file)
        return ln_err_set(&job->err, LN_ENOTFOUND, "%s is not there", path);
    struct ln_span text = ln_span(file->data, file->len);
    lua_State *S = job->S;
    int code = ln_sandbox_open(S, &job->host, path, &job->err);
    lua_pushcfunction(S, check_site);
    if (code == LN_OK)
        code = ln_sandbox_load(S, text, lua_pushfstring(S, "@%s", path), &job->err);
    if (code != LN_OK)
        return code;
    lua_remove(S, -2);
    if ((code = ln_state_call(S, 0, 1)) == LN_OK) {
        lua_pushstring(S, path);
        lua_pushlstring(S, text.ptr, text.len);
        code = ln_state_call(S, 3, 2);
    }
    if (code != LN_OK)
        ln_state_fault_text(S, code, &job->err);
    return code;
}

static int run_job(struct job *job, lua_State *L, bool site, const char *path)
{
    job->S = ln_state_new_brief(false, false, &job->err);
    if (!job->S)
        return job->err.code;
    lua_State *S = job->S;
    ln_state_limit_memory(S, (size_t)MEMORY_MB << 20);
    int code = ln_limits_watch(S, SECONDS, NULL);
    if (code != LN_OK)
        return code;
    ln_limits_begin(ln_mono_us());
    if (site) {
        code = eval_site(job, path);
    } else {
        copy_strings(L, 4, S);
        code = ln_channel_eval(S, &job->host, path, 1, &job->err);
        if (code == LN_OK)
            lua_pop(S, 1); /* the plan */
    }
    ln_limits_end();
    return code;
}

static int evaluate(lua_State *L)
{
    const char *kind = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checktype(L, 4, LUA_TTABLE);
    struct job *job = new_job(L);
    int handle = lua_gettop(L);
    take_files(L, 3, &job->files);
    job->host.site = lua_tostring(L, lua_upvalueindex(1));
    job->host.files = &job->files;
    job->host.loading = true;
    int code = run_job(job, L, *kind == 's', path);
    double mb = 0;
    if (code == LN_OK) {
        int top = lua_gettop(job->S);
        copy_strings(job->S, top - 1, L);
        copy_strings(job->S, top, L);
        lua_gc(job->S, LUA_GCCOLLECT, 0);
        mb = (double)ln_state_memory(job->S) / (1 << 20);
    } else {
        lua_newtable(L);
        lua_newtable(L);
        lua_pushstring(L, job->err.text[0] ? job->err.text : ln_strerror(code));
        lua_rawseti(L, -2, 1);
    }
    lua_pushcfunction(L, job_gc); /* now, not at some later collection */
    lua_pushvalue(L, handle);
    lua_call(L, 1, 0);
    lua_pushnumber(L, mb);
    return 3;
}

void ln_evaluate_push(lua_State *L, const char *site)
{
    lua_pushstring(L, site);
    lua_pushcclosure(L, evaluate, 1);
}
