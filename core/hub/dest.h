/* Shared by dest.c, which has the queue, and send.c, which has the wire. */
#ifndef LN_HUB_DEST_H
#define LN_HUB_DEST_H

#ifndef LN_CDEF
#include "hub/hub.h"

enum { LN_REPLY_MAX = 1 << 20, LN_UNCOMMITTED_MAX = 64 };

/* ---- dest.c */

/* The first of the queue; there must be one. */
struct ln_due *ln_dest_first(struct ln_dest *d);
/* Behind: reads on from the store, up to the results known to be committed. */
void ln_dest_refill(struct ln_dest *d);
void ln_dest_arm(struct ln_dest *d, double seconds);
void ln_dest_disconnect(struct ln_dest *d);
/* The first one's end; the queue goes on. */
void ln_dest_end(struct ln_dest *d, uint8_t state, struct ln_span reply, const char *reason);
/* A try failed. Only tries in which the message was sent count towards `attempts`: a receiver that
 * is down for two days must not park a whole queue. */
void ln_dest_fail(struct ln_dest *d, enum ln_try which, const char *why, struct ln_span reply);

/* Gives the first one its outcome and takes it off the queue. */
int ln_dest_commit(struct ln_dest *d, uint8_t state, struct ln_span reply,
                   const char *reason) LN_MUST;
void ln_dest_pop(struct ln_dest *d);
/* Somebody who stepped is told what came of it. */
void ln_dest_end_step(struct ln_dest *d, enum ln_step_end end, const char *text);

/* on_reply = "stop": the first one stays, and the queue is held. */
void ln_dest_refused(struct ln_dest *d, const char *why);

/* ---- dest_hand.c */

/* Goes on passing over what stands before d->skip_to. */
void ln_dest_pass_on(struct ln_dest *d);

/* ---- send.c */

/* Sends the first of the queue, connecting first where need be. */
void ln_send_first(struct ln_dest *d);
void ln_send_timer(evutil_socket_t fd, short what, void *arg);
#endif
#endif
