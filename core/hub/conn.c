/* One connection of a sender: bytes to frames, frames to the store.
 *
 * Invariant: a connection holds at most one unfinished frame and PENDING_MAX unanswered ones;
 * beyond that, or while the store is behind, it is not read. */
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "hub/source.h"

enum {
    PENDING_MAX = 64,
    KEPT_MAX = 256 * 1024, /* reply bytes a peer has not taken */
    PENDING_END_MS = 100, /* FS without CR: how long the CR may be late */
    BATCH_MAX = 100000,
};
static const uint64_t BACKLOG_HIGH = 24u << 20;

void ln_conn_free(struct ln_conn *k)
{
    struct ln_source *s = k->source;
    ln_owed_drop(k);
    if (k->late_end)
        event_free(k->late_end);
    (void)ln_source_count_held(k, 0);
    ln_mllp_fini(&k->mllp);
    ln_stream_fini(&k->stream);
    LIST_REMOVE(k, link);
    if (k->peer)
        k->peer->connections--;
    s->nconn--;
    s->nrefused -= k->refused;
    free(k);
    if (s->closing && s->nconn == 0)
        ln_source_free(s);
}

static bool may_read(const struct ln_conn *k)
{
    return !k->eof && !k->closing && k->nowed < PENDING_MAX &&
           ln_stream_kept(&k->stream) < KEPT_MAX && !k->source->channel->hub->reading_stopped;
}

void ln_conn_read_on(struct ln_conn *k)
{
    if (k->stopped && may_read(k)) {
        k->stopped = false;
        ln_stream_resume(&k->stream);
    }
}

/* A peer that still sends while we close would get a reset, which can overtake our reply and
 * destroy it: so we end our side and read on, to nowhere, until the peer ends its own. */
static void linger(struct ln_conn *k)
{
    ln_stream_end(&k->stream);
    ln_stream_resume(&k->stream);
}

void ln_conn_settled(struct ln_conn *k)
{
    bool all = k->nowed == 0 && ln_stream_kept(&k->stream) == 0;
    if (all && k->refused && !k->eof && !k->stream.broken)
        linger(k);
    else if (all && (k->eof || k->closing))
        ln_conn_free(k);
    else
        ln_conn_read_on(k);
}

void ln_conn_check_stop(struct ln_conn *k)
{
    struct ln_hub *h = k->source->channel->hub;
    if (!h->reading_stopped && ln_store_backlog(h->store) > BACKLOG_HIGH) {
        h->reading_stopped = true;
        ln_log(LN_DEBUG, "source", "backpressure", "on=1");
    }
    if (!k->stopped && !may_read(k)) {
        k->stopped = true;
        ln_stream_pause(&k->stream);
    }
}

static void count_deviations(struct ln_conn *k)
{
    for (int i = 0; i < LN_MLLP_DEVIATIONS; i++) {
        uint64_t n = k->mllp.deviations[i] - k->counted[i];
        if (n == 0)
            continue;
        k->counted[i] = k->mllp.deviations[i];
        if (k->peer && k->peer->deviations[i] == 0)
            ln_log(LN_WARN, "source", "framing", "channel=%s peer=%s deviation=%s tolerated=1",
                   k->source->channel->name, k->name, ln_mllp_deviation_name(i));
        if (k->peer)
            k->peer->deviations[i] += n;
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* One line a second: a log that grows with every refusal would fill the disk that is full already.
 */
static void log_not_stored(struct ln_conn *k, size_t len, int rc)
{
    struct ln_hub *h = k->source->channel->hub;
    int64_t now = ln_mono_us();
    struct ln_store_stat st;
    h->not_stored++;
    if (h->not_stored_logged_us && now - h->not_stored_logged_us < 1000000)
        return;
    h->not_stored_logged_us = now;
    ln_store_stat(h->store, &st);
    ln_log(LN_ERROR, "source", "not_stored", "channel=%s peer=%s bytes=%zu total=%llu why=\"%s\"",
           k->source->channel->name, k->name, len, (unsigned long long)h->not_stored,
           st.full || st.failing ? st.failure : ln_strerror(rc));
}

/* Counts it, and says so with the message: nobody has to guess why it was not, or was, processed.
 */
static void note_duplicate(struct ln_channel *c, enum ln_duplicate d, uint64_t seq, uint64_t origin)
{
    char text[200];
    if (d == LN_DUPLICATE_NO)
        return;
    c->duplicates += d == LN_DUPLICATE_SAME;
    c->reused_ids += d == LN_DUPLICATE_OTHER;
    ln_log(d == LN_DUPLICATE_SAME ? LN_INFO : LN_WARN, "source",
           d == LN_DUPLICATE_SAME ? "duplicate" : "control_id_reused",
           "channel=%s seq=%llu of=%llu", c->name, (unsigned long long)seq,
           (unsigned long long)origin);
    if (d == LN_DUPLICATE_SAME && c->conf->duplicates == LN_DUPLICATES_ACK)
        return; /* its receipt says so */
    snprintf(text, sizeof text,
             d == LN_DUPLICATE_SAME ? "duplicate of %s/%llu: same sender, control id and content"
                                    : "control id of %s/%llu used again for other content",
             c->name, (unsigned long long)origin);
    struct ln_event e = {.kind = LN_EV_NOTE, .time_us = ln_now_us(), .text = ln_span_str(text)};
    (void)!ln_store_event(c->hub->store, c->id, seq, &e, NULL, NULL);
}

/* Stores one message of a frame; its part of the reply is settled now or when it is committed. */
static void store_message(struct ln_conn *k, struct ln_span raw, const struct ln_header *h,
                          bool readable, struct ln_owed *o, unsigned part)
{
    struct ln_channel *c = k->source->channel;
    char type[48] = "";
    struct ln_receipt r = {.kind = readable ? LN_R_RECEIVED : LN_R_UNREADABLE,
                           .time_us = ln_now_us(),
                           .peer = ln_span_str(k->name),
                           .raw = raw};
    if (h->kind == LN_HEADER_MSH)
        ln_receipt_fill(&r, h, type, sizeof type);
    bool watched = readable && c->conf->duplicates != LN_DUPLICATES_PROCESS;
    enum ln_duplicate d = LN_DUPLICATE_NO;
    uint64_t seq, origin = 0;
    if (watched)
        d = ln_duplicate_look(c, h, raw, r.time_us, &origin);
    if (d == LN_DUPLICATE_SAME && c->conf->duplicates == LN_DUPLICATES_ACK) {
        r.kind = LN_R_DUPLICATE;
        r.origin_chan = c->id;
        r.origin_seq = origin;
    }
    int rc = ln_work_append(c, &r, false, o, part, &seq);
    if (rc == LN_OK && watched) {
        if (d == LN_DUPLICATE_NO || d == LN_DUPLICATE_OTHER)
            ln_duplicate_remember(c, h, raw, seq);
        note_duplicate(c, d, seq, origin);
    }
    if (rc == LN_OK)
        return;
    log_not_stored(k, raw.len, rc);
    ln_owed_settle(o, part, LN_ACK_AR, ln_work_refusal(c->hub));
}

static unsigned count_messages(struct ln_span frame)
{
    size_t pos = 0;
    unsigned n = 0;
    struct ln_span m;
    while (n <= BATCH_MAX && ln_batch_next(frame, &pos, &m))
        n++;
    return n;
}

static void on_batch(struct ln_conn *k, struct ln_span frame, const struct ln_header *h, unsigned n)
{
    struct ln_owed *o = ln_owed_new(k, n);
    size_t pos = 0;
    struct ln_span m;
    if (!o)
        return;
    o->batch = h->kind != LN_HEADER_MSH;
    o->file = h->kind == LN_HEADER_FHS;
    ln_owed_header(&o->own, h);
    o->pending++; /* ours, so that settling inside the loop does not end it */
    ln_store_begin(k->source->channel->hub->store);
    for (unsigned i = 0; i < n && ln_batch_next(frame, &pos, &m); i++) {
        struct ln_header mh;
        bool readable =
            ln_header_read_as(m, &k->source->channel->conf->charset, &mh, NULL) == LN_OK;
        ln_owed_header(&o->part[i], &mh);
        store_message(k, m, &mh, readable, o, i);
    }
    ln_store_end(k->source->channel->hub->store);
    if (--o->pending == 0 && TAILQ_FIRST(&k->owed) == o)
        ln_owed_send(k);
}

static void on_frame(struct ln_conn *k, struct ln_span frame)
{
    struct ln_channel *c = k->source->channel;
    struct ln_header h;
    struct ln_err err = {0};
    c->last_in_us = ln_now_us();
    if (k->peer)
        k->peer->frames++;
    bool readable = ln_header_read_as(frame, &c->conf->charset, &h, &err) == LN_OK;
    unsigned n = readable ? count_messages(frame) : 1;
    if (n == 0 || n > BATCH_MAX) { /* kept and refused as a whole, never in part */
        readable = false;
        n = 1;
    }
    if (!readable && !ln_batch_is_empty(frame))
        ln_log(LN_WARN, "source", "unreadable", "channel=%s peer=%s bytes=%zu offset=%zu kept=1",
               c->name, k->name, frame.len, err.offset);
    if (readable && (n > 1 || h.kind != LN_HEADER_MSH)) {
        on_batch(k, frame, &h, n);
        return;
    }
    struct ln_owed *o = ln_owed_message(k, &h);
    if (!o)
        return;
    store_message(k, frame, &h, readable, o, 0);
}

void ln_conn_refuse(struct ln_conn *k, struct ln_span start, const char *text)
{
    struct ln_header h;
    (void)!ln_header_read_as(start, &k->source->channel->conf->charset, &h, NULL);
    struct ln_owed *o = ln_owed_message(k, &h);
    if (!o)
        return;
    k->closing = k->refused = true;
    k->source->nrefused++;
    ln_stream_pause(&k->stream);
    ln_owed_settle(o, 0, LN_ACK_AR, text); /* may free k */
}

static void late_end(evutil_socket_t fd, short what, void *arg)
{
    struct ln_conn *k = arg;
    struct ln_span frame;
    (void)fd;
    (void)what;
    size_t used;
    if (ln_mllp_finish(&k->mllp, &frame) != LN_MLLP_FRAME)
        return;
    count_deviations(k);
    k->nowed++; /* as in on_data */
    on_frame(k, frame);
    (void)ln_mllp_feed(&k->mllp, NULL, 0, &used, &frame); /* gives the frame's memory back */
    (void)ln_source_count_held(k, ln_mllp_held(&k->mllp));
    k->frame_us = 0;
    k->nowed--;
    ln_conn_settled(k);
}

static void wait_for_end(struct ln_conn *k)
{
    struct timeval tv = {0, PENDING_END_MS * 1000};
    if (!k->late_end)
        k->late_end = evtimer_new(k->source->channel->hub->base, late_end, k);
    if (k->late_end)
        evtimer_add(k->late_end, &tv);
}

/* A TLS client's first record where none is expected. */
static bool is_hello(const struct ln_conn *k, const char *data, size_t len)
{
    return !k->stream.tls && data[0] == 0x16 && (len < 2 || data[1] == 0x03);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_conn *k = owner;
    size_t used;
    bool whole = false;
    struct ln_span frame;
    if (k->refused)
        return;
    k->last_us = ln_mono_us();
    if (!k->spoke && is_hello(k, data, len)) {
        ln_source_tls_failed(k,
                             "the peer speaks TLS, this listener does not: give mllp.listen a tls, "
                             "or switch TLS off at the sender");
        ln_conn_free(k);
        return;
    }
    k->spoke = true;
    if (k->late_end)
        evtimer_del(k->late_end);
    k->nowed++; /* holds the connection: replies sent from within must not free it */
    while (len > 0) {
        enum ln_mllp_event ev = ln_mllp_feed(&k->mllp, data, len, &used, &frame);
        data += used;
        len -= used;
        if (ev == LN_MLLP_MORE)
            break;
        if (ev == LN_MLLP_FRAME) {
            on_frame(k, frame);
            whole = true;
            continue;
        }
        ln_log(LN_ERROR, "source", "frame_too_big", "channel=%s peer=%s limit=%llu closed=1",
               k->source->channel->name, k->name,
               (unsigned long long)k->source->channel->conf->max_message);
        k->nowed--;
        ln_conn_refuse(k, ev == LN_MLLP_TOO_BIG ? frame : ln_span(NULL, 0),
                       ev == LN_MLLP_TOO_BIG ? "message is larger than this receiver's max_message"
                                             : "receiver is out of memory");
        return;
    }
    count_deviations(k);
    if (!ln_mllp_inside(&k->mllp))
        k->frame_us = 0;
    else if (whole || k->frame_us == 0)
        k->frame_us = k->last_us;
    if (ln_mllp_pending_end(&k->mllp))
        wait_for_end(k);
    k->nowed--;
    if (!ln_source_count_held(k, ln_mllp_held(&k->mllp))) {
        ln_log(LN_ERROR, "source", "too_much_unfinished", "channel=%s peer=%s bytes=%zu closed=1",
               k->source->channel->name, k->name, ln_mllp_held(&k->mllp));
        ln_mllp_fini(&k->mllp);
        ln_mllp_init(&k->mllp, k->source->channel->conf->max_message);
        (void)ln_source_count_held(k, 0);
        ln_conn_refuse(k, ln_span(NULL, 0),
                       "too many unfinished messages at this receiver: send again");
        return;
    }
    ln_conn_check_stop(k);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_conn *k = owner;
    struct ln_span frame;
    if (code == LN_ETLS)
        ln_source_tls_failed(k, why);
    k->nowed++;
    if (code == LN_ECLOSED && ln_mllp_pending_end(&k->mllp) &&
        ln_mllp_finish(&k->mllp, &frame) == LN_MLLP_FRAME)
        on_frame(k, frame);
    k->nowed--;
    if (ln_mllp_inside(&k->mllp))
        ln_log(LN_WARN, "source", "cut_off", "channel=%s peer=%s bytes=%zu why=\"%s\"",
               k->source->channel->name, k->name, ln_mllp_held(&k->mllp), why);
    count_deviations(k);
    k->eof = true;
    k->last_us = ln_mono_us();
    if (code != LN_ECLOSED || k->stream.broken || (k->nowed == 0 && !ln_stream_kept(&k->stream)))
        ln_conn_free(k);
}

static void on_drained(void *owner)
{
    ln_conn_settled(owner);
}

const struct ln_stream_ops ln_conn_ops = {
    .data = on_data, .closed = on_closed, .drained = on_drained};
