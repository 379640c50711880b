/* Script versions: the committer's side. LMDB's codes. */
#ifndef LN_STORE_VERSION_WRITE_H
#define LN_STORE_VERSION_WRITE_H

#ifndef LN_CDEF
#include "store/engine.h"

int ln_version_put(struct ln_committer *c, struct ln_op *op);
int ln_version_pin(struct ln_committer *c, struct ln_op *op);
/* A result of message seq names a script: counts it to the present run, or begins the next. */
int ln_version_ran(struct ln_committer *c, struct ln_numbers *n, uint64_t seq, uint64_t script,
                   int64_t time_us);
/* Messages before n->s.first_seq are gone: so are runs that end there, and versions that nothing
 * names any more. */
int ln_version_trim(struct ln_committer *c, const struct ln_numbers *n);
#endif
#endif
