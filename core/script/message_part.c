/* What scripts see of handles: msg.PID, msg.PID[5], msg.PID[5][1] and the same by name. Reading
 * through a handle gives further handles; tostring and .value give the text. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <string.h>

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
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_SEGMENT);
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
        if (ln_lhandle_path(L, 2, &path)) {
            struct ln_part part = {path.field, path.repetition, path.component, path.subcomponent};
            ln_lhandle_push_value(L, h, &part);
            return 1;
        }
    }
    ln_lhandle_push(L, h->msg, LN_FIELD, h->slot, ln_lhandle_below(L, h, 2));
    return 1;
}

static int segment_newindex(lua_State *L)
{
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_SEGMENT);
    struct ln_path path;
    key_check(L, "segment");
    struct ln_part part =
        ln_lhandle_path(L, 2, &path) ? ln_lmessage_part(&path) : ln_lhandle_below(L, h, 2);
    ln_lmessage_assign(L, h->msg, h->slot, part, 3);
    return 0;
}

static int part_index(lua_State *L)
{
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || h->kind == LN_SEGMENT)
        return luaL_error(L, "field expected, got %s", luaL_typename(L, 1));
    key_check(L, h->kind == LN_FIELD ? "field" : "component");
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (strcmp(lua_tostring(L, 2), "value") == 0) {
            ln_lhandle_push_value(L, h, &h->part);
            return 1;
        }
        if (method(L))
            return 1;
    }
    ln_lhandle_push(L, h->msg, LN_COMPONENT, h->slot, ln_lhandle_below(L, h, 2));
    return 1;
}

static int part_newindex(lua_State *L)
{
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || h->kind == LN_SEGMENT)
        return luaL_error(L, "field expected, got %s", luaL_typename(L, 1));
    key_check(L, h->kind == LN_FIELD ? "field" : "component");
    bool value = lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "value") == 0;
    struct ln_part part = value ? h->part : ln_lhandle_below(L, h, 2);
    ln_lmessage_assign(L, h->msg, h->slot, part, 3);
    return 0;
}

static int l_len(lua_State *L)
{
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    lua_pushinteger(L, (lua_Integer)(h ? ln_lhandle_count(L, h) : 0));
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
        ln_lhandle_push_value(L, h, &h->part);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushliteral(L, "");
        }
        return;
    }
    ln_lmessage_push_segment(L, h->msg, h->slot);
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
        if (t != LUA_TSTRING && t != LUA_TNUMBER && !lua_isuserdata(L, i))
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
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h)
        return luaL_error(L, "segment, field or component expected, got %s", luaL_typename(L, 1));
    if (h->kind == LN_SEGMENT) {
        push_text(L, 1);
        return 1;
    }
    struct ln_span raw = ln_lhandle_raw(L, h);
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
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_FIELD);
    struct ln_part part = h->part;
    luaL_checknumber(L, 2);
    part.repetition = ln_lhandle_number(L, 2, "repetitions", LN_PATH_INDEX_MAX);
    ln_lhandle_push(L, h->msg, LN_FIELD, h->slot, part);
    return 1;
}

/* Upvalues: the field, the repetition last given. */
static int next_rep(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_FIELD);
    struct ln_part part = {.field = h->part.field};
    uint32_t n = (uint32_t)lua_tointeger(L, lua_upvalueindex(2)) + 1;
    if (n > ln_lhandle_count(L, h))
        return 0;
    lua_pushinteger(L, (lua_Integer)n);
    lua_replace(L, lua_upvalueindex(2));
    part.repetition = n;
    ln_lhandle_push(L, h->msg, LN_FIELD, h->slot, part);
    return 1;
}

static int field_each(lua_State *L)
{
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_FIELD);
    struct ln_part whole = {.field = h->part.field};
    ln_lhandle_push(L, h->msg, LN_FIELD, h->slot, whole);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_rep, 2);
    return 1;
}

/* The raw field, and the handle; both arguments of insert and remove are checked. */
static struct ln_lhandle *repetition_arg(lua_State *L, struct ln_span *whole, uint32_t *count,
                                         uint32_t *n)
{
    lua_settop(L, 2);
    struct ln_lhandle *h = ln_lhandle_check(L, 1, LN_FIELD);
    struct ln_part part = {.field = h->part.field};
    const struct ln_message *m = &h->msg->m;
    if (m->seg[h->slot].header && part.field <= 2)
        luaL_error(L, "the delimiters of a message cannot be changed");
    if (!m->delims.repetition)
        luaL_error(L, "MSH-2 declares no repetition separator");
    if (ln_field_get(&h->msg->m, h->slot, &part, whole))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    *count = whole->len ? ln_field_pieces(&m->charset, *whole, m->delims.repetition) : 0;
    *n = lua_isnoneornil(L, 2) ? *count + 1
                               : ln_lhandle_number(L, 2, "repetitions", LN_PATH_INDEX_MAX);
    return h;
}

/* field:insert(n): an empty repetition before the nth (without n: behind the last); returns it. */
static int field_insert(lua_State *L)
{
    struct ln_span whole, piece;
    uint32_t count, n;
    struct ln_err err = {0};
    struct ln_lhandle *h = repetition_arg(L, &whole, &count, &n);
    const struct ln_message *m = &h->msg->m;
    struct ln_part part = {.field = h->part.field};
    if (n > count + 1)
        return luaL_error(L, "the field has %d repetitions: another one cannot be the %dth",
                          (int)count, (int)n);
    if (count > 0) {
        size_t at = whole.len;
        if (n <= count) {
            piece = ln_field_piece(&m->charset, whole, m->delims.repetition, n);
            at = (size_t)(piece.ptr - whole.ptr);
        }
        char *p = ln_lmessage_scratch(L, whole.len + 1);
        memcpy(p, whole.ptr, at);
        p[at] = m->delims.repetition;
        memcpy(p + at + 1, whole.ptr + at, whole.len - at);
        int rc = ln_field_set(&h->msg->m, h->slot, &part, ln_span(p, whole.len + 1), false, &err);
        if (rc)
            return ln_lmessage_raise(L, rc, &err);
    }
    part.repetition = n;
    ln_lhandle_push(L, h->msg, LN_FIELD, h->slot, part);
    return 1;
}

/* field:remove(n): takes the nth repetition out. */
static int field_remove(lua_State *L)
{
    struct ln_span whole, piece;
    uint32_t count, n;
    struct ln_err err = {0};
    luaL_checknumber(L, 2);
    struct ln_lhandle *h = repetition_arg(L, &whole, &count, &n);
    const struct ln_message *m = &h->msg->m;
    struct ln_part part = {.field = h->part.field};
    if (n > count)
        return 0; /* nothing there */
    piece = ln_field_piece(&m->charset, whole, m->delims.repetition, n);
    size_t from = (size_t)(piece.ptr - whole.ptr), to = from + piece.len;
    if (n < count)
        to++; /* its separator goes with it */
    else if (from > 0)
        from--;
    char *p = ln_lmessage_scratch(L, whole.len);
    memcpy(p, whole.ptr, from);
    memcpy(p + from, whole.ptr + to, whole.len - to);
    int rc =
        ln_field_set(&h->msg->m, h->slot, &part, ln_span(p, whole.len - (to - from)), false, &err);
    return rc ? ln_lmessage_raise(L, rc, &err) : 0;
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

static void metatable(lua_State *L, enum ln_kind kind, const char *text, const luaL_Reg *methods,
                      lua_CFunction index, lua_CFunction newindex)
{
    static const luaL_Reg common[] = {{"__len", l_len},
                                      {"__tostring", l_tostring},
                                      {"__concat", l_concat},
                                      {"__eq", l_eq},
                                      {NULL, NULL}};
    static const char *const strings[] = {"upper", "lower", "sub",    "find",    "match",
                                          "gsub",  "byte",  "gmatch", "reverse", NULL};
    lua_newtable(L);
    ln_lhandle_register(L, kind);
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
                                     {"insert", field_insert},
                                     {"remove", field_remove},
                                     {"raw", l_raw},
                                     {"set_raw", l_set_raw},
                                     {NULL, NULL}};
    static const luaL_Reg component[] = {{"raw", l_raw}, {"set_raw", l_set_raw}, {NULL, NULL}};
    metatable(L, LN_SEGMENT, "segment", segment, segment_index, segment_newindex);
    metatable(L, LN_FIELD, "field", field, part_index, part_newindex);
    metatable(L, LN_COMPONENT, "component", component, part_index, part_newindex);
}
