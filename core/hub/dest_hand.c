/* Delivery, by hand: one try, what is set aside, the queue at another place. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/dest.h"

/* ---- passing over ---- */

static void on_passed(void *arg, int code, uint64_t seq)
{
    struct ln_dest *d = arg;
    d->uncommitted--;
    if (code != LN_OK && code != LN_ECLOSED)
        ln_log(LN_ERROR, "dest", "not_passed_over", "channel=%s dest=%s seq=%llu why=\"%s\"",
               d->channel->name, d->conf.name, (unsigned long long)seq, ln_strerror(code));
    ln_dest_pump(d);
}

/* Whether the message's result can be read; if not, no output of it can be told from another. */
static bool has_result(const struct ln_dest *d, uint64_t seq)
{
    struct ln_reader *r = d->channel->hub->reader;
    uint8_t state;
    if (ln_reader_begin(r) != LN_OK)
        return true;
    bool has = ln_read_state(r, d->channel->id, seq, &state) == LN_OK;
    ln_reader_end(r);
    return has;
}

/* What cannot be read goes out of the way: the one output, or the whole message. */
static int pass_unreadable(struct ln_dest *d, const char *reason)
{
    struct ln_channel *c = d->channel;
    struct ln_pos pos = d->unreadable;
    int64_t now = ln_now_us();
    char text[600];
    snprintf(text, sizeof text, "damaged, %.580s", reason);
    struct ln_outcome o = {
        .state = LN_OUT_SKIPPED, .first_us = now, .time_us = now, .reason = ln_span_str(text)};
    bool whole = !has_result(d, pos.seq);
    int rc = ln_store_outcome(c->hub->store, c->id, d->id, pos, &o, on_passed, d);
    if (rc != LN_OK)
        return rc;
    d->uncommitted++;
    d->read_pos = whole ? (struct ln_pos){pos.seq + 1, 0} : (struct ln_pos){pos.seq, pos.n + 1};
    d->unreadable.seq = 0;
    d->last_error[0] = '\0';
    ln_log(LN_WARN, "dest", "damaged_passed_over", "channel=%s dest=%s seq=%llu whole=%d", c->name,
           d->conf.name, (unsigned long long)pos.seq, whole);
    ln_dest_pump(d);
    return LN_OK;
}

static bool pass_first(struct ln_dest *d)
{
    if (d->count == 0)
        return pass_unreadable(d, d->skip_reason) == LN_OK;
    return ln_dest_commit(d, LN_OUT_SKIPPED, ln_span(NULL, 0), d->skip_reason) == LN_OK;
}

/* Passes over what stands before d->skip_to, as fast as the disk takes it. */
void ln_dest_pass_on(struct ln_dest *d)
{
    if (d->passing)
        return; /* what is passed over pumps */
    d->passing = true;
    while (d->skip_to && d->uncommitted < LN_UNCOMMITTED_MAX) {
        ln_dest_refill(d);
        uint64_t at = d->count ? ln_dest_first(d)->pos.seq : d->unreadable.seq;
        if (d->count == 0 && d->behind && at == 0) {
            if (!evtimer_pending(&d->timer, NULL))
                ln_dest_arm(d, 0.01);
            break;
        }
        if (at == 0 || at >= d->skip_to) {
            ln_log(LN_WARN, "dest", "passed_over", "channel=%s dest=%s to=%llu outputs=%llu",
                   d->channel->name, d->conf.name, (unsigned long long)d->skip_to,
                   (unsigned long long)d->skipped);
            d->skip_to = 0;
        } else if (pass_first(d)) {
            d->skipped++;
        } else {
            break; /* out of memory: at the next pump */
        }
    }
    d->passing = false;
}

/* ---- verbs ---- */

int ln_dest_step(struct ln_dest *d)
{
    ln_dest_refill(d);
    if (d->count == 0)
        return LN_ENOTFOUND;
    if (d->step || d->moving || d->skip_to || d->inflight || d->dial ||
        d->channel->mode == LN_MODE_STOPPED || !d->configured)
        return LN_EBUSY;
    d->step = true;
    d->step_seq = ln_dest_first(d)->pos.seq;
    if (d->retrying) {
        d->retrying = false;
        evtimer_del(&d->timer);
    }
    ln_dest_pump(d);
    return LN_OK;
}

int ln_dest_skip(struct ln_dest *d, const char *reason, uint64_t *seq)
{
    ln_dest_refill(d);
    if (d->moving || d->skip_to)
        return LN_EBUSY;
    if (d->count == 0 && d->unreadable.seq) {
        *seq = d->unreadable.seq;
        return pass_unreadable(d, reason);
    }
    if (d->count == 0)
        return LN_ENOTFOUND;
    *seq = ln_dest_first(d)->pos.seq;
    if (d->inflight || d->greeting)
        ln_dest_disconnect(d); /* its reply, should one come, is nobody's any more */
    d->retrying = false;
    evtimer_del(&d->timer);
    char text[600];
    snprintf(text, sizeof text, "skipped: %.580s", reason);
    ln_dest_end_step(d, LN_STEP_PARKED, text);
    int rc = ln_dest_commit(d, LN_OUT_PARKED, ln_span(NULL, 0), text);
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
            ln_dest_pop(d);
        d->read_pos = pos;
        d->behind = d->redo = true;
        d->failures = 0;
    }
    ln_dest_pump(d);
}

struct ln_pos ln_dest_head(struct ln_dest *d)
{
    ln_dest_refill(d);
    return d->count ? ln_dest_first(d)->pos : d->unreadable;
}
