/* Script versions, read. */
#include <zstd.h>

#include "store/reader.h"
#include "store/version_key.h"

enum { FILE_MAX = 256 << 20 };

/* The body of a record, which is what was put there. */
static int body_of(struct ln_reader *r, MDB_val key, MDB_val val, struct ln_span *body)
{
    uint64_t total;
    return ln_part_open(r->txn, &r->plain, LN_DB_VER, key, val, body, &total);
}

static int get(struct ln_reader *r, struct ln_version_key k, struct ln_span *body)
{
    MDB_val key = ln_version_val(&k), val;
    if (r->env->db[LN_DB_VER] == LN_DB_NONE)
        return LN_ENOTFOUND;
    int rc = ln_code_from_mdb(mdb_get(r->txn, r->env->db[LN_DB_VER], &key, &val));
    return rc == LN_OK ? body_of(r, key, val, body) : rc;
}

/* The first key at or behind k that is of its kind and channel. */
static int seek(struct ln_reader *r, struct ln_version_key k, MDB_val *key, struct ln_span *body)
{
    MDB_cursor *cur;
    MDB_val val;
    struct ln_version_key prefix = k;
    prefix.len = 5;
    if (r->env->db[LN_DB_VER] == LN_DB_NONE)
        return LN_ENOTFOUND;
    int rc = ln_reader_cursor(r, LN_DB_VER, &cur);
    if (rc != LN_OK)
        return rc;
    *key = ln_version_val(&k);
    rc = mdb_cursor_get(cur, key, &val, MDB_SET_RANGE);
    if (rc)
        return ln_code_from_mdb(rc);
    return ln_version_is(*key, &prefix, k.len) ? body_of(r, *key, val, body) : LN_ENOTFOUND;
}

static int read_version(struct ln_reader *r, struct ln_span body, struct ln_version *out)
{
    struct ln_dec d;
    int rc = ln_version_head_read(body, out, &d);
    if (rc != LN_OK)
        return rc;
    struct ln_version_file *f = (void *)ln_reader_alloc(r, (out->nfile + 1u) * sizeof *f);
    if (!f)
        return LN_ENOMEM;
    for (uint32_t i = 0; i < out->nfile && rc == LN_OK; i++)
        rc = ln_version_file_read(&d, &f[i]);
    out->file = f;
    return rc;
}

int ln_read_version(struct ln_reader *r, uint32_t chan, uint64_t id, struct ln_version *out)
{
    struct ln_span body;
    int rc = get(r, ln_version_key_of('v', chan, id), &body);
    return rc == LN_OK ? read_version(r, body, out) : rc;
}

int ln_read_next_version(struct ln_reader *r, uint32_t chan, uint64_t *id, struct ln_version *out)
{
    MDB_val key;
    struct ln_span body;
    if (*id == UINT64_MAX)
        return LN_ENOTFOUND;
    int rc = seek(r, ln_version_key_of('v', chan, *id + 1), &key, &body);
    if (rc != LN_OK)
        return rc;
    *id = ln_get_u64((char *)key.mv_data + 5);
    return read_version(r, body, out);
}

bool ln_read_version_has(struct ln_reader *r, const uint8_t *hash)
{
    struct ln_span body;
    return get(r, ln_version_key_hash('n', hash), &body) == LN_OK;
}

/* The compressed bytes, put together. */
static int packed(struct ln_reader *r, const uint8_t *hash, const struct ln_version_kept *k,
                  struct ln_span *out)
{
    struct ln_buf b = {0};
    int rc = LN_OK;
    for (uint32_t i = 0; i < k->parts && rc == LN_OK; i++) {
        struct ln_span body;
        if ((rc = get(r, ln_version_key_part(hash, i), &body)) == LN_OK)
            rc = ln_buf_add_span(&b, body);
    }
    char *p = rc == LN_OK ? ln_reader_alloc(r, b.len + 1) : NULL;
    if (rc == LN_OK && !p)
        rc = LN_ENOMEM;
    if (rc == LN_OK) {
        memcpy(p, b.data ? b.data : "", b.len);
        *out = ln_span(p, b.len);
    }
    ln_buf_fini(&b);
    return rc == LN_ENOTFOUND ? LN_EPARSE : rc;
}

int ln_read_version_file(struct ln_reader *r, const uint8_t *hash, struct ln_span *content)
{
    struct ln_version_kept k;
    struct ln_span body, z;
    int rc = get(r, ln_version_key_hash('n', hash), &body);
    if (rc == LN_OK)
        rc = ln_version_kept_read(body, &k);
    if (rc == LN_OK && k.len > FILE_MAX)
        rc = LN_EPARSE;
    if (rc == LN_OK)
        rc = packed(r, hash, &k, &z);
    if (rc != LN_OK)
        return rc;
    char *p = ln_reader_alloc(r, (size_t)k.len + 1);
    if (!p)
        return LN_ENOMEM;
    size_t n = ZSTD_decompress(p, (size_t)k.len, z.ptr, z.len);
    *content = ln_span(p, (size_t)k.len);
    return ZSTD_isError(n) || n != k.len ? LN_EPARSE : LN_OK;
}

/* The run that goes on stands in the channel's numbers. */
static int present_run(struct ln_reader *r, uint32_t chan, struct ln_version_run *out)
{
    struct ln_channel_state cs;
    int rc = ln_read_channel(r, chan, &cs);
    if (rc != LN_OK)
        return rc;
    *out = r->numbers.run;
    return out->id ? LN_OK : LN_ENOTFOUND;
}

int ln_read_next_run(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_version_run *out)
{
    MDB_val key;
    struct ln_span body;
    if (*seq == UINT64_MAX)
        return LN_ENOTFOUND;
    int rc = seek(r, ln_version_key_of('r', chan, *seq + 1), &key, &body);
    if (rc == LN_OK) {
        *seq = ln_get_u64((char *)key.mv_data + 5);
        return ln_version_run_read(body, out);
    }
    *seq = UINT64_MAX;
    return rc == LN_ENOTFOUND ? present_run(r, chan, out) : rc;
}

int ln_read_version_now(struct ln_reader *r, uint32_t chan, struct ln_version_now *out)
{
    struct ln_span body;
    int rc = get(r, ln_version_key_chan('c', chan), &body);
    return rc == LN_OK ? ln_version_now_read(body, out) : rc;
}
