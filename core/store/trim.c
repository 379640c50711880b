/* Retention: what is done, and too old or too much, goes in small bites, as part of a commit or
 * when there is nothing else to do. */
#include "store/engine.h"
#include "store/version_write.h"

enum {
    BITE_BYTES = 1 << 20,
    AGE_US = 2000 * 1000, /* how often a channel is looked at for old messages */
};

struct range {
    uint64_t from, to; /* [from, to) */
};

/* First message that something still has to be done with, or that is not archived yet. */
static uint64_t done_below(const struct ln_numbers *n)
{
    uint64_t low = n->archive && n->archived < n->s.cursor ? n->archived : n->s.cursor;
    for (unsigned i = 0; i < n->s.ndest; i++)
        if (n->dest[i].queued && n->dest[i].cursor.seq < low)
            low = n->dest[i].cursor.seq;
    return low;
}

/* Deletes what a message has in one data base; counts the bytes and entries that go. */
static int drop(struct ln_committer *c, enum ln_db db, uint64_t pos, uint64_t *bytes,
                uint64_t *count)
{
    MDB_cursor *cur;
    struct ln_key k = ln_key_pos(pos);
    MDB_val key = ln_key_val(&k), val;
    int rc = ln_write_cursor(c, db, &cur);
    if (!rc)
        rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    while (!rc && memcmp(key.mv_data, k.b, k.len) == 0) {
        *bytes += val.mv_size;
        ++*count;
        if ((rc = mdb_cursor_del(cur, 0)) == 0 && db != LN_DB_LOG && db != LN_DB_RES)
            rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
        else
            break; /* there is one of these */
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int drop_parked(struct ln_committer *c, struct ln_numbers *n, struct range r)
{
    MDB_cursor *cur;
    struct ln_key k = ln_key_msg(n->s.id, r.from);
    MDB_val key = ln_key_val(&k), val;
    uint64_t total;
    int rc = ln_write_cursor(c, LN_DB_PARKED, &cur);
    if (!rc)
        rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    while (!rc && ln_get_u32(key.mv_data) == n->s.id &&
           ln_get_u64((char *)key.mv_data + 4) < r.to) {
        struct ln_span body;
        if (ln_record_open(ln_val_span(val), &body, &total) == LN_OK) {
            struct ln_dec d = ln_dec_of(body);
            uint64_t dest = ln_dec_num(&d);
            if (dest == 0)
                n->s.parked--;
            else if (dest <= n->s.ndest)
                n->dest[dest - 1].parked--;
        }
        if ((rc = mdb_cursor_del(cur, 0)) == 0)
            rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool is_parked(MDB_cursor *parked, uint32_t chan, uint64_t seq)
{
    struct ln_key k = ln_key_msg(chan, seq);
    MDB_val key = ln_key_val(&k), val;
    return mdb_cursor_get(parked, &key, &val, MDB_SET_RANGE) == 0 &&
           memcmp(key.mv_data, k.b, k.len) == 0;
}

/* Time and size of a message. LMDB's codes. */
static int look(struct ln_committer *c, uint64_t pos, int64_t *t, size_t *len)
{
    struct ln_span body;
    uint64_t total;
    struct ln_key k = ln_key_pos(pos);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_get(c->txn, c->env->db[LN_DB_LOG], &key, &val);
    if (rc)
        return rc;
    *len = val.mv_size;
    return ln_record_open(ln_val_span(val), &body, &total) == LN_OK &&
                   ln_record_receipt_time(body, t) == LN_OK
               ? 0
               : MDB_NOTFOUND; /* from a later version: it stays */
}

/* The channel's first message at or behind *seq. LMDB's codes. */
static int next(struct ln_committer *c, const struct ln_numbers *n, uint64_t *seq, uint64_t *pos)
{
    MDB_cursor *map;
    int rc = ln_write_cursor(c, LN_DB_MAP, &map);
    if (rc)
        return rc;
    int code = ln_map_from(map, n->s.id, ln_buf_span(&c->maps[n->s.id - 1].runs), seq, pos);
    return code == LN_OK ? 0 : code == LN_ENOTFOUND ? MDB_NOTFOUND : MDB_CORRUPTED;
}

/* Finds the next run of messages to go, from n->trim_from on, at most `most`. Sets trim_from to
 * where to look next; an empty range = nothing (now). */
static int find_run(struct ln_committer *c, struct ln_numbers *n, unsigned most, int64_t now_us,
                    struct range *r)
{
    MDB_cursor *parked;
    uint64_t low = done_below(n), excess = 0, seen = 0, seq = n->trim_from, pos;
    int64_t oldest = n->max_age_s ? now_us - (int64_t)(n->max_age_s * 1000000) : INT64_MIN, t;
    *r = (struct range){0, 0};
    if (n->max_bytes && n->s.bytes > n->max_bytes)
        excess = n->s.bytes - n->max_bytes;
    int rc = ln_write_cursor(c, LN_DB_PARKED, &parked);
    for (unsigned i = 0; !rc && i < most; i++, seq++) {
        size_t len;
        rc = next(c, n, &seq, &pos);
        if (rc || seq >= low || (rc = look(c, pos, &t, &len)) != 0)
            break;
        bool old = t < oldest;
        if (!old && seen >= excess)
            break;
        n->trim_from = seq + 1;
        if (!old && is_parked(parked, n->s.id, seq)) {
            if (r->to)
                break;
            continue; /* stays; what is behind it may go */
        }
        if (!r->to)
            r->from = seq;
        r->to = seq + 1;
        if ((seen += len) >= BITE_BYTES)
            break;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Deletes the messages of a range, and moves first_seq to the first one that is left. */
static int drop_run(struct ln_committer *c, struct ln_numbers *n, struct range r)
{
    MDB_cursor *map;
    uint64_t bytes = 0, messages = 0, other = 0, seq = r.from, pos;
    int rc = next(c, n, &seq, &pos);
    for (; !rc && seq < r.to; rc = next(c, n, &seq, &pos)) {
        rc = drop(c, LN_DB_LOG, pos, &bytes, &messages);
        for (enum ln_db db = LN_DB_RES; db <= LN_DB_PART && !rc; db++)
            rc = drop(c, db, pos, &bytes, &other);
        if (rc)
            return rc;
        seq++;
    }
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if ((rc = ln_write_cursor(c, LN_DB_MAP, &map)) != 0 ||
        (rc = ln_map_drop(c->env, map, n->s.id, &c->maps[n->s.id - 1], r.from, r.to)) != 0)
        return rc;
    n->kept -= messages;
    n->s.bytes = n->s.bytes > bytes ? n->s.bytes - bytes : 0;
    n->dirty = n->unpublished = true;
    seq = n->s.first_seq;
    rc = next(c, n, &seq, &pos);
    n->s.first_seq = rc ? n->s.next_seq : seq;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int trim_chan(struct ln_committer *c, struct ln_numbers *n, unsigned most, int64_t now_us,
                     bool *more)
{
    struct range r;
    uint64_t before = n->trim_from;
    int rc = find_run(c, n, most, now_us, &r);
    if (rc)
        return rc;
    if (r.to == 0) { /* nothing: begin at the front next time, where parked ones have grown older */
        *more = n->trim_from > before + 1;
        if (!*more)
            n->trim_from = 0;
        return 0;
    }
    *more = true;
    rc = drop_parked(c, n, r);
    if (!rc)
        rc = drop_run(c, n, r);
    return rc ? rc : ln_version_trim(c, n);
}

int ln_trim_bite(struct ln_committer *c, unsigned most, int64_t now_us, bool *more)
{
    *more = false;
    for (unsigned i = 0; i < c->nchans; i++) {
        struct ln_numbers *n = &c->chans[c->trim_chan++ % c->nchans];
        bool over = n->max_bytes && n->s.bytes > n->max_bytes;
        if (!over && (!n->max_age_s || now_us < n->look_at_us))
            continue;
        int rc = trim_chan(c, n, most, now_us, more);
        if (rc)
            return rc;
        n->look_at_us = *more ? 0 : now_us + AGE_US;
        if (*more)
            return ln_index_trim(c->env, c->txn);
    }
    return 0;
}
