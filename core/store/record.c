#include "store/record.h"

#include "base/crc.h"
#include "store/delta.h"

enum { NUM_MAX = 10, KNOWN_FLAGS = LN_RECORD_CHUNKED | LN_RECORD_SUMMED | LN_RECORD_SEALED };

void ln_enc_u8(struct ln_enc *e, uint8_t v)
{
    *e->p++ = (char)v;
}

void ln_enc_head(struct ln_enc *e, uint8_t flags)
{
    ln_enc_u8(e, LN_RECORD_VERSION);
    ln_enc_u8(e, flags);
}

void ln_enc_u64(struct ln_enc *e, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++, v >>= 8)
        *e->p++ = (char)(v & 0xff);
}

void ln_enc_num(struct ln_enc *e, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *e->p++ = (char)(v | 0x80);
    *e->p++ = (char)v;
}

void ln_enc_raw(struct ln_enc *e, struct ln_span s)
{
    if (s.len)
        memcpy(e->p, s.ptr, s.len);
    e->p += s.len;
}

void ln_enc_bytes(struct ln_enc *e, struct ln_span s)
{
    ln_enc_num(e, s.len);
    ln_enc_raw(e, s);
}

struct ln_dec ln_dec_of(struct ln_span body)
{
    const unsigned char *p = (const unsigned char *)body.ptr;
    return (struct ln_dec){.p = p, .end = body.len ? p + body.len : p};
}

static bool has(struct ln_dec *d, uint64_t len)
{
    if (d->bad || (uint64_t)(d->end - d->p) < len) {
        d->bad = true;
        return false;
    }
    return true;
}

uint8_t ln_dec_u8(struct ln_dec *d)
{
    return has(d, 1) ? *d->p++ : 0;
}

uint64_t ln_dec_u64(struct ln_dec *d)
{
    uint64_t v = 0;
    if (!has(d, 8))
        return 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)*d->p++ << (8 * i);
    return v;
}

uint64_t ln_dec_num(struct ln_dec *d)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && has(d, 1); shift += 7) {
        unsigned char c = *d->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    d->bad = true;
    return 0;
}

struct ln_span ln_dec_bytes(struct ln_dec *d)
{
    uint64_t len = ln_dec_num(d);
    if (!has(d, len))
        return ln_span("", 0);
    struct ln_span s = ln_span((const char *)d->p, (size_t)len);
    d->p += len;
    return s;
}

struct ln_span ln_dec_rest(struct ln_dec *d)
{
    struct ln_span s =
        d->bad ? ln_span("", 0) : ln_span((const char *)d->p, (size_t)(d->end - d->p));
    d->p = d->end;
    return s;
}

int ln_record_sealed(struct ln_span rec, struct ln_sealed *s)
{
    uint8_t flags = rec.len < LN_RECORD_HEAD ? 0 : (uint8_t)rec.ptr[1];
    if ((flags & LN_RECORD_SEALED) == 0)
        return LN_ENOTFOUND;
    if ((uint8_t)rec.ptr[0] != LN_RECORD_VERSION || (flags & ~KNOWN_FLAGS))
        return LN_EVERSION;
    if (rec.len < LN_RECORD_HEAD + LN_RECORD_SUM || !(flags & LN_RECORD_SUMMED))
        return LN_EPARSE;
    struct ln_dec d =
        ln_dec_of(ln_span(rec.ptr + LN_RECORD_HEAD, rec.len - LN_RECORD_HEAD - LN_RECORD_SUM));
    s->total = flags & LN_RECORD_CHUNKED ? ln_dec_u64(&d) : 0;
    s->gen = 0;
    for (unsigned i = 0; i < 4; i++)
        s->gen |= (uint32_t)ln_dec_u8(&d) << (8 * i);
    s->nonce = d.p;
    for (unsigned i = 0; i < LN_SEALED_NONCE; i++)
        ln_dec_u8(&d);
    s->clear = ln_dec_bytes(&d);
    s->head = ln_span(rec.ptr, (size_t)((const char *)d.p - rec.ptr));
    s->cipher = ln_dec_rest(&d);
    if (d.bad || s->cipher.len < LN_SEALED_TAG)
        return LN_EPARSE;
    uint64_t here = s->clear.len + s->cipher.len - LN_SEALED_TAG;
    if (!(flags & LN_RECORD_CHUNKED))
        s->total = here;
    return s->total < here ? LN_EPARSE : LN_OK;
}

int ln_record_open(struct ln_span rec, struct ln_span *body, uint64_t *total)
{
    struct ln_sealed s;
    int rc = ln_record_sealed(rec, &s);
    if (rc != LN_ENOTFOUND) {
        if (rc == LN_OK) {
            *body = s.clear;
            *total = s.total;
        }
        return rc;
    }
    if (rec.len < LN_RECORD_HEAD)
        return LN_EPARSE;
    uint8_t flags = (uint8_t)rec.ptr[1];
    if ((uint8_t)rec.ptr[0] != LN_RECORD_VERSION || (flags & ~KNOWN_FLAGS))
        return LN_EVERSION;
    size_t around = LN_RECORD_HEAD + (flags & LN_RECORD_SUMMED ? LN_RECORD_SUM : 0);
    if (rec.len < around)
        return LN_EPARSE;
    *body = ln_span(rec.ptr + LN_RECORD_HEAD, rec.len - around);
    *total = body->len;
    if (flags & LN_RECORD_CHUNKED) {
        struct ln_dec d = ln_dec_of(*body);
        *total = ln_dec_u64(&d);
        if (d.bad || *total < body->len - 8)
            return LN_EPARSE;
        *body = ln_dec_rest(&d);
    }
    return LN_OK;
}

void ln_record_sum(char *at, size_t len)
{
    uint32_t sum = ln_crc32c(at, len);
    for (unsigned i = 0; i < LN_RECORD_SUM; i++, sum >>= 8)
        at[len + i] = (char)(sum & 0xff);
}

bool ln_record_sound(struct ln_span rec)
{
    if (rec.len < LN_RECORD_HEAD + LN_RECORD_SUM || !((uint8_t)rec.ptr[1] & LN_RECORD_SUMMED))
        return false;
    const unsigned char *p = (const unsigned char *)rec.ptr + rec.len - LN_RECORD_SUM;
    uint32_t sum = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
    return ln_crc32c(rec.ptr, rec.len - LN_RECORD_SUM) == sum;
}

/* ---- receipts ------------------------------------------------------------------------------ */

size_t ln_record_receipt_bound(const struct ln_receipt *r)
{
    size_t n = LN_RECORD_HEAD + 1 + 8 + (9 + LN_PATIENTS_MAX) * NUM_MAX + r->peer.len +
               r->control_id.len + r->type.len + r->only_dest.len + r->raw.len;
    for (unsigned i = 0; i < r->npatient; i++)
        n += r->patient[i].len;
    return n;
}

size_t ln_record_receipt_write(char *at, uint32_t chan, uint64_t seq, const struct ln_receipt *r)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_enc_u8(&e, r->kind);
    ln_enc_u64(&e, (uint64_t)r->time_us);
    ln_enc_num(&e, chan);
    ln_enc_num(&e, seq);
    ln_enc_num(&e, r->origin_chan);
    ln_enc_num(&e, r->origin_seq);
    ln_enc_bytes(&e, r->peer);
    ln_enc_bytes(&e, r->control_id);
    ln_enc_bytes(&e, r->type);
    ln_enc_bytes(&e, r->only_dest);
    ln_enc_num(&e, r->npatient);
    for (unsigned i = 0; i < r->npatient; i++)
        ln_enc_bytes(&e, r->patient[i]);
    ln_enc_raw(&e, r->raw);
    return (size_t)(e.p - at);
}

int ln_record_receipt_read(struct ln_span body, struct ln_receipt *r)
{
    struct ln_dec d = ln_dec_of(body);
    r->kind = ln_dec_u8(&d);
    r->time_us = (int64_t)ln_dec_u64(&d);
    r->chan = (uint32_t)ln_dec_num(&d);
    r->seq = ln_dec_num(&d);
    r->origin_chan = (uint32_t)ln_dec_num(&d);
    r->origin_seq = ln_dec_num(&d);
    r->peer = ln_dec_bytes(&d);
    r->control_id = ln_dec_bytes(&d);
    r->type = ln_dec_bytes(&d);
    r->only_dest = ln_dec_bytes(&d);
    uint64_t n = ln_dec_num(&d);
    if (n > LN_PATIENTS_MAX)
        return LN_EPARSE;
    r->npatient = (unsigned)n;
    for (unsigned i = 0; i < r->npatient; i++)
        r->patient[i] = ln_dec_bytes(&d);
    r->raw = ln_dec_rest(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

int ln_record_receipt_head(struct ln_span body, struct ln_receipt *r)
{
    struct ln_dec d = ln_dec_of(body);
    r->kind = ln_dec_u8(&d);
    r->time_us = (int64_t)ln_dec_u64(&d);
    r->chan = (uint32_t)ln_dec_num(&d);
    r->seq = ln_dec_num(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

size_t ln_record_receipt_head_len(struct ln_span body)
{
    struct ln_dec d = ln_dec_of(body);
    ln_dec_u8(&d);
    ln_dec_u64(&d);
    ln_dec_num(&d);
    ln_dec_num(&d);
    return (size_t)((const char *)d.p - body.ptr);
}

int ln_record_receipt_time(struct ln_span body, int64_t *time_us)
{
    struct ln_dec d = ln_dec_of(body);
    ln_dec_u8(&d); /* kind */
    *time_us = (int64_t)ln_dec_u64(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

size_t ln_record_result_bound(const struct ln_processed *p)
{
    size_t n =
        LN_RECORD_HEAD + 1 + 8 + 8 + 8 * NUM_MAX + p->reason.len + p->where.len + p->trace.len;
    for (uint32_t i = 0; i < p->nitems; i++)
        n += 2 + 4 * NUM_MAX + p->items[i].data.len;
    return n;
}

static void write_head(struct ln_enc *e, const struct ln_processed *p)
{
    ln_enc_head(e, 0);
    ln_enc_u8(e, p->state);
    ln_enc_u64(e, (uint64_t)p->time_us);
    ln_enc_num(e, p->duration_us);
    ln_enc_num(e, p->attempts);
    ln_enc_u64(e, p->script);
    ln_enc_bytes(e, ln_span(p->ack, strnlen(p->ack, sizeof p->ack - 1)));
    ln_enc_bytes(e, p->reason);
    ln_enc_bytes(e, p->where);
    ln_enc_bytes(e, p->trace);
    ln_enc_num(e, p->nitems);
}

static void write_item(struct ln_enc *e, const struct ln_stored_item *it)
{
    ln_enc_u8(e, it->item.kind);
    ln_enc_num(e, it->item.dest);
    switch (it->item.kind) {
    case LN_I_BYTES:
        ln_enc_u8(e, it->delta);
        if (it->delta)
            ln_enc_num(e, it->full_len);
        ln_enc_bytes(e, it->item.data);
        break;
    case LN_I_SAME: ln_enc_num(e, it->item.same); break;
    case LN_I_FORWARDED:
        ln_enc_num(e, it->item.to_chan);
        ln_enc_num(e, it->item.to_seq);
        break;
    case LN_I_FILTERED:
    case LN_I_PARKED: ln_enc_bytes(e, it->item.data); break;
    default: break; /* LN_I_INPUT: nothing more */
    }
}

size_t ln_record_result_write(char *at, const struct ln_processed *p)
{
    struct ln_enc e = {at};
    write_head(&e, p);
    for (uint32_t i = 0; i < p->nitems; i++)
        write_item(&e, &(struct ln_stored_item){.item = p->items[i]});
    return (size_t)(e.p - at);
}

int ln_record_result_read(struct ln_dec *d, struct ln_processed *p)
{
    *p = (struct ln_processed){.state = ln_dec_u8(d)};
    p->time_us = (int64_t)ln_dec_u64(d);
    p->duration_us = (uint32_t)ln_dec_num(d);
    p->attempts = (uint32_t)ln_dec_num(d);
    p->script = ln_dec_u64(d);
    struct ln_span ack = ln_dec_bytes(d);
    if (ack.len >= sizeof p->ack)
        return LN_EPARSE;
    if (ack.len)
        memcpy(p->ack, ack.ptr, ack.len);
    p->reason = ln_dec_bytes(d);
    p->where = ln_dec_bytes(d);
    p->trace = ln_dec_bytes(d);
    p->nitems = (uint32_t)ln_dec_num(d);
    /* An item takes at least two bytes: no count can make the reader allocate without bound. */
    return d->bad || p->nitems > (size_t)(d->end - d->p) / 2 ? LN_EPARSE : LN_OK;
}

int ln_record_item_read(struct ln_dec *d, struct ln_stored_item *it)
{
    *it = (struct ln_stored_item){.item.kind = ln_dec_u8(d)};
    it->item.dest = (uint16_t)ln_dec_num(d);
    switch (it->item.kind) {
    case LN_I_BYTES:
        it->delta = ln_dec_u8(d) != 0;
        if (it->delta)
            it->full_len = ln_dec_num(d);
        it->item.data = ln_dec_bytes(d);
        if (!it->delta)
            it->full_len = it->item.data.len;
        break;
    case LN_I_INPUT: break;
    case LN_I_SAME: it->item.same = (uint32_t)ln_dec_num(d); break;
    case LN_I_FORWARDED:
        it->item.to_chan = (uint32_t)ln_dec_num(d);
        it->item.to_seq = ln_dec_num(d);
        break;
    case LN_I_FILTERED:
    case LN_I_PARKED: it->item.data = ln_dec_bytes(d); break;
    default: return LN_EPARSE;
    }
    return d->bad ? LN_EPARSE : LN_OK;
}

int ln_record_result_pack(struct ln_span body, struct ln_span input, struct ln_buf *out)
{
    struct ln_dec d = ln_dec_of(body);
    struct ln_processed p;
    int rc = ln_record_result_read(&d, &p);
    if (rc != LN_OK)
        return rc;
    if (ln_buf_reserve(out, LN_RECORD_HEAD + body.len + (size_t)p.nitems * NUM_MAX) != LN_OK)
        return LN_ENOMEM;
    struct ln_enc e = {out->data + out->len};
    write_head(&e, &p);
    for (uint32_t i = 0; i < p.nitems; i++) {
        struct ln_stored_item it;
        if ((rc = ln_record_item_read(&d, &it)) != LN_OK)
            return rc;
        if (it.item.kind != LN_I_BYTES || it.item.data.len < 16) {
            write_item(&e, &it);
            continue;
        }
        /* The difference is written behind room for the item's own fields, then moved up to them.
         */
        char *room = e.p + 1 + 3 + 1 + 2 * NUM_MAX;
        size_t cap = it.item.data.len - it.item.data.len / 8;
        char *end = out->data + out->cap;
        size_t left = room < end ? (size_t)(end - room) : 0;
        size_t len = ln_delta_write(input, it.item.data, room, cap < left ? cap : left);
        if (len) {
            it.delta = true;
            it.full_len = it.item.data.len;
            it.item.data.len = 0;
            struct ln_enc at = e;
            write_item(&at, &it);
            at.p--; /* the length 0 that stood for the data */
            ln_enc_num(&at, len);
            memmove(at.p, room, len);
            e.p = at.p + len;
        } else {
            write_item(&e, &it);
        }
    }
    out->len = (size_t)(e.p - out->data);
    return LN_OK;
}

/* ---- outcomes, events ---------------------------------------------------------------------- */

size_t ln_record_outcome_bound(const struct ln_outcome *o)
{
    return LN_RECORD_HEAD + 1 + 16 + 4 * NUM_MAX + o->reply.len + o->reason.len;
}

size_t ln_record_outcome_write(char *at, uint16_t dest, const struct ln_outcome *o)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_enc_u8(&e, o->state);
    ln_enc_num(&e, dest);
    ln_enc_num(&e, o->tries);
    ln_enc_u64(&e, (uint64_t)o->first_us);
    ln_enc_u64(&e, (uint64_t)o->time_us);
    ln_enc_bytes(&e, o->reply);
    ln_enc_bytes(&e, o->reason);
    return (size_t)(e.p - at);
}

int ln_record_outcome_read(struct ln_span body, uint16_t *dest, struct ln_outcome *o)
{
    struct ln_dec d = ln_dec_of(body);
    o->state = ln_dec_u8(&d);
    *dest = (uint16_t)ln_dec_num(&d);
    o->tries = (uint32_t)ln_dec_num(&d);
    o->first_us = (int64_t)ln_dec_u64(&d);
    o->time_us = (int64_t)ln_dec_u64(&d);
    o->reply = ln_dec_bytes(&d);
    o->reason = ln_dec_bytes(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

size_t ln_record_event_bound(const struct ln_event *e)
{
    return LN_RECORD_HEAD + 1 + 8 + 2 * NUM_MAX + e->text.len;
}

size_t ln_record_event_write(char *at, const struct ln_event *ev)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_enc_u8(&e, ev->kind);
    ln_enc_u64(&e, (uint64_t)ev->time_us);
    ln_enc_num(&e, ev->dest);
    ln_enc_bytes(&e, ev->text);
    return (size_t)(e.p - at);
}

int ln_record_event_read(struct ln_span body, struct ln_event *ev)
{
    struct ln_dec d = ln_dec_of(body);
    ev->kind = ln_dec_u8(&d);
    ev->time_us = (int64_t)ln_dec_u64(&d);
    ev->dest = (uint16_t)ln_dec_num(&d);
    ev->text = ln_dec_bytes(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}
