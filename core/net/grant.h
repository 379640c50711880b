/* What a channel's `allow.net` lets its script talk to: entries "HOST:PORT", where HOST is a name,
 * an address ("192.0.2.7", "[2001:db8::7]") or a net ("10.0.0.0/8", "[2001:db8::/32]").
 *
 * A name that is listed may mean any address but loopback, link-local, multicast and cloud metadata
 * ones: these are granted only by an entry that lies wholly in such a range. So neither a name
 * whose owner makes it mean 127.0.0.1 nor "0.0.0.0/0:80" opens what listens on this machine alone.
 * What listens on its other addresses is open to others, too. */
#ifndef LN_NET_GRANT_H
#define LN_NET_GRANT_H

#include <stdbool.h>

#ifndef LN_CDEF
#include <sys/socket.h>
#endif
struct sockaddr;

/* May it be looked up and tried? host: a name, or an address without brackets. */
bool ln_grant_host(const char *const *list, unsigned n, const char *host, int port);
/* The same for an address that host turned out to mean. */
bool ln_grant_address(const char *const *list, unsigned n, const char *host, int port,
                      const struct sockaddr *a);

#endif
