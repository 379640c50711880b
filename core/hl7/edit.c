/* Replacing a part of a field. The new text of the field is put together in the arena; the segment
 * then points there. Text that is replaced again is written over where it fits, and grows by half
 * where it does not, so that a loop of edits stays linear in time and memory. */
#include <string.h>

#include "hl7/delims.h"
#include "hl7/escape.h"
#include "hl7/field.h"

/* The place of field k among the edits: where it is, or belongs. */
static uint32_t place_of(const struct ln_edits *edits, uint32_t k)
{
    uint32_t i = edits ? edits->n : 0;
    while (i > 0 && edits->item[i - 1].field >= k)
        i--;
    return i;
}

/* Makes room for another edit. */
static int room(struct ln_message *m, struct ln_segment *s)
{
    struct ln_edits *old = s->edits;
    if (old && old->n < old->cap)
        return LN_OK;
    uint32_t cap = old ? old->cap * 2 : 4;
    struct ln_edits *e = ln_arena_take(&m->arena, sizeof *e + cap * sizeof e->item[0]);
    if (!e)
        return LN_ENOMEM;
    e->n = 0;
    e->nfield = s->nfield;
    if (old)
        memcpy(e, old, sizeof *e + old->n * sizeof e->item[0]);
    e->cap = cap;
    s->edits = e;
    return LN_OK;
}

/* Where in a field the value goes: text[0..at), `fill` separators per level, the value,
 * text[end..). */
struct place {
    size_t at, end;
    uint32_t fill[3]; /* repetition, component, subcomponent separators to be put in */
};

/* Narrows a place to the nth piece at one level, or notes how many separators are missing. */
static void narrow(const struct ln_charset *cs, struct ln_span text, struct place *p, char c,
                   uint32_t n, uint32_t *fill)
{
    struct ln_span in = ln_span(text.ptr + p->at, p->end - p->at);
    struct ln_span piece = ln_field_piece(cs, in, c, n);
    if (piece.ptr) {
        p->at = (size_t)(piece.ptr - text.ptr);
        p->end = p->at + piece.len;
        return;
    }
    uint32_t have = ln_field_pieces(cs, in, c);
    *fill = n - (have ? have : 1);
    p->at = p->end;
}

static int locate(const struct ln_message *m, struct ln_span text, const struct ln_part *part,
                  struct place *p, struct ln_err *err)
{
    const struct ln_delims *d = &m->delims;
    static const char *const names[] = {"repetition", "component", "subcomponent"};
    const char c[] = {d->repetition, d->component, d->subcomponent};
    const uint32_t n[] = {part->repetition, part->component, part->subcomponent};
    *p = (struct place){.end = text.len};
    for (int i = 0; i < 3; i++) {
        if (!n[i])
            continue;
        if (n[i] > 1 && !c[i])
            return ln_err_set(err, LN_EINVAL, "MSH-2 declares no %s separator", names[i]);
        if (p->fill[0] || (i > 1 && p->fill[1]))
            p->fill[i] = n[i] - 1; /* already beyond what is there */
        else
            narrow(&m->charset, text, p, c[i], n[i], &p->fill[i]);
    }
    return LN_OK;
}

static enum ln_depth level_of(const struct ln_part *p)
{
    return p->subcomponent ? LN_DEPTH_SUBCOMPONENT
           : p->component  ? LN_DEPTH_COMPONENT
           : p->repetition ? LN_DEPTH_REPETITION
                           : LN_DEPTH_FIELD;
}

/* The last of a text's characters, of n bytes, is only the beginning of one. */
static bool ends_within(const struct ln_charset *cs, struct ln_span text, size_t n)
{
    return cs->kind == LN_CHARSET_TRAIL && n == 1 && (unsigned char)text.ptr[text.len - 1] > 0x80;
}

/* Raw bytes must not cut a level above their own. In the header segment LF must not stand either:
 * it could be taken for the end of the segment. */
static int check_raw(const struct ln_message *m, const struct ln_part *part, bool first,
                     struct ln_span v, struct ln_err *err)
{
    const struct ln_delims *d = &m->delims;
    struct ln_charset_state state = {0};
    bool opaque = false, steps = ln_charset_steps(&m->charset);
    static const char *const names[] = {"field", "repetition", "component", "subcomponent"};
    enum ln_depth level = level_of(part);
    size_t n = 1;
    for (size_t i = 0; i < v.len; i += n) {
        bool lf = first && v.ptr[i] == '\n';
        if (steps)
            n = ln_charset_step(&m->charset, &state, v.ptr + i, v.ptr + v.len, &opaque);
        if (opaque || (!lf && !ln_depth_cuts(d, level, v.ptr[i])))
            continue;
        return ln_err_set(err, LN_EINVAL,
                          "the raw value holds %s at byte %zu, which would end the %s",
                          v.ptr[i] == '\r' ? "a carriage return"
                          : lf             ? "a line feed"
                                           : "a separator",
                          i + 1, names[level]);
    }
    if (v.len && steps && (state.g0 != LN_G0_ASCII || ends_within(&m->charset, v, n)))
        return ln_err_set(err, LN_EINVAL,
                          "the value ends inside a character of %s, or not in ASCII: what follows "
                          "would become part of it",
                          ln_charset_name(&m->charset));
    return LN_OK;
}

/* Puts the field together: t->text[0..at), separators, value, t->text[end..). */
static int splice(struct ln_message *m, struct ln_edit *t, const struct place *p,
                  struct ln_span value, size_t value_len, bool escape)
{
    const char c[] = {m->delims.repetition, m->delims.component, m->delims.subcomponent};
    size_t fill = (size_t)p->fill[0] + p->fill[1] + p->fill[2], tail = t->len - p->end;
    size_t len = p->at + fill + value_len + tail, cap = t->cap;
    if (len > LN_MESSAGE_MAX)
        return LN_ETOOBIG;
    char *out = (char *)(uintptr_t)t->ptr; /* cap > 0: memory of our own arena */
    if (len > cap || cap == 0) {
        cap = ((cap ? len + len / 2 : len) + 8) & ~(size_t)7;
        out = ln_arena_take(&m->arena, cap);
        if (!out)
            return LN_ENOMEM;
        memcpy(out, t->ptr, p->at);
    }
    memmove(out + len - tail, t->ptr + p->end, tail);
    char *o = out + p->at;
    for (int i = 0; i < 3; i++) {
        memset(o, c[i], p->fill[i]);
        o += p->fill[i];
    }
    if (escape && value_len != value.len)
        ln_escape(&m->delims, value, o);
    else if (value.len)
        memcpy(o, value.ptr, value.len);
    t->ptr = out;
    t->len = (uint32_t)len;
    t->cap = (uint32_t)cap;
    return LN_OK;
}

/* Replaces part of field k, which reads `old`, and keeps it among the edits. */
static int replace(struct ln_message *m, struct ln_segment *s, uint32_t k, struct ln_span old,
                   const struct place *p, struct ln_span value, size_t value_len, bool escape)
{
    uint32_t i = place_of(s->edits, k);
    bool known = s->edits && i < s->edits->n && s->edits->item[i].field == k;
    int rc = known ? LN_OK : room(m, s);
    if (rc)
        return rc;
    struct ln_edit *e = &s->edits->item[i], t = {old.ptr, (uint32_t)old.len, 0, k};
    if (known)
        t = *e;
    if ((rc = splice(m, &t, p, value, value_len, escape)))
        return rc;
    if (!known) {
        memmove(e + 1, e, (s->edits->n - i) * sizeof *e);
        s->edits->n++;
        if (s->edits->nfield <= k)
            s->edits->nfield = k + 1;
    }
    *e = t;
    m->touched = true;
    return LN_OK;
}

/* A field at the end of its segment may end inside a character, or in another set than ASCII, which
 * the end of the line puts right. What is written behind it must not become part of it. */
static int close_field(struct ln_message *m, uint32_t slot, uint32_t field, struct ln_err *err)
{
    const struct ln_charset *cs = &m->charset;
    const char *sw = ln_charset_switch(LN_G0_ASCII);
    struct ln_charset_state state = {0};
    struct ln_span text;
    size_t n = 0;
    bool opaque;
    if (ln_field_get(m, slot, &(struct ln_part){.field = field}, &text))
        return LN_ENOMEM;
    const char *p = text.ptr, *end = p + text.len;
    for (; p < end; p += n)
        n = ln_charset_step(cs, &state, p, end, &opaque);
    if (n && ends_within(cs, text, n))
        return ln_err_set(err, LN_EINVAL,
                          "field %u ends inside a character of %s: set the whole of it first",
                          field, ln_charset_name(cs));
    if (state.g0 == LN_G0_ASCII)
        return LN_OK;
    char *closed = ln_arena_take(&m->arena, text.len + strlen(sw));
    if (!closed)
        return LN_ENOMEM;
    memcpy(closed, text.ptr, text.len);
    memcpy(closed + text.len, sw, strlen(sw));
    return ln_field_put(m, slot, field, ln_span(closed, text.len + strlen(sw)));
}

/* What stands for itself, a name or MSH-2, and ends so: nothing can be written behind it. */
static int check_end(const struct ln_message *m, struct ln_span name, struct ln_err *err)
{
    struct ln_charset_state state = {0};
    size_t n = 0;
    bool opaque;
    for (const char *p = name.ptr, *end = p + name.len; p < end; p += n)
        n = ln_charset_step(&m->charset, &state, p, end, &opaque);
    if (!n || (state.g0 == LN_G0_ASCII && !ends_within(&m->charset, name, n)))
        return LN_OK;
    return ln_err_set(err, LN_EINVAL, "the segment ends inside a character of %s",
                      ln_charset_name(&m->charset));
}

/* Closes the field that a value is to be set in, or the last one when it goes behind that. */
static int close_last(struct ln_message *m, uint32_t slot, const struct ln_part *part, uint32_t n,
                      struct ln_err *err)
{
    uint32_t last = part->field < n ? part->field : n;
    bool whole = part->field <= n && !part->repetition && !part->component;
    if (!ln_charset_steps(&m->charset) || whole)
        return LN_OK;
    if (last == 0)
        return check_end(m, ln_message_name(m, slot), err);
    if (last <= 2 && m->seg[slot].header) {
        struct ln_span text;
        if (ln_field_get(m, slot, &(struct ln_part){.field = last}, &text))
            return LN_ENOMEM;
        return check_end(m, text, err);
    }
    return close_field(m, slot, last, err);
}

/* A separator behind the first byte of a character would become the second one. */
static int check_before(const struct ln_charset *cs, struct ln_span text, const struct place *p,
                        struct ln_err *err)
{
    struct ln_charset_state state = {0};
    size_t n = 0;
    bool opaque, adds = p->fill[0] || p->fill[1] || p->fill[2];
    if (!adds || p->at == 0 || cs->kind != LN_CHARSET_TRAIL)
        return LN_OK;
    text.len = p->at;
    for (const char *at = text.ptr, *end = at + text.len; at < end; at += n)
        n = ln_charset_step(cs, &state, at, end, &opaque);
    if (!ends_within(cs, text, n))
        return LN_OK;
    return ln_err_set(err, LN_EINVAL,
                      "what stands before it ends inside a character of %s: set that first",
                      ln_charset_name(cs));
}

int ln_field_set(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                 struct ln_span value, bool escape, struct ln_err *err)
{
    struct ln_segment *s = &m->seg[slot];
    struct ln_span old;
    uint32_t n;
    size_t len = value.len;
    if (s->header && part->field <= 2)
        return ln_err_set(err, LN_EINVAL, "the delimiters of a message cannot be changed");
    if (!s->header && ln_delims_header_name(ln_message_name(m, slot)))
        return ln_err_set(err, LN_EINVAL,
                          "a header segment without delimiters cannot be written to: remove it");
    int rc = ln_field_count(m, slot, &n);
    if (rc == LN_OK)
        rc = escape ? ln_escape_len(&m->delims, value, &len, err)
                    : check_raw(m, part, slot == m->first, value, err);
    if (rc == LN_OK && value.len)
        rc = close_last(m, slot, part, n, err);
    if (rc == LN_OK)
        rc = ln_field_get(m, slot, &(struct ln_part){.field = part->field}, &old);
    if (rc)
        return rc == LN_ENOMEM ? ln_err_set(err, rc, "no memory") : rc;
    bool absent = !old.ptr;
    if (absent)
        old = ln_span("", 0);
    struct place p;
    if ((rc = locate(m, old, part, &p, err)))
        return rc;
    if (value.len == 0 && (absent || p.fill[0] || p.fill[1] || p.fill[2]))
        return LN_OK; /* nothing there, nothing to clear */
    if ((rc = check_before(&m->charset, old, &p, err)))
        return rc;
    /* Setting what stands there already changes nothing; only plain values are compared. */
    if (!absent && len == value.len && p.end - p.at == len && !p.fill[0] && !p.fill[1] &&
        !p.fill[2] && (len == 0 || memcmp(old.ptr + p.at, value.ptr, len) == 0))
        return LN_OK;
    rc = replace(m, s, part->field - 1 - s->header, old, &p, value, len, escape);
    if (rc)
        return ln_err_set(err, rc, rc == LN_ETOOBIG ? "the field would be too long" : "no memory");
    return LN_OK;
}

int ln_field_put(struct ln_message *m, uint32_t slot, uint32_t field, struct ln_span raw)
{
    struct ln_segment *s = &m->seg[slot];
    struct ln_span old;
    int rc = ln_field_get(m, slot, &(struct ln_part){.field = field}, &old);
    if (rc)
        return rc;
    if (!old.ptr)
        old = ln_span("", 0);
    struct place whole = {.end = old.len};
    return replace(m, s, field - 1 - s->header, old, &whole, raw, raw.len, false);
}
