/* What a channel waits for before it runs the script that it is to run: told to who reloads, and to
 * who looks at the status meanwhile. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/hub.h"

/* The old script goes on. */
static void before_switch(const struct ln_channel *c, char *text, size_t cap)
{
    size_t in_hand = c->work.given - c->work.answered;
    if (c->worker.state == LN_W_READY && !ln_worker_room(c->hub))
        snprintf(text, cap,
                 "the old script goes on until it is this one's turn: scripts are started a few at "
                 "a time");
    else if (in_hand)
        snprintf(text, cap, "swapped in as soon as the old script is done with the %s in hand",
                 in_hand == 1 ? "message" : "messages");
    else
        snprintf(text, cap, "swapped in as soon as the old script's results are on disk");
}

bool ln_channel_waits(const struct ln_channel *c, char *text, size_t cap)
{
    const struct ln_worker *w = &c->worker;
    if (c->removed || c->failed || c->mode == LN_MODE_STOPPED)
        return false;
    if (c->next)
        before_switch(c, text, cap);
    else if (w->state == LN_W_QUEUED)
        snprintf(text, cap, "its script waits for its turn to be started, messages wait meanwhile");
    else if (w->state == LN_W_STARTING)
        snprintf(text, cap, "its script has been starting for %.0f s, messages wait meanwhile",
                 (double)(ln_mono_us() - w->spawned_us) / 1e6);
    else if (c->prev)
        snprintf(text, cap, "its script is started again in a moment");
    else
        return false;
    return true;
}
