/* Checks a whole store: every record can be read and is what was written, belongs to a message that
 * is there, and agrees with the cursors and counts of its channel.
 *
 * In the order of the log, in transactions of at most BREATH_US each, so that an engine that runs
 * meanwhile can use freed pages again. What is looked at in one transaction is compared with the
 * cursors of the same one; counts of the whole only for channels that nothing has changed. */
#include "store/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crc.h"
#include "store/seal.h"

enum { BREATH_US = 200 * 1000 };

void ln_verify_say(struct ln_verify_walk *w, uint32_t chan, uint64_t seq, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const struct ln_verify_chan *c = ln_verify_chan(w, chan);
    w->out->problems++;
    w->ops->found(w->arg, c ? c->n.s.name : "", seq, text);
}

struct ln_verify_chan *ln_verify_chan(struct ln_verify_walk *w, uint32_t id)
{
    return id && id <= w->nchan && w->chan[id - 1].known ? &w->chan[id - 1] : NULL;
}

/* ---- transactions -------------------------------------------------------------------------- */

static int room_for(struct ln_verify_walk *w, uint32_t id)
{
    if (id <= w->nchan)
        return LN_OK;
    struct ln_verify_chan *p = realloc(w->chan, id * sizeof *p);
    if (!p)
        return LN_ENOMEM;
    memset(p + w->nchan, 0, (id - w->nchan) * sizeof *p);
    w->chan = p;
    w->nchan = id;
    return LN_OK;
}

bool ln_verify_sound(struct ln_verify_walk *w, enum ln_db db, MDB_val key, MDB_val val,
                     const char **why)
{
    struct ln_sealed s;
    struct ln_span body;
    uint64_t total;
    *why = "is damaged";
    if (!ln_record_sound(ln_val_span(val)))
        return false;
    if (w->blind && ln_record_sealed(ln_val_span(val), &s) == LN_OK)
        return true;
    *why = "was changed: it is not what was sealed there";
    int rc = ln_part_open(w->r->txn, &w->r->plain, db, key, val, &body, &total);
    return rc == LN_OK || rc == LN_EVERSION;
}

static int take_numbers(struct ln_verify_walk *w, uint32_t id, MDB_val key, MDB_val val)
{
    struct ln_span runs, rec = ln_val_span(val);
    const char *why = "are damaged";
    /* Without its own sum: with that, the sum of any record is the same. */
    uint32_t sum = rec.len > LN_RECORD_SUM ? ln_crc32c(rec.ptr, rec.len - LN_RECORD_SUM) : 0;
    if (id == 0 || id > 1u << 24)
        return LN_OK; /* said by the first look */
    int rc = room_for(w, id);
    if (rc != LN_OK)
        return rc;
    struct ln_verify_chan *c = &w->chan[id - 1];
    if (c->known && c->sum == sum)
        return LN_OK;
    c->moved |= c->known;
    c->sum = sum;
    bool sound = ln_verify_sound(w, LN_DB_CUR, key, val, &why);
    bool usable = sound || ln_record_sound(rec);
    if (!usable || ln_numbers_read(rec, id, &c->n, &runs) != LN_OK) {
        snprintf(c->n.s.name, sizeof c->n.s.name, "#%u", id);
        c->moved = c->known = true;
        ln_verify_say(w, id, 0, "the channel's record of numbers %s", why);
        return LN_OK;
    }
    if (!sound) {
        c->moved = c->known = true;
        ln_verify_say(w, id, 0, "the channel's record of numbers %s", why);
    }
    if (c->n.s.ndest > c->ndest) {
        struct ln_verify_dest *d = realloc(c->dest, c->n.s.ndest * sizeof *d);
        if (!d)
            return LN_ENOMEM;
        memset(d + c->ndest, 0, (c->n.s.ndest - c->ndest) * sizeof *d);
        c->dest = d;
        c->ndest = c->n.s.ndest;
    }
    c->known = true;
    return LN_OK;
}

/* What the numbers are in this transaction. */
static int look(struct ln_verify_walk *w)
{
    MDB_cursor *cur;
    MDB_val key, val;
    size_t txn = mdb_txn_id(w->r->txn);
    w->began_us = ln_mono_us();
    if (txn == w->txn)
        return LN_OK;
    w->moving |= w->txn != 0;
    w->txn = txn;
    int rc = ln_reader_cursor(w->r, LN_DB_CUR, &cur);
    if (rc != LN_OK)
        return rc;
    int m = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
    for (; !m && rc == LN_OK; m = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        uint32_t id = key.mv_size == 4 ? ln_get_u32(key.mv_data) : 0;
        if (id == 0)
            ln_verify_say(w, 0, 0, "a channel's numbers stand under a wrong key");
        else
            rc = take_numbers(w, id, key, val);
    }
    if (rc == LN_OK && m != MDB_NOTFOUND)
        rc = ln_code_from_mdb(m);
    return rc;
}

int ln_verify_breathe(struct ln_verify_walk *w, bool *anew)
{
    *anew = false;
    if (ln_mono_us() - w->began_us < BREATH_US)
        return LN_OK;
    *anew = true;
    ln_reader_end(w->r);
    int rc = ln_reader_begin(w->r);
    return rc == LN_OK ? look(w) : rc;
}

/* ---- one message --------------------------------------------------------------------------- */

struct message {
    uint64_t pos, seq;
    uint32_t id;
    struct ln_verify_chan *c;
    struct ln_processed p;
    bool has_result;
};

/* Sum and form of a record; its parts, too. */
static bool sound(struct ln_verify_walk *w, const struct message *m, enum ln_db db, MDB_val key,
                  MDB_val val, const char *what)
{
    const char *why;
    w->out->records++;
    w->out->bytes += val.mv_size;
    m->c->bytes += val.mv_size;
    if (ln_verify_sound(w, db, key, val, &why))
        return true;
    ln_verify_say(w, m->id, m->seq, "%s %s", what, why);
    return false;
}

/* The next record of a table that belongs to this message; *val. Records of places before it belong
 * to nothing. */
static bool next_of(struct ln_verify_walk *w, enum ln_db db, const char *what, uint64_t pos,
                    uint32_t *n, MDB_val *found, MDB_val *val)
{
    MDB_cursor *cur;
    MDB_val key, behind, next;
    if (ln_reader_cursor(w->r, db, &cur) != LN_OK)
        return false;
    while (!w->past[db] && mdb_cursor_get(cur, &key, val, MDB_GET_CURRENT) == 0) {
        uint64_t at = key.mv_size >= 8 ? ln_get_u64(key.mv_data) : 0;
        if (at > pos)
            return false;
        *n = key.mv_size >= 12 ? ln_get_u32((char *)key.mv_data + key.mv_size - 4) : 0;
        *found = key;
        w->past[db] = mdb_cursor_get(cur, &behind, &next, MDB_NEXT) != 0;
        if (at == pos)
            return true;
        ln_verify_say(w, 0, 0, "%s belongs to no message (place %llu)", what,
                      (unsigned long long)at);
    }
    return false;
}

static bool before(uint64_t seq, uint32_t n, struct ln_pos pos)
{
    return seq < pos.seq || (seq == pos.seq && n < pos.n);
}

static void check_item(struct ln_verify_walk *w, struct message *m, uint32_t i)
{
    const struct ln_item it = m->p.items[i];
    struct ln_outcome o;
    struct ln_span bytes;
    bool delivers = it.kind >= LN_I_BYTES && it.kind <= LN_I_SAME;
    if (it.kind == LN_I_FORWARDED)
        return;
    if (it.dest > m->c->ndest || (delivers && it.dest == 0)) {
        ln_verify_say(w, m->id, m->seq, "output %u is for a destination that is not known", i);
        return;
    }
    if (!delivers)
        return;
    struct ln_verify_dest *d = &m->c->dest[it.dest - 1];
    const struct ln_dest_state *ds = &m->c->n.dest[it.dest - 1];
    bool done = before(m->seq, i, ds->cursor);
    bool has = ln_read_outcome(w->r, m->id, m->seq, i, &o) == LN_OK;
    d->queued += !done;
    if (done && !has) /* the other way round is a queue that was put back */
        ln_verify_say(w, m->id, m->seq, "output %u has no outcome, and %s is past it", i, ds->name);
    if (ln_read_output(w->r, m->id, m->seq, i, &bytes) != LN_OK)
        ln_verify_say(w, m->id, m->seq, "output %u cannot be put together", i);
}

static void check_result(struct ln_verify_walk *w, struct message *m)
{
    MDB_val key, val;
    uint32_t n;
    bool due = m->seq < m->c->n.s.cursor;
    bool has = next_of(w, LN_DB_RES, "a result", m->pos, &n, &key, &val);
    m->c->pending += !due;
    if (has != due)
        ln_verify_say(w, m->id, m->seq,
                      has ? "it has a result before its turn"
                          : "it has no result, and the channel is past it");
    if (!has)
        return;
    if (!sound(w, m, LN_DB_RES, key, val, "its result") || w->blind)
        return;
    if (ln_read_result(w->r, m->id, m->seq, &m->p) != LN_OK || m->p.state < LN_S_DONE ||
        m->p.state > LN_S_REJECTED) {
        ln_verify_say(w, m->id, m->seq, "its result cannot be read");
        return;
    }
    m->has_result = true;
    for (uint32_t i = 0; i < m->p.nitems; i++)
        check_item(w, m, i);
}

static void check_outcomes(struct ln_verify_walk *w, struct message *m)
{
    MDB_val key, val;
    uint32_t n;
    while (next_of(w, LN_DB_OUT, "an outcome", m->pos, &n, &key, &val)) {
        struct ln_span body;
        struct ln_outcome o;
        struct ln_at at = {.db = LN_DB_OUT, .pos = m->pos, .n = n};
        uint16_t dest = 0;
        char what[40];
        snprintf(what, sizeof what, "the outcome of output %u", n);
        if (!sound(w, m, LN_DB_OUT, key, val, what) || w->blind)
            continue;
        if (ln_reader_body(w->r, at, &body) != LN_OK ||
            ln_record_outcome_read(body, &dest, &o) != LN_OK || o.state < LN_OUT_SENT ||
            o.state > LN_OUT_SKIPPED)
            ln_verify_say(w, m->id, m->seq, "%s cannot be read", what);
        else if (m->has_result && (n >= m->p.nitems || m->p.items[n].dest != dest))
            ln_verify_say(w, m->id, m->seq, "%s is for something that was not sent", what);
    }
}

static void check_events(struct ln_verify_walk *w, struct message *m)
{
    MDB_val key, val;
    uint32_t n;
    for (uint32_t i = 0; next_of(w, LN_DB_EV, "an event", m->pos, &n, &key, &val); i++) {
        struct ln_event e;
        uint32_t at = n;
        if (n != i) {
            ln_verify_say(w, m->id, m->seq, "event %u is missing", i);
            i = n;
        }
        if (sound(w, m, LN_DB_EV, key, val, "an event") && !w->blind &&
            ln_read_event(w->r, m->id, m->seq, &at, &e) != LN_OK)
            ln_verify_say(w, m->id, m->seq, "event %u cannot be read", n);
    }
    while (next_of(w, LN_DB_PART, "a part", m->pos, &n, &key, &val)) {
        w->out->bytes += val.mv_size;
        m->c->bytes += val.mv_size;
        if (!ln_part_sound(ln_val_span(val)))
            ln_verify_say(w, m->id, m->seq, "part %u of its content is damaged", n);
    }
}

/* Hashes of the ids it is found by, doubles left out, as the index has them. */
static void count_entries(struct ln_verify_walk *w, const struct message *m,
                          const struct ln_receipt *r)
{
    if (m->pos >= w->indexed)
        return;
    w->entries[0] += r->control_id.len > 0;
    for (unsigned i = 0; i < r->npatient; i++) {
        bool again = r->patient[i].len == 0;
        for (unsigned j = 0; j < i && !again; j++)
            again = ln_span_eq(r->patient[i], r->patient[j]);
        w->entries[1] += !again;
    }
}

/* Everything about the message at a place. */
static void check_message(struct ln_verify_walk *w, uint64_t pos, MDB_val key, MDB_val val)
{
    struct message m = {.pos = pos};
    struct ln_span body;
    struct ln_sealed s;
    struct ln_receipt r;
    uint64_t at, total;
    w->out->messages++;
    if (ln_record_open(ln_val_span(val), &body, &total) != LN_OK ||
        ln_record_receipt_head(body, &r) != LN_OK || !ln_verify_chan(w, r.chan)) {
        ln_verify_say(w, 0, 0, "a message cannot be read (place %llu)", (unsigned long long)pos);
        return;
    }
    m.id = r.chan;
    m.seq = r.seq;
    m.c = ln_verify_chan(w, r.chan);
    w->out->sealed += ln_record_sealed(ln_val_span(val), &s) == LN_OK;
    if (sound(w, &m, LN_DB_LOG, key, val, "what was received") && !w->blind) {
        if (ln_reader_body(w->r, (struct ln_at){.db = LN_DB_LOG, .pos = pos}, &body) != LN_OK ||
            ln_record_receipt_read(body, &r) != LN_OK)
            ln_verify_say(w, m.id, m.seq, "what was received cannot be put together");
        else
            count_entries(w, &m, &r);
    }
    m.c->messages++;
    if (m.seq <= m.c->last_seq || m.seq < m.c->n.s.first_seq || m.seq >= m.c->n.s.next_seq)
        ln_verify_say(w, m.id, m.seq, "it is out of order, or outside of the channel's log");
    m.c->last_seq = m.seq;
    if (ln_reader_at(w->r, m.id, m.seq, &at) != LN_OK || at != pos)
        ln_verify_say(w, m.id, m.seq, "the channel's map does not lead to it");
    check_result(w, &m);
    check_outcomes(w, &m);
    check_events(w, &m);
}

/* ---- all of them --------------------------------------------------------------------------- */

/* Sets the cursors of a message's tables to the first record at or behind a place. */
static int set_cursors(struct ln_verify_walk *w, uint64_t pos)
{
    static const enum ln_db dbs[] = {LN_DB_LOG, LN_DB_RES, LN_DB_OUT, LN_DB_EV, LN_DB_PART};
    for (size_t i = 0; i < sizeof dbs / sizeof *dbs; i++) {
        MDB_cursor *cur;
        struct ln_key k = ln_key_pos(pos);
        MDB_val key = ln_key_val(&k), val;
        int rc = ln_reader_cursor(w->r, dbs[i], &cur);
        if (rc != LN_OK)
            return rc;
        int m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
        if (m && m != MDB_NOTFOUND)
            return ln_code_from_mdb(m);
        w->past[dbs[i]] = m != 0;
    }
    return LN_OK;
}

static int walk_log(struct ln_verify_walk *w)
{
    MDB_cursor *cur;
    MDB_val key, val;
    uint64_t pos = 0;
    bool anew = true;
    int rc = set_cursors(w, 0), m = 0;
    while (rc == LN_OK && (rc = ln_reader_cursor(w->r, LN_DB_LOG, &cur)) == LN_OK) {
        struct ln_key k = ln_key_pos(pos + 1);
        key = ln_key_val(&k);
        m = anew ? mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE)
                 : mdb_cursor_get(cur, &key, &val, MDB_NEXT);
        if (m || key.mv_size != 8 || (w->moving && ln_get_u64(key.mv_data) > w->end))
            break;
        if (ln_get_u64(key.mv_data) <= pos)
            return LN_EPARSE; /* the pages lead back: it would never end */
        pos = ln_get_u64(key.mv_data);
        check_message(w, pos, key, val);
        ln_reader_forget(w->r);
        if (w->ops->progress && w->out->messages % 1024 == 0)
            w->ops->progress(w->arg, pos, w->end);
        rc = ln_verify_breathe(w, &anew);
        if (rc == LN_OK && anew)
            rc = set_cursors(w, pos + 1);
    }
    if (rc == LN_OK && m && m != MDB_NOTFOUND)
        rc = ln_code_from_mdb(m);
    if (rc == LN_OK && !w->moving) { /* what stands behind the last message */
        uint32_t n;
        (void)next_of(w, LN_DB_RES, "a result", UINT64_MAX, &n, &key, &val);
        (void)next_of(w, LN_DB_OUT, "an outcome", UINT64_MAX, &n, &key, &val);
        (void)next_of(w, LN_DB_EV, "an event", UINT64_MAX, &n, &key, &val);
        (void)next_of(w, LN_DB_PART, "a part", UINT64_MAX, &n, &key, &val);
    }
    return rc;
}

static int begin(struct ln_verify_walk *w)
{
    struct ln_index_state st = {.end = 0};
    MDB_cursor *cur;
    MDB_val key, val;
    int rc = ln_reader_begin(w->r);
    if (rc == LN_OK)
        w->blind = ln_env_sealed(w->r->env, w->r->txn) && !ln_vault_open(w->r->env->vault);
    w->out->blind = w->blind;
    if (rc == LN_OK)
        rc = look(w);
    if (rc == LN_OK)
        rc = ln_code_from_mdb(ln_index_state(w->r->env, w->r->txn, &st));
    w->indexed = st.end;
    if (rc == LN_OK && (rc = ln_reader_cursor(w->r, LN_DB_LOG, &cur)) == LN_OK &&
        mdb_cursor_get(cur, &key, &val, MDB_LAST) == 0 && key.mv_size == 8)
        w->end = ln_get_u64(key.mv_data);
    return rc;
}

int ln_store_verify(const char *path, const struct ln_verify_ops *ops, void *arg,
                    struct ln_verify *out, struct ln_err *err)
{
    struct ln_verify_walk w = {.ops = ops, .arg = arg, .out = out};
    *out = (struct ln_verify){0};
    int rc = ln_reader_open_as(path, LN_ENV_BLIND, &w.r, err);
    if (rc != LN_OK)
        return rc;
    rc = begin(&w);
    if (rc == LN_OK)
        rc = walk_log(&w);
    if (rc == LN_OK)
        rc = ln_verify_rest(&w);
    if (rc != LN_OK)
        ln_err_set(err, rc, "%s/data.mdb cannot be read on: %s", path, ln_strerror(rc));
    ln_reader_end(w.r);
    ln_reader_close(w.r);
    for (uint32_t i = 0; i < w.nchan; i++) {
        ln_numbers_fini(&w.chan[i].n);
        free(w.chan[i].dest);
    }
    free(w.chan);
    return rc;
}
