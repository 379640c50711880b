/* The check of a store, second half: what is not a message's own record. */
#include <stdlib.h>

#include "store/seal.h"
#include "store/verify.h"

static const char *const kinds[LN_INDEX_KINDS] = {"control id", "patient id"};

/* ---- maps ---------------------------------------------------------------------------------- */

/* Says which messages a run leads to that are not there; adds those that are. */
static int check_run(struct ln_verify_walk *w, uint32_t id, const struct ln_run *r, uint64_t *found)
{
    MDB_cursor *cur;
    MDB_val key, val;
    struct ln_key k = ln_key_pos(r->pos);
    int rc = ln_reader_cursor(w->r, LN_DB_LOG, &cur);
    if (rc != LN_OK)
        return rc;
    key = ln_key_val(&k);
    int m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (uint64_t i = 0; i < r->n; i++) {
        if (!m && ln_get_u64(key.mv_data) == r->pos + i) {
            ++*found;
            m = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
        } else {
            ln_verify_say(w, id, r->seq + i, "it is missing: the channel's map leads to place %llu",
                          (unsigned long long)(r->pos + i));
        }
    }
    return m && m != MDB_NOTFOUND ? ln_code_from_mdb(m) : LN_OK;
}

static int check_runs(struct ln_verify_walk *w, uint32_t id, struct ln_span runs, uint64_t *found)
{
    struct ln_dec d = ln_dec_of(runs);
    struct ln_run r = {0};
    int rc = LN_OK;
    while (rc == LN_OK && ln_map_next(&d, &r)) {
        if (r.n > LN_MAP_MESSAGES || r.seq + r.n < r.seq || r.pos + r.n < r.pos) {
            ln_verify_say(w, id, r.seq, "the channel's map has a run that cannot be");
            return LN_OK;
        }
        rc = check_run(w, id, &r, found);
    }
    if (d.bad)
        ln_verify_say(w, id, r.seq, "the channel's map cannot be read behind this one");
    return rc;
}

/* A channel's whole map, in one transaction. */
static int check_map(struct ln_verify_walk *w, uint32_t id)
{
    MDB_cursor *cur;
    MDB_val key, val;
    struct ln_key k = ln_key_msg(id, 0), c = ln_key_chan(id);
    struct ln_span runs;
    uint64_t found = 0, total;
    const char *why;
    int rc = ln_reader_cursor(w->r, LN_DB_MAP, &cur);
    if (rc != LN_OK)
        return rc;
    key = ln_key_val(&k);
    int m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; !m && rc == LN_OK && ln_get_u32(key.mv_data) == id;
         m = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        uint64_t first = ln_get_u64((char *)key.mv_data + 4);
        w->out->records++;
        if (!ln_verify_sound(w, LN_DB_MAP, key, val, &why) ||
            ln_record_open(ln_val_span(val), &runs, &total) != LN_OK)
            ln_verify_say(w, id, first, "a block of the channel's map %s", why);
        else
            rc = check_runs(w, id, runs, &found);
    }
    if (rc != LN_OK || (m && m != MDB_NOTFOUND))
        return rc != LN_OK ? rc : ln_code_from_mdb(m);
    key = ln_key_val(&c);
    m = mdb_get(w->r->txn, w->r->env->db[LN_DB_CUR], &key, &val);
    if (!m && ln_numbers_runs(ln_val_span(val), &runs) == LN_OK)
        rc = check_runs(w, id, runs, &found);
    return rc;
}

/* ---- parked, kv ---------------------------------------------------------------------------- */

static void check_parked(struct ln_verify_walk *w, MDB_val key, MDB_val val)
{
    struct ln_span body;
    struct ln_processed p;
    struct ln_outcome o;
    uint64_t total;
    const char *why;
    uint32_t id = key.mv_size == 16 ? ln_get_u32(key.mv_data) : 0;
    struct ln_verify_chan *c = ln_verify_chan(w, id);
    if (!c) {
        ln_verify_say(w, 0, 0, "something parked is no channel's");
        return;
    }
    uint64_t seq = ln_get_u64((char *)key.mv_data + 4);
    uint32_t n = ln_get_u32((char *)key.mv_data + 12);
    w->out->records++;
    if (!ln_verify_sound(w, LN_DB_PARKED, key, val, &why) ||
        ln_record_open(ln_val_span(val), &body, &total) != 0) {
        ln_verify_say(w, id, seq, "the note that it is parked %s", why);
        return;
    }
    struct ln_dec d = ln_dec_of(body);
    uint64_t dest = ln_dec_num(&d);
    if (n == LN_WHOLE)
        c->parked++;
    else if (dest && dest <= c->ndest)
        c->dest[dest - 1].parked++;
    if (w->blind)
        return;
    bool ok = ln_read_result(w->r, id, seq, &p) == LN_OK;
    if (ok && n == LN_WHOLE)
        ok = p.state == LN_S_PARKED;
    else if (ok)
        ok = n < p.nitems && p.items[n].dest == dest &&
             (p.items[n].kind == LN_I_PARKED ||
              (ln_read_outcome(w->r, id, seq, n, &o) == LN_OK && o.state == LN_OUT_PARKED));
    if (!ok)
        ln_verify_say(w, id, seq, "it stands among the parked ones, and is not parked");
}

static void check_kv(struct ln_verify_walk *w, MDB_val key, MDB_val val)
{
    const char *why;
    uint32_t id = key.mv_size > 4 ? ln_get_u32(key.mv_data) & ~LN_KV_SEALED : 0;
    w->out->records++;
    if (!ln_verify_chan(w, id))
        ln_verify_say(w, 0, 0, "a kv pair is no channel's");
    else if (!ln_verify_sound(w, LN_DB_KV, key, val, &why))
        ln_verify_say(w, id, 0, "a kv pair %s", why);
}

/* Every record of a table, in short transactions; `visit` may look anywhere. */
static int each(struct ln_verify_walk *w, enum ln_db db,
                void (*visit)(struct ln_verify_walk *, MDB_val, MDB_val))
{
    MDB_cursor *cur;
    char last[512];
    MDB_val key, val;
    bool anew = false;
    int rc = ln_reader_cursor(w->r, db, &cur);
    if (rc != LN_OK)
        return rc;
    int m = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
    while (!m && rc == LN_OK) {
        size_t len = key.mv_size < sizeof last ? key.mv_size : sizeof last;
        memcpy(last, key.mv_data, len);
        visit(w, key, val);
        ln_reader_forget(w->r);
        rc = ln_verify_breathe(w, &anew);
        if (rc == LN_OK && (rc = ln_reader_cursor(w->r, db, &cur)) == LN_OK && anew) {
            key = (MDB_val){len, last};
            m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
            if (!m && (key.mv_size != len || memcmp(key.mv_data, last, len) != 0))
                continue; /* it is gone: this is the next */
        }
        if (rc == LN_OK && !m)
            m = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
    }
    return rc != LN_OK || m == MDB_NOTFOUND ? rc : ln_code_from_mdb(m);
}

/* ---- index --------------------------------------------------------------------------------- */

/* Whether the message has an id with this hash. */
static bool has_hash(struct ln_verify_walk *w, unsigned kind, const struct ln_receipt *r,
                     uint64_t pos, uint64_t hash)
{
    struct ln_env *e = w->r->env;
    struct ln_seal *seal = pos < ln_vault_from(e->vault) ? NULL : w->r->plain.seal;
    uint64_t h = 0;
    if (kind == LN_INDEX_CONTROL_ID)
        return ln_index_hash(e, w->r->txn, seal, kind, r->control_id, &h) == LN_OK && h == hash;
    for (unsigned i = 0; i < r->npatient; i++)
        if (ln_index_hash(e, w->r->txn, seal, kind, r->patient[i], &h) == LN_OK && h == hash)
            return true;
    return false;
}

static int check_entries(struct ln_verify_walk *w, struct ln_key k, const struct ln_index_block *b,
                         uint64_t *live)
{
    MDB_cursor *cur;
    unsigned kind = k.b[0], level = k.b[1], part = k.b[10], made = 0;
    uint64_t last[2] = {0, 0}, run = ln_get_u64(k.b + 2);
    int rc = ln_reader_cursor(w->r, LN_DB_IDX, &cur);
    if (rc == LN_OK && level + 1 < LN_INDEX_LEVELS)
        rc = ln_code_from_mdb(ln_index_made(cur, kind, level + 1, run / LN_INDEX_FAN, &made));
    for (size_t i = 0; rc == LN_OK && i < b->entries.len / LN_INDEX_ENTRY; i++) {
        const char *e = b->entries.ptr + i * LN_INDEX_ENTRY;
        uint64_t hash = ln_get_u64(e), pos = ln_get_u64(e + 8);
        struct ln_span body;
        struct ln_receipt r;
        if ((i && (hash < last[0] || (hash == last[0] && pos <= last[1]))) ||
            ln_index_part(level, hash) != part)
            ln_verify_say(w, 0, 0, "the index of %ss has a block that is not in order",
                          kinds[kind - 1]);
        last[0] = hash;
        last[1] = pos;
        if (w->blind || ln_index_part(level + 1, hash) < made)
            continue; /* taken over by the run above */
        int got = ln_reader_body(w->r, (struct ln_at){.db = LN_DB_LOG, .pos = pos}, &body);
        if (got != LN_OK || ln_record_receipt_read(body, &r) != LN_OK) {
            *live += got != LN_ENOTFOUND; /* said with the message; else trimmed */
            continue;
        }
        ++*live;
        if (!has_hash(w, kind, &r, pos, hash))
            ln_verify_say(w, r.chan, r.seq, "the index of %ss names it for another's",
                          kinds[kind - 1]);
        ln_reader_forget(w->r);
    }
    return rc;
}

static int check_index(struct ln_verify_walk *w)
{
    MDB_cursor *cur;
    struct ln_key k = {.len = 1};
    uint64_t live[LN_INDEX_KINDS] = {0};
    int rc = LN_OK, m = 0;
    while (rc == LN_OK && (rc = ln_reader_cursor(w->r, LN_DB_IDX, &cur)) == LN_OK) {
        MDB_val key = ln_key_val(&k), val;
        struct ln_index_block b;
        const char *why = "is damaged";
        bool anew;
        if ((m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE)) != 0)
            break;
        bool known = key.mv_size == 11;
        k.len = known ? key.mv_size : key.mv_size < 16 ? key.mv_size : 16;
        memcpy(k.b, key.mv_data, k.len);
        w->out->records++;
        if (!known || k.b[0] < 1 || k.b[0] > LN_INDEX_KINDS || k.b[1] >= LN_INDEX_LEVELS ||
            !ln_verify_sound(w, LN_DB_IDX, key, val, &why) ||
            ln_index_open(ln_val_span(val), &b) != LN_OK)
            ln_verify_say(w, 0, 0, "a block of the index %s", why);
        else
            rc = check_entries(w, k, &b, &live[k.b[0] - 1]);
        k.b[k.len++] = 0; /* the next possible key */
        if (rc == LN_OK)
            rc = ln_verify_breathe(w, &anew);
    }
    for (unsigned i = 0; i < LN_INDEX_KINDS && rc == LN_OK && !w->moving && !w->blind; i++)
        if (live[i] != w->entries[i])
            ln_verify_say(w, 0, 0, "the index of %ss has %llu entries where there should be %llu",
                          kinds[i], (unsigned long long)live[i], (unsigned long long)w->entries[i]);
    return rc != LN_OK || m == MDB_NOTFOUND ? rc : ln_code_from_mdb(m);
}

/* ---- numbers ------------------------------------------------------------------------------- */

static void compare(struct ln_verify_walk *w, uint32_t id, const char *what, const char *of,
                    uint64_t says, uint64_t is)
{
    if (says != is)
        ln_verify_say(w, id, 0, "%s%s%s: it counts %llu, there are %llu", what, *of ? " of " : "",
                      of, (unsigned long long)says, (unsigned long long)is);
}

static void check_numbers(struct ln_verify_walk *w, uint32_t id)
{
    const struct ln_verify_chan *c = ln_verify_chan(w, id);
    const struct ln_channel_state *s = &c->n.s;
    uint64_t ended = s->processed + s->filtered + s->errors + s->rejected;
    if (s->first_seq > s->next_seq || s->cursor > s->next_seq || c->n.last_pos < c->messages)
        ln_verify_say(w, id, 0, "its cursors are outside of its log");
    for (unsigned i = 0; i < s->ndest; i++)
        if (c->n.dest[i].cursor.seq > s->next_seq)
            ln_verify_say(w, id, 0, "the cursor of %s is outside of its log", c->n.dest[i].name);
    if (c->moved) {
        w->out->unchecked++;
        return;
    }
    compare(w, id, "messages", "", c->n.kept, c->messages);
    compare(w, id, "bytes", "", s->bytes, c->bytes);
    compare(w, id, "messages that wait for the script", "", s->received - ended, c->pending);
    compare(w, id, "parked messages", "", s->parked, c->parked);
    for (unsigned i = 0; i < s->ndest && !w->blind; i++) {
        compare(w, id, "queue", c->n.dest[i].name, c->n.dest[i].queued, c->dest[i].queued);
        compare(w, id, "parked outputs", c->n.dest[i].name, c->n.dest[i].parked, c->dest[i].parked);
    }
}

/* Data keys: what stands around them shows damage to whoever has no key, too. */
static int check_keys(struct ln_verify_walk *w)
{
    MDB_cursor *cur;
    MDB_val key = ln_span_val(ln_span_str("key")), val;
    int rc = ln_reader_cursor(w->r, LN_DB_META, &cur);
    if (rc != LN_OK)
        return rc;
    bool first = true;
    int m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; !m && key.mv_size == 7 && memcmp(key.mv_data, "key", 3) == 0;
         m = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        w->out->records++;
        if (first && ln_get_u32((char *)key.mv_data + 3) != 0)
            ln_verify_say(w, 0, 0, "data key 0 is missing, by which ids and names of kv are found");
        first = false;
        if (!ln_vault_sound(val))
            ln_verify_say(w, 0, 0, "data key %u is damaged", ln_get_u32((char *)key.mv_data + 3));
    }
    return m == MDB_NOTFOUND || !m ? LN_OK : ln_code_from_mdb(m);
}

int ln_verify_rest(struct ln_verify_walk *w)
{
    bool anew;
    int rc = check_keys(w);
    if (rc == LN_OK)
        rc = each(w, LN_DB_PARKED, check_parked);
    if (rc == LN_OK)
        rc = each(w, LN_DB_KV, check_kv);
    if (rc == LN_OK)
        rc = check_index(w);
    if (rc == LN_OK)
        rc = ln_verify_breathe(w, &anew);
    if (rc == LN_OK)
        rc = ln_verify_versions(w);
    for (uint32_t id = 1; id <= w->nchan && rc == LN_OK; id++) {
        if (!ln_verify_chan(w, id))
            continue;
        w->out->channels++;
        rc = check_map(w, id);
        if (rc == LN_OK)
            rc = ln_verify_breathe(w, &anew);
    }
    for (uint32_t id = 1; id <= w->nchan && rc == LN_OK; id++)
        if (ln_verify_chan(w, id))
            check_numbers(w, id);
    return rc;
}
