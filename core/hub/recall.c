/* When the last message came in and went out before this start, so that `status` says so from the
 * first moment on. Looked for among the last messages of a channel, a bounded number: what lies
 * further back is left unknown. */
#include "hub/hub.h"

enum { LOOK_BACK = 100 };

/* next_seq: behind the channel's last message. */
void ln_recall_channel(struct ln_channel *c, uint64_t next_seq)
{
    struct ln_reader *r = c->hub->reader;
    struct ln_receipt receipt;
    if (c->last_in_us || ln_reader_begin(r) != LN_OK)
        return;
    for (uint64_t seq = next_seq; seq-- > 1 && next_seq - seq <= LOOK_BACK && !c->last_in_us;)
        if (ln_read_receipt(r, c->id, seq, &receipt) == LN_OK &&
            (receipt.kind == LN_R_RECEIVED || receipt.kind == LN_R_UNREADABLE ||
             receipt.kind == LN_R_DUPLICATE))
            c->last_in_us = receipt.time_us;
    ln_reader_end(r);
}

static int64_t sent_us(struct ln_dest *d, uint64_t seq)
{
    struct ln_reader *r = d->channel->hub->reader;
    struct ln_processed p;
    struct ln_outcome o;
    int64_t newest = 0;
    if (ln_read_result(r, d->channel->id, seq, &p) != LN_OK)
        return 0;
    for (uint32_t i = 0; i < p.nitems; i++)
        if (p.items[i].dest == d->id && ln_read_outcome(r, d->channel->id, seq, i, &o) == LN_OK &&
            o.state == LN_OUT_SENT && o.time_us > newest)
            newest = o.time_us;
    return newest;
}

/* d->read_pos: where its queue begins. */
void ln_recall_dest(struct ln_dest *d)
{
    struct ln_reader *r = d->channel->hub->reader;
    if (d->last_sent_us || ln_reader_begin(r) != LN_OK)
        return;
    uint64_t from = d->read_pos.seq + 1;
    for (uint64_t seq = from; seq-- > 1 && from - seq <= LOOK_BACK && !d->last_sent_us;)
        d->last_sent_us = sent_us(d, seq);
    ln_reader_end(r);
}
