/* Shared by work.c (the ring), result.c and waiter.c: how an entry gets its result. */
#ifndef LN_HUB_WORK_H
#define LN_HUB_WORK_H

#ifndef LN_CDEF
#include "hub/hub.h"

/* Entry i of the ring, from its head. */
static inline struct ln_entry *ln_work_at(struct ln_work *w, size_t i)
{
    return &w->ring[(w->head + i) & (w->cap - 1)];
}

/* ---- result.c ------------------------------------------------------------------------------ */

/* All three commit the result of the entry at `answered`, which counts as given. When memory runs
 * out it is parked, or stays where it is: `answered` says so. */

/* What the worker sent, which is neither a limit nor an error that stops the channel. */
void ln_result_commit(struct ln_channel *c, const struct ln_result *r);
/* Parks it with r's reason, place and trace, or `reason` when r is NULL. */
void ln_result_park(struct ln_channel *c, const char *reason, const struct ln_result *r);
/* One that no script sees: unreadable, or to be sent again. */
void ln_result_without_script(struct ln_channel *c, struct ln_entry *e);

/* ---- waiter.c ------------------------------------------------------------------------------ */

/* The sender is answered when seq has its result (or its deliveries). */
void ln_waiter_add(struct ln_work *w, uint64_t seq, struct ln_owed *owed, unsigned part);
/* e's result is committed. */
void ln_waiter_answer(struct ln_channel *c, const struct ln_entry *e);
/* The channel stops at this message. */
void ln_waiter_halted(struct ln_channel *c, uint64_t seq);
#endif
#endif
