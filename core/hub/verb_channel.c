/* Verbs on channels. */
#include "hub/control.h"

#include <stdio.h>

#include "base/json.h"

/* start, resume, pause CHANNEL */
void ln_verb_mode(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_err err = {0};
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    bool pause = strcmp(word[0], "pause") == 0;
    const char *now = pause ? "paused" : "running";
    (void)n;
    if (!c)
        return;
    if (c->mode == LN_MODE_STOPPED && strcmp(word[0], "start") != 0) { /* it would open the port */
        ln_asker_fail(k, 1, "%s is stopped, not %s: lunate start %s opens it again", c->name,
                      pause ? "running" : "paused", c->name);
        return;
    }
    if (ln_channel_set_mode(c, pause ? LN_MODE_PAUSED : LN_MODE_RUN, &err) != LN_OK) {
        ln_asker_fail(k, 1, "%s", err.text);
        return;
    }
    ln_log(LN_WARN, "control", "mode", "channel=%s now=%s", c->name, now);
    struct ln_buf b = {0};
    ln_asker_ok(&b, "state", now);
    ln_asker_kept(k, &b);
}

struct halt {
    struct ln_channel *channel;
    bool waits; /* for the disk, too: a stop that was answered outlives a crash */
};

/* What a drain still waits for, for people. */
static void left_over(const struct ln_channel *c, char *text, size_t cap)
{
    struct ln_channel_state cs = {0};
    uint64_t queued = 0;
    (void)!ln_store_channel_state(c->hub->store, c->id, &cs);
    for (unsigned i = 0; i < cs.ndest; i++)
        queued += cs.dest[i].queued;
    int n = snprintf(text, cap, "%llu to process, %llu to deliver",
                     (unsigned long long)(cs.next_seq > cs.cursor ? cs.next_seq - cs.cursor : 0),
                     (unsigned long long)queued);
    if (c->work.appending > 0 && n > 0 && (size_t)n < cap)
        snprintf(text + n, cap - (size_t)n, ", %zu on their way to the disk", c->work.appending);
}

static bool halted(struct ln_asker *k, void *arg, bool late)
{
    struct halt *h = arg;
    struct ln_channel *c = h->channel;
    struct ln_buf b = {0};
    char text[460];
    if (!late && (c->mode == LN_MODE_STOPPED ? h->waits && !c->halt_kept : c->halt != LN_HALT_NONE))
        return false;
    if (c->mode != LN_MODE_STOPPED) {
        left_over(c, text, sizeof text);
        ln_asker_fail(k, 1,
                      c->halt == LN_HALT_NONE ? "%s was started again meanwhile (%s)"
                                              : "%s drains on: %s; lunate stop or start ends that",
                      c->name, text);
        return true;
    }
    ln_json_open(&b, '{');
    ln_json_key(&b, "ok");
    ln_json_bool(&b, true);
    ln_json_key(&b, "state");
    ln_json_cstr(&b, "stopped");
    snprintf(text, sizeof text, "%s%s%s", c->halt_cut,
             h->waits && !c->halt_kept && c->halt_cut[0] ? "; " : "",
             h->waits && !c->halt_kept ? "the disk has not yet taken that it is stopped: an engine "
                                         "killed now would come up with it running"
                                       : "");
    ln_json_key(&b, "cut");
    ln_json_cstr(&b, text);
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
    return true;
}

/* stop, drain CHANNEL [SECONDS]: the grace period of a stop; how long a drain is waited for */
void ln_verb_halt(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_err err = {0};
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    bool drain = strcmp(word[0], "drain") == 0;
    double seconds = n > 2 ? strtod(word[2], NULL) : drain ? 60 : 5;
    struct halt *arg = c ? malloc(sizeof *arg) : NULL;
    if (!c)
        return;
    if (!arg || !(seconds >= 0 && seconds <= 86400)) {
        ln_asker_fail(k, 2, "%.40s is no number of seconds from 0 to 86400", n > 2 ? word[2] : "?");
        free(arg);
        return;
    }
    bool stopped = c->mode == LN_MODE_STOPPED;
    if (ln_channel_halt(c, drain, seconds, &err) != LN_OK) {
        ln_asker_fail(k, 1, "%s", err.text);
        free(arg);
        return;
    }
    ln_log(LN_WARN, "control", word[0], "channel=%s seconds=%.3g", c->name, seconds);
    *arg = (struct halt){c, c->halt != LN_HALT_NONE || !stopped};
    ln_asker_wait(k, seconds + (drain ? 0 : 1), halted, arg);
}
