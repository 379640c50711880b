/* Delivery: one queue per destination, strictly first in, first out, one message on the wire.
 *
 * Invariants: the next message is sent only when the one before has its end (accepted, parked,
 * skipped); an acknowledgement counts only when its MSA-2 is the control id of what is in flight;
 * outcomes are committed behind the wire, at most LN_UNCOMMITTED_MAX of them, which bounds what is
 * sent twice after a crash. */
#include "hub/dest.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    QUEUE_MAX = 4096, /* outputs held in memory; beyond: read back from the store */
    QUEUE_BYTES = 4 << 20,
    REFILL = 128,
};

struct ln_due *ln_dest_first(struct ln_dest *d)
{
    return &d->ring[d->head & (d->cap - 1)];
}

static int push(struct ln_dest *d, struct ln_pos pos, struct ln_blob *bytes, int64_t received_us)
{
    if (d->count == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 16;
        struct ln_due *ring = malloc(cap * sizeof *ring);
        if (!ring)
            return LN_ENOMEM;
        for (size_t i = 0; i < d->count; i++)
            ring[i] = d->ring[(d->head + i) & (d->cap - 1)];
        free(d->ring);
        d->ring = ring;
        d->cap = cap;
        d->head = 0;
    }
    d->ring[(d->head + d->count++) & (d->cap - 1)] =
        (struct ln_due){pos, received_us, ln_blob_ref(bytes)};
    d->bytes += bytes->len;
    return LN_OK;
}

void ln_dest_pop(struct ln_dest *d)
{
    struct ln_due *x = ln_dest_first(d);
    d->bytes -= x->bytes->len;
    ln_blob_unref(x->bytes);
    d->head++;
    d->count--;
    d->tries = 0;
    d->first_us = 0;
}

void ln_dest_add(struct ln_dest *d, struct ln_pos pos, struct ln_blob *bytes, int64_t received_us)
{
    bool room = d->bytes < QUEUE_BYTES && ln_blob_held < LN_BLOB_MUCH;
    bool keep = !d->behind && d->count < QUEUE_MAX && (d->count == 0 || room);
    if (keep && push(d, pos, bytes, received_us) == LN_OK)
        d->read_pos = (struct ln_pos){pos.seq, pos.n + 1};
    else
        d->behind = true;
    ln_dest_pump(d);
}

/* A damaged record is neither sent nor passed over: somebody must see it, and say so (skip). Logged
 * once. */
static void complain_unreadable(struct ln_dest *d, struct ln_pos pos, int code)
{
    snprintf(
        d->last_error, sizeof d->last_error,
        "message %llu cannot be read from the store (%s): run lunate verify; lunate skip passes "
        "over it",
        (unsigned long long)pos.seq, ln_strerror(code));
    bool known = d->unreadable.seq == pos.seq;
    d->unreadable = pos;
    if (known)
        return;
    ln_log(LN_ERROR, "dest", "unreadable", "channel=%s dest=%s seq=%llu why=\"%s\" hint=\"%s\"",
           d->channel->name, d->conf.name, (unsigned long long)pos.seq, ln_strerror(code),
           "lunate verify, lunate skip");
}

void ln_dest_refill(struct ln_dest *d)
{
    struct ln_channel *c = d->channel;
    struct ln_hub *h = c->hub;
    struct ln_work *w = &c->work;
    struct ln_span bytes;
    int64_t received_us;
    if (!d->behind || d->count >= REFILL / 2 || ln_reader_begin(h->reader) != LN_OK)
        return;
    uint64_t end = w->count ? w->ring[w->head & (w->cap - 1)].seq : w->read_next;
    for (int i = 0, skips = 0; i < REFILL && d->bytes < QUEUE_BYTES && skips < 8; i++) {
        if (d->count > 0 && ln_blob_held >= LN_BLOB_MUCH)
            break;
        struct ln_pos pos = d->read_pos;
        int rc = ln_read_next_output(h->reader, c->id, d->id, &pos, &bytes, &received_us);
        if (rc == LN_EAGAIN) { /* many messages that were not for this destination */
            d->read_pos = pos;
            skips++;
            continue;
        }
        if (rc == LN_ENOTFOUND || (rc == LN_OK && pos.seq >= end)) {
            d->behind = false; /* what is committed from now on comes by ln_dest_add */
            break;
        }
        if (rc != LN_OK) {
            complain_unreadable(d, pos, rc);
            break;
        }
        d->unreadable.seq = 0;
        struct ln_blob *b = ln_blob_new(bytes);
        rc = b ? push(d, pos, b, received_us) : LN_ENOMEM;
        ln_blob_unref(b);
        if (rc != LN_OK)
            break;
        d->read_pos = (struct ln_pos){pos.seq, pos.n + 1};
    }
    ln_reader_end(h->reader);
}

/* ---- timing ---------------------------------------------------------------------------------- */

void ln_dest_arm(struct ln_dest *d, double seconds)
{
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    evtimer_add(&d->timer, &tv);
}

void ln_dest_disconnect(struct ln_dest *d)
{
    ln_stream_fini(&d->stream);
    ln_mllp_fini(&d->mllp);
    ln_mllp_init(&d->mllp, LN_REPLY_MAX);
    d->connected = d->inflight = d->used = d->greeting = d->silent = false;
}

static double or_else(double value, double other)
{
    return value < 0 ? other : value;
}

/* Longer each time, with a fifth of jitter so that many do not come back at once. A class with
 * times of its own counts its own failures. */
static void retry_later(struct ln_dest *d, const struct ln_conf_try *t)
{
    double s = or_else(t->first_s, d->conf.retry_first_s);
    double factor = or_else(t->factor, d->conf.retry_factor);
    double max = or_else(t->max_s, d->conf.retry_max_s);
    bool own = t->first_s >= 0 || t->factor >= 0 || t->max_s >= 0;
    uint32_t n = own ? d->class_failures : d->failures;
    for (uint32_t i = 1; i < n && s < max; i++)
        s *= factor;
    if (s > max)
        s = max;
    s *= 0.8 + 0.4 * ((double)random() / (double)RAND_MAX);
    d->retrying = true;
    if (d->retry_since_us == 0)
        d->retry_since_us = ln_now_us();
    ln_dest_arm(d, s);
}

/* ---- ends of a message ----------------------------------------------------------------------- */

struct outcome { /* on its way to the disk */
    struct ln_dest *dest;
    struct ln_pos pos;
    bool sent;
};

static void on_committed(void *arg, int code, uint64_t seq)
{
    struct outcome *o = arg;
    struct ln_dest *d = o->dest;
    (void)seq;
    d->uncommitted--;
    if (code == LN_OK) {
        char text[120];
        snprintf(text, sizeof text, "destination %s did not accept it", d->conf.name);
        ln_waiter_dest_done(d, o->pos, o->sent, text);
        ln_dest_pump(d);
    }
    free(o);
}

/* An outcome replaces the one before: what that was stays with the message. */
static void note_former(struct ln_dest *d, struct ln_pos pos)
{
    static const char *const words[] = {"?", "sent", "parked", "passed over"};
    struct ln_channel *c = d->channel;
    struct ln_outcome o;
    struct ln_reply r;
    char at[40] = "", text[600];
    if (!d->redo || ln_reader_begin(c->hub->reader) != LN_OK)
        return;
    int rc = ln_read_outcome(c->hub->reader, c->id, pos.seq, pos.n, &o);
    if (rc == LN_OK) {
        (void)!ln_iso_time(o.time_us, at, sizeof at);
        bool read = ln_reply_read(o.reply, &r, NULL) == LN_OK;
        snprintf(text, sizeof text, "before: %s %s after %u %s%s%s%s%.*s",
                 words[o.state <= LN_OUT_SKIPPED ? o.state : 0], at, o.tries,
                 o.tries == 1 ? "try" : "tries", read ? ", answered " : "", read ? r.code : "",
                 o.reason.len ? ": " : "", (int)(o.reason.len > 400 ? 400 : o.reason.len),
                 o.reason.len ? o.reason.ptr : "");
        struct ln_event e = {
            .kind = LN_EV_NOTE, .time_us = ln_now_us(), .dest = d->id, .text = ln_span_str(text)};
        (void)!ln_store_event(c->hub->store, c->id, pos.seq, &e, NULL, NULL);
    } else if (rc == LN_ENOTFOUND) {
        d->redo = false; /* from here on nothing has been delivered before */
    }
    ln_reader_end(c->hub->reader);
}

int ln_dest_commit(struct ln_dest *d, uint8_t state, struct ln_span reply, const char *reason)
{
    struct ln_due *x = ln_dest_first(d);
    int64_t now = ln_now_us();
    struct outcome *arg = malloc(sizeof *arg);
    struct ln_outcome o = {.state = state,
                           .tries = d->tries,
                           .time_us = now,
                           .reply = reply,
                           .first_us = d->first_us ? d->first_us : now,
                           .reason = ln_span_str(reason)};
    if (!arg)
        return LN_ENOMEM;
    *arg = (struct outcome){d, x->pos, state == LN_OUT_SENT};
    note_former(d, x->pos);
    int rc = ln_store_outcome(d->channel->hub->store, d->channel->id, d->id, x->pos, &o,
                              on_committed, arg);
    if (rc != LN_OK) {
        free(arg);
        return rc;
    }
    d->uncommitted++;
    d->ended_seq = x->pos.seq;
    if (state == LN_OUT_SENT)
        ln_spread_time(&d->delivered_us, now - x->received_us);
    else if (state == LN_OUT_PARKED) /* what is passed over gets one line in all */
        ln_log(LN_ERROR, "dest", "parked", "channel=%s dest=%s seq=%llu tries=%u", d->channel->name,
               d->conf.name, (unsigned long long)x->pos.seq, d->tries);
    ln_dest_pop(d);
    return LN_OK;
}

/* Somebody who stepped is told what came of it. */
void ln_dest_end_step(struct ln_dest *d, enum ln_step_end end, const char *text)
{
    if (!d->step)
        return;
    d->step = false;
    d->step_end = end;
    snprintf(d->step_text, sizeof d->step_text, "%.199s", text);
}

static void stop_queue(struct ln_dest *d, const char *fmt, ...) LN_PRINTF(2, 3);

/* A policy holds the queue: why stands with the message, in the log and on top of status. */
static void stop_queue(struct ln_dest *d, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    uint64_t seq = d->failures && d->count ? ln_dest_first(d)->pos.seq : d->ended_seq;
    ln_log(LN_ERROR, "dest", "stopped", "channel=%s dest=%s seq=%llu why=\"%s\"", d->channel->name,
           d->conf.name, (unsigned long long)seq, text);
    struct ln_event e = {
        .kind = LN_EV_NOTE, .time_us = ln_now_us(), .dest = d->id, .text = ln_span_str(text)};
    (void)!ln_store_event(d->channel->hub->store, d->channel->id, seq, &e, NULL, NULL);
    ln_dest_hold(d, true);
    snprintf(d->last_error, sizeof d->last_error, "%s", text);
}

/* A receiver that refuses one after the other has another trouble than its messages. */
static void count_parks(struct ln_dest *d, uint8_t state, const char *why)
{
    d->parks = state == LN_OUT_PARKED ? d->parks + 1 : 0;
    if (d->conf.stop_after_parks == 0 || d->parks < d->conf.stop_after_parks || d->held)
        return;
    stop_queue(d, "stopped: %u in a row were parked (stop_after_parks), the last one: %.100s",
               d->parks, why);
    d->parks = 0;
}

void ln_dest_end(struct ln_dest *d, uint8_t state, struct ln_span reply, const char *reason)
{
    d->inflight = false;
    evtimer_del(&d->timer);
    if (ln_dest_commit(d, state, reply, reason) != LN_OK) { /* out of memory: sent again later */
        ln_dest_fail(d, LN_TRY_OTHER, "out of memory", ln_span(NULL, 0));
        return;
    }
    if (d->failures)
        ln_log(LN_INFO, "dest", "recovered", "channel=%s dest=%s after_failures=%u",
               d->channel->name, d->conf.name, d->failures);
    d->failures = 0;
    d->retry_since_us = 0;
    d->last_error[0] = '\0';
    count_parks(d, state, reason);
    ln_dest_end_step(d, state == LN_OUT_SENT ? LN_STEP_SENT : LN_STEP_PARKED, reason);
    if (state == LN_OUT_SENT)
        d->last_sent_us = ln_now_us();
    ln_dest_pump(d);
}

/* Tries are recorded with the message, thinned out: the first three, then each doubling. */
static void record_try(struct ln_dest *d, const char *why)
{
    uint32_t n = d->failures;
    if (d->count == 0 || (n > 3 && (n & (n - 1)) != 0))
        return;
    struct ln_event e = {
        .kind = LN_EV_RETRY, .time_us = ln_now_us(), .dest = d->id, .text = ln_span_str(why)};
    (void)!ln_store_event(d->channel->hub->store, d->channel->id, ln_dest_first(d)->pos.seq, &e,
                          NULL, NULL);
    ln_log(LN_WARN, "dest", "retry", "channel=%s dest=%s seq=%llu failures=%u why=\"%s\"",
           d->channel->name, d->conf.name, (unsigned long long)ln_dest_first(d)->pos.seq, n, why);
}

void ln_dest_fail(struct ln_dest *d, enum ln_try which, const char *why, struct ln_span reply)
{
    static const struct ln_conf_try plain = {LN_POLICY_RETRY, -1, -1, -1, -1};
    const struct ln_conf_try *t = which < LN_TRIES ? &d->conf.on_try[which] : &plain;
    bool sent = which >= LN_TRY_TIMEOUT && which < LN_TRIES;
    d->class_failures = which == d->try_class && d->failures ? d->class_failures + 1 : 1;
    d->try_class = which;
    snprintf(d->last_error, sizeof d->last_error, "%s", why);
    d->inflight = false;
    evtimer_del(&d->timer);
    if (sent && d->count &&
        (t->policy == LN_POLICY_PARK || (d->conf.attempts && d->tries >= d->conf.attempts) ||
         (t->attempts > 0 && d->class_failures >= t->attempts))) {
        ln_dest_end(d, LN_OUT_PARKED, reply, why);
        return;
    }
    d->failures++;
    d->retries++;
    record_try(d, why);
    ln_dest_end_step(d, LN_STEP_FAILED, why);
    retry_later(d, t);
    if (t->policy == LN_POLICY_STOP && !d->held)
        stop_queue(d, "stopped by retry.on.%s = \"stop\": %.200s", ln_conf_try_name(which), why);
}

void ln_dest_refused(struct ln_dest *d, const char *why)
{
    ln_dest_fail(d, LN_TRY_OTHER, why, ln_span(NULL, 0));
    if (!d->held)
        stop_queue(d, "stopped by on_reply: %.200s", why);
}

/* ---- the queue goes on ----------------------------------------------------------------------- */

static bool may_send(const struct ln_dest *d)
{
    const struct ln_channel *c = d->channel;
    return d->configured && !d->moving && !d->skip_to && !d->inflight && !d->retrying && !d->dial &&
           !d->greeting && d->uncommitted < LN_UNCOMMITTED_MAX && (!d->held || d->step) &&
           c->mode != LN_MODE_STOPPED && c->halt != LN_HALT_STOP && !c->removed &&
           !c->hub->finished;
}

void ln_dest_pump(struct ln_dest *d)
{
    if (d->leaving && !d->inflight)
        ln_dest_close(d);
    if (d->skip_to)
        ln_dest_pass_on(d);
    if (d->conf.to_channel || !may_send(d))
        return;
    ln_dest_refill(d);
    if (d->count == 0) {
        if (d->behind && !evtimer_pending(&d->timer, NULL))
            ln_dest_arm(d, 0.01); /* let others have the loop, then read on */
        return;
    }
    ln_send_first(d);
}

/* ---- by hand and by configuration ------------------------------------------------------------ */

void ln_dest_hold(struct ln_dest *d, bool held)
{
    d->held = held;
    ln_dest_end_step(d, LN_STEP_FAILED, held ? "held again" : "released");
    if (ln_store_set_held(d->channel->hub->store, d->channel->id, d->id, held, NULL, NULL) != LN_OK)
        ln_log(LN_ERROR, "dest", "hold_not_kept", "channel=%s dest=%s", d->channel->name,
               d->conf.name);
    if (held)
        return;
    if (d->retrying) { /* release means now */
        d->retrying = false;
        evtimer_del(&d->timer);
    }
    ln_dest_pump(d);
}

static void take_state(struct ln_dest *d)
{
    struct ln_channel_state cs;
    struct ln_channel *c = d->channel;
    if (ln_store_channel_state(c->hub->store, c->id, &cs) != LN_OK)
        return;
    for (unsigned i = 0; i < cs.ndest; i++)
        if (cs.dest[i].id == d->id) {
            d->held = cs.dest[i].held;
            d->read_pos = cs.dest[i].cursor;
            d->behind = d->redo = cs.dest[i].queued > 0;
            ln_recall_dest(d);
        }
}

static void take_conf(struct ln_dest *d, const struct ln_conf_dest *conf)
{
    ln_tls_unref(d->tls);
    d->tls = ln_tls_ref(conf->tls.made);
    d->conf = *conf;
    d->conf.tls = (struct ln_conf_tls){.on = conf->tls.on}; /* all else is conf's */
    d->configured = true;
}

struct ln_dest *ln_dest_open(struct ln_channel *c, const struct ln_conf_dest *conf)
{
    struct ln_dest *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->channel = c;
    d->stream.fd = -1;
    d->id = ln_store_dest(c->hub->store, c->id, conf->name);
    evtimer_assign(&d->timer, c->hub->base, ln_send_timer, d);
    ln_mllp_init(&d->mllp, LN_REPLY_MAX);
    take_state(d);
    take_conf(d, conf);
    LIST_INSERT_HEAD(&c->dests, d, link);
    return d;
}

static bool same_times(const struct ln_conf_dest *a, const struct ln_conf_dest *b)
{
    bool same = a->retry_first_s == b->retry_first_s && a->retry_factor == b->retry_factor &&
                a->retry_max_s == b->retry_max_s;
    for (int i = 0; i < LN_TRIES; i++) {
        const struct ln_conf_try *x = &a->on_try[i], *y = &b->on_try[i];
        same = same && x->first_s == y->first_s && x->factor == y->factor && x->max_s == y->max_s;
    }
    return same;
}

void ln_dest_set(struct ln_dest *d, const struct ln_conf_dest *conf)
{
    bool moved = strcmp(d->conf.host, conf->host) != 0 || d->conf.port != conf->port ||
                 d->conf.to_channel != conf->to_channel || d->conf.tls.on != conf->tls.on;
    bool other = !same_times(&d->conf, conf);
    take_conf(d, conf);
    if (other && d->retrying) { /* it waits for a time that no longer holds */
        d->retrying = false;
        evtimer_del(&d->timer);
    }
    if (moved)
        ln_dest_leave(d);
    ln_dest_pump(d);
}

void ln_dest_leave(struct ln_dest *d)
{
    d->leaving = d->inflight;
    if (!d->leaving)
        ln_dest_close(d);
}

void ln_dest_close(struct ln_dest *d)
{
    d->leaving = false;
    ln_dial_cancel(d->dial);
    d->dial = NULL;
    ln_dest_disconnect(d);
    evtimer_del(&d->timer);
    d->retrying = false;
    d->failures = 0;
    ln_dest_end_step(d, LN_STEP_FAILED,
                     "the connection was closed"); /* held is held, after a start, too */
}

bool ln_dest_idle(const struct ln_dest *d)
{
    bool stuck = d->retrying || d->held || !d->configured || d->channel->mode == LN_MODE_STOPPED;
    return !d->inflight && d->uncommitted == 0 && (stuck || (d->count == 0 && !d->behind));
}

const char *ln_dest_state(const struct ln_dest *d)
{
    if (!d->configured)
        return "removed";
    if (d->held)
        return "held";
    if (d->channel->mode == LN_MODE_STOPPED)
        return "stopped";
    if (d->retrying)
        return "retrying";
    if (d->dial || d->greeting)
        return "connecting";
    return d->inflight || d->count || d->behind ? "sending" : "idle";
}
