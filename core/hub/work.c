/* Entries on their way through a channel's script, strictly in order.
 *
 * Invariants: results are committed in the order of their messages; a message leaves the ring only
 * when its result is committed; whatever is lost with a worker is given again. */
#include "hub/hub.h"

#include <stdio.h>

#include "base/clock.h"

enum {
    WINDOW = 64, /* entries with the worker */
    WINDOW_BYTES = 1 << 20,
    UNCOMMITTED_MAX = 512, /* results being committed */
    WAITING_MAX = 4096, /* entries held in memory beyond that: read back from the store */
    WAITING_BYTES = 4 << 20,
    REFILL = 128,
    KV_KEY_MAX = 400, /* as in store.h */
};

static struct ln_entry *at(struct ln_work *w, size_t i)
{
    return &w->ring[(w->head + i) & (w->cap - 1)];
}

static int push(struct ln_work *w, const struct ln_entry *e)
{
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 16;
        struct ln_entry *ring = malloc(cap * sizeof *ring);
        if (!ring)
            return LN_ENOMEM;
        for (size_t i = 0; i < w->count; i++)
            ring[i] = *at(w, i);
        free(w->ring);
        w->ring = ring;
        w->cap = cap;
        w->head = 0;
    }
    *at(w, w->count++) = *e;
    w->waiting_bytes += e->raw->len;
    return LN_OK;
}

static void entry_fini(struct ln_entry *e)
{
    for (unsigned i = 0; i < e->nout; i++)
        ln_blob_unref(e->out[i].bytes);
    free(e->out);
    ln_blob_unref(e->raw);
    *e = (struct ln_entry){0};
}

/* ---- in: from the log to the ring
 * ---------------------------------------------------------------- */

struct pending { /* an append on its way to the disk */
    struct ln_channel *channel;
    struct ln_blob *raw;
    struct ln_owed *owed;
    unsigned part;
    uint8_t kind;
    int64_t time_us;
};

static void on_appended(void *arg, int code, uint64_t seq)
{
    struct pending *p = arg;
    if (code == LN_OK) {
        ln_work_add(p->channel, seq, p->time_us, p->kind, p->raw, p->owed, p->part);
        ln_work_pump(p->channel);
    } else if (p->owed) {
        ln_owed_settle(p->owed, p->part, LN_ACK_AR,
                       "not stored: the receiver's store cannot take it now, send again");
    }
    ln_blob_unref(p->raw);
    free(p);
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
    if (rc != LN_OK) {
        ln_blob_unref(raw);
        free(p);
    }
    return rc;
}

static int waiter_room(struct ln_work *w)
{
    if (w->nwaiter < w->waiter_cap)
        return LN_OK;
    if (w->waiter_first > w->waiter_cap / 2) {
        w->nwaiter -= w->waiter_first;
        memmove(w->waiter, w->waiter + w->waiter_first, w->nwaiter * sizeof *w->waiter);
        w->waiter_first = 0;
        return LN_OK;
    }
    size_t cap = w->waiter_cap ? w->waiter_cap * 2 : 16;
    void *p = realloc(w->waiter, cap * sizeof *w->waiter);
    if (!p)
        return LN_ENOMEM;
    w->waiter = p;
    w->waiter_cap = cap;
    return LN_OK;
}

static void wait_for_result(struct ln_work *w, uint64_t seq, struct ln_owed *owed, unsigned part)
{
    if (waiter_room(w) != LN_OK) {
        ln_owed_settle(owed, part, LN_ACK_AR, "receiver is out of memory");
        return;
    }
    w->waiter[w->nwaiter++] = (struct ln_waiter){.seq = seq, .owed = owed, .part = part};
}

static void acknowledge_receipt(struct ln_channel *c, uint64_t seq, uint8_t kind,
                                struct ln_owed *owed, unsigned part)
{
    if (!owed)
        return;
    if (kind == LN_R_UNREADABLE)
        ln_owed_settle(owed, part, LN_ACK_AR, "not an HL7 v2 message");
    else if (c->conf->ack == LN_ACK_TRANSFORM || c->conf->ack == LN_ACK_DELIVERY)
        wait_for_result(&c->work, seq, owed, part);
    else
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
    acknowledge_receipt(c, seq, kind, owed, part);
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
        struct ln_entry e = {.seq = seq, .time_us = r.time_us, .kind = r.kind};
        if (rc != LN_OK || !(e.raw = ln_blob_new(r.raw)))
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
    return LN_OK;
}

/* ---- out: results
 * ----------------------------------------------------------------------------------- */

static void settle_waiter(struct ln_waiter *x)
{
    ln_owed_settle(x->owed, x->part, x->code, x->text);
    x->owed = NULL;
}

static void drop_settled(struct ln_work *w)
{
    while (w->waiter_first < w->nwaiter && !w->waiter[w->waiter_first].owed)
        w->waiter_first++;
    if (w->waiter_first == w->nwaiter)
        w->waiter_first = w->nwaiter = 0;
}

static struct ln_waiter *waiter_of(struct ln_work *w, uint64_t seq)
{
    for (size_t lo = w->waiter_first, hi = w->nwaiter; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->waiter[mid].seq == seq)
            return w->waiter[mid].owed ? &w->waiter[mid] : NULL;
        if (w->waiter[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static void answer_processed(struct ln_channel *c, const struct ln_entry *e)
{
    struct ln_waiter *x = waiter_of(&c->work, e->seq);
    if (!x)
        return;
    x->code = e->code;
    x->processed = true;
    snprintf(x->text, sizeof x->text, "%s", e->text);
    for (unsigned i = 0; i < e->nout && c->conf->ack == LN_ACK_DELIVERY; i++)
        x->remaining += e->out[i].dest != NULL;
    if (x->remaining == 0)
        settle_waiter(x);
    drop_settled(&c->work);
}

void ln_work_dest_done(struct ln_channel *c, uint64_t seq, bool sent, const char *text)
{
    struct ln_waiter *x = c->work.nwaiter ? waiter_of(&c->work, seq) : NULL;
    if (!x || !x->processed)
        return;
    if (!sent && x->code == LN_ACK_AA) {
        x->code = LN_ACK_AE;
        snprintf(x->text, sizeof x->text, "%s", text);
    }
    if (--x->remaining == 0)
        settle_waiter(x);
    drop_settled(&c->work);
}

static void on_result_committed(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    struct ln_work *w = &c->work;
    (void)seq;
    if (code != LN_OK)
        return; /* closing: it is done again at the next start */
    struct ln_entry e = *at(w, 0);
    w->head = (w->head + 1) & (w->cap - 1);
    w->count--;
    w->given--;
    w->answered--;
    answer_processed(c, &e);
    for (unsigned i = 0; i < e.nout; i++)
        if (e.out[i].dest)
            ln_dest_add(e.out[i].dest, (struct ln_pos){e.seq, e.out[i].n}, e.out[i].bytes,
                        e.time_us);
    entry_fini(&e);
    ln_work_pump(c);
}

/* Hands one output to another channel, in the transaction of the result. */
static int forward(struct ln_channel *c, const struct ln_entry *e, const struct ln_dest *d,
                   struct ln_span bytes, struct ln_item *item)
{
    struct ln_channel *to = ln_channel_find(c->hub, d->conf.to);
    struct ln_header h;
    char type[48];
    if (!to || to->id == 0)
        return LN_ENOTFOUND;
    struct ln_receipt r = {.kind = LN_R_FORWARDED,
                           .time_us = ln_now_us(),
                           .origin_chan = c->id,
                           .origin_seq = e->seq,
                           .raw = bytes};
    if (ln_header_read(bytes, &h, NULL) == LN_OK && h.kind == LN_HEADER_MSH) {
        struct ln_span t = ln_header_component(&h, 9, 1), v = ln_header_component(&h, 9, 2);
        snprintf(type, sizeof type, "%.*s%s%.*s", (int)(t.len > 20 ? 20 : t.len),
                 t.ptr ? t.ptr : "", v.len ? "^" : "", (int)(v.len > 20 ? 20 : v.len),
                 v.ptr ? v.ptr : "");
        r.type = ln_span_str(type);
        r.control_id = h.field[10];
        r.npatient = h.npatient;
        memcpy(r.patient, h.patient, sizeof h.patient[0] * h.npatient);
    }
    item->kind = LN_I_FORWARDED;
    item->to_chan = to->id;
    item->data = ln_span(NULL, 0);
    return ln_work_append(to, &r, true, NULL, 0, &item->to_seq);
}

struct outcome { /* what is to be committed of one entry */
    uint8_t state;
    uint32_t duration_us;
    struct ln_span reason, where, trace;
    uint32_t n, nkv;
    struct ln_item *item;
    struct ln_kv_write *kv;
};

static struct ln_blob *bytes_of(const struct outcome *oc, uint32_t i, const struct ln_entry *e)
{
    const struct ln_item *item = &oc->item[i];
    if (item->kind == LN_I_INPUT)
        return ln_blob_ref(e->raw);
    if (item->kind == LN_I_SAME)
        return e->out[item->same].bytes ? ln_blob_ref(e->out[item->same].bytes) : NULL;
    return ln_blob_new(item->data);
}

/* Prepares the outputs in memory and the hand-overs; called within begin and end. */
static int prepare_outputs(struct ln_channel *c, struct ln_entry *e, struct outcome *oc,
                           struct ln_dest *const *dest)
{
    if (oc->n && !(e->out = calloc(oc->n, sizeof *e->out)))
        return LN_ENOMEM;
    e->nout = oc->n;
    for (uint32_t i = 0; i < oc->n; i++) {
        struct ln_item *item = &oc->item[i];
        e->out[i].n = i;
        if (item->kind > LN_I_SAME)
            continue;
        if (!(e->out[i].bytes = bytes_of(oc, i, e)))
            return LN_ENOMEM;
        if (!dest[i]->conf.to_channel)
            e->out[i].dest = dest[i];
    }
    for (uint32_t i = 0; i < oc->n; i++) { /* nothing can fail behind the first hand-over */
        if (!e->out[i].bytes || e->out[i].dest)
            continue;
        int rc = forward(c, e, dest[i], ln_blob_span(e->out[i].bytes), &oc->item[i]);
        if (rc != LN_OK) {
            oc->item[i].kind = LN_I_PARKED;
            oc->item[i].data = ln_span_str("the channel it goes to is not there");
        }
    }
    return LN_OK;
}

/* A later SAME must not point to an output that was handed over: it gets its own bytes. */
static void untangle(struct outcome *oc, const struct ln_entry *e)
{
    for (uint32_t i = 0; i < oc->n; i++)
        if (oc->item[i].kind == LN_I_SAME && oc->item[oc->item[i].same].kind != LN_I_BYTES &&
            oc->item[oc->item[i].same].kind != LN_I_INPUT) {
            oc->item[i].kind = LN_I_BYTES;
            oc->item[i].data = ln_blob_span(e->out[i].bytes);
        }
}

static void set_answer(struct ln_channel *c, struct ln_entry *e, const struct outcome *oc)
{
    e->code = LN_ACK_AA;
    if (oc->state != LN_S_PARKED && oc->state != LN_S_REJECTED)
        return;
    e->code = oc->state == LN_S_REJECTED ? LN_ACK_AR : LN_ACK_AE;
    if (oc->where.len)
        snprintf(e->text, sizeof e->text, "channel %s: script error at %.*s", c->name,
                 (int)(oc->where.len > 80 ? 80 : oc->where.len), oc->where.ptr);
    else
        snprintf(e->text, sizeof e->text, "channel %s could not process it; message %llu is parked",
                 c->name, (unsigned long long)e->seq);
}

/* How much of a place is logged; "-" stands for none. */
static int for_log(struct ln_span where)
{
    return where.len == 0 ? 1 : where.len > 100 ? 100 : (int)where.len;
}

/* Commits the result of the entry at `answered`. */
static int commit_result(struct ln_channel *c, struct outcome *oc, struct ln_dest *const *dest)
{
    struct ln_work *w = &c->work;
    struct ln_entry *e = at(w, w->answered);
    static const char *const codes[] = {"AA", "AE", "AR"};
    ln_store_begin(c->hub->store);
    int rc = prepare_outputs(c, e, oc, dest);
    if (rc == LN_OK) {
        untangle(oc, e);
        set_answer(c, e, oc);
        struct ln_processed p = {.state = oc->state,
                                 .time_us = ln_now_us(),
                                 .duration_us = oc->duration_us,
                                 .attempts = w->attempts,
                                 .script = c->conf->version64,
                                 .reason = oc->reason,
                                 .where = oc->where,
                                 .trace = oc->trace,
                                 .nitems = oc->n,
                                 .items = oc->item,
                                 .nkv = oc->nkv,
                                 .kv = oc->kv};
        if (c->conf->ack == LN_ACK_TRANSFORM && e->kind == LN_R_RECEIVED)
            memcpy(p.ack, codes[e->code], 3);
        rc = ln_store_result(c->hub->store, c->id, e->seq, &p, on_result_committed, c);
    }
    ln_store_end(c->hub->store);
    if (rc != LN_OK) {
        for (unsigned i = 0; i < e->nout; i++)
            ln_blob_unref(e->out[i].bytes);
        free(e->out);
        e->out = NULL;
        e->nout = 0;
        return rc;
    }
    w->answered++;
    w->attempts = 0;
    if (oc->state == LN_S_PARKED)
        ln_log(LN_ERROR, "work", "parked", "channel=%s seq=%llu where=%.*s", c->name,
               (unsigned long long)e->seq, for_log(oc->where), oc->where.len ? oc->where.ptr : "-");
    if (w->careful && e->seq >= w->careful_end)
        w->careful = false;
    return LN_OK;
}

/* Parks the entry at `answered`, which has been given. */
static void park(struct ln_channel *c, const char *reason, const struct ln_result *r)
{
    struct outcome oc = {.state = LN_S_PARKED, .reason = ln_span_str(reason)};
    if (r) {
        oc.reason = r->reason;
        oc.where = r->where;
        oc.trace = r->trace;
        oc.duration_us = r->duration_us;
    }
    if (commit_result(c, &oc, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "no_memory", "channel=%s", c->name);
}

/* on_error = "stop": the channel waits here for somebody. */
static void halt(struct ln_channel *c, struct ln_span reason, struct ln_span where)
{
    struct ln_work *w = &c->work;
    struct ln_entry *e = at(w, w->answered);
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
             (unsigned long long)e->seq, (int)(where.len > 100 ? 100 : where.len),
             where.len ? where.ptr : "the script", c->name);
    ln_log(LN_ERROR, "work", "stopped_on_error", "channel=%s seq=%llu where=%.*s", c->name,
           (unsigned long long)e->seq, for_log(where), where.len ? where.ptr : "-");
    struct ln_waiter *x = waiter_of(w, e->seq);
    if (x) {
        x->code = LN_ACK_AE;
        snprintf(x->text, sizeof x->text, "channel %s stopped at this message", c->name);
        settle_waiter(x);
        drop_settled(w);
    }
}

/* What was given and not answered waits again. */
static void take_back(struct ln_work *w)
{
    for (size_t i = w->answered; i < w->given; i++)
        w->waiting_bytes += at(w, i)->raw->len;
    w->given = w->answered;
    w->given_bytes = 0;
}

/* Parks the first entry that waits, without giving it to the worker. */
static void park_waiting(struct ln_channel *c, const char *reason, const struct ln_result *r)
{
    struct ln_work *w = &c->work;
    size_t len = at(w, w->given)->raw->len;
    w->waiting_bytes -= len;
    w->given++;
    park(c, reason, r);
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
    struct ln_entry *e = at(w, w->answered);
    struct ln_event ev = {
        .kind = LN_EV_ATTEMPT, .time_us = ln_now_us(), .text = r ? r->reason : ln_span_str(why)};
    w->attempts++;
    ln_log(LN_WARN, "work", "attempt_failed", "channel=%s seq=%llu attempt=%u of=%u why=\"%s\"",
           c->name, (unsigned long long)e->seq, w->attempts, c->conf->attempts, why);
    if (ln_store_event(c->hub->store, c->id, e->seq, &ev, NULL, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "event_lost", "channel=%s", c->name);
    if (w->attempts < attempts_of(c))
        return;
    if (c->conf->stop_on_error)
        halt(c, ev.text, r ? r->where : ln_span(NULL, 0));
    else
        park_waiting(c, why, r);
}

void ln_work_lost(struct ln_channel *c, const char *why, bool blame_head)
{
    struct ln_work *w = &c->work;
    size_t inflight = w->given - w->answered;
    uint64_t last = inflight ? at(w, w->given - 1)->seq : 0;
    take_back(w);
    if (inflight == 0)
        return;
    if (inflight == 1 || blame_head) {
        uint64_t head = at(w, w->answered)->seq;
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

static int outcome_from(struct ln_channel *c, const struct ln_result *r, struct outcome *oc,
                        struct ln_dest ***dests)
{
    static const uint8_t kinds[] = {[LN_O_BYTES] = LN_I_BYTES,
                                    [LN_O_INPUT] = LN_I_INPUT,
                                    [LN_O_SAME] = LN_I_SAME,
                                    [LN_O_FILTERED] = LN_I_FILTERED,
                                    [LN_O_ERROR] = LN_I_PARKED};
    *oc = (struct outcome){.state = r->verdict == LN_V_FILTERED ? LN_S_FILTERED : LN_S_DONE,
                           .duration_us = r->duration_us,
                           .reason = r->reason,
                           .where = r->where,
                           .trace = r->trace,
                           .n = r->noutputs,
                           .nkv = r->nkv};
    oc->item = calloc(r->noutputs + 1u, sizeof *oc->item);
    oc->kv = calloc(r->nkv + 1u, sizeof *oc->kv);
    *dests = calloc(r->noutputs + 1u, sizeof **dests);
    if (!oc->item || !oc->kv || !*dests)
        return LN_ENOMEM;
    for (uint32_t i = 0; i < r->noutputs; i++) {
        const struct ln_output *o = &r->outputs[i];
        (*dests)[i] = c->by_index[o->dest];
        oc->item[i] = (struct ln_item){
            .dest = (*dests)[i]->id, .kind = kinds[o->kind], .same = o->same, .data = o->data};
    }
    for (uint32_t i = 0; i < r->nkv; i++) /* before anything is handed to another channel */
        if (r->kv[i].key.len > KV_KEY_MAX)
            return LN_ETOOBIG;
    for (uint32_t i = 0; i < r->nkv; i++)
        oc->kv[i] = (struct ln_kv_write){r->kv[i].deleted, r->kv[i].key, r->kv[i].value};
    return LN_OK;
}

int ln_work_result(struct ln_channel *c, const struct ln_result *r)
{
    struct ln_work *w = &c->work;
    if (w->answered >= w->given || at(w, w->answered)->seq != r->seq)
        return LN_EPARSE;
    if (r->verdict == LN_V_LIMIT) {
        uint64_t last = at(w, w->given - 1)->seq;
        char why[200];
        snprintf(why, sizeof why, "script limit at %.*s",
                 (int)(r->where.len > 100 ? 100 : r->where.len), r->where.len ? r->where.ptr : "?");
        take_back(w);
        if (last != r->seq) {
            w->careful = true;
            w->careful_end = last;
        }
        count_attempt(c, why, r);
        ln_worker_restart(c, why);
        return LN_OK;
    }
    w->given_bytes -= at(w, w->answered)->raw->len;
    if (r->verdict == LN_V_ERROR && c->conf->stop_on_error) {
        take_back(w);
        halt(c, r->reason, r->where);
        ln_worker_stop(c); /* it goes on with the next message otherwise */
        return LN_OK;
    }
    if (r->verdict == LN_V_ERROR) {
        park(c, NULL, r);
    } else {
        struct outcome oc;
        struct ln_dest **dests;
        int rc = outcome_from(c, r, &oc, &dests);
        if (rc == LN_OK)
            rc = commit_result(c, &oc, dests);
        free(oc.item);
        free(oc.kv);
        free(dests);
        if (rc != LN_OK)
            park(c, rc == LN_ETOOBIG ? "a kv key is longer than 400 bytes" : ln_strerror(rc), NULL);
    }
    ln_worker_head(c);
    return LN_OK;
}

/* ---- entries that no script sees
 * ------------------------------------------------------------------- */

static struct ln_dest *dest_by_id(struct ln_channel *c, uint16_t id)
{
    struct ln_dest *d;
    LIST_FOREACH (d, &c->dests, link)
        if (d->id == id && d->configured)
            return d;
    return NULL;
}

/* Collects what the origin sent, as it was; within a read transaction. */
static int origin_outputs(struct ln_channel *c, const struct ln_entry *e, struct outcome *oc,
                          struct ln_dest ***dests)
{
    struct ln_reader *rd = c->hub->reader;
    struct ln_receipt r;
    struct ln_processed p;
    char only[LN_CONF_NAME] = "";
    int rc = ln_read_receipt(rd, c->id, e->seq, &r);
    if (rc != LN_OK)
        return rc;
    uint64_t origin = r.origin_seq;
    if (r.only_dest.len < sizeof only && r.only_dest.len)
        memcpy(only, r.only_dest.ptr, r.only_dest.len);
    rc = ln_read_result(rd, c->id, origin, &p);
    if (rc != LN_OK)
        return rc;
    oc->item = calloc(p.nitems + 1u, sizeof *oc->item);
    *dests = calloc(p.nitems + 1u, sizeof **dests);
    if (!oc->item || !*dests)
        return LN_ENOMEM;
    for (uint32_t i = 0; i < p.nitems; i++) {
        struct ln_dest *d = dest_by_id(c, p.items[i].dest);
        struct ln_span bytes;
        if (!d || (only[0] && strcmp(only, d->conf.name) != 0) ||
            p.items[i].kind == LN_I_FILTERED || p.items[i].kind == LN_I_PARKED ||
            ln_read_output(rd, c->id, origin, i, &bytes) != LN_OK)
            continue;
        (*dests)[oc->n] = d;
        oc->item[oc->n++] = (struct ln_item){.dest = d->id, .kind = LN_I_BYTES, .data = bytes};
    }
    return LN_OK;
}

/* LN_R_RESENT: the origin's outputs go out again. */
static void resend(struct ln_channel *c, struct ln_entry *e)
{
    struct outcome oc = {.state = LN_S_DONE};
    struct ln_dest **dests = NULL;
    int rc = ln_reader_begin(c->hub->reader);
    if (rc != LN_OK)
        return; /* tried again at the next pump */
    rc = origin_outputs(c, e, &oc, &dests);
    if (rc == LN_OK)
        rc = commit_result(c, &oc, dests);
    if (rc == LN_ENOTFOUND)
        park(c, "what was to be sent again is no longer kept", NULL);
    free(oc.item);
    free(dests);
    ln_reader_end(c->hub->reader);
}

static bool without_script(const struct ln_entry *e)
{
    return e->kind == LN_R_UNREADABLE || e->kind == LN_R_RESENT;
}

static void finish_without_script(struct ln_channel *c, struct ln_entry *e)
{
    struct outcome oc = {.state = LN_S_REJECTED, .reason = ln_span_str("not an HL7 v2 message")};
    if (e->kind == LN_R_RESENT)
        resend(c, e);
    else if (commit_result(c, &oc, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "no_memory", "channel=%s", c->name);
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

void ln_work_pump(struct ln_channel *c)
{
    struct ln_work *w = &c->work;
    if (c->next && w->given == w->answered && w->answered == 0)
        ln_channel_switch(c); /* a message boundary */
    if (c->mode != LN_MODE_RUN || c->failed || c->next || c->removed)
        return;
    for (;;) {
        refill(c);
        if (!may_give(c))
            break;
        struct ln_entry *e = at(w, w->given);
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
            w->waiting_bytes -= e->raw->len;
            w->given++;
            finish_without_script(c, e);
            if (w->given != w->answered) { /* out of memory: later */
                w->given--;
                w->waiting_bytes += e->raw->len;
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
    return c->work.count == 0 && !c->work.behind;
}
