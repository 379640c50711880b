/* reposition: a destination's queue at another place. Forward, what is passed over is set aside
 * with the reason; back, what was delivered is queued again, in order, before what is queued now.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/control.h"

enum { UNPARK_MAX = 100000 };

struct move {
    struct ln_asker *asker;
    struct ln_dest *dest;
    struct ln_pos from, to;
    uint64_t outputs;
    char reason[400];
};

static void tell(struct ln_asker *k, const char *way, uint64_t outputs, uint64_t seq)
{
    struct ln_buf b = {0};
    ln_json_open(&b, '{');
    ln_json_key(&b, "ok");
    ln_json_bool(&b, true);
    ln_json_key(&b, "direction");
    ln_json_cstr(&b, way);
    ln_json_key(&b, "outputs");
    ln_json_int(&b, (int64_t)outputs);
    ln_json_key(&b, "seq");
    ln_json_int(&b, (int64_t)seq);
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

/* What is sent again no longer waits for somebody. */
static void unpark(const struct move *m)
{
    struct ln_channel *c = m->dest->channel;
    struct ln_reader *rd = c->hub->reader;
    struct ln_processed p;
    uint64_t seq = m->to.seq > 0 ? m->to.seq - 1 : 0;
    uint32_t n = LN_WHOLE;
    if (ln_reader_begin(rd) != LN_OK)
        return;
    for (int i = 0; i < UNPARK_MAX && ln_read_next_parked(rd, c->id, &seq, &n) == LN_OK; i++) {
        if (seq > m->from.seq || (seq == m->from.seq && n >= m->from.n))
            break;
        if (n != LN_WHOLE && ln_read_result(rd, c->id, seq, &p) == LN_OK && n < p.nitems &&
            p.items[n].dest == m->dest->id && p.items[n].kind != LN_I_PARKED)
            (void)!ln_store_unpark(c->hub->store, c->id, seq, n, NULL, NULL);
        ln_reader_forget(rd);
    }
    ln_reader_end(rd);
}

static void on_moved(void *arg, int code, uint64_t seq)
{
    struct move *m = arg;
    struct ln_dest *d = m->dest;
    struct ln_channel *c = d->channel;
    if (code == LN_OK) {
        ln_asker_note(c, seq, d->id, m->reason);
        tell(m->asker, "back", m->outputs, m->to.seq);
    } else {
        ln_asker_fail(m->asker, 1,
                      code == LN_EBUSY ? "%s/%s has moved meanwhile: try again"
                                       : "%s/%s: that message is no longer kept",
                      c->name, d->conf.name);
    }
    ln_dest_moved(d, code == LN_OK, m->to);
    ln_asker_let_go(m->asker);
    free(m);
}

static bool passed_over(struct ln_asker *k, void *arg, bool late)
{
    struct move *m = arg;
    if ((m->dest->skip_to || m->dest->uncommitted) && !late)
        return false;
    if (m->dest->skip_to)
        ln_asker_fail(k, 1, "%llu passed over so far, it goes on",
                      (unsigned long long)m->dest->skipped);
    else
        tell(k, "forward", m->dest->skipped, m->to.seq);
    return true;
}

static void refuse(struct ln_asker *k, const struct ln_dest *d, int rc)
{
    ln_asker_fail(k, 1,
                  rc == LN_EBUSY
                      ? "%s/%s has to stand still: lunate hold %s/%s first, and wait for "
                        "what is on its way"
                      : "%s/%s: out of memory",
                  d->channel->name, d->conf.name, d->channel->name, d->conf.name);
}

/* What the asker has counted is no longer so. */
static bool has_moved(const struct ln_dest *d, const struct move *m)
{
    struct ln_channel_state cs;
    if (d->uncommitted || ln_store_channel_state(d->channel->hub->store, d->channel->id, &cs))
        return false; /* it does not stand still: refused for that */
    const struct ln_pos at = ln_status_dest(&cs, d->id)->cursor;
    return at.seq != m->from.seq || at.n != m->from.n || m->to.seq < cs.first_seq;
}

/* reposition CHANNEL/DEST SEQ FROM_SEQ FROM_N OUTPUTS REASON. The asker has seen the cursor at FROM
 * and counted the outputs between SEQ and there: these do not change. */
void ln_verb_reposition(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_dest *d = ln_asker_dest(k, word[1]);
    struct move *m = d ? calloc(1, sizeof *m) : NULL;
    (void)n;
    if (!d)
        return;
    if (!m || !word[6][0]) {
        ln_asker_fail(k, 2, "reposition needs a reason: --reason TEXT");
        free(m);
        return;
    }
    *m = (struct move){.asker = k, .dest = d};
    m->to.seq = strtoull(word[2], NULL, 10);
    m->from = (struct ln_pos){strtoull(word[3], NULL, 10), (uint32_t)strtoul(word[4], NULL, 10)};
    m->outputs = strtoull(word[5], NULL, 10);
    snprintf(m->reason, sizeof m->reason, "%s put back to here: %.300s", d->conf.name, word[6]);
    ln_log(LN_WARN, "control", "reposition", "channel=%s dest=%s to=%llu", d->channel->name,
           d->conf.name, (unsigned long long)m->to.seq);
    if (has_moved(d, m)) {
        ln_asker_fail(k, 1, "%s/%s has moved meanwhile: try again", d->channel->name, d->conf.name);
        free(m);
        return;
    }
    bool back = m->to.seq < m->from.seq || (m->to.seq == m->from.seq && m->from.n > 0);
    int rc = back ? ln_dest_move(d) : ln_dest_skip_to(d, m->to.seq, word[6]);
    if (rc == LN_OK && back) {
        struct ln_store *store = k->hub->store;
        ln_store_begin(store); /* what goes out again is not parked, whatever happens meanwhile */
        rc = ln_store_move_back(store, d->channel->id, d->id, m->from, m->to, m->outputs, on_moved,
                                m);
        if (rc == LN_OK)
            unpark(m);
        ln_store_end(store);
        if (rc != LN_OK)
            ln_dest_moved(d, false, m->to);
    }
    if (rc != LN_OK) {
        refuse(k, d, rc);
        free(m);
    } else if (back) {
        ln_asker_hold(k);
    } else {
        ln_asker_wait(k, 600, passed_over, m);
    }
}
