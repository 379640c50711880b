#include "hl7/escape.h"

#include "hl7/delims.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What a sequence of one letter stands for; 0: nothing. */
static char letter(const struct ln_delims *d, char c)
{
    switch (c) {
    case 'F': return d->field;
    case 'S': return d->component;
    case 'T': return d->subcomponent;
    case 'R': return d->repetition;
    case 'E': return d->escape;
    case 'P': return d->truncation;
    default: return '\0';
    }
}

/* Hex digits from p on, up to the escape character: writes their bytes, returns what was read,
 * escape character included; 0 when it is no such sequence. */
static size_t hex_bytes(char escape, const char *p, size_t len, char **out)
{
    size_t n = 0;
    while (n < len && hex_digit(p[n]) >= 0)
        n++;
    if (n == 0 || n % 2 || n == len || p[n] != escape)
        return 0;
    for (size_t i = 0; i < n; i += 2)
        *(*out)++ = (char)(hex_digit(p[i]) << 4 | hex_digit(p[i + 1]));
    return n + 1;
}

/* Reads the sequence at p (behind the escape character); returns what was read, 0 when it is none.
 */
static size_t sequence(const struct ln_delims *d, const char *p, size_t len, char **out)
{
    char c;
    if (len >= 2 && p[1] == d->escape && (c = letter(d, p[0]))) {
        *(*out)++ = c;
        return 2;
    }
    if (len >= 4 && p[3] == d->escape && memcmp(p, ".br", 3) == 0) {
        *(*out)++ = '\n';
        return 4;
    }
    if (len >= 4 && p[0] == 'X') {
        size_t n = hex_bytes(d->escape, p + 1, len - 1, out);
        return n ? n + 1 : 0;
    }
    return 0;
}

size_t ln_escape_command(const struct ln_delims *d, const char *p, size_t len)
{
    const char *e = len > 2 ? memchr(p + 1, d->escape, len - 1) : NULL;
    size_t n = e ? (size_t)(e - p) - 1 : 0;
    if (n == 0)
        return 0;
    if (n == 1)
        return p[1] == 'H' || p[1] == 'N' ? 3 : 0;
    if (!strchr(".XCMZ", p[1]) || p[1] == '\0')
        return 0;
    for (size_t i = 2; i <= n; i++) {
        bool word = p[i] == ' ' || p[i] == '+' || p[i] == '-' || (p[i] >= 'a' && p[i] <= 'z');
        if (hex_digit(p[i]) < 0 && !(p[1] == '.' && word))
            return 0;
    }
    return n + 2;
}

size_t ln_unescape(const struct ln_delims *d, struct ln_span raw, char *out)
{
    char *o = out;
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    while (p < end) {
        const char *e = d->escape ? memchr(p, d->escape, (size_t)(end - p)) : NULL;
        size_t plain = (size_t)((e ? e : end) - p);
        memcpy(o, p, plain);
        o += plain;
        p += plain;
        if (!e)
            break;
        size_t n = sequence(d, p + 1, (size_t)(end - p - 1), &o);
        if (n) {
            p += n + 1;
            continue;
        }
        /* A command stays, whole: the escape character at its end begins no other sequence. */
        n = ln_escape_command(d, p, (size_t)(end - p));
        memcpy(o, p, n ? n : 1);
        o += n ? n : 1;
        p += n ? n : 1;
    }
    return (size_t)(o - out);
}

/* Where a full stop is a delimiter, \.br\ cannot be written. */
static bool has_dot(const struct ln_delims *d)
{
    return d->field == '.' || d->component == '.' || d->repetition == '.' || d->escape == '.' ||
           d->subcomponent == '.' || d->truncation == '.';
}

/* How the byte at text[i] is written: its sequence without the escape characters in seq (NULL: as
 * it is), and in *used how many bytes of text it stands for. */
static const char *written(const struct ln_delims *d, struct ln_span text, size_t i, size_t *used)
{
    char c = text.ptr[i];
    *used = 1;
    switch (c) {
    case '\n': return has_dot(d) ? "X0A" : ".br";
    case '\r':
        if (i + 1 == text.len || text.ptr[i + 1] != '\n')
            return "X0D";
        *used = 2;
        return "X0D0A";
    case '\x0b': return "X0B";
    case '\x1c': return "X1C";
    case '\0': return NULL;
    default: break;
    }
    if (c == d->escape)
        return "E";
    if (c == d->field)
        return "F";
    if (c == d->component)
        return "S";
    if (c == d->repetition)
        return "R";
    if (c == d->subcomponent)
        return "T";
    return c == d->truncation && i + 1 == text.len ? "P" : NULL;
}

const char *ln_escape_at(const struct ln_delims *d, struct ln_span text, size_t i, size_t *used)
{
    return written(d, text, i, used);
}

/* May `written` have something to say about c? Most text holds no such byte. */
static inline bool special(const struct ln_delims *d, char c)
{
    return (unsigned char)c < ' ' || c == d->field || c == d->component || c == d->repetition ||
           c == d->escape || c == d->subcomponent || c == d->truncation;
}

int ln_escape_len(const struct ln_delims *d, struct ln_span text, size_t *len, struct ln_err *err)
{
    size_t n = 0, used;
    for (size_t i = 0; i < text.len; i += used) {
        used = 1;
        const char *seq = special(d, text.ptr[i]) ? written(d, text, i, &used) : NULL;
        if (seq && !d->escape)
            return ln_err_set(
                err, LN_EINVAL,
                "the value holds a delimiter or line end (byte %zu), and MSH-2 declares "
                "no escape character to write it with",
                i + 1);
        n += seq ? strlen(seq) + 2 : used;
    }
    *len = n;
    return LN_OK;
}

void ln_escape(const struct ln_delims *d, struct ln_span text, char *out)
{
    size_t used;
    for (size_t i = 0; i < text.len; i += used) {
        used = 1;
        const char *seq = special(d, text.ptr[i]) ? written(d, text, i, &used) : NULL;
        if (!seq) {
            *out++ = text.ptr[i];
            continue;
        }
        size_t n = strlen(seq);
        *out++ = d->escape;
        memcpy(out, seq, n);
        out += n;
        *out++ = d->escape;
    }
}

bool ln_depth_cuts(const struct ln_delims *d, enum ln_depth level, char c)
{
    if (c == '\r' || c == d->field)
        return true;
    if (c == '\0')
        return false;
    return (level >= LN_DEPTH_REPETITION && c == d->repetition) ||
           (level >= LN_DEPTH_COMPONENT && c == d->component) ||
           (level >= LN_DEPTH_SUBCOMPONENT && c == d->subcomponent);
}

/* What c, a delimiter in `from`, becomes in `to`. False: c is none. */
static bool translate(const struct ln_delims *from, const struct ln_delims *to, char c, char *out)
{
    if (c == '\0')
        return false;
    if (c == from->repetition)
        *out = to->repetition;
    else if (c == from->component)
        *out = to->component;
    else if (c == from->subcomponent)
        *out = to->subcomponent;
    else
        return false;
    return true;
}

/* Where ln_reencode writes: counts only while out is NULL. */
struct sink {
    char *out;
    size_t len;
};

static void put(struct sink *s, const char *p, size_t len)
{
    if (s->out)
        memcpy(s->out + s->len, p, len);
    s->len += len;
}

static int put_sequence(struct sink *s, const struct ln_delims *to, const char *p, size_t len,
                        struct ln_err *err)
{
    if (!to->escape)
        return ln_err_set(
            err, LN_EINVAL,
            "the part holds a delimiter or an escape, and MSH-2 of the message it goes "
            "to declares no escape character");
    put(s, &to->escape, 1);
    put(s, p, len);
    put(s, &to->escape, 1);
    return LN_OK;
}

/* One byte of text. A line feed is data where it stands raw, and stays so; the truncation character
 * is a mark only in a message that declares it. */
static int put_text(struct sink *s, const struct ln_delims *from, const struct ln_delims *to,
                    char c, struct ln_err *err)
{
    size_t used;
    const char *seq = NULL;
    if (c && c == to->truncation && c != to->escape)
        seq = c == from->truncation ? NULL : "P";
    else if (c != '\n')
        seq = written(to, ln_span(&c, 1), 0, &used);
    if (seq)
        return put_sequence(s, to, seq, strlen(seq), err);
    put(s, &c, 1);
    return LN_OK;
}

int ln_reencode(const struct ln_delims *from, const struct ln_delims *to, struct ln_span raw,
                char *out, size_t *len, struct ln_err *err)
{
    struct sink s = {.out = out};
    size_t used;
    int rc = LN_OK;
    if (ln_delims_eq(from, to)) {
        put(&s, raw.ptr, raw.len);
        *len = s.len;
        return LN_OK;
    }
    for (size_t i = 0; i < raw.len && rc == LN_OK; i += used) {
        const char *p = raw.ptr + i;
        size_t left = raw.len - i, n;
        char c = *p;
        used = 1;
        if (translate(from, to, c, &c)) {
            if (c == '\0')
                return ln_err_set(err, LN_EINVAL,
                                  "the part's structure cannot be written: MSH-2 of the message it "
                                  "goes to declares too few delimiters");
            put(&s, &c, 1);
        } else if (c && c == from->escape) {
            if (left >= 3 && p[2] == from->escape && (c = letter(from, p[1]))) {
                used = 3;
                rc = put_text(&s, from, to, c, err);
            } else if ((n = ln_escape_command(from, p, left))) {
                used = n;
                rc = put_sequence(&s, to, p + 1, n - 2, err);
            } else {
                rc = put_text(&s, from, to, *p, err);
            }
        } else {
            rc = put_text(&s, from, to, c, err);
        }
    }
    *len = s.len;
    return rc;
}
