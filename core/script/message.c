#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

#include "hl7/escape.h"
#include "script/hl7core.h"

#define STACK_BYTES 16384 /* up to here a wire form is put together on the C stack */
#define ANCHOR_MIN  65536 /* from here on an input string is kept, not copied */

/* ---- memory ------------------------------------------------------------------------------------
 */

void ln_lmessage_push_env(lua_State *L, struct ln_lmessage *u)
{
    if (u->env) {
        lua_getfenv(L, u->idx);
        return;
    }
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, u->idx);
    lua_rawseti(L, -2, LN_ENV_MESSAGE);
    lua_pushvalue(L, -1);
    lua_setfenv(L, u->idx);
    u->env = true;
}

/* struct ln_arena's more: a block that the message's environment keeps alive. */
static void *more(void *arg, size_t size)
{
    struct ln_lmessage *u = arg;
    lua_State *L = u->L;
    luaL_checkstack(L, 6, "message");
    ln_lmessage_push_env(L, u);
    void *p = lua_newuserdata(L, size);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
    return p;
}

char *ln_lmessage_scratch(lua_State *L, size_t len)
{
    return lua_newuserdata(L, len ? len : 1);
}

/* ---- making ------------------------------------------------------------------------------------
 */

/* string: stack index of a Lua string that holds the bytes, or 0. */
static int push(lua_State *L, struct ln_span bytes, int string,
                const struct ln_charset_policy *policy, struct ln_err *err)
{
    struct ln_scan scan;
    int rc = ln_message_scan_as(bytes, policy, &scan, err);
    if (rc)
        return rc;
    bool anchor = string && bytes.len >= ANCHOR_MIN;
    size_t room = ln_message_room(&scan), head = (sizeof(struct ln_lmessage) + 7) & ~(size_t)7;
    luaL_checkstack(L, 8, "message");
    char *block = lua_newuserdata(L, head + room + (anchor ? 0 : bytes.len));
    struct ln_lmessage *u = (struct ln_lmessage *)(void *)block;
    memset(u, 0, sizeof *u);
    u->L = L;
    u->idx = lua_gettop(L);
    if (policy)
        memcpy(u->substitute, policy->substitute, sizeof u->substitute);
    u->m.arena =
        (struct ln_arena){.at = block + head, .end = block + head + room, .more = more, .arg = u};
    if (anchor) {
        ln_lmessage_push_env(L, u);
        lua_pushvalue(L, string);
        lua_rawseti(L, -2, LN_ENV_MESSAGE + 1);
        lua_pop(L, 1);
    } else {
        memcpy(block + head + room, bytes.ptr, bytes.len);
        bytes.ptr = block + head + room;
    }
    rc = ln_message_build(&u->m, bytes, &scan);
    if (rc) {
        lua_pop(L, 1);
        return ln_err_set(err, rc, "no memory for a message of %zu bytes", bytes.len);
    }
    luaL_getmetatable(L, LN_MT_MESSAGE);
    lua_setmetatable(L, -2);
    return LN_OK;
}

int ln_message_push(lua_State *L, struct ln_span bytes, const struct ln_charset_policy *policy,
                    struct ln_err *err)
{
    return push(L, bytes, 0, policy, err);
}

int ln_lmessage_parse(lua_State *L, int idx, const struct ln_charset_policy *policy,
                      struct ln_err *err)
{
    struct ln_span s;
    s.ptr = lua_tolstring(L, idx, &s.len);
    return push(L, s, idx, policy, err);
}

bool ln_message_is(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return false;
    luaL_getmetatable(L, LN_MT_MESSAGE);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

struct ln_lmessage *ln_lmessage_check(lua_State *L, int idx)
{
    if (!ln_message_is(L, idx))
        luaL_error(L, "message expected, got %s: write msg:raw(...) and the like, with a colon",
                   luaL_typename(L, idx));
    struct ln_lmessage *u = lua_touserdata(L, idx);
    u->L = L;
    u->idx = idx > 0 ? idx : lua_gettop(L) + idx + 1;
    return u;
}

int ln_lmessage_raise(lua_State *L, int code, const struct ln_err *err)
{
    return luaL_error(L, "%s", err && err->text[0] ? err->text : ln_strerror(code));
}

/* ---- wire form ---------------------------------------------------------------------------------
 */

static void push_wire(lua_State *L, struct ln_message *m)
{
    char local[STACK_BYTES];
    size_t len = ln_message_wire_len(m);
    if (!m->touched && m->exact) {
        lua_pushlstring(L, m->bytes.ptr, m->bytes.len);
    } else if (len <= sizeof local) {
        ln_message_wire(m, local);
        lua_pushlstring(L, local, len);
    } else {
        char *p = ln_lmessage_scratch(L, len);
        ln_message_wire(m, p);
        lua_pushlstring(L, p, len);
        lua_remove(L, -2);
    }
}

void ln_message_push_wire(lua_State *L, int idx, bool *changed)
{
    struct ln_lmessage *u = ln_lmessage_check(L, idx);
    push_wire(L, &u->m);
    if (!changed)
        return;
    struct ln_span wire;
    wire.ptr = lua_tolstring(L, -1, &wire.len);
    *changed = u->changed || !ln_span_eq(wire, u->m.bytes);
}

void ln_message_push_copy(lua_State *L, int idx)
{
    bool changed;
    struct ln_err err = {0};
    struct ln_charset_policy policy = ln_lmessage_policy(ln_lmessage_check(L, idx));
    bool named = ln_lmessage_check(L, idx)->m.named;
    ln_message_push_wire(L, idx, &changed);
    int rc = ln_lmessage_parse(L, lua_gettop(L), &policy, &err);
    if (rc)
        ln_lmessage_raise(L, rc, &err);
    struct ln_lmessage *u = lua_touserdata(L, -1);
    u->changed = changed;
    u->m.named = named;
    lua_remove(L, -2);
}

static int l_tostring(lua_State *L)
{
    push_wire(L, &ln_lmessage_check(L, 1)->m);
    return 1;
}

static int l_copy(lua_State *L)
{
    ln_lmessage_check(L, 1);
    ln_message_push_copy(L, 1);
    return 1;
}

static int l_eq(lua_State *L)
{
    ln_message_push_wire(L, 1, NULL);
    ln_message_push_wire(L, 2, NULL);
    lua_pushboolean(L, lua_rawequal(L, -1, -2));
    return 1;
}

static int l_len(lua_State *L)
{
    lua_pushinteger(L, ln_lmessage_check(L, 1)->m.count);
    return 1;
}

/* ---- msg[key] ----------------------------------------------------------------------------------
 */

/* What msg.type and the like stand for: field and component of MSH. */
static const struct {
    const char *name;
    uint32_t field, component;
} attributes[] = {{"type", 9, 1}, {"event", 9, 2}, {"version", 12, 1}, {"control_id", 10, 1}};

static int push_attribute(lua_State *L, struct ln_lmessage *u, int i)
{
    struct ln_part part = {.field = attributes[i].field, .component = attributes[i].component};
    struct ln_span leaf = {0};
    uint32_t slot = ln_message_find(&u->m, ln_span("MSH", 3), 1);
    if (slot != LN_NO_SEGMENT && ln_field_leaf(&u->m, slot, &part, &leaf))
        return ln_lmessage_raise(L, LN_ENOMEM, NULL);
    ln_lmessage_push_leaf(L, u, leaf);
    return 1;
}

/* self, for __index and __newindex: the metatable is upvalue 2. */
static struct ln_lmessage *self(lua_State *L)
{
    struct ln_lmessage *u = lua_touserdata(L, 1);
    if (!u || !lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(2)))
        luaL_error(L, "message expected, got %s", luaL_typename(L, 1));
    lua_pop(L, 1);
    u->L = L;
    u->idx = 1;
    return u;
}

static int l_index(lua_State *L)
{
    struct ln_lmessage *u = self(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a message is indexed by a path or a name, not by a %s",
                          luaL_typename(L, 2));
    if (strchr(lua_tostring(L, 2), '-')) /* a path; the names below hold no dash */
        return ln_lmessage_get(L, u);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return ln_lmessage_get(L, u);
    }
    if (lua_type(L, -1) == LUA_TSTRING)
        ln_hl7core_method(L, lua_upvalueindex(1));
    return lua_isnumber(L, -1) ? push_attribute(L, u, (int)lua_tointeger(L, -1)) : 1;
}

static int l_newindex(lua_State *L)
{
    struct ln_lmessage *u = self(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a message is indexed by a path, not by a %s", luaL_typename(L, 2));
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isfunction(L, -1) || lua_type(L, -1) == LUA_TSTRING)
        return luaL_error(L, "'%s' is a method of messages and cannot be set", lua_tostring(L, 2));
    if (lua_isnumber(L, -1)) {
        int i = (int)lua_tointeger(L, -1);
        lua_pushfstring(L, "MSH-%d.%d", (int)attributes[i].field, (int)attributes[i].component);
        lua_replace(L, 2);
    }
    lua_settop(L, 3);
    return ln_lmessage_set(L, u);
}

/* ---- hl7 ---------------------------------------------------------------------------------------
 */

/* hl7.parse(bytes, { charset = ... }): the options at 2. */
static struct ln_charset_policy parse_option(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "charset") != 0)
            luaL_error(L, "hl7.parse knows one option: charset");
    }
    lua_getfield(L, 2, "charset");
    struct ln_charset_policy policy = ln_lmessage_policy_arg(L, -1);
    lua_pop(L, 1);
    return policy;
}

/* The message on top was UTF-16 or UTF-32, and is UTF-8 now: it must not say otherwise. */
static void relabel(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, -1);
    struct ln_span name;
    u->changed = true;
    u->m.charset = (struct ln_charset){.escape = u->m.delims.escape};
    if (ln_field_get(&u->m, u->m.first, &(struct ln_part){.field = 18}, &name) ||
        (name.len && ln_field_put(&u->m, u->m.first, 18, ln_span_str("UNICODE UTF-8"))))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
}

static int l_parse(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_charset_policy policy;
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 2);
    bool given = !lua_isnil(L, 2);
    if (given)
        policy = parse_option(L);
    int rc = ln_lmessage_parse(L, 1, given ? &policy : NULL, &err);
    if (rc == LN_EPARSE && ln_lmessage_push_wide(L, 1) &&
        (rc = ln_lmessage_parse(L, lua_gettop(L), NULL, &err)) == LN_OK)
        relabel(L);
    if (rc == LN_OK)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err.text[0] ? err.text : ln_strerror(rc));
    return 2;
}

/* Delimiters for escape and unescape: of the message in argument 2, or the usual ones. */
static struct ln_delims delims_arg(lua_State *L)
{
    if (!lua_isnoneornil(L, 2))
        return ln_lmessage_check(L, 2)->m.delims;
    return (struct ln_delims){'|', '^', '~', '\\', '&', '\0'};
}

static int l_escape(lua_State *L)
{
    struct ln_span s;
    struct ln_err err = {0};
    size_t len;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    struct ln_delims d = delims_arg(L);
    int rc = ln_escape_len(&d, s, &len, &err);
    if (rc)
        return ln_lmessage_raise(L, rc, &err);
    char *p = ln_lmessage_scratch(L, len);
    ln_escape(&d, s, p);
    lua_pushlstring(L, p, len);
    return 1;
}

static int l_unescape(lua_State *L)
{
    struct ln_span s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    struct ln_delims d = delims_arg(L);
    char *p = ln_lmessage_scratch(L, s.len);
    lua_pushlstring(L, p, ln_unescape(&d, s, p));
    return 1;
}

/* msg:delimiters(): a table of those that MSH-1 and MSH-2 declare. */
static int l_delimiters(lua_State *L)
{
    const struct ln_delims *d = &ln_lmessage_check(L, 1)->m.delims;
    const struct {
        const char *name;
        char c;
    } all[] = {
        {"field", d->field},   {"component", d->component},       {"repetition", d->repetition},
        {"escape", d->escape}, {"subcomponent", d->subcomponent}, {"truncation", d->truncation}};
    lua_createtable(L, 0, 6);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i].c)
            continue;
        lua_pushlstring(L, &all[i].c, 1);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

static const luaL_Reg methods[] = {
    {"raw", ln_lmessage_raw},
    {"set_raw", ln_lmessage_set_raw},
    {"all", ln_lmessage_all},
    {"each", ln_lmessage_each},
    {"add", ln_lmessage_add},
    {"remove", ln_lmessage_remove},
    {"move", ln_lmessage_move},
    {"copy", l_copy},
    {"delimiters", l_delimiters},
    {"ack", ln_lmessage_ack},
    {"charset", ln_lmessage_charset},
    {"convert", ln_lmessage_l_convert},
    {NULL, NULL},
};

/* Methods written in Lua: a module's name stands in their place until the first call. */
static const char *const lua_methods[][2] = {
    {"groups", "lunate.hl7.groups"},
    {"tree", "lunate.hl7.groups"},
    {"validate", "lunate.hl7.validate"},
};

static const luaL_Reg functions[] = {
    {"parse", l_parse}, {"new", ln_lmessage_new}, {"escape", l_escape}, {"unescape", l_unescape},
    {NULL, NULL},
};

int ln_message_open(lua_State *L)
{
    ln_lhandle_open(L);
    if (luaL_newmetatable(L, LN_MT_MESSAGE)) {
        int mt = lua_gettop(L);
        lua_newtable(L);
        luaL_register(L, NULL, methods);
        for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
            lua_pushinteger(L, (lua_Integer)i);
            lua_setfield(L, -2, attributes[i].name);
        }
        for (size_t i = 0; i < sizeof lua_methods / sizeof lua_methods[0]; i++) {
            lua_pushstring(L, lua_methods[i][1]);
            lua_setfield(L, -2, lua_methods[i][0]);
        }
        static const luaL_Reg meta[] = {{"__index", l_index}, {"__newindex", l_newindex}};
        for (size_t i = 0; i < 2; i++) {
            lua_pushvalue(L, -1);
            lua_pushvalue(L, mt);
            lua_pushcclosure(L, meta[i].func, 2);
            lua_setfield(L, mt, meta[i].name);
        }
        lua_pop(L, 1);
        static const luaL_Reg more_meta[] = {
            {"__tostring", l_tostring}, {"__eq", l_eq}, {"__len", l_len}, {NULL, NULL}};
        luaL_register(L, NULL, more_meta);
        lua_pushliteral(L, "message");
        lua_setfield(L, mt, "__metatable");
    }
    lua_pop(L, 1);
    ln_hl7core_open(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, "\"\"");
    lua_setfield(L, -2, "null");
    ln_hl7core_lazy(L);
    return 1;
}
