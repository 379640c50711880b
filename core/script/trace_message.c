/* The watch on messages: their metatables' functions, wrapped. What they read or wrote is noted
 * with its path for the line of the script that did it. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "script/message_lua.h"
#include "script/trace.h"

#define PATH_MAX_LEN 96
#define VALUE_MAX    96
#define LIST_MAX     5

/* ---- values as text ------------------------------------------------------------------------ */

static void add_string(struct ln_buf *out, const char *s, size_t len)
{
    size_t n = len < VALUE_MAX ? len : VALUE_MAX;
    while (n > 0 && n < len && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--; /* not within a character of UTF-8 */
    ln_buf_addc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            ln_buf_addf(out, "\\%c", c);
        else if (c == '\r' || c == '\n' || c == '\t')
            ln_buf_adds(out, c == '\r' ? "\\r" : c == '\n' ? "\\n" : "\\t");
        else if (c < 32 || c == 127)
            ln_buf_addf(out, "\\%u", c);
        else
            ln_buf_addc(out, (char)c);
    }
    ln_buf_adds(out, n < len ? "\"…" : "\"");
}

/* Number of the segment among those of its name; *more: there are others. */
static uint32_t number_of(const struct ln_message *m, uint32_t slot, bool *more)
{
    struct ln_span name = ln_message_name(m, slot);
    uint32_t n = 0, found = 0, at = LN_NO_SEGMENT;
    while ((at = ln_message_next(m, name, at)) != LN_NO_SEGMENT) {
        n++;
        if (at == slot)
            found = n;
        if (found && n > 1)
            break;
    }
    *more = n > 1;
    return found;
}

static void path_of(const struct ln_lhandle *h, const struct ln_part *part, char *out)
{
    const struct ln_message *m = &h->msg->m;
    struct ln_span name = ln_message_name(m, h->slot);
    bool more;
    uint32_t n = number_of(m, h->slot, &more);
    int at = snprintf(out, PATH_MAX_LEN, "%.*s", (int)(name.len < 15 ? name.len : 15), name.ptr);
    if (more)
        at += snprintf(out + at, PATH_MAX_LEN - (size_t)at, "[%u]", n);
    if (part->field)
        at += snprintf(out + at, PATH_MAX_LEN - (size_t)at, "-%u", part->field);
    if (part->repetition > 1)
        at += snprintf(out + at, PATH_MAX_LEN - (size_t)at, "[%u]", part->repetition);
    if (part->component)
        at += snprintf(out + at, PATH_MAX_LEN - (size_t)at, ".%u", part->component);
    if (part->subcomponent)
        snprintf(out + at, PATH_MAX_LEN - (size_t)at, ".%u", part->subcomponent);
}

static bool is_handle(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TUSERDATA && !ln_message_is(L, idx);
}

static void add_userdata(lua_State *L, int idx, struct ln_buf *out)
{
    struct ln_lhandle *h = is_handle(L, idx) ? lua_touserdata(L, idx) : NULL;
    if (ln_message_is(L, idx))
        ln_buf_adds(out, "a message");
    else if (!h || lua_objlen(L, idx) != sizeof *h || h->msg->m.seg[h->slot].removed)
        ln_buf_adds(out, "userdata");
    else {
        char path[PATH_MAX_LEN];
        path_of(h, &h->part, path);
        ln_buf_adds(out, path);
    }
}

static void add_value(lua_State *L, int idx, int depth, struct ln_buf *out);

static void add_table(lua_State *L, int idx, int depth, struct ln_buf *out)
{
    int n = 0;
    if (depth > 0) {
        ln_buf_adds(out, "{...}");
        return;
    }
    ln_buf_adds(out, "{");
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        if (++n > LIST_MAX) {
            ln_buf_adds(out, ", ...");
            lua_pop(L, 2);
            break;
        }
        ln_buf_adds(out, n > 1 ? ", " : " ");
        if (lua_type(L, -2) == LUA_TSTRING)
            ln_buf_addf(out, "%s = ", lua_tostring(L, -2));
        add_value(L, lua_gettop(L), depth + 1, out);
        lua_pop(L, 1);
    }
    ln_buf_adds(out, n ? " }" : "}");
}

static void add_value(lua_State *L, int idx, int depth, struct ln_buf *out)
{
    size_t len;
    const char *s;
    switch (lua_type(L, idx)) {
    case LUA_TNIL: ln_buf_adds(out, "nil"); break;
    case LUA_TBOOLEAN: ln_buf_adds(out, lua_toboolean(L, idx) ? "true" : "false"); break;
    case LUA_TNUMBER: ln_buf_addf(out, "%.14g", lua_tonumber(L, idx)); break;
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        if (len == 2 && memcmp(s, "\"\"", 2) == 0)
            ln_buf_adds(out, "hl7.null");
        else
            add_string(out, s, len);
        break;
    case LUA_TTABLE: add_table(L, idx, depth, out); break;
    case LUA_TUSERDATA: add_userdata(L, idx, out); break;
    default: ln_buf_addf(out, "a %s", luaL_typename(L, idx));
    }
}

void ln_trace_value(lua_State *L, int idx, struct ln_buf *out)
{
    luaL_checkstack(L, 12, "trace");
    add_value(L, idx, 0, out);
}

/* ---- what is read and written --------------------------------------------------------------- */

static void note_part(lua_State *L, enum ln_trace_kind kind, struct ln_lhandle *h,
                      const struct ln_part *part, int idx)
{
    char path[PATH_MAX_LEN];
    path_of(h, part, path);
    ln_trace_note(L, kind, path, idx);
}

/* The operand at idx is used as text. */
static void note_text(lua_State *L, int idx)
{
    int top = lua_gettop(L);
    struct ln_lhandle *h = is_handle(L, idx) ? ln_lhandle_test(L, idx) : NULL;
    if (h && h->kind != LN_SEGMENT) {
        ln_lhandle_push_value(L, h, &h->part);
        note_part(L, LN_TRACE_READ, h, &h->part, lua_gettop(L));
    }
    lua_settop(L, top);
}

static const char *const attributes[][2] = {
    {"type", "MSH-9.1"}, {"event", "MSH-9.2"}, {"version", "MSH-12"}, {"control_id", "MSH-10"}};

static const char *attribute(const char *key)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (strcmp(attributes[i][0], key) == 0)
            return attributes[i][1];
    return key;
}

/* msg:raw(path) and the like; the results stand from `from` on. */
static void note_call(lua_State *L, const char *name, int from)
{
    bool has_path = ln_message_is(L, 1) && lua_type(L, 2) == LUA_TSTRING;
    bool read = strcmp(name, "raw") == 0 || strcmp(name, "all") == 0;
    char text[PATH_MAX_LEN + 16];
    if (has_path && (read || strcmp(name, "set_raw") == 0)) {
        snprintf(text, sizeof text, "%.*s(\"%.60s\")", 8, name, lua_tostring(L, 2));
        ln_trace_note(L, read ? LN_TRACE_READ : LN_TRACE_WRITE, text, read ? from : 3);
    } else if (strcmp(name, "add") == 0) {
        ln_trace_note(L, LN_TRACE_WRITE, "added", from);
    } else if (strcmp(name, "remove") == 0) {
        ln_trace_note(L, LN_TRACE_WRITE, "removed", 0);
    }
}

/* A method: upvalue 1 the original, 2 its name. */
static int method(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    int n = lua_gettop(L);
    luaL_checkstack(L, n + 8, "trace");
    if (n >= 1)
        note_text(L, 1);
    char removed[PATH_MAX_LEN] = "";
    struct ln_lhandle *h =
        n >= 2 && strcmp(name, "remove") == 0 && is_handle(L, 2) ? ln_lhandle_test(L, 2) : NULL;
    if (h)
        path_of(h, &h->part, removed);
    lua_settop(L, n);
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= n; i++)
        lua_pushvalue(L, i);
    lua_call(L, n, LUA_MULTRET);
    int got = lua_gettop(L) - n;
    if (removed[0]) {
        lua_pushstring(L, removed);
        ln_trace_note(L, LN_TRACE_WRITE, "removed", lua_gettop(L));
        lua_pop(L, 1);
    } else if (got > 0 || n >= 3) {
        note_call(L, name, got > 0 ? n + 1 : 0);
    }
    return got;
}

static void note_index(lua_State *L)
{
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
    struct ln_path path;
    if (ln_message_is(L, 1)) {
        if (key)
            ln_trace_note(L, LN_TRACE_READ, attribute(key), 3);
        return;
    }
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h || !key)
        return;
    if (h->kind != LN_SEGMENT) {
        note_part(L, LN_TRACE_READ, h, &h->part, 3);
    } else if (ln_lhandle_path(L, 2, &path)) {
        struct ln_part part = ln_lmessage_part(&path);
        note_part(L, LN_TRACE_READ, h, &part, 3);
    }
}

/* __index: upvalue 1 the original. */
static int index_value(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, method, 2);
        return 1;
    }
    if (type == LUA_TSTRING || type == LUA_TNIL)
        note_index(L);
    lua_settop(L, 3);
    return 1;
}

/* __newindex: upvalue 1 the original. */
static int set_value(lua_State *L)
{
    struct ln_path path;
    lua_settop(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, i);
    lua_call(L, 3, 0);
    if (ln_message_is(L, 1)) {
        ln_trace_note(L, LN_TRACE_WRITE, attribute(lua_tostring(L, 2)), 3);
        return 0;
    }
    struct ln_lhandle *h = ln_lhandle_test(L, 1);
    if (!h)
        return 0;
    bool value = h->kind != LN_SEGMENT && lua_type(L, 2) == LUA_TSTRING &&
                 strcmp(lua_tostring(L, 2), "value") == 0;
    struct ln_part part = value ? h->part
                          : h->kind == LN_SEGMENT && ln_lhandle_path(L, 2, &path)
                              ? ln_lmessage_part(&path)
                              : ln_lhandle_below(L, h, 2);
    note_part(L, LN_TRACE_WRITE, h, &part, 3);
    return 0;
}

/* __tostring, __concat, __eq: upvalue 1 the original. */
static int use_text(lua_State *L)
{
    int n = lua_gettop(L) < 2 ? lua_gettop(L) : 2;
    for (int i = 1; i <= n; i++)
        note_text(L, i);
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= n; i++)
        lua_pushvalue(L, i);
    lua_call(L, n, 1);
    return 1;
}

/* The metatable is on top; pops it. */
static void wrap(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction with;
    } all[] = {{"__index", index_value},
               {"__newindex", set_value},
               {"__tostring", use_text},
               {"__concat", use_text},
               {"__eq", use_text}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lua_getfield(L, -1, all[i].name);
        if (lua_isfunction(L, -1)) {
            lua_pushcclosure(L, all[i].with, 1);
            lua_setfield(L, -2, all[i].name);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

void ln_trace_messages(lua_State *L)
{
    luaL_getmetatable(L, LN_MT_MESSAGE);
    wrap(L);
    for (int kind = LN_SEGMENT; kind <= LN_COMPONENT; kind++) {
        ln_lhandle_push_metatable(L, (enum ln_kind)kind);
        wrap(L);
    }
}
