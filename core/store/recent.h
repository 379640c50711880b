/* What the index's blocks do not hold yet, in the engine's memory: a look-up while messages come in
 * (duplicates = "ack" makes one for each) would else read thousands of receipts.
 *
 * The committer adds after each commit; readers of the same process ask. A reader's transaction may
 * be older or newer than what is here: `base` and `covered` say which part of the log it is. */
#ifndef LN_STORE_RECENT_H
#define LN_STORE_RECENT_H

#ifndef LN_CDEF
#include "store/index.h"

struct ln_recent;

struct ln_recent *ln_recent_new(void);
void ln_recent_free(struct ln_recent *r);
/* The tail after a commit: it holds all of [base, end) that is to be found by an id. */
void ln_recent_take(struct ln_recent *r, const struct ln_tail *t, uint64_t base, uint64_t end);
/* Places of entries with this hash, ascending, in a new array (free it; NULL when there is none);
 * *end: the first place that is not looked at. LN_EAGAIN: what is here begins elsewhere than at
 * base. Lunate's codes. */
int ln_recent_find(struct ln_recent *r, enum ln_index kind, uint64_t hash, uint64_t base,
                   uint64_t **pos, unsigned *n, uint64_t *end) LN_MUST;
#endif
#endif
