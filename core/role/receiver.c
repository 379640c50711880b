#include "role/receiver.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS      256
#define READ_SIZE   262144
#define FRAME_MAX   (512u << 20)
#define END_WAIT_US 100000 /* for the CR behind FS */
#define OUT_KEEP    4096

struct peer {
    TAILQ_ENTRY(peer) link;
    int fd; /* -1 once closed */
    unsigned delayed; /* answers in the delay queue: they keep the record alive */
    bool want_out;
    struct ln_tls_session *tls; /* NULL: in clear */
    bool greeting;
    int64_t end_due_us; /* 0 = not waiting for a CR */
    struct ln_mllp in;
    struct ln_buf out;
    char name[80];
};

struct answer {
    STAILQ_ENTRY(answer) link;
    struct peer *peer;
    int64_t due_us;
    struct ln_buf bytes;
};

struct receiver {
    const struct ln_receiver_options *opt;
    struct ln_receiver_totals *t;
    int epfd, listener;
    unsigned waiting_end;
    uint64_t acks;
    TAILQ_HEAD(, peer) peers, dead; /* dead: freed after the round of events */
    STAILQ_HEAD(, answer) delayed; /* in order of due_us: the delay is the same for all */
    struct ln_buf scratch;
    char buffer[READ_SIZE];
};

static void peer_close(struct receiver *r, struct peer *p)
{
    if (p->fd < 0)
        return;
    ln_tls_close(p->tls);
    p->tls = NULL;
    close(p->fd);
    p->fd = -1;
    r->t->open--;
    if (p->end_due_us)
        r->waiting_end--;
    for (int i = 0; i < LN_MLLP_DEVIATIONS; i++)
        r->t->deviations[i] += p->in.deviations[i];
    ln_mllp_fini(&p->in);
    ln_buf_fini(&p->out);
    TAILQ_REMOVE(&r->peers, p, link);
    TAILQ_INSERT_TAIL(&r->dead, p, link);
}

static void bury(struct receiver *r)
{
    struct peer *p = TAILQ_FIRST(&r->dead), *next;
    for (; p; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->delayed)
            continue;
        TAILQ_REMOVE(&r->dead, p, link);
        free(p);
    }
}

/* ---- answering ---- */

static void watch(struct receiver *r, struct peer *p, bool out)
{
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = p};
    if (out != p->want_out)
        epoll_ctl(r->epfd, EPOLL_CTL_MOD, p->fd, &ev);
    p->want_out = out;
}

/* As send and recv: with TLS as well. */
static ssize_t transmit(struct peer *p)
{
    if (!p->tls)
        return send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    long n = ln_tls_write(p->tls, p->out.data, p->out.len);
    errno = n == 0 ? EAGAIN : EPIPE;
    return n > 0 ? n : -1;
}

static ssize_t receive(struct receiver *r, struct peer *p)
{
    if (!p->tls)
        return recv(p->fd, r->buffer, sizeof r->buffer, MSG_DONTWAIT);
    long n = ln_tls_read(p->tls, r->buffer, sizeof r->buffer);
    errno = n == LN_EAGAIN ? EAGAIN : ECONNRESET;
    return n < 0 ? -1 : n;
}

static void flush(struct receiver *r, struct peer *p)
{
    if (p->greeting)
        return;
    if (p->out.len) {
        ssize_t n = transmit(p);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            peer_close(r, p);
            return;
        }
        if (n == (ssize_t)p->out.len)
            ln_buf_clear(&p->out, OUT_KEEP);
        else if (n > 0)
            ln_buf_drop(&p->out, (size_t)n);
    }
    watch(r, p, p->out.len > 0);
}

static int write_ack(struct receiver *r, struct ln_buf *out, const struct ln_header *h, bool kept,
                     int64_t now_us)
{
    char id[32];
    struct ln_ack ack = {.code = kept ? r->opt->code : LN_ACK_AE, .time_us = now_us};
    if (h->kind == LN_HEADER_NONE) /* never an AA built from garbage */
        ack.code = ack.code == LN_ACK_AA ? LN_ACK_AR : ack.code;
    if (!kept)
        ack.text = ln_span_str("could not be kept");
    else if (ack.code != LN_ACK_AA)
        ack.text = ln_span_str(h->kind == LN_HEADER_NONE ? "not an HL7 message" : "test receiver");
    int n = snprintf(id, sizeof id, "L%llu", (unsigned long long)++r->acks);
    ack.control_id = ln_span(id, (size_t)n);
    return ln_ack_write(out, h, &ack);
}

/* One message: counts it, shows it to the caller, appends its acknowledgement. */
static int message(struct receiver *r, struct peer *p, struct ln_span frame,
                   const struct ln_header *h, struct ln_buf *out)
{
    int64_t now = ln_now_us();
    r->t->messages++;
    r->t->bytes += frame.len;
    r->t->unreadable += h->kind == LN_HEADER_NONE;
    r->t->last_us = now;
    if (r->t->first_us == 0)
        r->t->first_us = now;
    struct ln_received got = {now, p->name, h, frame, r->t->messages};
    bool kept = r->opt->on_message(r->opt->arg, &got);
    return r->opt->answer || !kept ? write_ack(r, out, h, kept, now) : LN_OK;
}

/* A batch in one frame: its messages' acknowledgements in one batch (chapter 2.10.3). */
static int batch(struct receiver *r, struct peer *p, struct ln_span frame,
                 const struct ln_header *h, struct ln_buf *out)
{
    struct ln_span m;
    size_t pos = 0, start = out->len;
    unsigned count = 0;
    char id[32];
    int n = snprintf(id, sizeof id, "L%llu", (unsigned long long)++r->acks);
    struct ln_ack ack = {.time_us = ln_now_us(), .control_id = ln_span(id, (size_t)n)};
    bool file = h->kind == LN_HEADER_FHS;
    int rc = ln_ack_batch_begin(out, h, &ack, file);
    for (; rc == LN_OK && ln_batch_next(frame, &pos, &m); count++) {
        struct ln_header mh;
        if (ln_header_read(m, &mh, NULL) != LN_OK)
            mh.kind = LN_HEADER_NONE;
        rc = message(r, p, m, &mh, out);
    }
    if (rc == LN_OK)
        rc = ln_ack_batch_end(out, h, count, file);
    if (!r->opt->answer)
        out->len = start;
    return rc;
}

static void on_frame(struct receiver *r, struct peer *p, struct ln_span frame)
{
    struct ln_header h;
    if (r->opt->count && r->t->messages >= r->opt->count)
        return;
    if (ln_header_read(frame, &h, NULL) != LN_OK)
        h.kind = LN_HEADER_NONE;
    struct ln_buf *out = r->opt->delay_us ? &r->scratch : &p->out;
    size_t start = out->len;
    ln_buf_addc(out, LN_MLLP_VT);
    int rc = h.kind == LN_HEADER_BHS || h.kind == LN_HEADER_FHS ? batch(r, p, frame, &h, out)
                                                                : message(r, p, frame, &h, out);
    if (rc != LN_OK || out->failed || out->len == start + 1) {
        out->len = start; /* silence: nothing to say, or no memory to say it */
        return;
    }
    ln_buf_addc(out, LN_MLLP_FS);
    ln_buf_addc(out, LN_MLLP_CR);
    if (!r->opt->delay_us)
        return;
    struct answer *a = calloc(1, sizeof *a);
    if (a) {
        *a = (struct answer){.peer = p, .due_us = ln_mono_us() + r->opt->delay_us, .bytes = *out};
        p->delayed++;
        STAILQ_INSERT_TAIL(&r->delayed, a, link);
        *out = (struct ln_buf){0};
    }
}

static void send_due(struct receiver *r, int64_t now)
{
    struct answer *a;
    while ((a = STAILQ_FIRST(&r->delayed)) != NULL && a->due_us <= now) {
        STAILQ_REMOVE_HEAD(&r->delayed, link);
        a->peer->delayed--;
        if (a->peer->fd >= 0) {
            ln_buf_add_span(&a->peer->out, ln_buf_span(&a->bytes));
            flush(r, a->peer);
        }
        ln_buf_fini(&a->bytes);
        free(a);
    }
}

/* ---- reading ---- */

static void note_end(struct receiver *r, struct peer *p)
{
    bool pending = ln_mllp_pending_end(&p->in);
    if (pending == (p->end_due_us != 0))
        return;
    p->end_due_us = pending ? ln_mono_us() + END_WAIT_US : 0;
    if (pending)
        r->waiting_end++;
    else
        r->waiting_end--;
}

static void finish_frames(struct receiver *r, int64_t now)
{
    struct peer *p = TAILQ_FIRST(&r->peers), *next;
    struct ln_span frame;
    for (; p && r->waiting_end; p = next) {
        next = TAILQ_NEXT(p, link);
        if (!p->end_due_us || p->end_due_us > now)
            continue;
        if (ln_mllp_finish(&p->in, &frame) == LN_MLLP_FRAME)
            on_frame(r, p, frame);
        note_end(r, p);
        flush(r, p);
    }
}

static void on_readable(struct receiver *r, struct peer *p)
{
    struct ln_span frame;
    const char *data = r->buffer;
    ssize_t n = receive(r, p);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 0 && ln_mllp_pending_end(&p->in) && ln_mllp_finish(&p->in, &frame) == LN_MLLP_FRAME) {
        on_frame(r, p, frame);
        flush(r, p);
    }
    if (n <= 0) {
        peer_close(r, p);
        return;
    }
    for (size_t left = (size_t)n, used; left > 0; data += used, left -= used) {
        enum ln_mllp_event e = ln_mllp_feed(&p->in, data, left, &used, &frame);
        if (e == LN_MLLP_FRAME) {
            on_frame(r, p, frame);
        } else if (e != LN_MLLP_MORE) {
            peer_close(r, p);
            return;
        }
    }
    note_end(r, p);
    flush(r, p);
}

/* One more step of the handshake; true when it is done now. */
static bool greet(struct receiver *r, struct peer *p)
{
    int code = ln_tls_handshake(p->tls);
    if (code == LN_EAGAIN) {
        watch(r, p, ln_tls_wants_write(p->tls));
        return false;
    }
    p->greeting = false;
    if (code == LN_OK) {
        watch(r, p, false);
        return ln_tls_pending(p->tls);
    }
    r->opt->on_refused(r->opt->arg, p->name, ln_tls_why(p->tls));
    peer_close(r, p);
    return false;
}

static void on_event(struct receiver *r, struct peer *p, uint32_t events)
{
    if (p->greeting && !greet(r, p))
        return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        do
            on_readable(r, p);
        while (p->fd >= 0 && p->tls && ln_tls_pending(p->tls));
    else
        flush(r, p);
}

/* ---- connections ---- */

static void on_acceptable(struct receiver *r)
{
    for (;;) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        char host[64] = "?", port[8] = "0";
        int one = 1;
        int fd = accept4(r->listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct peer *p = calloc(1, sizeof *p);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};
        if (!p || epoll_ctl(r->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
            free(p);
            close(fd);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(p->name, sizeof p->name, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
        p->fd = fd;
        p->tls = r->opt->tls ? ln_tls_open(r->opt->tls, fd, NULL) : NULL;
        p->greeting = p->tls != NULL;
        if (r->opt->tls && !p->tls) { /* never in clear instead */
            free(p);
            close(fd);
            return;
        }
        ln_mllp_init(&p->in, FRAME_MAX);
        TAILQ_INSERT_TAIL(&r->peers, p, link);
        r->t->connections++;
        r->t->open++;
    }
}

static int open_listener(struct receiver *r, struct ln_err *err)
{
    const struct ln_receiver_options *o = r->opt;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *a;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char port[8];
    int one = 1;
    snprintf(port, sizeof port, "%u", o->port);
    int e = getaddrinfo(o->host, port, &hints, &a);
    if (e)
        return ln_err_set(err, LN_ENOTFOUND, "cannot listen on %s: %s", o->host, gai_strerror(e));
    r->listener = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    bool ok = r->listener >= 0 &&
              setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(r->listener, a->ai_addr, a->ai_addrlen) == 0 && listen(r->listener, 1024) == 0 &&
              epoll_ctl(r->epfd, EPOLL_CTL_ADD, r->listener, &ev) == 0 &&
              getsockname(r->listener, (struct sockaddr *)&bound, &len) == 0;
    e = errno;
    freeaddrinfo(a);
    if (!ok)
        return ln_err_set(err, ln_code_from_errno(e), "cannot listen on %s:%u: %s%s", o->host,
                          o->port, strerror(e),
                          e == EADDRINUSE ? " (which program has it: ss -ltnp)" : "");
    getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    o->on_ready(o->arg, o->host, (unsigned)atoi(port));
    return LN_OK;
}

/* ---- the loop ---- */

static bool finished(const struct receiver *r)
{
    const struct peer *p;
    if (*r->opt->stop)
        return true;
    if (r->opt->count == 0 || r->t->messages < r->opt->count || !STAILQ_EMPTY(&r->delayed))
        return false;
    TAILQ_FOREACH (p, &r->peers, link)
        if (p->out.len)
            return false;
    return true;
}

static int wait_ms(const struct receiver *r)
{
    const struct answer *a = STAILQ_FIRST(&r->delayed);
    int64_t left = a ? (a->due_us - ln_mono_us() + 999) / 1000 : -1;
    int ms = !a ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
    return r->waiting_end && (ms < 0 || ms > 20) ? 20 : ms;
}

static void loop(struct receiver *r)
{
    struct epoll_event ev[EVENTS];
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, &before); /* they come in while it waits, at no other time */
    while (!finished(r)) {
        int n = epoll_pwait(r->epfd, ev, EVENTS, wait_ms(r), &before);
        for (int i = 0; i < n; i++) {
            struct peer *p = ev[i].data.ptr;
            if (!p)
                on_acceptable(r);
            else if (p->fd >= 0)
                on_event(r, p, ev[i].events);
        }
        if (!STAILQ_EMPTY(&r->delayed))
            send_due(r, ln_mono_us());
        if (r->waiting_end)
            finish_frames(r, ln_mono_us());
        bury(r);
        r->opt->on_idle(r->opt->arg);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void end(struct receiver *r)
{
    struct peer *p;
    struct answer *a;
    while ((a = STAILQ_FIRST(&r->delayed)) != NULL) {
        STAILQ_REMOVE_HEAD(&r->delayed, link);
        a->peer->delayed--;
        ln_buf_fini(&a->bytes);
        free(a);
    }
    while ((p = TAILQ_FIRST(&r->peers)) != NULL)
        peer_close(r, p);
    bury(r);
    ln_buf_fini(&r->scratch);
    if (r->listener >= 0)
        close(r->listener);
    if (r->epfd >= 0)
        close(r->epfd);
}

int ln_receiver_run(const struct ln_receiver_options *opt, struct ln_receiver_totals *totals,
                    struct ln_err *err)
{
    struct rlimit files;
    memset(totals, 0, sizeof *totals);
    struct receiver *r = calloc(1, sizeof *r);
    if (!r)
        return ln_err_set(err, LN_ENOMEM, "%s", ln_strerror(LN_ENOMEM));
    r->opt = opt;
    r->t = totals;
    r->listener = -1;
    TAILQ_INIT(&r->peers);
    TAILQ_INIT(&r->dead);
    STAILQ_INIT(&r->delayed);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    r->epfd = epoll_create1(EPOLL_CLOEXEC);
    int rc =
        r->epfd < 0 ? ln_err_set(err, LN_EIO, "epoll: %s", strerror(errno)) : open_listener(r, err);
    if (rc == LN_OK)
        loop(r);
    end(r);
    free(r);
    return rc;
}
