/* A connection of a process that has nothing else to do: calls block, each with a deadline. For
 * protocols without answers (RFC 5425): the orderly end tells whether the peer has read all of it.
 */
#ifndef LN_NET_LINK_H
#define LN_NET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "net/tls.h"

struct ln_link;

/* Waits until fd can be read or written; false: not by until_us (ln_mono_us). */
bool ln_link_wait(int fd, short events, int64_t until_us);
/* Connects to one of the host's addresses: a non-blocking descriptor; -1 and why. */
int ln_link_dial(const char *host, const char *port, int64_t until_us, const char **why);

/* Connects and shakes hands. tls NULL: in clear. err says what failed with whom. */
int ln_link_open(const char *host, const char *port, struct ln_tls *tls, int timeout_ms,
                 struct ln_link **out, struct ln_err *err) LN_MUST;
/* All of it is the system's when it returns LN_OK; that says nothing of the peer. */
int ln_link_send(struct ln_link *l, struct ln_span data, int timeout_ms,
                 struct ln_err *err) LN_MUST;
/* LN_OK: as far as is known here, the peer is there. */
int ln_link_look(struct ln_link *l, struct ln_err *err) LN_MUST;
/* Ends our side, waits for the peer to end its own. LN_OK: it has read all that was sent, since a
 * system that is left with unread bytes resets the connection. Otherwise nobody knows. */
int ln_link_finish(struct ln_link *l, int timeout_ms, struct ln_err *err) LN_MUST;
void ln_link_close(struct ln_link *l); /* l may be NULL */

#endif
