/* Reading messages, results, outcomes, events, numbers. */
#include <stdlib.h>

#include "store/delta.h"
#include "store/reader.h"
#include "store/seal.h"

/* ---- channels ------------------------------------------------------------------------------ */

static int channel_record(struct ln_reader *r, MDB_val key, MDB_val val,
                          struct ln_channel_state *out)
{
    struct ln_span runs;
    int rc = ln_numbers_read(ln_val_span(val), ln_get_u32(key.mv_data), &r->numbers, &runs);
    *out = r->numbers.s;
    return rc;
}

int ln_read_next_channel(struct ln_reader *r, uint32_t after, struct ln_channel_state *out)
{
    MDB_cursor *c;
    MDB_val key, val;
    struct ln_key k = ln_key_chan(after + 1);
    int rc = after == UINT32_MAX ? LN_ENOTFOUND : ln_reader_cursor(r, LN_DB_CUR, &c);
    if (rc == LN_OK)
        rc = ln_reader_seek(c, &k, 0, &key, &val);
    return rc == LN_OK ? channel_record(r, key, val, out) : rc;
}

int ln_read_channel(struct ln_reader *r, uint32_t chan, struct ln_channel_state *out)
{
    struct ln_key k = ln_key_chan(chan);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(r->txn, r->env->db[LN_DB_CUR], &key, &val);
    return rc ? ln_code_from_mdb(rc) : channel_record(r, key, val, out);
}

uint32_t ln_read_channel_id(struct ln_reader *r, const char *name)
{
    struct ln_channel_state s;
    for (uint32_t id = 0; ln_read_next_channel(r, id, &s) == LN_OK; id = s.id)
        if (strcmp(s.name, name) == 0)
            return s.id;
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------ */

static int receipt_at(struct ln_reader *r, uint64_t pos, struct ln_receipt *out)
{
    struct ln_span body;
    int rc = ln_reader_body(r, (struct ln_at){.db = LN_DB_LOG, .pos = pos}, &body);
    if (rc == LN_OK)
        rc = ln_record_receipt_read(body, out);
    return rc;
}

/* The channel's map says that it stands there; the message itself has the last word. */
static int message_at(struct ln_reader *r, uint32_t chan, uint64_t seq, uint64_t pos,
                      struct ln_receipt *out)
{
    int rc = receipt_at(r, pos, out);
    return rc == LN_OK && (out->chan != chan || out->seq != seq) ? LN_EPARSE : rc;
}

int ln_read_receipt(struct ln_reader *r, uint32_t chan, uint64_t seq, struct ln_receipt *out)
{
    uint64_t pos;
    int rc = ln_reader_at(r, chan, seq, &pos);
    return rc == LN_OK ? message_at(r, chan, seq, pos, out) : rc;
}

int ln_read_receipt_from(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_receipt *out)
{
    uint64_t pos;
    int rc = ln_reader_from(r, chan, seq, &pos);
    return rc == LN_OK ? message_at(r, chan, *seq, pos, out) : rc;
}

int ln_read_receipt_back(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_receipt *out)
{
    uint64_t pos;
    int rc = ln_reader_back(r, chan, seq, &pos);
    return rc == LN_OK ? message_at(r, chan, *seq, pos, out) : rc;
}

static int time_at(struct ln_reader *r, uint64_t pos, int64_t *t)
{
    struct ln_span body;
    int rc = ln_part_peek(r->env, r->txn, (struct ln_at){.db = LN_DB_LOG, .pos = pos}, &body);
    return rc == LN_OK ? ln_record_receipt_time(body, t) : rc;
}

/* Only the time: for the binary search. */
static int time_from(struct ln_reader *r, uint32_t chan, uint64_t *seq, int64_t *t)
{
    uint64_t pos;
    int rc = ln_reader_from(r, chan, seq, &pos);
    return rc == LN_OK ? time_at(r, pos, t) : rc;
}

int ln_read_seq_at(struct ln_reader *r, uint32_t chan, int64_t time_us, uint64_t *seq)
{
    struct ln_channel_state s;
    int64_t t;
    int rc = ln_read_channel(r, chan, &s);
    if (rc != LN_OK)
        return rc;
    uint64_t lo = s.first_seq, hi = s.next_seq; /* the answer lies in [lo, hi] */
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2, at = mid;
        rc = time_from(r, chan, &at, &t);
        if (rc != LN_OK && rc != LN_ENOTFOUND)
            return rc;
        if (rc == LN_ENOTFOUND || t >= time_us)
            hi = mid;
        else
            lo = at + 1;
    }
    *seq = lo;
    return time_from(r, chan, seq, &t);
}

/* ---- results ------------------------------------------------------------------------------- */

/* The bytes of an item that was kept as a difference. */
static int rebuild(struct ln_reader *r, uint64_t pos, struct ln_stored_item *it)
{
    struct ln_receipt in;
    if (!it->delta)
        return LN_OK;
    int rc = receipt_at(r, pos, &in);
    if (rc != LN_OK)
        return rc == LN_ENOTFOUND ? LN_EPARSE : rc;
    /* One literal byte or a copy needs bytes of its own in the record; a copy is never longer than
     * the input: no length can make us allocate without bound. */
    if (it->full_len > it->item.data.len * (in.raw.len + 1))
        return LN_EPARSE;
    char *to = ln_reader_alloc(r, it->full_len);
    if (!to)
        return LN_ENOMEM;
    rc = ln_delta_read(in.raw, it->item.data, to, it->full_len);
    it->item.data = ln_span(to, it->full_len);
    return rc;
}

static int open_result(struct ln_reader *r, uint64_t pos, struct ln_dec *d, struct ln_processed *p)
{
    struct ln_span body;
    int rc = ln_reader_body(r, (struct ln_at){.db = LN_DB_RES, .pos = pos}, &body);
    if (rc != LN_OK)
        return rc;
    *d = ln_dec_of(body);
    return ln_record_result_read(d, p);
}

int ln_read_result(struct ln_reader *r, uint32_t chan, uint64_t seq, struct ln_processed *p)
{
    struct ln_dec d;
    uint64_t pos;
    int rc = ln_reader_at(r, chan, seq, &pos);
    if (rc == LN_OK)
        rc = open_result(r, pos, &d, p);
    if (rc == LN_OK && p->nitems > r->items_cap) {
        struct ln_item *items = realloc(r->items, p->nitems * sizeof *items);
        if (!items)
            return LN_ENOMEM;
        r->items = items;
        r->items_cap = p->nitems;
    }
    for (uint32_t i = 0; rc == LN_OK && i < p->nitems; i++) {
        struct ln_stored_item it;
        rc = ln_record_item_read(&d, &it);
        if (rc == LN_OK)
            rc = rebuild(r, pos, &it);
        r->items[i] = it.item;
    }
    p->items = r->items;
    return rc;
}

int ln_read_state(struct ln_reader *r, uint32_t chan, uint64_t seq, uint8_t *state)
{
    struct ln_dec d;
    struct ln_processed p;
    uint64_t pos;
    int rc = ln_reader_at(r, chan, seq, &pos);
    if (rc == LN_OK)
        rc = open_result(r, pos, &d, &p);
    if (rc == LN_OK)
        *state = p.state;
    return rc;
}

/* Item n of a result. */
static int item_at(struct ln_dec d, const struct ln_processed *p, uint32_t n,
                   struct ln_stored_item *it)
{
    int rc = n < p->nitems ? LN_OK : LN_ENOTFOUND;
    for (uint32_t i = 0; rc == LN_OK && i <= n; i++)
        rc = ln_record_item_read(&d, it);
    return rc;
}

static int output_bytes(struct ln_reader *r, uint64_t pos, struct ln_dec d,
                        const struct ln_processed *p, struct ln_stored_item *it,
                        struct ln_span *out)
{
    struct ln_receipt in;
    int rc = LN_OK;
    if (it->item.kind == LN_I_SAME)
        rc = item_at(d, p, it->item.same, it);
    if (rc != LN_OK)
        return rc;
    switch (it->item.kind) {
    case LN_I_BYTES:
        rc = rebuild(r, pos, it);
        *out = it->item.data;
        return rc;
    case LN_I_INPUT:
        rc = receipt_at(r, pos, &in);
        if (rc == LN_OK)
            *out = in.raw;
        return rc;
    default: return LN_ENOTFOUND; /* nothing that is delivered */
    }
}

int ln_read_output(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t n,
                   struct ln_span *out)
{
    struct ln_processed p;
    struct ln_stored_item it;
    struct ln_dec d;
    uint64_t pos;
    int rc = ln_reader_at(r, chan, seq, &pos);
    if (rc == LN_OK)
        rc = open_result(r, pos, &d, &p);
    if (rc == LN_OK)
        rc = item_at(d, &p, n, &it);
    return rc == LN_OK ? output_bytes(r, pos, d, &p, &it, out) : rc;
}

/* First output for dest at or behind number `n` of this result; LN_ENOTFOUND = none. */
static int find_output(struct ln_dec d, const struct ln_processed *p, uint16_t dest, uint32_t *n,
                       struct ln_stored_item *it)
{
    for (uint32_t i = 0; i < p->nitems; i++) {
        int rc = ln_record_item_read(&d, it);
        if (rc != LN_OK)
            return rc;
        if (i >= *n && it->item.dest == dest && it->item.kind <= LN_I_SAME) {
            *n = i;
            return LN_OK;
        }
    }
    return LN_ENOTFOUND;
}

int ln_read_next_output(struct ln_reader *r, uint32_t chan, uint16_t dest, struct ln_pos *pos,
                        struct ln_span *bytes, int64_t *received_us)
{
    uint64_t seq = pos->seq, at;
    int rc = ln_reader_from(r, chan, &seq, &at);
    for (int looked = 0; rc == LN_OK; looked++) {
        struct ln_processed p;
        struct ln_stored_item it;
        struct ln_dec d;
        if (seq != pos->seq)
            *pos = (struct ln_pos){seq, 0};
        if (looked == 1000)
            return LN_EAGAIN;
        if ((rc = open_result(r, at, &d, &p)) != LN_OK)
            return rc; /* not processed yet: nor is what follows */
        rc = find_output(d, &p, dest, &pos->n, &it);
        if (rc == LN_OK) {
            rc = time_at(r, at, received_us);
            return rc == LN_OK ? output_bytes(r, at, d, &p, &it, bytes) : rc;
        }
        if (rc != LN_ENOTFOUND)
            return rc;
        seq++;
        rc = ln_reader_from(r, chan, &seq, &at);
    }
    return rc;
}

/* ---- what belongs to a message ------------------------------------------------------------- */

int ln_read_outcome(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t n,
                    struct ln_outcome *out)
{
    struct ln_span body;
    uint16_t dest;
    struct ln_at at = {.db = LN_DB_OUT, .n = n};
    int rc = ln_reader_at(r, chan, seq, &at.pos);
    if (rc == LN_OK)
        rc = ln_reader_body(r, at, &body);
    return rc == LN_OK ? ln_record_outcome_read(body, &dest, out) : rc;
}

int ln_read_event(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t *i,
                  struct ln_event *out)
{
    struct ln_span body;
    struct ln_at at = {.db = LN_DB_EV, .n = *i};
    int rc = ln_reader_at(r, chan, seq, &at.pos);
    if (rc == LN_OK)
        rc = ln_reader_body(r, at, &body);
    if (rc == LN_OK && (rc = ln_record_event_read(body, out)) == LN_OK)
        ++*i;
    return rc;
}

/* The key behind that of a pair's name; all pairs of the channel at first (name ""). */
static int behind_kv(struct ln_reader *r, uint32_t chan, struct ln_span name, char *to, size_t *len)
{
    struct ln_key k = ln_key_chan(chan);
    int rc = LN_OK;
    if (chan & LN_KV_SEALED && name.len)
        rc = ln_seal_name(r->plain.seal, r->txn, chan & ~LN_KV_SEALED, name, &k);
    memcpy(to, k.b, k.len);
    if (!(chan & LN_KV_SEALED) && name.len)
        memcpy(to + k.len, name.ptr, name.len);
    *len = k.len + (chan & LN_KV_SEALED ? 0 : name.len);
    if (name.len)
        to[(*len)++] = 0; /* the next possible one */
    return rc;
}

int ln_read_kv_next(struct ln_reader *r, uint32_t chan, struct ln_span *key, struct ln_span *value)
{
    char b[4 + 400 + 1];
    MDB_cursor *c;
    uint64_t total;
    size_t len;
    uint32_t owner = ln_env_sealed(r->env, r->txn) ? chan | LN_KV_SEALED : chan;
    if (key->len > sizeof b - 5)
        return LN_ETOOBIG;
    int rc = behind_kv(r, owner, *key, b, &len);
    if (rc == LN_OK)
        rc = ln_reader_cursor(r, LN_DB_KV, &c);
    if (rc != LN_OK)
        return rc;
    MDB_val at = {len, b}, val;
    int m = mdb_cursor_get(c, &at, &val, MDB_SET_RANGE);
    if (m || ln_get_u32(at.mv_data) != owner)
        return m ? ln_code_from_mdb(m) : LN_ENOTFOUND;
    rc = ln_part_open(r->txn, &r->plain, LN_DB_KV, at, val, value, &total);
    *key = ln_span((const char *)at.mv_data + 4, at.mv_size - 4);
    if (rc == LN_OK && owner != chan) {
        struct ln_dec d = ln_dec_of(*value);
        *key = ln_dec_bytes(&d);
        *value = ln_dec_rest(&d);
        rc = d.bad ? LN_EPARSE : LN_OK;
    }
    return rc;
}

int ln_read_next_parked(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint32_t *n)
{
    MDB_cursor *c;
    MDB_val key, val;
    bool first = *seq == 0;
    if (!first && ++*n == 0) /* behind LN_WHOLE comes the next message */
        ++*seq;
    struct ln_key k = ln_key_parked(chan, *seq, first ? 0 : *n);
    int rc = ln_reader_cursor(r, LN_DB_PARKED, &c);
    if (rc == LN_OK)
        rc = ln_reader_seek(c, &k, 4, &key, &val);
    if (rc == LN_OK) {
        *seq = ln_get_u64((const char *)key.mv_data + 4);
        *n = ln_get_u32((const char *)key.mv_data + 12);
    }
    return rc;
}
