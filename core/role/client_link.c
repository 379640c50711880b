/* The connections of the load generator: making them, losing them, making them again. */
#include "role/client_link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTING_MAX 64u

void ln_client_fail(struct ln_client *c, const struct ln_link_target *t, int code, const char *what,
                    const char *why)
{
    if (c->rc == LN_OK)
        c->rc = ln_err_set(c->err, code, "%s %s:%s: %s", what, t->name->host, t->name->port, why);
}

void ln_link_watch(struct ln_client *c, struct ln_link *k, bool out)
{
    if (k->want_out == out)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0),
                             .data.u32 = (uint32_t)(k - c->conn)};
    epoll_ctl(c->epfd, EPOLL_CTL_MOD, k->fd, &ev);
    k->want_out = out;
}

void ln_link_reset(struct ln_client *c, struct ln_link *k)
{
    k->state = LN_LINK_CLOSED;
    c->closed++;
}

void ln_link_drop(struct ln_client *c, struct ln_link *k)
{
    if (k->state == LN_LINK_CONNECTING) {
        c->connecting--;
    } else if (k->fd >= 0) {
        c->connected--;
        k->target->connected--;
    }
    ln_tls_close(k->tls);
    k->tls = NULL;
    k->greeting = k->mute = false;
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
    size_t max = k->in.max_frame;
    ln_mllp_fini(&k->in);
    ln_mllp_init(&k->in, max);
}

void ln_link_lost(struct ln_client *c, struct ln_link *k, int64_t now)
{
    ln_link_drop(c, k);
    if (!c->started) {
        ln_client_fail(c, k->target, LN_ECLOSED, "cannot connect to",
                       "it closed a connection before all were open");
        return;
    }
    bool needed = c->next < c->opt->count;
    c->t->reconnects += needed;
    k->lost_us = k->lost_us ? k->lost_us : now;
    if (needed && k->state == LN_LINK_WAITING) {
        ln_link_reset(c, k);
    } else { /* closed while it had nothing to do: not at once, or it would go round and round */
        k->state = needed ? LN_LINK_BACKING_OFF : LN_LINK_IDLE;
        k->at_us = now + 100000;
    }
}

void ln_link_refused(struct ln_client *c, struct ln_link *k, int error, int64_t now)
{
    struct ln_link_target *t = k->target;
    ln_link_drop(c, k);
    if (!c->started && k->address != t->address) {
        ln_link_reset(c, k);
    } else if (!c->started && t->connected == 0 && t->address->ai_next) {
        t->address = t->address->ai_next;
        ln_link_reset(c, k);
    } else if (!c->started || now - k->lost_us > c->opt->timeout_us) {
        k->state = LN_LINK_IDLE;
        ln_client_fail(c, t, LN_ECLOSED,
                       c->started ? "cannot connect again to" : "cannot connect to",
                       strerror(error));
    } else {
        k->state = LN_LINK_BACKING_OFF;
        k->at_us = now + 200000;
    }
}

static void connected(struct ln_client *c, struct ln_link *k)
{
    c->connecting--;
    c->connected++;
    k->target->connected++;
    k->lost_us = 0;
    k->state = LN_LINK_IDLE;
    ln_link_watch(c, k, false);
}

bool ln_link_greet(struct ln_client *c, struct ln_link *k)
{
    int code = ln_tls_handshake(k->tls);
    if (code == LN_EAGAIN) {
        ln_link_watch(c, k, ln_tls_wants_write(k->tls));
        return false;
    }
    if (code != LN_OK) {
        ln_client_fail(c, k->target, LN_ETLS, "no TLS with", ln_tls_why(k->tls));
        return false;
    }
    k->greeting = false;
    connected(c, k);
    return true;
}

bool ln_link_connected(struct ln_client *c, struct ln_link *k, int64_t now)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
        ln_link_refused(c, k, error ? error : errno, now);
        return false;
    }
    if (c->opt->tls) {
        k->tls = ln_tls_open(c->opt->tls, k->fd, k->target->name->host);
        k->greeting = k->tls != NULL;
        if (!k->tls)
            ln_client_fail(c, k->target, LN_ENOMEM, "no TLS with", "out of memory");
        return k->tls && ln_link_greet(c, k);
    }
    connected(c, k);
    return true;
}

static void dial(struct ln_client *c, struct ln_link *k, int64_t now)
{
    const struct addrinfo *a = k->address = k->target->address;
    int one = 1;
    c->closed--;
    k->state = LN_LINK_IDLE;
    k->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (k->fd < 0) {
        ln_client_fail(c, k->target, LN_EIO, "cannot connect to", strerror(errno));
        return;
    }
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    k->state = LN_LINK_CONNECTING;
    k->at_us = now;
    k->want_out = true;
    c->connecting++;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)(k - c->conn)};
    if (connect(k->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        ln_link_refused(c, k, errno, now);
    else if (epoll_ctl(c->epfd, EPOLL_CTL_ADD, k->fd, &ev) < 0)
        ln_client_fail(c, k->target, LN_EIO, "cannot connect to", strerror(errno));
}

void ln_link_dial_more(struct ln_client *c, int64_t now)
{
    if (c->started && c->next >= c->opt->count)
        return;
    while (c->closed && c->connecting < CONNECTING_MAX && c->rc == LN_OK) {
        struct ln_link *k = &c->conn[c->cursor];
        c->cursor = (c->cursor + 1) % c->opt->connections;
        if (k->state == LN_LINK_CLOSED)
            dial(c, k, now);
    }
}
