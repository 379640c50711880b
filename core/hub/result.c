/* The result of an entry: its outputs in memory, what is handed to other channels, one transaction
 * in the store; and entries that no script sees. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/work.h"

enum { KV_KEY_MAX = 400 }; /* as in store.h */

static void entry_fini(struct ln_entry *e)
{
    for (unsigned i = 0; i < e->nout; i++)
        ln_blob_unref(e->out[i].bytes);
    free(e->out);
    free(e->errors);
    ln_blob_unref(e->raw);
    *e = (struct ln_entry){0};
}

static void on_result_committed(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    struct ln_work *w = &c->work;
    if (code != LN_OK) { /* closing: it is done again at the next start */
        if (code != LN_ECLOSED)
            ln_log(LN_ERROR, "work", "result_not_kept", "channel=%s seq=%llu why=\"%s\"", c->name,
                   (unsigned long long)seq, ln_strerror(code));
        return;
    }
    struct ln_entry e = *ln_work_at(w, 0);
    w->head = (w->head + 1) & (w->cap - 1);
    w->count--;
    w->given--;
    w->answered--;
    ln_waiter_answer(c, &e);
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
        ln_receipt_fill(&r, &h, type, sizeof type);
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

/* The script refused the message with a list of problems: the sender is told each of them. */
static bool set_errors(struct ln_entry *e, struct ln_span trace)
{
    struct ln_ack_error first[LN_ACK_ERRORS_MAX];
    if (ln_ack_errors_read(trace, first) == 0)
        return false;
    free(e->errors);
    e->errors = strndup(trace.ptr, trace.len);
    snprintf(e->text, sizeof e->text, "%.*s: %.*s",
             (int)(first->location.len > 40 ? 40 : first->location.len), first->location.ptr,
             (int)(first->text.len > 100 ? 100 : first->text.len), first->text.ptr);
    return true;
}

/* What a destination's own functions failed at is parked there: the sender is not told AA. */
static void set_partly(struct ln_channel *c, struct ln_entry *e, const struct outcome *oc,
                       struct ln_dest *const *dest)
{
    for (uint32_t i = 0; i < oc->n; i++) {
        if (oc->item[i].kind != LN_I_PARKED)
            continue;
        e->code = LN_ACK_AE;
        snprintf(e->text, sizeof e->text, "message %llu of %.50s is parked for destination %.50s",
                 (unsigned long long)e->seq, c->name, dest[i]->conf.name);
        return;
    }
}

static void set_answer(struct ln_channel *c, struct ln_entry *e, const struct outcome *oc,
                       struct ln_dest *const *dest)
{
    e->code = LN_ACK_AA;
    if (oc->state == LN_S_DONE)
        set_partly(c, e, oc, dest);
    if (oc->state != LN_S_PARKED && oc->state != LN_S_REJECTED)
        return;
    e->code = oc->state == LN_S_REJECTED ? LN_ACK_AR : LN_ACK_AE;
    if (set_errors(e, oc->trace))
        return;
    if (oc->where.len)
        snprintf(e->text, sizeof e->text, "channel %s: script error at %.*s", c->name,
                 (int)(oc->where.len > 80 ? 80 : oc->where.len), oc->where.ptr);
    else
        snprintf(e->text, sizeof e->text, "channel %s could not process it; message %llu is parked",
                 c->name, (unsigned long long)e->seq);
}

static bool saw_script(const struct ln_entry *e)
{
    return e->kind == LN_R_RECEIVED || e->kind == LN_R_FORWARDED || e->kind == LN_R_REPROCESS;
}

/* Commits the result of the entry at `answered`. */
static int commit_result(struct ln_channel *c, struct outcome *oc, struct ln_dest *const *dest)
{
    struct ln_work *w = &c->work;
    struct ln_entry *e = ln_work_at(w, w->answered);
    static const char *const codes[] = {"AA", "AE", "AR"};
    ln_store_begin(c->hub->store);
    int rc = prepare_outputs(c, e, oc, dest);
    if (rc == LN_OK) {
        untangle(oc, e);
        set_answer(c, e, oc, dest);
        struct ln_processed p = {.state = oc->state,
                                 .time_us = ln_now_us(),
                                 .duration_us = oc->duration_us,
                                 .attempts = w->attempts,
                                 .script = saw_script(e) ? c->conf->version64 : 0,
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
    struct ln_span where = ln_conf_place(c->conf, oc->where);
    if (oc->state == LN_S_PARKED)
        ln_log(LN_ERROR, "work", "parked", "channel=%s seq=%llu where=%.*s", c->name,
               (unsigned long long)e->seq, (int)where.len, where.ptr);
    if (w->careful && e->seq >= w->careful_end)
        w->careful = false;
    return LN_OK;
}

/* Parks the entry at `answered`, which has been given. */
void ln_result_park(struct ln_channel *c, const char *reason, const struct ln_result *r)
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
        if (r->kv[i].key.len == 0 || r->kv[i].key.len > KV_KEY_MAX)
            return LN_ETOOBIG;
    for (uint32_t i = 0; i < r->nkv; i++)
        oc->kv[i] = (struct ln_kv_write){r->kv[i].deleted, r->kv[i].key, r->kv[i].value};
    return LN_OK;
}

/* An output that is not for `only` does not leave; one of the same bytes that does takes them over.
 */
static void keep_only(struct outcome *oc, struct ln_dest **dests, const char *only,
                      struct ln_span why)
{
    for (uint32_t i = 0; i < oc->n; i++) {
        struct ln_item *it = &oc->item[i];
        if (strcmp(dests[i]->conf.name, only) == 0)
            continue;
        uint32_t heir = i;
        for (uint32_t j = i + 1; it->kind == LN_I_BYTES && j < oc->n; j++) {
            struct ln_item *other = &oc->item[j];
            if (other->kind != LN_I_SAME || other->same != i)
                continue;
            if (heir != i)
                other->same = heir;
            else
                *other =
                    (struct ln_item){.dest = other->dest, .kind = LN_I_BYTES, .data = it->data};
            heir = heir == i ? j : heir;
        }
        if (it->kind >= LN_I_BYTES && it->kind <= LN_I_SAME)
            *it = (struct ln_item){.dest = it->dest, .kind = LN_I_FILTERED, .data = why};
    }
}

/* Processed again for one destination (`resend --reprocess --dest`): the others had theirs. */
static int narrow(struct ln_channel *c, struct outcome *oc, struct ln_dest **dests, char *why,
                  size_t cap)
{
    const struct ln_entry *e = ln_work_at(&c->work, c->work.answered);
    struct ln_receipt r;
    char only[LN_CONF_NAME] = "";
    if (e->kind != LN_R_REPROCESS)
        return LN_OK;
    int rc = ln_reader_begin(c->hub->reader);
    if (rc != LN_OK)
        return rc;
    rc = ln_read_receipt(c->hub->reader, c->id, e->seq, &r);
    if (rc == LN_OK && r.only_dest.len && r.only_dest.len < sizeof only)
        memcpy(only, r.only_dest.ptr, r.only_dest.len);
    ln_reader_end(c->hub->reader);
    snprintf(why, cap, "processed again for %s alone", only);
    if (rc == LN_OK && only[0])
        keep_only(oc, dests, only, ln_span_str(why));
    return rc;
}

void ln_result_commit(struct ln_channel *c, const struct ln_result *r)
{
    char why[LN_CONF_NAME + 40];
    struct outcome oc;
    struct ln_dest **dests;
    if (r->verdict == LN_V_ERROR) {
        ln_result_park(c, NULL, r);
        return;
    }
    int rc = outcome_from(c, r, &oc, &dests);
    if (rc == LN_OK)
        rc = narrow(c, &oc, dests, why, sizeof why);
    if (rc == LN_OK)
        rc = commit_result(c, &oc, dests);
    free(oc.item);
    free(oc.kv);
    free(dests);
    if (rc != LN_OK)
        ln_result_park(c, rc == LN_ETOOBIG ? "a kv key is longer than 400 bytes" : ln_strerror(rc),
                       NULL);
}

/* ---- entries that no script sees ----------------------------------------------------------- */

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
        ln_result_park(c, "what was to be sent again is no longer kept", NULL);
    free(oc.item);
    free(dests);
    ln_reader_end(c->hub->reader);
}

/* LN_R_DUPLICATE: filtered when its original has had its effect, else an ordinary message. */
static void drop_duplicate(struct ln_channel *c, struct ln_entry *e)
{
    uint64_t origin;
    char text[160];
    int rc = ln_duplicate_of(c, e->seq, ln_blob_span(e->raw), &origin);
    if (rc == LN_ENOTFOUND)
        e->kind = LN_R_RECEIVED;
    if (rc != LN_OK)
        return; /* another error: tried again at the next pump */
    snprintf(text, sizeof text, "duplicate of %s/%llu: same sender, control id and content",
             c->name, (unsigned long long)origin);
    struct outcome oc = {.state = LN_S_FILTERED, .reason = ln_span_str(text)};
    if (commit_result(c, &oc, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "no_memory", "channel=%s", c->name);
}

void ln_result_without_script(struct ln_channel *c, struct ln_entry *e)
{
    struct outcome oc = {.state = LN_S_REJECTED, .reason = ln_span_str("not an HL7 v2 message")};
    if (e->kind == LN_R_UNREADABLE && ln_batch_is_empty(ln_blob_span(e->raw)))
        oc = (struct outcome){.state = LN_S_FILTERED,
                              .reason = ln_span_str("a batch without messages")};
    if (e->kind == LN_R_DUPLICATE)
        drop_duplicate(c, e);
    else if (e->kind == LN_R_RESENT)
        resend(c, e);
    else if (commit_result(c, &oc, NULL) != LN_OK)
        ln_log(LN_ERROR, "work", "no_memory", "channel=%s", c->name);
}
