/* What moves a destination's queue: outcomes of its outputs, parked ones taken off, the cursor put
 * back. Committer thread; codes as in lmdb_write.c. */
#include "store/engine.h"

/* Whether output n of a message is one that this destination has to deliver. LN_ENOTFOUND: it is
 * not; LN_EPARSE: its result cannot be read. */
static int check_output(struct ln_committer *c, const struct ln_op *op, uint64_t pos)
{
    struct ln_span body;
    uint64_t total;
    struct ln_processed p;
    struct ln_stored_item it = {.item.dest = 0};
    struct ln_at at = {.db = LN_DB_RES, .pos = pos};
    int rc = ln_part_get(c->env, c->txn, &c->plain, at, &body, &total);
    if (rc != LN_OK)
        return rc;
    if (total > body.len || op->n >= 256)
        return LN_OK; /* not worth joining or reading that far */
    struct ln_dec d = ln_dec_of(body);
    if (ln_record_result_read(&d, &p) != LN_OK)
        return LN_EPARSE;
    if (op->n >= p.nitems)
        return LN_ENOTFOUND;
    for (uint32_t i = 0; i <= op->n; i++)
        if (ln_record_item_read(&d, &it) != LN_OK)
            return LN_EPARSE;
    return it.item.dest == op->dest && it.item.kind <= LN_I_SAME ? LN_OK : LN_ENOTFOUND;
}

/* Outputs of one message to a destination; 0 when its result cannot be read, either. */
static uint64_t count_outputs(struct ln_committer *c, uint64_t pos, uint16_t dest)
{
    struct ln_span body;
    uint64_t total, n = 0;
    struct ln_processed p;
    struct ln_stored_item it;
    struct ln_at at = {.db = LN_DB_RES, .pos = pos};
    if (ln_part_get(c->env, c->txn, &c->plain, at, &body, &total) != LN_OK)
        return 0;
    if (total > body.len) {
        c->input.len = 0;
        if (ln_buf_reserve(&c->input, total) != LN_OK ||
            ln_part_join(c->env, c->txn, &c->plain, at, body, total, c->input.data) != LN_OK)
            return 0;
        body = ln_span(c->input.data, (size_t)total);
    }
    struct ln_dec d = ln_dec_of(body);
    if (ln_record_result_read(&d, &p) != LN_OK)
        return 0;
    for (uint32_t i = 0; i < p.nitems && ln_record_item_read(&d, &it) == LN_OK; i++)
        n += it.item.dest == dest && it.item.kind <= LN_I_SAME;
    return n;
}

/* Nobody knows how many outputs the message had that is passed over: what is behind it is counted.
 */
static int pass_over(struct ln_committer *c, const struct ln_op *op, const struct ln_numbers *n,
                     struct ln_dest_state *d)
{
    MDB_cursor *cur;
    uint64_t seq = op->seq + 1, pos;
    int code = LN_OK, rc = ln_write_cursor(c, LN_DB_MAP, &cur);
    d->cursor = (struct ln_pos){seq, 0};
    d->queued = 0;
    d->skipped++;
    while (!rc && code == LN_OK && seq < n->s.cursor) {
        code = ln_map_from(cur, op->chan, ln_buf_span(&c->maps[op->chan - 1].runs), &seq, &pos);
        if (code == LN_OK && seq < n->s.cursor)
            d->queued += count_outputs(c, pos, op->dest);
        seq++;
    }
    return rc;
}

int ln_write_outcome(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    struct ln_dest_state *d = n && op->dest <= n->s.ndest ? ln_numbers_dest(n, op->dest) : NULL;
    struct ln_at at = {.db = LN_DB_OUT, .n = op->n, .last = true};
    uint8_t state = (uint8_t)op->data[LN_RECORD_HEAD];
    op->code = LN_EINVAL;
    if (!d || !d->queued || op->seq < d->cursor.seq ||
        (op->seq == d->cursor.seq && op->n < d->cursor.n))
        return 0;
    int rc = ln_write_place(c, op, &at.pos);
    if (rc)
        return rc;
    int is = op->code == LN_OK ? check_output(c, op, at.pos) : LN_ENOTFOUND;
    bool damaged = is != LN_OK && is != LN_ENOTFOUND && state == LN_OUT_SKIPPED;
    if (is != LN_OK && !damaged) {
        op->code = LN_EINVAL;
        return 0;
    }
    rc = ln_part_put(c->env, c->txn, at, ln_span(op->data, op->len), &n->s.bytes);
    if (rc || damaged)
        return rc ? rc : pass_over(c, op, n, d);
    d->cursor = (struct ln_pos){op->seq, op->n + 1};
    d->queued--;
    switch (state) {
    case LN_OUT_SENT: d->sent++; break;
    case LN_OUT_SKIPPED: d->skipped++; break;
    default: d->parked++; rc = ln_write_park(c, op->chan, op->seq, op->n, op->dest);
    }
    return rc;
}

int ln_write_unpark(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    struct ln_key k = ln_key_parked(op->chan, op->seq, op->n);
    MDB_val key = ln_key_val(&k), val;
    int rc = n ? mdb_get(c->txn, c->env->db[LN_DB_PARKED], &key, &val) : MDB_NOTFOUND;
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    struct ln_span body;
    uint64_t total;
    if (ln_record_open(ln_val_span(val), &body, &total) == LN_OK) {
        struct ln_dec d = ln_dec_of(body);
        uint16_t dest = (uint16_t)ln_dec_num(&d);
        if (op->n == LN_WHOLE)
            n->s.parked--;
        else if (dest && dest <= n->s.ndest)
            n->dest[dest - 1].parked--;
    }
    return mdb_del(c->txn, c->env->db[LN_DB_PARKED], &key, NULL);
}

int ln_write_move(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    struct ln_dest_state *d = n && op->dest <= n->s.ndest ? ln_numbers_dest(n, op->dest) : NULL;
    struct ln_move m;
    memcpy(&m, op->data, sizeof m);
    if (!d || d->cursor.seq != m.from.seq || d->cursor.n != m.from.n)
        op->code = LN_EBUSY;
    else if (m.to.seq < n->s.first_seq)
        op->code = LN_ENOTFOUND;
    if (op->code != LN_OK)
        return 0;
    d->cursor = m.to;
    d->queued += m.outputs;
    return 0;
}
