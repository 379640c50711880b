#include "hl7/message.h"

#include <string.h>

#include "base/utf8.h"
#include "hl7/delims.h"

/* Memory beside the index, for edits. */
#define SLACK_MIN 512
#define SLACK_MAX 4096

/* ---- scanning ----------------------------------------------------------------------------------
 */

static size_t skip_blanks(struct ln_span b, size_t at)
{
    if (b.len - at >= 3 && memcmp(b.ptr + at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    while (at < b.len && (unsigned char)b.ptr[at] <= ' ')
        at++;
    return at;
}

static bool header_at(struct ln_span b, size_t at, struct ln_delims *d)
{
    return at < b.len && b.len - at >= 5 && ln_delims_header_name(ln_span(b.ptr + at, 3)) &&
           ln_delims_read(ln_span(b.ptr + at, b.len - at), d, NULL) == LN_OK;
}

/* The header segment: first thing in the message, or first in one of its lines. */
static int find_header(struct ln_span b, size_t *start, struct ln_delims *d, struct ln_err *err)
{
    size_t first = skip_blanks(b, 0), at = first;
    while (at < b.len && !header_at(b, at, d)) {
        while (at < b.len && b.ptr[at] != '\r' && b.ptr[at] != '\n')
            at++;
        at = skip_blanks(b, at);
    }
    *start = at;
    if (at < b.len)
        return LN_OK;
    if (err)
        err->offset = first;
    if (first == b.len)
        return ln_err_set(err, LN_EPARSE, "byte %zu: no message, only blanks", first);
    struct ln_err why = {0};
    if (b.len - first >= 3 && ln_delims_header_name(ln_span(b.ptr + first, 3)) &&
        ln_delims_read(ln_span(b.ptr + first, b.len - first), d, &why)) {
        if (err)
            err->offset = first + why.offset;
        return ln_err_set(err, LN_EPARSE, "byte %zu: %s", first + why.offset, why.text);
    }
    return ln_err_set(err, LN_EPARSE,
                      "byte %zu: no MSH, BHS or FHS segment found here or at the start "
                      "of a later line",
                      first);
}

/* Does LF end segments? See the head of message.h. */
static bool lf_ends(struct ln_span b, const struct ln_scan *s)
{
    const char *p = b.ptr + s->start, *end = b.ptr + s->end;
    const char *lf = s->census.lf ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    if (!lf)
        return false;
    if (!s->census.cr)
        return true;
    if (memchr(p, '\r', (size_t)(lf - p)))
        return false;
    while (lf < end && *lf == '\n')
        lf++;
    if (end - lf < 3)
        return false;
    if (end - lf > 3 && lf[3] != s->delims.field && lf[3] != '\r' && lf[3] != '\n')
        return false;
    for (int i = 0; i < 3; i++) {
        bool digit = lf[i] >= '0' && lf[i] <= '9';
        if (!(lf[i] >= 'A' && lf[i] <= 'Z') && !(i && digit))
            return false;
    }
    return true;
}

static bool is_utf8(struct ln_span s)
{
    for (size_t i = 0, n; i < s.len; i += n) {
        n = ln_utf8_len((const unsigned char *)s.ptr + i, s.len - i);
        if (!n)
            return false;
    }
    return true;
}

/* Many senders write UTF-8 and say 8859/1 (or ISO IR87, whose characters have no high bytes). Text
 * in a single-byte set is UTF-8 throughout by accident only when there is next to none of it; not
 * so in 8859/11 (Thai) and in sets of several bytes, which are believed. */
static void check_name(struct ln_span bytes, struct ln_scan *s)
{
    static const struct ln_charset plain;
    bool doubtful = s->charset.kind == LN_CHARSET_ISO2022 ||
                    (s->charset.kind == LN_CHARSET_SINGLE &&
                     strcmp(ln_charset_name(&s->charset), "8859/11") != 0);
    if (!doubtful || !is_utf8(bytes))
        return;
    s->charset = plain;
    s->charset.escape = s->delims.escape;
    s->named = false;
}

/* The character set, where it matters for reading. A message of plain ASCII that no policy speaks
 * of is read as it stands; what may be written in it is seen once its fields are known. */
static void find_charset(struct ln_span bytes, const struct ln_charset_policy *policy,
                         struct ln_scan *s)
{
    const struct ln_delims *d = &s->delims;
    const char *p = bytes.ptr + s->start, *end = bytes.ptr + s->end, *e = p;
    if (!s->census.high && !s->census.esc && !policy)
        return;
    while (e < end && *e != '\r' && *e != '\n')
        e++;
    s->named = ln_charset_resolve(ln_span(p, (size_t)(e - p)), d->field, d->repetition, d->escape,
                                  policy, s->census.high, s->census.esc, &s->charset) == LN_OK;
    s->resolved = true;
    if (s->named && s->census.high && !(policy && policy->force))
        check_name(ln_span(p, s->end - s->start), s);
}

int ln_message_scan(struct ln_span bytes, struct ln_scan *s, struct ln_err *err)
{
    return ln_message_scan_as(bytes, NULL, s, err);
}

int ln_message_scan_as(struct ln_span bytes, const struct ln_charset_policy *policy,
                       struct ln_scan *s, struct ln_err *err)
{
    *s = (struct ln_scan){0};
    if (bytes.len > LN_MESSAGE_MAX) {
        return ln_err_set(err, LN_ETOOBIG, "message of %zu bytes: the limit is %u", bytes.len,
                          LN_MESSAGE_MAX);
    }
    if (policy && !policy->given && !policy->force)
        policy = NULL; /* nothing but MSH-18 counts */
    int rc = find_header(bytes, &s->start, &s->delims, err);
    if (rc)
        return rc;
    struct ln_span rest = ln_span(bytes.ptr + s->start, bytes.len - s->start);
    s->end = bytes.len;
    while (s->end > s->start && (bytes.ptr[s->end - 1] == '\r' || bytes.ptr[s->end - 1] == '\n'))
        s->end--;
    ln_simd()->census(rest.ptr, rest.len, s->delims.field, &s->census);
    s->lf = lf_ends(bytes, s);
    /* LFs before the last CR are data, unless LF ends segments. */
    const char *tail = rest.ptr + (s->end - s->start);
    size_t left = bytes.len - s->end;
    const char *cr = !s->lf && left ? memchr(tail, '\r', left) : NULL;
    if (cr)
        s->end += (size_t)(cr - tail);
    find_charset(bytes, policy, s);
    return LN_OK;
}

/* Line ends that may end segments. */
static size_t ends_of(const struct ln_scan *s)
{
    return s->census.cr + (s->lf ? s->census.lf : 0);
}

/* Slots at first: one per line end and a few to add. Where lines are so short that most must be
 * empty, fewer: more are made room for when they are needed. */
static uint32_t slots(const struct ln_scan *s)
{
    size_t ends = ends_of(s), most = (s->end - s->start) / 4;
    return (uint32_t)(ends < most ? ends : most) + 5;
}

/* Offsets of field starts and line ends. */
static size_t starts(const struct ln_scan *s)
{
    return s->census.sep + ends_of(s) + 1;
}

size_t ln_message_room(const struct ln_scan *s)
{
    size_t slack = SLACK_MIN + (s->end - s->start) / 8;
    return slots(s) * sizeof(struct ln_segment) + (starts(s) * sizeof(uint32_t) + 7) / 8 * 8 +
           (slack > SLACK_MAX ? SLACK_MAX : slack);
}

/* ---- building ----------------------------------------------------------------------------------
 */

int ln_message_grow(struct ln_message *m)
{
    if (m->nslot < m->cap)
        return LN_OK;
    if (m->cap >= LN_NO_SEGMENT / 4)
        return LN_ETOOBIG;
    uint32_t cap = m->cap + m->cap / 2 + 1;
    struct ln_segment *seg = ln_arena_take(&m->arena, cap * sizeof *seg);
    if (!seg)
        return LN_ENOMEM;
    memcpy(seg, m->seg, m->nslot * sizeof *seg);
    m->seg = seg;
    m->cap = cap;
    return LN_OK;
}

/* What building goes by. */
struct build {
    struct ln_message *m;
    const char *line; /* start of the line at hand */
    const char *end; /* of the message */
    uint32_t *start; /* offsets of the line at hand */
    bool plain; /* every line ended in one CR so far */
};

/* The line at hand ends at `end`, where the offset *last belongs. */
static inline int add_segment(struct build *b, const char *end, uint32_t blank,
                              const uint32_t *last)
{
    struct ln_message *m = b->m;
    uint32_t n = m->nslot;
    int rc = n == m->cap ? ln_message_grow(m) : LN_OK;
    if (rc)
        return rc;
    size_t len = (size_t)(end - b->line);
    m->seg[n] = (struct ln_segment){
        .ptr = b->line,
        .len = (uint32_t)len,
        .blank = blank,
        .prev = n ? n - 1 : LN_NO_SEGMENT,
        .next = n + 1,
        .nfield = (uint32_t)(last - b->start),
        .start = b->start,
        .header = len > 3 && (b->line[2] == 'H' || b->line[2] == 'S') &&
                  b->line[3] == m->delims.field && ln_delims_header_name(ln_span(b->line, 3)),
    };
    m->nslot = n + 1;
    return LN_OK;
}

/* Behind the line ends at e; counts them. */
static const char *skip_ends(struct build *b, const char *e, uint32_t *ends)
{
    for (*ends = 0; e < b->end && (*e == '\r' || *e == '\n'); (*ends)++) {
        bool crlf = *e == '\r' && b->end - e > 1 && e[1] == '\n';
        if (crlf || *e == '\n')
            b->plain = false;
        e += crlf ? 2 : 1;
    }
    return e;
}

/* A line ends at e: its segment, and the empty lines that follow it, are through. */
static inline int end_line(struct build *b, const char *e, const uint32_t *last)
{
    const char *next = e + 1;
    uint32_t ends = 1;
    if (*e != '\r' || (next < b->end && *next <= '\r'))
        next = skip_ends(b, e, &ends);
    int rc = add_segment(b, e, ends - 1, last);
    b->line = next;
    return rc;
}

enum { BLOCK = 4096 };

/* The next block, as the index may see it: in some character sets, not all bytes that look like
 * delimiters are. */
static const char *next_block(struct build *b, const char *p, char masked[BLOCK],
                              struct ln_charset_state *state, size_t *len)
{
    const struct ln_charset *cs = &b->m->charset;
    if (ln_charset_steps(cs)) {
        *len = ln_charset_mask(cs, state, b->m->delims.field, p, b->end, masked, BLOCK);
        return masked;
    }
    *len = b->end - p < BLOCK ? (size_t)(b->end - p) : BLOCK;
    return p;
}

/* Finds fields and lines, block by block. start: room for all offsets. */
static int cut_lines(struct build *b, const struct ln_scan *s, uint32_t *start)
{
    uint32_t ends[BLOCK];
    char masked[BLOCK];
    struct ln_charset_state state = {0};
    const char *first = b->m->bytes.ptr;
    const struct ln_simd *simd = ln_simd();
    size_t len;
    b->start = start;
    for (const char *p = b->line; p < b->end; p += len) {
        size_t n;
        const char *block = next_block(b, p, masked, &state, &len);
        size_t found = simd->index(block, len, s->delims.field, '\r', s->lf ? '\n' : '\r',
                                   (uint32_t)(p - first) + 1, start, ends, &n);
        for (size_t i = 0; i < n; i++) {
            uint32_t *last = start + ends[i];
            const char *e = first + *last - 1;
            int rc = e < b->line ? LN_OK : end_line(b, e, last);
            if (rc)
                return rc;
            b->start = last + 1;
        }
        start += found;
    }
    *start = (uint32_t)(b->end - first) + 1;
    return b->line < b->end ? add_segment(b, b->end, 0, start) : LN_OK;
}

/* MSH-18 of a message of plain ASCII. */
static void name_charset(struct ln_message *m)
{
    const struct ln_segment *s = &m->seg[0];
    uint32_t from = s->start[16], to = s->start[17] - 1;
    if (from == to)
        return;
    m->named = ln_charset_list(ln_span(m->bytes.ptr + from, to - from), m->delims.repetition,
                               &m->charset) == LN_OK;
    if (!m->named)
        m->charset = (struct ln_charset){0};
    m->charset.escape = m->delims.escape;
}

int ln_message_build(struct ln_message *m, struct ln_span bytes, const struct ln_scan *s)
{
    m->bytes = bytes;
    m->delims = s->delims;
    m->charset = s->charset;
    m->named = s->named;
    m->nslot = 0;
    m->touched = false;
    m->near.slot = LN_NO_SEGMENT;
    m->cap = slots(s);
    m->seg = ln_arena_take(&m->arena, m->cap * sizeof *m->seg);
    uint32_t *start = ln_arena_take(&m->arena, starts(s) * sizeof *start);
    if (!m->seg || !start)
        return LN_ENOMEM;
    struct build b = {m, bytes.ptr + s->start, bytes.ptr + s->end, start, true};
    int rc = cut_lines(&b, s, start);
    if (rc)
        return rc;
    if (!s->resolved && m->seg[0].nfield >= 17)
        name_charset(m);
    m->seg[m->nslot - 1].next = LN_NO_SEGMENT;
    m->count = m->nslot;
    m->first = 0;
    m->last = m->nslot - 1;
    m->exact = b.plain && s->start == 0 && s->end + 1 == bytes.len && bytes.ptr[s->end] == '\r';
    return LN_OK;
}

int ln_message_init(struct ln_message *m, struct ln_span bytes, struct ln_err *err)
{
    struct ln_scan scan;
    *m = (struct ln_message){0};
    int rc = ln_message_scan(bytes, &scan, err);
    if (rc == LN_OK && (rc = ln_message_build(m, bytes, &scan)))
        ln_err_set(err, rc, "no memory for a message of %zu bytes", bytes.len);
    return rc;
}

void ln_message_fini(struct ln_message *m)
{
    ln_arena_fini(&m->arena);
    *m = (struct ln_message){0};
}
