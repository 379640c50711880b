/* The LMDB environment of a store: where the data bases, keys and error codes are known.
 *
 * Files in the data folder: data.mdb (all data), lock.mdb (LMDB's table of readers), engine.lock
 * (held by the engine that writes, with its process id). LMDB must not open a file twice in one
 * process (closing one descriptor would drop the other's locks), so openers within a process share.
 *
 * Data bases, keys big-endian so that their order is the order of numbers. A place (pos) is a
 * message's number in the log of all channels: what a commit writes stands side by side, however
 * many channels are busy (docs/performance.md has what that saves).
 * - meta: "format" u32 big-endian, "hash_key" 16 bytes, "indexed" u64, "settled" (see lmdb_env.c),
 *   "key" and a number: data keys (seal.h)
 * - log, by pos u64: receipt
 * - res, by pos: result with its items
 * - out, by pos and n u32: outcome of output n
 * - ev, by pos and i u32: events in order
 * - part, by pos, db u8, n u32, i u32: what a chunked record has beyond its first bytes
 * - map, by chan u32 and seq u64: where messages stand in the log (map.h)
 * - cur, by chan: numbers, cursors, names (numbers.h)
 * - kv, by chan and key; encrypted: see LN_KV_SEALED
 * - parked, by chan, seq, n u32: destination id of what is parked
 * - idx, by kind u8 and block u64: sorted hashes (index.h)
 * - ver: script versions (version.h); stores from before there were any have none until the engine
 *   opens them */
#ifndef LN_STORE_LMDB_ENV_H
#define LN_STORE_LMDB_ENV_H

#ifndef LN_CDEF
#include <lmdb.h>
#include <pthread.h>
#include <sys/types.h>

#include "base/hash.h"
#include "store/record.h"

enum ln_db {
    LN_DB_META,
    LN_DB_LOG,
    LN_DB_RES,
    LN_DB_OUT,
    LN_DB_EV,
    LN_DB_PART,
    LN_DB_MAP,
    LN_DB_CUR,
    LN_DB_KV,
    LN_DB_PARKED,
    LN_DB_IDX,
    LN_DB_VER,
    LN_DB_COUNT
};

/* Larger records are cut: a value then takes whole pages that are found easily among freed ones. */
#define LN_CHUNK (14u * 4096u - 16u)

/* The handle of a table that the store does not have: LN_DB_VER only. */
#define LN_DB_NONE ((MDB_dbi)-1)
/* How an environment is opened. */
#define LN_ENV_WRITE 1u
#define LN_ENV_BLIND 2u /* also an encrypted one whose keys are not there */

/* kv of an encrypted store stands under {channel with this bit, 16 bytes of the name's HMAC}. */
#define LN_KV_SEALED 0x80000000u

struct ln_reader;
struct ln_recent;
struct ln_seal;
struct ln_vault;

struct ln_env {
    char *path;
    bool writable, blind;
    uint32_t format;
    struct ln_vault *vault;
    struct ln_seal *out; /* seals what is put; NULL: nothing is */
    struct ln_recent *recent; /* of the engine's own; NULL in others */
    uint64_t map_size;
    unsigned refs;
    dev_t dev;
    ino_t ino;
    struct ln_env *next; /* environments of this process */
    uint8_t hash_key[LN_HASH_KEY_LEN];
    int lock_fd;

    /* Held shared by whoever has a transaction, exclusively by who closes and opens mdb again. */
    pthread_rwlock_t guard;
    MDB_env *mdb; /* NULL when opening it again failed */
    MDB_dbi db[LN_DB_COUNT];
    pthread_mutex_t readers_lock;
    struct ln_reader *readers;
};

int ln_env_open(const char *path, unsigned how, uint64_t map_size, struct ln_env **out,
                struct ln_err *err) LN_MUST;
void ln_env_close(struct ln_env *e);
/* After LMDB has declared the environment unusable (a failed write of a meta page): closes and
 * opens it, and makes sure that what it now shows is what the disk holds. */
int ln_env_reopen(struct ln_env *e, struct ln_err *err) LN_MUST;
/* Whether the store is encrypted, as this transaction sees it. */
bool ln_env_sealed(const struct ln_env *e, MDB_txn *txn);
/* Pages of the file in use and free within it. */
int ln_env_pages(struct ln_env *e, uint64_t *used, uint64_t *freed, bool count_free) LN_MUST;

int ln_code_from_mdb(int rc);
/* Takes the engine's lock; LN_EBUSY names the process that has it. */
int ln_env_lock(const char *path, int *fd, struct ln_err *err) LN_MUST;
/* Makes an empty store, all or nothing (lmdb_new.c). */
int ln_env_create(const char *path, struct ln_err *err) LN_MUST;
/* One attempt after the other with a smaller map, for machines that limit the address space. */
int ln_env_mdb_open(const char *dir, unsigned flags, uint64_t map_size, MDB_env **out);
int ln_env_open_dbs(MDB_env *mdb, unsigned flags, MDB_dbi *db);
int ln_env_sync_dir(const char *path);
/* LN_EPARSE when the file is cut off: mapping it would end the process (whole.c). */
int ln_env_whole(const char *data, struct ln_err *err) LN_MUST;

/* ---- keys ---------------------------------------------------------------------------------- */

struct ln_key {
    unsigned char b[24];
    size_t len;
};

static inline void ln_key_u8(struct ln_key *k, uint8_t v)
{
    k->b[k->len++] = v;
}

static inline void ln_key_u32(struct ln_key *k, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        k->b[k->len++] = (unsigned char)(v >> shift);
}

static inline void ln_key_u64(struct ln_key *k, uint64_t v)
{
    ln_key_u32(k, (uint32_t)(v >> 32));
    ln_key_u32(k, (uint32_t)v);
}

static inline struct ln_key ln_key_chan(uint32_t chan)
{
    struct ln_key k = {.len = 0};
    ln_key_u32(&k, chan);
    return k;
}

static inline struct ln_key ln_key_msg(uint32_t chan, uint64_t seq)
{
    struct ln_key k = ln_key_chan(chan);
    ln_key_u64(&k, seq);
    return k;
}

static inline struct ln_key ln_key_parked(uint32_t chan, uint64_t seq, uint32_t n)
{
    struct ln_key k = ln_key_msg(chan, seq);
    ln_key_u32(&k, n);
    return k;
}

static inline struct ln_key ln_key_pos(uint64_t pos)
{
    struct ln_key k = {.len = 0};
    ln_key_u64(&k, pos);
    return k;
}

static inline MDB_val ln_key_val(struct ln_key *k)
{
    return (MDB_val){k->len, k->b};
}

static inline uint32_t ln_get_u32(const void *at)
{
    const unsigned char *p = at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t ln_get_u64(const void *at)
{
    return (uint64_t)ln_get_u32(at) << 32 | ln_get_u32((const char *)at + 4);
}

static inline MDB_val ln_span_val(struct ln_span s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.ptr}; /* LMDB doesn't write to it */
}

static inline struct ln_span ln_val_span(MDB_val v)
{
    return ln_span(v.mv_data, v.mv_size);
}

/* ---- records, whole or in parts (lmdb_part.c) ----------------------------------------------- */

/* What a record belongs to: its key is made of it. n is used for out and ev only. */
struct ln_at {
    enum ln_db db;
    uint64_t pos;
    uint32_t n;
    bool last; /* a put likely to be the last key of all: packs pages fully */
};

/* Opens what is sealed: with what keys, and where to. */
struct ln_plain {
    struct ln_seal *seal; /* NULL: nothing can be opened */
    char *(*room)(void *arg, size_t len); /* NULL when there is no memory */
    void *arg;
};

/* Puts a record with its sum behind it, sealed where the store is: all that stands in the store,
 * but meta, is put so. LMDB's codes. */
int ln_part_seal(const struct ln_env *e, MDB_txn *txn, enum ln_db db, MDB_val *key,
                 struct ln_span rec, unsigned flags);
/* Whether a value of `part` is what was put. */
bool ln_part_sound(struct ln_span part);
/* The body of a record that stands in one value, opened; and whether it is what was put there,
 * which takes the key. Lunate's codes. */
int ln_part_open(MDB_txn *txn, const struct ln_plain *m, enum ln_db db, MDB_val key, MDB_val val,
                 struct ln_span *body, uint64_t *total);
/* Puts; adds what it takes to *bytes. LMDB's codes. */
int ln_part_put(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span rec,
                uint64_t *bytes);
/* First bytes of a record: all of it when *total == body->len. LN_EPARSE when they are not what was
 * put, LN_EKEY when there is no key. Lunate's codes. */
int ln_part_get(const struct ln_env *e, MDB_txn *txn, const struct ln_plain *m, struct ln_at at,
                struct ln_span *body, uint64_t *total);
/* What stands readable at its front, without its sum or seal being looked at. */
int ln_part_peek(const struct ln_env *e, MDB_txn *txn, struct ln_at at, struct ln_span *body);
/* Copies the whole body of a chunked record, whose first bytes are `body`, to `to` (total bytes).
 */
int ln_part_join(const struct ln_env *e, MDB_txn *txn, const struct ln_plain *m, struct ln_at at,
                 struct ln_span body, uint64_t total, char *to);

#endif
#endif
