/* Applying operations to a transaction: committer thread. LMDB's codes are returned; what is wrong
 * with one operation alone is noted in it (op->code), and the others go on. */
#include <errno.h>
#include <stdlib.h>

#include "store/engine.h"
#include "store/version_write.h"
#include "store/seal.h"

struct ln_numbers *ln_write_chan(struct ln_committer *c, uint32_t id)
{
    return id && id <= c->nchans ? &c->chans[id - 1] : NULL;
}

static struct ln_numbers *make_chan(struct ln_committer *c, uint32_t id)
{
    if (id > c->chans_cap) {
        unsigned cap = id < 16 ? 16 : id * 2;
        struct ln_numbers *p = realloc(c->chans, cap * sizeof *p);
        if (!p)
            return NULL;
        memset(p + c->chans_cap, 0, (cap - c->chans_cap) * sizeof *p);
        c->chans = p;
        struct ln_map *m = realloc(c->maps, cap * sizeof *m);
        if (!m)
            return NULL;
        memset(m + c->chans_cap, 0, (cap - c->chans_cap) * sizeof *m);
        c->maps = m;
        c->chans_cap = cap;
    }
    while (c->nchans < id) {
        struct ln_numbers *n = &c->chans[c->nchans++];
        n->s =
            (struct ln_channel_state){.id = c->nchans, .first_seq = 1, .next_seq = 1, .cursor = 1};
        n->s.dest = n->dest;
        n->kept = n->last_pos = 0;
        n->run = (struct ln_version_run){0};
        (void)!ln_map_set(&c->maps[n->s.id - 1], ln_span("", 0));
    }
    return &c->chans[id - 1];
}

struct ln_numbers *ln_write_touch(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_chan(c, op->chan);
    if (!n)
        op->code = LN_EINVAL;
    else
        n->dirty = n->unpublished = true;
    return n;
}

int ln_write_cursor(struct ln_committer *c, enum ln_db db, MDB_cursor **cur)
{
    int rc = c->cur[db] ? 0 : mdb_cursor_open(c->txn, c->env->db[db], &c->cur[db]);
    *cur = c->cur[db];
    return rc;
}

int ln_write_place(struct ln_committer *c, struct ln_op *op, uint64_t *pos)
{
    MDB_cursor *cur;
    int rc = ln_write_cursor(c, LN_DB_MAP, &cur);
    if (!rc)
        op->code = ln_map_at(cur, op->chan, ln_buf_span(&c->maps[op->chan - 1].runs), op->seq, pos);
    return rc;
}

/* ---- loading ------------------------------------------------------------------------------- */

/* What stands in no index block yet. */
static int load_tail(struct ln_committer *c)
{
    MDB_cursor *cur;
    struct ln_index_state st;
    int rc = ln_index_state(c->env, c->txn, &st);
    if (rc || (rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_LOG], &cur)) != 0)
        return rc;
    for (unsigned k = 0; k < LN_INDEX_KINDS; k++)
        c->tail.n[k] = 0;
    c->indexed = st.end;
    struct ln_key k = ln_key_pos(st.end);
    MDB_val key = ln_key_val(&k), val;
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; !rc; rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        struct ln_span body;
        struct ln_receipt r;
        uint64_t total, pos = ln_get_u64(key.mv_data);
        struct ln_seal *seal = pos < ln_vault_from(c->env->vault) ? NULL : c->seal;
        if (ln_part_open(c->txn, &c->plain, LN_DB_LOG, key, val, &body, &total) != LN_OK ||
            ln_record_receipt_read(body, &r) != LN_OK)
            continue;
        if (ln_index_add(&c->tail, c->env, c->txn, seal, pos, &r) != LN_OK) {
            rc = ENOMEM;
            break;
        }
    }
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int load_chan(struct ln_committer *c, MDB_val key, MDB_val val)
{
    struct ln_span runs, body;
    uint64_t total;
    uint32_t id = ln_get_u32(key.mv_data);
    struct ln_numbers *n = make_chan(c, id);
    if (!n)
        return ENOMEM;
    /* What an engine goes on from is what an engine wrote. */
    struct ln_sealed s;
    if (ln_part_open(c->txn, &c->plain, LN_DB_CUR, key, val, &body, &total) != LN_OK ||
        (ln_env_sealed(c->env, c->txn) && ln_record_sealed(ln_val_span(val), &s) != LN_OK))
        return MDB_CORRUPTED;
    int code = ln_numbers_read(ln_val_span(val), id, n, &runs);
    if (code == LN_OK)
        code = ln_map_set(&c->maps[id - 1], runs);
    if (code != LN_OK)
        return code == LN_ENOMEM ? ENOMEM : MDB_CORRUPTED;
    n->dirty = false;
    n->unpublished = true;
    if (n->last_pos >= c->next_pos)
        c->next_pos = n->last_pos + 1;
    return 0;
}

int ln_write_load(struct ln_committer *c)
{
    MDB_cursor *cur;
    MDB_val key, val;
    int rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_CUR], &cur);
    if (rc)
        return rc;
    c->nchans = 0;
    c->next_pos = 1;
    c->merging = true;
    while (!rc && (rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) == 0)
        rc = load_chan(c, key, val);
    mdb_cursor_close(cur);
    if (rc == MDB_NOTFOUND)
        rc = load_tail(c);
    c->loaded = rc == 0;
    return rc;
}

/* ---- operations ---------------------------------------------------------------------------- */

static int put(struct ln_committer *c, enum ln_db db, struct ln_key k, struct ln_span rec)
{
    MDB_val key = ln_key_val(&k);
    return ln_part_seal(c->env, c->txn, db, &key, rec, 0);
}

int ln_write_park(struct ln_committer *c, uint32_t chan, uint64_t seq, uint32_t n, uint16_t dest)
{
    char rec[16];
    struct ln_enc e = {rec};
    ln_enc_head(&e, 0);
    ln_enc_num(&e, dest);
    return put(c, LN_DB_PARKED, ln_key_parked(chan, seq, n), ln_span(rec, (size_t)(e.p - rec)));
}

static int name_chan(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = make_chan(c, op->chan);
    if (!n)
        return ENOMEM;
    memcpy(n->s.name, op->data, op->len);
    n->s.name[op->len] = 0;
    n->dirty = n->unpublished = true;
    return 0;
}

static int name_dest(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    struct ln_dest_state *d = n ? ln_numbers_dest(n, op->dest) : NULL;
    if (!d)
        return n ? ENOMEM : 0;
    memcpy(d->name, op->data, op->len);
    d->name[op->len] = 0;
    d->cursor = (struct ln_pos){.seq = n->s.cursor}; /* nothing before can be for it */
    return 0;
}

static int append(struct ln_committer *c, struct ln_op *op)
{
    struct ln_receipt r;
    struct ln_numbers *n = ln_write_touch(c, op);
    if (!n)
        return 0;
    struct ln_at at = {LN_DB_LOG, c->next_pos, 0, true};
    struct ln_map *m = &c->maps[op->chan - 1];
    int rc = ln_part_put(c->env, c->txn, at, ln_span(op->data, op->len), &n->s.bytes);
    if (!rc && ln_map_full(m))
        rc = ln_map_flush(c->env, c->txn, op->chan, m);
    if (rc)
        return rc;
    if (ln_map_add(m, op->seq, at.pos) != LN_OK)
        return ENOMEM;
    c->next_pos++;
    n->last_pos = at.pos;
    n->s.next_seq = op->seq + 1;
    n->s.received++;
    n->kept++;
    c->appended++;
    struct ln_span body = ln_span(op->data + LN_RECORD_HEAD, op->len - LN_RECORD_HEAD);
    if (ln_record_receipt_read(body, &r) == LN_OK &&
        ln_index_add(&c->tail, c->env, c->txn, c->env->out, at.pos, &r) != LN_OK)
        return ENOMEM;
    return 0;
}

/* A result is for the first message without one: anything else would pass a message over. */
static int check_turn(struct ln_committer *c, struct ln_op *op, const struct ln_numbers *n)
{
    MDB_cursor *cur;
    uint64_t seq = n->s.cursor, pos;
    op->code = op->seq < n->s.cursor || op->seq >= n->s.next_seq ? LN_EINVAL : LN_OK;
    if (op->code != LN_OK || op->seq == n->s.cursor)
        return 0;
    int rc = ln_write_cursor(c, LN_DB_MAP, &cur);
    if (rc)
        return rc;
    int code = ln_map_from(cur, op->chan, ln_buf_span(&c->maps[op->chan - 1].runs), &seq, &pos);
    if (code != LN_OK || seq != op->seq)
        op->code = code == LN_OK || code == LN_ENOTFOUND ? LN_EINVAL : code;
    return 0;
}

/* The input as received, for the difference; empty when it can't be read: then all is kept plain.
 */
static struct ln_span input_of(struct ln_committer *c, struct ln_at at, struct ln_span body,
                               uint64_t total)
{
    struct ln_receipt r;
    if (total > body.len) {
        c->input.len = 0;
        if (ln_buf_reserve(&c->input, total) != LN_OK ||
            ln_part_join(c->env, c->txn, &c->plain, at, body, total, c->input.data) != LN_OK)
            return ln_span("", 0);
        body = ln_span(c->input.data, (size_t)total);
    }
    return ln_record_receipt_read(body, &r) == LN_OK ? r.raw : ln_span("", 0);
}

static int count_item(struct ln_committer *c, struct ln_op *op, struct ln_numbers *n, uint32_t i,
                      const struct ln_item *it)
{
    struct ln_dest_state *d = it->dest <= n->s.ndest ? ln_numbers_dest(n, it->dest) : NULL;
    if (!d)
        return 0;
    switch (it->kind) {
    case LN_I_FILTERED: d->filtered++; return 0;
    case LN_I_FORWARDED: d->sent++; return 0;
    case LN_I_PARKED: d->parked++; return ln_write_park(c, op->chan, op->seq, i, it->dest);
    default:
        /* A queue that was empty begins here: what lies between need not be looked at again. */
        if (d->queued++ == 0)
            d->cursor = (struct ln_pos){op->seq, i};
        return 0;
    }
}

static int write_kv(struct ln_committer *c, struct ln_op *op)
{
    struct ln_dec d = ln_dec_of(ln_span(op->data + op->data_len, op->len - op->data_len));
    int rc = 0;
    while (d.p < d.end && !rc) {
        unsigned char k[4 + 400];
        bool deleted = ln_dec_u8(&d);
        struct ln_span name = ln_dec_bytes(&d), rec = ln_dec_bytes(&d);
        struct ln_key chan = ln_key_chan(op->chan);
        memcpy(k, chan.b, 4);
        memcpy(k + 4, name.ptr, name.len);
        MDB_val key = {4 + name.len, k};
        if (c->env->out && deleted)
            rc = ln_seal_del_kv(c->seal, c->txn, op->chan, name);
        else if (c->env->out)
            rc = ln_seal_put_kv(c->seal, c->txn, op->chan, name, rec, &c->scratch);
        else if (deleted)
            rc = mdb_del(c->txn, c->env->db[LN_DB_KV], &key, NULL);
        else
            rc = ln_part_seal(c->env, c->txn, LN_DB_KV, &key, rec, 0);
        if (deleted && rc == MDB_NOTFOUND)
            rc = 0;
    }
    return rc;
}

/* failed: a destination's own functions did, and that output is parked. Such a message counts once,
 * as an error, whatever went to others: its sender is not answered AA either. */
static int count_state(struct ln_committer *c, struct ln_op *op, struct ln_numbers *n,
                       uint8_t state, bool failed)
{
    switch (state) {
    case LN_S_DONE: *(failed ? &n->s.errors : &n->s.processed) += 1; break;
    case LN_S_FILTERED: n->s.filtered++; break;
    case LN_S_REJECTED: n->s.rejected++; break;
    default:
        n->s.errors++;
        n->s.parked++;
        return ln_write_park(c, op->chan, op->seq, LN_WHOLE, 0);
    }
    return 0;
}

static int result(struct ln_committer *c, struct ln_op *op)
{
    struct ln_at at = {.db = LN_DB_LOG, .last = true};
    struct ln_span body, queued = ln_span(op->data + LN_RECORD_HEAD, op->data_len - LN_RECORD_HEAD);
    struct ln_processed p;
    uint64_t total;
    bool failed = false;
    struct ln_numbers *n = ln_write_touch(c, op);
    if (!n)
        return 0;
    int rc = check_turn(c, op, n);
    if (!rc && op->code == LN_OK)
        rc = ln_write_place(c, op, &at.pos);
    if (rc || op->code != LN_OK)
        return rc;
    /* A damaged input is no reason to lose its result, which came of a sound copy. */
    int code = ln_part_get(c->env, c->txn, &c->plain, at, &body, &total);
    struct ln_span input = ln_span("", 0);
    if (code == LN_OK && queued.len > 64)
        input = input_of(c, at, body, total);
    c->scratch.len = 0;
    if (ln_record_result_pack(queued, input, &c->scratch) != LN_OK)
        return ENOMEM;
    at.db = LN_DB_RES;
    rc = ln_part_put(c->env, c->txn, at, ln_buf_span(&c->scratch), &n->s.bytes);
    struct ln_dec d = ln_dec_of(queued);
    if (ln_record_result_read(&d, &p) != LN_OK)
        return EINVAL;
    for (uint32_t i = 0; i < p.nitems && !rc; i++) {
        struct ln_stored_item it;
        if (ln_record_item_read(&d, &it) != LN_OK)
            return EINVAL;
        failed = failed || it.item.kind == LN_I_PARKED;
        rc = count_item(c, op, n, i, &it.item);
    }
    if (!rc)
        rc = count_state(c, op, n, p.state, failed);
    if (!rc)
        rc = write_kv(c, op);
    if (!rc && p.script)
        rc = ln_version_ran(c, n, op->seq, p.script, p.time_us);
    n->s.cursor = op->seq + 1;
    n->s.attempts = 0;
    return rc;
}

static int event(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    struct ln_at at = {.db = LN_DB_EV};
    MDB_cursor *cur;
    MDB_val key, val;
    if (!n)
        return 0;
    int rc = ln_write_place(c, op, &at.pos);
    if (rc || op->code != LN_OK || (rc = ln_write_cursor(c, LN_DB_EV, &cur)) != 0)
        return rc;
    struct ln_key own = ln_key_pos(at.pos), k = ln_key_pos(at.pos + 1);
    key = ln_key_val(&k);
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    rc = mdb_cursor_get(cur, &key, &val, rc ? MDB_LAST : MDB_PREV);
    if (!rc && memcmp(key.mv_data, own.b, own.len) == 0)
        at.n = ln_get_u32((char *)key.mv_data + own.len) + 1;
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if ((uint8_t)op->data[LN_RECORD_HEAD] == LN_EV_ATTEMPT)
        n->s.attempts++;
    return ln_part_put(c->env, c->txn, at, ln_span(op->data, op->len), &n->s.bytes);
}

static int set(struct ln_committer *c, struct ln_op *op)
{
    struct ln_numbers *n = ln_write_touch(c, op);
    if (!n)
        return 0;
    if (op->kind == LN_OP_MODE) {
        n->s.mode = (uint8_t)op->n;
    } else if (op->kind == LN_OP_HELD) {
        n->dest[op->dest - 1].held = op->n != 0;
    } else if (op->kind == LN_OP_ARCHIVED) {
        uint64_t below;
        memcpy(&below, op->data, sizeof below);
        n->archive = below != UINT64_MAX;
        n->archived = below;
        n->look_at_us = 0;
        c->trim_at_us = 0;
    } else {
        uint64_t limits[2];
        memcpy(limits, op->data, sizeof limits);
        n->max_age_s = limits[0];
        n->max_bytes = limits[1];
        n->look_at_us = 0;
        c->trim_at_us = 0;
    }
    return 0;
}

static int fence(struct ln_committer *c, struct ln_op *op)
{
    (void)c;
    (void)op;
    return 0;
}

int ln_write_apply(struct ln_committer *c, struct ln_batch *b)
{
    static int (*const verbs[])(struct ln_committer *, struct ln_op *) = {
        [LN_OP_CHANNEL] = name_chan,
        [LN_OP_DEST] = name_dest,
        [LN_OP_APPEND] = append,
        [LN_OP_RESULT] = result,
        [LN_OP_OUTCOME] = ln_write_outcome,
        [LN_OP_EVENT] = event,
        [LN_OP_UNPARK] = ln_write_unpark,
        [LN_OP_MODE] = set,
        [LN_OP_HELD] = set,
        [LN_OP_RETAIN] = set,
        [LN_OP_ARCHIVED] = set,
        [LN_OP_MOVE] = ln_write_move,
        [LN_OP_VERSION] = ln_version_put,
        [LN_OP_PIN] = ln_version_pin,
        [LN_OP_KEYS] = ln_write_rekey,
        [LN_OP_FENCE] = fence,
    };
    int rc = 0;
    for (struct ln_op *op = b->first; op && !rc; op = op->next) {
        if (op->settled)
            continue;
        op->code = LN_OK;
        rc = verbs[op->kind](c, op);
    }
    return rc;
}

int ln_write_numbers(struct ln_committer *c)
{
    int rc = 0;
    bool flush = c->tail.n[0] >= LN_INDEX_BLOCK || c->tail.n[1] >= LN_INDEX_BLOCK;
    if (flush)
        rc = ln_index_flush(c->env, c->txn, &c->tail, c->indexed = c->next_pos, &c->scratch);
    c->merging |= flush;
    /* Two steps a block keep up; a commit that fills blocks has thousands of messages to bear it.
     */
    for (unsigned i = flush ? 4 : 1; i > 0 && c->merging && !rc; i--)
        rc = ln_index_merge(c->env, c->txn, &c->scratch, &c->merging);
    for (unsigned i = 0; i < c->nchans && !rc; i++) {
        struct ln_numbers *n = &c->chans[i];
        if (!n->dirty)
            continue;
        c->scratch.len = 0;
        if (ln_numbers_write(n, ln_buf_span(&c->maps[i].runs), &c->scratch) != LN_OK)
            return ENOMEM;
        rc = put(c, LN_DB_CUR, ln_key_chan(n->s.id), ln_buf_span(&c->scratch));
        n->dirty = false;
    }
    return rc;
}
