/* Entries on their way through a channel's script, strictly in order: the ring.
 *
 * Invariants: results are committed in the order of their messages (result.c); a message leaves the
 * ring only when its result is committed; whatever is lost with a worker is given again. */
#include "hub/work.h"

#include <stdio.h>

#include "base/clock.h"

enum {
    WINDOW = 64, /* entries with the worker */
    WINDOW_BYTES = 1 << 20,
    UNCOMMITTED_MAX = 512, /* results being committed */
    WAITING_MAX = 4096, /* entries held in memory beyond that: read back from the store */
    WAITING_BYTES = 4 << 20,
    REFILL = 128,
};

static int push(struct ln_work *w, const struct ln_entry *e)
{
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 16;
        struct ln_entry *ring = malloc(cap * sizeof *ring);
        if (!ring)
            return LN_ENOMEM;
        for (size_t i = 0; i < w->count; i++)
            ring[i] = *ln_work_at(w, i);
        free(w->ring);
        w->ring = ring;
        w->cap = cap;
        w->head = 0;
    }
    *ln_work_at(w, w->count++) = *e;
    w->waiting_bytes += e->raw->len;
    return LN_OK;
}

/* ---- in: from the log to the ring ---------------------------------------------------------- */

struct pending { /* an append on its way to the disk */
    struct ln_channel *channel;
    struct ln_blob *raw;
    struct ln_owed *owed;
    unsigned part;
    uint8_t kind;
    int64_t time_us;
};

const char *ln_work_refusal(struct ln_hub *h)
{
    struct ln_store_stat st;
    ln_store_stat(h->store, &st);
    return st.full ? "not stored: the receiver's disk is full, send again"
                   : "not stored: the receiver's store cannot take it now, send again";
}

static void on_appended(void *arg, int code, uint64_t seq)
{
    struct pending *p = arg;
    p->channel->work.appending--;
    if (code == LN_OK) {
        ln_work_add(p->channel, seq, p->time_us, p->kind, p->raw, p->owed, p->part);
        ln_work_pump(p->channel);
    } else if (p->owed) {
        ln_owed_settle(p->owed, p->part, LN_ACK_AR, ln_work_refusal(p->channel->hub));
    }
    ln_blob_unref(p->raw);
    free(p);
}

void ln_receipt_fill(struct ln_receipt *r, const struct ln_header *h, char *type, size_t cap)
{
    struct ln_span t = ln_header_component(h, 9, 1), e = ln_header_component(h, 9, 2);
    snprintf(type, cap, "%.*s%s%.*s", (int)(t.len > 20 ? 20 : t.len), t.ptr ? t.ptr : "",
             e.len ? "^" : "", (int)(e.len > 20 ? 20 : e.len), e.ptr ? e.ptr : "");
    r->type = ln_span_str(type);
    r->control_id = h->field[10];
    r->npatient = h->npatient;
    memcpy(r->patient, h->patient, sizeof h->patient[0] * h->npatient);
}

int ln_work_append(struct ln_channel *c, const struct ln_receipt *r, bool must,
                   struct ln_owed *owed, unsigned part, uint64_t *seq)
{
    struct pending *p = malloc(sizeof *p);
    struct ln_blob *raw = p ? ln_blob_new(r->raw) : NULL;
    if (!raw) {
        free(p);
        return LN_ENOMEM;
    }
    *p = (struct pending){c, raw, owed, part, r->kind, r->time_us};
    int rc = ln_store_append(c->hub->store, c->id, r, must, on_appended, p, seq);
    if (rc == LN_OK) {
        c->work.appending++;
    } else {
        ln_blob_unref(raw);
        free(p);
    }
    return rc;
}

static void acknowledge_receipt(struct ln_channel *c, uint64_t seq, uint8_t kind,
                                struct ln_span raw, struct ln_owed *owed, unsigned part)
{
    if (!owed)
        return;
    if (kind == LN_R_UNREADABLE && ln_batch_is_empty(raw))
        ln_owed_settle(owed, part, LN_ACK_AA, NULL);
    else if (kind == LN_R_UNREADABLE)
        ln_owed_settle(owed, part, LN_ACK_AR,
                       ln_charset_wide(raw) ? "UTF-16 and UTF-32 cannot travel in MLLP: send "
                                              "UNICODE UTF-8"
                                            : "not an HL7 v2 message");
    else if (c->conf->ack == LN_ACK_TRANSFORM || c->conf->ack == LN_ACK_DELIVERY) {
        ln_owed_stored(owed);
        ln_waiter_add(&c->work, seq, owed, part);
    } else
        ln_owed_settle(owed, part, LN_ACK_AA, NULL);
}

void ln_work_add(struct ln_channel *c, uint64_t seq, int64_t time_us, uint8_t kind,
                 struct ln_blob *raw, struct ln_owed *owed, unsigned part)
{
    struct ln_work *w = &c->work;
    size_t waiting = w->count - w->given;
    bool room = w->waiting_bytes + raw->len <= WAITING_BYTES && ln_blob_held < LN_BLOB_MUCH;
    bool keep = !w->behind && waiting < WAITING_MAX && (waiting == 0 || room);
    struct ln_entry e = {.seq = seq, .time_us = time_us, .kind = kind, .raw = raw};
    w->committed_end = seq + 1;
    if (keep && push(w, &e) == LN_OK) {
        ln_blob_ref(raw);
        w->read_next = seq + 1;
    } else {
        w->behind = true; /* read_next stays where memory ends */
    }
    acknowledge_receipt(c, seq, kind, ln_span(raw->data, raw->len), owed, part);
}

/* A damaged message is neither processed nor passed over: somebody must see it. Said once. */
static void complain_unreadable(struct ln_channel *c, uint64_t seq, int code)
{
    if (c->work.unreadable_seq == seq)
        return;
    c->work.unreadable_seq = seq;
    snprintf(
        c->error, sizeof c->error,
        "message %llu cannot be read from the store (%s): run lunate verify; lunate skip %s passes "
        "over it",
        (unsigned long long)seq, ln_strerror(code), c->name);
    ln_log(LN_ERROR, "work", "unreadable", "channel=%s seq=%llu why=\"%s\" hint=\"%s\"", c->name,
           (unsigned long long)seq, ln_strerror(code), "lunate verify, lunate skip");
}

static void on_skipped(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    if (code != LN_OK && code != LN_ECLOSED)
        ln_log(LN_ERROR, "work", "result_not_kept", "channel=%s seq=%llu why=\"%s\"", c->name,
               (unsigned long long)seq, ln_strerror(code));
}

int ln_work_skip(struct ln_channel *c, const char *reason, uint64_t *seq)
{
    struct ln_work *w = &c->work;
    char text[600];
    if (w->unreadable_seq == 0 || w->count > 0)
        return LN_ENOTFOUND;
    *seq = w->unreadable_seq;
    snprintf(text, sizeof text, "damaged in the store, passed over: %.500s", reason);
    struct ln_processed p = {
        .state = LN_S_REJECTED, .time_us = ln_now_us(), .reason = ln_span_str(text)};
    int rc = ln_store_result(c->hub->store, c->id, *seq, &p, on_skipped, c);
    if (rc != LN_OK)
        return rc;
    ln_log(LN_WARN, "work", "damaged_passed_over", "channel=%s seq=%llu", c->name,
           (unsigned long long)*seq);
    w->read_next = *seq + 1;
    w->unreadable_seq = 0;
    w->attempts = 0;
    c->error[0] = '\0';
    ln_work_pump(c);
    return LN_OK;
}

/* Behind: reads on from the store, up to what is known to be committed. */
static void refill(struct ln_channel *c)
{
    struct ln_work *w = &c->work;
    struct ln_receipt r;
    if (!w->behind || w->count - w->given >= REFILL / 2 || ln_reader_begin(c->hub->reader) != LN_OK)
        return;
    for (int i = 0; i < REFILL && w->waiting_bytes < WAITING_BYTES; i++) {
        if (w->count > w->given && ln_blob_held >= LN_BLOB_MUCH)
            break;
        uint64_t seq = w->read_next;
        int rc = seq < w->committed_end ? ln_read_receipt_from(c->hub->reader, c->id, &seq, &r)
                                        : LN_ENOTFOUND;
        if (rc == LN_ENOTFOUND || (rc == LN_OK && seq >= w->committed_end)) {
            w->behind = false;
            w->read_next = w->committed_end;
            break;
        }
        if (rc != LN_OK) {
            complain_unreadable(c, seq, rc);
            break;
        }
        struct ln_entry e = {.seq = seq, .time_us = r.time_us, .kind = r.kind};
        if (!(e.raw = ln_blob_new(r.raw)))
            break; /* tried again at the next pump */
        if (push(w, &e) != LN_OK) {
            ln_blob_unref(e.raw);
            break;
        }
        w->read_next = seq + 1;
    }
    ln_reader_end(c->hub->reader);
}

int ln_work_open(struct ln_channel *c)
{
    struct ln_channel_state cs;
    int rc = ln_store_channel_state(c->hub->store, c->id, &cs);
    if (rc != LN_OK)
        return rc;
    c->mode = cs.mode;
    c->work.committed_end = cs.next_seq;
    c->work.read_next = cs.cursor;
    c->work.behind = cs.cursor < cs.next_seq;
    c->work.attempts = cs.attempts;
    ln_recall_channel(c, cs.next_seq);
    return LN_OK;
}

/* ---- tries that failed --------------------------------------------------------------------- */

/* on_error = "stop": the channel waits here for somebody. */
static void halt(struct ln_channel *c, struct ln_span reason, struct ln_span where)
{
    struct ln_work *w = &c->work;
    struct ln_entry *e = ln_work_at(w, w->answered);
    where = ln_conf_place(c->conf, where);
    bool known = where.len > 1;
    char text[700];
    snprintf(text, sizeof text, "stopped by on_error = \"stop\": %.*s",
             (int)(reason.len > 600 ? 600 : reason.len), reason.ptr ? reason.ptr : "");
    struct ln_event ev = {
        .kind = LN_EV_OPERATOR, .time_us = ln_now_us(), .text = ln_span_str(text)};
    (void)!ln_store_event(c->hub->store, c->id, e->seq, &ev, NULL, NULL);
    (void)!ln_store_set_mode(c->hub->store, c->id, LN_MODE_PAUSED, NULL, NULL);
    c->mode = LN_MODE_PAUSED;
    w->attempts = 0;
    snprintf(c->error, sizeof c->error,
             "message %llu failed at %.*s (on_error = \"stop\"): mend it, then lunate resume %s",
             (unsigned long long)e->seq, known ? (int)where.len : 10,
             known ? where.ptr : "the script", c->name);
    ln_log(LN_ERROR, "work", "stopped_on_error", "channel=%s seq=%llu where=%.*s", c->name,
           (unsigned long long)e->seq, (int)where.len, where.ptr);
    ln_waiter_halted(c, e->seq);
}

/* What was given and not answered waits again. */
static void take_back(struct ln_work *w)
{
    for (size_t i = w->answered; i < w->given; i++)
        w->waiting_bytes += ln_work_at(w, i)->raw->len;
    w->given = w->answered;
    w->given_bytes = 0;
}

/* Parks the first entry that waits, without giving it to the worker. */
static void park_waiting(struct ln_channel *c, const char *reason, const struct ln_result *r)
{
    struct ln_work *w = &c->work;
    size_t len = ln_work_at(w, w->given)->raw->len;
    w->waiting_bytes -= len;
    w->given++;
    ln_result_park(c, reason, r);
    if (w->given != w->answered) { /* out of memory: it waits on */
        w->given--;
        w->waiting_bytes += len;
    }
}

static unsigned attempts_of(const struct ln_channel *c)
{
    return c->conf->attempts ? c->conf->attempts : 1;
}

/* A failed try of the entry at the head; nothing is with the worker. */
static void count_attempt(struct ln_channel *c, const char *why, const struct ln_result *r)
{
    struct ln_work *w = &c->work;
    struct ln_entry *e = ln_work_at(w, w->answered);
    struct ln_event ev = {
        .kind = LN_EV_ATTEMPT, .time_us = ln_now_us(), .text = r ? r->reason : ln_span_str(why)};
    w->attempts++;
    ln_log(LN_WARN, "work", "attempt_failed", "channel=%s seq=%llu attempt=%u of=%u why=\"%s\"",
           c->name, (unsigned long long)e->seq, w->attempts, c->conf->attempts, why);
    if (ln_store_event(c->hub->store, c->id, e->seq, &ev, NULL, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "event_lost", "channel=%s", c->name);
    if (w->attempts < attempts_of(c))
        return;
    c->worker.backoff_s = 0; /* the back-off was this message's: those behind it do not pay */
    if (c->conf->stop_on_error)
        halt(c, ev.text, r ? r->where : ln_span(NULL, 0));
    else
        park_waiting(c, why, r);
}

void ln_work_lost(struct ln_channel *c, const char *why, bool blame_head)
{
    struct ln_work *w = &c->work;
    size_t inflight = w->given - w->answered;
    uint64_t last = inflight ? ln_work_at(w, w->given - 1)->seq : 0;
    take_back(w);
    if (inflight == 0)
        return;
    if (inflight == 1 || blame_head) {
        uint64_t head = ln_work_at(w, w->answered)->seq;
        count_attempt(c, why, NULL);
        if (last == head)
            return;
    } else {
        ln_log(LN_WARN, "work", "worker_lost", "channel=%s inflight=%zu why=\"%s\" next=one_by_one",
               c->name, inflight, why);
    }
    w->careful = true;
    w->careful_end = last;
}

int ln_work_result(struct ln_channel *c, const struct ln_result *r)
{
    struct ln_work *w = &c->work;
    if (w->answered >= w->given || ln_work_at(w, w->answered)->seq != r->seq)
        return LN_EPARSE;
    ln_spread_time(&c->script_us, r->duration_us);
    if (r->verdict == LN_V_LIMIT) {
        uint64_t last = ln_work_at(w, w->given - 1)->seq;
        char why[200];
        struct ln_span where = ln_conf_place(c->conf, r->where);
        snprintf(why, sizeof why, "script limit at %.*s", (int)where.len, where.ptr);
        take_back(w);
        if (last != r->seq) {
            w->careful = true;
            w->careful_end = last;
        }
        count_attempt(c, why, r);
        ln_worker_restart(c, why);
        return LN_OK;
    }
    w->given_bytes -= ln_work_at(w, w->answered)->raw->len;
    if (r->verdict == LN_V_ERROR && c->conf->stop_on_error) {
        take_back(w);
        halt(c, r->reason, r->where);
        ln_worker_stop(c); /* it goes on with the next message otherwise */
        return LN_OK;
    }
    ln_result_commit(c, r);
    ln_worker_head(c);
    return LN_OK;
}

/* ---- to the worker ------------------------------------------------------------------------- */

static bool without_script(const struct ln_entry *e)
{
    return e->kind == LN_R_UNREADABLE || e->kind == LN_R_RESENT || e->kind == LN_R_DUPLICATE;
}

static bool may_give(const struct ln_channel *c)
{
    const struct ln_work *w = &c->work;
    size_t inflight = w->given - w->answered;
    if (w->given >= w->count || w->answered >= UNCOMMITTED_MAX)
        return false;
    if (w->careful)
        return inflight == 0;
    return inflight < WINDOW && (inflight == 0 || w->given_bytes < WINDOW_BYTES);
}

/* Whether another script is to take over: while others are being started, the old one goes on. */
static bool is_due(const struct ln_channel *c)
{
    bool stays = c->worker.state == LN_W_READY && !ln_worker_room(c->hub);
    return c->next && !c->removed && (!stays || c->mode == LN_MODE_STOPPED);
}

void ln_work_pump(struct ln_channel *c)
{
    struct ln_work *w = &c->work;
    bool due = is_due(c);
    if (due && w->given == w->answered && w->answered == 0)
        ln_channel_switch(c); /* a message boundary */
    if (c->mode != LN_MODE_RUN || c->failed || (due && c->next) || c->removed ||
        c->halt == LN_HALT_STOP)
        return;
    for (;;) {
        refill(c);
        if (!may_give(c))
            break;
        struct ln_entry *e = ln_work_at(w, w->given);
        if (w->attempts >= attempts_of(c) && w->given == w->answered) {
            /* the engine ended between the last try and what follows it */
            if (c->conf->stop_on_error) {
                halt(c, ln_span_str("failed at every attempt"), ln_span(NULL, 0));
                break;
            }
            park_waiting(c, "failed at every attempt", NULL);
            if (w->attempts)
                break;
            continue;
        }
        if (without_script(e)) {
            if (w->given != w->answered)
                break; /* in order: those before it first */
            if (e->kind == LN_R_DUPLICATE && w->answered > 0)
                break; /* what became of its original must be on disk */
            w->waiting_bytes -= e->raw->len;
            w->given++;
            ln_result_without_script(c, e);
            if (w->given != w->answered) {
                w->given--;
                w->waiting_bytes += e->raw->len;
                if (without_script(e)) /* out of memory: later */
                    break;
            }
            continue;
        }
        if (c->worker.state != LN_W_READY)
            break;
        w->waiting_bytes -= e->raw->len;
        w->given_bytes += e->raw->len;
        w->given++;
        ln_worker_give(c, e);
    }
}

bool ln_work_idle(const struct ln_channel *c)
{
    return c->work.count == 0 && c->work.appending == 0 && !c->work.behind;
}
