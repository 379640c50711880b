/* Verbs on destinations and their queues. */
#include <stdio.h>

#include "base/json.h"
#include "hub/control.h"

void ln_verb_dest(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_dest *d = ln_asker_dest(k, word[1]);
    (void)n;
    if (!d)
        return;
    ln_dest_hold(d, strcmp(word[0], "hold") == 0);
    ln_log(LN_WARN, "control", word[0], "channel=%s dest=%s", d->channel->name, d->conf.name);
    struct ln_buf b = {0};
    ln_asker_ok(&b, "state", ln_dest_state(d));
    ln_asker_kept(k, &b);
}

/* head CHANNEL/DEST: which output is the first, as step and skip take it; "": none */
void ln_verb_head(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_dest *d = ln_asker_dest(k, word[1]);
    char text[48] = "";
    (void)n;
    if (!d)
        return;
    struct ln_pos at = ln_dest_head(d);
    if (at.seq)
        snprintf(text, sizeof text, "%llu.%u", (unsigned long long)at.seq, at.n);
    ln_asker_done(k, "head", text);
}

/* Whether the head is what the operator has looked at: SEQ or SEQ.N; k is told when it is not. Two
 * who do the same at once mean the same message: the second must not act on the next one. */
static bool still_first(struct ln_asker *k, struct ln_dest *d, const char *word)
{
    char *rest;
    const char *name = d->channel->name, *dest = d->conf.name;
    unsigned long long seq = strtoull(word, &rest, 10), n = 0;
    bool exact = *rest == '.';
    if (exact)
        n = strtoull(rest + 1, &rest, 10);
    struct ln_pos at = ln_dest_head(d);
    if (!seq || *rest)
        ln_asker_fail(k, 2, "%.40s is no number of a message", word);
    else if (at.seq == seq && (!exact || at.n == n))
        return true;
    else if (!at.seq)
        ln_asker_fail(k, 1,
                      "%s/%s: nothing is done, %s/%llu is no longer queued, nor is any other: it "
                      "was sent, or "
                      "somebody was faster (lunate show %s/%llu)",
                      name, dest, name, seq, name, seq);
    else
        ln_asker_fail(
            k, 1,
            "%s/%s: nothing is done, the first is %s/%llu and not%s %s/%llu: that one was sent, or "
            "somebody was faster (lunate show %s/%llu)",
            name, dest, name, (unsigned long long)at.seq,
            at.seq == seq ? " the same output of" : "", name, seq, name, seq);
    return false;
}

/* {"ok":true,"MEMBER":SEQ,"message":"CHANNEL/SEQ","text":... when it is on disk */
static void tell(struct ln_asker *k, const char *channel, const char *member, uint64_t seq,
                 const char *text)
{
    struct ln_buf b = {0};
    char message[LN_CONF_NAME + 32];
    snprintf(message, sizeof message, "%s/%llu", channel, (unsigned long long)seq);
    ln_asker_ok(&b, NULL, NULL);
    ln_json_key(&b, member);
    ln_json_int(&b, (int64_t)seq);
    ln_json_key(&b, "message");
    ln_json_cstr(&b, message);
    ln_json_key(&b, "text");
    ln_json_cstr(&b, text);
    ln_asker_kept(k, &b);
}

/* ---- step ------------------------------------------------------------------------------------ */

static const double STEP_WAIT_S = 3;

struct step {
    struct ln_dest *dest;
};

static bool step_ended(struct ln_asker *k, void *arg, bool late)
{
    struct ln_dest *d = ((struct step *)arg)->dest;
    unsigned long long seq = d->step_seq;
    char text[300];
    if (d->step && !late)
        return false;
    if (d->step) {
        snprintf(text, sizeof text, "on its way, no reply yet: see lunate show %.64s/%llu",
                 d->channel->name, seq);
        tell(k, d->channel->name, "seq", seq, text);
        return true;
    }
    snprintf(text, sizeof text, "%s%s%s",
             d->step_end == LN_STEP_SENT     ? "sent"
             : d->step_end == LN_STEP_PARKED ? "parked"
                                             : "not sent, it stays the first",
             d->step_text[0] ? ": " : "", d->step_text);
    if (d->step_end == LN_STEP_SENT)
        tell(k, d->channel->name, "seq", seq, text);
    else
        ln_asker_fail(k, 1, "%s/%llu to %s: %s", d->channel->name, seq, d->conf.name, text);
    return true;
}

/* step CHANNEL/DEST [HEAD]: one try of the first message; the answer is what came of it, or within
 * STEP_WAIT_S that it is on its way. */
void ln_verb_step(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_dest *d = ln_asker_dest(k, word[1]);
    if (!d)
        return;
    if (!d->held) {
        ln_asker_fail(k, 1, "%.130s is not held: lunate hold %.130s first", word[1], word[1]);
        return;
    }
    if (n > 2 && !still_first(k, d, word[2]))
        return;
    struct step *arg = malloc(sizeof *arg);
    int rc = arg ? ln_dest_step(d) : LN_ENOMEM;
    if (rc != LN_OK) {
        ln_asker_fail(k, 1,
                      rc == LN_ENOTFOUND ? "%.130s has nothing queued"
                      : rc == LN_EBUSY   ? "%.130s: the channel is stopped, or sends already"
                                         : "%.130s: out of memory",
                      word[1]);
        free(arg);
        return;
    }
    arg->dest = d;
    ln_log(LN_WARN, "control", "step", "channel=%s dest=%s seq=%llu", d->channel->name,
           d->conf.name, (unsigned long long)d->step_seq);
    ln_asker_wait(k, STEP_WAIT_S, step_ended, arg);
}

/* What the script has not seen is passed over only when it cannot be read. */
static void skip_in_channel(struct ln_asker *k, const char *name, const char *reason)
{
    struct ln_channel *c = ln_asker_channel(k, name);
    uint64_t seq = 0;
    if (!c)
        return;
    int rc = ln_work_skip(c, reason, &seq);
    if (rc == LN_OK)
        tell(k, c->name, "skipped", seq, "passed over, it is damaged");
    else
        ln_asker_fail(k, 1,
                      rc == LN_ENOTFOUND ? "%s: no damaged message stands before the script; for a "
                                           "destination's queue give CHANNEL/DEST"
                                         : "%s: out of memory",
                      c->name);
}

/* skip CHANNEL/DEST REASON [HEAD]; skip CHANNEL REASON */
void ln_verb_skip(struct ln_asker *k, char **word, unsigned n)
{
    uint64_t seq;
    if (!word[2][0]) {
        ln_asker_fail(k, 2, "skip needs a reason: --reason TEXT");
        return;
    }
    if (!strchr(word[1], '/')) {
        skip_in_channel(k, word[1], word[2]);
        return;
    }
    struct ln_dest *d = ln_asker_dest(k, word[1]);
    if (!d || (n > 3 && !still_first(k, d, word[3])))
        return;
    int rc = ln_dest_skip(d, word[2], &seq);
    if (rc != LN_OK)
        ln_asker_fail(k, 1,
                      rc == LN_ENOTFOUND ? "%.130s has nothing queued"
                      : rc == LN_EBUSY   ? "%.130s is being repositioned: try again in a moment"
                                         : "%.130s: out of memory",
                      word[1]);
    else
        tell(k, d->channel->name, "skipped", seq, "parked");
}
