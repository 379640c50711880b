/* Connecting to a host by name or address without blocking the loop. */
#ifndef LN_NET_DIAL_H
#define LN_NET_DIAL_H

#ifndef LN_CDEF
#include <event2/dns.h>
#include <event2/event.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

struct ln_dial;

/* Called once, unless cancelled: fd >= 0 is connected (non-blocking, TCP_NODELAY, keepalive);
 * otherwise -1 and why. The dial is over then. */
typedef void ln_dial_fn(void *owner, int fd, int code, const char *why);

/* Resolves (addresses are tried in order) and connects within timeout_ms per address. dns may be
 * NULL: then only literal addresses work. Always answers from the loop, never from within this
 * call. NULL when out of memory. */
struct ln_dial *ln_dial(struct event_base *base, struct evdns_base *dns, const char *host, int port,
                        int timeout_ms, ln_dial_fn *fn, void *owner);
/* Right after ln_dial: addresses that fn refuses are passed over; refused: the text when no other
 * reason stands against connecting. */
void ln_dial_admit(struct ln_dial *d, bool (*fn)(void *owner, const struct sockaddr *a),
                   const char *refused);
void ln_dial_cancel(struct ln_dial *d);
#endif

#endif
