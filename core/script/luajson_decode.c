#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "script/luajson.h"

struct reader {
    lua_State *L;
    const char *start, *p, *end;
    struct ln_buf *scratch; /* strings with escapes, numbers */
    struct ln_err *err;
    int flags, depth;
};

static int read_value(struct reader *r);

static int fail(struct reader *r, const char *at, const char *what)
{
    ln_err_set(r->err, LN_EPARSE, "byte %zu: %s", (size_t)(at - r->start) + 1, what);
    if (r->err)
        r->err->offset = (size_t)(at - r->start);
    return LN_EPARSE;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n'))
        r->p++;
}

static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static int read_hex4(struct reader *r, uint32_t *out)
{
    uint32_t v = 0;
    if (r->end - r->p < 4)
        return fail(r, r->p, "four hexadecimal digits must follow \\u");
    for (int i = 0; i < 4; i++) {
        char c = *r->p++;
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return fail(r, r->p - 1, "four hexadecimal digits must follow \\u");
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return LN_OK;
}

static int read_unicode(struct reader *r)
{
    const char *at = r->p;
    uint32_t code, low;
    char utf8[4];
    if (read_hex4(r, &code) != LN_OK)
        return LN_EPARSE;
    if (code >= 0xd800 && code < 0xdc00) {
        if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
            return fail(r, at, "half of a surrogate pair");
        r->p += 2;
        if (read_hex4(r, &low) != LN_OK)
            return LN_EPARSE;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(r, at, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
        return fail(r, at, "half of a surrogate pair");
    }
    ln_buf_add(r->scratch, utf8, ln_utf8_put(code, utf8));
    return LN_OK;
}

static int read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return fail(r, r->p, "the string does not end");
    char c = *r->p++;
    if (c == 'u')
        return read_unicode(r);
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return fail(r, r->p - 2, "unknown escape");
    ln_buf_addc(r->scratch, to[at - from]);
    return LN_OK;
}

/* Behind the opening quote. Pushes the string. */
static int read_string(struct reader *r)
{
    const char *run = r->p;
    bool escaped = false;
    ln_buf_clear(r->scratch, 65536);
    for (;;) {
        if (r->p == r->end)
            return fail(r, r->p, "the string does not end");
        unsigned char c = (unsigned char)*r->p;
        if (c == '"')
            break;
        if (c < 0x20)
            return fail(r, r->p, "a control character in a string must be escaped");
        if (c == '\\') {
            ln_buf_add(r->scratch, run, (size_t)(r->p++ - run));
            escaped = true;
            if (read_escape(r) != LN_OK)
                return LN_EPARSE;
            run = r->p;
            continue;
        }
        size_t n = c < 0x80 || (r->flags & LN_LUAJSON_RAW)
                       ? 1
                       : ln_utf8_len((const unsigned char *)r->p, (size_t)(r->end - r->p));
        if (n == 0)
            return fail(r, r->p, "not UTF-8");
        r->p += n;
    }
    if (!escaped) {
        lua_pushlstring(r->L, run, (size_t)(r->p - run));
    } else {
        if (ln_buf_add(r->scratch, run, (size_t)(r->p - run)) != LN_OK || r->scratch->failed)
            luaL_error(r->L, "not enough memory");
        lua_pushlstring(r->L, r->scratch->data, r->scratch->len);
    }
    r->p++;
    return LN_OK;
}

/* A decimal's value in one form: digits without zeros at either end, and the power of ten behind
 * the last of them. */
struct decimal {
    const char *first, *last; /* significant digits, last one included; NULL: zero */
    long exponent;
};

static void read_decimal(struct decimal *d, const char *s, size_t len)
{
    const char *point = NULL, *e = s + len;
    long exp10 = 0;
    *d = (struct decimal){0};
    for (const char *p = s; p < s + len; p++)
        if (*p == 'e' || *p == 'E') {
            e = p;
            exp10 = strtol(p + 1, NULL, 10);
            break;
        }
    for (const char *p = s; p < e; p++) {
        if (*p == '.')
            point = p;
        if (*p >= '1' && *p <= '9') {
            if (!d->first)
                d->first = p;
            d->last = p;
        }
    }
    if (!d->last)
        return;
    if (!point)
        point = e;
    d->exponent = exp10 + (d->last < point ? point - d->last - 1 : point - d->last);
}

static bool same_decimal(const char *a, size_t alen, const char *b, size_t blen)
{
    struct decimal x, y;
    read_decimal(&x, a, alen);
    read_decimal(&y, b, blen);
    if (!x.first || !y.first)
        return !x.first && !y.first;
    if (x.exponent != y.exponent)
        return false;
    const char *p = x.first, *q = y.first;
    while (p <= x.last && q <= y.last) {
        p += *p == '.';
        q += *q == '.';
        if (*p++ != *q++)
            return false;
    }
    return p > x.last && q > y.last;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* The end of a number by JSON's grammar, or NULL. */
static const char *number_end(const char *p, const char *end)
{
    const char *digits = p += p < end && *p == '-';
    p = skip_digits(p, end);
    if (p == digits || (*digits == '0' && p > digits + 1))
        return NULL;
    if (p < end && *p == '.') {
        digits = ++p;
        if ((p = skip_digits(p, end)) == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        digits = p;
        if ((p = skip_digits(p, end)) == digits)
            return NULL;
    }
    return p;
}

static int read_number(struct reader *r)
{
    const char *s = r->p, *end = number_end(s, r->end);
    char text[64], back[32];
    if (!end)
        return fail(r, s, "not a value");
    size_t len = (size_t)(end - s);
    r->p = end;
    if (len < sizeof text) {
        memcpy(text, s, len);
        text[len] = '\0';
        double d = strtod(text, NULL);
        if (isfinite(d)) {
            size_t n = ln_luajson_format(d, back);
            bool same = r->flags & LN_LUAJSON_EXACT ? n == len && memcmp(back, s, n) == 0
                                                    : same_decimal(s, len, back, n);
            if (same) {
                lua_pushnumber(r->L, d);
                return LN_OK;
            }
        }
    }
    ln_luajson_push_number(r->L, ln_span(s, len));
    return LN_OK;
}

static int read_array(struct reader *r)
{
    lua_State *L = r->L;
    lua_newtable(L);
    luaL_getmetatable(L, LN_LUAJSON_ARRAY);
    lua_setmetatable(L, -2);
    if (take(r, ']'))
        return LN_OK;
    for (int i = 1;; i++) {
        if (read_value(r) != LN_OK)
            return LN_EPARSE;
        lua_rawseti(L, -2, i);
        if (take(r, ']'))
            return LN_OK;
        if (!take(r, ','))
            return fail(r, r->p, "expected , or ] in an array");
    }
}

static int read_object(struct reader *r)
{
    lua_newtable(r->L);
    if (take(r, '}'))
        return LN_OK;
    for (;;) {
        if (!take(r, '"'))
            return fail(r, r->p, "expected a key in quotes");
        if (read_string(r) != LN_OK)
            return LN_EPARSE;
        if (!take(r, ':'))
            return fail(r, r->p, "expected : behind a key");
        if (read_value(r) != LN_OK)
            return LN_EPARSE;
        lua_rawset(r->L, -3);
        if (take(r, '}'))
            return LN_OK;
        if (!take(r, ','))
            return fail(r, r->p, "expected , or } in an object");
    }
}

static bool take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

static int read_value(struct reader *r)
{
    lua_State *L = r->L;
    skip_blanks(r);
    if (r->p == r->end)
        return fail(r, r->p, "the text ends where a value should be");
    if (r->depth >= LN_LUAJSON_DEPTH)
        return fail(r, r->p, "nested too deep");
    luaL_checkstack(L, 6, "json.decode");
    int code = LN_OK;
    r->depth++;
    if (take(r, '{'))
        code = read_object(r);
    else if (take(r, '['))
        code = read_array(r);
    else if (take(r, '"'))
        code = read_string(r);
    else if (take_word(r, "true"))
        lua_pushboolean(L, 1);
    else if (take_word(r, "false"))
        lua_pushboolean(L, 0);
    else if (take_word(r, "null"))
        lua_getfield(L, LUA_REGISTRYINDEX, LN_LUAJSON_NULL);
    else
        code = read_number(r);
    r->depth--;
    return code;
}

int ln_luajson_decode(lua_State *L, struct ln_span text, int flags, struct ln_err *err)
{
    int top = lua_gettop(L);
    struct reader r = {.L = L,
                       .start = text.ptr,
                       .p = text.ptr,
                       .end = text.ptr + text.len,
                       .err = err,
                       .flags = flags};
    luaL_checkstack(L, 6, "json.decode");
    r.scratch = ln_luajson_scratch(L);
    int code = read_value(&r);
    skip_blanks(&r);
    if (code == LN_OK && r.p != r.end)
        code = fail(&r, r.p, "something follows the value");
    if (code != LN_OK)
        lua_settop(L, top);
    return code;
}
