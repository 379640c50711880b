/* Look-up by control id and patient id: sorted blocks of keyed hashes.
 *
 * Entries of new messages gather in the committer's tail; at LN_INDEX_BLOCK of them they are sorted
 * and put as one block, in the transaction that filled it, and meta's "indexed" moves up. So the
 * store is only ever appended to, and what is not yet in a block is at most that many messages at
 * the end of the log, which a reader scans. */
#ifndef LN_STORE_INDEX_H
#define LN_STORE_INDEX_H

#ifndef LN_CDEF
#include "store/lmdb_env.h"

#define LN_INDEX_BLOCK 4096u
#define LN_INDEX_KINDS 2u
#define LN_INDEX_ENTRY 16u /* hash u64, pos u64, big-endian */

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

/* Adds what the receipt is to be found by. false: out of memory. */
bool ln_index_add(struct ln_tail *t, const uint8_t *key, uint64_t pos, const struct ln_receipt *r);
/* Writes the tail, which is all before `end`, as blocks and empties it. LMDB's codes. */
int ln_index_flush(const struct ln_env *e, MDB_txn *txn, struct ln_tail *t, uint64_t end,
                   struct ln_buf *scratch);
/* First place that is in no block. LMDB's codes. */
int ln_index_end(const struct ln_env *e, MDB_txn *txn, uint64_t *pos);
/* Drops the oldest block of each kind when all of its messages have been trimmed. */
int ln_index_trim(const struct ln_env *e, MDB_txn *txn);
int ln_index_open(struct ln_span rec, struct ln_index_block *b) LN_MUST;
/* Number of the first entry with this hash or a higher one. */
size_t ln_index_search(const struct ln_index_block *b, uint64_t hash);
void ln_index_fini(struct ln_tail *t);
#endif
#endif
