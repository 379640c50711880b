/* One thread. A connection is in one of the states of client_link.h; all that wait for a reply, a
 * connection or a second try are looked at 20 times a second for their deadline, which costs
 * nothing per message. */
#include "role/client_link.h"

#include <errno.h>
#include <netdb.h>
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

#define TICK_US    50000
#define UNASKED_US 200000 /* for an answer that was not asked for: most receivers give one */
#define EVENTS     256

static void put_idle(struct ln_client *c, struct ln_link *k)
{
    k->state = LN_LINK_IDLE;
    if (k->in_ring)
        return;
    k->in_ring = true;
    unsigned i = (c->idle_head + c->nidle++) % c->opt->connections;
    c->idle[i] = (unsigned)(k - c->conn);
}

/* ---- sending ---- */

/* In one record where that is small: three would cost three times as much. */
static void flush_tls(struct ln_client *c, struct ln_link *k, const struct iovec *v, int n)
{
    static char together[16384];
    const size_t total = k->m->len + k->ndigits;
    size_t len = 0;
    long w = 0;
    if (n > 1 && total - k->off <= sizeof together) {
        for (int i = 0; i < n; len += v[i].iov_len, i++)
            memcpy(together + len, v[i].iov_base, v[i].iov_len);
        w = ln_tls_write(k->tls, together, len);
        k->off += w > 0 ? (size_t)w : 0;
    } else {
        for (int i = 0; i < n && w >= 0; i++) {
            w = ln_tls_write(k->tls, v[i].iov_base, v[i].iov_len);
            k->off += w > 0 ? (size_t)w : 0;
            if (w < (long)v[i].iov_len)
                break;
        }
    }
    ln_link_watch(c, k, k->off < total && w >= 0);
}

static void flush(struct ln_client *c, struct ln_link *k)
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
    if (k->tls) {
        flush_tls(c, k, v, n);
        return;
    }
    struct msghdr msg = {.msg_iov = v, .msg_iovlen = (size_t)n};
    ssize_t w = sendmsg(k->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w > 0)
        k->off += (size_t)w;
    /* an error shows itself on the next read, together with what the peer said before it */
    ln_link_watch(c, k,
                  k->off < m->len + k->ndigits && (w >= 0 || errno == EAGAIN || errno == EINTR));
}

static void send_next(struct ln_client *c, struct ln_link *k, int64_t due_us)
{
    const struct ln_payload *p = c->opt->payload;
    k->n = c->next++;
    k->m = &p->message[k->n % p->n];
    k->off = 0;
    k->state = LN_LINK_WAITING;
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
static void next(struct ln_client *c, struct ln_link *k, int64_t now)
{
    if (!c->started || c->opt->rate > 0)
        put_idle(c, k);
    else if (c->next < c->opt->count)
        send_next(c, k, now);
    else
        k->state = LN_LINK_IDLE;
}

static int64_t due(const struct ln_client *c)
{
    return c->start_us + (int64_t)((double)c->next * 1e6 / c->opt->rate);
}

/* Sends what is due, and after the start what was held back for it. */
static void pump(struct ln_client *c, int64_t now)
{
    while (c->nidle && c->next < c->opt->count) {
        int64_t when = c->opt->rate > 0 ? due(c) : now;
        if (when > now)
            return;
        struct ln_link *k = &c->conn[c->idle[c->idle_head]];
        c->idle_head = (c->idle_head + 1) % c->opt->connections;
        c->nidle--;
        k->in_ring = false;
        if (k->state != LN_LINK_IDLE) /* was lost while it stood here */
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
    else if (r->end == LN_CLIENT_UNASKED)
        t->unasked++;
    else if (code[0] != 'A')
        t->other++;
    else if (code[1] == 'A')
        t->aa++;
    else if (code[1] == 'E')
        t->ae++;
    else
        t->ar++;
}

static void finish(struct ln_client *c, struct ln_link *k, enum ln_client_end end,
                   struct ln_span frame, const struct ln_reply *reply, int64_t now)
{
    char id[256];
    struct ln_client_result r = {.n = k->n, .end = end, .message = k->m, .frame = frame};
    r.latency_us = now - k->from_us;
    if (reply) {
        r.reply = *reply;
        r.accepted = reply->code[1] == 'A';
    }
    r.accepted = r.accepted || end == LN_CLIENT_UNASKED;
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

static bool answers(const struct ln_link *k, struct ln_span id)
{
    const struct ln_span base = k->m->id;
    if (k->m->id_end == 0)
        return true; /* sent without a header: any answer is the answer */
    return id.len == base.len + k->ndigits &&
           (base.len == 0 || memcmp(id.ptr, base.ptr, base.len) == 0) &&
           memcmp(id.ptr + base.len, k->digits, k->ndigits) == 0;
}

/* Reads an acknowledgement, or a batch of them (`whole` sends batches): then the first that says no
 * speaks for all. id: whose message the first one is. */
static int read_reply(struct ln_span frame, bool batch, struct ln_reply *reply, struct ln_span *id)
{
    struct ln_reply one;
    struct ln_span m;
    size_t pos = 0;
    unsigned n = 0;
    while (batch && ln_batch_next(frame, &pos, &m)) {
        if (ln_reply_read(m, &one, NULL) != LN_OK)
            return LN_EPARSE;
        if (n == 0)
            *id = one.control_id;
        if (n++ == 0 || reply->code[1] == 'A')
            *reply = one;
    }
    if (n > 0)
        return LN_OK;
    int rc = ln_reply_read(frame, reply, NULL);
    *id = reply->control_id;
    return rc;
}

static void on_frame(struct ln_client *c, struct ln_link *k, struct ln_span frame, int64_t now)
{
    struct ln_reply reply;
    struct ln_span id;
    k->mute = false;
    if (k->state != LN_LINK_WAITING) {
        c->t->mismatched++;
        return;
    }
    if (read_reply(frame, c->opt->payload->whole, &reply, &id) != LN_OK) {
        finish(c, k, LN_CLIENT_UNREADABLE, frame, NULL, now);
    } else if (answers(k, id)) {
        finish(c, k, LN_CLIENT_REPLY, frame, &reply, now);
    } else {
        c->t->mismatched++;
        return;
    }
    if (k->off <
        k->m->len + k->ndigits) /* answered before it had all: in what state it is, who knows */
        ln_link_lost(c, k, now);
    else
        next(c, k, now);
}

static void on_bytes(struct ln_client *c, struct ln_link *k, const char *data, size_t len,
                     int64_t now)
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
            if (k->state == LN_LINK_WAITING)
                finish(c, k, LN_CLIENT_UNREADABLE, ln_span(NULL, 0), NULL, now);
            ln_link_lost(c, k, now);
        }
    }
}

/* As recv: with TLS as well. */
static ssize_t receive(struct ln_client *c, struct ln_link *k)
{
    if (!k->tls)
        return recv(k->fd, c->buffer, sizeof c->buffer, MSG_DONTWAIT);
    long n = ln_tls_read(k->tls, c->buffer, sizeof c->buffer);
    errno = n == LN_EAGAIN ? EAGAIN : ECONNRESET;
    if (n == LN_ETLS) /* with TLS 1.3 a refusal of our certificate comes only now */
        ln_client_fail(c, k->target, LN_ETLS, "no TLS with", ln_tls_why(k->tls));
    return n < 0 ? -1 : n;
}

static void on_readable(struct ln_client *c, struct ln_link *k)
{
    ssize_t n = receive(c, k);
    int64_t now = ln_mono_us();
    if (n > 0) {
        on_bytes(c, k, c->buffer, (size_t)n, now);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (k->state == LN_LINK_WAITING)
        finish(c, k, LN_CLIENT_CLOSED, ln_span(NULL, 0), NULL, now);
    ln_link_lost(c, k, now);
}

/* Written, and wants no answer: whether it was waited for long enough all the same. ER may be
 * answered late. */
static bool is_unasked(const struct ln_client *c, const struct ln_link *k, int64_t now)
{
    if (k->state != LN_LINK_WAITING || !k->m->unasked || k->off < k->m->len + k->ndigits)
        return false;
    int64_t wait = c->opt->timeout_us;
    if (k->m->never && wait > UNASKED_US)
        wait = UNASKED_US;
    return now - k->at_us > (k->mute ? 0 : wait);
}

static void check_deadlines(struct ln_client *c, int64_t now)
{
    for (unsigned i = 0; i < c->opt->connections; i++) {
        struct ln_link *k = &c->conn[i];
        if (k->state == LN_LINK_BACKING_OFF && now >= k->at_us) {
            ln_link_reset(c, k);
        } else if (k->state == LN_LINK_CONNECTING && now - k->at_us > c->opt->timeout_us) {
            ln_link_refused(c, k, ETIMEDOUT, now);
        } else if (is_unasked(c, k, now)) {
            k->mute = k->m->never;
            c->hasty = c->hasty || k->mute;
            finish(c, k, LN_CLIENT_UNASKED, ln_span(NULL, 0), NULL, now);
            next(c, k, now);
        } else if (k->state == LN_LINK_WAITING && now - k->at_us > c->opt->timeout_us) {
            finish(c, k, LN_CLIENT_TIMEOUT, ln_span(NULL, 0), NULL, now);
            ln_link_lost(c, k, now); /* its late reply must not meet another message */
        }
    }
}

/* ---- the loop ---- */

static void wait_for_events(struct ln_client *c, int64_t now, int64_t tick_us)
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
        struct ln_link *k = &c->conn[ev[i].data.u32];
        if (k->fd < 0)
            continue;
        if (k->greeting) {
            if (ln_link_greet(c, k))
                next(c, k, ln_mono_us());
            continue;
        }
        if (k->state == LN_LINK_CONNECTING) {
            int64_t at = ln_mono_us();
            if (ev[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && ln_link_connected(c, k, at))
                next(c, k, at);
            continue;
        }
        if (ev[i].events & EPOLLOUT && k->state == LN_LINK_WAITING)
            flush(c, k);
        if (ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            do
                on_readable(c, k);
            while (k->fd >= 0 && k->tls && !k->greeting && ln_tls_pending(k->tls));
    }
}

static void loop(struct ln_client *c)
{
    int64_t tick_us = 0, report_us = 0;
    while (c->rc == LN_OK && c->done < c->opt->count && !(c->opt->stop && *c->opt->stop)) {
        int64_t now = ln_mono_us();
        if (c->closed)
            ln_link_dial_more(c, now);
        if (!c->started && c->connected == c->opt->connections) {
            c->started = true;
            c->start_us = now;
        }
        if (c->started && c->nidle)
            pump(c, now);
        wait_for_events(c, now, tick_us > now && !c->hasty ? tick_us : now);
        if (c->hasty)
            check_deadlines(c, ln_mono_us());
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

static void resolve(struct ln_client *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    for (unsigned i = 0; i < c->opt->ntargets && c->rc == LN_OK; i++) {
        struct ln_link_target *t = &c->target[i];
        t->name = &c->opt->targets[i];
        int e = getaddrinfo(t->name->host, t->name->port, &hints, &t->addresses);
        if (e)
            ln_client_fail(c, t, LN_ENOTFOUND, "cannot connect to", gai_strerror(e));
        t->address = t->addresses;
    }
}

static void run(struct ln_client *c)
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
        ln_link_drop(c, &c->conn[i]);
        ln_mllp_fini(&c->conn[i].in);
    }
}

int ln_client_run(const struct ln_client_options *opt, struct ln_client_totals *totals,
                  struct ln_err *err)
{
    struct ln_client *c = calloc(1, sizeof *c);
    memset(totals, 0, sizeof *totals);
    if (!c)
        return ln_err_set(err, LN_ENOMEM, "%s", ln_strerror(LN_ENOMEM));
    *c = (struct ln_client){
        .opt = opt, .t = totals, .err = err, .epfd = epoll_create1(EPOLL_CLOEXEC)};
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
