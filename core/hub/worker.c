/* The worker process of a channel: starting it, talking to it, ending it.
 *
 * Invariants: what comes from it is checked as if an attacker wrote it; whatever it does (hang,
 * die, stop reading, write nonsense), the hub goes on and the messages it had are given again. */
#include "hub/version.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "hub/nursery.h"
#include "hub/reach.h"
#include "hub/spawn.h"

/* From spawn to READY: of processor time; and in all, for a machine that has none to give. */
static const double START_LIMIT_S = 10, START_MOST_S = 60;
static const double HARD_GRACE_S = 0.5; /* the soft limit in the worker gets this long to act */
static const double BACKOFF_FIRST_S = 0.05, BACKOFF_MAX_S = 30;
enum { RESULT_MAX = 200u << 20 };
/* Half of the processors are for workers that start, the rest for those that work and for the hub:
 * a hundred at once would be served none of them in time, and messages meanwhile neither. One that
 * takes longer than a moment makes room for another. */
enum { STARTING_MOST = 8 };
static const double STARTING_S = 2;

static void lost(struct ln_channel *c, const char *why, bool blame_head);

/* net: its end of the socketpair for connections; -1: it may connect to nothing. */
static int spawn(struct ln_channel *c, int net, int *fd)
{
    int fds[LN_SPAWN_FDS] = {LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_PAIR};
    fds[LN_NET_FD] = net >= 0 ? net : LN_SPAWN_KEEP;
    int n = LN_WORKER_LENT + ln_worker_lend(c->conf, fds + LN_WORKER_LENT);
    return ln_nursery_bear(c->hub, c->name, fds, n, &c->worker.pid, fd);
}

static void arm(struct ln_worker *w, double seconds)
{
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    evtimer_add(&w->timer, &tv);
}

/* ---- to the worker --------------------------------------------------------------------------- */

static void mark_dirty(struct ln_worker *w)
{
    struct ln_hub *h = w->channel->hub;
    if (w->dirty)
        return;
    w->dirty = true;
    w->next_dirty = h->dirty;
    h->dirty = w;
}

void ln_worker_flush_all(struct ln_hub *h)
{
    while (h->dirty) {
        struct ln_worker *w = h->dirty;
        h->dirty = w->next_dirty;
        w->dirty = false;
        ln_stream_flush(&w->stream);
    }
}

void ln_worker_head(struct ln_channel *c)
{
    c->worker.head_since_us = ln_mono_us();
    c->worker.reading = false;
}

void ln_worker_give(struct ln_channel *c, const struct ln_entry *e)
{
    struct ln_worker *w = &c->worker;
    struct ln_buf *b = &w->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_MESSAGE);
    ln_wire_u64(b, e->seq);
    ln_wire_u64(b, (uint64_t)e->time_us);
    ln_wire_bytes(b, ln_blob_span(e->raw));
    if (ln_wire_end(b, rec) != LN_OK) {
        ln_worker_restart(c, "out of memory");
        return;
    }
    if (c->work.given - c->work.answered == 1) {
        w->head_since_us = ln_mono_us();
        w->reading = false;
        if (!evtimer_pending(&w->timer, NULL))
            arm(w, c->conf->seconds + HARD_GRACE_S);
    }
    mark_dirty(w);
}

/* ---- from the worker ------------------------------------------------------------------------- */

/* Another may start now. */
static void make_room(struct ln_worker *w)
{
    struct ln_hub *h = w->channel->hub;
    struct timeval now = {0, 0};
    if (!w->has_place)
        return;
    w->has_place = false;
    h->starting--;
    evtimer_add(&h->starter, &now);
}

static int on_ready(struct ln_channel *c, struct ln_wire_in *in)
{
    struct ln_worker *w = &c->worker;
    uint32_t n = ln_wire_get_u32(in);
    if (w->state != LN_W_STARTING || n != c->conf->ndest)
        return LN_EPARSE;
    for (uint32_t i = 0; i < n; i++)
        if (!ln_span_is(ln_wire_get_bytes(in), c->conf->dest[i].name))
            return LN_EPARSE;
    unsigned confined = ln_wire_get_u8(in);
    if (!ln_wire_done(in))
        return LN_EPARSE;
    w->state = LN_W_READY;
    w->lines = 0;
    make_room(w);
    w->failure[0] = '\0';
    evtimer_del(&w->timer);
    ln_log(LN_INFO, "worker", "ready", "channel=%s pid=%d script=%.6s ms=%.1f", c->name,
           (int)w->pid, c->conf->version, (double)(ln_mono_us() - w->spawned_us) / 1e3);
    if (confined != LN_CONFINED_ALL)
        ln_log(LN_WARN, "worker", "confined_less", "channel=%s landlock=%d seccomp=%d", c->name,
               (confined & LN_CONFINED_FILES) != 0, (confined & LN_CONFINED_CALLS) != 0);
    ln_conf_channel_free(c->prev);
    c->prev = NULL;
    ln_version_runs(c);
    ln_work_pump(c);
    return LN_OK;
}

static int on_failed(struct ln_channel *c, struct ln_wire_in *in)
{
    struct ln_worker *w = &c->worker;
    struct ln_span text = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || w->state != LN_W_STARTING)
        return LN_EPARSE;
    snprintf(w->failure, sizeof w->failure, "%.*s", (int)(text.len > 390 ? 390 : text.len),
             text.ptr);
    ln_log(LN_ERROR, "worker", "script_failed", "channel=%s why=\"%s\"", c->name, w->failure);
    lost(c, w->failure, false);
    return LN_ECLOSED; /* nothing more is read from it */
}

static int on_log(struct ln_channel *c, struct ln_wire_in *in)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    uint64_t seq = ln_wire_get_u64(in);
    unsigned level = ln_wire_get_u8(in);
    struct ln_span where = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    struct ln_span place = ln_conf_place(c->conf, where);
    struct ln_buf b = {0};
    if (!ln_wire_done(in) || level > LN_ERROR || c->worker.lines++ > LN_LOG_LINES_MAX)
        return LN_EPARSE;
    ln_log((enum ln_level)level, "script", "log", "channel=%s seq=%llu at=%.*s length=%zu", c->name,
           (unsigned long long)seq, (int)place.len, place.ptr, text.len);
    /* Only for a message it has: a worker cannot write beside others' messages. */
    size_t inflight = c->work.given - c->work.answered;
    struct ln_work *k = &c->work;
    for (size_t i = 0; i < inflight; i++)
        if (k->ring[(k->head + k->answered + i) & (k->cap - 1)].seq == seq) {
            ln_buf_addf(&b, "%s %.*s: ", levels[level], (int)(where.len > 200 ? 200 : where.len),
                        where.ptr);
            ln_buf_add(&b, text.ptr, text.len > 65536 ? 65536 : text.len);
            struct ln_event ev = {
                .kind = LN_EV_LOG, .time_us = ln_now_us(), .text = ln_buf_span(&b)};
            (void)!ln_store_event(c->hub->store, c->id, seq, &ev, NULL, NULL);
            ln_buf_fini(&b);
            break;
        }
    return LN_OK;
}

static int on_reading(struct ln_channel *c, struct ln_wire_in *in)
{
    uint64_t seq = ln_wire_get_u64(in);
    struct ln_work *k = &c->work;
    if (!ln_wire_done(in))
        return LN_EPARSE;
    if (k->given > k->answered && k->ring[(k->head + k->answered) & (k->cap - 1)].seq == seq)
        c->worker.reading = true;
    return LN_OK;
}

static int on_result(struct ln_channel *c, struct ln_wire_in *in)
{
    struct ln_result r;
    int rc = ln_result_read(in, c->conf->ndest, &r);
    if (rc != LN_OK)
        return rc;
    c->worker.lines = 0;
    rc = c->worker.state == LN_W_READY ? ln_work_result(c, &r) : LN_EPARSE;
    if (rc == LN_OK && r.verdict != LN_V_LIMIT)
        c->worker.backoff_s = 0; /* it works; a limit is not a sign of that */
    ln_result_fini(&r);
    return rc;
}

static int on_hello(struct ln_channel *c, struct ln_wire_in *in)
{
    struct ln_worker *w = &c->worker;
    ln_nursery_look(c->hub);
    if (w->state != LN_W_STARTING || w->told || !w->pid ||
        !ln_span_is(ln_wire_get_bytes(in), LN_PROTO_BUILD))
        return LN_EPARSE;
    w->told = true;
    return ln_worker_tell(c);
}

static int on_record(struct ln_channel *c, uint8_t type, struct ln_wire_in *in)
{
    switch (type) {
    case LN_P_HELLO: return on_hello(c, in);
    case LN_P_READY: return on_ready(c, in);
    case LN_P_FAILED: return on_failed(c, in);
    case LN_P_RESULT: return on_result(c, in);
    case LN_P_LOG: return on_log(c, in);
    case LN_P_READING: return on_reading(c, in);
    default: return LN_EPARSE;
    }
}

/* Takes whole records off data; what they used. LN_ECLOSED: the worker is no longer this one. */
static int take_records(struct ln_channel *c, const char *data, size_t len, size_t *taken)
{
    uint64_t number = c->worker.number;
    for (*taken = 0;;) {
        struct ln_wire_in in;
        uint8_t type;
        size_t used;
        int rc = ln_wire_next(data + *taken, len - *taken, RESULT_MAX, &type, &in, &used);
        if (rc == LN_EAGAIN)
            return LN_OK;
        if (rc == LN_OK)
            rc = on_record(c, type, &in);
        if (rc == LN_OK && c->worker.number != number)
            rc = LN_ECLOSED; /* ended, or replaced: the rest is nobody's */
        if (rc != LN_OK)
            return rc;
        *taken += used;
    }
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_channel *c = owner;
    struct ln_worker *w = &c->worker;
    size_t taken;
    bool buffered = w->in.len > 0;
    struct ln_buf in = {0};
    if (buffered) { /* ours while its records are read: a record may end the worker */
        if (ln_buf_add(&w->in, data, len) != LN_OK) {
            lost(c, "out of memory", false);
            return;
        }
        in = w->in;
        w->in = (struct ln_buf){0};
        data = in.data;
        len = in.len;
    }
    int rc = take_records(c, data, len, &taken);
    if (rc == LN_OK && taken < len) {
        if (buffered) {
            ln_buf_drop(&in, taken);
            w->in = in;
            in = (struct ln_buf){0};
        } else if (ln_buf_add(&w->in, data + taken, len - taken) != LN_OK) {
            rc = LN_ENOMEM;
        }
    }
    ln_buf_fini(&in);
    if (rc == LN_OK || rc == LN_ECLOSED)
        ln_work_pump(c);
    else
        lost(c, rc == LN_EPARSE ? "sent what no worker sends" : ln_strerror(rc), false);
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    lost(owner, "worker process died", false);
}

static void on_drained(void *owner)
{
    struct ln_channel *c = owner;
    int rc = c->worker.telling ? ln_worker_tell_more(c) : LN_OK;
    if (rc == LN_OK)
        ln_work_pump(c);
    else
        lost(c, ln_strerror(rc), false);
}

static const struct ln_stream_ops worker_ops = {
    .data = on_data, .closed = on_closed, .drained = on_drained};

/* ---- life and death -------------------------------------------------------------------------- */

/* Ends the process; it is reaped by the hub's SIGCHLD. */
static void end_process(struct ln_worker *w)
{
    make_room(w);
    if (w->state == LN_W_QUEUED)
        TAILQ_REMOVE(&w->channel->hub->to_start, w, queue);
    if (w->dirty) {
        w->stream.out.len = w->stream.out_done = 0;
        ln_worker_flush_all(w->channel->hub);
    }
    ln_stream_fini(&w->stream);
    ln_reach_free(w->reach);
    w->reach = NULL;
    ln_buf_fini(&w->in);
    evtimer_del(&w->timer);
    ln_nursery_end(w->channel->hub, &w->pid);
    w->number = 0;
    w->state = LN_W_NONE;
}

static void start_later(struct ln_channel *c)
{
    struct ln_worker *w = &c->worker;
    w->backoff_s = w->backoff_s == 0 ? BACKOFF_FIRST_S : w->backoff_s * 2;
    if (w->backoff_s > BACKOFF_MAX_S)
        w->backoff_s = BACKOFF_MAX_S;
    w->restarts++;
    w->state = LN_W_WAITING;
    arm(w, w->backoff_s);
}

static void lost(struct ln_channel *c, const char *why, bool blame_head)
{
    struct ln_worker *w = &c->worker;
    ln_log(LN_ERROR, "worker", "lost", "channel=%s pid=%d why=\"%s\" inflight=%zu", c->name,
           (int)w->pid, why, c->work.given - c->work.answered);
    bool at_start = w->state == LN_W_STARTING && w->told; /* before that it is not the script */
    end_process(w);
    if (at_start && c->prev) { /* never ran: the one before it goes on */
        ln_channel_revert(c, why);
        return;
    }
    ln_work_lost(c, why, blame_head);
    if (!c->hub->finished && !c->removed && c->mode != LN_MODE_STOPPED)
        start_later(c);
    ln_work_pump(c); /* what needs no worker, and a reload that waited for it */
}

void ln_worker_restart(struct ln_channel *c, const char *why)
{
    ln_log(LN_WARN, "worker", "restart", "channel=%s pid=%d why=\"%s\"", c->name,
           (int)c->worker.pid, why);
    end_process(&c->worker);
    ln_work_lost(c, why, false);
    start_later(c);
}

void ln_worker_stop(struct ln_channel *c)
{
    if (c->worker.state == LN_W_NONE)
        return;
    end_process(&c->worker);
    for (struct ln_work *k = &c->work; k->given > k->answered;) {
        k->given--; /* nobody's fault: they wait again */
        k->waiting_bytes += k->ring[(k->head + k->given) & (k->cap - 1)].raw->len;
        k->given_bytes = 0;
    }
}

static void start_is_late(struct ln_worker *w)
{
    double passed = (double)(ln_mono_us() - w->spawned_us) / 1e6;
    char why[80];
    make_room(w);
    if (ln_nursery_hangs(w->channel->hub, &w->pid, passed)) {
        lost(w->channel, "no process could be started for it in time", false);
        return;
    }
    if (!w->pid || passed < START_LIMIT_S ||
        (passed < START_MOST_S && ln_proc_cpu_s(w->pid) < START_LIMIT_S * 0.9)) {
        arm(w, STARTING_S);
        return;
    }
    snprintf(why, sizeof why, "script did not load within %.0f s", passed);
    lost(w->channel, why, false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_channel *c = arg;
    struct ln_worker *w = &c->worker;
    (void)fd;
    (void)what;
    if (w->state == LN_W_WAITING) {
        ln_worker_start(c);
        return;
    }
    if (w->state == LN_W_STARTING) {
        start_is_late(w);
        return;
    }
    if (c->work.given == c->work.answered)
        return; /* idle; armed again with the next message */
    double limit = c->conf->seconds + HARD_GRACE_S + (w->reading ? LN_READING_S : 0);
    double passed = (double)(ln_mono_us() - w->head_since_us) / 1e6;
    if (passed < limit) {
        arm(w, limit - passed + 0.001);
        return;
    }
    char why[120];
    snprintf(why, sizeof why, "killed: no result after %.3g s (limits.seconds = %.3g)", passed,
             c->conf->seconds);
    lost(c, why, true);
}

void ln_worker_init(struct ln_channel *c)
{
    c->worker.channel = c;
    c->worker.stream.fd = -1;
    evtimer_assign(&c->worker.timer, c->hub->base, on_timer, c);
}

bool ln_worker_room(const struct ln_hub *h)
{
    return h->starting < h->starting_max && TAILQ_EMPTY(&h->to_start);
}

static void start(struct ln_channel *c)
{
    struct ln_worker *w = &c->worker;
    int fd, net = -1;
    int rc = c->conf->nreach ? ln_reach_new(c, &w->reach, &net) : LN_OK;
    if (rc == LN_OK)
        rc = spawn(c, net, &fd);
    if (net >= 0)
        close(net);
    if (rc == LN_OK)
        rc = ln_stream_init(&w->stream, c->hub->base, fd, &worker_ops, c);
    if (rc != LN_OK) {
        ln_log(LN_ERROR, "worker", "spawn_failed", "channel=%s why=\"%s\"", c->name,
               ln_strerror(rc));
        end_process(w);
        start_later(c);
        return;
    }
    w->state = LN_W_STARTING;
    w->told = false;
    w->lines = 0;
    w->has_place = true;
    c->hub->starting++;
    w->number = ++c->hub->workers;
    w->spawned_us = ln_mono_us();
    arm(w, STARTING_S);
}

void ln_worker_start(struct ln_channel *c)
{
    struct ln_worker *w = &c->worker;
    struct ln_hub *h = c->hub;
    if (w->state == LN_W_STARTING || w->state == LN_W_READY || w->state == LN_W_QUEUED)
        return;
    evtimer_del(&w->timer);
    if (c->work.answered > 0) { /* kv must hold what the results on their way to the disk wrote */
        w->state = LN_W_WAITING;
        arm(w, 0.002);
    } else if (ln_worker_room(h)) {
        start(c);
    } else {
        w->state = LN_W_QUEUED;
        TAILQ_INSERT_TAIL(&h->to_start, w, queue);
    }
}

/* Those that wait for their turn, then reloads that do. */
static void on_room(evutil_socket_t fd, short what, void *arg)
{
    struct ln_hub *h = arg;
    struct ln_worker *w;
    struct ln_channel *c;
    (void)fd;
    (void)what;
    while (h->starting < h->starting_max && !h->finished && (w = TAILQ_FIRST(&h->to_start))) {
        TAILQ_REMOVE(&h->to_start, w, queue);
        w->state = LN_W_NONE;
        start(w->channel);
    }
    LIST_FOREACH (c, &h->channels, link)
        if (c->next && !h->finished && ln_worker_room(h))
            ln_work_pump(c);
}

void ln_worker_init_hub(struct ln_hub *h)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    h->starting_max = half < 1 ? 1 : half > STARTING_MOST ? STARTING_MOST : (unsigned)half;
    TAILQ_INIT(&h->to_start);
    evtimer_assign(&h->starter, h->base, on_room, h);
}
