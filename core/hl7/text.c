#include "hl7/text.h"

#include <stdlib.h>

#include "base/utf8.h"

/* Where text is written: counts only while out is NULL. */
struct sink {
    char *out;
    size_t len;
    uint8_t g0; /* what ISO 2022 is switched to */
};

static void put(struct sink *s, const char *p, size_t n)
{
    if (s->out)
        memcpy(s->out + s->len, p, n);
    s->len += n;
}

static void switch_to(struct sink *s, uint8_t g0)
{
    if (s->g0 == g0)
        return;
    put(s, ln_charset_switch(g0), strlen(ln_charset_switch(g0)));
    s->g0 = g0;
}

bool ln_text_is_plain(struct ln_span s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.len; i++)
        all |= (unsigned char)s.ptr[i];
    return all < 0x80 && (s.len == 0 || !memchr(s.ptr, '\x1b', s.len));
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Characters of bytes that are not to be read as escapes; s as before them. */
static size_t decode(const struct ln_charset *cs, struct ln_charset_state *s, struct ln_span in,
                     char *out)
{
    char *o = out;
    bool opaque;
    for (const char *p = in.ptr, *end = p + in.len; p < end;) {
        struct ln_charset_state before = *s;
        size_t n = ln_charset_step(cs, s, p, end, &opaque), len = 0;
        bool switched = memcmp(&before, s, sizeof before) != 0 && n > 2;
        if (opaque || (unsigned char)*p > 0x7f)
            len = ln_charset_get(cs, &before, p, n, o);
        if (!len && !switched) {
            memcpy(o, p, n);
            len = n;
        }
        o += len;
        p += n;
    }
    return (size_t)(o - out);
}

/* The bytes of \Xhh..\ are characters of the message's set, too. */
static size_t decode_escape(const struct ln_text *t, struct ln_charset_state *s, struct ln_span seq,
                            char *out)
{
    size_t n = ln_unescape(&t->delims, seq, out);
    char local[64];
    if (n > sizeof local || ln_text_is_plain(ln_span(out, n)))
        return n;
    memcpy(local, out, n);
    return decode(&t->charset, s, ln_span(local, n), out);
}

/* Length of the escape sequence at p, or 0. */
static size_t sequence_len(const struct ln_delims *d, const char *p, const char *end)
{
    const char *e = end - p > 2 ? memchr(p + 1, d->escape, (size_t)(end - p - 1)) : NULL;
    return e && e > p + 1 ? (size_t)(e - p) + 1 : 0;
}

/* What was read of a sequence that stays as it is: a command whole; of any other its escape
 * character alone, since the last one may start another sequence. */
static size_t kept(const struct ln_delims *d, const char *p, size_t seq)
{
    return ln_escape_command(d, p, seq) == seq ? seq : 1;
}

size_t ln_text_read(const struct ln_text *t, struct ln_span leaf, char *out)
{
    const struct ln_charset *cs = &t->charset;
    struct ln_charset_state s = {0};
    char *o = out, escape = t->delims.escape;
    bool opaque;
    if (cs->kind <= LN_CHARSET_ASCII)
        return ln_unescape(&t->delims, leaf, out);
    for (const char *p = leaf.ptr, *end = p + leaf.len; p < end;) {
        struct ln_charset_state after = s;
        size_t n = ln_charset_step(cs, &after, p, end, &opaque);
        size_t seq = !opaque && escape && *p == escape ? sequence_len(&t->delims, p, end) : 0;
        if (seq && seq <= 64) {
            size_t len = decode_escape(t, &s, ln_span(p, seq), o);
            if (len == seq && memcmp(o, p, seq) == 0)
                seq = len = kept(&t->delims, p, seq);
            o += len;
            p += seq;
            continue;
        }
        if (seq) { /* long: \X..\ */
            size_t len = ln_unescape(&t->delims, ln_span(p, seq), o);
            if (len == seq)
                seq = len = kept(&t->delims, p, seq);
            o += len;
            p += seq;
            continue;
        }
        o += decode(cs, &s, ln_span(p, n), o);
        p += n;
    }
    return (size_t)(o - out);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static int lacking(const struct ln_text *t, const char *utf8, size_t n, size_t at,
                   struct ln_err *err)
{
    unsigned code = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned u = (unsigned char)utf8[i];
        code = i ? code << 6 | (u & 0x3f) : n == 2 ? u & 0x1f : n == 3 ? u & 0x0f : u & 0x07;
    }
    if (err)
        err->offset = at;
    return ln_err_set(err, LN_EINVAL,
                      "byte %zu: the character U+%04X cannot be written in the message's character "
                      "set, %s",
                      at + 1, code, ln_charset_name(&t->charset));
}

/* What looks alike, where the sets of one country's systems differ; only with a substitute set. */
static const char *twin(const char *utf8, size_t n)
{
    static const char *const twins[][2] = {
        {"\xef\xbc\x8d", "\xe2\x88\x92"}, /* U+FF0D, U+2212: minus */
        {"\xef\xbd\x9e", "\xe3\x80\x9c"}, /* U+FF5E, U+301C: wave dash */
        {"\xe2\x88\xa5", "\xe2\x80\x96"}, /* U+2225, U+2016: parallel */
        {"\xef\xbf\xa0", "\xc2\xa2"},     {"\xef\xbf\xa1", "\xc2\xa3"},
        {"\xef\xbf\xa2", "\xc2\xac"},
    };
    for (size_t i = 0; n == 3 && i < sizeof twins / sizeof twins[0]; i++)
        for (int k = 0; k < 2; k++)
            if (memcmp(twins[i][k], utf8, strlen(twins[i][k])) == 0)
                return twins[i][1 - k];
    return NULL;
}

static bool put_char(struct sink *s, const struct ln_charset *cs, const char *utf8, size_t n)
{
    char bytes[LN_CHARSET_PUT];
    uint8_t g0 = LN_G0_ASCII;
    size_t len = n;
    if (cs->kind == LN_CHARSET_UTF8) {
        put(s, utf8, n);
        return true;
    }
    if (n == 1)
        bytes[0] = *utf8;
    else if (!(len = ln_charset_put(cs, utf8, n, bytes, &g0)))
        return false;
    if (cs->kind == LN_CHARSET_ISO2022)
        switch_to(s, g0);
    put(s, bytes, len);
    return true;
}

/* One character of valid UTF-8, or what stands for it. */
static int put_text(struct sink *s, const struct ln_text *t, const char *utf8, size_t n, size_t at,
                    struct ln_err *err)
{
    if (put_char(s, &t->charset, utf8, n))
        return LN_OK;
    if (!t->substitute[0])
        return lacking(t, utf8, n, at, err);
    const char *other = twin(utf8, n);
    if (other && put_char(s, &t->charset, other, strlen(other)))
        return LN_OK;
    return put_char(s, &t->charset, t->substitute, strlen(t->substitute))
               ? LN_OK
               : lacking(t, utf8, n, at, err);
}

static int put_escaped(struct sink *s, const struct ln_text *t, struct ln_span text, size_t i,
                       size_t *used, struct ln_err *err)
{
    const char *seq = ln_escape_at(&t->delims, text, i, used);
    switch_to(s, LN_G0_ASCII);
    if (!seq && text.ptr[i] == '\x1b' && t->charset.kind == LN_CHARSET_ISO2022)
        seq = "X1B"; /* refused where it would switch: see ln_text_write */
    if (!seq) {
        put(s, text.ptr + i, *used);
        return LN_OK;
    }
    if (!t->delims.escape)
        return ln_err_set(err, LN_EINVAL,
                          "the value holds a delimiter or line end (byte %zu), and MSH-2 declares "
                          "no escape character to write it with",
                          i + 1);
    put(s, &t->delims.escape, 1);
    put(s, seq, strlen(seq));
    put(s, &t->delims.escape, 1);
    return LN_OK;
}

/* Bytes that are no text and came from a message: written as they are. */
static size_t put_invalid(struct sink *s, const struct ln_charset *cs, const char *p,
                          const char *end)
{
    struct ln_charset_state state = {s->g0, 0};
    bool opaque;
    size_t n = cs->kind == LN_CHARSET_TRAIL ? ln_charset_step(cs, &state, p, end, &opaque) : 1;
    put(s, p, n);
    return n;
}

static int write_all(struct sink *s, const struct ln_text *t, struct ln_span text, bool *odd,
                     struct ln_err *err)
{
    int rc = LN_OK;
    *odd = false;
    for (size_t i = 0, used; i < text.len && rc == LN_OK; i += used) {
        const char *p = text.ptr + i;
        size_t n = ln_utf8_len((const unsigned char *)p, text.len - i);
        used = n;
        if (n == 1) {
            *odd = *odd || *p == '\x1b';
            rc = put_escaped(s, t, text, i, &used, err);
        } else if (n) {
            rc = put_text(s, t, p, n, i, err);
        } else {
            *odd = true;
            used = put_invalid(s, &t->charset, p, text.ptr + text.len);
        }
    }
    switch_to(s, LN_G0_ASCII);
    return rc;
}

/* Text that holds what is no text must come back, or is refused. */
static int check_back(const struct ln_text *t, struct ln_span text, size_t len, struct ln_err *err)
{
    char *raw = malloc(len + 1), *back = malloc(len * 3 + 8);
    bool odd, same = false;
    struct sink s = {.out = raw};
    int rc = raw && back ? write_all(&s, t, text, &odd, err) : LN_ENOMEM;
    if (rc == LN_OK) {
        size_t n = ln_text_read(t, ln_span(raw, s.len), back);
        same = ln_span_eq(ln_span(back, n), text);
    }
    free(raw);
    free(back);
    if (rc || same)
        return rc;
    return ln_err_set(
        err, LN_EINVAL,
        "the value holds bytes that are no UTF-8 text, and would be read as something "
        "else in the message's character set, %s",
        ln_charset_name(&t->charset));
}

int ln_text_write(const struct ln_text *t, struct ln_span text, char *out, size_t *len,
                  struct ln_err *err)
{
    struct sink s = {.out = out};
    bool odd;
    int rc = write_all(&s, t, text, &odd, err);
    *len = s.len;
    if (rc == LN_OK && odd && !out)
        rc = check_back(t, text, s.len, err);
    return rc;
}

/* ---- from one set to another -------------------------------------------------------------------
 */

/* The text of \X..\ when it holds characters that only the old set explains; 0 else. */
static size_t hex_text(const struct ln_text *from, const char *p, size_t seq, char *out, size_t cap)
{
    char bytes[64];
    struct ln_charset_state s = {0};
    if (seq > sizeof bytes || seq * 3 + 8 > cap || p[1] != 'X')
        return 0;
    size_t n = ln_unescape(&from->delims, ln_span(p, seq), bytes);
    if (n == seq || ln_text_is_plain(ln_span(bytes, n)) ||
        ln_text_check(&from->charset, ln_span(bytes, n)) < n)
        return 0;
    if (from->charset.kind <= LN_CHARSET_ASCII) {
        memcpy(out, bytes, n);
        return n;
    }
    return decode(&from->charset, &s, ln_span(bytes, n), out);
}

static int put_all(struct sink *s, const struct ln_text *t, struct ln_span text, size_t at,
                   struct ln_err *err)
{
    int rc = LN_OK;
    for (size_t i = 0, n; i < text.len && rc == LN_OK; i += n) {
        n = ln_utf8_len((const unsigned char *)text.ptr + i, text.len - i);
        if (!n)
            return ln_err_set(err, LN_EINVAL, "byte %zu is no character", at + 1);
        rc = put_text(s, t, text.ptr + i, n, at, err);
    }
    return rc;
}

/* Length of the character at p; 0 when it is none. *text: what it says. */
static size_t character(const struct ln_charset *cs, struct ln_charset_state *s, const char *p,
                        const char *end, char text[LN_CHARSET_GET], size_t *n, bool *opaque)
{
    struct ln_charset_state before = *s;
    size_t len;
    *n = 0;
    if (cs->kind <= LN_CHARSET_ASCII) {
        len = ln_utf8_len((const unsigned char *)p, (size_t)(end - p));
        *opaque = len > 1;
        memcpy(text, p, len);
        *n = len;
        return len;
    }
    len = ln_charset_step(cs, s, p, end, opaque);
    if (!*opaque && (unsigned char)*p < 0x80) {
        memcpy(text, p, *n = 1);
        return len; /* an escape sequence, in ISO 2022 */
    }
    if (*opaque && len > 2 && memcmp(&before, s, sizeof before) != 0)
        return len; /* a switch says nothing */
    if (*opaque && len > 2 && (*p == '\x1b' || *p == cs->escape))
        return len; /* one to what it was */
    *n = ln_charset_get(cs, &before, p, len, text);
    return *n ? len : 0;
}

int ln_text_convert(const struct ln_text *from, const struct ln_text *to, struct ln_span raw,
                    char *out, size_t *len, struct ln_err *err)
{
    struct sink s = {.out = out};
    struct ln_charset_state state = {0};
    const char *end = raw.ptr + raw.len;
    char text[256], escape = from->delims.escape;
    bool opaque, same = ln_charset_eq(from->charset, to->charset);
    int rc = LN_OK;
    for (const char *p = raw.ptr; p < end && rc == LN_OK;) {
        size_t n, at = (size_t)(p - raw.ptr), seq;
        size_t used = character(&from->charset, &state, p, end, text, &n, &opaque);
        if (!used && (same || to->substitute[0])) {
            switch_to(&s, LN_G0_ASCII);
            if (same)
                put(&s, p, 1);
            else
                rc = put_all(&s, to, ln_span_str(to->substitute), at, err);
            p++;
            continue;
        }
        if (!used) {
            if (err)
                err->offset = at;
            return ln_err_set(err, LN_EINVAL, "byte %zu is no character of %s", at + 1,
                              ln_charset_name(&from->charset));
        }
        size_t hex = 0;
        if (!opaque && *p == escape && escape && (seq = sequence_len(&from->delims, p, end)))
            hex = hex_text(from, p, seq, text, sizeof text);
        if (hex) {
            rc = put_all(&s, to, ln_span(text, hex), at, err);
            used = seq;
        } else if (n == 1 && !opaque) {
            switch_to(&s, LN_G0_ASCII);
            put(&s, p, used);
        } else if (n) {
            rc = put_text(&s, to, text, n, at, err);
        }
        p += used;
    }
    switch_to(&s, LN_G0_ASCII);
    *len = s.len;
    return rc;
}

size_t ln_text_check(const struct ln_charset *cs, struct ln_span bytes)
{
    struct ln_charset_state s = {0};
    char text[LN_CHARSET_GET];
    size_t n;
    bool opaque;
    const char *p = bytes.ptr, *end = p + bytes.len;
    while (p < end) {
        size_t used = character(cs, &s, p, end, text, &n, &opaque);
        if (!used || (cs->kind == LN_CHARSET_ASCII && used > 1))
            break;
        p += used;
    }
    return (size_t)(p - bytes.ptr);
}
