/* Work that takes too long for the loop: a thread does it, then the loop goes on with its outcome.
 */
#ifndef LN_HUB_JOB_H
#define LN_HUB_JOB_H

#ifndef LN_CDEF
#include <event2/event.h>

#include "base/err.h"

/* Calls work(arg) in a thread, then done(arg) from the loop. What arg leads to is the thread's
 * until then. */
int ln_job_start(struct event_base *base, void (*work)(void *), void (*done)(void *),
                 void *arg) LN_MUST;
/* At the end: waits for the threads that are at work, for 3 s; their done is not called. */
void ln_job_end_all(void);
#endif

#endif
