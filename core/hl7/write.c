/* The wire form. What was not edited is copied in runs as long as the bytes allow: an untouched
 * message with plain CR ends is one copy. */
#include <string.h>

#include "hl7/message.h"

size_t ln_message_segment_len(const struct ln_message *m, uint32_t slot)
{
    const struct ln_segment *s = &m->seg[slot];
    if (!s->cap)
        return s->len;
    size_t len = s->name_len + (size_t)s->nfield;
    for (uint32_t k = 0; k < s->nfield; k++)
        len += s->text[k].len;
    return len;
}

char *ln_message_segment(const struct ln_message *m, uint32_t slot, char *out)
{
    const struct ln_segment *s = &m->seg[slot];
    if (!s->cap) {
        memcpy(out, s->ptr, s->len);
        return out + s->len;
    }
    memcpy(out, s->ptr, s->name_len);
    out += s->name_len;
    for (uint32_t k = 0; k < s->nfield;) {
        /* Fields that still stand side by side in the message are one copy. */
        const char *from = s->text[k].ptr, *to = from + s->text[k].len;
        bool ours = s->text[k].cap == 0;
        for (k++; ours && k < s->nfield && s->text[k].cap == 0 && s->text[k].ptr == to + 1; k++)
            to = s->text[k].ptr + s->text[k].len;
        *out++ = m->delims.field;
        memcpy(out, from, (size_t)(to - from));
        out += to - from;
    }
    return out;
}

size_t ln_message_wire_len(const struct ln_message *m)
{
    if (!m->touched && m->exact)
        return m->bytes.len;
    size_t len = 0;
    for (uint32_t i = m->first; i != LN_NO_SEGMENT; i = m->seg[i].next) {
        const struct ln_segment *s = &m->seg[i];
        len += (s->cap ? ln_message_segment_len(m, i) : s->len) + 1;
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
        if (s->cap) {
            out = ln_message_segment(m, i, out);
        } else {
            const char *from = s->ptr, *to = from + s->len;
            for (uint32_t next = s->next; next != LN_NO_SEGMENT && !m->seg[next].cap && !s->blank &&
                                          m->seg[next].ptr == to + 1 && *to == '\r';
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
