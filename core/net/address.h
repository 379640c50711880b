/* Addresses of peers, as ln_accept_fn names them: "192.0.2.7:51234", "[2001:db8::1]:51234". */
#ifndef LN_NET_ADDRESS_H
#define LN_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* range: an address, or a net as in "192.0.2.0/24". IPv4 that came over IPv6 is IPv4 here. */
bool ln_address_within(const char *range, const char *peer);
/* The peer without its port (and without brackets) into out. */
void ln_address_host(const char *peer, char *out, size_t cap);
/* Is this host (a literal address, or "localhost") one that only this machine can reach? */
bool ln_address_loopback(const char *host);

#endif
