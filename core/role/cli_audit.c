/* lunate.audit_core: the audit log for Lua. One log is open at a time: the site's. Who an entry
 * names is this process, unless the engine started it for somebody else (ln_cli_audit_for). */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "audit/access.h"
#include "audit/audit.h"
#include "role/cli.h"
#include "role/role.h"

enum { KNOWN_MAX = 100000 };

static struct ln_audit *log_open;
static struct ln_audit_who who;
static bool who_known;

void ln_cli_audit_for(const struct ln_audit_who *w)
{
    who = *w;
    who_known = true;
}

static int failed(lua_State *L, const struct ln_err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

static void know(void)
{
    if (!who_known)
        ln_audit_who_self(&who, "cli");
    who_known = true;
}

/* open(data): true; nil, why. */
static int audit_open(lua_State *L)
{
    struct ln_err err = {0};
    const char *data = luaL_checkstring(L, 1);
    if (!log_open && ln_audit_open(data, 0, &log_open, &err) != LN_OK) {
        log_open = NULL;
        return failed(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* put { action, object, query, shown, reason, outcome, text, role }: true when it is on disk; nil,
 * why. */
static int audit_put(lua_State *L)
{
    struct ln_err err = {.text = "the audit log is not open"};
    luaL_checktype(L, 1, LUA_TTABLE);
    know();
    struct ln_audit_entry e = {.who = &who,
                               .action = ln_cli_member(L, "action"),
                               .object = ln_cli_member(L, "object"),
                               .query = ln_cli_member(L, "query"),
                               .shown = ln_cli_member(L, "shown"),
                               .reason = ln_cli_member(L, "reason"),
                               .outcome = ln_cli_member(L, "outcome"),
                               .text = ln_cli_member(L, "text")};
    if (!log_open || ln_audit_append(log_open, &e, 1, &err) != LN_OK)
        return failed(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* done(site): says the head to syslog, when something was appended; closes. */
static int audit_done(lua_State *L)
{
    if (log_open)
        ln_audit_syslog(log_open, luaL_checkstring(L, 1));
    ln_audit_close(log_open);
    log_open = NULL;
    return 0;
}

/* hash(id): text that stands for it in this log. */
static int audit_hash(lua_State *L)
{
    char text[32];
    struct ln_span id;
    id.ptr = luaL_checklstring(L, 1, &id.len);
    if (!log_open)
        return luaL_error(L, "the audit log is not open");
    ln_audit_hash(log_open, id, text, sizeof text);
    lua_pushstring(L, text);
    return 1;
}

/* ---- verify ---- */

static void found(void *arg, const char *file, uint64_t line, uint64_t seq, const char *what)
{
    lua_State *L = arg;
    int list = lua_gettop(L);
    if (lua_objlen(L, list) >= 1000)
        return;
    lua_newtable(L);
    lua_pushstring(L, file ? file : "");
    lua_setfield(L, -2, "file");
    lua_pushnumber(L, (lua_Number)line);
    lua_setfield(L, -2, "line");
    lua_pushnumber(L, (lua_Number)seq);
    lua_setfield(L, -2, "seq");
    lua_pushstring(L, what);
    lua_setfield(L, -2, "what");
    lua_rawseti(L, list, (int)lua_objlen(L, list) + 1);
}

/* A list of { seq, hash }. */
static struct ln_audit_known *take_known(lua_State *L, int idx, unsigned *n)
{
    size_t len = lua_istable(L, idx) ? lua_objlen(L, idx) : 0;
    if (len > KNOWN_MAX)
        len = KNOWN_MAX;
    struct ln_audit_known *list = lua_newuserdata(L, (len + 1) * sizeof *list);
    for (size_t i = 0; i < len; i++) {
        lua_rawgeti(L, idx, (int)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        const char *hash = lua_tostring(L, -1);
        list[i] = (struct ln_audit_known){.seq = (uint64_t)lua_tonumber(L, -2)};
        strncpy(list[i].hash, hash ? hash : "", LN_AUDIT_HEX - 1);
        lua_pop(L, 3);
    }
    *n = (unsigned)len;
    return list;
}

static void set(lua_State *L, const char *key, double v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

/* verify(data, public key or nil, from or 0, known or nil): { files, entries, first, last,
 * problems, healed, signed_to, hash, torn, list = { { file, line, seq, what } } }; nil, why. */
static int audit_verify(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_audit_report r;
    const char *data = luaL_checkstring(L, 1);
    struct ln_audit_verify v = {.public_key = luaL_optstring(L, 2, NULL),
                                .from = (uint64_t)luaL_optnumber(L, 3, 0),
                                .found = found,
                                .arg = L};
    lua_settop(L, 4);
    luaL_checkstack(L, 10, "too many values");
    v.known = take_known(L, 4, &v.nknown);
    lua_newtable(L); /* the list: found() puts it there */
    if (ln_audit_check(data, &v, &r, &err) != LN_OK)
        return failed(L, &err);
    lua_newtable(L);
    set(L, "files", (double)r.files);
    set(L, "entries", (double)r.entries);
    set(L, "first", (double)r.first);
    set(L, "last", (double)r.last);
    set(L, "problems", (double)r.problems);
    set(L, "healed", (double)r.healed);
    set(L, "signed_to", (double)r.signed_to);
    lua_pushstring(L, r.hash);
    lua_setfield(L, -2, "hash");
    lua_pushboolean(L, r.torn);
    lua_setfield(L, -2, "torn");
    lua_insert(L, -2);
    lua_setfield(L, -2, "list");
    return 1;
}

/* is_view(verb): true when the engine can run it for who cannot read the store. */
static int audit_is_view(lua_State *L)
{
    const struct ln_right *r = ln_right_of(luaL_checkstring(L, 1));
    lua_pushboolean(L, r && (r->flags & LN_RIGHT_VIEW));
    return 1;
}

/* view_role(verb): the least role, as a number, over a channel that the verb shows. */
static int audit_view_role(lua_State *L)
{
    const struct ln_right *r = ln_right_of(luaL_checkstring(L, 1));
    lua_pushinteger(L, r ? (int)r->role : LN_ROLE_ADMIN);
    return 1;
}

int ln_cli_audit_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", audit_open},           {"put", audit_put},
                                         {"done", audit_done},           {"hash", audit_hash},
                                         {"verify", audit_verify},       {"is_view", audit_is_view},
                                         {"view_role", audit_view_role}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
