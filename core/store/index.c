#include "store/index.h"
#include "store/seal.h"

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

int ln_index_hash(const struct ln_env *e, MDB_txn *txn, struct ln_seal *seal, unsigned kind,
                  struct ln_span id, uint64_t *hash)
{
    if (seal)
        return ln_seal_hash(seal, txn, kind, id, hash);
    *hash = ln_hash_sip(e->hash_key, id.ptr, id.len);
    return LN_OK;
}

int ln_index_add(struct ln_tail *t, const struct ln_env *e, MDB_txn *txn, struct ln_seal *seal,
                 uint64_t pos, const struct ln_receipt *r)
{
    struct ln_entry en = {.pos = pos};
    int rc = LN_OK;
    if (r->control_id.len) {
        rc = ln_index_hash(e, txn, seal, LN_INDEX_CONTROL_ID, r->control_id, &en.hash);
        if (rc == LN_OK && !add(t, LN_INDEX_CONTROL_ID, en))
            rc = LN_ENOMEM;
    }
    for (unsigned i = 0; i < r->npatient && rc == LN_OK; i++) {
        if (!r->patient[i].len)
            continue;
        rc = ln_index_hash(e, txn, seal, LN_INDEX_PATIENT, r->patient[i], &en.hash);
        if (rc == LN_OK && !add(t, LN_INDEX_PATIENT, en))
            rc = LN_ENOMEM;
    }
    return rc;
}

static int by_hash(const void *a, const void *b)
{
    const struct ln_entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

int ln_index_put(const struct ln_env *e, MDB_txn *txn, struct ln_key k, struct ln_span entries,
                 struct ln_buf *scratch)
{
    uint64_t first = entries.len ? UINT64_MAX : 0, last = 0;
    for (size_t i = 0; i < entries.len; i += LN_INDEX_ENTRY) {
        uint64_t pos = ln_get_u64(entries.ptr + i + 8);
        first = pos < first ? pos : first;
        last = pos > last ? pos : last;
    }
    scratch->len = 0;
    if (ln_buf_reserve(scratch, LN_RECORD_HEAD + 16 + entries.len) != LN_OK)
        return ENOMEM;
    struct ln_enc enc = {scratch->data};
    ln_enc_head(&enc, 0);
    ln_enc_u64(&enc, first);
    ln_enc_u64(&enc, last);
    ln_enc_raw(&enc, entries);
    MDB_val key = ln_key_val(&k);
    return ln_part_seal(e, txn, LN_DB_IDX, &key,
                        ln_span(scratch->data, (size_t)(enc.p - scratch->data)), 0);
}

static int write_block(const struct ln_env *e, MDB_txn *txn, struct ln_key k, struct ln_entry *at,
                       unsigned n, struct ln_buf *scratch)
{
    struct ln_buf raw = {0};
    if (ln_buf_reserve(&raw, (size_t)n * LN_INDEX_ENTRY) != LN_OK)
        return ENOMEM;
    struct ln_enc enc = {raw.data};
    qsort(at, n, sizeof *at, by_hash);
    for (unsigned i = 0; i < n; i++) {
        struct ln_key entry = ln_key_pos(at[i].hash);
        ln_key_u64(&entry, at[i].pos);
        ln_enc_raw(&enc, ln_span((const char *)entry.b, entry.len));
    }
    int rc = ln_index_put(e, txn, k, ln_span(raw.data, (size_t)n * LN_INDEX_ENTRY), scratch);
    ln_buf_fini(&raw);
    return rc;
}

static MDB_val indexed_key(void)
{
    return ln_span_val(ln_span_str("indexed"));
}

int ln_index_state(const struct ln_env *e, MDB_txn *txn, struct ln_index_state *st)
{
    MDB_val key = indexed_key(), val;
    int rc = mdb_get(txn, e->db[LN_DB_META], &key, &val);
    *st = (struct ln_index_state){.end = 0};
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (val.mv_size != 8 + 8 * LN_INDEX_KINDS)
        return MDB_CORRUPTED;
    st->end = ln_get_u64(val.mv_data);
    for (unsigned i = 0; i < LN_INDEX_KINDS; i++)
        st->blocks[i] = ln_get_u64((char *)val.mv_data + 8 + 8 * i);
    return 0;
}

int ln_index_flush(const struct ln_env *e, MDB_txn *txn, struct ln_tail *t, uint64_t end,
                   struct ln_buf *scratch)
{
    struct ln_index_state st;
    int rc = ln_index_state(e, txn, &st);
    struct ln_key k = ln_key_pos(end);
    for (unsigned i = 0; i < LN_INDEX_KINDS && !rc; i++) {
        unsigned n = t->n[i];
        for (unsigned at = 0; !rc && at < n; at += LN_INDEX_BLOCK) {
            unsigned left = n - at;
            rc = write_block(e, txn, ln_index_key(i + 1, 0, st.blocks[i]++, 0), t->e[i] + at,
                             left < LN_INDEX_BLOCK ? left : LN_INDEX_BLOCK, scratch);
        }
        t->n[i] = 0;
        ln_key_u64(&k, st.blocks[i]);
    }
    MDB_val key = indexed_key(), val = ln_key_val(&k);
    return rc ? rc : mdb_put(txn, e->db[LN_DB_META], &key, &val, 0);
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

/* Drops up to DROP of the oldest blocks of a level. */
static int trim_level(const struct ln_env *e, MDB_txn *txn, MDB_cursor *c, unsigned kind,
                      unsigned level)
{
    enum { DROP = 4 };
    int rc = 0;
    for (unsigned i = 0; i < DROP && !rc; i++) {
        struct ln_key k = ln_index_key(kind, level, 0, 0);
        MDB_val key = ln_key_val(&k), val;
        struct ln_index_block b;
        bool needed = true;
        rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
        if (rc || memcmp(key.mv_data, k.b, 2) != 0 ||
            ln_index_open(ln_val_span(val), &b) != LN_OK ||
            (rc = is_needed(e, txn, &b, &needed)) != 0 || needed)
            break;
        rc = mdb_cursor_del(c, 0);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_index_trim(const struct ln_env *e, MDB_txn *txn)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(txn, e->db[LN_DB_IDX], &c);
    if (rc)
        return rc;
    for (unsigned kind = 1; kind <= LN_INDEX_KINDS; kind++)
        for (unsigned level = 0; level < LN_INDEX_LEVELS && !rc; level++)
            rc = trim_level(e, txn, c, kind, level);
    mdb_cursor_close(c);
    return rc;
}

size_t ln_index_search(const struct ln_index_block *b, unsigned level, uint64_t hash)
{
    const char *at = b->entries.ptr;
    size_t n = b->entries.len / LN_INDEX_ENTRY, lo = 0, hi = n;
    /* Hashes are spread evenly: look near the expected place first, so that few pages are touched.
     */
    size_t guess = (size_t)((unsigned __int128)(hash << (4 * level)) * n >> 64);
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
