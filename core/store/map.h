/* Where a channel's messages stand in the log, which is in the order of arrival over all channels.
 *
 * What follows in number and in place alike is a run. A channel's newest runs are its tail, which
 * stands in its record of numbers and so is written with a page that every commit writes anyway;
 * when it is full it becomes a block of the data base `map`, under the number of its first message.
 * Invariant: a message has a place exactly when it is in the log. */
#ifndef LN_STORE_MAP_H
#define LN_STORE_MAP_H

#ifndef LN_CDEF
#include "store/lmdb_env.h"

#define LN_MAP_RUNS     64u
#define LN_MAP_MESSAGES 1024u

struct ln_run {
    uint64_t seq, pos;
    uint64_t n; /* messages seq .. seq + n - 1 at pos .. pos + n - 1 */
};

/* A tail. runs: each as {numbers passed over since the one before, places passed over, n}. */
struct ln_map {
    struct ln_buf runs;
    size_t last_at; /* where the last run begins in runs */
    struct ln_run before, last; /* the last run but one, the last; n = 0: there is none */
    unsigned nruns, messages;
};

/* Adds the channel's newest message. LN_ENOMEM. */
int ln_map_add(struct ln_map *m, uint64_t seq, uint64_t pos) LN_MUST;
static inline bool ln_map_full(const struct ln_map *m)
{
    return m->nruns >= LN_MAP_RUNS || m->messages >= LN_MAP_MESSAGES;
}
/* How many messages of a channel stand before a place. cur is on `map`. Lunate's codes. */
int ln_map_before(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t pos,
                  uint64_t *n) LN_MUST;
/* Takes over runs as they are stored. LN_EPARSE, LN_ENOMEM. */
int ln_map_set(struct ln_map *m, struct ln_span runs) LN_MUST;
void ln_map_fini(struct ln_map *m);
/* The next of stored runs; *r is the one before (all 0 at first). false: the end, or d->bad. */
bool ln_map_next(struct ln_dec *d, struct ln_run *r);

/* Makes a block of the tail and empties it. LMDB's codes. */
int ln_map_flush(const struct ln_env *e, MDB_txn *txn, uint32_t chan, struct ln_map *m);
/* Forgets the messages [from, to). cur is on `map`. LMDB's codes. */
int ln_map_drop(const struct ln_env *e, MDB_cursor *cur, uint32_t chan, struct ln_map *tail,
                uint64_t from, uint64_t to);

/* The place of a message; of the first at or behind *seq; of the last at or before it. cur is on
 * `map`, tail a channel's. LN_ENOTFOUND. */
int ln_map_at(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t seq,
              uint64_t *pos) LN_MUST;
int ln_map_from(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t *seq,
                uint64_t *pos) LN_MUST;
int ln_map_back(MDB_cursor *cur, uint32_t chan, struct ln_span tail, uint64_t *seq,
                uint64_t *pos) LN_MUST;
#endif
#endif
