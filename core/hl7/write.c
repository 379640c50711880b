/* The wire form. What was not edited is copied in runs as long as the bytes allow: an untouched
 * message with plain CR ends is one copy. */
#include <string.h>

#include "hl7/message.h"

size_t ln_message_segment_len(const struct ln_message *m, uint32_t slot)
{
    const struct ln_segment *s = &m->seg[slot];
    size_t len = s->len;
    if (!s->edits)
        return len;
    for (uint32_t i = 0; i < s->edits->n; i++) {
        const struct ln_edit *e = &s->edits->item[i];
        len += e->len;
        if (e->field < s->nfield)
            len -= s->start[e->field + 1] - 1 - s->start[e->field];
    }
    return len + (s->edits->nfield - s->nfield);
}

char *ln_message_segment(const struct ln_message *m, uint32_t slot, char *out)
{
    const struct ln_segment *s = &m->seg[slot];
    const char *base = ln_segment_base(m, s);
    const char *from = s->ptr; /* what was copied of the segment as parsed */
    uint32_t k = s->nfield; /* field behind the last one written, once beyond those */
    for (uint32_t i = 0; s->edits && i < s->edits->n; i++) {
        const struct ln_edit *e = &s->edits->item[i];
        const char *to = e->field < s->nfield ? base + s->start[e->field] : s->ptr + s->len;
        memcpy(out, from, (size_t)(to - from));
        out += to - from;
        from = to;
        if (e->field < s->nfield)
            from = base + s->start[e->field + 1] - 1;
        for (; k <= e->field; k++)
            *out++ = m->delims.field;
        memcpy(out, e->ptr, e->len);
        out += e->len;
    }
    size_t rest = (size_t)(s->ptr + s->len - from);
    memcpy(out, from, rest);
    return out + rest;
}

size_t ln_message_wire_len(const struct ln_message *m)
{
    if (!m->touched && m->exact)
        return m->bytes.len;
    size_t len = 0;
    for (uint32_t i = m->first; i != LN_NO_SEGMENT; i = m->seg[i].next) {
        const struct ln_segment *s = &m->seg[i];
        len += ln_message_segment_len(m, i) + 1;
        if (i != m->last)
            len += s->blank;
    }
    return len;
}

void ln_message_wire(const struct ln_message *m, char *out)
{
    if (!m->touched && m->exact) {
        memcpy(out, m->bytes.ptr, m->bytes.len);
        return;
    }
    uint32_t i = m->first;
    while (i != LN_NO_SEGMENT) {
        const struct ln_segment *s = &m->seg[i];
        if (s->edits) {
            out = ln_message_segment(m, i, out);
        } else {
            const char *from = s->ptr, *to = from + s->len;
            for (uint32_t next = s->next; next != LN_NO_SEGMENT && !m->seg[next].edits &&
                                          !s->blank && m->seg[next].ptr == to + 1 && *to == '\r';
                 next = s->next) {
                i = next;
                s = &m->seg[i];
                to = s->ptr + s->len;
            }
            memcpy(out, from, (size_t)(to - from));
            out += to - from;
        }
        *out++ = '\r';
        if (i != m->last) {
            memset(out, '\r', s->blank);
            out += s->blank;
        }
        i = s->next;
    }
}
