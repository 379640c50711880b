/* Retention: what is done, and too old or too much, goes in small bites, as part of a commit or
 * when there is nothing else to do. */
#include "store/engine.h"

enum {
    BITE_BYTES = 1 << 20,
    AGE_US = 2000 * 1000, /* how often a channel is looked at for old messages */
};

struct range {
    uint64_t from, to; /* [from, to) */
};

/* First message that something still has to be done with. */
static uint64_t done_below(const struct ln_numbers *n)
{
    uint64_t low = n->s.cursor;
    for (unsigned i = 0; i < n->s.ndest; i++)
        if (n->dest[i].queued && n->dest[i].cursor.seq < low)
            low = n->dest[i].cursor.seq;
    return low;
}

/* Deletes the keys of [from, to) in one data base; counts the bytes and entries that go. */
static int drop(struct ln_committer *c, enum ln_db db, uint32_t chan, struct range r,
                uint64_t *bytes, uint64_t *count)
{
    MDB_cursor *cur;
    struct ln_key k = ln_key_msg(chan, r.from);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_open(c->txn, c->env->db[db], &cur);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    while (!rc && ln_get_u32(key.mv_data) == chan && ln_get_u64((char *)key.mv_data + 4) < r.to) {
        *bytes += val.mv_size;
        ++*count;
        if ((rc = mdb_cursor_del(cur, 0)) == 0)
            rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
    }
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int drop_parked(struct ln_committer *c, struct ln_numbers *n, struct range r)
{
    MDB_cursor *cur;
    struct ln_key k = ln_key_msg(n->s.id, r.from);
    MDB_val key = ln_key_val(&k), val;
    uint64_t bytes = 0, count = 0, total;
    int rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_PARKED], &cur);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; !rc && ln_get_u32(key.mv_data) == n->s.id && ln_get_u64((char *)key.mv_data + 4) < r.to;
         rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        struct ln_span body;
        if (ln_record_open(ln_val_span(val), &body, &total) != LN_OK)
            continue;
        struct ln_dec d = ln_dec_of(body);
        uint64_t dest = ln_dec_num(&d);
        if (dest == 0)
            n->s.parked--;
        else if (dest <= n->s.ndest)
            n->dest[dest - 1].parked--;
        count++;
    }
    mdb_cursor_close(cur);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    return count ? drop(c, LN_DB_PARKED, n->s.id, r, &bytes, &count) : 0;
}

static bool is_parked(MDB_cursor *parked, uint32_t chan, uint64_t seq)
{
    struct ln_key k = ln_key_msg(chan, seq);
    MDB_val key = ln_key_val(&k), val;
    return mdb_cursor_get(parked, &key, &val, MDB_SET_RANGE) == 0 &&
           memcmp(key.mv_data, k.b, k.len) == 0;
}

static bool receipt_time(struct ln_span rec, int64_t *t)
{
    struct ln_span body;
    uint64_t total;
    if (ln_record_open(rec, &body, &total) != LN_OK)
        return false;
    struct ln_dec d = ln_dec_of(body);
    ln_dec_u8(&d); /* kind */
    *t = (int64_t)ln_dec_u64(&d);
    return !d.bad;
}

/* Finds the next run of messages to go, from n->trim_from on, at most `most`. Sets trim_from to
 * where to look next; an empty range = nothing (now). */
static int find_run(struct ln_committer *c, struct ln_numbers *n, unsigned most, int64_t now_us,
                    struct range *r)
{
    MDB_cursor *cur, *parked;
    uint64_t low = done_below(n), excess = 0, seen = 0;
    int64_t oldest = n->max_age_s ? now_us - (int64_t)(n->max_age_s * 1000000) : INT64_MIN;
    struct ln_key k = ln_key_msg(n->s.id, n->trim_from);
    MDB_val key = ln_key_val(&k), val;
    *r = (struct range){0, 0};
    if (n->max_bytes && n->s.bytes > n->max_bytes)
        excess = n->s.bytes - n->max_bytes;
    int rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_MSG], &cur);
    if (rc)
        return rc;
    if ((rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_PARKED], &parked)) != 0) {
        mdb_cursor_close(cur);
        return rc;
    }
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (unsigned i = 0; !rc && i < most; rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        int64_t t;
        uint64_t seq = ln_get_u64((char *)key.mv_data + 4);
        if (ln_get_u32(key.mv_data) != n->s.id || seq >= low || !receipt_time(ln_val_span(val), &t))
            break;
        bool old = t < oldest;
        if (!old && seen >= excess)
            break;
        n->trim_from = seq + 1;
        i++;
        if (!old && is_parked(parked, n->s.id, seq)) {
            if (r->to)
                break;
            continue; /* stays; what is behind it may go */
        }
        if (!r->to)
            r->from = seq;
        r->to = seq + 1;
        if ((seen += val.mv_size) >= BITE_BYTES)
            break;
    }
    mdb_cursor_close(parked);
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* First message that is left. */
static int find_first(struct ln_committer *c, struct ln_numbers *n)
{
    MDB_cursor *cur;
    struct ln_key k = ln_key_msg(n->s.id, n->s.first_seq);
    MDB_val key = ln_key_val(&k), val;
    int rc = mdb_cursor_open(c->txn, c->env->db[LN_DB_MSG], &cur);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    n->s.first_seq = n->s.next_seq;
    if (!rc && ln_get_u32(key.mv_data) == n->s.id)
        n->s.first_seq = ln_get_u64((char *)key.mv_data + 4);
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int trim_chan(struct ln_committer *c, struct ln_numbers *n, unsigned most, int64_t now_us,
                     bool *more)
{
    struct range r;
    uint64_t before = n->trim_from, bytes = 0, messages = 0, other = 0;
    int rc = find_run(c, n, most, now_us, &r);
    if (rc)
        return rc;
    if (r.to == 0) { /* nothing: begin at the front next time, where parked ones have grown older */
        *more = n->trim_from > before + 1;
        if (!*more)
            n->trim_from = 0;
        return 0;
    }
    rc = drop_parked(c, n, r);
    if (!rc)
        rc = drop(c, LN_DB_MSG, n->s.id, r, &bytes, &messages);
    for (enum ln_db db = LN_DB_RES; db <= LN_DB_PART && !rc; db++)
        rc = drop(c, db, n->s.id, r, &bytes, &other);
    n->kept -= messages;
    n->s.bytes = n->s.bytes > bytes ? n->s.bytes - bytes : 0;
    n->dirty = n->unpublished = true;
    *more = true;
    return rc ? rc : find_first(c, n);
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
            return ln_index_trim(c->env, c->txn, c->chans, c->nchans);
    }
    return 0;
}
