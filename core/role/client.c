/* One thread. A connection is in one of the states below; all that wait for a reply, a connection
 * or a second try are looked at 20 times a second for their deadline, which costs nothing per
 * message. */
#include "role/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "hl7/mllp.h"

#define TICK_US        50000
#define CONNECTING_MAX 64u
#define EVENTS         256
#define READ_SIZE      65536

enum state {
    CLOSED, /* not connected; connects when there is room */
    CONNECTING,
    IDLE,
    WAITING, /* message n is out, or on its way */
    BACKING_OFF /* lost its connection; tries again at `at_us` */
};

struct target {
    const struct ln_client_target *name;
    struct addrinfo *addresses, *address;
    unsigned connected;
};

struct conn {
    enum state state;
    int fd;
    struct target *target;
    const struct addrinfo *address;
    bool want_out; /* EPOLLOUT is set */
    bool in_ring; /* stands in the ring of idle ones, maybe no longer idle */
    char digits[24]; /* "-N" */
    unsigned ndigits;
    uint64_t n;
    const struct ln_payload_message *m;
    size_t off; /* bytes of the frame written */
    int64_t from_us; /* latency counts from here */
    int64_t at_us; /* when the present state began, or is to end when BACKING_OFF */
    int64_t lost_us; /* when the connection was lost; 0 = it is not */
    struct ln_mllp in;
};

struct client {
    const struct ln_client_options *opt;
    struct ln_client_totals *t;
    struct ln_err *err;
    int rc;
    int epfd;
    struct target *target;
    struct conn *conn;
    unsigned connecting, connected, closed; /* connections in these states */
    unsigned cursor; /* where dial_more goes on */
    bool started; /* all were connected once */
    uint64_t next, done; /* messages begun, messages ended */
    int64_t start_us;
    unsigned *idle, idle_head, nidle; /* ring of connections without work, with a rate */
    char buffer[READ_SIZE];
};

static void fail(struct client *c, const struct target *t, int code, const char *what,
                 const char *why)
{
    if (c->rc == LN_OK)
        c->rc = ln_err_set(c->err, code, "%s %s:%s: %s", what, t->name->host, t->name->port, why);
}

static void watch(struct client *c, struct conn *k, bool out)
{
    if (k->want_out == out)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0),
                             .data.u32 = (uint32_t)(k - c->conn)};
    epoll_ctl(c->epfd, EPOLL_CTL_MOD, k->fd, &ev);
    k->want_out = out;
}

static void put_idle(struct client *c, struct conn *k)
{
    k->state = IDLE;
    if (k->in_ring)
        return;
    k->in_ring = true;
    unsigned i = (c->idle_head + c->nidle++) % c->opt->connections;
    c->idle[i] = (unsigned)(k - c->conn);
}

static void set_closed(struct client *c, struct conn *k)
{
    k->state = CLOSED;
    c->closed++;
}

static void drop(struct client *c, struct conn *k)
{
    if (k->state == CONNECTING) {
        c->connecting--;
    } else if (k->fd >= 0) {
        c->connected--;
        k->target->connected--;
    }
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
    size_t max = k->in.max_frame;
    ln_mllp_fini(&k->in);
    ln_mllp_init(&k->in, max);
}

/* ---- sending ---- */

static void lost(struct client *c, struct conn *k, int64_t now);
static void finish(struct client *c, struct conn *k, enum ln_client_end end, struct ln_span frame,
                   const struct ln_reply *reply, int64_t now);

static void flush(struct client *c, struct conn *k)
{
    const struct ln_payload_message *m = k->m;
    struct iovec iov[3] = {{m->frame, m->len}}, *v = iov;
    int n = 1;
    if (k->ndigits) {
        iov[0].iov_len = m->id_end;
        iov[1] = (struct iovec){k->digits, k->ndigits};
        iov[2] = (struct iovec){m->frame + m->id_end, m->len - m->id_end};
        n = 3;
    }
    size_t skip = k->off;
    while (skip >= v->iov_len) {
        skip -= v->iov_len;
        v++;
        n--;
    }
    v->iov_base = (char *)v->iov_base + skip;
    v->iov_len -= skip;
    struct msghdr msg = {.msg_iov = v, .msg_iovlen = (size_t)n};
    ssize_t w = sendmsg(k->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w > 0)
        k->off += (size_t)w;
    /* an error shows itself on the next read, together with what the peer said before it */
    watch(c, k, k->off < m->len + k->ndigits && (w >= 0 || errno == EAGAIN || errno == EINTR));
}

static void send_next(struct client *c, struct conn *k, int64_t due_us)
{
    const struct ln_payload *p = c->opt->payload;
    k->n = c->next++;
    k->m = &p->message[k->n % p->n];
    k->off = 0;
    k->state = WAITING;
    k->from_us = k->at_us = due_us;
    k->ndigits = 0;
    if (c->opt->unique_ids && k->m->id_end) {
        char *end = k->digits + sizeof k->digits, *d = end;
        uint64_t v = k->n + 1;
        do
            *--d = (char)('0' + v % 10);
        while (v /= 10);
        *--d = '-';
        k->ndigits = (unsigned)(end - d);
        memmove(k->digits, d, k->ndigits);
    }
    c->t->sent++;
    c->t->bytes += k->m->len + k->ndigits;
    flush(c, k);
}

/* The connection has nothing to wait for: gives it the next message, when there is one. */
static void next(struct client *c, struct conn *k, int64_t now)
{
    if (!c->started || c->opt->rate > 0)
        put_idle(c, k);
    else if (c->next < c->opt->count)
        send_next(c, k, now);
    else
        k->state = IDLE;
}

static int64_t due(const struct client *c)
{
    return c->start_us + (int64_t)((double)c->next * 1e6 / c->opt->rate);
}

/* Sends what is due, and after the start what was held back for it. */
static void pump(struct client *c, int64_t now)
{
    while (c->nidle && c->next < c->opt->count) {
        int64_t when = c->opt->rate > 0 ? due(c) : now;
        if (when > now)
            return;
        struct conn *k = &c->conn[c->idle[c->idle_head]];
        c->idle_head = (c->idle_head + 1) % c->opt->connections;
        c->nidle--;
        k->in_ring = false;
        if (k->state != IDLE) /* was lost while it stood here */
            continue;
        send_next(c, k, when);
        if (c->opt->rate > 0)
            k->at_us = now; /* its time-out does not count from when it was due */
    }
}

/* ---- replies ---- */

static void count(struct ln_client_totals *t, const struct ln_client_result *r)
{
    const char *code = r->reply.code;
    t->accepted += r->accepted;
    if (r->end == LN_CLIENT_TIMEOUT)
        t->timeouts++;
    else if (r->end == LN_CLIENT_CLOSED)
        t->closed++;
    else if (r->end == LN_CLIENT_UNREADABLE)
        t->unreadable++;
    else if (code[0] != 'A')
        t->other++;
    else if (code[1] == 'A')
        t->aa++;
    else if (code[1] == 'E')
        t->ae++;
    else
        t->ar++;
}

static void finish(struct client *c, struct conn *k, enum ln_client_end end, struct ln_span frame,
                   const struct ln_reply *reply, int64_t now)
{
    char id[256];
    struct ln_client_result r = {.n = k->n, .end = end, .message = k->m, .frame = frame};
    r.latency_us = now - k->from_us;
    if (reply) {
        r.reply = *reply;
        r.accepted = reply->code[1] == 'A';
    }
    count(c->t, &r);
    if (end == LN_CLIENT_REPLY || end == LN_CLIENT_UNREADABLE)
        ln_histogram_add(&c->t->latency, r.latency_us);
    c->done++;
    if (!c->opt->on_result)
        return;
    int n = snprintf(id, sizeof id, "%.*s%.*s", (int)(k->m->id.len < 200 ? k->m->id.len : 200),
                     k->m->id.len ? k->m->id.ptr : "", (int)k->ndigits, k->digits);
    r.control_id = id;
    r.control_id_len = (size_t)n;
    c->opt->on_result(c->opt->arg, &r);
}

static bool answers(const struct conn *k, struct ln_span id)
{
    const struct ln_span base = k->m->id;
    if (k->m->id_end == 0)
        return true; /* sent without a header: any answer is the answer */
    return id.len == base.len + k->ndigits &&
           (base.len == 0 || memcmp(id.ptr, base.ptr, base.len) == 0) &&
           memcmp(id.ptr + base.len, k->digits, k->ndigits) == 0;
}

static void on_frame(struct client *c, struct conn *k, struct ln_span frame, int64_t now)
{
    struct ln_reply reply;
    if (k->state != WAITING) {
        c->t->mismatched++;
        return;
    }
    if (ln_reply_read(frame, &reply, NULL) != LN_OK) {
        finish(c, k, LN_CLIENT_UNREADABLE, frame, NULL, now);
    } else if (answers(k, reply.control_id)) {
        finish(c, k, LN_CLIENT_REPLY, frame, &reply, now);
    } else {
        c->t->mismatched++;
        return;
    }
    if (k->off <
        k->m->len + k->ndigits) /* answered before it had all: in what state it is, who knows */
        lost(c, k, now);
    else
        next(c, k, now);
}

static void on_bytes(struct client *c, struct conn *k, const char *data, size_t len, int64_t now)
{
    struct ln_span frame;
    while (len > 0 && k->fd >= 0) {
        size_t used;
        enum ln_mllp_event e = ln_mllp_feed(&k->in, data, len, &used, &frame);
        data += used;
        len -= used;
        if (e == LN_MLLP_MORE && ln_mllp_pending_end(&k->in))
            e = ln_mllp_finish(&k->in, &frame);
        if (e == LN_MLLP_FRAME) {
            on_frame(c, k, frame, now);
        } else if (e != LN_MLLP_MORE) {
            if (k->state == WAITING)
                finish(c, k, LN_CLIENT_UNREADABLE, ln_span(NULL, 0), NULL, now);
            lost(c, k, now);
        }
    }
}

static void on_readable(struct client *c, struct conn *k)
{
    ssize_t n = recv(k->fd, c->buffer, sizeof c->buffer, MSG_DONTWAIT);
    int64_t now = ln_mono_us();
    if (n > 0) {
        on_bytes(c, k, c->buffer, (size_t)n, now);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (k->state == WAITING)
        finish(c, k, LN_CLIENT_CLOSED, ln_span(NULL, 0), NULL, now);
    lost(c, k, now);
}

/* ---- connections ---- */

/* Closes the connection; a new one is made when there is something left to send. */
static void lost(struct client *c, struct conn *k, int64_t now)
{
    drop(c, k);
    if (!c->started) {
        fail(c, k->target, LN_ECLOSED, "cannot connect to",
             "it closed a connection before all were open");
        return;
    }
    bool needed = c->next < c->opt->count;
    c->t->reconnects += needed;
    k->lost_us = k->lost_us ? k->lost_us : now;
    if (needed && k->state == WAITING) {
        set_closed(c, k);
    } else { /* closed while it had nothing to do: not at once, or it would go round and round */
        k->state = needed ? BACKING_OFF : IDLE;
        k->at_us = now + 100000;
    }
}

/* Could not connect: the next address at the start, a second try later on. */
static void refused(struct client *c, struct conn *k, int error, int64_t now)
{
    struct target *t = k->target;
    drop(c, k);
    if (!c->started && k->address != t->address) {
        set_closed(c, k);
    } else if (!c->started && t->connected == 0 && t->address->ai_next) {
        t->address = t->address->ai_next;
        set_closed(c, k);
    } else if (!c->started || now - k->lost_us > c->opt->timeout_us) {
        k->state = IDLE;
        fail(c, t, LN_ECLOSED, c->started ? "cannot connect again to" : "cannot connect to",
             strerror(error));
    } else {
        k->state = BACKING_OFF;
        k->at_us = now + 200000;
    }
}

static void on_connected(struct client *c, struct conn *k)
{
    int error = 0;
    socklen_t len = sizeof error;
    int64_t now = ln_mono_us();
    if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
        refused(c, k, error ? error : errno, now);
        return;
    }
    c->connecting--;
    c->connected++;
    k->target->connected++;
    k->lost_us = 0;
    k->state = IDLE;
    watch(c, k, false);
    next(c, k, now);
}

static void dial(struct client *c, struct conn *k, int64_t now)
{
    const struct addrinfo *a = k->address = k->target->address;
    int one = 1;
    c->closed--;
    k->state = IDLE;
    k->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (k->fd < 0) {
        fail(c, k->target, LN_EIO, "cannot connect to", strerror(errno));
        return;
    }
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    k->state = CONNECTING;
    k->at_us = now;
    k->want_out = true;
    c->connecting++;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)(k - c->conn)};
    if (connect(k->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        refused(c, k, errno, now);
    else if (epoll_ctl(c->epfd, EPOLL_CTL_ADD, k->fd, &ev) < 0)
        fail(c, k->target, LN_EIO, "cannot connect to", strerror(errno));
}

static void dial_more(struct client *c, int64_t now)
{
    if (c->started && c->next >= c->opt->count)
        return;
    while (c->closed && c->connecting < CONNECTING_MAX && c->rc == LN_OK) {
        struct conn *k = &c->conn[c->cursor];
        c->cursor = (c->cursor + 1) % c->opt->connections;
        if (k->state == CLOSED)
            dial(c, k, now);
    }
}

static void check_deadlines(struct client *c, int64_t now)
{
    for (unsigned i = 0; i < c->opt->connections; i++) {
        struct conn *k = &c->conn[i];
        if (k->state == BACKING_OFF && now >= k->at_us) {
            set_closed(c, k);
        } else if (k->state == CONNECTING && now - k->at_us > c->opt->timeout_us) {
            refused(c, k, ETIMEDOUT, now);
        } else if (k->state == WAITING && now - k->at_us > c->opt->timeout_us) {
            finish(c, k, LN_CLIENT_TIMEOUT, ln_span(NULL, 0), NULL, now);
            lost(c, k, now); /* its late reply must not meet another message */
        }
    }
}

/* ---- the loop ---- */

static void wait_for_events(struct client *c, int64_t now, int64_t tick_us)
{
    struct epoll_event ev[EVENTS];
    int64_t until = tick_us;
    if (c->started && c->opt->rate > 0 && c->nidle && c->next < c->opt->count && due(c) < until) {
        until = due(c); /* finer than epoll_wait's milliseconds */
        struct pollfd p = {.fd = c->epfd, .events = POLLIN};
        int64_t us = until > now ? until - now : 0;
        struct timespec ts = {us / 1000000, us % 1000000 * 1000};
        ppoll(&p, 1, &ts, NULL);
        until = now;
    }
    int n = epoll_wait(c->epfd, ev, EVENTS, until > now ? (int)((until - now + 999) / 1000) : 0);
    for (int i = 0; i < n; i++) {
        struct conn *k = &c->conn[ev[i].data.u32];
        if (k->fd < 0)
            continue;
        if (k->state == CONNECTING) {
            if (ev[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
                on_connected(c, k);
            continue;
        }
        if (ev[i].events & EPOLLOUT && k->state == WAITING)
            flush(c, k);
        if (ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            on_readable(c, k);
    }
}

static void loop(struct client *c)
{
    int64_t tick_us = 0, report_us = 0;
    while (c->rc == LN_OK && c->done < c->opt->count && !(c->opt->stop && *c->opt->stop)) {
        int64_t now = ln_mono_us();
        if (c->closed)
            dial_more(c, now);
        if (!c->started && c->connected == c->opt->connections) {
            c->started = true;
            c->start_us = now;
        }
        if (c->started && c->nidle)
            pump(c, now);
        wait_for_events(c, now, tick_us > now ? tick_us : now);
        if (now < tick_us)
            continue;
        tick_us = now + TICK_US;
        check_deadlines(c, now);
        c->t->elapsed_us = c->started ? now - c->start_us : 0;
        if (c->opt->on_tick && now >= report_us) {
            report_us = now + 2 * TICK_US;
            c->opt->on_tick(c->opt->arg, c->t);
        }
    }
    c->t->interrupted = c->opt->stop && *c->opt->stop;
    c->t->elapsed_us = c->started ? ln_mono_us() - c->start_us : 0;
}

static void raise_file_limit(unsigned connections)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < connections + 32u) {
        r.rlim_cur = r.rlim_max < connections + 32u ? r.rlim_max : connections + 32u;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void resolve(struct client *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    for (unsigned i = 0; i < c->opt->ntargets && c->rc == LN_OK; i++) {
        struct target *t = &c->target[i];
        t->name = &c->opt->targets[i];
        int e = getaddrinfo(t->name->host, t->name->port, &hints, &t->addresses);
        if (e)
            fail(c, t, LN_ENOTFOUND, "cannot connect to", gai_strerror(e));
        t->address = t->addresses;
    }
}

static void run(struct client *c)
{
    unsigned n = c->opt->connections;
    raise_file_limit(n);
    for (unsigned i = 0; i < n; i++) {
        c->conn[i].fd = -1;
        c->conn[i].target = &c->target[i % c->opt->ntargets];
        ln_mllp_init(&c->conn[i].in, 16u << 20);
    }
    c->closed = n;
    loop(c);
    for (unsigned i = 0; i < n; i++) {
        drop(c, &c->conn[i]);
        ln_mllp_fini(&c->conn[i].in);
    }
}

int ln_client_run(const struct ln_client_options *opt, struct ln_client_totals *totals,
                  struct ln_err *err)
{
    struct client *c = calloc(1, sizeof *c);
    memset(totals, 0, sizeof *totals);
    if (!c)
        return ln_err_set(err, LN_ENOMEM, "%s", ln_strerror(LN_ENOMEM));
    *c = (struct client){.opt = opt, .t = totals, .err = err, .epfd = epoll_create1(EPOLL_CLOEXEC)};
    c->conn = calloc(opt->connections, sizeof *c->conn);
    c->idle = calloc(opt->connections, sizeof *c->idle);
    c->target = calloc(opt->ntargets, sizeof *c->target);
    if (c->epfd < 0 || !c->conn || !c->idle || !c->target)
        c->rc = ln_err_set(err, LN_ENOMEM, "%s", ln_strerror(LN_ENOMEM));
    else
        resolve(c);
    if (c->rc == LN_OK)
        run(c);
    int rc = c->rc;
    for (unsigned i = 0; c->target && i < opt->ntargets; i++)
        if (c->target[i].addresses)
            freeaddrinfo(c->target[i].addresses);
    if (c->epfd >= 0)
        close(c->epfd);
    free(c->target);
    free(c->conn);
    free(c->idle);
    free(c);
    return rc;
}
