/* Look-up by control id and patient id. Newest first: the part of the log that is not indexed yet,
 * then the blocks. Every hit is checked against the receipt. */
#include <stdlib.h>

#include "store/index.h"
#include "store/reader.h"
#include "store/recent.h"
#include "store/seal.h"

struct hit {
    struct ln_found at;
    int64_t time;
};

struct search {
    struct ln_reader *r;
    enum ln_index index;
    uint32_t chan; /* 0 = all */
    struct ln_span key;
    uint64_t hash; /* that is looked for now */
    uint64_t hashes[2]; /* of messages that are encrypted, of those in clear */
    unsigned nhashes;
    struct ln_index_state st;
    struct hit *hits; /* of the part that is being looked at */
    size_t nhits, cap;
};

static bool names(const struct search *s, const struct ln_receipt *r)
{
    if (s->index == LN_INDEX_CONTROL_ID)
        return ln_span_eq(r->control_id, s->key);
    for (unsigned i = 0; i < r->npatient; i++)
        if (ln_span_eq(r->patient[i], s->key))
            return true;
    return false;
}

/* Adds the message if it is one that is looked for. */
static int check(struct search *s, uint64_t pos, struct ln_span rec)
{
    struct ln_receipt r;
    struct ln_span body;
    uint64_t total;
    int rc = ln_record_open(rec, &body, &total);
    if (rc == LN_OK && (rc = ln_record_receipt_read(body, &r)) != LN_OK && total > body.len) {
        /* cut within its fields: unusually long ones */
        rc = ln_reader_body(s->r, (struct ln_at){.db = LN_DB_LOG, .pos = pos}, &body);
        if (rc == LN_OK)
            rc = ln_record_receipt_read(body, &r);
    }
    if (rc != LN_OK || (s->chan && r.chan != s->chan) || !names(s, &r))
        return rc;
    if (s->nhits == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct hit *p = realloc(s->hits, cap * sizeof *p);
        if (!p)
            return LN_ENOMEM;
        s->hits = p;
        s->cap = cap;
    }
    s->hits[s->nhits++] = (struct hit){{r.chan, r.seq}, r.time_us};
    return LN_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->time != y->time)
        return x->time > y->time ? -1 : 1;
    if (x->at.seq != y->at.seq)
        return x->at.seq > y->at.seq ? -1 : 1;
    return x->at.chan < y->at.chan ? -1 : x->at.chan > y->at.chan;
}

/* Hands over the hits of a part, newest first. */
static void give(struct search *s, struct ln_found *found, unsigned max, unsigned *n)
{
    if (s->nhits > 1)
        qsort(s->hits, s->nhits, sizeof *s->hits, newest_first);
    for (size_t i = 0; i < s->nhits && *n < max; i++)
        found[(*n)++] = s->hits[i].at;
    s->nhits = 0;
}

/* The message at a place, if it is (still, or already) in the log. */
static int check_at(struct search *s, uint64_t pos)
{
    struct ln_key k = ln_key_pos(pos);
    MDB_val key = ln_key_val(&k), val;
    int m = mdb_get(s->r->txn, s->r->env->db[LN_DB_LOG], &key, &val);
    return m == 0              ? check(s, pos, ln_val_span(val))
           : m == MDB_NOTFOUND ? LN_OK
                               : ln_code_from_mdb(m);
}

/* What the engine has in memory of the unindexed part; *end: from where on it must be read. */
static int scan_recent(struct search *s, uint64_t *end)
{
    uint64_t *pos, upto = UINT64_MAX, base = s->st.end;
    unsigned n;
    int rc = LN_OK;
    for (unsigned h = 0; h < s->nhashes && rc == LN_OK; h++) {
        uint64_t last;
        rc = ln_recent_find(s->r->env->recent, s->index, s->hashes[h], base, &pos, &n, &last);
        if (rc != LN_OK)
            return rc;
        upto = last < upto ? last : upto;
        for (unsigned i = 0; i < n && rc == LN_OK; i++)
            if (pos[i] < upto)
                rc = check_at(s, pos[i]);
        free(pos);
    }
    *end = upto;
    return rc;
}

static int scan_tail(struct search *s)
{
    MDB_cursor *c;
    MDB_val key, val;
    uint64_t from = s->st.end;
    int m, rc = ln_reader_cursor(s->r, LN_DB_LOG, &c);
    if (rc == LN_OK && s->r->env->recent && (rc = scan_recent(s, &from)) == LN_EAGAIN) {
        s->nhits = 0; /* of the first hash, before a commit made it useless: read all */
        rc = LN_OK;
    }
    if (rc != LN_OK)
        return rc;
    struct ln_key k = ln_key_pos(from);
    m = ln_reader_seek(c, &k, 0, &key, &val);
    while (m == LN_OK && rc == LN_OK) {
        rc = check(s, ln_get_u64(key.mv_data), ln_val_span(val));
        m = ln_code_from_mdb(mdb_cursor_get(c, &key, &val, MDB_NEXT));
    }
    return rc;
}

static int scan_block(struct search *s, unsigned level, struct ln_span rec)
{
    struct ln_index_block b;
    int rc = ln_index_open(rec, &b);
    if (rc != LN_OK)
        return rc;
    size_t n = b.entries.len / LN_INDEX_ENTRY;
    for (size_t i = ln_index_search(&b, level, s->hash); rc == LN_OK && i < n; i++) {
        const char *e = b.entries.ptr + i * LN_INDEX_ENTRY;
        if (ln_get_u64(e) != s->hash)
            break;
        rc = check_at(s, ln_get_u64(e + 8));
    }
    return rc;
}

/* A run, newest first: its own part of the hash, or what is below it. */
static int scan_run(struct search *s, unsigned level, uint64_t run, struct ln_found *found,
                    unsigned max, unsigned *n)
{
    struct ln_key k = ln_index_key(s->index, level, run, ln_index_part(level, s->hash));
    MDB_val key = ln_key_val(&k), val;
    int m = mdb_get(s->r->txn, s->r->env->db[LN_DB_IDX], &key, &val), rc = LN_OK;
    if (!m) {
        rc = scan_block(s, level, ln_val_span(val));
        give(s, found, max, n);
    } else if (m != MDB_NOTFOUND) {
        return ln_code_from_mdb(m);
    }
    for (unsigned i = LN_INDEX_FAN; m && level && i-- > 0 && rc == LN_OK && *n < max;)
        rc = scan_run(s, level - 1, run * LN_INDEX_FAN + i, found, max, n);
    return rc;
}

/* The oldest run of the highest level that anything of this kind is left of. */
static int oldest_run(struct search *s, uint64_t *run)
{
    MDB_cursor *c;
    int rc = ln_reader_cursor(s->r, LN_DB_IDX, &c);
    *run = UINT64_MAX;
    for (unsigned level = 0; level < LN_INDEX_LEVELS && rc == LN_OK; level++) {
        MDB_val key, val;
        struct ln_key k = ln_index_key(s->index, level, 0, 0);
        rc = ln_reader_seek(c, &k, 2, &key, &val);
        uint64_t top =
            rc ? UINT64_MAX
               : ln_get_u64((char *)key.mv_data + 2) >> (4 * (LN_INDEX_LEVELS - 1 - level));
        *run = top < *run ? top : *run;
        rc = rc == LN_ENOTFOUND ? LN_OK : rc;
    }
    return rc;
}

/* An encrypted store may hold older messages in clear, which the index knows by another hash. */
static int hash_key(struct search *s)
{
    struct ln_reader *r = s->r;
    MDB_cursor *c;
    MDB_val key, val;
    struct ln_key k = ln_key_pos(0);
    int rc = ln_code_from_mdb(ln_index_state(r->env, r->txn, &s->st));
    if (rc == LN_OK && ln_env_sealed(r->env, r->txn)) {
        rc = ln_seal_hash(r->plain.seal, r->txn, (unsigned)s->index, s->key, &s->hashes[0]);
        s->nhashes = 1;
        if (rc == LN_OK && (rc = ln_reader_cursor(r, LN_DB_LOG, &c)) == LN_OK &&
            (ln_reader_seek(c, &k, 0, &key, &val) != LN_OK ||
             ln_get_u64(key.mv_data) >= ln_vault_from(r->env->vault)))
            return LN_OK;
    }
    s->hashes[s->nhashes++] = ln_hash_sip(r->env->hash_key, s->key.ptr, s->key.len);
    return rc;
}

/* Newest first: what is encrypted is newer than what is not. */
static int scan_runs(struct search *s, struct ln_found *found, unsigned max, unsigned *n)
{
    const unsigned top = LN_INDEX_LEVELS - 1;
    uint64_t first, blocks = s->st.blocks[s->index - 1];
    int rc = oldest_run(s, &first);
    for (unsigned h = 0; h < s->nhashes && rc == LN_OK && blocks; h++) {
        uint64_t run = (blocks - 1) >> (4 * top);
        s->hash = s->hashes[h];
        for (; rc == LN_OK && run >= first && *n < max; run--) {
            rc = scan_run(s, top, run, found, max, n);
            if (run == 0)
                break;
        }
    }
    return rc;
}

int ln_find(struct ln_reader *r, enum ln_index index, uint32_t chan, struct ln_span key,
            struct ln_found *found, unsigned max, unsigned *n)
{
    struct search s = {.r = r, .index = index, .chan = chan, .key = key};
    *n = 0;
    if ((index != LN_INDEX_CONTROL_ID && index != LN_INDEX_PATIENT) || key.len == 0)
        return LN_EINVAL;
    int rc = hash_key(&s);
    if (rc == LN_OK)
        rc = scan_tail(&s);
    give(&s, found, max, n);
    if (rc == LN_OK)
        rc = scan_runs(&s, found, max, n);
    free(s.hits);
    return rc;
}
