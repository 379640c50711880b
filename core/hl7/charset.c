/* Names and characters of character sets; no conversion (charset_iconv.c). */
#include "hl7/charset.h"

/* Table 0211, and what peers are known to send beside it. Aliases are in capitals, without anything
 * that is no letter or digit. */
struct entry {
    const char *name, *iconv, *aliases;
    uint8_t kind, sets;
};

static const struct entry table[] = {
    {"UNICODE UTF-8", NULL, " UNICODEUTF8 UTF8 UNICODE ", LN_CHARSET_UTF8, 0},
    {"ASCII", NULL, " ASCII USASCII ISOIR6 ", LN_CHARSET_ASCII, 0},
    {"8859/1", "ISO-8859-1", " 88591 ISO88591 LATIN1 ISOIR100 ", LN_CHARSET_SINGLE, 0},
    {"8859/2", "ISO-8859-2", " 88592 ISO88592 LATIN2 ISOIR101 ", LN_CHARSET_SINGLE, 0},
    {"8859/3", "ISO-8859-3", " 88593 ISO88593 LATIN3 ISOIR109 ", LN_CHARSET_SINGLE, 0},
    {"8859/4", "ISO-8859-4", " 88594 ISO88594 LATIN4 ISOIR110 ", LN_CHARSET_SINGLE, 0},
    {"8859/5", "ISO-8859-5", " 88595 ISO88595 ISOIR144 ", LN_CHARSET_SINGLE, 0},
    {"8859/6", "ISO-8859-6", " 88596 ISO88596 ISOIR127 ", LN_CHARSET_SINGLE, 0},
    {"8859/7", "ISO-8859-7", " 88597 ISO88597 ISOIR126 ", LN_CHARSET_SINGLE, 0},
    {"8859/8", "ISO-8859-8", " 88598 ISO88598 ISOIR138 ", LN_CHARSET_SINGLE, 0},
    {"8859/9", "ISO-8859-9", " 88599 ISO88599 LATIN5 ISOIR148 ", LN_CHARSET_SINGLE, 0},
    {"8859/10", "ISO-8859-10", " 885910 ISO885910 ", LN_CHARSET_SINGLE, 0},
    {"8859/11", "ISO-8859-11", " 885911 ISO885911 TIS620 ISOIR166 ", LN_CHARSET_SINGLE, 0},
    {"8859/13", "ISO-8859-13", " 885913 ISO885913 ", LN_CHARSET_SINGLE, 0},
    {"8859/14", "ISO-8859-14", " 885914 ISO885914 ", LN_CHARSET_SINGLE, 0},
    {"8859/15", "ISO-8859-15", " 885915 ISO885915 LATIN9 ", LN_CHARSET_SINGLE, 0},
    {"8859/16", "ISO-8859-16", " 885916 ISO885916 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1250", "CP1250", " WINDOWS1250 CP1250 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1251", "CP1251", " WINDOWS1251 CP1251 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1252", "CP1252", " WINDOWS1252 CP1252 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1253", "CP1253", " WINDOWS1253 CP1253 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1254", "CP1254", " WINDOWS1254 CP1254 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1255", "CP1255", " WINDOWS1255 CP1255 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1256", "CP1256", " WINDOWS1256 CP1256 ", LN_CHARSET_SINGLE, 0},
    {"WINDOWS-1257", "CP1257", " WINDOWS1257 CP1257 ", LN_CHARSET_SINGLE, 0},
    {"KS X 1001", "EUC-KR", " KSX1001 EUCKR ISOIR149 ", LN_CHARSET_MULTI, 0},
    {"CNS 11643-1992", "EUC-TW", " CNS116431992 CNS11643 EUCTW ", LN_CHARSET_MULTI, 0},
    {"EUC-JP", "EUC-JP", " EUCJP ", LN_CHARSET_MULTI, 0},
    {"GB 18030-2000", "GB18030", " GB180302000 GB18030 GBK GB2312 ISOIR58 ", LN_CHARSET_TRAIL, 0},
    {"BIG-5", "BIG5", " BIG5 ", LN_CHARSET_TRAIL, 0},
    {"SHIFT_JIS", "CP932", " SHIFTJIS SJIS CP932 WINDOWS31J ", LN_CHARSET_TRAIL, 0},
    {"ISO IR14", NULL, " ISOIR14 ", LN_CHARSET_ISO2022, LN_SET_ROMAN},
    {"ISO IR13", NULL, " ISOIR13 ", LN_CHARSET_ISO2022, LN_SET_KANA},
    {"ISO IR87", NULL, " ISOIR87 ", LN_CHARSET_ISO2022, LN_SET_JIS208},
    {"ISO IR159", NULL, " ISOIR159 ", LN_CHARSET_ISO2022, LN_SET_JIS212},
    {"ISO-2022-JP", NULL, " ISO2022JP ISO2022JP1 ", LN_CHARSET_ISO2022,
     LN_SET_ROMAN | LN_SET_JIS208 | LN_SET_JIS212},
};

enum {
    NENTRY = sizeof table / sizeof table[0],
    BASE_8859_1 = 2,
    BASE_EUC_TW = 26,
    BASE_EUC_JP = 27,
    BASE_GB = 28,
    BASE_BIG5 = 29,
    BASE_SJIS = 30
};

const char *ln_charset_iconv(unsigned base)
{
    return base < NENTRY ? table[base].iconv : NULL;
}

/* Capitals, letters and digits only, a blank on either side. False: longer than any name. */
static bool plain_name(struct ln_span name, char out[32])
{
    size_t n = 0;
    out[n++] = ' ';
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            continue;
        if (n > 28)
            return false;
        out[n++] = c;
    }
    out[n] = ' ';
    out[n + 1] = '\0';
    return n > 1;
}

int ln_charset_find(struct ln_span name, struct ln_charset *cs)
{
    char wanted[32];
    *cs = (struct ln_charset){0};
    if (ln_span_is(name, "UNICODE UTF-8"))
        return LN_OK;
    if (!plain_name(name, wanted))
        return LN_ENOTFOUND;
    for (unsigned i = 0; i < NENTRY; i++) {
        if (!strstr(table[i].aliases, wanted))
            continue;
        cs->kind = table[i].kind;
        cs->sets = table[i].sets;
        cs->base = cs->kind == LN_CHARSET_ISO2022 ? 0 : (uint8_t)i;
        return LN_OK;
    }
    return strstr(
               " UNICODEUTF16 UTF16 UNICODEUTF32 UTF32 UCS2 UNICODEUTF16LE UNICODEUTF16BE UTF16LE "
               "UTF16BE ",
               wanted)
               ? LN_EINVAL
               : LN_ENOTFOUND;
}

/* The first name up to c, taken off *s; false at the end. */
static bool next_name(struct ln_span *s, char c, struct ln_span *name)
{
    if (!s->ptr)
        return false;
    const char *e = c && s->len ? memchr(s->ptr, c, s->len) : NULL;
    *name = ln_span(s->ptr, e ? (size_t)(e - s->ptr) : s->len);
    *s = e ? ln_span(e + 1, s->len - name->len - 1) : ln_span(NULL, 0);
    return true;
}

/* What a further name of MSH-18 adds. ISO 2022 sets come beside the first one; any other set holds
 * ASCII, and takes its place; a second one is what \C..\ may switch to. */
static void add_alternate(struct ln_charset *cs, struct ln_charset more)
{
    if (more.kind == LN_CHARSET_ISO2022) {
        if (cs->kind == LN_CHARSET_ASCII)
            *cs = more;
        else if (cs->kind == LN_CHARSET_SINGLE || cs->kind == LN_CHARSET_ISO2022) {
            cs->kind = LN_CHARSET_ISO2022;
            cs->sets |= more.sets;
        }
    } else if (cs->kind == LN_CHARSET_ASCII) {
        *cs = more;
    } else if (cs->kind == LN_CHARSET_SINGLE && more.kind == LN_CHARSET_SINGLE) {
        cs->kind = LN_CHARSET_ISO2022;
    } else if (cs->kind == LN_CHARSET_ISO2022 && !cs->base && more.kind == LN_CHARSET_SINGLE) {
        cs->base = more.base;
    }
}

int ln_charset_list(struct ln_span msh18, char repetition, struct ln_charset *cs)
{
    struct ln_span name;
    struct ln_charset more;
    *cs = (struct ln_charset){0};
    if (!msh18.len || !next_name(&msh18, repetition, &name))
        return LN_ENOTFOUND;
    int rc = name.len
                 ? ln_charset_find(name, cs)
                 : (cs->kind = LN_CHARSET_ASCII, cs->base = 1, msh18.len ? LN_OK : LN_ENOTFOUND);
    while (rc == LN_OK && next_name(&msh18, repetition, &name))
        if (ln_charset_find(name, &more) == LN_OK)
            add_alternate(cs, more);
    return rc;
}

const char *ln_charset_name(const struct ln_charset *cs)
{
    if (cs->kind != LN_CHARSET_ISO2022)
        return table[cs->base < NENTRY ? cs->base : 0].name;
    return cs->sets & LN_SET_JIS208   ? "ISO IR87"
           : cs->sets & LN_SET_JIS212 ? "ISO IR159"
           : cs->sets & LN_SET_KANA   ? "ISO IR13"
           : cs->sets & LN_SET_ROMAN  ? "ISO IR14"
           : cs->base                 ? table[cs->base].name
                                      : "ASCII";
}

int ln_charset_policy_read(struct ln_span text, struct ln_charset_policy *policy,
                           struct ln_err *err)
{
    struct ln_span names, word = text, s = {0};
    *policy = (struct ln_charset_policy){0};
    (void)next_name(&word, '\t', &s); /* word: what is behind */
    if (word.len >= sizeof policy->substitute)
        return ln_err_set(err, LN_EINVAL, "the substitute must be one character");
    if (word.len)
        memcpy(policy->substitute, word.ptr, word.len);
    if (!s.len || ln_span_is(s, "trust"))
        return LN_OK;
    names = s;
    (void)next_name(&names, ' ', &word);
    policy->given = ln_span_is(word, "default");
    policy->force = ln_span_is(word, "force");
    if (!policy->given && !policy->force)
        return ln_err_set(err, LN_EINVAL,
                          "a charset is \"trust\", { default = NAME } or { force = "
                          "NAME }");
    int rc = ln_charset_list(names, '~', &policy->charset);
    if (rc == LN_OK)
        return rc;
    return ln_err_set(
        err, LN_EINVAL,
        rc == LN_EINVAL ? "%.*s cannot travel in messages: their bytes hold carriage returns and "
                          "zeros; use UNICODE UTF-8"
                        : "no character set '%.*s' is known; names are those of HL7's table 0211, "
                          "such as \"UNICODE UTF-8\", \"8859/1\" or \"ISO IR87\"",
        (int)(names.len < 40 ? names.len : 40), names.ptr ? names.ptr : "");
}

void ln_charset_label(const struct ln_charset *cs, char repetition, char out[64])
{
    static const char *const names[] = {"ISO IR14", "ISO IR13", "ISO IR87", "ISO IR159"};
    bool several = cs->kind == LN_CHARSET_ISO2022;
    size_t n = strlen(table[cs->base].name);
    *out = '\0';
    if (!several || cs->base)
        memcpy(out, table[cs->base].name, n + 1);
    for (size_t i = 0; several && i < 4; i++) {
        if (!(cs->sets & 1u << i))
            continue;
        n = strlen(out);
        out[n] = repetition ? repetition : '~';
        memcpy(out + n + 1, names[i], strlen(names[i]) + 1);
    }
}

/* ---- the set of a message ----------------------------------------------------------------------
 */

/* Field 18 of a header segment, cut as cs says: behind the 17th separator, since MSH-1 is the
 * first.
 */
static struct ln_span field_18(struct ln_span header, char sep, const struct ln_charset *cs)
{
    const char *p = header.ptr, *end = header.ptr + header.len;
    for (int n = 0; n < 17; n++) {
        p = ln_charset_seek(cs, p, end, sep);
        if (p == end)
            return ln_span(NULL, 0);
        p++;
    }
    return ln_span(p, (size_t)(ln_charset_seek(cs, p, end, sep) - p));
}

static bool has(struct ln_span s, bool *esc)
{
    bool high = false;
    *esc = false;
    for (size_t i = 0; i < s.len; i++) {
        high = high || (unsigned char)s.ptr[i] > 0x7f;
        *esc = *esc || s.ptr[i] == '\x1b';
    }
    return high;
}

/* A header that holds such characters itself may have hidden MSH-18: it is where a reading as the
 * set that it names finds it. */
static bool name_in_odd_header(struct ln_span header, char sep, char repetition,
                               struct ln_charset *cs)
{
    static const struct ln_charset odd[] = {
        {LN_CHARSET_ISO2022, 0, LN_SET_JIS208 | LN_SET_JIS212, '\0'},
        {LN_CHARSET_TRAIL, BASE_GB, 0, '\0'},
        {LN_CHARSET_TRAIL, BASE_BIG5, 0, '\0'},
        {LN_CHARSET_TRAIL, BASE_SJIS, 0, '\0'},
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        if (ln_charset_list(field_18(header, sep, &odd[i]), repetition, cs) == LN_OK &&
            cs->kind == odd[i].kind && (cs->kind == LN_CHARSET_ISO2022 || cs->base == odd[i].base))
            return true;
    return false;
}

int ln_charset_resolve(struct ln_span header, char field, char repetition, char escape,
                       const struct ln_charset_policy *policy, bool high, bool esc,
                       struct ln_charset *cs)
{
    static const struct ln_charset plain;
    /* Nothing else uses ESC: unnamed, it speaks for itself. */
    static const struct ln_charset japanese = {LN_CHARSET_ISO2022, 0,
                                               LN_SET_ROMAN | LN_SET_JIS208 | LN_SET_JIS212, '\0'};
    int rc = LN_OK;
    bool esc_here, high_here;
    if (policy && policy->force) {
        *cs = policy->charset;
    } else {
        rc = ln_charset_list(field_18(header, field, &plain), repetition, cs);
        if (rc != LN_OK && (high || esc)) {
            high_here = has(header, &esc_here);
            if ((high_here || esc_here) && name_in_odd_header(header, field, repetition, cs))
                rc = LN_OK;
        }
        /* ASCII with other bytes in it: the name is wrong. */
        if (rc == LN_OK && cs->kind == LN_CHARSET_ASCII && high)
            rc = LN_ENOTFOUND;
        if (rc != LN_OK) {
            rc = LN_ENOTFOUND;
            *cs = policy && policy->given ? policy->charset : esc && !high ? japanese : plain;
        }
    }
    cs->escape = escape;
    return rc;
}

/* ---- characters --------------------------------------------------------------------------------
 */

static bool within(char c, unsigned from, unsigned to)
{
    unsigned u = (unsigned char)c;
    return u >= from && u <= to;
}

/* EUC: two bytes; behind 8E two, or four in EUC-TW; behind 8F three. */
static size_t step_multi(unsigned base, const char *p, size_t left)
{
    if ((unsigned char)p[0] < 0x80)
        return 1;
    size_t n = (unsigned char)p[0] == 0x8f && base == BASE_EUC_JP   ? 3
               : (unsigned char)p[0] == 0x8e && base == BASE_EUC_TW ? 4
                                                                    : 2;
    if (n > left)
        return 1;
    for (size_t i = 1; i < n; i++)
        if (!within(p[i], 0xa1, 0xfe))
            return 1;
    return n;
}

static size_t step_trail(unsigned base, const char *p, size_t left)
{
    if ((unsigned char)p[0] < 0x81 || (unsigned char)p[0] == 0xff || left < 2)
        return 1;
    if (base == BASE_SJIS) {
        if (within(p[0], 0xa0, 0xdf) || within(p[0], 0xfd, 0xfe))
            return 1;
        return within(p[1], 0x40, 0x7e) || within(p[1], 0x80, 0xfc) ? 2 : 1;
    }
    if (base != BASE_GB)
        return within(p[1], 0x40, 0x7e) || within(p[1], 0xa1, 0xfe) ? 2 : 1;
    if (within(p[1], '0', '9') && left >= 4 && within(p[2], 0x81, 0xfe) && within(p[3], '0', '9'))
        return 4;
    return within(p[1], 0x40, 0x7e) || within(p[1], 0x80, 0xfe) ? 2 : 1;
}

/* Designations by the bytes behind ESC. JIS X 0201 Roman counts as ASCII: many systems go back to
 * it before a delimiter, and mean \ and ~ by its yen sign and overline. */
static const struct {
    const char *bytes;
    uint8_t g0, g1;
} switches[] = {
    {"(B", LN_G0_ASCII, 0},     {"(J", LN_G0_ASCII, 0},
    {"(H", LN_G0_ASCII, 0},     {"(I", LN_G0_KANA, 0},
    {"$B", LN_G0_JIS208, 0},    {"$@", LN_G0_JIS208, 0},
    {"$(B", LN_G0_JIS208, 0},   {"$(@", LN_G0_JIS208, 0},
    {"$(D", LN_G0_JIS212, 0},   {")I", 0, 0xff},
    {"-A", 0, BASE_8859_1},     {"-B", 0, BASE_8859_1 + 1},
    {"-C", 0, BASE_8859_1 + 2}, {"-D", 0, BASE_8859_1 + 3},
    {"-L", 0, BASE_8859_1 + 4}, {"-G", 0, BASE_8859_1 + 5},
    {"-F", 0, BASE_8859_1 + 6}, {"-H", 0, BASE_8859_1 + 7},
    {"-M", 0, BASE_8859_1 + 8},
};

const char *ln_charset_switch(uint8_t g0)
{
    static const char *const all[] = {"\x1b(B", "\x1b(I", "\x1b$B", "\x1b$(D"};
    return all[g0 < 4 ? g0 : 0];
}

static bool designate(struct ln_charset_state *s, const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        if (strlen(switches[i].bytes) != n || memcmp(switches[i].bytes, p, n) != 0)
            continue;
        if (switches[i].g1)
            s->g1 = switches[i].g1;
        else
            s->g0 = switches[i].g0;
        return true;
    }
    return false;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \Cxxyy\, \Mxxyy\ or \Mxxyyzz\ at p: the same switches, in hexadecimal. 0: it is none. */
static size_t escaped_switch(char escape, struct ln_charset_state *s, const char *p, size_t left)
{
    char bytes[3];
    size_t n = 0, digits = 0;
    if (left < 7 || p[0] != escape || (p[1] != 'C' && p[1] != 'M'))
        return 0;
    while (digits < 6 && digits + 2 < left && hex(p[digits + 2]) >= 0)
        digits++;
    if (digits % 2 || digits < 4 || digits + 2 >= left || p[digits + 2] != escape)
        return 0;
    for (; n < digits / 2; n++)
        bytes[n] = (char)(hex(p[2 + 2 * n]) << 4 | hex(p[3 + 2 * n]));
    return designate(s, bytes, n) ? digits + 3 : 0;
}

/* One sequence that an escape character starts and ends, such as \E\ or \X0D\; 1 when it is none.
 */
static size_t escaped(char escape, const char *p, size_t left)
{
    for (size_t n = 1; n < left && n < 64; n++) {
        if (p[n] == escape)
            return n > 1 ? n + 1 : 1;
        if (!(p[n] >= 'A' && p[n] <= 'Z') && hex(p[n]) < 0 && !within(p[n], 'a', 'z') &&
            p[n] != '.')
            return 1;
    }
    return 1;
}

static size_t step_iso2022(const struct ln_charset *cs, struct ln_charset_state *s, const char *p,
                           size_t left, bool *opaque)
{
    size_t n;
    *opaque = true;
    if (*p == '\x1b') {
        for (n = 2; n <= 3 && n < left; n++)
            if (designate(s, p + 1, n))
                return n + 1;
        *opaque = false;
        return 1;
    }
    if (cs->escape && *p == cs->escape) {
        if ((n = escaped_switch(cs->escape, s, p, left)))
            return n;
        if (s->g0 == LN_G0_ASCII) {
            *opaque = false;
            return escaped(cs->escape, p, left);
        }
    }
    if (s->g0 >= LN_G0_JIS208 && within(p[0], 0x21, 0x7e) && left > 1 && within(p[1], 0x21, 0x7e))
        return 2;
    if (*p == '\r' || *p == '\n')
        s->g0 = s->g1 = 0;
    /* Delimiters are ASCII: half of a character is none, nor is what is no kana. */
    *opaque = (s->g0 != LN_G0_ASCII && within(*p, 0x21, 0x7e)) || (unsigned char)*p > 0x7f;
    return 1;
}

size_t ln_charset_step(const struct ln_charset *cs, struct ln_charset_state *s, const char *p,
                       const char *end, bool *opaque)
{
    size_t left = (size_t)(end - p), n = 1;
    if (cs->kind == LN_CHARSET_ISO2022)
        return step_iso2022(cs, s, p, left, opaque);
    if (cs->kind == LN_CHARSET_TRAIL)
        n = step_trail(cs->base, p, left);
    else if (cs->kind == LN_CHARSET_MULTI)
        n = step_multi(cs->base, p, left);
    *opaque = n > 1;
    return n;
}

const char *ln_charset_seek(const struct ln_charset *cs, const char *p, const char *end, char c)
{
    struct ln_charset_state s = {0};
    bool opaque;
    if (!ln_charset_steps(cs)) {
        const char *q = p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
        return q ? q : end;
    }
    while (p < end) {
        const char *at = p;
        p += ln_charset_step(cs, &s, p, end, &opaque);
        if (!opaque && *at == c)
            return at;
    }
    return end;
}

size_t ln_charset_mask(const struct ln_charset *cs, struct ln_charset_state *s, char sep,
                       const char *p, const char *end, char *out, size_t cap)
{
    const char *start = p;
    bool opaque;
    while (p < end) {
        size_t n = ln_charset_step(cs, s, p, end, &opaque);
        if ((size_t)(p - start) + n > cap)
            n = 1; /* a long escape sequence: its letters are no delimiters, and it may be cut */
        if (opaque)
            memset(out, 0x80, n);
        else
            memcpy(out, p, n);
        if (!opaque && *p == sep)
            *s = (struct ln_charset_state){0}; /* each field starts anew */
        out += n;
        p += n;
        if ((size_t)(p - start) + 16 > cap)
            break;
    }
    return (size_t)(p - start);
}

const char *ln_charset_wide(struct ln_span b)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
    } marks[] = {
        {"UTF-32LE", "\xff\xfe\0\0", 4},   {"UTF-32BE", "\0\0\xfe\xff", 4},
        {"UTF-16LE", "\xff\xfe", 2},       {"UTF-16BE", "\xfe\xff", 2},
        {"UTF-32LE", "M\0\0\0S\0\0\0", 8}, {"UTF-32BE", "\0\0\0M\0\0\0S", 8},
        {"UTF-16LE", "M\0S\0H\0", 6},      {"UTF-16BE", "\0M\0S\0H", 6},
        {"UTF-16LE", "F\0H\0S\0", 6},      {"UTF-16LE", "B\0H\0S\0", 6},
        {"UTF-16BE", "\0F\0H\0S", 6},      {"UTF-16BE", "\0B\0H\0S", 6},
    };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (b.len >= marks[i].n && memcmp(b.ptr, marks[i].bytes, marks[i].n) == 0)
            return marks[i].name;
    return NULL;
}
