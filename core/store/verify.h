/* Inside of the check of a store: what its two files share. */
#ifndef LN_STORE_VERIFY_H
#define LN_STORE_VERIFY_H

#ifndef LN_CDEF
#include "store/index.h"
#include "store/reader.h"

struct ln_verify_dest {
    uint64_t queued, parked;
};

/* What was seen of a channel. */
struct ln_verify_chan {
    struct ln_numbers n; /* as they stand in the present transaction */
    uint32_t sum; /* of the record they come from */
    bool known; /* there is such a channel */
    bool moved; /* they changed while we looked: no count can be compared */
    uint64_t messages, bytes, pending, parked, last_seq;
    struct ln_verify_dest *dest;
    unsigned ndest;
};

struct ln_verify_walk {
    struct ln_reader *r;
    const struct ln_verify_ops *ops;
    void *arg;
    struct ln_verify *out;
    struct ln_verify_chan *chan; /* by id - 1 */
    uint32_t nchan;
    size_t txn; /* number of the transaction that is looked at */
    bool moving; /* the store is being written to */
    bool blind; /* encrypted, and we have no key */
    bool past[LN_DB_COUNT]; /* that table's cursor is at the end */
    int64_t began_us; /* of this transaction */
    uint64_t indexed; /* messages before this place stand in index blocks */
    uint64_t entries[LN_INDEX_KINDS]; /* that these should have */
    uint64_t end; /* last place there was at first */
};

/* Says what is wrong; chan 0: with no channel's message, seq 0: with none of its messages. */
void ln_verify_say(struct ln_verify_walk *w, uint32_t chan, uint64_t seq, const char *fmt, ...)
    LN_PRINTF(4, 5);
struct ln_verify_chan *ln_verify_chan(struct ln_verify_walk *w, uint32_t id);
/* Ends a transaction that has lasted long enough and begins the next. *anew: cursors must be set
 * again. Lunate's codes. */
int ln_verify_breathe(struct ln_verify_walk *w, bool *anew) LN_MUST;

/* Whether a record is what was put there: its sum, and its seal, for which there must be a key.
 * *why says what is wrong. */
bool ln_verify_sound(struct ln_verify_walk *w, enum ln_db db, MDB_val key, MDB_val val,
                     const char **why);
/* verify_rest.c: maps, parked, kv, index, numbers. Lunate's codes. */
int ln_verify_rest(struct ln_verify_walk *w) LN_MUST;
/* verify_version.c: script versions, in one transaction. Lunate's codes. */
int ln_verify_versions(struct ln_verify_walk *w) LN_MUST;
#endif
#endif
