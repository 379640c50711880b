#include "net/dial.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"

struct ln_dial {
    struct event ev, soon;
    struct event_base *base;
    struct evdns_getaddrinfo_request *query;
    struct evutil_addrinfo *list, *at;
    int fd, timeout_ms, last_errno;
    bool resolving; /* the callback of evdns_getaddrinfo is still to come */
    bool cancelled; /* freed by that callback */
    const char *why, *refused;
    bool (*admit)(void *owner, const struct sockaddr *a); /* NULL: all */
    ln_dial_fn *fn;
    void *owner;
};

static void try_next(struct ln_dial *d);

static void dial_free(struct ln_dial *d)
{
    if (d->fd >= 0) {
        event_del(&d->ev);
        close(d->fd);
    }
    evtimer_del(&d->soon);
    if (d->list)
        evutil_freeaddrinfo(d->list);
    free(d);
}

static void finish(struct ln_dial *d, int fd, int code, const char *why)
{
    ln_dial_fn *fn = d->fn;
    void *owner = d->owner;
    dial_free(d);
    fn(owner, fd, code, why);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct ln_dial *d = arg;
    int e = 0;
    socklen_t len = sizeof e;
    if (what & EV_TIMEOUT)
        e = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
    event_del(&d->ev);
    d->fd = -1;
    if (e == 0) {
        ln_stream_tune_tcp(fd);
        finish(d, fd, LN_OK, NULL);
        return;
    }
    close(fd);
    d->last_errno = e;
    d->at = d->at->ai_next;
    try_next(d);
}

static void try_next(struct ln_dial *d)
{
    for (; d->at; d->at = d->at->ai_next) {
        if (d->admit && !d->admit(d->owner, d->at->ai_addr)) {
            d->why = d->last_errno ? NULL : d->refused;
            continue;
        }
        int fd = socket(d->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            d->last_errno = errno;
            continue;
        }
        struct timeval tv = {d->timeout_ms / 1000, d->timeout_ms % 1000 * 1000};
        if (connect(fd, d->at->ai_addr, (socklen_t)d->at->ai_addrlen) == 0 ||
            errno == EINPROGRESS) {
            d->fd = fd;
            event_assign(&d->ev, d->base, fd, EV_WRITE, on_connected, d);
            event_add(&d->ev, &tv);
            d->why = NULL;
            return;
        }
        d->last_errno = errno;
        close(fd);
    }
    finish(d, -1, ln_code_from_errno(d->last_errno),
           d->why ? d->why : strerror(d->last_errno ? d->last_errno : EADDRNOTAVAIL));
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    try_next(arg);
}

static void on_resolved(int rc, struct evutil_addrinfo *list, void *arg)
{
    struct ln_dial *d = arg;
    d->resolving = false;
    d->query = NULL;
    if (d->cancelled) {
        if (list)
            evutil_freeaddrinfo(list);
        dial_free(d);
        return;
    }
    d->list = d->at = list;
    if (rc != 0)
        d->why = evutil_gai_strerror(rc);
    struct timeval now = {0, 0};
    evtimer_add(&d->soon, &now); /* this may be running inside ln_dial */
}

struct ln_dial *ln_dial(struct event_base *base, struct evdns_base *dns, const char *host, int port,
                        int timeout_ms, ln_dial_fn *fn, void *owner)
{
    struct evutil_addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP}, *list;
    char service[8];
    struct ln_dial *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->base = base;
    d->fd = -1;
    d->timeout_ms = timeout_ms;
    d->fn = fn;
    d->owner = owner;
    evtimer_assign(&d->soon, base, on_soon, d);
    snprintf(service, sizeof service, "%d", port);
    hints.ai_flags = EVUTIL_AI_NUMERICHOST;
    d->resolving = true;
    if (evutil_getaddrinfo(host, service, &hints, &list) == 0) {
        on_resolved(0, list, d);
    } else if (!dns) {
        on_resolved(EVUTIL_EAI_NONAME, NULL, d);
    } else {
        hints.ai_flags = 0;
        d->query = evdns_getaddrinfo(dns, host, service, &hints, on_resolved, d);
    }
    return d;
}

void ln_dial_admit(struct ln_dial *d, bool (*fn)(void *owner, const struct sockaddr *a),
                   const char *refused)
{
    d->admit = fn;
    d->refused = refused;
}

void ln_dial_cancel(struct ln_dial *d)
{
    if (!d)
        return;
    if (d->resolving) {
        d->cancelled = true;
        if (d->query)
            evdns_getaddrinfo_cancel(d->query);
        return;
    }
    dial_free(d);
}
