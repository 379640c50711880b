/* Look-up by control id and patient id: sorted blocks of keyed hashes.
 *
 * Entries of new messages gather in the committer's tail; at LN_INDEX_BLOCK of them they are sorted
 * and put as one block, in the transaction that filled it, and meta's "indexed" moves up. So what
 * is not yet in a block is at most that many messages at the end of the log, which a reader scans.
 *
 * Blocks are merged so that a look-up need not read thousands of them (merge.c): 16 of level 0 into
 * a run of level 1, 16 of these into one of level 2. A run of level L has 16^L parts by the highest
 * 4 L bits of the hash, each about as large as a block. Run r of level L holds what runs 16 r ..
 * 16 r + 15 of the level below held; one part is made in a commit, and these lose theirs when all
 * that was in it has been taken over. A reader takes a run's part where there is one, else those
 * below it. */
#ifndef LN_STORE_INDEX_H
#define LN_STORE_INDEX_H

#ifndef LN_CDEF
#include "store/lmdb_env.h"

#define LN_INDEX_BLOCK  4096u
#define LN_INDEX_KINDS  2u
#define LN_INDEX_LEVELS 3u
#define LN_INDEX_FAN    16u
#define LN_INDEX_ENTRY  16u /* hash u64, pos u64, big-endian */

struct ln_entry {
    uint64_t hash, pos;
};

struct ln_tail {
    struct ln_entry *e[LN_INDEX_KINDS]; /* by enum ln_index - 1 */
    unsigned n[LN_INDEX_KINDS], cap[LN_INDEX_KINDS];
};

/* A block as it stands in the store: {head, lowest and highest place, entries}. */
struct ln_index_block {
    uint64_t first, last;
    struct ln_span entries;
};

/* The keyed hash of an id: HMAC-SHA256 with the store's secret key where it is encrypted (`seal` is
 * then the thread's), else SipHash. Lunate's codes. */
int ln_index_hash(const struct ln_env *e, MDB_txn *txn, struct ln_seal *seal, unsigned kind,
                  struct ln_span id, uint64_t *hash) LN_MUST;
/* Adds what the receipt is to be found by. Lunate's codes. */
int ln_index_add(struct ln_tail *t, const struct ln_env *e, MDB_txn *txn, struct ln_seal *seal,
                 uint64_t pos, const struct ln_receipt *r) LN_MUST;
struct ln_index_state { /* meta's "indexed" */
    uint64_t end; /* first place that is in no block */
    uint64_t blocks[LN_INDEX_KINDS]; /* of level 0 there ever were */
};

static inline struct ln_key ln_index_key(unsigned kind, unsigned level, uint64_t run, unsigned part)
{
    struct ln_key k = {.len = 0};
    ln_key_u8(&k, (uint8_t)kind);
    ln_key_u8(&k, (uint8_t)level);
    ln_key_u64(&k, run);
    ln_key_u8(&k, (uint8_t)part);
    return k;
}

static inline unsigned ln_index_parts(unsigned level)
{
    return 1u << (4 * level);
}

/* The part of a run that an entry belongs to. */
static inline unsigned ln_index_part(unsigned level, uint64_t hash)
{
    return level ? (unsigned)(hash >> (64 - 4 * level)) : 0;
}

/* Writes the tail, which is all before `end`, as blocks and empties it. LMDB's codes. */
int ln_index_flush(const struct ln_env *e, MDB_txn *txn, struct ln_tail *t, uint64_t end,
                   struct ln_buf *scratch);
/* LMDB's codes. */
int ln_index_state(const struct ln_env *e, MDB_txn *txn, struct ln_index_state *st);
/* One step of merging for each kind; *more: there is another to do. LMDB's codes. */
int ln_index_merge(const struct ln_env *e, MDB_txn *txn, struct ln_buf *scratch, bool *more);
/* How many parts of a run have been made. LMDB's codes. */
int ln_index_made(MDB_cursor *idx, unsigned kind, unsigned level, uint64_t run, unsigned *parts);
/* Makes a block of sorted entries, as they stand in one. LMDB's codes. */
int ln_index_put(const struct ln_env *e, MDB_txn *txn, struct ln_key k, struct ln_span entries,
                 struct ln_buf *scratch);
/* Drops the oldest blocks of each kind when all of their messages have been trimmed. */
int ln_index_trim(const struct ln_env *e, MDB_txn *txn);
int ln_index_open(struct ln_span rec, struct ln_index_block *b) LN_MUST;
/* Number of the first entry with this hash or a higher one, in a block of that level. */
size_t ln_index_search(const struct ln_index_block *b, unsigned level, uint64_t hash);
void ln_index_fini(struct ln_tail *t);
#endif
#endif
