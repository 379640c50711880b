/* Inside of readers: one transaction at a time, and memory for what has to be put together. */
#ifndef LN_STORE_READER_H
#define LN_STORE_READER_H

#ifndef LN_CDEF
#include "store/map.h"
#include "store/numbers.h"

struct ln_reader_block {
    struct ln_reader_block *next;
    size_t cap, used;
    _Alignas(16) char data[];
};

struct ln_reader {
    struct ln_env *env;
    struct ln_reader *next; /* of this environment */
    bool own_env; /* opened for this reader: closed with it */
    bool active;
    struct ln_plain plain;
    MDB_txn *txn; /* kept between uses (reset), NULL when there is none */
    MDB_cursor *cur[LN_DB_COUNT];
    bool cur_live[LN_DB_COUNT]; /* belongs to the transaction that is open */
    struct ln_reader_block *blocks;
    struct ln_item *items;
    uint32_t items_cap;
    struct ln_numbers numbers;
    uint32_t runs_chan; /* whose runs these are, in this transaction; 0 = nobody's */
    struct ln_span runs;
};

/* `how`: LN_ENV_BLIND, or 0. */
int ln_reader_open_as(const char *path, unsigned how, struct ln_reader **out,
                      struct ln_err *err) LN_MUST;
/* Drops the transactions of all readers, which must not be active: the environment is closed. */
void ln_reader_forget_all(struct ln_env *e);
/* Memory until ln_reader_end; NULL when there is none. */
char *ln_reader_alloc(struct ln_reader *r, size_t len);
/* A cursor for one data base, kept from one transaction to the next. Lunate's codes. */
int ln_reader_cursor(struct ln_reader *r, enum ln_db db, MDB_cursor **out) LN_MUST;
/* The place of a message; of the first at or behind *seq; of the last at or before it. */
int ln_reader_at(struct ln_reader *r, uint32_t chan, uint64_t seq, uint64_t *pos) LN_MUST;
int ln_reader_from(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint64_t *pos) LN_MUST;
int ln_reader_back(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint64_t *pos) LN_MUST;
/* The tail of a channel's map, and a cursor on the rest. */
int ln_reader_runs(struct ln_reader *r, uint32_t chan, MDB_cursor **cur,
                   struct ln_span *runs) LN_MUST;
/* The whole body of a record. */
int ln_reader_body(struct ln_reader *r, struct ln_at at, struct ln_span *body) LN_MUST;
/* Moves to the first key at or behind k, and says whether it begins with the first `prefix` bytes.
 */
int ln_reader_seek(MDB_cursor *c, struct ln_key *k, size_t prefix, MDB_val *key,
                   MDB_val *val) LN_MUST;
#endif
#endif
