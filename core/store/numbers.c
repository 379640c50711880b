#include "store/numbers.h"
#include "store/version_key.h"

#include <stdlib.h>

struct ln_dest_state *ln_numbers_dest(struct ln_numbers *n, uint16_t id)
{
    if (id == 0)
        return NULL;
    if (id > n->s.ndest) {
        struct ln_dest_state *d = realloc(n->dest, (size_t)id * sizeof *d);
        if (!d)
            return NULL;
        memset(d + n->s.ndest, 0, (id - n->s.ndest) * sizeof *d);
        for (unsigned i = n->s.ndest; i < id; i++)
            d[i].id = (uint16_t)(i + 1);
        n->s.dest = n->dest = d;
        n->s.ndest = id;
    }
    return &n->dest[id - 1];
}

int ln_numbers_write(const struct ln_numbers *n, struct ln_span runs, struct ln_buf *out)
{
    const struct ln_channel_state *s = &n->s;
    if (ln_buf_reserve(out, LN_RECORD_HEAD + 24 * 10 + runs.len + LN_NAME_MAX +
                                (size_t)s->ndest * (10 * 10 + LN_NAME_MAX)) != LN_OK)
        return LN_ENOMEM;
    char *at = out->data + out->len;
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_enc_bytes(&e, runs);
    ln_enc_bytes(&e, ln_span_str(s->name));
    const uint64_t nums[] = {s->first_seq, s->next_seq, s->cursor,    s->attempts, s->mode,
                             s->received,  s->filtered, s->processed, s->errors,   s->parked,
                             s->rejected,  s->bytes,    n->kept,      n->last_pos, s->ndest};
    for (size_t i = 0; i < sizeof nums / sizeof nums[0]; i++)
        ln_enc_num(&e, nums[i]);
    for (unsigned i = 0; i < s->ndest; i++) {
        const struct ln_dest_state *d = &n->dest[i];
        const uint64_t each[] = {d->held, d->cursor.seq, d->cursor.n, d->queued,
                                 d->sent, d->parked,     d->skipped,  d->filtered};
        ln_enc_bytes(&e, ln_span_str(d->name));
        for (size_t j = 0; j < sizeof each / sizeof each[0]; j++)
            ln_enc_num(&e, each[j]);
    }
    ln_version_run_put(&e, &n->run);
    out->len += (size_t)(e.p - at);
    return LN_OK;
}

static bool read_name(struct ln_dec *d, char *to)
{
    struct ln_span s = ln_dec_bytes(d);
    if (s.len > LN_NAME_MAX)
        return false;
    memcpy(to, s.ptr, s.len);
    to[s.len] = 0;
    return true;
}

static int read_dest(struct ln_dec *d, struct ln_dest_state *t)
{
    if (!read_name(d, t->name))
        return LN_EPARSE;
    t->held = ln_dec_num(d) != 0;
    t->cursor.seq = ln_dec_num(d);
    t->cursor.n = (uint32_t)ln_dec_num(d);
    t->queued = ln_dec_num(d);
    t->sent = ln_dec_num(d);
    t->parked = ln_dec_num(d);
    t->skipped = ln_dec_num(d);
    t->filtered = ln_dec_num(d);
    return d->bad ? LN_EPARSE : LN_OK;
}

/* Stores from before there were versions have none. */
static int read_run(struct ln_dec *d, struct ln_version_run *r)
{
    *r = (struct ln_version_run){0};
    return d->p == d->end ? LN_OK : ln_version_run_take(d, r);
}

int ln_numbers_runs(struct ln_span rec, struct ln_span *runs)
{
    struct ln_span body;
    uint64_t total;
    int rc = ln_record_open(rec, &body, &total);
    if (rc != LN_OK)
        return rc;
    struct ln_dec d = ln_dec_of(body);
    *runs = ln_dec_bytes(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

int ln_numbers_read(struct ln_span rec, uint32_t id, struct ln_numbers *n, struct ln_span *runs)
{
    struct ln_span body;
    uint64_t total;
    int rc = ln_record_open(rec, &body, &total);
    if (rc != LN_OK)
        return rc;
    struct ln_dec d = ln_dec_of(body);
    struct ln_channel_state *s = &n->s;
    s->id = id;
    *runs = ln_dec_bytes(&d);
    if (!read_name(&d, s->name))
        return LN_EPARSE;
    s->first_seq = ln_dec_num(&d);
    s->next_seq = ln_dec_num(&d);
    s->cursor = ln_dec_num(&d);
    s->attempts = (uint32_t)ln_dec_num(&d);
    s->mode = (uint8_t)ln_dec_num(&d);
    s->received = ln_dec_num(&d);
    s->filtered = ln_dec_num(&d);
    s->processed = ln_dec_num(&d);
    s->errors = ln_dec_num(&d);
    s->parked = ln_dec_num(&d);
    s->rejected = ln_dec_num(&d);
    s->bytes = ln_dec_num(&d);
    n->kept = ln_dec_num(&d);
    n->last_pos = ln_dec_num(&d);
    uint64_t ndest = ln_dec_num(&d);
    if (d.bad || ndest > UINT16_MAX || ndest > (size_t)(d.end - d.p))
        return LN_EPARSE;
    s->ndest = 0;
    free(n->dest);
    s->dest = n->dest = NULL;
    if (ndest && !ln_numbers_dest(n, (uint16_t)ndest))
        return LN_ENOMEM;
    for (unsigned i = 0; i < ndest; i++)
        if ((rc = read_dest(&d, &n->dest[i])) != LN_OK)
            return rc;
    return read_run(&d, &n->run);
}

void ln_numbers_fini(struct ln_numbers *n)
{
    free(n->dest);
    *n = (struct ln_numbers){0};
}
