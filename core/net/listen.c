#include "net/listen.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/stream.h"

enum { ADDRS_MAX = 8, BACKLOG = 4096, ACCEPTS_PER_TURN = 64, RETRY_MS = 100 };

struct ln_listener {
    struct event ev[ADDRS_MAX];
    struct event retry;
    int fd[ADDRS_MAX];
    int n;
    bool tcp, waiting;
    ln_accept_fn *fn;
    void *owner;
};

static void peer_name(const struct sockaddr_storage *sa, socklen_t len, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE], port[8];
    if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, cap, "unknown");
    else if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.'))
        snprintf(out, cap, "%s:%s", host + 7, port);
    else
        snprintf(out, cap, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct ln_listener *l = arg;
    (void)fd;
    (void)what;
    l->waiting = false;
    for (int i = 0; i < l->n; i++)
        event_add(&l->ev[i], NULL);
}

/* Out of descriptors: the connection stays in the kernel's queue; look again in a moment instead of
 * spinning on a socket that stays readable. */
static void wait_a_moment(struct ln_listener *l)
{
    struct timeval tv = {0, RETRY_MS * 1000};
    for (int i = 0; i < l->n; i++)
        event_del(&l->ev[i]);
    if (!l->waiting)
        ln_log(LN_ERROR, "listen", "accept_failed", "why=\"%s\" retry_ms=%d", strerror(errno),
               RETRY_MS);
    l->waiting = true;
    event_add(&l->retry, &tv);
}

static void on_accept(evutil_socket_t lfd, short what, void *arg)
{
    struct ln_listener *l = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        char peer[80] = "local";
        int fd = accept4(lfd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                wait_a_moment(l);
            return;
        }
        if (l->tcp) {
            ln_stream_tune_tcp(fd);
            peer_name(&sa, len, peer, sizeof peer);
        }
        l->fn(l->owner, fd, peer);
    }
}

static struct ln_listener *listener_new(struct event_base *base, ln_accept_fn *fn, void *owner,
                                        bool tcp)
{
    struct ln_listener *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->fn = fn;
    l->owner = owner;
    l->tcp = tcp;
    evtimer_assign(&l->retry, base, on_retry, l);
    return l;
}

static void add_fd(struct ln_listener *l, struct event_base *base, int fd)
{
    l->fd[l->n] = fd;
    event_assign(&l->ev[l->n], base, fd, EV_READ | EV_PERSIST, on_accept, l);
    event_add(&l->ev[l->n], NULL);
    l->n++;
}

static int open_one(const struct addrinfo *ai, bool v6only)
{
    int on = 1, off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only ? &on : &off, sizeof on);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static int bind_error(struct ln_err *err, const char *host, int port, int e)
{
    switch (e) {
    case EADDRINUSE:
        return ln_err_set(err, LN_EBUSY,
                          "port %d on %s is in use by another program: stop it (ss -ltnp shows it) "
                          "or choose another port",
                          port, host);
    case EACCES:
        return ln_err_set(err, LN_EINVAL,
                          "may not listen on port %d of %s: ports below 1024 need "
                          "CAP_NET_BIND_SERVICE",
                          port, host);
    case EADDRNOTAVAIL:
        return ln_err_set(err, LN_EINVAL, "%s is not an address of this machine (port %d)", host,
                          port);
    default:
        return ln_err_set(err, ln_code_from_errno(e), "cannot listen on %s port %d: %s", host, port,
                          strerror(e));
    }
}

static int listen_on(struct event_base *base, const char *host, const struct addrinfo *list,
                     int port, ln_accept_fn *fn, void *owner, struct ln_listener **out,
                     struct ln_err *err)
{
    bool all = strcmp(host, "*") == 0;
    struct ln_listener *l = listener_new(base, fn, owner, true);
    int failed = l ? 0 : ENOMEM;
    for (const struct addrinfo *ai = list; ai && l && l->n < ADDRS_MAX; ai = ai->ai_next) {
        int fd = open_one(ai, !all);
        if (fd >= 0)
            add_fd(l, base, fd);
        else if (errno != EAFNOSUPPORT && (errno != EADDRNOTAVAIL || !ai->ai_next || l->n == 0))
            failed = failed ? failed : errno;
    }
    if (l && l->n > 0 && (failed == 0 || failed == EADDRNOTAVAIL)) {
        *out = l;
        return LN_OK;
    }
    if (l)
        ln_listener_free(l);
    if (all &&
        (failed == EAFNOSUPPORT || failed == EADDRNOTAVAIL || failed == 0)) /* no IPv6 here */
        return ln_listen_tcp(base, "0.0.0.0", port, fn, owner, out, err);
    return bind_error(err, host, port, failed ? failed : EADDRNOTAVAIL);
}

static int look_up(const char *host, int port, bool numeric, struct addrinfo **list)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char service[8];
    bool all = strcmp(host, "*") == 0;
    snprintf(service, sizeof service, "%d", port);
    if (all || numeric)
        hints.ai_flags |= AI_NUMERICHOST;
    *list = NULL;
    return getaddrinfo(all ? "::" : host, service, &hints, list);
}

int ln_listen_tcp(struct event_base *base, const char *host, int port, ln_accept_fn *fn,
                  void *owner, struct ln_listener **out, struct ln_err *err)
{
    struct addrinfo *list;
    int rc = look_up(host, port, false, &list);
    if (rc != 0)
        return ln_err_set(err, LN_EINVAL, "cannot listen on %s: %s", host, gai_strerror(rc));
    rc = listen_on(base, host, list, port, fn, owner, out, err);
    freeaddrinfo(list);
    return rc;
}

bool ln_listen_by_name(const char *host)
{
    struct addrinfo *list;
    bool named = look_up(host, 1, true, &list) != 0;
    if (list)
        freeaddrinfo(list);
    return named;
}

int ln_listen_resolve(const char *host, char *out, size_t cap, struct ln_err *err)
{
    struct addrinfo *list;
    size_t n = 0;
    int rc = look_up(host, 1, false, &list);
    out[0] = '\0';
    if (rc != 0)
        return ln_err_set(err, LN_EINVAL, "cannot listen on %s: %s", host, gai_strerror(rc));
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
        if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) ==
                0 &&
            n + strlen(text) + 2 < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", text);
    }
    freeaddrinfo(list);
    return LN_OK;
}

int ln_listen_resolved(struct event_base *base, const char *host, const char *addresses, int port,
                       ln_accept_fn *fn, void *owner, struct ln_listener **out, struct ln_err *err)
{
    struct addrinfo *list = NULL, **end = &list;
    int rc = LN_OK;
    while (*addresses && rc == 0) {
        char one[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
        size_t n = strcspn(addresses, " ");
        snprintf(one, sizeof one, "%.*s", (int)n, addresses);
        rc = look_up(one, port, true, end);
        while (*end)
            end = &(*end)->ai_next;
        addresses += n + (addresses[n] == ' ');
    }
    if (rc != 0)
        rc = ln_err_set(err, LN_EINVAL, "cannot listen on %s: %s", host, gai_strerror(rc));
    else
        rc = listen_on(base, host, list, port, fn, owner, out, err);
    if (list)
        freeaddrinfo(list);
    return rc;
}

int ln_listen_unix(struct event_base *base, const char *dir, const char *name, ln_accept_fn *fn,
                   void *owner, struct ln_listener **out, struct ln_err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int rc = LN_OK, fd = -1;
    int dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct ln_listener *l = listener_new(base, fn, owner, false);
    if (dfd < 0 || !l) {
        rc = ln_err_set(err, LN_EIO, "%s: %s", dir, strerror(errno));
        goto out;
    }
    /* Through the descriptor: sun_path has room for 107 bytes only. */
    if ((size_t)snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/%s", dfd, name) >=
        sizeof un.sun_path) {
        rc = ln_err_set(err, LN_EINVAL, "control socket name %s is too long", name);
        goto out;
    }
    unlinkat(dfd, name, 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) != 0 || listen(fd, 64) != 0) {
        rc = ln_err_set(err, ln_code_from_errno(errno), "control socket %s/%s: %s", dir, name,
                        strerror(errno));
        if (fd >= 0)
            close(fd);
    } else {
        add_fd(l, base, fd);
        *out = l;
    }
    umask(old);
out:
    if (dfd >= 0)
        close(dfd);
    if (rc != LN_OK && l)
        ln_listener_free(l);
    return rc;
}

void ln_listener_free(struct ln_listener *l)
{
    if (!l)
        return;
    if (l->waiting)
        evtimer_del(&l->retry);
    for (int i = 0; i < l->n; i++) {
        event_del(&l->ev[i]);
        close(l->fd[i]);
    }
    free(l);
}
