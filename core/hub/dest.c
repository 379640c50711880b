/* Delivery: one queue per destination, strictly first in, first out, one message on the wire.
 *
 * Invariants: the next message is sent only when the one before has its end (accepted, parked,
 * skipped); an acknowledgement counts only when its MSA-2 is the control id of what is in flight;
 * outcomes are committed behind the wire, at most UNCOMMITTED_MAX of them, which bounds what is
 * sent twice after a crash. */
#include "hub/hub.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    UNCOMMITTED_MAX = 64,
    QUEUE_MAX = 4096, /* outputs held in memory; beyond: read back from the store */
    QUEUE_BYTES = 4 << 20,
    REFILL = 128,
    REPLY_MAX = 1 << 20,
    CONNECT_MS = 10000,
};

static void fail_try(struct ln_dest *d, const char *why, struct ln_span reply, bool sent);

static struct ln_due *head(struct ln_dest *d)
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

static void pop(struct ln_dest *d)
{
    struct ln_due *x = head(d);
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

/* A damaged record is neither sent nor passed over: somebody must see it. Logged once. */
static void complain_unreadable(struct ln_dest *d, struct ln_pos pos, int code)
{
    snprintf(d->last_error, sizeof d->last_error,
             "message %llu cannot be read from the store (%s): run lunate verify",
             (unsigned long long)pos.seq, ln_strerror(code));
    if (d->unreadable_seq == pos.seq)
        return;
    d->unreadable_seq = pos.seq;
    ln_log(LN_ERROR, "dest", "unreadable", "channel=%s dest=%s seq=%llu why=\"%s\" hint=\"%s\"",
           d->channel->name, d->conf.name, (unsigned long long)pos.seq, ln_strerror(code),
           "lunate verify");
}

/* Behind: reads on from the store, up to the results known to be committed. */
static void refill(struct ln_dest *d)
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
        struct ln_blob *b = ln_blob_new(bytes);
        rc = b ? push(d, pos, b, received_us) : LN_ENOMEM;
        ln_blob_unref(b);
        if (rc != LN_OK)
            break;
        d->read_pos = (struct ln_pos){pos.seq, pos.n + 1};
    }
    ln_reader_end(h->reader);
}

/* ---- timing
 * ------------------------------------------------------------------------------------------ */

static void arm(struct ln_dest *d, double seconds)
{
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    evtimer_add(&d->timer, &tv);
}

static void disconnect(struct ln_dest *d)
{
    ln_stream_fini(&d->stream);
    ln_mllp_fini(&d->mllp);
    ln_mllp_init(&d->mllp, REPLY_MAX);
    d->connected = d->inflight = d->used = d->greeting = false;
}

/* Twice as long each time, with a fifth of jitter so that many do not come back at once. */
static void retry_later(struct ln_dest *d)
{
    double s = d->conf.retry_first_s;
    for (uint32_t i = 1; i < d->failures && s < d->conf.retry_max_s; i++)
        s *= d->conf.retry_factor;
    if (s > d->conf.retry_max_s)
        s = d->conf.retry_max_s;
    s *= 0.8 + 0.4 * ((double)random() / (double)RAND_MAX);
    d->retrying = true;
    if (d->retry_since_us == 0)
        d->retry_since_us = ln_now_us();
    arm(d, s);
}

/* ---- ends of a message
 * -------------------------------------------------------------------------------- */

struct outcome { /* on its way to the disk */
    struct ln_dest *dest;
    uint64_t seq;
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
        ln_waiter_dest_done(d->channel, o->seq, o->sent, text);
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
        snprintf(text, sizeof text, "before: %s %s after %u tries%s%s%s%.*s",
                 words[o.state <= LN_OUT_SKIPPED ? o.state : 0], at, o.tries,
                 read ? ", answered " : "", read ? r.code : "", o.reason.len ? ": " : "",
                 (int)(o.reason.len > 400 ? 400 : o.reason.len), o.reason.len ? o.reason.ptr : "");
        struct ln_event e = {
            .kind = LN_EV_NOTE, .time_us = ln_now_us(), .dest = d->id, .text = ln_span_str(text)};
        (void)!ln_store_event(c->hub->store, c->id, pos.seq, &e, NULL, NULL);
    } else if (rc == LN_ENOTFOUND) {
        d->redo = false; /* from here on nothing has been delivered before */
    }
    ln_reader_end(c->hub->reader);
}

static int commit(struct ln_dest *d, uint8_t state, struct ln_span reply, const char *reason)
{
    struct ln_due *x = head(d);
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
    *arg = (struct outcome){d, x->pos.seq, state == LN_OUT_SENT};
    note_former(d, x->pos);
    int rc = ln_store_outcome(d->channel->hub->store, d->channel->id, d->id, x->pos, &o,
                              on_committed, arg);
    if (rc != LN_OK) {
        free(arg);
        return rc;
    }
    d->uncommitted++;
    if (state == LN_OUT_SENT)
        ln_spread_time(&d->delivered_us, now - x->received_us);
    else
        ln_log(LN_ERROR, "dest", "parked", "channel=%s dest=%s seq=%llu tries=%u", d->channel->name,
               d->conf.name, (unsigned long long)x->pos.seq, d->tries);
    pop(d);
    return LN_OK;
}

/* Somebody who stepped is told what came of it. */
static void end_step(struct ln_dest *d, enum ln_step_end end, const char *text)
{
    if (!d->step)
        return;
    d->step = false;
    d->step_end = end;
    snprintf(d->step_text, sizeof d->step_text, "%.199s", text);
}

/* A receiver that refuses one after the other has another trouble than its messages. */
static void count_parks(struct ln_dest *d, uint8_t state, const char *why)
{
    d->parks = state == LN_OUT_PARKED ? d->parks + 1 : 0;
    if (d->conf.stop_after_parks == 0 || d->parks < d->conf.stop_after_parks || d->held)
        return;
    ln_log(LN_ERROR, "dest", "stopped_after_parks", "channel=%s dest=%s parks=%u", d->channel->name,
           d->conf.name, d->parks);
    ln_dest_hold(d, true);
    snprintf(d->last_error, sizeof d->last_error,
             "stopped: %u in a row were parked (stop_after_parks), the last one: %.100s", d->parks,
             why);
    d->parks = 0;
}

static void finish(struct ln_dest *d, uint8_t state, struct ln_span reply, const char *reason)
{
    d->inflight = false;
    evtimer_del(&d->timer);
    if (commit(d, state, reply, reason) != LN_OK) { /* out of memory: sent again later */
        fail_try(d, "out of memory", ln_span(NULL, 0), false);
        return;
    }
    if (d->failures)
        ln_log(LN_INFO, "dest", "recovered", "channel=%s dest=%s after_failures=%u",
               d->channel->name, d->conf.name, d->failures);
    d->failures = 0;
    d->retry_since_us = 0;
    d->last_error[0] = '\0';
    count_parks(d, state, reason);
    end_step(d, state == LN_OUT_SENT ? LN_STEP_SENT : LN_STEP_PARKED, reason);
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
    (void)!ln_store_event(d->channel->hub->store, d->channel->id, head(d)->pos.seq, &e, NULL, NULL);
    ln_log(LN_WARN, "dest", "retry", "channel=%s dest=%s seq=%llu failures=%u why=\"%s\"",
           d->channel->name, d->conf.name, (unsigned long long)head(d)->pos.seq, n, why);
}

/* A try failed. Only tries in which the message was sent count towards `attempts`: a receiver that
 * is down for two days must not park a whole queue. */
static void fail_try(struct ln_dest *d, const char *why, struct ln_span reply, bool sent)
{
    snprintf(d->last_error, sizeof d->last_error, "%s", why);
    d->inflight = false;
    evtimer_del(&d->timer);
    if (sent && d->conf.attempts && d->tries >= d->conf.attempts && d->count) {
        finish(d, LN_OUT_PARKED, reply, why);
        return;
    }
    d->failures++;
    d->retries++;
    record_try(d, why);
    end_step(d, LN_STEP_FAILED, why);
    retry_later(d);
}

/* ---- replies
 * --------------------------------------------------------------------------------------------- */

static void on_negative(struct ln_dest *d, const struct ln_reply *r, struct ln_span frame)
{
    int which = (r->code[1] == 'R' ? LN_REFUSED_AR : LN_REFUSED_AE) + (r->code[0] == 'C' ? 2 : 0);
    enum ln_reply_policy policy = d->conf.on_reply[which];
    char why[80];
    snprintf(why, sizeof why, "answered %s", r->code);
    if (policy == LN_POLICY_PARK) {
        finish(d, LN_OUT_PARKED, frame, why);
    } else if (policy == LN_POLICY_RETRY) {
        fail_try(d, why, frame, true);
    } else {
        fail_try(d, why, frame, false);
        ln_dest_hold(d, true);
    }
}

static void on_reply(struct ln_dest *d, struct ln_span frame)
{
    struct ln_reply r;
    struct ln_err err = {0};
    if (!d->inflight) {
        ln_log(LN_WARN, "dest", "late_reply", "channel=%s dest=%s bytes=%zu ignored=1",
               d->channel->name, d->conf.name, frame.len);
        return;
    }
    if (ln_reply_read(frame, &r, &err) != LN_OK) {
        snprintf(d->last_error, sizeof d->last_error, "reply is no acknowledgement: %.160s",
                 err.text);
        ln_log(LN_WARN, "dest", "unreadable_reply",
               "channel=%s dest=%s seq=%llu bytes=%zu ignored=1", d->channel->name, d->conf.name,
               (unsigned long long)head(d)->pos.seq, frame.len);
        return;
    }
    if (!ln_span_eq(r.control_id, ln_span(d->control_id, d->control_id_len))) {
        ln_log(LN_WARN, "dest", "stale_reply", "channel=%s dest=%s seq=%llu code=%s ignored=1",
               d->channel->name, d->conf.name, (unsigned long long)head(d)->pos.seq, r.code);
        return;
    }
    d->used = true;
    if (r.code[1] == 'A')
        finish(d, LN_OUT_SENT, frame, "");
    else
        on_negative(d, &r, frame);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_dest *d = owner;
    struct ln_span frame;
    size_t used;
    d->answered = true;
    while (d->connected && len > 0) {
        enum ln_mllp_event ev = ln_mllp_feed(&d->mllp, data, len, &used, &frame);
        data += used;
        len -= used;
        if (ev == LN_MLLP_MORE)
            break;
        if (ev != LN_MLLP_FRAME) {
            bool was = d->inflight;
            disconnect(d);
            if (was)
                fail_try(d, "reply is larger than 1 MB", ln_span(NULL, 0), true);
            return;
        }
        on_reply(d, frame);
    }
    if (d->connected &&
        ln_mllp_pending_end(&d->mllp) && /* a reply without CR: nothing else is due */
        ln_mllp_finish(&d->mllp, &frame) == LN_MLLP_FRAME)
        on_reply(d, frame);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_dest *d = owner;
    bool was = d->inflight, worn = d->used && !d->answered, greeting = d->greeting;
    char text[900];
    disconnect(d);
    if (greeting) {
        snprintf(text, sizeof text, "no TLS with %.100s port %d: %s", d->conf.host, d->conf.port,
                 why);
        evtimer_del(&d->timer);
        fail_try(d, text, ln_span(NULL, 0), false);
    } else if (was && worn) {
        /* Many receivers close after each reply, and our next message was faster than their end of
         * file. A new connection, at once; there it counts. */
        evtimer_del(&d->timer);
        d->tries--;
        ln_dest_pump(d);
    } else if (was) {
        snprintf(text, sizeof text, "connection closed before the reply (%s)", why);
        fail_try(d, text, ln_span(NULL, 0), code != LN_ETLS);
    } else {
        ln_log(LN_INFO, "dest", "closed_by_peer", "channel=%s dest=%s", d->channel->name,
               d->conf.name);
        ln_dest_pump(d);
    }
}

static void on_secured(void *owner)
{
    struct ln_dest *d = owner;
    char session[120], peer[200];
    d->peer_not_after = ln_tls_peer(d->stream.tls, peer, sizeof peer);
    d->greeting = false;
    d->connected = true;
    evtimer_del(&d->timer);
    ln_log(LN_INFO, "dest", "connected", "channel=%s dest=%s to=%s:%d tls=\"%s\" peer=\"%s\"",
           d->channel->name, d->conf.name, d->conf.host, d->conf.port,
           ln_tls_describe(d->stream.tls, session, sizeof session), peer);
    ln_dest_pump(d);
}

static const struct ln_stream_ops dest_ops = {
    .data = on_data, .closed = on_closed, .secured = on_secured};

/* ---- sending
 * ---------------------------------------------------------------------------------------------- */

static void greet(struct ln_dest *d)
{
    d->greeting = true;
    if (ln_stream_secure(&d->stream, d->tls, d->conf.host) == LN_OK) {
        arm(d, CONNECT_MS / 1e3);
        return;
    }
    disconnect(d);
    fail_try(d, "out of memory", ln_span(NULL, 0), false);
}

static void on_dialled(void *owner, int fd, int code, const char *why)
{
    struct ln_dest *d = owner;
    char text[200];
    d->dial = NULL;
    if (fd >= 0 && ln_stream_init(&d->stream, d->channel->hub->base, fd, &dest_ops, d) == LN_OK) {
        if (d->tls) {
            greet(d);
            return;
        }
        d->connected = true;
        ln_log(LN_INFO, "dest", "connected", "channel=%s dest=%s to=%s:%d", d->channel->name,
               d->conf.name, d->conf.host, d->conf.port);
        ln_dest_pump(d);
        return;
    }
    (void)code;
    snprintf(text, sizeof text, "cannot connect to %.100s port %d: %s", d->conf.host, d->conf.port,
             fd >= 0 ? "out of memory" : why);
    fail_try(d, text, ln_span(NULL, 0), false);
}

static void remember_id(struct ln_dest *d, struct ln_span bytes)
{
    struct ln_header h;
    d->control_id_len = 0;
    if (ln_header_read(bytes, &h, NULL) != LN_OK || h.kind != LN_HEADER_MSH || h.field[10].len == 0)
        return;
    char *p = realloc(d->control_id, h.field[10].len);
    if (!p)
        return;
    memcpy(p, h.field[10].ptr, h.field[10].len);
    d->control_id = p;
    d->control_id_len = h.field[10].len;
}

static void send_head(struct ln_dest *d)
{
    struct ln_due *x = head(d);
    struct ln_span bytes = ln_blob_span(x->bytes);
    remember_id(d, bytes);
    ln_buf_clear(&d->frame, 64 * 1024);
    if (ln_mllp_write(&d->frame, bytes) != LN_OK ||
        ln_stream_write(&d->stream, ln_buf_span(&d->frame)) == LN_ENOMEM) {
        disconnect(d);
        fail_try(d, "out of memory", ln_span(NULL, 0), false);
        return;
    }
    ln_buf_clear(&d->frame, 64 * 1024);
    d->tries++;
    d->answered = false;
    if (d->first_us == 0)
        d->first_us = ln_now_us();
    d->inflight = true;
    d->deadline_us = ln_mono_us() + (int64_t)(d->conf.timeout_s * 1e6);
    if (!evtimer_pending(&d->timer, NULL))
        arm(d, d->conf.timeout_s);
}

static bool may_send(const struct ln_dest *d)
{
    const struct ln_channel *c = d->channel;
    return d->configured && !d->moving && !d->skip_to && !d->inflight && !d->retrying && !d->dial &&
           !d->greeting && d->uncommitted < UNCOMMITTED_MAX && (!d->held || d->step) &&
           c->mode != LN_MODE_STOPPED && c->halt != LN_HALT_STOP && !c->removed &&
           !c->hub->finished;
}

/* Passes over what stands before d->skip_to, as fast as the disk takes it. */
static void skip_on(struct ln_dest *d)
{
    while (d->skip_to && d->uncommitted < UNCOMMITTED_MAX) {
        refill(d);
        if (d->count == 0 && d->behind) {
            if (!evtimer_pending(&d->timer, NULL))
                arm(d, 0.01);
            return;
        }
        if (d->count == 0 || head(d)->pos.seq >= d->skip_to)
            d->skip_to = 0;
        else if (commit(d, LN_OUT_SKIPPED, ln_span(NULL, 0), d->skip_reason) != LN_OK)
            return; /* out of memory: at the next pump */
        else
            d->skipped++;
    }
}

void ln_dest_pump(struct ln_dest *d)
{
    if (d->skip_to)
        skip_on(d);
    if (d->conf.to_channel || !may_send(d))
        return;
    refill(d);
    if (d->count == 0) {
        if (d->behind && !evtimer_pending(&d->timer, NULL))
            arm(d, 0.01); /* let others have the loop, then read on */
        return;
    }
    if (d->connected) {
        send_head(d);
        return;
    }
    d->dial = ln_dial(d->channel->hub->base, d->channel->hub->dns, d->conf.host, d->conf.port,
                      CONNECT_MS, on_dialled, d);
    if (!d->dial)
        fail_try(d, "out of memory", ln_span(NULL, 0), false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_dest *d = arg;
    (void)fd;
    (void)what;
    if (d->inflight) {
        int64_t left = d->deadline_us - ln_mono_us();
        if (left > 0) { /* armed for an earlier message */
            arm(d, (double)left / 1e6 + 0.001);
            return;
        }
        char why[300];
        snprintf(why, sizeof why, "no acknowledgement within %.3g s%s%.180s", d->conf.timeout_s,
                 d->last_error[0] ? "; " : "", d->last_error);
        disconnect(d); /* a late reply cannot be taken for that of another message */
        fail_try(d, why, ln_span(NULL, 0), true);
        return;
    }
    if (d->greeting) {
        disconnect(d);
        fail_try(d, "the receiver did not finish the TLS handshake within 10 s: does it speak TLS?",
                 ln_span(NULL, 0), false);
        return;
    }
    d->retrying = false;
    ln_dest_pump(d);
}

/* ---- by hand and by configuration
 * ---------------------------------------------------------------------- */

void ln_dest_hold(struct ln_dest *d, bool held)
{
    d->held = held;
    end_step(d, LN_STEP_FAILED, held ? "held again" : "released");
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

int ln_dest_step(struct ln_dest *d)
{
    refill(d);
    if (d->count == 0)
        return LN_ENOTFOUND;
    if (d->step || d->moving || d->skip_to || d->inflight || d->dial ||
        d->channel->mode == LN_MODE_STOPPED || !d->configured)
        return LN_EBUSY;
    d->step = true;
    d->step_seq = head(d)->pos.seq;
    if (d->retrying) {
        d->retrying = false;
        evtimer_del(&d->timer);
    }
    ln_dest_pump(d);
    return LN_OK;
}

int ln_dest_skip(struct ln_dest *d, const char *reason, uint64_t *seq)
{
    refill(d);
    if (d->count == 0 || d->moving || d->skip_to)
        return LN_ENOTFOUND;
    *seq = head(d)->pos.seq;
    if (d->inflight || d->greeting)
        disconnect(d); /* its reply, should one come, is nobody's any more */
    d->retrying = false;
    evtimer_del(&d->timer);
    char text[600];
    snprintf(text, sizeof text, "skipped: %.580s", reason);
    end_step(d, LN_STEP_PARKED, text);
    int rc = commit(d, LN_OUT_PARKED, ln_span(NULL, 0), text);
    ln_dest_pump(d);
    return rc;
}

static bool stands_still(const struct ln_dest *d)
{
    return d->held && !d->step && !d->inflight && !d->dial && !d->uncommitted && !d->moving &&
           !d->skip_to && d->configured && !d->conf.to_channel;
}

int ln_dest_skip_to(struct ln_dest *d, uint64_t seq, const char *reason)
{
    if (!stands_still(d))
        return LN_EBUSY;
    d->skip_to = seq;
    d->skipped = 0;
    snprintf(d->skip_reason, sizeof d->skip_reason, "passed over: %.280s", reason);
    if (d->retrying) {
        d->retrying = false;
        evtimer_del(&d->timer);
    }
    ln_dest_pump(d);
    return LN_OK;
}

int ln_dest_move(struct ln_dest *d)
{
    if (!stands_still(d))
        return LN_EBUSY;
    d->moving = true;
    return LN_OK;
}

void ln_dest_moved(struct ln_dest *d, bool ok, struct ln_pos pos)
{
    d->moving = false;
    if (ok) {
        while (d->count)
            pop(d);
        d->read_pos = pos;
        d->behind = d->redo = true;
        d->failures = 0;
    }
    ln_dest_pump(d);
}

uint64_t ln_dest_head(struct ln_dest *d)
{
    refill(d);
    return d->count ? head(d)->pos.seq : 0;
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
    evtimer_assign(&d->timer, c->hub->base, on_timer, d);
    ln_mllp_init(&d->mllp, REPLY_MAX);
    take_state(d);
    take_conf(d, conf);
    LIST_INSERT_HEAD(&c->dests, d, link);
    return d;
}

void ln_dest_set(struct ln_dest *d, const struct ln_conf_dest *conf)
{
    bool moved = strcmp(d->conf.host, conf->host) != 0 || d->conf.port != conf->port ||
                 d->conf.to_channel != conf->to_channel || d->conf.tls.on != conf->tls.on;
    take_conf(d, conf);
    if (moved)
        ln_dest_close(d);
    ln_dest_pump(d);
}

void ln_dest_close(struct ln_dest *d)
{
    ln_dial_cancel(d->dial);
    d->dial = NULL;
    disconnect(d);
    evtimer_del(&d->timer);
    d->retrying = false;
    d->failures = 0;
    end_step(d, LN_STEP_FAILED, "the connection was closed"); /* held is held, after a start, too */
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
