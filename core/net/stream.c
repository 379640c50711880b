#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH = 128 * 1024, KEEP_OUT = 16 * 1024 };

static char
    scratch[SCRATCH]; /* the loop is one thread: one buffer serves ten thousand connections */

/* why may stand in what the owner frees first thing (the TLS state): it gets a copy. */
static void report(struct ln_stream *s, int code, const char *why)
{
    char text[700];
    snprintf(text, sizeof text, "%s", why);
    ln_stream_pause(s);
    s->ended = true;
    s->ops->closed(s->owner, code, text);
}

static void want_write(struct ln_stream *s, bool on);

/* One more step of the handshake; true when it is done now. */
static bool greet(struct ln_stream *s)
{
    int code = ln_tls_handshake(s->tls);
    if (code == LN_OK) {
        s->greeting = false;
        ln_stream_flush(s);
        if (s->reading && ln_tls_pending(s->tls))
            event_active(&s->rd, EV_READ, 0);
        if (s->ops->secured)
            s->ops->secured(s->owner); /* may free s */
        return true;
    }
    want_write(s, code == LN_EAGAIN && ln_tls_wants_write(s->tls));
    if (code != LN_EAGAIN)
        report(s, code, ln_tls_why(s->tls));
    return false;
}

static void read_tls(struct ln_stream *s)
{
    if (s->greeting) {
        greet(s);
        return;
    }
    long n = ln_tls_read(s->tls, scratch, sizeof scratch);
    if (n > 0) {
        /* what TLS holds the socket does not announce again */
        if (ln_tls_pending(s->tls))
            event_active(&s->rd, EV_READ, 0);
        s->ops->data(s->owner, scratch, (size_t)n); /* may free s */
    } else if (n == 0) {
        report(s, LN_ECLOSED, "end of file");
    } else if (n != LN_EAGAIN) {
        report(s, (int)n, ln_tls_why(s->tls));
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ln_stream *s = arg;
    (void)what;
    if (s->tls) {
        read_tls(s);
        return;
    }
    ssize_t n = recv(fd, scratch, sizeof scratch, 0);
    if (n > 0)
        s->ops->data(s->owner, scratch, (size_t)n); /* may free s */
    else if (n == 0)
        report(s, LN_ECLOSED, "end of file");
    else if (errno != EAGAIN && errno != EINTR)
        report(s, ln_code_from_errno(errno), strerror(errno));
}

/* An error while writing is told from the loop, never from within the caller's call. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ln_stream *s = arg;
    (void)fd;
    (void)what;
    if (s->broken) {
        event_del(&s->wr);
        s->writing = false;
        report(s, LN_ECLOSED, "connection lost while writing");
        return;
    }
    if (s->greeting) {
        greet(s);
        return;
    }
    ln_stream_flush(s);
    if (!s->broken && ln_stream_kept(s) == 0 && s->ops->drained)
        s->ops->drained(s->owner);
}

void ln_stream_tune_tcp(int fd)
{
    int on = 1, idle = 30, interval = 10, count = 6;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

int ln_stream_init(struct ln_stream *s, struct event_base *base, int fd,
                   const struct ln_stream_ops *ops, void *owner)
{
    *s = (struct ln_stream){.base = base, .fd = fd, .ops = ops, .owner = owner};
    event_assign(&s->rd, base, fd, EV_READ | EV_PERSIST, on_readable, s);
    event_assign(&s->wr, base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
    if (event_add(&s->rd, NULL) != 0) {
        close(fd);
        s->fd = -1;
        return LN_ENOMEM;
    }
    s->reading = true;
    return LN_OK;
}

int ln_stream_secure(struct ln_stream *s, struct ln_tls *tls, const char *host)
{
    s->tls = ln_tls_open(tls, s->fd, host);
    if (!s->tls)
        return LN_ENOMEM;
    s->greeting = true;
    want_write(s, host != NULL); /* a client speaks first */
    return LN_OK;
}

void ln_stream_end(struct ln_stream *s)
{
    if (s->tls)
        ln_tls_end(s->tls);
    shutdown(s->fd, SHUT_WR);
}

void ln_stream_fini(struct ln_stream *s)
{
    if (s->fd < 0)
        return;
    ln_tls_close(s->tls);
    s->tls = NULL;
    if (s->reading)
        event_del(&s->rd);
    if (s->writing)
        event_del(&s->wr);
    close(s->fd);
    ln_buf_fini(&s->out);
    s->fd = -1;
    s->reading = s->writing = false;
}

void ln_stream_pause(struct ln_stream *s)
{
    if (s->fd >= 0 && s->reading) {
        event_del(&s->rd);
        s->reading = false;
    }
}

void ln_stream_resume(struct ln_stream *s)
{
    if (s->fd >= 0 && !s->reading && !s->ended && event_add(&s->rd, NULL) == 0) {
        s->reading = true;
        if (s->tls && ln_tls_pending(s->tls))
            event_active(&s->rd, EV_READ, 0);
    }
}

size_t ln_stream_kept(const struct ln_stream *s)
{
    return s->out.len - s->out_done;
}

static void want_write(struct ln_stream *s, bool on)
{
    if (on == s->writing)
        return;
    if (on ? event_add(&s->wr, NULL) : event_del(&s->wr))
        return;
    s->writing = on;
}

void ln_stream_wake(struct ln_stream *s)
{
    if (s->fd >= 0)
        want_write(s, true);
}

/* Sends one run; what the kernel took, or a broken stream. */
static size_t send_some(struct ln_stream *s, const char *data, size_t len)
{
    size_t done = 0;
    if (s->tls) {
        long n = ln_tls_write(s->tls, data, len);
        s->broken = n < 0;
        if (s->broken)
            want_write(s, true);
        return n > 0 ? (size_t)n : 0;
    }
    while (done < len) {
        ssize_t n = send(s->fd, data + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN) {
                s->broken = true;
                want_write(s, true);
            }
            break;
        }
        done += (size_t)n;
    }
    return done;
}

int ln_stream_write(struct ln_stream *s, struct ln_span data)
{
    size_t done = 0;
    if (s->fd < 0 || s->broken)
        return LN_ECLOSED;
    if (ln_stream_kept(s) == 0 && !s->greeting)
        done = send_some(s, data.ptr, data.len);
    if (s->broken || done == data.len)
        return s->broken ? LN_ECLOSED : LN_OK;
    if (ln_buf_add(&s->out, data.ptr + done, data.len - done) != LN_OK)
        return LN_ENOMEM;
    if (!s->greeting)
        want_write(s, true);
    return LN_OK;
}

void ln_stream_flush(struct ln_stream *s)
{
    if (s->fd < 0 || s->broken || s->greeting)
        return;
    s->out_done += send_some(s, s->out.data + s->out_done, s->out.len - s->out_done);
    if (s->out_done == s->out.len) {
        ln_buf_clear(&s->out, KEEP_OUT);
        s->out_done = 0;
    } else if (s->out_done > (1u << 20) && s->out_done >= s->out.len / 2) { /* each byte once */
        ln_buf_drop(&s->out, s->out_done);
        s->out_done = 0;
    }
    if (!s->broken)
        want_write(s, s->out.len > 0);
}
