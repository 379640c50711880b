#include "net/link.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

struct ln_link {
    int fd;
    struct ln_tls_session *tls; /* NULL: in clear */
    char peer[300];
};

bool ln_link_wait(int fd, short events, int64_t until_us)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until_us - ln_mono_us();
    return left > 0 && poll(&p, 1, (int)(left / 1000 + 1)) > 0;
}

int ln_link_dial(const char *host, const char *port, int64_t until_us, const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
    int fd = -1, e = getaddrinfo(host, port, &hints, &list);
    *why = e ? gai_strerror(e) : "timed out";
    if (e)
        return -1;
    for (a = list; a && fd < 0; a = a->ai_next) {
        socklen_t len = sizeof e;
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        e = fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
        if (e == EINPROGRESS && ln_link_wait(fd, POLLOUT, until_us))
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
        if (e && fd >= 0) {
            *why = e == EINPROGRESS ? "timed out" : strerror(e);
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int shake(struct ln_link *l, struct ln_tls *tls, const char *host, int64_t until_us,
                 struct ln_err *err)
{
    l->tls = ln_tls_open(tls, l->fd, host);
    int rc = l->tls ? LN_EAGAIN : LN_ENOMEM;
    while (rc == LN_EAGAIN) {
        rc = ln_tls_handshake(l->tls);
        if (rc == LN_EAGAIN &&
            !ln_link_wait(l->fd, ln_tls_wants_write(l->tls) ? POLLOUT : POLLIN, until_us))
            rc = LN_ETIMEOUT;
    }
    if (rc == LN_OK)
        return rc;
    return ln_err_set(err, rc, "no TLS with %s: %s", l->peer,
                      rc == LN_ETIMEOUT ? "no handshake in time: does it speak TLS?"
                      : l->tls          ? ln_tls_why(l->tls)
                                        : "out of memory");
}

int ln_link_open(const char *host, const char *port, struct ln_tls *tls, int timeout_ms,
                 struct ln_link **out, struct ln_err *err)
{
    const char *why = "";
    int64_t until_us = ln_mono_us() + timeout_ms * 1000ll;
    struct ln_link *l = calloc(1, sizeof *l);
    if (!l)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    snprintf(l->peer, sizeof l->peer, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    l->fd = ln_link_dial(host, port, until_us, &why);
    int rc = l->fd < 0 ? ln_err_set(err, LN_ECLOSED, "cannot connect to %s: %s", l->peer, why)
             : tls     ? shake(l, tls, host, until_us, err)
                       : LN_OK;
    if (rc == LN_OK)
        *out = l;
    else
        ln_link_close(l);
    return rc;
}

static int cut(struct ln_link *l, struct ln_err *err, const char *why)
{
    return ln_err_set(err, LN_ECLOSED, "%s ended the connection: %s", l->peer, why);
}

/* Takes what the peer says, which has no meaning here. LN_EAGAIN: nothing more for now; LN_OK: it
 * has ended its side, having read all of ours that came before. */
static int drain(struct ln_link *l, struct ln_err *err)
{
    char data[4096];
    for (;;) {
        ssize_t n = l->tls && ln_tls_pending(l->tls)
                        ? 1
                        : recv(l->fd, data, sizeof data, MSG_DONTWAIT | (l->tls ? MSG_PEEK : 0));
        if (n == 0)
            return LN_OK;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return LN_EAGAIN;
        if (n < 0)
            return cut(l, err, strerror(errno));
        if (!l->tls)
            continue;
        long rc = ln_tls_read(l->tls, data, sizeof data);
        if (rc == 0)
            return LN_OK;
        if (rc == LN_ETLS || rc == LN_ECLOSED)
            return cut(l, err, ln_tls_why(l->tls));
        if (rc == LN_EAGAIN)
            return LN_EAGAIN;
    }
}

int ln_link_look(struct ln_link *l, struct ln_err *err)
{
    int rc = drain(l, err);
    if (rc == LN_EAGAIN)
        return LN_OK;
    return rc == LN_OK ? cut(l, err, "it closed it") : rc;
}

/* A write that failed: the peer may have said why before. */
static int broken(struct ln_link *l, int e, struct ln_err *err)
{
    int rc = drain(l, err);
    return rc == LN_OK || rc == LN_EAGAIN ? cut(l, err, e ? strerror(e) : "it closed it") : rc;
}

int ln_link_send(struct ln_link *l, struct ln_span data, int timeout_ms, struct ln_err *err)
{
    int64_t until_us = ln_mono_us() + timeout_ms * 1000ll;
    size_t at = 0;
    while (at < data.len) {
        errno = 0;
        long n = l->tls ? ln_tls_write(l->tls, data.ptr + at, data.len - at)
                        : send(l->fd, data.ptr + at, data.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += (size_t)n;
            continue;
        }
        if (l->tls ? n < 0 : n < 0 && errno != EAGAIN && errno != EINTR)
            return broken(l, errno, err);
        int rc = drain(l, err);
        if (rc != LN_EAGAIN)
            return rc == LN_OK ? cut(l, err, "it closed it") : rc;
        if (!ln_link_wait(l->fd, POLLOUT, until_us))
            return ln_err_set(err, LN_ETIMEOUT, "%s takes nothing: not a byte went through in %d s",
                              l->peer, timeout_ms / 1000);
    }
    return LN_OK;
}

/* The peer has ended its side: did it do so before it had ours? Then its system resets. */
static int settle(struct ln_link *l, int64_t until_us, struct ln_err *err)
{
    for (;;) {
        struct timespec pause = {0, 2000000};
        socklen_t len = sizeof(int);
        int e = 0, left = 0;
        if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0 || e ||
            ioctl(l->fd, SIOCOUTQ, &left) != 0)
            return cut(l, err, strerror(e ? e : errno));
        if (left == 0)
            return LN_OK;
        if (ln_mono_us() > until_us)
            return cut(l, err, "it closed it before it had all");
        nanosleep(&pause, NULL);
    }
}

int ln_link_finish(struct ln_link *l, int timeout_ms, struct ln_err *err)
{
    int64_t until_us = ln_mono_us() + timeout_ms * 1000ll;
    if (l->tls)
        ln_tls_end(l->tls);
    if (shutdown(l->fd, SHUT_WR) != 0)
        return broken(l, errno, err);
    for (;;) {
        int rc = drain(l, err);
        if (rc != LN_EAGAIN)
            return rc == LN_OK ? settle(l, until_us, err) : rc;
        if (!ln_link_wait(l->fd, POLLIN, until_us))
            return ln_err_set(
                err, LN_ETIMEOUT,
                "%s did not end the connection within %d s after we had: nobody knows "
                "whether it read what was sent",
                l->peer, timeout_ms / 1000);
    }
}

void ln_link_close(struct ln_link *l)
{
    if (!l)
        return;
    ln_tls_close(l->tls);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}
