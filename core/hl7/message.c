#include "hl7/message.h"

#include <string.h>

#include "hl7/delims.h"

/* Memory beside the slots: field offsets and edits of a few segments. */
#define SLACK_MIN 1024
#define SLACK_MAX 16384

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

/* Lines of a message, one by one; empty ones are counted to the line before. */
struct lines {
    const char *at, *end;
    bool lf, cr;
    bool plain; /* every line ended in one CR so far */
};

static const char *line_end(const struct lines *l, const char *p)
{
    size_t n = (size_t)(l->end - p);
    const char *e = NULL;
    if (l->lf && (e = memchr(p, '\n', n)))
        n = (size_t)(e - p);
    const char *c = l->cr ? memchr(p, '\r', n) : NULL;
    return c ? c : e ? e : l->end;
}

static bool next_line(struct lines *l, struct ln_span *line, uint32_t *blank)
{
    if (l->at >= l->end)
        return false;
    const char *e = line_end(l, l->at);
    *line = ln_span(l->at, (size_t)(e - l->at));
    uint32_t ends = 0;
    while (e < l->end && (*e == '\r' || *e == '\n')) {
        bool crlf = *e == '\r' && e + 1 < l->end && e[1] == '\n';
        if (crlf || *e == '\n')
            l->plain = false;
        e += crlf ? 2 : 1;
        ends++;
    }
    *blank = ends ? ends - 1 : 0;
    l->at = e;
    return true;
}

/* Does LF end segments? See the head of message.h. */
static bool lf_ends(struct ln_span b, const struct ln_scan *s)
{
    const char *p = b.ptr + s->start, *end = b.ptr + s->end;
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    if (!lf)
        return false;
    if (!s->cr)
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

int ln_message_scan(struct ln_span bytes, struct ln_scan *s, struct ln_err *err)
{
    *s = (struct ln_scan){0};
    if (bytes.len > LN_MESSAGE_MAX) {
        return ln_err_set(err, LN_ETOOBIG, "message of %zu bytes: the limit is %u", bytes.len,
                          LN_MESSAGE_MAX);
    }
    int rc = find_header(bytes, &s->start, &s->delims, err);
    if (rc)
        return rc;
    struct ln_span rest = ln_span(bytes.ptr + s->start, bytes.len - s->start);
    s->end = bytes.len;
    while (s->end > s->start && (bytes.ptr[s->end - 1] == '\r' || bytes.ptr[s->end - 1] == '\n'))
        s->end--;
    s->cr = memchr(rest.ptr, '\r', rest.len) != NULL;
    s->lf = lf_ends(bytes, s);
    /* LFs before the last CR are data, unless LF ends segments. */
    const char *tail = rest.ptr + (s->end - s->start);
    size_t left = bytes.len - s->end;
    const char *cr = !s->lf && left ? memchr(tail, '\r', left) : NULL;
    if (cr)
        s->end += (size_t)(cr - tail);
    return LN_OK;
}

/* Slots at first: there are seldom more segments than this, and more are made room for. */
static uint32_t slots(const struct ln_scan *s)
{
    size_t n = (s->end - s->start) / 64 + 4;
    return n > 256 ? 256 : (uint32_t)n;
}

size_t ln_message_room(const struct ln_scan *s)
{
    size_t slack = SLACK_MIN + (s->end - s->start) / 4 * 3;
    return slots(s) * sizeof(struct ln_segment) + (slack > SLACK_MAX ? SLACK_MAX : slack);
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

int ln_message_build(struct ln_message *m, struct ln_span bytes, const struct ln_scan *s)
{
    m->bytes = bytes;
    m->delims = s->delims;
    m->nslot = 0;
    m->touched = false;
    m->near.slot = LN_NO_SEGMENT;
    m->cap = slots(s);
    m->seg = ln_arena_take(&m->arena, m->cap * sizeof *m->seg);
    if (!m->seg)
        return LN_ENOMEM;
    struct lines l = {bytes.ptr + s->start, bytes.ptr + s->end, s->lf, s->cr, true};
    struct ln_span line;
    uint32_t blank, n = 0;
    for (; next_line(&l, &line, &blank); m->nslot = ++n) {
        int rc = n == m->cap ? ln_message_grow(m) : LN_OK;
        if (rc)
            return rc;
        m->seg[n] = (struct ln_segment){
            .ptr = line.ptr,
            .len = (uint32_t)line.len,
            .blank = blank,
            .prev = n ? n - 1 : LN_NO_SEGMENT,
            .next = n + 1,
            .header = line.len > 3 && line.ptr[3] == m->delims.field &&
                      ln_delims_header_name(ln_span(line.ptr, 3)),
        };
    }
    m->seg[n - 1].next = LN_NO_SEGMENT;
    m->count = n;
    m->first = 0;
    m->last = n - 1;
    m->exact = l.plain && s->start == 0 && s->end + 1 == bytes.len && bytes.ptr[s->end] == '\r';
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
