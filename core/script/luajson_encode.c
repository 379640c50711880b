#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "script/luajson.h"

struct writer {
    lua_State *L;
    struct ln_buf *out;
    int flags, indent, depth;
    const void *null, *array_mt;
};

struct key {
    const char *ptr;
    size_t len;
};

static void write_value(struct writer *w, int idx);

size_t ln_luajson_format(double d, char out[32])
{
    if (d == floor(d) && fabs(d) < 9007199254740992.0)
        return (size_t)snprintf(out, 32, "%.0f", d);
    for (int digits = 15; digits <= 17; digits++) {
        size_t n = (size_t)snprintf(out, 32, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            return n;
    }
    return strlen(out);
}

static void write_string(struct writer *w, const char *s, size_t len)
{
    struct ln_buf *b = w->out;
    ln_buf_addc(b, '"');
    for (size_t i = 0; i < len;) {
        size_t run = i; /* what needs no care goes in one piece */
        while (i < len && (unsigned char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' &&
               s[i] != 0x7f) {
            size_t n = (unsigned char)s[i] < 0x80 || (w->flags & LN_LUAJSON_RAW)
                           ? 1
                           : ln_utf8_len((const unsigned char *)s + i, len - i);
            if (n == 0)
                luaL_error(w->L, "json.encode: a string is not UTF-8 at its byte %d", (int)i + 1);
            i += n;
        }
        ln_buf_add(b, s + run, i - run);
        if (i == len)
            break;
        char c = s[i++];
        const char *two = c == '"'    ? "\\\""
                          : c == '\\' ? "\\\\"
                          : c == '\n' ? "\\n"
                          : c == '\r' ? "\\r"
                          : c == '\t' ? "\\t"
                                      : NULL;
        if (two)
            ln_buf_adds(b, two);
        else
            ln_buf_addf(b, "\\u%04x", (unsigned char)c);
    }
    ln_buf_addc(b, '"');
}

static void newline(struct writer *w)
{
    if (w->indent) {
        ln_buf_addc(w->out, '\n');
        for (int i = 0; i < w->indent * w->depth; i++)
            ln_buf_addc(w->out, ' ');
    }
}

static bool is_array(struct writer *w, int idx, size_t *n)
{
    lua_State *L = w->L;
    *n = lua_objlen(L, idx);
    if (*n > 0)
        return true;
    if (!lua_getmetatable(L, idx))
        return false;
    bool yes = lua_topointer(L, -1) == w->array_mt;
    lua_pop(L, 1);
    return yes;
}

/* Every key must be one of 1..n: anything else would be dropped without a word. */
static void check_array(struct writer *w, int idx, size_t n)
{
    lua_State *L = w->L;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_Number k = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (k < 1 || k > (lua_Number)n || k != floor(k))
            luaL_error(L, "json.encode: a table has both list items and other keys, or holes");
        lua_pop(L, 1);
    }
}

static void write_array(struct writer *w, int idx, size_t n)
{
    check_array(w, idx, n);
    ln_buf_addc(w->out, '[');
    w->depth++;
    for (size_t i = 1; i <= n; i++) {
        if (i > 1)
            ln_buf_addc(w->out, ',');
        newline(w);
        lua_rawgeti(w->L, idx, (int)i);
        write_value(w, lua_gettop(w->L));
        lua_pop(w->L, 1);
    }
    w->depth--;
    if (n)
        newline(w);
    ln_buf_addc(w->out, ']');
}

static int by_bytes(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int c = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Pushes the sorted keys as one userdata; the strings are kept by the table itself. */
static struct key *sorted_keys(struct writer *w, int idx, size_t *count)
{
    lua_State *L = w->L;
    size_t n = 0;
    lua_pushnil(L);
    for (; lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "json.encode: a key of an object is a %s, not a string",
                       luaL_typename(L, -2));
        n++;
    }
    struct key *keys = lua_newuserdata(L, n * sizeof *keys + 1);
    *count = n;
    n = 0;
    lua_pushnil(L);
    for (; lua_next(L, idx); lua_pop(L, 1), n++)
        keys[n].ptr = lua_tolstring(L, -2, &keys[n].len);
    qsort(keys, n, sizeof *keys, by_bytes);
    return keys;
}

static void write_object(struct writer *w, int idx)
{
    lua_State *L = w->L;
    size_t n;
    struct key *keys = sorted_keys(w, idx, &n);
    ln_buf_addc(w->out, '{');
    w->depth++;
    for (size_t i = 0; i < n; i++) {
        if (i)
            ln_buf_addc(w->out, ',');
        newline(w);
        write_string(w, keys[i].ptr, keys[i].len);
        ln_buf_adds(w->out, w->indent ? ": " : ":");
        lua_pushlstring(L, keys[i].ptr, keys[i].len);
        lua_rawget(L, idx);
        write_value(w, lua_gettop(L));
        lua_pop(L, 1);
    }
    w->depth--;
    if (n)
        newline(w);
    ln_buf_addc(w->out, '}');
    lua_pop(L, 1);
}

static void write_table(struct writer *w, int idx)
{
    size_t n;
    if (w->depth >= LN_LUAJSON_DEPTH)
        luaL_error(w->L, "json.encode: deeper than %d levels (a table within itself?)",
                   LN_LUAJSON_DEPTH);
    luaL_checkstack(w->L, 6, "json.encode");
    if (is_array(w, idx, &n))
        write_array(w, idx, n);
    else
        write_object(w, idx);
}

static void write_number(struct writer *w, double d)
{
    char text[32];
    if (!isfinite(d))
        luaL_error(w->L, "json.encode: %s has no JSON form",
                   isnan(d) ? "not-a-number" : "infinity");
    ln_buf_add(w->out, text, ln_luajson_format(d, text));
}

static void write_userdata(struct writer *w, int idx)
{
    const char *text;
    if (lua_touserdata(w->L, idx) == w->null)
        ln_buf_adds(w->out, "null");
    else if ((text = luaL_testudata(w->L, idx, LN_LUAJSON_NUMBER)))
        ln_buf_adds(w->out, text);
    else
        luaL_error(w->L, "json.encode: a %s has no JSON form (use tostring)",
                   luaL_typename(w->L, idx));
}

static void write_value(struct writer *w, int idx)
{
    lua_State *L = w->L;
    size_t len;
    const char *s;
    switch (lua_type(L, idx)) {
    case LUA_TNIL: ln_buf_adds(w->out, "null"); break;
    case LUA_TBOOLEAN: ln_buf_adds(w->out, lua_toboolean(L, idx) ? "true" : "false"); break;
    case LUA_TNUMBER: write_number(w, lua_tonumber(L, idx)); break;
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        write_string(w, s, len);
        break;
    case LUA_TTABLE: write_table(w, idx); break;
    case LUA_TUSERDATA: write_userdata(w, idx); break;
    default: luaL_error(L, "json.encode: a %s has no JSON form", luaL_typename(L, idx));
    }
}

struct ln_span ln_luajson_encode(lua_State *L, int idx, int flags, int indent)
{
    struct writer w = {.L = L, .flags = flags, .indent = indent};
    if (idx < 0)
        idx += lua_gettop(L) + 1;
    luaL_checkstack(L, 6, "json.encode");
    w.out = ln_luajson_scratch(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LN_LUAJSON_NULL);
    w.null = lua_touserdata(L, -1);
    luaL_getmetatable(L, LN_LUAJSON_ARRAY);
    w.array_mt = lua_topointer(L, -1);
    lua_pop(L, 2);
    write_value(&w, idx);
    if (w.out->failed)
        luaL_error(L, "json.encode: not enough memory");
    return ln_buf_span(w.out);
}
