/* Senders that wait for more than their message's receipt: ack = "transform" and "delivery". In
 * order of the messages, since results come in that order. */
#include <stdio.h>
#include <stdlib.h>

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
    free(x->awaited);
    x->awaited = NULL;
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

/* False: out of memory. */
static bool await_outputs(struct ln_waiter *x, const struct ln_entry *e)
{
    if (e->nout == 0)
        return true;
    x->awaited = calloc(e->nout, sizeof *x->awaited);
    for (unsigned i = 0; x->awaited && i < e->nout; i++)
        if (e->out[i].dest)
            x->awaited[x->remaining++] = (struct ln_awaited){e->out[i].dest->id, e->out[i].n};
    return x->awaited != NULL;
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
    if (c->conf->ack == LN_ACK_DELIVERY && !await_outputs(x, e)) {
        x->code = LN_ACK_AR; /* the message is kept, and goes out */
        snprintf(x->text, sizeof x->text, "receiver is out of memory");
    }
    if (x->remaining == 0)
        settle_waiter(x);
    drop_settled(&c->work);
}

/* Takes one off the list; false when it is not on it: a queue that was put back gives the same
 * output a second end. */
static bool is_awaited(struct ln_waiter *x, uint16_t dest, uint32_t n)
{
    for (unsigned i = 0; i < x->remaining; i++)
        if (x->awaited[i].dest == dest && x->awaited[i].n == n) {
            x->awaited[i] = x->awaited[--x->remaining];
            return true;
        }
    return false;
}

void ln_waiter_dest_done(struct ln_dest *d, struct ln_pos pos, bool sent, const char *text)
{
    struct ln_work *w = &d->channel->work;
    struct ln_waiter *x = w->nwaiter ? waiter_of(w, pos.seq) : NULL;
    if (!x || !x->processed || !is_awaited(x, d->id, pos.n))
        return;
    if (!sent && x->code == LN_ACK_AA) {
        x->code = LN_ACK_AE;
        snprintf(x->text, sizeof x->text, "%s", text);
    }
    if (x->remaining == 0)
        settle_waiter(x);
    drop_settled(w);
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
