#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ln_address_host(const char *peer, char *out, size_t cap)
{
    const char *colon = strrchr(peer, ':');
    bool v6 = peer[0] == '[';
    int len = colon ? (int)(colon - peer) - 2 * v6 : (int)strlen(peer);
    snprintf(out, cap, "%.*s", len > 0 ? len : 0, peer + v6);
}

bool ln_address_within(const char *range, const char *peer)
{
    char net[64], addr[64];
    unsigned char a[16], b[16];
    const char *slash = strchr(range, '/');
    bool v6 = peer[0] == '[';
    snprintf(net, sizeof net, "%.*s", slash ? (int)(slash - range) : (int)strlen(range), range);
    ln_address_host(peer, addr, sizeof addr);
    int family = v6 ? AF_INET6 : AF_INET, bits = v6 ? 128 : 32;
    if (inet_pton(family, net, a) != 1 || inet_pton(family, addr, b) != 1)
        return false;
    if (slash && atoi(slash + 1) < bits)
        bits = atoi(slash + 1);
    if (memcmp(a, b, (size_t)bits / 8) != 0)
        return false;
    int rest = bits % 8;
    return rest == 0 || (a[bits / 8] >> (8 - rest)) == (b[bits / 8] >> (8 - rest));
}

bool ln_address_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}
