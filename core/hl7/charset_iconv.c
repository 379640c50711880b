/* Characters to text and back. The only file that speaks to iconv. Conversions are made when they
 * are first needed and kept for good; one thread of a process uses them. */
#include <iconv.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "hl7/charset.h"

static struct {
    bool tried;
    iconv_t in, out; /* to and from UTF-8 */
    uint16_t *code; /* single-byte sets: code points of 0x80..0xff, 0 = none */
} sets[LN_CHARSETS_MAX];

static bool convert(iconv_t cd, const char *p, size_t n, char *out, size_t cap, size_t *len)
{
    char *from = (char *)(uintptr_t)p, *to = out;
    size_t left = n, room = cap;
    iconv(cd, NULL, NULL, NULL, NULL);
    if (iconv(cd, &from, &left, &to, &room) != 0 || left)
        return false;
    *len = cap - room;
    return *len > 0;
}

static unsigned code_of(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    return n == 1   ? u[0]
           : n == 2 ? (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu)
           : n == 3 ? (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu)
                    : 0;
}

static void read_codes(unsigned base)
{
    char text[LN_CHARSET_GET];
    size_t n;
    sets[base].code = calloc(128, sizeof *sets[base].code);
    for (unsigned i = 0; sets[base].code && i < 128; i++) {
        char c = (char)(0x80 + i);
        if (convert(sets[base].in, &c, 1, text, sizeof text, &n))
            sets[base].code[i] = (uint16_t)code_of(text, n);
    }
}

/* False: the C library has no such set. */
static bool ready(unsigned base, bool single)
{
    if (!sets[base].tried) {
        const char *name = ln_charset_iconv(base);
        sets[base].tried = true;
        sets[base].in = name ? iconv_open("UTF-8", name) : (iconv_t)-1;
        sets[base].out = name ? iconv_open(name, "UTF-8") : (iconv_t)-1;
    }
    if (sets[base].in == (iconv_t)-1 || sets[base].out == (iconv_t)-1)
        return false;
    if (single && !sets[base].code)
        read_codes(base);
    return !single || sets[base].code;
}

static unsigned number_of(const char *name)
{
    struct ln_charset cs;
    return ln_charset_find(ln_span_str(name), &cs) == LN_OK ? cs.base : 0;
}

static unsigned euc_jp(void)
{
    static unsigned n;
    return n ? n : (n = number_of("EUC-JP"));
}

static size_t get_single(unsigned base, char c, char *out)
{
    unsigned u = (unsigned char)c;
    if (u < 0x80 || !ready(base, true) || !sets[base].code[u - 0x80])
        return 0;
    return ln_utf8_put(sets[base].code[u - 0x80], out);
}

static size_t get_kana(char c, char *out)
{
    unsigned u = (unsigned char)c & 0x7f;
    return u >= 0x21 && u <= 0x5f ? ln_utf8_put(0xff61 + u - 0x21, out) : 0;
}

static size_t get_iso2022(const struct ln_charset *cs, const struct ln_charset_state *s,
                          const char *p, size_t n, char *out)
{
    size_t len;
    if (n == 1 && (unsigned char)*p > 0x7f) {
        if (s->g1 == 0xff || (!s->g1 && cs->sets & LN_SET_KANA))
            return get_kana(*p, out);
        return s->g1 || cs->base ? get_single(s->g1 ? s->g1 : cs->base, *p, out) : 0;
    }
    if (n == 1)
        return s->g0 == LN_G0_KANA ? get_kana(*p, out) : 0;
    char euc[3] = {(char)0x8f, (char)(p[0] | 0x80), (char)(p[1] | 0x80)};
    bool second = s->g0 == LN_G0_JIS212;
    if (n != 2 || !ready(euc_jp(), false))
        return 0;
    return convert(sets[euc_jp()].in, second ? euc : euc + 1, second ? 3 : 2, out, LN_CHARSET_GET,
                   &len)
               ? len
               : 0;
}

size_t ln_charset_get(const struct ln_charset *cs, const struct ln_charset_state *s, const char *p,
                      size_t n, char out[LN_CHARSET_GET])
{
    size_t len;
    switch (cs->kind) {
    case LN_CHARSET_SINGLE: return n == 1 ? get_single(cs->base, *p, out) : 0;
    case LN_CHARSET_ISO2022: return get_iso2022(cs, s, p, n, out);
    case LN_CHARSET_MULTI:
    case LN_CHARSET_TRAIL:
        return ready(cs->base, false) && convert(sets[cs->base].in, p, n, out, LN_CHARSET_GET, &len)
                   ? len
                   : 0;
    default: return 0;
    }
}

static size_t put_single(unsigned base, unsigned code, char *out)
{
    if (!code || code > 0xffff || !ready(base, true))
        return 0;
    for (unsigned i = 0; i < 128; i++) {
        if (sets[base].code[i] == code) {
            *out = (char)(0x80 + i);
            return 1;
        }
    }
    return 0;
}

static size_t put_iso2022(const struct ln_charset *cs, const char *utf8, size_t n, char *out,
                          uint8_t *g0)
{
    char euc[LN_CHARSET_PUT];
    size_t len;
    unsigned code = code_of(utf8, n);
    *g0 = LN_G0_ASCII;
    if (cs->sets & LN_SET_KANA && code >= 0xff61 && code <= 0xff9f) {
        *out = (char)(0xa1 + code - 0xff61);
        return 1;
    }
    if (cs->base && !(cs->sets & LN_SET_KANA) && (len = put_single(cs->base, code, out)))
        return len;
    if (!ready(euc_jp(), false) || !convert(sets[euc_jp()].out, utf8, n, euc, sizeof euc, &len))
        return 0;
    bool second = len == 3 && (unsigned char)euc[0] == 0x8f;
    bool first = len == 2 && (unsigned char)euc[0] > 0xa0;
    if (!(second && cs->sets & LN_SET_JIS212) && !(first && cs->sets & LN_SET_JIS208))
        return 0;
    *g0 = second ? LN_G0_JIS212 : LN_G0_JIS208;
    out[0] = (char)(euc[len - 2] & 0x7f);
    out[1] = (char)(euc[len - 1] & 0x7f);
    return 2;
}

size_t ln_charset_put(const struct ln_charset *cs, const char *utf8, size_t n,
                      char out[LN_CHARSET_PUT], uint8_t *g0)
{
    char back[LN_CHARSET_GET];
    size_t len = 0;
    *g0 = LN_G0_ASCII;
    switch (cs->kind) {
    case LN_CHARSET_SINGLE: return put_single(cs->base, code_of(utf8, n), out);
    case LN_CHARSET_ISO2022: len = put_iso2022(cs, utf8, n, out, g0); break;
    case LN_CHARSET_MULTI:
    case LN_CHARSET_TRAIL:
        if (!ready(cs->base, false) ||
            !convert(sets[cs->base].out, utf8, n, out, LN_CHARSET_PUT, &len) ||
            (unsigned char)*out < 0x80)
            return 0;
        break;
    default: return 0;
    }
    /* Some sets write two characters alike, or one as several: only what reads back is written. */
    struct ln_charset_state s = {*g0, 0};
    bool opaque;
    if (len && cs->kind != LN_CHARSET_MULTI) {
        struct ln_charset_state t = s;
        if (ln_charset_step(cs, &t, out, out + len, &opaque) != len)
            return 0;
    }
    return len && ln_charset_get(cs, &s, out, len, back) == n && memcmp(back, utf8, n) == 0 ? len
                                                                                            : 0;
}
