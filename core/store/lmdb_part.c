/* Records over a chunk's length stand in several values, so that no value needs more than a few
 * neighbouring pages: LMDB looks for free neighbours page by page. */
#include <errno.h>

#include "base/crc.h"
#include "store/seal.h"

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

/* How the writer seals; NULL: it does not. */
static struct ln_seal *sealer(const struct ln_env *e)
{
    return e->out && e->out->out_gen ? e->out : NULL;
}

int ln_part_seal(const struct ln_env *e, MDB_txn *txn, enum ln_db db, MDB_val *key,
                 struct ln_span rec, unsigned flags)
{
    struct ln_seal *s = sealer(e);
    MDB_val val = {s ? ln_seal_size(db, rec) : rec.len + LN_RECORD_SUM, NULL};
    int rc = mdb_put(txn, e->db[db], key, &val, flags | MDB_RESERVE);
    if (rc)
        return rc;
    if (s)
        return ln_seal_write(s, db, ln_val_span(*key), rec, rec.len - LN_RECORD_HEAD, 0,
                             val.mv_data) == LN_OK
                   ? 0
                   : EIO;
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

/* How a record is cut: bytes of its body in the first value, and in each part. */
struct cut {
    size_t first, part;
    unsigned parts;
};

static struct cut cut_of(const struct ln_seal *s, enum ln_db db, struct ln_span rec)
{
    size_t body = rec.len - LN_RECORD_HEAD;
    struct cut c = {FIRST, PART, 0};
    if (s) {
        c.first = ln_seal_first(db, rec);
        c.part = PART - LN_SEALED_TAG;
    }
    c.parts = (unsigned)((body - c.first + c.part - 1) / c.part);
    return c;
}

static int put_first(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                     struct cut cut)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val = {LN_CHUNK, NULL};
    struct ln_seal *s = sealer(e);
    int rc = mdb_put(txn, e->db[at.db], &key, &val, MDB_RESERVE);
    if (rc)
        return rc;
    if (s)
        return ln_seal_write(s, at.db, ln_val_span(key), rec, cut.first, cut.parts, val.mv_data)
                   ? EIO
                   : 0;
    struct ln_enc enc = {val.mv_data};
    ln_enc_u8(&enc, (uint8_t)rec.ptr[0]);
    ln_enc_u8(&enc, (uint8_t)rec.ptr[1] | LN_RECORD_CHUNKED | LN_RECORD_SUMMED);
    ln_enc_u64(&enc, rec.len - LN_RECORD_HEAD);
    ln_enc_raw(&enc, ln_span(rec.ptr + LN_RECORD_HEAD, FIRST));
    ln_record_sum(val.mv_data, LN_CHUNK - LN_RECORD_SUM);
    return 0;
}

static int put_part(const struct ln_env *e, MDB_txn *txn, struct ln_at at, uint32_t i,
                    struct ln_span part, uint64_t *bytes)
{
    struct ln_key k = part_key(at, i);
    struct ln_seal *s = sealer(e);
    MDB_val key = ln_key_val(&k), val = {part.len + LN_RECORD_SUM + (s ? LN_SEALED_TAG : 0), NULL};
    int rc = mdb_put(txn, e->db[LN_DB_PART], &key, &val, MDB_RESERVE);
    if (rc)
        return rc;
    *bytes += val.mv_size;
    if (s)
        return ln_seal_part(s, i, ln_val_span(key), part, val.mv_data) ? EIO : 0;
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

/* A record that one value holds. */
static int put_whole(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                     uint64_t *bytes)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k);
    /* A plain insert at the end leaves one record less in a full page than fits: a third less of
     * messages of 1 KB. */
    int rc = at.last ? ln_part_seal(e, txn, at.db, &key, rec, MDB_APPEND) : MDB_KEYEXIST;
    if (rc == MDB_KEYEXIST)
        rc = ln_part_seal(e, txn, at.db, &key, rec, MDB_NOOVERWRITE);
    if (rc != MDB_KEYEXIST)
        return rc;
    rc = drop_former(e, txn, at, bytes);
    return rc ? rc : ln_part_seal(e, txn, at.db, &key, rec, 0);
}

int ln_part_put(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                uint64_t *bytes)
{
    struct ln_seal *s = sealer(e);
    size_t size = s ? ln_seal_size(at.db, rec) : rec.len + LN_RECORD_SUM;
    if (size <= LN_CHUNK) {
        *bytes += size;
        return put_whole(e, txn, at, rec, bytes);
    }
    int rc = drop_former(e, txn, at, bytes);
    struct cut cut = cut_of(s, at.db, rec);
    if (!rc)
        rc = put_first(e, txn, at, rec, cut);
    *bytes += LN_CHUNK;
    uint32_t i = 0;
    for (size_t off = LN_RECORD_HEAD + cut.first; !rc && off < rec.len; off += cut.part, i++) {
        size_t left = rec.len - off, len = left < cut.part ? left : cut.part;
        rc = put_part(e, txn, at, i, ln_span(rec.ptr + off, len), bytes);
    }
    return rc;
}

/* Nobody can put a record in clear where one must be sealed. */
static bool may_be_clear(const struct ln_plain *m, enum ln_db db, MDB_val key)
{
    if (db == LN_DB_KV && key.mv_size > 4)
        return (ln_get_u32(key.mv_data) & LN_KV_SEALED) == 0;
    if (!m->seal || (db != LN_DB_LOG && db != LN_DB_RES && db != LN_DB_OUT && db != LN_DB_EV) ||
        key.mv_size < 8)
        return true;
    return ln_get_u64(key.mv_data) < ln_vault_from(m->seal->env->vault);
}

int ln_part_open(MDB_txn *txn, const struct ln_plain *m, enum ln_db db, MDB_val key, MDB_val val,
                 struct ln_span *body, uint64_t *total)
{
    struct ln_sealed s;
    size_t len = 0;
    int code = ln_record_sealed(ln_val_span(val), &s);
    if (code == LN_ENOTFOUND)
        code = ln_record_open(ln_val_span(val), body, total);
    if (!ln_record_sound(ln_val_span(val)))
        return code == LN_EVERSION ? code : LN_EPARSE;
    if (code != LN_OK)
        return code;
    if (((uint8_t)((const char *)val.mv_data)[1] & LN_RECORD_SEALED) == 0)
        return may_be_clear(m, db, key) ? LN_OK : LN_EPARSE;
    char *to = m->room(m->arg, s.clear.len + s.cipher.len);
    if (!to)
        return LN_ENOMEM;
    code = ln_seal_open(m->seal, txn, db, ln_val_span(key), &s, to, &len);
    *body = ln_span(to, len);
    *total = s.total;
    return code;
}

int ln_part_get(const struct ln_env *e, MDB_txn *txn, const struct ln_plain *m, struct ln_at at,
                struct ln_span *body, uint64_t *total)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(txn, e->db[at.db], &key, &val);
    return rc ? ln_code_from_mdb(rc) : ln_part_open(txn, m, at.db, key, val, body, total);
}

int ln_part_peek(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span *body)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val;
    uint64_t total;
    int rc = mdb_get(txn, e->db[at.db], &key, &val);
    return rc ? ln_code_from_mdb(rc) : ln_record_open(ln_val_span(val), body, &total);
}

/* The parts of a sealed record need what stands at the front of its first value. */
static int first_of(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_sealed *s)
{
    struct ln_key k = key_of(at);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(txn, e->db[at.db], &key, &val);
    return rc ? ln_code_from_mdb(rc) : ln_record_sealed(ln_val_span(val), s);
}

int ln_part_join(const struct ln_env *e, MDB_txn *txn, const struct ln_plain *m, struct ln_at at,
                 struct ln_span body, uint64_t total, char *to)
{
    struct ln_sealed s;
    int code = first_of(e, txn, at, &s);
    size_t around = LN_RECORD_SUM + (code == LN_OK ? LN_SEALED_TAG : 0);
    if (code != LN_OK && code != LN_ENOTFOUND)
        return code;
    bool sealed = code == LN_OK;
    memcpy(to, body.ptr, body.len);
    uint64_t have = body.len;
    for (uint32_t i = 0; have < total; i++) {
        struct ln_key k = part_key(at, i);
        MDB_val key = ln_key_val(&k), val;
        int rc = mdb_get(txn, e->db[LN_DB_PART], &key, &val);
        if (rc)
            return rc == MDB_NOTFOUND ? LN_EPARSE : ln_code_from_mdb(rc);
        if (!ln_part_sound(ln_val_span(val)) || val.mv_size <= around ||
            val.mv_size - around > total - have)
            return LN_EPARSE;
        struct ln_span part = ln_span(val.mv_data, val.mv_size - LN_RECORD_SUM);
        if (!sealed)
            memcpy(to + have, part.ptr, part.len);
        else if ((rc = ln_seal_open_part(m->seal, txn, &s, i, ln_val_span(key), part, to + have)) !=
                 LN_OK)
            return rc;
        have += val.mv_size - around;
    }
    return LN_OK;
}
