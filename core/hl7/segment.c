/* Segments of a message: looking them up, adding, removing, moving. */
#include <string.h>

#include "hl7/delims.h"
#include "hl7/message.h"

bool ln_message_is_named(const struct ln_message *m, uint32_t slot, struct ln_span name)
{
    const struct ln_segment *s = &m->seg[slot];
    if (s->len < name.len)
        return false;
    if (name.len == 3) { /* nearly always: not worth a call */
        if (s->ptr[0] != name.ptr[0] || s->ptr[1] != name.ptr[1] || s->ptr[2] != name.ptr[2])
            return false;
    } else if (memcmp(s->ptr, name.ptr, name.len) != 0) {
        return false;
    }
    return s->len == name.len || s->ptr[name.len] == m->delims.field;
}

struct ln_span ln_message_name(const struct ln_message *m, uint32_t slot)
{
    const struct ln_segment *s = &m->seg[slot];
    if (ln_charset_steps(&m->charset))
        return ln_span(s->ptr, (size_t)(ln_charset_seek(&m->charset, s->ptr, s->ptr + s->len,
                                                        m->delims.field) -
                                        s->ptr));
    const char *e = s->len ? memchr(s->ptr, m->delims.field, s->len) : NULL;
    return ln_span(s->ptr, e ? (size_t)(e - s->ptr) : s->len);
}

uint32_t ln_message_next(const struct ln_message *m, struct ln_span name, uint32_t slot)
{
    slot = slot == LN_NO_SEGMENT ? m->first : m->seg[slot].next;
    while (slot != LN_NO_SEGMENT &&
           (m->seg[slot].removed || (name.len && !ln_message_is_named(m, slot, name))))
        slot = m->seg[slot].next;
    return slot;
}

uint32_t ln_message_find(struct ln_message *m, struct ln_span name, uint32_t nth)
{
    uint32_t slot = LN_NO_SEGMENT, n = 0;
    if (m->near.slot != LN_NO_SEGMENT && m->near.nth <= nth &&
        ln_message_is_named(m, m->near.slot, name)) {
        slot = m->near.slot;
        n = m->near.nth;
    }
    while (n < nth) {
        slot = ln_message_next(m, name, slot);
        if (slot == LN_NO_SEGMENT)
            return slot;
        n++;
    }
    m->near.slot = slot;
    m->near.nth = n;
    return slot;
}

bool ln_message_name_ok(struct ln_span name)
{
    if (name.len != 3 || name.ptr[0] < 'A' || name.ptr[0] > 'Z')
        return false;
    for (int i = 1; i < 3; i++) {
        char c = name.ptr[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static void link_behind(struct ln_message *m, uint32_t slot, uint32_t after)
{
    struct ln_segment *s = &m->seg[slot], *a = &m->seg[after];
    s->prev = after;
    s->next = a->next;
    if (a->next == LN_NO_SEGMENT)
        m->last = slot;
    else
        m->seg[a->next].prev = slot;
    a->next = slot;
    s->blank = 0; /* it brings no empty lines along */
    m->touched = true;
    m->near.slot = LN_NO_SEGMENT;
}

/* Takes a segment out of the list; its own `next` stays, so that a loop standing on it goes on. */
static void unlink_slot(struct ln_message *m, uint32_t slot)
{
    struct ln_segment *s = &m->seg[slot];
    m->seg[s->prev].next = s->next;
    if (s->next == LN_NO_SEGMENT)
        m->last = s->prev;
    else
        m->seg[s->next].prev = s->prev;
    m->touched = true;
    m->near.slot = LN_NO_SEGMENT;
}

int ln_message_add(struct ln_message *m, struct ln_span name, uint32_t after, uint32_t *slot,
                   struct ln_err *err)
{
    if (!ln_message_name_ok(name))
        return ln_err_set(err, LN_EINVAL,
                          "wrong segment name \"%.*s\": it has three characters, a "
                          "capital letter first, then capitals or digits",
                          (int)(name.len < 20 ? name.len : 20), name.ptr ? name.ptr : "");
    bool header = ln_delims_header_name(name);
    size_t len = 3;
    char *p = ln_arena_take(&m->arena, 16);
    int rc = p ? ln_message_grow(m) : LN_ENOMEM;
    if (rc)
        return ln_err_set(err, rc, "no room for another segment");
    memcpy(p, name.ptr, 3);
    if (header) {
        const struct ln_delims *d = &m->delims;
        const char all[] = {d->field,  d->component,    d->repetition,
                            d->escape, d->subcomponent, d->truncation};
        for (size_t i = 0; i < sizeof all && all[i]; i++)
            p[len++] = all[i];
    }
    *slot = m->nslot++;
    m->seg[*slot] =
        (struct ln_segment){.ptr = p, .len = (uint32_t)len, .header = header, .own = true};
    link_behind(m, *slot, after == LN_NO_SEGMENT ? m->last : after);
    m->count++;
    return LN_OK;
}

int ln_message_remove(struct ln_message *m, uint32_t slot, struct ln_err *err)
{
    if (slot == m->first)
        return ln_err_set(err, LN_EINVAL, "the header segment cannot be removed");
    unlink_slot(m, slot);
    m->seg[slot].removed = true;
    m->count--;
    return LN_OK;
}

int ln_message_move(struct ln_message *m, uint32_t slot, uint32_t after, struct ln_err *err)
{
    if (slot == m->first)
        return ln_err_set(err, LN_EINVAL, "the header segment cannot be moved");
    if (slot == after)
        return LN_OK;
    unlink_slot(m, slot);
    link_behind(m, slot, after);
    return LN_OK;
}
