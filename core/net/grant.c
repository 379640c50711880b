#include "net/grant.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { V4 = 96 }; /* bits before an IPv4 address in its IPv6 form */

/* All in the form of IPv6; IPv4 as ::ffff:a.b.c.d. */
struct net {
    unsigned char a[16];
    int bits;
};

static bool parse(const char *text, struct net *out)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    char host[64], *end = NULL;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    bool v4 = inet_pton(AF_INET, host, out->a + 12) == 1;
    if (v4)
        memcpy(out->a, mapped, sizeof mapped);
    else if (inet_pton(AF_INET6, host, out->a) != 1)
        return false;
    long most = v4 ? 32 : 128, bits = slash ? strtol(slash + 1, &end, 10) : most;
    if (bits < 0 || bits > most || (slash && (end == slash + 1 || *end)))
        return false;
    out->bits = (int)bits + (v4 ? V4 : 0);
    return true;
}

static bool holds(const struct net *n, const unsigned char *a)
{
    int whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->a, a, (size_t)whole) != 0)
        return false;
    return rest == 0 || (n->a[whole] >> (8 - rest)) == (a[whole] >> (8 - rest));
}

/* The range of those that a name cannot mean which the address is in: its number from 1, loopback's
 * are 1 and 2; 0: in none. */
static int special(const unsigned char *a, struct net *out)
{
    static const char *const ranges[] = {
        "127.0.0.0/8", "::1",      "0.0.0.0/8",   "::",        "169.254.0.0/16",  "fe80::/10",
        "224.0.0.0/4", "ff00::/8", "240.0.0.0/4", "fec0::/10", "100.100.100.200", "fd00:ec2::254"};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (parse(ranges[i], out) && holds(out, a))
            return (int)i + 1;
    return 0;
}

/* Splits "HOST:PORT"; host without brackets. False: not this port. */
static bool split(const char *entry, int port, char *host, size_t cap)
{
    const char *colon = strrchr(entry, ':');
    bool v6 = entry[0] == '[';
    if (!colon || atoi(colon + 1) != port || colon - entry < 1 + 2 * v6)
        return false;
    return snprintf(host, cap, "%.*s", (int)(colon - entry) - 2 * v6, entry + v6) < (int)cap;
}

static bool listed(const char *const *list, unsigned n, int port, const unsigned char *a)
{
    char host[300];
    struct net e, range;
    int is_special = special(a, &range);
    for (unsigned i = 0; i < n; i++)
        if (split(list[i], port, host, sizeof host) && parse(host, &e) && holds(&e, a) &&
            (!is_special || (e.bits >= range.bits && holds(&range, e.a))))
            return true;
    return false;
}

bool ln_grant_host(const char *const *list, unsigned n, const char *host, int port)
{
    char word[300];
    struct net a;
    if (parse(host, &a))
        return !strchr(host, '/') && listed(list, n, port, a.a);
    for (unsigned i = 0; i < n; i++)
        if (split(list[i], port, word, sizeof word) && strcasecmp(word, host) == 0)
            return true;
    return false;
}

bool ln_grant_address(const char *const *list, unsigned n, const char *host, int port,
                      const struct sockaddr *sa)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct net a, range, own;
    if (sa->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, text,
                  sizeof text);
    else if (sa->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, text,
                  sizeof text);
    if (!parse(text, &a))
        return false;
    if (listed(list, n, port, a.a))
        return true;
    if (parse(host, &own) || !ln_grant_host(list, n, host, port))
        return false;
    int in = special(a.a, &range);
    return in == 0 || (in <= 2 && strcasecmp(host, "localhost") == 0);
}
