/* One message through a channel's functions: filter, transform, then each destination's own, to a
 * RESULT record (ipc/proto.h).
 *
 * The script works on the message in place. A destination with functions of its own gets a copy;
 * one without gets the bytes, written out once and referred to from then on. */
#ifndef LN_SCRIPT_RUN_H
#define LN_SCRIPT_RUN_H

#include <stdint.h>

#include "base/buf.h"
#include "ipc/proto.h"
#include "script/channel.h"

struct lua_State;

struct ln_run; /* opaque: working memory */

/* The run uses slot LN_SLOT_RUN of the state. */
int ln_run_new(struct lua_State *L, const struct ln_channel *ch, struct ln_run **out) LN_MUST;
void ln_run_free(struct ln_run *run);

/* Processes raw; started_us: mono time at its start. The result is valid until ln_run_forget, which
 * must follow before the next message. With LN_V_LIMIT no further message may be given. */
const struct ln_result *ln_run_message(struct ln_run *run, uint64_t seq, struct ln_span raw,
                                       int64_t started_us);
void ln_run_forget(struct ln_run *run);

#endif
