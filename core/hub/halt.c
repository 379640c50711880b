/* The end of a channel: it takes nothing new, ends what it has in hand (stop) or all that it has
 * (drain), and is really stopped when that is done, or when the grace period is over: a script in
 * an endless loop, a silent receiver or a slow disk cannot hold it up.
 *
 * A stop is kept in the store at once: an engine that is killed meanwhile comes up with the channel
 * stopped. A drain is kept when it is through. What is cut off is given or sent again after the
 * next start. */
#include "hub/source.h"

#include <stdio.h>

#include "base/clock.h"

enum { LOOK_MS = 10 };

/* Nothing is in hand: no message with the script, no result or outcome on its way to the disk, no
 * output that waits for its reply. */
static bool hands_empty(const struct ln_channel *c)
{
    const struct ln_dest *d;
    if (c->work.given > 0)
        return false;
    LIST_FOREACH (d, &c->dests, link)
        if (d->inflight || d->dial || d->uncommitted > 0)
            return false;
    return true;
}

static bool all_gone(const struct ln_channel *c)
{
    const struct ln_dest *d;
    if (!hands_empty(c) || !ln_work_idle(c))
        return false;
    LIST_FOREACH (d, &c->dests, link)
        if (d->configured && !d->conf.to_channel && (d->count > 0 || d->behind))
            return false;
    return true;
}

/* What the grace period cut off, for people. */
static void describe(const struct ln_channel *c, char *text, size_t cap)
{
    const struct ln_dest *d;
    const struct ln_work *w = &c->work;
    size_t n = 0;
    text[0] = '\0';
    if (w->given > w->answered)
        n += (size_t)snprintf(
            text, cap, "the script was still at message %llu",
            (unsigned long long)w->ring[(w->head + w->answered) & (w->cap - 1)].seq);
    else if (w->answered > 0)
        n += (size_t)snprintf(text, cap, "the disk was still taking %zu results", w->answered);
    LIST_FOREACH (d, &c->dests, link)
        if ((d->inflight || d->dial || d->uncommitted) && n < cap)
            n += (size_t)snprintf(text + n, cap - n, "%s%s %s", n ? "; " : "", d->conf.name,
                                  d->inflight ? "had not answered"
                                  : d->dial   ? "was not connected yet"
                                              : "had outcomes on their way to the disk");
}

static void on_kept(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    (void)seq;
    c->halt_kept = code == LN_OK;
}

static void keep_mode(struct ln_channel *c)
{
    c->halt_kept = false;
    (void)!ln_store_set_mode(c->hub->store, c->id, LN_MODE_STOPPED, on_kept, c);
}

static void end(struct ln_channel *c, bool cut)
{
    if (cut)
        describe(c, c->halt_cut, sizeof c->halt_cut);
    /* a reply that waits for script or delivery does not come from a channel that has ended */
    bool replies = c->work.waiter_first == c->work.nwaiter;
    c->halt = LN_HALT_NONE;
    evtimer_del(&c->halt_timer);
    c->mode = LN_MODE_STOPPED;
    ln_channel_shut(c, replies);
    keep_mode(c);
    ln_log(LN_WARN, "halt", "stopped", "channel=%s cut=%d why=\"%s\"", c->name, cut, c->halt_cut);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct ln_channel *c = arg;
    struct timeval tv = {0, LOOK_MS * 1000};
    (void)fd;
    (void)what;
    if (c->halt == LN_HALT_STOP && hands_empty(c))
        end(c, false);
    else if (c->halt == LN_HALT_STOP && ln_mono_us() > c->halt_until_us)
        end(c, true);
    else if (c->halt == LN_HALT_DRAIN && all_gone(c))
        end(c, false);
    else if (c->halt != LN_HALT_NONE)
        evtimer_add(&c->halt_timer, &tv);
}

int ln_channel_halt(struct ln_channel *c, bool drain, double grace_s, struct ln_err *err)
{
    if (c->hub->draining)
        return ln_err_set(err, LN_EBUSY, "the engine is stopping");
    if (c->failed)
        return ln_err_set(err, LN_EINVAL, "channel %s does not load: %.300s", c->name, c->error);
    c->halt_cut[0] = '\0';
    if (c->mode == LN_MODE_STOPPED)
        return LN_OK;
    if (drain && c->mode == LN_MODE_PAUSED)
        return ln_err_set(err, LN_EINVAL, "channel %s is paused: lunate resume %s first", c->name,
                          c->name);
    ln_channel_halt_off(
        c); /* a drain that goes on: its timer must not be made anew while it runs */
    c->halt = drain ? LN_HALT_DRAIN : LN_HALT_STOP;
    c->halt_until_us = ln_mono_us() + (int64_t)(grace_s * 1e6);
    c->deaf = false;
    ln_source_quiet(c->source);
    if (!drain)
        keep_mode(c);
    evtimer_assign(&c->halt_timer, c->hub->base, on_look, c);
    on_look(-1, 0, c);
    return LN_OK;
}

void ln_channel_halt_off(struct ln_channel *c)
{
    if (c->halt == LN_HALT_NONE)
        return;
    c->halt = LN_HALT_NONE;
    evtimer_del(&c->halt_timer);
}
