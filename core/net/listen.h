/* Listening sockets: TCP on IPv4, IPv6 or both, and the control socket. */
#ifndef LN_NET_LISTEN_H
#define LN_NET_LISTEN_H

#ifndef LN_CDEF
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct ln_listener;

/* A connection came: fd is non-blocking, close-on-exec, with TCP_NODELAY and keepalive on; peer is
 * "192.0.2.7:51234" or "[2001:db8::1]:51234". The callee owns fd. */
typedef void ln_accept_fn(void *owner, int fd, const char *peer);

/* host: a literal address, a name of this machine, or "*" for all of IPv4 and IPv6. A name that
 * means several addresses ("localhost") opens all of them. port 1..65535. err names the address and
 * what to do (in use, not permitted, not an address of this machine). */
int ln_listen_tcp(struct event_base *base, const char *host, int port, ln_accept_fn *fn,
                  void *owner, struct ln_listener **out, struct ln_err *err) LN_MUST;
/* True when host is a name, which takes a look-up: that may take seconds. */
bool ln_listen_by_name(const char *host);
/* Looks a name up, in any thread: its addresses, with blanks between. err says what failed. */
int ln_listen_resolve(const char *host, char *out, size_t cap, struct ln_err *err) LN_MUST;
/* As ln_listen_tcp, on what ln_listen_resolve has found for host. */
int ln_listen_resolved(struct event_base *base, const char *host, const char *addresses, int port,
                       ln_accept_fn *fn, void *owner, struct ln_listener **out,
                       struct ln_err *err) LN_MUST;
/* Unix socket with mode 0600; a stale one is replaced. Long paths work. */
int ln_listen_unix(struct event_base *base, const char *dir, const char *name, ln_accept_fn *fn,
                   void *owner, struct ln_listener **out, struct ln_err *err) LN_MUST;
void ln_listener_free(struct ln_listener *l);
#endif

#endif
