/* lunate.store's readers: script versions. As in cli_store.c each call is one short transaction. */
#include "role/cli_version.h"

#include <lauxlib.h>
#include <stdio.h>

#include "store/version.h"

static struct ln_reader *begin(lua_State *L)
{
    struct ln_reader **r = luaL_checkudata(L, 1, "lunate.reader");
    if (!*r)
        luaL_error(L, "the reader is closed");
    int rc = ln_reader_begin(*r);
    if (rc != LN_OK)
        luaL_error(L, "the store cannot be read: %s", ln_strerror(rc));
    return *r;
}

/* Ends the transaction; an error for all but the end of a list. */
static void end(lua_State *L, struct ln_reader *r, int rc)
{
    ln_reader_end(r);
    if (rc != LN_OK && rc != LN_ENOTFOUND)
        luaL_error(L, "the store cannot be read: %s", ln_strerror(rc));
}

static void set_num(lua_State *L, const char *key, double v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

static void set_id(lua_State *L, const char *key, uint64_t id)
{
    char text[20] = "";
    if (id)
        snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void push_file(lua_State *L, const struct ln_version_file *f)
{
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, f->path.ptr, f->path.len);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, (const char *)f->hash, LN_VERSION_HASH);
    lua_setfield(L, -2, "hash");
}

static void push_version(lua_State *L, const struct ln_version *v)
{
    lua_newtable(L);
    set_id(L, "id", v->id);
    set_num(L, "first_us", (double)v->first_us);
    set_num(L, "last_us", (double)v->last_us);
    lua_pushstring(L, v->git);
    lua_setfield(L, -2, "git");
    lua_pushboolean(L, v->dirty);
    lua_setfield(L, -2, "dirty");
    lua_createtable(L, (int)v->nfile, 0);
    for (uint32_t i = 0; i < v->nfile; i++) {
        push_file(L, &v->file[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "files");
}

/* reader:versions(channel): list of { id, first_us, last_us, git, dirty, files = { { path, hash } }
 * }, the one that was loaded last at the end. */
static int reader_versions(lua_State *L)
{
    uint32_t chan = (uint32_t)luaL_checkinteger(L, 2);
    struct ln_reader *r = begin(L);
    struct ln_version v;
    uint64_t id = 0;
    int rc, n = 0;
    lua_newtable(L);
    while ((rc = ln_read_next_version(r, chan, &id, &v)) == LN_OK) {
        push_version(L, &v);
        lua_rawseti(L, -2, ++n);
    }
    end(L, r, rc);
    return 1;
}

/* reader:runs(channel): list of { id, first_seq, last_seq, messages, first_us, last_us } in order.
 */
static int reader_runs(lua_State *L)
{
    uint32_t chan = (uint32_t)luaL_checkinteger(L, 2);
    struct ln_reader *r = begin(L);
    struct ln_version_run run;
    uint64_t seq = 0;
    int rc, n = 0;
    lua_newtable(L);
    while ((rc = ln_read_next_run(r, chan, &seq, &run)) == LN_OK) {
        lua_newtable(L);
        set_id(L, "id", run.id);
        set_num(L, "first_seq", (double)run.first_seq);
        set_num(L, "last_seq", (double)run.last_seq);
        set_num(L, "messages", (double)run.messages);
        set_num(L, "first_us", (double)run.first_us);
        set_num(L, "last_us", (double)run.last_us);
        lua_rawseti(L, -2, ++n);
    }
    end(L, r, rc);
    return 1;
}

/* reader:version_now(channel): { id, pin, pin_from, pin_us, reason }; ids are "" where there is
 * none.
 */
static int reader_now(lua_State *L)
{
    uint32_t chan = (uint32_t)luaL_checkinteger(L, 2);
    struct ln_reader *r = begin(L);
    struct ln_version_now now = {0};
    int rc = ln_read_version_now(r, chan, &now);
    lua_newtable(L);
    set_id(L, "id", now.id);
    set_id(L, "pin", now.pin);
    set_id(L, "pin_from", now.pin_from);
    set_num(L, "pin_us", (double)now.pin_us);
    lua_pushlstring(L, now.reason.ptr ? now.reason.ptr : "", now.reason.len);
    lua_setfield(L, -2, "reason");
    end(L, r, rc);
    return 1;
}

/* reader:version_file(hash): its content; nil when it is not kept. */
static int reader_file(lua_State *L)
{
    size_t len;
    struct ln_span content;
    const char *hash = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len == LN_VERSION_HASH, 2, "not a hash");
    struct ln_reader *r = begin(L);
    int rc = ln_read_version_file(r, (const uint8_t *)hash, &content);
    if (rc == LN_OK)
        lua_pushlstring(L, content.ptr, content.len);
    else
        lua_pushnil(L);
    end(L, r, rc);
    return 1;
}

void ln_cli_version_register(lua_State *L)
{
    static const luaL_Reg methods[] = {{"versions", reader_versions},
                                       {"runs", reader_runs},
                                       {"version_now", reader_now},
                                       {"version_file", reader_file},
                                       {NULL, NULL}};
    luaL_register(L, NULL, methods);
}
