#include "store/index.h"

#include <errno.h>
#include <stdlib.h>

static bool add(struct ln_tail *t, enum ln_index kind, struct ln_entry e)
{
    unsigned k = (unsigned)kind - 1;
    /* A message names a patient twice as easily as once: one entry does. */
    for (unsigned i = t->n[k]; i > 0 && t->e[k][i - 1].pos == e.pos; i--)
        if (t->e[k][i - 1].hash == e.hash)
            return true;
    if (t->n[k] == t->cap[k]) {
        unsigned cap = t->cap[k] ? t->cap[k] * 2 : LN_INDEX_BLOCK;
        struct ln_entry *p = realloc(t->e[k], cap * sizeof *p);
        if (!p)
            return false;
        t->e[k] = p;
        t->cap[k] = cap;
    }
    t->e[k][t->n[k]++] = e;
    return true;
}

bool ln_index_add(struct ln_tail *t, const uint8_t *key, uint64_t pos, const struct ln_receipt *r)
{
    struct ln_entry e = {.pos = pos};
    bool ok = true;
    if (r->control_id.len) {
        e.hash = ln_hash_sip(key, r->control_id.ptr, r->control_id.len);
        ok = add(t, LN_INDEX_CONTROL_ID, e);
    }
    for (unsigned i = 0; i < r->npatient && ok; i++) {
        if (!r->patient[i].len)
            continue;
        e.hash = ln_hash_sip(key, r->patient[i].ptr, r->patient[i].len);
        ok = add(t, LN_INDEX_PATIENT, e);
    }
    return ok;
}

static int by_hash(const void *a, const void *b)
{
    const struct ln_entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

static int write_block(struct ln_entry *e, unsigned n, struct ln_buf *out)
{
    out->len = 0;
    if (ln_buf_reserve(out, LN_RECORD_HEAD + 16 + (size_t)n * LN_INDEX_ENTRY) != LN_OK)
        return ENOMEM;
    struct ln_enc enc = {out->data};
    ln_enc_head(&enc, 0);
    ln_enc_u64(&enc, e[0].pos);
    ln_enc_u64(&enc, e[n - 1].pos);
    qsort(e, n, sizeof *e, by_hash);
    for (unsigned i = 0; i < n; i++) {
        struct ln_key k = {.len = 0};
        ln_key_u64(&k, e[i].hash);
        ln_key_u64(&k, e[i].pos);
        ln_enc_raw(&enc, ln_span((const char *)k.b, k.len));
    }
    out->len = (size_t)(enc.p - out->data);
    return 0;
}

static struct ln_key block_key(unsigned kind, uint64_t no)
{
    struct ln_key k = {.len = 0};
    ln_key_u8(&k, (uint8_t)kind);
    ln_key_u64(&k, no);
    return k;
}

/* Number of the newest block of a kind, 0 when there is none. */
static int last_block(const struct ln_env *e, MDB_txn *txn, unsigned kind, uint64_t *no)
{
    MDB_cursor *c;
    struct ln_key k = block_key(kind + 1, 0);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_open(txn, e->db[LN_DB_IDX], &c);
    if (rc)
        return rc;
    rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    rc = mdb_cursor_get(c, &key, &val, rc ? MDB_LAST : MDB_PREV);
    *no = 0;
    if (!rc && key.mv_size == 9 && *(unsigned char *)key.mv_data == kind)
        *no = ln_get_u64((char *)key.mv_data + 1);
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static MDB_val indexed_key(void)
{
    return ln_span_val(ln_span_str("indexed"));
}

int ln_index_end(const struct ln_env *e, MDB_txn *txn, uint64_t *pos)
{
    MDB_val key = indexed_key(), val;
    int rc = mdb_get(txn, e->db[LN_DB_META], &key, &val);
    *pos = 0;
    if (!rc && val.mv_size != sizeof *pos)
        return MDB_CORRUPTED;
    if (!rc)
        *pos = ln_get_u64(val.mv_data);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_index_flush(const struct ln_env *e, MDB_txn *txn, struct ln_tail *t, uint64_t end,
                   struct ln_buf *scratch)
{
    for (unsigned kind = 1; kind <= LN_INDEX_KINDS; kind++) {
        uint64_t no;
        int rc = last_block(e, txn, kind, &no);
        unsigned n = t->n[kind - 1];
        for (unsigned at = 0; !rc && at < n; at += LN_INDEX_BLOCK) {
            unsigned left = n - at;
            rc = write_block(t->e[kind - 1] + at, left < LN_INDEX_BLOCK ? left : LN_INDEX_BLOCK,
                             scratch);
            struct ln_key k = block_key(kind, ++no);
            MDB_val key = ln_key_val(&k);
            if (!rc)
                rc = ln_part_seal(txn, e->db[LN_DB_IDX], &key, ln_buf_span(scratch), 0);
        }
        if (rc)
            return rc;
        t->n[kind - 1] = 0;
    }
    struct ln_key k = ln_key_pos(end);
    MDB_val key = indexed_key(), val = ln_key_val(&k);
    return mdb_put(txn, e->db[LN_DB_META], &key, &val, 0);
}

int ln_index_open(struct ln_span rec, struct ln_index_block *b)
{
    struct ln_span body;
    uint64_t total;
    int code = ln_record_open(rec, &body, &total);
    if (code != LN_OK)
        return code;
    struct ln_dec d = ln_dec_of(body);
    b->first = ln_dec_u64(&d);
    b->last = ln_dec_u64(&d);
    b->entries = ln_dec_rest(&d);
    return d.bad || b->entries.len % LN_INDEX_ENTRY ? LN_EPARSE : LN_OK;
}

/* Whether a message of this block is still in the log. LMDB's codes. */
static int is_needed(const struct ln_env *e, MDB_txn *txn, const struct ln_index_block *b,
                     bool *needed)
{
    MDB_cursor *c;
    struct ln_key k = ln_key_pos(b->first);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_open(txn, e->db[LN_DB_LOG], &c);
    if (rc)
        return rc;
    rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    *needed = !rc && ln_get_u64(key.mv_data) <= b->last;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_index_trim(const struct ln_env *e, MDB_txn *txn)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(txn, e->db[LN_DB_IDX], &c);
    if (rc)
        return rc;
    for (unsigned kind = 1; kind <= LN_INDEX_KINDS && !rc; kind++) {
        struct ln_key k = block_key(kind, 0);
        MDB_val key = ln_key_val(&k), val;
        struct ln_index_block b;
        bool needed = true;
        rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
        if (!rc && *(unsigned char *)key.mv_data == kind &&
            ln_index_open(ln_val_span(val), &b) == LN_OK)
            rc = is_needed(e, txn, &b, &needed);
        if (!rc && !needed)
            rc = mdb_cursor_del(c, 0);
        if (rc == MDB_NOTFOUND)
            rc = 0;
    }
    mdb_cursor_close(c);
    return rc;
}

size_t ln_index_search(const struct ln_index_block *b, uint64_t hash)
{
    const char *at = b->entries.ptr;
    size_t n = b->entries.len / LN_INDEX_ENTRY, lo = 0, hi = n;
    /* Hashes are spread evenly: look near the expected place first, so that few pages are touched.
     */
    size_t guess = (size_t)((unsigned __int128)hash * n >> 64);
    for (size_t step = 64; lo < hi && step < n; step *= 4) {
        size_t left = guess > step ? guess - step : 0, right = guess + step < n ? guess + step : n;
        if (left > lo && left < hi && ln_get_u64(at + left * LN_INDEX_ENTRY) < hash)
            lo = left;
        if (right < hi && right > lo && ln_get_u64(at + right * LN_INDEX_ENTRY) >= hash)
            hi = right;
        if (hi - lo <= 2 * step)
            break;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ln_get_u64(at + mid * LN_INDEX_ENTRY) < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void ln_index_fini(struct ln_tail *t)
{
    for (unsigned k = 0; k < LN_INDEX_KINDS; k++)
        free(t->e[k]);
    *t = (struct ln_tail){0};
}
