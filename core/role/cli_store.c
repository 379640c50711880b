/* lunate.store: the store for Lua, read-only. Each call is one short transaction and copies what it
 * gives, so that a slow reader of ours never holds up the engine's reuse of pages. Numbers are
 * sequence numbers and microseconds: both below 2^53. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "role/cli.h"
#include "role/cli_keep.h"
#include "role/cli_version.h"
#include "store/store.h"

#define READER    "lunate.reader"
#define FOUND_MAX 10000u

static struct ln_reader *reader(lua_State *L)
{
    struct ln_reader **r = luaL_checkudata(L, 1, READER);
    if (!*r)
        luaL_error(L, "the reader is closed");
    return *r;
}

static struct ln_reader *begin(lua_State *L)
{
    struct ln_reader *r = reader(L);
    int rc = ln_reader_begin(r);
    if (rc != LN_OK)
        luaL_error(L, "the store cannot be read: %s", ln_strerror(rc));
    return r;
}

/* Ends the transaction: nil when there is no such thing, else an error. */
static int none(lua_State *L, struct ln_reader *r, int rc)
{
    ln_reader_end(r);
    if (rc != LN_ENOTFOUND)
        return luaL_error(L, "the store cannot be read: %s", ln_strerror(rc));
    lua_pushnil(L);
    return 1;
}

static void set_str(lua_State *L, const char *key, struct ln_span s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
    lua_setfield(L, -2, key);
}

static void set_num(lua_State *L, const char *key, double v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

static void set_name(lua_State *L, const char *key, const char *name)
{
    lua_pushstring(L, name);
    lua_setfield(L, -2, key);
}

static uint32_t check_channel(lua_State *L, int i)
{
    return (uint32_t)luaL_checkinteger(L, i);
}

static uint64_t check_seq(lua_State *L, int i)
{
    return (uint64_t)luaL_checknumber(L, i);
}

/* open(folder): a reader; nil, why. */
static int store_open(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_reader **r = lua_newuserdata(L, sizeof *r);
    *r = NULL;
    luaL_getmetatable(L, READER);
    lua_setmetatable(L, -2);
    if (ln_reader_open(luaL_checkstring(L, 1), r, &err) == LN_OK)
        return 1;
    *r = NULL;
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

/* reader:keys(): { sealed, generations, other, key, messages, clear }. */
static int reader_keys(lua_State *L)
{
    struct ln_reader *r = begin(L);
    struct ln_key_state s;
    int rc = ln_read_key_state(r, &s);
    if (rc != LN_OK)
        return none(L, r, rc);
    ln_reader_end(r);
    lua_newtable(L);
    lua_pushboolean(L, s.sealed);
    lua_setfield(L, -2, "sealed");
    set_num(L, "generations", s.generations);
    set_num(L, "other", s.other);
    set_name(L, "key", s.key);
    set_num(L, "messages", (double)s.messages);
    set_num(L, "clear", (double)s.clear);
    return 1;
}

static int reader_close(lua_State *L)
{
    struct ln_reader **r = luaL_checkudata(L, 1, READER);
    if (*r)
        ln_reader_close(*r);
    *r = NULL;
    return 0;
}

static void push_dest(lua_State *L, const struct ln_dest_state *d)
{
    lua_newtable(L);
    set_num(L, "id", d->id);
    set_name(L, "name", d->name);
    set_num(L, "cursor", (double)d->cursor.seq);
    set_num(L, "cursor_n", d->cursor.n);
    set_num(L, "queued", (double)d->queued);
}

/* reader:channels(): list of { id, name, first_seq, next_seq, cursor, destinations = { ... } }. */
static int reader_channels(lua_State *L)
{
    struct ln_reader *r = begin(L);
    struct ln_channel_state c;
    int rc, n = 0;
    lua_newtable(L);
    for (uint32_t id = 0; (rc = ln_read_next_channel(r, id, &c)) == LN_OK; id = c.id) {
        lua_newtable(L);
        set_num(L, "id", c.id);
        set_name(L, "name", c.name);
        set_num(L, "first_seq", (double)c.first_seq);
        set_num(L, "next_seq", (double)c.next_seq);
        set_num(L, "cursor", (double)c.cursor);
        set_num(L, "bytes", (double)c.bytes);
        lua_newtable(L);
        for (unsigned i = 0; i < c.ndest; i++) {
            push_dest(L, &c.dest[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        lua_setfield(L, -2, "destinations");
        lua_rawseti(L, -2, ++n);
    }
    if (rc != LN_ENOTFOUND)
        return none(L, r, rc);
    ln_reader_end(r);
    return 1;
}

static void push_receipt(lua_State *L, uint64_t seq, const struct ln_receipt *p, bool raw)
{
    static const char *const kinds[] = {"?",      "received",  "unreadable", "forwarded",
                                        "resent", "reprocess", "duplicate"};
    lua_newtable(L);
    set_num(L, "seq", (double)seq);
    set_name(L, "kind", kinds[p->kind <= LN_R_DUPLICATE ? p->kind : 0]);
    set_num(L, "time_us", (double)p->time_us);
    set_num(L, "origin_chan", p->origin_chan);
    set_num(L, "origin_seq", (double)p->origin_seq);
    set_str(L, "peer", p->peer);
    set_str(L, "control_id", p->control_id);
    set_str(L, "type", p->type);
    set_str(L, "only_dest", p->only_dest);
    set_num(L, "length", (double)p->raw.len);
    lua_newtable(L);
    for (unsigned i = 0; i < p->npatient && i < LN_PATIENTS_MAX; i++) {
        lua_pushlstring(L, p->patient[i].ptr, p->patient[i].len);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "patients");
    if (raw)
        set_str(L, "raw", p->raw);
}

/* reader:receipt(channel, seq, where, raw): the message at seq; where = -1: at or before it, 1: at
 * or behind it; raw: with its bytes. nil when there is none. */
static int reader_receipt(lua_State *L)
{
    struct ln_receipt p = {0};
    uint32_t chan = check_channel(L, 2);
    uint64_t seq = check_seq(L, 3);
    int where = (int)luaL_optinteger(L, 4, 0);
    bool raw = lua_toboolean(L, 5);
    struct ln_reader *r = begin(L);
    int rc = where < 0   ? ln_read_receipt_back(r, chan, &seq, &p)
             : where > 0 ? ln_read_receipt_from(r, chan, &seq, &p)
                         : ln_read_receipt(r, chan, seq, &p);
    if (rc != LN_OK)
        return none(L, r, rc);
    push_receipt(L, seq, &p, raw);
    ln_reader_end(r);
    return 1;
}

static void push_items(lua_State *L, const struct ln_processed *p)
{
    static const char *const kinds[] = {"?",        "bytes",  "input",    "same",
                                        "filtered", "parked", "forwarded"};
    lua_createtable(L, (int)p->nitems, 0);
    for (uint32_t i = 0; i < p->nitems; i++) {
        const struct ln_item *item = &p->items[i];
        lua_newtable(L);
        set_num(L, "n", i);
        set_num(L, "dest", item->dest);
        set_name(L, "kind", kinds[item->kind <= LN_I_FORWARDED ? item->kind : 0]);
        set_num(L, "to_chan", item->to_chan);
        set_num(L, "to_seq", (double)item->to_seq);
        if (item->kind == LN_I_FILTERED || item->kind == LN_I_PARKED)
            set_str(L, "reason", item->data);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "items");
}

/* reader:result(channel, seq): what the script made of it; nil when it was not processed yet. */
static int reader_result(lua_State *L)
{
    static const char *const states[] = {"?", "done", "filtered", "parked", "rejected"};
    struct ln_processed p = {0};
    char script[20] = "";
    uint32_t chan = check_channel(L, 2);
    uint64_t seq = check_seq(L, 3);
    struct ln_reader *r = begin(L);
    int rc = ln_read_result(r, chan, seq, &p);
    if (rc != LN_OK)
        return none(L, r, rc);
    lua_newtable(L);
    set_name(L, "state", states[p.state <= LN_S_REJECTED ? p.state : 0]);
    set_num(L, "time_us", (double)p.time_us);
    set_num(L, "duration_us", p.duration_us);
    set_num(L, "attempts", p.attempts);
    if (p.script)
        snprintf(script, sizeof script, "%016llx", (unsigned long long)p.script);
    set_name(L, "script", script);
    set_name(L, "ack", p.ack);
    set_str(L, "reason", p.reason);
    set_str(L, "where", p.where);
    set_str(L, "trace", p.trace);
    push_items(L, &p);
    ln_reader_end(r);
    return 1;
}

/* reader:output(channel, seq, n): its bytes as to be delivered. */
static int reader_output(lua_State *L)
{
    struct ln_span bytes = {0};
    uint32_t chan = check_channel(L, 2), n = (uint32_t)luaL_checkinteger(L, 4);
    uint64_t seq = check_seq(L, 3);
    struct ln_reader *r = begin(L);
    int rc = ln_read_output(r, chan, seq, n, &bytes);
    if (rc != LN_OK)
        return none(L, r, rc);
    lua_pushlstring(L, bytes.ptr ? bytes.ptr : "", bytes.len);
    ln_reader_end(r);
    return 1;
}

/* reader:outcome(channel, seq, n): how its delivery ended; nil when it has not. */
static int reader_outcome(lua_State *L)
{
    static const char *const states[] = {"?", "sent", "parked", "skipped"};
    struct ln_outcome o = {0};
    uint32_t chan = check_channel(L, 2), n = (uint32_t)luaL_checkinteger(L, 4);
    uint64_t seq = check_seq(L, 3);
    struct ln_reader *r = begin(L);
    int rc = ln_read_outcome(r, chan, seq, n, &o);
    if (rc != LN_OK)
        return none(L, r, rc);
    lua_newtable(L);
    set_name(L, "state", states[o.state <= LN_OUT_SKIPPED ? o.state : 0]);
    set_num(L, "tries", o.tries);
    set_num(L, "first_us", (double)o.first_us);
    set_num(L, "time_us", (double)o.time_us);
    set_str(L, "reply", o.reply);
    set_str(L, "reason", o.reason);
    ln_reader_end(r);
    return 1;
}

/* reader:events(channel, seq): list of { kind, time_us, dest, text }. */
static int reader_events(lua_State *L)
{
    static const char *const kinds[] = {"?", "attempt", "ack", "log", "operator", "retry", "note"};
    struct ln_event e = {0};
    uint32_t chan = check_channel(L, 2);
    uint64_t seq = check_seq(L, 3);
    struct ln_reader *r = begin(L);
    int rc, n = 0;
    lua_newtable(L);
    for (uint32_t i = 0; (rc = ln_read_event(r, chan, seq, &i, &e)) == LN_OK;) {
        lua_newtable(L);
        set_name(L, "kind", kinds[e.kind <= LN_EV_NOTE ? e.kind : 0]);
        set_num(L, "time_us", (double)e.time_us);
        set_num(L, "dest", e.dest);
        set_str(L, "text", e.text);
        lua_rawseti(L, -2, ++n);
    }
    if (rc != LN_ENOTFOUND)
        return none(L, r, rc);
    ln_reader_end(r);
    return 1;
}

/* reader:find(index, key, channel): list of { channel, seq }, newest first; index "control_id" or
 * "patient"; channel 0 = all. */
static int reader_find(lua_State *L)
{
    static const char *const names[] = {"control_id", "patient", NULL};
    int index = luaL_checkoption(L, 2, NULL, names) + 1;
    unsigned n = 0;
    struct ln_span key;
    key.ptr = luaL_checklstring(L, 3, &key.len);
    uint32_t chan = check_channel(L, 4);
    struct ln_found *found = lua_newuserdata(L, FOUND_MAX * sizeof *found);
    struct ln_reader *r = begin(L);
    int rc = ln_find(r, (enum ln_index)index, chan, key, found, FOUND_MAX, &n);
    if (rc != LN_OK && rc != LN_ENOTFOUND)
        return none(L, r, rc);
    ln_reader_end(r);
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        lua_newtable(L);
        set_num(L, "channel", found[i].chan);
        set_num(L, "seq", (double)found[i].seq);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* reader:parked(channel, seq, n): the next parked one behind it: seq, n (nil = the whole message);
 * nothing at the end. Begin with seq 0. */
static int reader_parked(lua_State *L)
{
    uint32_t chan = check_channel(L, 2), n = (uint32_t)luaL_optnumber(L, 4, LN_WHOLE);
    uint64_t seq = check_seq(L, 3);
    struct ln_reader *r = begin(L);
    int rc = ln_read_next_parked(r, chan, &seq, &n);
    if (rc != LN_OK)
        return none(L, r, rc);
    ln_reader_end(r);
    lua_pushnumber(L, (lua_Number)seq);
    if (n == LN_WHOLE)
        return 1;
    lua_pushnumber(L, n);
    return 2;
}

/* reader:seq_at(channel, time_us): the first message received then or later; nil when none was. */
static int reader_seq_at(lua_State *L)
{
    uint32_t chan = check_channel(L, 2);
    int64_t time_us = (int64_t)luaL_checknumber(L, 3);
    uint64_t seq = 0;
    struct ln_reader *r = begin(L);
    int rc = ln_read_seq_at(r, chan, time_us, &seq);
    if (rc != LN_OK)
        return none(L, r, rc);
    ln_reader_end(r);
    lua_pushnumber(L, (lua_Number)seq);
    return 1;
}

/* reader:kv(channel, key): the next pair behind that key ("" at first): key, value; nil at the end.
 */
static int reader_kv(lua_State *L)
{
    uint32_t chan = check_channel(L, 2);
    struct ln_span key, value = {0};
    key.ptr = luaL_checklstring(L, 3, &key.len);
    struct ln_reader *r = begin(L);
    int rc = ln_read_kv_next(r, chan, &key, &value);
    if (rc != LN_OK)
        return none(L, r, rc);
    lua_pushlstring(L, key.ptr ? key.ptr : "", key.len);
    lua_pushlstring(L, value.ptr ? value.ptr : "", value.len);
    ln_reader_end(r);
    return 2;
}

int ln_cli_store_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", store_open}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"channels", reader_channels}, {"receipt", reader_receipt},
        {"result", reader_result},     {"output", reader_output},
        {"outcome", reader_outcome},   {"events", reader_events},
        {"find", reader_find},         {"parked", reader_parked},
        {"seq_at", reader_seq_at},     {"kv", reader_kv},
        {"keys", reader_keys},         {"close", reader_close},
        {"__gc", reader_close},        {NULL, NULL},
    };
    luaL_newmetatable(L, READER);
    luaL_register(L, NULL, methods);
    ln_cli_version_register(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    ln_cli_keep_register(L);
    return 1;
}
