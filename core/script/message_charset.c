/* Character sets of messages, for scripts: hl7.parse(bytes, { charset = }), msg:charset(),
 * msg:convert(name), and what follows from setting MSH-18. */
#include "script/message_lua.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

struct ln_text ln_lmessage_text(const struct ln_lmessage *u)
{
    struct ln_text t = {.delims = u->m.delims, .charset = u->m.charset};
    memcpy(t.substitute, u->substitute, sizeof t.substitute);
    return t;
}

struct ln_charset_policy ln_lmessage_policy(const struct ln_lmessage *u)
{
    struct ln_charset_policy p = {.charset = u->m.charset, .force = true};
    memcpy(p.substitute, u->substitute, sizeof p.substitute);
    return p;
}

/* The text of a policy, as settings have it, from { default = .. } and the like; pushes it. */
static void push_policy_text(lua_State *L, int idx)
{
    static const char *const known[] = {"default", "force", "substitute", NULL};
    const char *word = "trust", *names = "";
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i] || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "a charset is \"trust\", a name, { default = NAME } or { force = NAME }, "
                          "each with substitute = CHARACTER if you like");
        if (i < 2 && *names)
            luaL_error(L, "a charset is either default or force");
        if (i < 2) {
            word = known[i];
            names = lua_tostring(L, -1); /* the table keeps it */
        }
        lua_pop(L, 1);
    }
    lua_getfield(L, idx, "substitute");
    lua_pushfstring(L, *names ? "%s %s\t%s" : "%s%s\t%s", word, names,
                    lua_isnil(L, -1) ? "" : lua_tostring(L, -1));
}

struct ln_charset_policy ln_lmessage_policy_arg(lua_State *L, int idx)
{
    struct ln_charset_policy p = {0};
    struct ln_err err = {0};
    struct ln_span s;
    int top = lua_gettop(L);
    idx = idx > 0 ? idx : top + 1 + idx;
    if (lua_isnil(L, idx))
        return p;
    if (lua_istable(L, idx))
        push_policy_text(L, idx);
    else if (lua_type(L, idx) == LUA_TSTRING && strcmp(lua_tostring(L, idx), "trust") != 0)
        lua_pushfstring(L, "default %s", lua_tostring(L, idx));
    else if (lua_type(L, idx) == LUA_TSTRING)
        lua_pushvalue(L, idx);
    else
        luaL_error(L, "a charset is a string or a table, not a %s", luaL_typename(L, idx));
    s.ptr = lua_tolstring(L, -1, &s.len);
    if (ln_charset_policy_read(s, &p, &err))
        luaL_error(L, "%s", err.text);
    lua_settop(L, top);
    return p;
}

/* ---- converting --------------------------------------------------------------------------------
 */

static void where(struct ln_lmessage *u, uint32_t slot, uint32_t field, char *out, size_t cap)
{
    struct ln_span name = ln_message_name(&u->m, slot);
    uint32_t n = 1;
    for (uint32_t s = ln_message_next(&u->m, name, LN_NO_SEGMENT); s != slot && s != LN_NO_SEGMENT;
         s = ln_message_next(&u->m, name, s))
        n++;
    int len = (int)(name.len < 8 ? name.len : 8);
    if (n == 1)
        snprintf(out, cap, "%.*s-%u", len, name.ptr, field);
    else
        snprintf(out, cap, "%.*s[%u]-%u", len, name.ptr, n, field);
}

/* One field; out NULL: only tried. */
static void convert_field(lua_State *L, struct ln_lmessage *u, const struct ln_text *to,
                          uint32_t slot, uint32_t field, bool write)
{
    struct ln_text from = ln_lmessage_text(u);
    struct ln_part part = {.field = field};
    struct ln_span raw;
    struct ln_err err = {0};
    size_t len;
    char place[64];
    if (ln_field_get(&u->m, slot, &part, &raw))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    if (!raw.len || (ln_text_is_plain(raw) &&
                     !(from.delims.escape && memchr(raw.ptr, from.delims.escape, raw.len))))
        return;
    if (ln_text_convert(&from, to, raw, NULL, &len, &err)) {
        where(u, slot, field, place, sizeof place);
        luaL_error(L, "%s, %s", place, err.text);
    }
    if (!write)
        return;
    char *p = ln_lmessage_scratch(L, len);
    if (ln_text_convert(&from, to, raw, p, &len, &err))
        ln_lmessage_raise(L, LN_EINVAL, &err);
    if (!ln_span_eq(ln_span(p, len), raw) && ln_field_put(&u->m, slot, field, ln_span(p, len)))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    lua_pop(L, 1);
}

void ln_lmessage_convert(lua_State *L, struct ln_lmessage *u, const struct ln_text *to)
{
    struct ln_span any = {NULL, 0};
    uint32_t fields;
    luaL_checkstack(L, 8, "message");
    for (int write = 0; write < 2; write++) {
        for (uint32_t s = ln_message_next(&u->m, any, LN_NO_SEGMENT); s != LN_NO_SEGMENT;
             s = ln_message_next(&u->m, any, s)) {
            if (ln_field_count(&u->m, s, &fields))
                ln_lmessage_raise(L, LN_ENOMEM, NULL);
            for (uint32_t f = u->m.seg[s].header ? 3 : 1; f <= fields; f++)
                convert_field(L, u, to, s, f, write);
        }
    }
    u->m.charset = to->charset;
    u->m.charset.escape = u->m.delims.escape;
}

/* MSH-18 as it was, then the error on top. */
static void put_back(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_span old)
{
    if (ln_field_put(&u->m, slot, 18, old))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    lua_error(L);
}

struct conversion {
    struct ln_lmessage *u;
    struct ln_text to;
};

static int protected_convert(lua_State *L)
{
    struct conversion *c = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    c->u->L = L;
    c->u->idx = 2;
    ln_lmessage_convert(L, c->u, &c->to);
    return 0;
}

void ln_lmessage_renamed(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_span old)
{
    struct ln_span now;
    struct conversion c = {u, ln_lmessage_text(u)};
    int self = u->idx;
    if (ln_field_get(&u->m, slot, &(struct ln_part){.field = 18}, &now))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    if (!now.len)
        return; /* it says nothing: the bytes are what they are */
    if (ln_charset_list(now, u->m.delims.repetition, &c.to.charset)) {
        luaL_where(L, 1);
        lua_pushliteral(L, "no such character set is known: setting MSH-18 converts the message to "
                           "it; msg:set_raw(\"MSH-18\", name) writes the name alone");
        lua_concat(L, 2);
        put_back(L, u, slot, old);
    }
    u->m.named = true;
    c.to.charset.escape = u->m.delims.escape;
    if (ln_charset_eq(c.to.charset, u->m.charset))
        return;
    lua_pushcfunction(L, protected_convert);
    lua_pushlightuserdata(L, &c);
    lua_pushvalue(L, self);
    int failed = lua_pcall(L, 2, 0, 0);
    u->L = L;
    u->idx = self;
    if (!failed)
        return;
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    put_back(L, u, slot, old);
}

void ln_message_convert(lua_State *L, int idx, const struct ln_charset_policy *to)
{
    struct ln_lmessage *u = ln_lmessage_check(L, idx);
    struct ln_text t = ln_lmessage_text(u);
    char list[64];
    t.charset = to->charset;
    t.charset.escape = u->m.delims.escape;
    memcpy(t.substitute, to->substitute, sizeof t.substitute);
    bool same = ln_charset_eq(t.charset, u->m.charset) && u->m.named;
    if (!same)
        ln_lmessage_convert(L, u, &t);
    memcpy(u->substitute, to->substitute, sizeof u->substitute);
    if (same || !u->m.seg[u->m.first].header)
        return;
    ln_charset_label(&t.charset, u->m.delims.repetition, list);
    if (ln_field_put(&u->m, u->m.first, 18, ln_span_str(list)))
        ln_lmessage_raise(L, LN_ENOMEM, NULL);
    u->m.named = true;
}

/* msg:convert(name [, { substitute = "?" }]) */
int ln_lmessage_l_convert(lua_State *L)
{
    struct ln_charset_policy to;
    struct ln_err err = {0};
    ln_lmessage_check(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 3);
    const char *substitute = "";
    if (!lua_isnil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        lua_getfield(L, 3, "substitute");
        substitute = luaL_optstring(L, -1, "");
    }
    lua_pushfstring(L, "force %s\t%s", lua_tostring(L, 2), substitute);
    if (ln_charset_policy_read(ln_span_str(lua_tostring(L, -1)), &to, &err))
        return luaL_error(L, "%s", err.text);
    lua_settop(L, 1);
    ln_message_convert(L, 1, &to);
    lua_settop(L, 1);
    return 1;
}

/* msg:charset() -> name, and what is wrong with it or nil. */
int ln_lmessage_charset(lua_State *L)
{
    struct ln_lmessage *u = ln_lmessage_check(L, 1);
    struct ln_span any = {NULL, 0}, raw, name = {0};
    uint32_t fields;
    char place[64];
    lua_pushstring(L, ln_charset_name(&u->m.charset));
    for (uint32_t s = ln_message_next(&u->m, any, LN_NO_SEGMENT); s != LN_NO_SEGMENT;
         s = ln_message_next(&u->m, any, s)) {
        if (ln_field_count(&u->m, s, &fields))
            ln_lmessage_raise(L, LN_ENOMEM, NULL);
        for (uint32_t f = 1; f <= fields; f++) {
            struct ln_part part = {.field = f};
            if (ln_field_get(&u->m, s, &part, &raw))
                ln_lmessage_raise(L, LN_ENOMEM, NULL);
            if (f == 18 && s == u->m.first)
                name = raw;
            size_t at = raw.len ? ln_text_check(&u->m.charset, raw) : 0;
            if (at == raw.len)
                continue;
            where(u, s, f, place, sizeof place);
            lua_pushfstring(L, "%s: byte %d is no character of %s", place, (int)at + 1,
                            ln_charset_name(&u->m.charset));
            return 2;
        }
    }
    if (!u->m.named && name.len) {
        struct ln_charset other;
        lua_pushstring(L, ln_charset_list(name, u->m.delims.repetition, &other) == LN_OK
                              ? "MSH-18 names another character set than the bytes are in"
                              : "MSH-18 names no character set that is known");
        return 2;
    }
    return 1;
}

/* ---- UTF-16, UTF-32 ----------------------------------------------------------------------------
 */

static unsigned unit(const char *p, size_t size, bool little)
{
    unsigned code = 0;
    for (size_t i = 0; i < size; i++)
        code |= (unsigned)(unsigned char)p[i] << 8 * (little ? i : size - 1 - i);
    return code;
}

bool ln_lmessage_push_wide(lua_State *L, int idx)
{
    struct ln_span s;
    s.ptr = lua_tolstring(L, idx, &s.len);
    const char *name = ln_charset_wide(s);
    if (!name)
        return false;
    size_t size = strstr(name, "32") ? 4 : 2, n = 0;
    bool little = strstr(name, "LE") != NULL;
    char *out = ln_lmessage_scratch(L, s.len / size * 4 + 4);
    for (size_t i = 0; i + size <= s.len; i += size) {
        unsigned code = unit(s.ptr + i, size, little);
        if (size == 2 && code >= 0xd800 && code < 0xdc00 && i + 4 <= s.len) {
            unsigned low = unit(s.ptr + i + 2, size, little);
            if (low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        if (code > 0x10ffff)
            code = 0xfffd;
        if (code != 0xfeff || i > 0) /* the byte order mark */
            n += ln_utf8_put(code, out + n);
    }
    lua_pushlstring(L, out, n);
    return true;
}
