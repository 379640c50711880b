/* Inside of the writing store: what its files share.
 *
 * loop thread  store.c fills the gathering batch, dispatches what is done (batch.c)
 * committer    commit.c takes batches, lmdb_write.c applies them, index.c, trim.c, space.c
 * Between them only what stands under `lock`, and the environment's guard (lmdb_env.h). */
#ifndef LN_STORE_ENGINE_H
#define LN_STORE_ENGINE_H

#ifndef LN_CDEF
#include <pthread.h>
#include <stdatomic.h>

#include "store/index.h"
#include "store/lmdb_env.h"
#include "store/map.h"
#include "store/numbers.h"

enum ln_op_kind {
    LN_OP_CHANNEL, /* data: name */
    LN_OP_DEST, /* data: name */
    LN_OP_APPEND, /* data: record */
    LN_OP_RESULT, /* data: record (data_len), then kv writes */
    LN_OP_OUTCOME,
    LN_OP_EVENT,
    LN_OP_UNPARK,
    LN_OP_MODE, /* n = mode */
    LN_OP_HELD, /* n = held */
    LN_OP_RETAIN, /* data: two u64 */
    LN_OP_ARCHIVED, /* data: u64 */
    LN_OP_MOVE, /* data: struct ln_move */
    LN_OP_VERSION, /* data: record (data_len), then packed files (version.c) */
    LN_OP_PIN, /* data: record */
    LN_OP_KEYS, /* data: struct ln_keys *; n = taken over */
    LN_OP_FENCE, /* nothing */
};

struct ln_move {
    struct ln_pos from, to;
    uint64_t outputs;
};

struct ln_op {
    struct ln_op *next;
    ln_store_done *done;
    void *arg;
    uint64_t seq;
    uint32_t chan, n;
    uint16_t dest;
    uint8_t kind; /* enum ln_op_kind */
    bool must;
    bool settled; /* code is final: not applied again */
    bool in_doubt; /* in a transaction that failed, and may be in the store all the same */
    int code;
    size_t len, data_len; /* of data; of the record at its front */
    char *data;
};

struct ln_block {
    struct ln_block *next;
    size_t cap, used;
    _Alignas(16) char data[];
};

/* Operations in order, with their memory. */
struct ln_batch {
    struct ln_batch *next;
    struct ln_op *first, **last;
    unsigned count;
    uint64_t bytes, waste; /* waste: taken by operations that were refused */
    struct ln_block *blocks; /* newest first */
    struct ln_numbers *numbers; /* copies of what changed, for the loop */
    unsigned nnumbers, numbers_cap;
};

/* The loop's view of a channel. */
struct ln_channel {
    struct ln_numbers seen; /* as of the last dispatch */
    uint64_t next_seq, cursor; /* with what is queued */
    struct ln_pos *dest_pos; /* per destination: no outcome below it may follow */
    char (*dest_name)[LN_NAME_MAX + 1];
    unsigned ndest;
    char name[LN_NAME_MAX + 1];
};

struct ln_committer {
    struct ln_env *env;
    MDB_txn *txn;
    struct ln_batch *work; /* operations that must go in; NULL = none */
    struct ln_numbers *chans; /* by id - 1 */
    struct ln_map *maps; /* their tails, beside them */
    unsigned nchans, chans_cap;
    bool loaded; /* chans, maps and tail are what the store holds */
    MDB_cursor *cur[LN_DB_COUNT]; /* of txn, which frees them */
    uint64_t next_pos;
    bool merging; /* the index may have something to merge */
    struct ln_tail tail;
    uint64_t indexed; /* what is before stands in index blocks */
    struct ln_buf scratch, input;
    struct ln_seal *seal;
    struct ln_plain plain; /* opens into `opened` */
    struct ln_buf opened;
    bool keys_put; /* in this transaction */
    unsigned appended; /* in this transaction */
    bool failing;
    size_t pending_txn; /* number of a transaction whose commit failed, until that is settled */
    bool mark; /* the next transaction must not be empty */
    int64_t pause_until_us, retry_at_us, space_at_us, readers_at_us, trim_at_us;
    unsigned trim_chan;
    uint64_t reserve; /* as asked for; 0 = by the disk's size */
    uint64_t unlooked, look_every; /* bytes committed since room was looked at; at most */
};

struct ln_store {
    struct ln_env *env;
    int event_fd;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ln_batch *gather; /* NULL = nothing since the committer took it */
    bool in_group, idle, stop;
    int64_t stop_by_us;
    struct ln_batch *done, **done_last;
    struct ln_batch *spare;
    struct ln_block *spare_blocks;
    unsigned spare_count;
    struct ln_store_stat stat;

    _Atomic uint64_t backlog;
    _Atomic bool full;

    /* Loop thread only. */
    struct ln_channel *chans; /* by id - 1 */
    unsigned nchans, chans_cap;
    bool dispatching;

    struct ln_committer c; /* committer thread only */
};

/* ---- batch.c ------------------------------------------------------------------------------- */

/* Makes an operation in the gathering batch with room for `cap` bytes of data and returns it with
 * the store's lock held; ln_batch_push (which shrinks data to op->len) lets go. NULL: out of
 * memory. */
struct ln_op *ln_batch_op(struct ln_store *s, enum ln_op_kind kind, size_t cap);
void ln_batch_push(struct ln_store *s, struct ln_op *op);
/* Takes the gathering batch behind *to. Lock held. */
void ln_batch_take(struct ln_store *s, struct ln_batch **to);
/* Lock held by the callers of all below, too. */
/* Hands a batch to the loop. */
void ln_batch_publish(struct ln_store *s, struct ln_batch *b);
struct ln_batch *ln_batch_new(struct ln_store *s);
/* Keeps its memory for the next one. */
void ln_batch_recycle(struct ln_store *s, struct ln_batch *b);
/* Splits off the appends that may be refused, as a batch of their own that is done with `code`;
 * NULL when there is none. */
struct ln_batch *ln_batch_refuse(struct ln_store *s, struct ln_batch *b, int code);
void ln_batch_free(struct ln_batch *b);
void ln_batch_fini(struct ln_store *s);

/* ---- commit.c ------------------------------------------------------------------------------ */

void *ln_commit_thread(void *store);

/* ---- lmdb_write.c: LMDB's codes ------------------------------------------------------------ */

/* Reads channels and the part of the log that is not indexed. */
int ln_write_load(struct ln_committer *c);
int ln_write_apply(struct ln_committer *c, struct ln_batch *b);
/* Numbers that changed, and what belongs to them. */
int ln_write_numbers(struct ln_committer *c);
struct ln_numbers *ln_write_chan(struct ln_committer *c, uint32_t id);
/* A cursor of the transaction. */
int ln_write_cursor(struct ln_committer *c, enum ln_db db, MDB_cursor **cur);
/* The operation's channel, which will be written; NULL: there is none, as op->code says. */
struct ln_numbers *ln_write_touch(struct ln_committer *c, struct ln_op *op);
/* The place of an operation's message; when it has none that is op->code. */
int ln_write_place(struct ln_committer *c, struct ln_op *op, uint64_t *pos);
/* Lists output n (LN_WHOLE: all) of a message as parked. */
int ln_write_park(struct ln_committer *c, uint32_t chan, uint64_t seq, uint32_t n, uint16_t dest);

/* ---- lmdb_queue.c: the same ---------------------------------------------------------------- */

int ln_write_outcome(struct ln_committer *c, struct ln_op *op);
int ln_write_unpark(struct ln_committer *c, struct ln_op *op);
int ln_write_move(struct ln_committer *c, struct ln_op *op);

/* ---- lmdb_keys.c: the same ----------------------------------------------------------------- */

/* Sees to it that what this transaction puts is sealed, where it is to be. */
int ln_write_keys(struct ln_committer *c);
int ln_write_rekey(struct ln_committer *c, struct ln_op *op);

/* ---- trim.c, space.c ----------------------------------------------------------------------- */

/* One bite of at most `most` messages. LMDB's codes; *more = there is more to trim at once. */
int ln_trim_bite(struct ln_committer *c, unsigned most, int64_t now_us, bool *more);
/* Whether appends must be refused for lack of room; why is filled when so. */
bool ln_space_low(struct ln_committer *c, char *why, size_t cap);
/* Whether the disk itself is full: LMDB calls a write that was cut short for that an I/O error. */
bool ln_space_gone(const struct ln_committer *c);
#endif
#endif
