#include "store/map.h"

#include <errno.h>

enum { RUN_MAX = 30 }; /* three numbers */

/* ---- runs ---------------------------------------------------------------------------------- */

bool ln_map_next(struct ln_dec *d, struct ln_run *r)
{
    if (d->bad || d->p == d->end)
        return false;
    r->seq += r->n + ln_dec_num(d);
    r->pos += r->n + ln_dec_num(d);
    r->n = ln_dec_num(d);
    d->bad |= r->n == 0;
    return !d->bad;
}

static void put_run(struct ln_buf *b, const struct ln_run *before, const struct ln_run *r)
{
    struct ln_enc e = {b->data + b->len};
    ln_enc_num(&e, r->seq - (before->seq + before->n));
    ln_enc_num(&e, r->pos - (before->pos + before->n));
    ln_enc_num(&e, r->n);
    b->len = (size_t)(e.p - b->data);
}

int ln_map_add(struct ln_map *m, uint64_t seq, uint64_t pos)
{
    if (ln_buf_reserve(&m->runs, RUN_MAX) != LN_OK)
        return LN_ENOMEM;
    if (m->last.n && seq == m->last.seq + m->last.n && pos == m->last.pos + m->last.n) {
        m->last.n++;
        m->runs.len = m->last_at;
    } else {
        m->before = m->last;
        m->last = (struct ln_run){seq, pos, 1};
        m->last_at = m->runs.len;
        m->nruns++;
    }
    put_run(&m->runs, &m->before, &m->last);
    m->messages++;
    return LN_OK;
}

static void empty(struct ln_map *m)
{
    struct ln_buf runs = m->runs;
    runs.len = 0;
    *m = (struct ln_map){.runs = runs};
}

int ln_map_set(struct ln_map *m, struct ln_span runs)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0};
    empty(m);
    if (ln_buf_add_span(&m->runs, runs) != LN_OK)
        return LN_ENOMEM;
    for (const unsigned char *at = d.p; ln_map_next(&d, &r); at = d.p) {
        m->before = m->last;
        m->last = r;
        m->last_at = (size_t)((const char *)at - runs.ptr);
        m->messages += (unsigned)r.n;
        m->nruns++;
    }
    return d.bad ? LN_EPARSE : LN_OK;
}

void ln_map_fini(struct ln_map *m)
{
    ln_buf_fini(&m->runs);
    *m = (struct ln_map){.nruns = 0};
}

/* What is left of runs without the messages [from, to). */
static int without(struct ln_span runs, uint64_t from, uint64_t to, struct ln_buf *out)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0}, before = {0};
    while (ln_map_next(&d, &r)) {
        uint64_t end = r.seq + r.n;
        struct ln_run front = r, back = r;
        front.n = from <= r.seq ? 0 : from < end ? from - r.seq : r.n;
        uint64_t skip = to <= r.seq ? 0 : to < end ? to - r.seq : r.n;
        back = (struct ln_run){r.seq + skip, r.pos + skip, r.n - skip};
        if (ln_buf_reserve(out, 2 * RUN_MAX) != LN_OK)
            return LN_ENOMEM;
        if (front.n == r.n || back.n == r.n) {
            put_run(out, &before, &r);
            before = r;
            continue;
        }
        if (front.n) {
            put_run(out, &before, &front);
            before = front;
        }
        if (back.n) {
            put_run(out, &before, &back);
            before = back;
        }
    }
    return d.bad ? LN_EPARSE : LN_OK;
}

static int from_in(struct ln_span runs, uint64_t *seq, uint64_t *pos)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0};
    while (ln_map_next(&d, &r)) {
        if (r.seq + r.n <= *seq)
            continue;
        if (r.seq > *seq)
            *seq = r.seq;
        *pos = r.pos + (*seq - r.seq);
        return LN_OK;
    }
    return d.bad ? LN_EPARSE : LN_ENOTFOUND;
}

static int back_in(struct ln_span runs, uint64_t *seq, uint64_t *pos)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0}, hit = {0};
    while (ln_map_next(&d, &r) && r.seq <= *seq)
        hit = r;
    if (d.bad || hit.n == 0)
        return d.bad ? LN_EPARSE : LN_ENOTFOUND;
    if (*seq >= hit.seq + hit.n)
        *seq = hit.seq + hit.n - 1;
    *pos = hit.pos + (*seq - hit.seq);
    return LN_OK;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static bool of_chan(const MDB_val *key, uint32_t chan)
{
    return key->mv_size == 12 && ln_get_u32(key->mv_data) == chan;
}

/* The block that would hold `seq`: the last one whose key is not above. LMDB's codes. */
static int block_of(MDB_cursor *cur, uint32_t chan, uint64_t seq, MDB_val *key, MDB_val *val)
{
    struct ln_key k = ln_key_msg(chan, seq);
    *key = ln_key_val(&k);
    int rc = mdb_cursor_get(cur, key, val, MDB_SET_RANGE);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (rc || key->mv_size != k.len || memcmp(key->mv_data, k.b, k.len) != 0)
        rc = mdb_cursor_get(cur, key, val, rc ? MDB_LAST : MDB_PREV);
    return !rc && !of_chan(key, chan) ? MDB_NOTFOUND : rc;
}

static int runs_of(MDB_val val, struct ln_span *runs)
{
    uint64_t total;
    return ln_record_open(ln_val_span(val), runs, &total);
}

static bool head(struct ln_buf *out, size_t more)
{
    if (ln_buf_reserve(out, LN_RECORD_HEAD + more) != LN_OK)
        return false;
    struct ln_enc e = {out->data};
    ln_enc_head(&e, 0);
    out->len = LN_RECORD_HEAD;
    return true;
}

int ln_map_flush(const struct ln_env *e, MDB_txn *txn, uint32_t chan, struct ln_map *m)
{
    struct ln_dec d = ln_dec_of(ln_buf_span(&m->runs));
    struct ln_run first = {0};
    if (!ln_map_next(&d, &first))
        return 0;
    struct ln_key k = ln_key_msg(chan, first.seq);
    MDB_val key = ln_key_val(&k);
    struct ln_buf rec = {0};
    int rc = head(&rec, m->runs.len) ? 0 : ENOMEM;
    if (!rc && ln_buf_add_span(&rec, ln_buf_span(&m->runs)) != LN_OK)
        rc = ENOMEM;
    if (!rc)
        rc = ln_part_seal(e, txn, LN_DB_MAP, &key, ln_buf_span(&rec), 0);
    ln_buf_fini(&rec);
    if (!rc)
        empty(m);
    return rc;
}

/* Rewrites the block at the cursor. LMDB's codes. */
static int shrink(const struct ln_env *e, MDB_cursor *cur, MDB_val key, MDB_val val, uint64_t from,
                  uint64_t to)
{
    struct ln_span runs;
    struct ln_buf out = {0};
    struct ln_key k = {.len = key.mv_size};
    memcpy(k.b, key.mv_data, k.len);
    if (!head(&out, 0))
        return ENOMEM;
    int rc = runs_of(val, &runs) != LN_OK ? MDB_CORRUPTED : 0;
    if (!rc) {
        int code = without(runs, from, to, &out);
        rc = code == LN_OK ? 0 : code == LN_ENOMEM ? ENOMEM : MDB_CORRUPTED;
    }
    bool same = !rc && out.len == LN_RECORD_HEAD + runs.len &&
                memcmp(out.data + LN_RECORD_HEAD, runs.ptr, runs.len) == 0;
    if (!rc && out.len == LN_RECORD_HEAD) {
        rc = mdb_cursor_del(cur, 0);
    } else if (!rc && !same) {
        key = ln_key_val(&k);
        rc = ln_part_seal(e, mdb_cursor_txn(cur), LN_DB_MAP, &key, ln_buf_span(&out), 0);
    }
    ln_buf_fini(&out);
    return rc;
}

int ln_map_drop(const struct ln_env *e, MDB_cursor *cur, uint32_t chan, struct ln_map *tail,
                uint64_t from, uint64_t to)
{
    MDB_val key, val;
    struct ln_buf out = {0};
    int rc = block_of(cur, chan, from, &key, &val);
    if (!rc)
        rc = shrink(e, cur, key, val, from, to);
    for (uint64_t next = from + 1; !rc || rc == MDB_NOTFOUND;) {
        struct ln_key k = ln_key_msg(chan, next);
        key = ln_key_val(&k);
        rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
        if (rc || !of_chan(&key, chan) || ln_get_u64((char *)key.mv_data + 4) >= to)
            break;
        next = ln_get_u64((char *)key.mv_data + 4) + 1;
        rc = shrink(e, cur, key, val, from, to);
    }
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (tail->nruns == 0 || tail->last.seq + tail->last.n <= from)
        return 0;
    int code = without(ln_buf_span(&tail->runs), from, to, &out);
    if (code == LN_OK)
        code = ln_map_set(tail, ln_buf_span(&out));
    ln_buf_fini(&out);
    return code == LN_OK ? 0 : code == LN_ENOMEM ? ENOMEM : MDB_CORRUPTED;
}

/* ---- looking up ---------------------------------------------------------------------------- */

int ln_map_from(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t *seq, uint64_t *pos)
{
    MDB_val key, val;
    struct ln_span runs;
    int rc = block_of(cur, chan, *seq, &key, &val);
    int code = rc ? ln_code_from_mdb(rc) : runs_of(val, &runs);
    if (code == LN_OK)
        code = from_in(runs, seq, pos);
    if (code != LN_ENOTFOUND || *seq == UINT64_MAX)
        return code;
    struct ln_key k = ln_key_msg(chan, *seq + 1);
    key = ln_key_val(&k);
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    if (rc && rc != MDB_NOTFOUND)
        return ln_code_from_mdb(rc);
    if (rc || !of_chan(&key, chan))
        return from_in(tail, seq, pos);
    code = runs_of(val, &runs);
    return code == LN_OK ? from_in(runs, seq, pos) : code;
}

int ln_map_at(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t seq, uint64_t *pos)
{
    uint64_t found = seq;
    MDB_val key, val;
    struct ln_span runs;
    int code = back_in(tail, &found, pos); /* most are asked for soon after they came */
    if (code == LN_ENOTFOUND) {
        int rc = block_of(cur, chan, seq, &key, &val);
        code = rc ? ln_code_from_mdb(rc) : runs_of(val, &runs);
        if (code == LN_OK)
            code = back_in(runs, &found, pos);
    }
    return code == LN_OK && found != seq ? LN_ENOTFOUND : code;
}

int ln_map_back(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t *seq, uint64_t *pos)
{
    MDB_val key, val;
    struct ln_span runs;
    int code = back_in(tail, seq, pos);
    if (code != LN_ENOTFOUND)
        return code;
    int rc = block_of(cur, chan, *seq, &key, &val);
    while (!rc) { /* what a block had at its front may have been trimmed */
        if ((code = runs_of(val, &runs)) != LN_OK ||
            (code = back_in(runs, seq, pos)) != LN_ENOTFOUND)
            return code;
        rc = mdb_cursor_get(cur, &key, &val, MDB_PREV);
        if (!rc && !of_chan(&key, chan))
            rc = MDB_NOTFOUND;
    }
    return ln_code_from_mdb(rc);
}

static int count_before(struct ln_span runs, uint64_t pos, uint64_t *n)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0};
    while (ln_map_next(&d, &r))
        if (r.pos < pos)
            *n += pos - r.pos < r.n ? pos - r.pos : r.n;
    return d.bad ? LN_EPARSE : LN_OK;
}

int ln_map_before(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t pos, uint64_t *n)
{
    struct ln_key k = ln_key_msg(chan, 0);
    MDB_val key = ln_key_val(&k), val;
    struct ln_span runs;
    int code = count_before(tail, pos, n);
    int rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; code == LN_OK && !rc && of_chan(&key, chan);
         rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        code = runs_of(val, &runs);
        if (code == LN_OK)
            code = count_before(runs, pos, n);
    }
    return code != LN_OK || !rc || rc == MDB_NOTFOUND ? code : ln_code_from_mdb(rc);
}
