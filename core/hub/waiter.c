/* Senders that wait for more than their message's receipt: ack = "transform" and "delivery". In
 * order of the messages, since results come in that order. */
#include <stdio.h>

#include "hub/work.h"

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

void ln_waiter_add(struct ln_work *w, uint64_t seq, struct ln_owed *owed, unsigned part)
{
    if (waiter_room(w) != LN_OK) {
        ln_owed_settle(owed, part, LN_ACK_AR, "receiver is out of memory");
        return;
    }
    w->waiter[w->nwaiter++] = (struct ln_waiter){.seq = seq, .owed = owed, .part = part};
}

static void settle_waiter(struct ln_waiter *x)
{
    x->owed->part[x->part].errors = x->errors;
    x->errors = NULL;
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

void ln_waiter_answer(struct ln_channel *c, const struct ln_entry *e)
{
    struct ln_waiter *x = waiter_of(&c->work, e->seq);
    if (!x)
        return;
    x->code = e->code;
    x->processed = true;
    snprintf(x->text, sizeof x->text, "%s", e->text);
    x->errors = e->errors ? strdup(e->errors) : NULL;
    for (unsigned i = 0; i < e->nout && c->conf->ack == LN_ACK_DELIVERY; i++)
        x->remaining += e->out[i].dest != NULL;
    if (x->remaining == 0)
        settle_waiter(x);
    drop_settled(&c->work);
}

void ln_waiter_dest_done(struct ln_channel *c, uint64_t seq, bool sent, const char *text)
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

void ln_waiter_halted(struct ln_channel *c, uint64_t seq)
{
    struct ln_waiter *x = waiter_of(&c->work, seq);
    if (!x)
        return;
    x->code = LN_ACK_AE;
    snprintf(x->text, sizeof x->text, "channel %s stopped at this message", c->name);
    settle_waiter(x);
    drop_settled(&c->work);
}
