/* Records over a chunk's length stand in several values, so that no value needs more than a few
 * neighbouring pages: LMDB looks for free neighbours page by page. */
#include "base/crc.h"
#include "store/lmdb_env.h"

enum {
    FIRST = LN_CHUNK - LN_RECORD_HEAD - 8 - LN_RECORD_SUM, /* of a record, in its own value */
    PART = LN_CHUNK - LN_RECORD_SUM, /* in each of the others */
};

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

int ln_part_seal(MDB_txn *txn, MDB_dbi db, MDB_val *key, struct ln_span rec, unsigned flags)
{
    MDB_val val = {rec.len + LN_RECORD_SUM, NULL};
    int rc = mdb_put(txn, db, key, &val, flags | MDB_RESERVE);
    if (rc)
        return rc;
    char *to = memcpy(val.mv_data, rec.ptr, rec.len);
    to[1] = (char)((uint8_t)to[1] | LN_RECORD_SUMMED);
    ln_record_sum(to, rec.len);
    return 0;
}

bool ln_part_sound(struct ln_span part)
{
    if (part.len <= LN_RECORD_SUM)
        return false;
    const unsigned char *p = (const unsigned char *)part.ptr + part.len - LN_RECORD_SUM;
    uint32_t sum = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
    return ln_crc32c(part.ptr, part.len - LN_RECORD_SUM) == sum;
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
    ln_enc_u8(&enc, (uint8_t)rec.ptr[1] | LN_RECORD_CHUNKED | LN_RECORD_SUMMED);
    ln_enc_u64(&enc, rec.len - LN_RECORD_HEAD);
    ln_enc_raw(&enc, ln_span(rec.ptr + LN_RECORD_HEAD, FIRST));
    ln_record_sum(val.mv_data, LN_CHUNK - LN_RECORD_SUM);
    return 0;
}

static int put_part(const struct ln_env *e, MDB_txn *txn, struct ln_at at, uint32_t i,
                    struct ln_span part)
{
    struct ln_key k = part_key(at, i);
    MDB_val key = ln_key_val(&k), val = {part.len + LN_RECORD_SUM, NULL};
    int rc = mdb_put(txn, e->db[LN_DB_PART], &key, &val, MDB_RESERVE);
    if (rc)
        return rc;
    memcpy(val.mv_data, part.ptr, part.len);
    ln_record_sum(val.mv_data, part.len);
    return 0;
}

/* Deletes a record that another takes the place of (an outcome, when a queue was put back). */
static int drop_former(const struct ln_env *e, MDB_txn *txn, struct ln_at at, uint64_t *bytes)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(txn, e->db[at.db], &key, &val);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    bool chunked = val.mv_size == LN_CHUNK;
    *bytes -= val.mv_size;
    rc = mdb_del(txn, e->db[at.db], &key, NULL);
    for (uint32_t i = 0; chunked && !rc; i++) {
        k = part_key(at, i);
        key = ln_key_val(&k);
        if ((rc = mdb_get(txn, e->db[LN_DB_PART], &key, &val)) == 0) {
            *bytes -= val.mv_size;
            rc = mdb_del(txn, e->db[LN_DB_PART], &key, NULL);
        }
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_part_put(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                uint64_t *bytes)
{
    int rc;
    if (rec.len + LN_RECORD_SUM <= LN_CHUNK) {
        struct ln_key k = key_of(at);
        MDB_val key = ln_key_val(&k);
        *bytes += rec.len + LN_RECORD_SUM;
        /* A plain insert at the end leaves one record less in a full page than fits: a third less
         * of messages of 1 KB. */
        rc = at.last ? ln_part_seal(txn, e->db[at.db], &key, rec, MDB_APPEND) : MDB_KEYEXIST;
        if (rc == MDB_KEYEXIST)
            rc = ln_part_seal(txn, e->db[at.db], &key, rec, MDB_NOOVERWRITE);
        if (rc != MDB_KEYEXIST)
            return rc;
        rc = drop_former(e, txn, at, bytes);
        return rc ? rc : ln_part_seal(txn, e->db[at.db], &key, rec, 0);
    }
    if ((rc = drop_former(e, txn, at, bytes)) != 0)
        return rc;
    rc = put_first(e, txn, at, rec);
    *bytes += LN_CHUNK;
    uint32_t i = 0;
    for (size_t off = LN_RECORD_HEAD + FIRST; !rc && off < rec.len; off += PART, i++) {
        size_t left = rec.len - off, len = left < PART ? left : PART;
        rc = put_part(e, txn, at, i, ln_span(rec.ptr + off, len));
        *bytes += len + LN_RECORD_SUM;
    }
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
    int code = ln_record_open(ln_val_span(val), body, total);
    return code == LN_OK && !ln_record_sound(ln_val_span(val)) ? LN_EPARSE : code;
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
        if (!ln_part_sound(ln_val_span(val)) || val.mv_size - LN_RECORD_SUM > total - have)
            return LN_EPARSE;
        memcpy(to + have, val.mv_data, val.mv_size - LN_RECORD_SUM);
        have += val.mv_size - LN_RECORD_SUM;
    }
    return LN_OK;
}
