/* Connections for a script: its worker has no way to make one. It asks over a socketpair of its
 * own; what its channel's allow.net names is looked up and connected to here, and the connected
 * descriptor is handed over. What the name means is checked address by address when it is connected
 * to, not before, so that it cannot come to mean another meanwhile.
 *
 * SOCK_SEQPACKET, one request at a time (a later one ends the one before it):
 * worker -> hub: u32 id, u32 timeout_ms, u16 port, bytes host;
 * hub -> worker: u32 id, u8 0 (connected, with the descriptor), 1 (failed), 2 (not granted), bytes
 * why. */
#ifndef LN_HUB_REACH_H
#define LN_HUB_REACH_H

#ifndef LN_CDEF
#include "hub/hub.h"

struct ln_reach;

/* theirs: the worker's end, to be closed by the caller once it has been started. */
int ln_reach_new(struct ln_channel *c, struct ln_reach **out, int *theirs) LN_MUST;
/* Ends what is under way. r may be NULL. */
void ln_reach_free(struct ln_reach *r);
#endif

#endif
