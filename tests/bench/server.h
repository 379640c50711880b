/* The least that an MLLP server must do, shared by the baseline programs: epoll, framing that
 * trusts its peer, an AA with the message's control id. Not Lunate's code, on purpose: what Lunate
 * costs is measured against it. Handles frames by calling on_frame, which answers at once or later.
 */
#ifndef LN_BENCH_SERVER_H
#define LN_BENCH_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNS 65536
#define ACK_MAX   256

struct conn {
    int fd;
    unsigned generation; /* goes up when the descriptor is used again */
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap;
};

static struct conn conns[MAX_CONNS]; /* by descriptor */
static int epoll_fd, listen_fd;

static void on_frame(struct conn *c, const char *data, size_t len);

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void grow(char **p, size_t *cap, size_t need)
{
    if (*cap >= need)
        return;
    *cap = need * 2;
    *p = realloc(*p, *cap);
    if (!*p)
        die("realloc");
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    c->generation++;
    c->in_len = c->out_len = 0;
    c->fd = -1;
}

static void conn_watch(struct conn *c, uint32_t events, int op)
{
    struct epoll_event ev = {.events = events, .data.fd = c->fd};
    epoll_ctl(epoll_fd, op, c->fd, &ev);
}

static void conn_flush(struct conn *c)
{
    size_t at = 0;
    while (at < c->out_len) {
        ssize_t n = send(c->fd, c->out + at, c->out_len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            conn_close(c);
            return;
        }
        at += (size_t)n;
    }
    if (at)
        memmove(c->out, c->out + at, c->out_len - at);
    c->out_len -= at;
    if (c->out_len)
        conn_watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void conn_say(struct conn *c, const char *data, size_t len)
{
    grow(&c->out, &c->out_cap, c->out_len + len);
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

/* An AA for the message; MSH-10 is cut at 64 bytes. Returns its length. */
static size_t make_ack(const char *data, size_t len, char out[ACK_MAX])
{
    const char *end = data + len, *id = data;
    for (int i = 0; id && i < 9; i++) {
        id = memchr(id, '|', (size_t)(end - id));
        id = id ? id + 1 : NULL;
    }
    const char *stop = id ? memchr(id, '|', (size_t)(end - id)) : NULL;
    int n = id && stop ? (int)(stop - id) : 0;
    n = n > 64 ? 64 : n;
    return (size_t)snprintf(out, ACK_MAX,
                            "\x0bMSH|^~\\&|R|R|S|S|20260101000000||ACK|%.*s|P|2.5\rMSA|AA|%.*s\r"
                            "\x1c\r",
                            n, id ? id : "", n, id ? id : "");
}

static void take_frames(struct conn *c)
{
    size_t at = 0;
    while (at < c->in_len) {
        char *fs = memchr(c->in + at, 0x1c, c->in_len - at);
        if (!fs || (size_t)(fs - c->in) + 1 >= c->in_len)
            break;
        on_frame(c, c->in + at + 1, (size_t)(fs - c->in) - at - 1);
        at = (size_t)(fs - c->in) + 2;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void conn_readable(struct conn *c)
{
    grow(&c->in, &c->in_cap, c->in_len + 16384);
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
    if (n > 0) {
        c->in_len += (size_t)n;
        take_frames(c);
        conn_flush(c);
    } else if (n == 0 || errno != EAGAIN) {
        conn_close(c);
    }
}

static void accept_all(void)
{
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= MAX_CONNS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        conns[fd].fd = fd;
        conn_watch(&conns[fd], EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* Opens the port and says `ready` on stderr, as `lunate run` does. */
static void serve_on(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    signal(SIGPIPE, SIG_IGN);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listen_fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(listen_fd, 4096) != 0)
        die("listen");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listen_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev);
    fprintf(stderr, "ready\n");
}

/* For ever. wake_fd (or -1): a descriptor whose readiness calls on_wake. */
static void serve(int wake_fd, void (*on_wake)(void))
{
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listen_fd) {
                accept_all();
            } else if (fd == wake_fd) {
                on_wake();
            } else {
                struct conn *c = &conns[fd];
                if (events[i].events & EPOLLOUT) {
                    conn_watch(c, EPOLLIN, EPOLL_CTL_MOD);
                    conn_flush(c);
                }
                if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                    conn_readable(c);
            }
        }
    }
}

#endif
