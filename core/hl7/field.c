#include "hl7/field.h"

#include <string.h>

#include "hl7/escape.h"

/* ---- index -------------------------------------------------------------------------------------
 */

/* Next c in [p, end), or end. Fields are mostly short: look at a few bytes before calling memchr.
 */
static inline const char *find(const char *p, const char *end, char c)
{
    const char *near = end - p > 16 ? p + 16 : end;
    for (; p < near; p++)
        if (*p == c)
            return p;
    const char *q = p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
    return q ? q : end;
}

/* The same, in a message's character set. */
static inline const char *seek(const struct ln_charset *cs, const char *p, const char *end, char c)
{
    return ln_charset_steps(cs) ? ln_charset_seek(cs, p, end, c) : find(p, end, c);
}

/* Finds the fields of a segment that came later; parsing has found those of the message. */
static int index_fields(struct ln_message *m, struct ln_segment *s)
{
    enum { LOCAL = 64 };
    uint32_t local[LOCAL], n = 0;
    const char sep = m->delims.field, *end = s->ptr + s->len;
    const char *p = find(s->ptr, end, sep);
    for (; p < end; p = find(p + 1, end, sep)) {
        if (n < LOCAL)
            local[n] = (uint32_t)(p - s->ptr) + 1;
        n++;
    }
    uint32_t *start = ln_arena_take(&m->arena, (n + (size_t)1) * sizeof *start);
    if (!start)
        return LN_ENOMEM;
    if (n)
        memcpy(start, local, (n < LOCAL ? n : LOCAL) * sizeof *start);
    if (n > LOCAL) {
        uint32_t k = LOCAL;
        for (p = find(s->ptr + start[LOCAL - 1], end, sep); p < end; p = find(p + 1, end, sep))
            start[k++] = (uint32_t)(p - s->ptr) + 1;
    }
    start[n] = s->len + 1;
    s->nfield = n;
    s->start = start;
    return LN_OK;
}

/* Number of fields behind the name, now. */
static inline uint32_t nfield(const struct ln_segment *s)
{
    return s->edits ? s->edits->nfield : s->nfield;
}

/* Field k (from 0) behind the name; k < nfield(s). */
static struct ln_span field_at(const struct ln_message *m, const struct ln_segment *s, uint32_t k)
{
    for (uint32_t i = 0; s->edits && i < s->edits->n; i++) {
        const struct ln_edit *e = &s->edits->item[i];
        if (e->field == k)
            return ln_span(e->ptr, e->len);
        if (e->field > k)
            break;
    }
    if (k >= s->nfield)
        return ln_span(s->ptr, 0);
    return ln_span(ln_segment_base(m, s) + s->start[k], s->start[k + 1] - 1 - s->start[k]);
}

int ln_field_count(struct ln_message *m, uint32_t slot, uint32_t *n)
{
    struct ln_segment *s = &m->seg[slot];
    if (!s->start && index_fields(m, s))
        return LN_ENOMEM;
    *n = nfield(s) + s->header;
    return LN_OK;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

struct ln_span ln_field_piece(const struct ln_charset *cs, struct ln_span text, char c, uint32_t n)
{
    if (!c)
        return n == 1 ? text : ln_span(NULL, 0);
    const char *p = text.ptr, *end = p + text.len, *e = seek(cs, p, end, c);
    while (--n) {
        if (e == end)
            return ln_span(NULL, 0);
        p = e + 1;
        e = seek(cs, p, end, c);
    }
    return ln_span(p, (size_t)(e - p));
}

uint32_t ln_field_pieces(const struct ln_charset *cs, struct ln_span text, char c)
{
    if (text.len == 0)
        return 0;
    uint32_t n = 1;
    const char *p = text.ptr, *end = p + text.len;
    while (c && (p = seek(cs, p, end, c)) < end) {
        p++;
        n++;
    }
    return n;
}

/* The raw field, or ptr NULL. *whole: it has no parts. */
static int field_of(struct ln_message *m, uint32_t slot, uint32_t f, struct ln_span *out,
                    bool *whole)
{
    struct ln_segment *s = &m->seg[slot];
    *out = ln_span(NULL, 0);
    *whole = s->header && f <= 2;
    if (!s->start && index_fields(m, s))
        return LN_ENOMEM;
    if (s->header && f == 1) {
        *out = ln_span(&m->delims.field, 1);
        return LN_OK;
    }
    uint32_t k = f - 1 - s->header;
    if (k < nfield(s))
        *out = field_at(m, s, k);
    return LN_OK;
}

static struct ln_span part_of(const struct ln_message *m, struct ln_span t, const struct ln_part *p)
{
    const struct ln_delims *d = &m->delims;
    const struct ln_charset *cs = &m->charset;
    if (p->repetition && t.ptr)
        t = ln_field_piece(cs, t, d->repetition, p->repetition);
    if (p->component && t.ptr)
        t = ln_field_piece(cs, t, d->component, p->component);
    if (p->subcomponent && t.ptr)
        t = ln_field_piece(cs, t, d->subcomponent, p->subcomponent);
    return t;
}

int ln_field_get(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                 struct ln_span *out)
{
    bool whole;
    int rc = field_of(m, slot, part->field, out, &whole);
    if (rc || !out->ptr)
        return rc;
    if (!whole)
        *out = part_of(m, *out, part);
    else if (part->repetition > 1 || part->component > 1 || part->subcomponent > 1)
        *out = ln_span(NULL, 0);
    return LN_OK;
}

int ln_field_leaf(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                  struct ln_span *out)
{
    struct ln_part leaf = {
        part->field,
        part->repetition ? part->repetition : 1,
        part->component ? part->component : 1,
        part->subcomponent ? part->subcomponent : 1,
    };
    return ln_field_get(m, slot, &leaf, out);
}
