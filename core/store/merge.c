/* Merging the index: see index.h. One step makes one part of a run, in the transaction of a commit
 * that has room for it: about half a millisecond, at most once per kind and commit. */
#include <errno.h>
#include <stdlib.h>

#include "store/index.h"

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, LN_INDEX_ENTRY);
}

int ln_index_made(MDB_cursor *idx, unsigned kind, unsigned level, uint64_t run, unsigned *parts)
{
    struct ln_key k = ln_index_key(kind, level, run + 1, 0),
                  own = ln_index_key(kind, level, run, 0);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_get(idx, &key, &val, MDB_SET_RANGE);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    rc = mdb_cursor_get(idx, &key, &val, rc ? MDB_LAST : MDB_PREV);
    *parts = 0;
    if (!rc && key.mv_size == own.len && memcmp(key.mv_data, own.b, own.len - 1) == 0)
        *parts = ((unsigned char *)key.mv_data)[own.len - 1] + 1u;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The oldest run of a level; MDB_NOTFOUND when it has none. */
static int oldest(MDB_cursor *idx, unsigned kind, unsigned level, uint64_t *run)
{
    struct ln_key k = ln_index_key(kind, level, 0, 0);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_get(idx, &key, &val, MDB_SET_RANGE);
    if (!rc && (key.mv_size != k.len || memcmp(key.mv_data, k.b, 2) != 0))
        rc = MDB_NOTFOUND;
    if (!rc)
        *run = ln_get_u64((char *)key.mv_data + 2);
    return rc;
}

/* Adds what belongs to a part from one block below it. */
static int gather(const struct ln_env *e, MDB_txn *txn, struct ln_key k, unsigned level,
                  unsigned part, struct ln_buf *out)
{
    struct ln_index_block b;
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(txn, e->db[LN_DB_IDX], &key, &val);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc; /* trimmed */
    if (ln_index_open(ln_val_span(val), &b) != LN_OK)
        return MDB_CORRUPTED;
    size_t n = b.entries.len / LN_INDEX_ENTRY, to = n;
    size_t from = ln_index_search(&b, level - 1, (uint64_t)part << (64 - 4 * level));
    if (part + 1 < ln_index_parts(level))
        to = ln_index_search(&b, level - 1, (uint64_t)(part + 1) << (64 - 4 * level));
    return ln_buf_add(out, b.entries.ptr + from * LN_INDEX_ENTRY, (to - from) * LN_INDEX_ENTRY)
               ? ENOMEM
               : 0;
}

/* Makes one part; takes the blocks below away when this was the last that needs them. */
static int make(const struct ln_env *e, MDB_txn *txn, unsigned kind, unsigned level, uint64_t run,
                unsigned part, struct ln_buf *scratch)
{
    struct ln_buf all = {0};
    int rc = 0;
    for (unsigned i = 0; i < LN_INDEX_FAN && !rc; i++)
        rc = gather(e, txn,
                    ln_index_key(kind, level - 1, run * LN_INDEX_FAN + i, part / LN_INDEX_FAN),
                    level, part, &all);
    if (!rc && all.len)
        qsort(all.data, all.len / LN_INDEX_ENTRY, LN_INDEX_ENTRY, by_bytes);
    if (!rc)
        rc = ln_index_put(e, txn, ln_index_key(kind, level, run, part), ln_buf_span(&all), scratch);
    ln_buf_fini(&all);
    for (unsigned i = 0; i < LN_INDEX_FAN && !rc && part % LN_INDEX_FAN == LN_INDEX_FAN - 1; i++) {
        struct ln_key k =
            ln_index_key(kind, level - 1, run * LN_INDEX_FAN + i, part / LN_INDEX_FAN);
        MDB_val key = ln_key_val(&k);
        rc = mdb_del(txn, e->db[LN_DB_IDX], &key, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    return rc;
}

/* The run of a level that comes next, when all below it is whole. */
static int due(MDB_cursor *idx, unsigned kind, unsigned level, uint64_t blocks, uint64_t *run,
               bool *is)
{
    uint64_t below, lowest;
    int rc = oldest(idx, kind, level - 1, &below);
    *is = false;
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    *run = below / LN_INDEX_FAN;
    uint64_t end = (*run + 1) * ln_index_parts(level); /* of the blocks of level 0 in it */
    if (blocks < end)
        return 0;
    *is = true;
    if (level == 1)
        return 0;
    rc = oldest(idx, kind, 0, &lowest);
    *is = rc == MDB_NOTFOUND || (!rc && lowest >= end);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_index_merge(const struct ln_env *e, MDB_txn *txn, struct ln_buf *scratch, bool *more)
{
    MDB_cursor *idx;
    struct ln_index_state st;
    int rc = ln_index_state(e, txn, &st);
    *more = false;
    if (rc || (rc = mdb_cursor_open(txn, e->db[LN_DB_IDX], &idx)) != 0)
        return rc;
    for (unsigned kind = 1; kind <= LN_INDEX_KINDS && !rc; kind++) {
        bool is = false;
        for (unsigned level = 1; level < LN_INDEX_LEVELS && !rc && !is; level++) {
            uint64_t run;
            unsigned part;
            rc = due(idx, kind, level, st.blocks[kind - 1], &run, &is);
            if (!rc && is && (rc = ln_index_made(idx, kind, level, run, &part)) == 0)
                rc = make(e, txn, kind, level, run, part, scratch);
        }
        *more |= is;
    }
    mdb_cursor_close(idx);
    return rc;
}
