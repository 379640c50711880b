/* Records over a chunk's length stand in several values, so that no value needs more than a few
 * neighbouring pages: LMDB looks for free neighbours page by page. */
#include "store/lmdb_env.h"

enum { FIRST = LN_CHUNK - LN_RECORD_HEAD - 8 };

static struct ln_key key_of(struct ln_at at)
{
    struct ln_key k = ln_key_pos(at.pos);
    if (at.db == LN_DB_OUT || at.db == LN_DB_EV)
        ln_key_u32(&k, at.n);
    return k;
}

static struct ln_key part_key(struct ln_at at, uint32_t i)
{
    struct ln_key k = ln_key_pos(at.pos);
    ln_key_u8(&k, (uint8_t)at.db);
    ln_key_u32(&k, at.n);
    ln_key_u32(&k, i);
    return k;
}

static int put_first(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val = {LN_CHUNK, NULL};
    int rc = mdb_put(txn, e->db[at.db], &key, &val, MDB_RESERVE);
    if (rc)
        return rc;
    struct ln_enc enc = {val.mv_data};
    ln_enc_u8(&enc, (uint8_t)rec.ptr[0]);
    ln_enc_u8(&enc, (uint8_t)rec.ptr[1] | LN_RECORD_CHUNKED);
    ln_enc_u64(&enc, rec.len - LN_RECORD_HEAD);
    ln_enc_raw(&enc, ln_span(rec.ptr + LN_RECORD_HEAD, FIRST));
    return 0;
}

int ln_part_put(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                uint64_t *bytes)
{
    *bytes += rec.len;
    if (rec.len <= LN_CHUNK) {
        struct ln_key k = key_of(at);
        MDB_val key = ln_key_val(&k), val = ln_span_val(rec);
        /* A plain insert at the end leaves one record less in a full page than fits: a third less
         * of messages of 1 KB. */
        int rc = at.last ? mdb_put(txn, e->db[at.db], &key, &val, MDB_APPEND) : MDB_KEYEXIST;
        return rc == MDB_KEYEXIST ? mdb_put(txn, e->db[at.db], &key, &val, 0) : rc;
    }
    int rc = put_first(e, txn, at, rec);
    uint32_t i = 0;
    for (size_t off = LN_RECORD_HEAD + FIRST; !rc && off < rec.len; off += LN_CHUNK, i++) {
        size_t left = rec.len - off;
        struct ln_key k = part_key(at, i);
        MDB_val key = ln_key_val(&k);
        MDB_val val = ln_span_val(ln_span(rec.ptr + off, left < LN_CHUNK ? left : LN_CHUNK));
        rc = mdb_put(txn, e->db[LN_DB_PART], &key, &val, 0);
    }
    *bytes += 8;
    return rc;
}

int ln_part_get(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span *body,
                uint64_t *total)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(txn, e->db[at.db], &key, &val);
    if (rc)
        return ln_code_from_mdb(rc);
    return ln_record_open(ln_val_span(val), body, total);
}

int ln_part_join(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span body,
                 uint64_t total, char *to)
{
    memcpy(to, body.ptr, body.len);
    uint64_t have = body.len;
    for (uint32_t i = 0; have < total; i++) {
        struct ln_key k = part_key(at, i);
        MDB_val key = ln_key_val(&k), val;
        int rc = mdb_get(txn, e->db[LN_DB_PART], &key, &val);
        if (rc)
            return rc == MDB_NOTFOUND ? LN_EPARSE : ln_code_from_mdb(rc);
        if (val.mv_size == 0 || val.mv_size > total - have)
            return LN_EPARSE;
        memcpy(to + have, val.mv_data, val.mv_size);
        have += val.mv_size;
    }
    return LN_OK;
}
