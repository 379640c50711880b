/* Handles: msg.PID, msg.PID[5], msg.PID[5][1] and the same by name. Reading through a handle gives
 * further handles; tostring and .value give the text. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

enum kind { SEGMENT = 1, FIELD, COMPONENT };

void ln_lhandle_push(lua_State *L, struct ln_lmessage *u, const char *mt, uint32_t slot,
                     struct ln_part part)
{
    struct ln_lhandle *h = lua_newuserdata(L, sizeof *h);
    *h = (struct ln_lhandle){u, slot, part};
    ln_lmessage_push_env(L, u);
    lua_setfenv(L, -2);
    luaL_getmetatable(L, mt);
    lua_setmetatable(L, -2);
}

/* Pushes the message of the handle at idx and makes it ready. */
static void ready(lua_State *L, int idx, struct ln_lhandle *h)
{
    luaL_checkstack(L, 8, "message");
    lua_getfenv(L, idx);
    lua_rawgeti(L, -1, LN_ENV_MESSAGE);
    lua_remove(L, -2);
    h->msg->L = L;
    h->msg->idx = lua_gettop(L);
    if (h->msg->m.seg[h->slot].removed)
        luaL_error(L, "stale handle: this segment was removed from its message");
}

static enum kind kind_of(lua_State *L, int idx)
{
    static const char *const mts[] = {LN_MT_SEGMENT, LN_MT_FIELD, LN_MT_COMPONENT};
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return 0;
    enum kind k = 0;
    for (int i = 0; i < 3 && !k; i++) {
        luaL_getmetatable(L, mts[i]);
        if (lua_rawequal(L, -1, -2))
            k = (enum kind)(SEGMENT + i);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return k;
}

struct ln_lhandle *ln_lhandle_test(lua_State *L, int idx)
{
    if (!kind_of(L, idx))
        return NULL;
    struct ln_lhandle *h = lua_touserdata(L, idx);
    ready(L, idx, h);
    return h;
}

struct ln_lhandle *ln_lhandle_check_segment(lua_State *L, int idx)
{
    struct ln_lhandle *h = luaL_checkudata(L, idx, LN_MT_SEGMENT);
    ready(L, idx, h);
    return h;
}

static struct ln_lhandle *check(lua_State *L, int idx, const char *mt)
{
    struct ln_lhandle *h = luaL_checkudata(L, idx, mt);
    ready(L, idx, h);
    return h;
}

static uint32_t number_arg(lua_State *L, int idx, const char *what, lua_Number max)
{
    lua_Number n = lua_tonumber(L, idx);
    if (!(n >= 1 && n <= max) || n != (lua_Number)(uint32_t)n)
        luaL_error(L, "%s are counted from 1: %f is none", what, n);
    return (uint32_t)n;
}

static bool is_number(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TNUMBER;
}

/* ---- where a key leads -------------------------------------------------------------------------
 */

/* Pushes the data type of a field, for names of its components. What varies (OBX-5) has the type
 * that OBX-2 says. */
static void push_field_type(lua_State *L, struct ln_lhandle *h)
{
    struct ln_message *m = &h->msg->m;
    struct ln_span name = ln_message_name(m, h->slot), leaf = {0};
    char owner[8] = {0};
    if (name.len < sizeof owner)
        memcpy(owner, name.ptr, name.len);
    ln_lnames_type(L, h->msg, '=', owner, h->part.field);
    const char *type = lua_tostring(L, -1);
    if (type && h->part.field > 2 && (strcmp(type, "varies") == 0 || strcmp(type, "VARIES") == 0)) {
        struct ln_part two = {.field = 2};
        if (ln_field_leaf(m, h->slot, &two, &leaf) == LN_OK && leaf.ptr) {
            lua_pop(L, 1);
            lua_pushlstring(L, leaf.ptr, leaf.len);
        }
    }
}

/* The part below h that the key at idx (a number or a dictionary name) names. */
static struct ln_part below(lua_State *L, struct ln_lhandle *h, enum kind kind, int idx)
{
    struct ln_part part = h->part;
    if (kind == SEGMENT) {
        char owner[8] = {0};
        struct ln_span name = ln_message_name(&h->msg->m, h->slot);
        if (name.len < sizeof owner)
            memcpy(owner, name.ptr, name.len);
        part.field = is_number(L, idx) ? number_arg(L, idx, "fields", LN_PATH_PART_MAX)
                                       : ln_lnames_number(L, h->msg, '=', owner, idx);
        return part;
    }
    if (!part.repetition)
        part.repetition = 1;
    if (part.subcomponent)
        luaL_error(L, "a subcomponent has no parts");
    uint32_t *n = kind == FIELD ? &part.component : &part.subcomponent;
    if (is_number(L, idx)) {
        *n = number_arg(L, idx, kind == FIELD ? "components" : "subcomponents", LN_PATH_PART_MAX);
        return part;
    }
    push_field_type(L, h);
    const char *type = lua_tostring(L, -1);
    if (kind == COMPONENT && type) {
        ln_lnames_type(L, h->msg, ':', type, part.component);
        type = lua_tostring(L, -1);
    }
    *n = ln_lnames_number(L, h->msg, ':', type ? type : "", idx);
    return part;
}

/* seg["5.1"]: a path within the segment. */
static bool inner_path(lua_State *L, int idx, struct ln_path *path)
{
    struct ln_err err;
    struct ln_span s;
    if (lua_type(L, idx) != LUA_TSTRING)
        return false;
    s.ptr = lua_tolstring(L, idx, &s.len);
    if (s.len == 0 || s.ptr[0] < '0' || s.ptr[0] > '9')
        return false;
    if (ln_path_parse_field(s, path, &err))
        luaL_error(L, "%s", err.text);
    if (ln_path_many(path))
        luaL_error(L, "\"%s\" names several values: give a number", s.ptr);
    return true;
}

static struct ln_span leaf_of(lua_State *L, struct ln_lhandle *h, const struct ln_part *part)
{
    struct ln_span leaf;
    if (ln_field_leaf(&h->msg->m, h->slot, part, &leaf))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    return leaf;
}

static void push_value(lua_State *L, struct ln_lhandle *h, const struct ln_part *part)
{
    struct ln_span leaf = leaf_of(L, h, part);
    if (leaf.len && h->msg->m.seg[h->slot].header && part->field <= 2)
        lua_pushlstring(L, leaf.ptr, leaf.len);
    else
        ln_lmessage_push_leaf(L, h->msg, leaf);
}

static struct ln_span raw_of(lua_State *L, struct ln_lhandle *h)
{
    struct ln_span raw;
    if (ln_field_get(&h->msg->m, h->slot, &h->part, &raw))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    return raw;
}

static uint32_t count(lua_State *L, struct ln_lhandle *h, enum kind kind)
{
    const struct ln_delims *d = &h->msg->m.delims;
    uint32_t n = 0;
    if (kind == SEGMENT) {
        if (ln_field_count(&h->msg->m, h->slot, &n))
            ln_lmessage_raise(L, LN_ENOMEM, NULL);
        return n;
    }
    struct ln_span raw = raw_of(L, h);
    if (raw.len && h->msg->m.seg[h->slot].header && h->part.field <= 2)
        return 1;
    char c = h->part.subcomponent ? '\0'
             : h->part.component  ? d->subcomponent
             : h->part.repetition ? d->component
                                  : d->repetition;
    return raw.len ? ln_field_pieces(raw, c) : 0;
}

/* ---- metamethods -------------------------------------------------------------------------------
 */

/* Upvalue 1 of __index: the methods. */
static bool method(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

static void key_check(lua_State *L, const char *what)
{
    int t = lua_type(L, 2);
    if (t != LUA_TSTRING && t != LUA_TNUMBER)
        luaL_error(L, "a %s is indexed by a number or a name, not by a %s", what,
                   luaL_typename(L, 2));
}

static int segment_index(lua_State *L)
{
    struct ln_lhandle *h = check(L, 1, LN_MT_SEGMENT);
    struct ln_path path;
    key_check(L, "segment");
    if (lua_type(L, 2) == LUA_TSTRING) {
        const char *key = lua_tostring(L, 2);
        if (strcmp(key, "segment_name") == 0) {
            struct ln_span name = ln_message_name(&h->msg->m, h->slot);
            lua_pushlstring(L, name.ptr, name.len);
            return 1;
        }
        if (method(L))
            return 1;
        if (inner_path(L, 2, &path)) {
            struct ln_part part = {path.field, path.repetition, path.component, path.subcomponent};
            push_value(L, h, &part);
            return 1;
        }
    }
    ln_lhandle_push(L, h->msg, LN_MT_FIELD, h->slot, below(L, h, SEGMENT, 2));
    return 1;
}

static int segment_newindex(lua_State *L)
{
    struct ln_lhandle *h = check(L, 1, LN_MT_SEGMENT);
    struct ln_path path;
    key_check(L, "segment");
    struct ln_part part =
        inner_path(L, 2, &path) ? ln_lmessage_part(&path) : below(L, h, SEGMENT, 2);
    ln_lmessage_assign(L, h->msg, h->slot, part, 3);
    return 0;
}

static int part_index(lua_State *L)
{
    enum kind kind = kind_of(L, 1);
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || kind == SEGMENT)
        return luaL_error(L, "field expected, got %s", luaL_typename(L, 1));
    key_check(L, kind == FIELD ? "field" : "component");
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (strcmp(lua_tostring(L, 2), "value") == 0) {
            push_value(L, h, &h->part);
            return 1;
        }
        if (method(L))
            return 1;
    }
    ln_lhandle_push(L, h->msg, LN_MT_COMPONENT, h->slot, below(L, h, kind, 2));
    return 1;
}

static int part_newindex(lua_State *L)
{
    enum kind kind = kind_of(L, 1);
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || kind == SEGMENT)
        return luaL_error(L, "field expected, got %s", luaL_typename(L, 1));
    key_check(L, kind == FIELD ? "field" : "component");
    bool value = lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "value") == 0;
    struct ln_part part = value ? h->part : below(L, h, kind, 2);
    ln_lmessage_assign(L, h->msg, h->slot, part, 3);
    return 0;
}

static int l_len(lua_State *L)
{
    enum kind kind = kind_of(L, 1);
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    lua_pushinteger(L, (lua_Integer)(h ? count(L, h, kind) : 0));
    return 1;
}

/* Pushes the text of a handle: of a segment as it stands, of a part its first leaf ("" when
 * absent). */
static void push_text(lua_State *L, int idx)
{
    struct ln_lhandle *h = ln_lhandle_test(L, idx);
    if (!h) {
        lua_pushvalue(L, idx);
        return;
    }
    if (h->part.field) {
        push_value(L, h, &h->part);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushliteral(L, "");
        }
        return;
    }
    size_t len = ln_message_segment_len(&h->msg->m, h->slot);
    char *p = ln_lmessage_scratch(L, len);
    ln_message_segment(&h->msg->m, h->slot, p);
    lua_pushlstring(L, p, len);
}

static int l_tostring(lua_State *L)
{
    push_text(L, 1);
    return 1;
}

static int l_concat(lua_State *L)
{
    for (int i = 1; i <= 2; i++) {
        int t = lua_type(L, i);
        if (t != LUA_TSTRING && t != LUA_TNUMBER && !kind_of(L, i))
            return luaL_error(L, "attempt to concatenate a %s value", luaL_typename(L, i));
        push_text(L, i);
        lua_replace(L, i);
    }
    lua_settop(L, 2);
    lua_concat(L, 2);
    return 1;
}

/* Equal: the same place in the same message, or the same text. */
static int l_eq(lua_State *L)
{
    push_text(L, 1);
    lua_replace(L, 1);
    push_text(L, 2);
    lua_pushboolean(L, lua_rawequal(L, 1, -1));
    return 1;
}

/* ---- methods -----------------------------------------------------------------------------------
 */

static int l_raw(lua_State *L)
{
    enum kind kind = kind_of(L, 1);
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h)
        return luaL_error(L, "segment, field or component expected, got %s", luaL_typename(L, 1));
    if (kind == SEGMENT) {
        push_text(L, 1);
        return 1;
    }
    struct ln_span raw = raw_of(L, h);
    if (raw.len)
        lua_pushlstring(L, raw.ptr, raw.len);
    else
        lua_pushnil(L);
    return 1;
}

static int l_set_raw(lua_State *L)
{
    luaL_checkany(L, 2);
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || !h->part.field)
        return luaL_error(L, "field or component expected, got %s", luaL_typename(L, 1));
    ln_lmessage_assign_raw(L, h->msg, h->slot, h->part, 2);
    return 0;
}

static int field_rep(lua_State *L)
{
    struct ln_lhandle *h = check(L, 1, LN_MT_FIELD);
    struct ln_part part = h->part;
    luaL_checknumber(L, 2);
    part.repetition = number_arg(L, 2, "repetitions", LN_PATH_INDEX_MAX);
    ln_lhandle_push(L, h->msg, LN_MT_FIELD, h->slot, part);
    return 1;
}

/* Upvalues: the field, the repetition last given. */
static int next_rep(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct ln_lhandle *h = check(L, 1, LN_MT_FIELD);
    struct ln_part part = {.field = h->part.field};
    uint32_t n = (uint32_t)lua_tointeger(L, lua_upvalueindex(2)) + 1;
    if (n > count(L, h, FIELD))
        return 0;
    lua_pushinteger(L, (lua_Integer)n);
    lua_replace(L, lua_upvalueindex(2));
    part.repetition = n;
    ln_lhandle_push(L, h->msg, LN_MT_FIELD, h->slot, part);
    return 1;
}

static int field_each(lua_State *L)
{
    struct ln_lhandle *h = check(L, 1, LN_MT_FIELD);
    struct ln_part whole = {.field = h->part.field};
    ln_lhandle_push(L, h->msg, LN_MT_FIELD, h->slot, whole);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_rep, 2);
    return 1;
}

/* field:upper() and the like: the method of the text. Upvalue: the name. */
static int string_method(lua_State *L)
{
    int n = lua_gettop(L);
    push_text(L, 1);
    lua_replace(L, 1);
    lua_settop(L, n);
    lua_getfield(L, 1, lua_tostring(L, lua_upvalueindex(1)));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

static void metatable(lua_State *L, const char *name, const char *text, const luaL_Reg *methods,
                      lua_CFunction index, lua_CFunction newindex)
{
    static const luaL_Reg common[] = {{"__len", l_len},
                                      {"__tostring", l_tostring},
                                      {"__concat", l_concat},
                                      {"__eq", l_eq},
                                      {NULL, NULL}};
    static const char *const strings[] = {"upper", "lower", "sub",    "find",    "match",
                                          "gsub",  "byte",  "gmatch", "reverse", NULL};
    if (!luaL_newmetatable(L, name)) {
        lua_pop(L, 1);
        return;
    }
    luaL_register(L, NULL, common);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    for (int i = 0; newindex == part_newindex && strings[i]; i++) {
        lua_pushstring(L, strings[i]);
        lua_pushcclosure(L, string_method, 1);
        lua_setfield(L, -2, strings[i]);
    }
    lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void ln_lhandle_open(lua_State *L)
{
    static const luaL_Reg segment[] = {{"each", ln_lmessage_each}, {"raw", l_raw}, {NULL, NULL}};
    static const luaL_Reg field[] = {{"rep", field_rep},
                                     {"each", field_each},
                                     {"raw", l_raw},
                                     {"set_raw", l_set_raw},
                                     {NULL, NULL}};
    static const luaL_Reg component[] = {{"raw", l_raw}, {"set_raw", l_set_raw}, {NULL, NULL}};
    metatable(L, LN_MT_SEGMENT, "segment", segment, segment_index, segment_newindex);
    metatable(L, LN_MT_FIELD, "field", field, part_index, part_newindex);
    metatable(L, LN_MT_COMPONENT, "component", component, part_index, part_newindex);
}
