#include "store/version_write.h"

#include <errno.h>
#include <stdlib.h>

#include "store/version_key.h"

enum {
    SPARE = 5, /* versions of a channel that are kept though no message names them */
    PART = LN_CHUNK - LN_RECORD_HEAD - LN_RECORD_SUM,
};

/* The body of a record, until the next is opened; empty when it is not what was put there. */
static int body_of(struct ln_committer *c, MDB_val key, MDB_val val, struct ln_span *body)
{
    uint64_t total;
    int rc = ln_part_open(c->txn, &c->plain, LN_DB_VER, key, val, body, &total);
    if (rc != LN_OK)
        *body = ln_span("", 0);
    return rc == LN_ENOMEM ? ENOMEM : 0;
}

static int get(struct ln_committer *c, struct ln_version_key k, struct ln_span *body)
{
    MDB_val key = ln_version_val(&k), val;
    int rc = mdb_get(c->txn, c->env->db[LN_DB_VER], &key, &val);
    return rc ? rc : body_of(c, key, val, body);
}

static int put(struct ln_committer *c, struct ln_version_key k, const char *rec, size_t len)
{
    MDB_val key = ln_version_val(&k);
    return ln_part_seal(c->env, c->txn, LN_DB_VER, &key, ln_span(rec, len), 0);
}

static int del(struct ln_committer *c, struct ln_version_key k)
{
    MDB_val key = ln_version_val(&k);
    int rc = mdb_del(c->txn, c->env->db[LN_DB_VER], &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- files --------------------------------------------------------------------------------- */

static int put_kept(struct ln_committer *c, const uint8_t *hash, const struct ln_version_kept *k)
{
    char rec[LN_VERSION_KEPT_MAX];
    return put(c, ln_version_key_hash('n', hash), rec, ln_version_kept_write(rec, k));
}

static int put_content(struct ln_committer *c, const uint8_t *hash, struct ln_span z, uint64_t len)
{
    struct ln_version_kept k = {.refs = 1, .len = len};
    int rc = 0;
    c->scratch.len = 0;
    if (ln_buf_reserve(&c->scratch, LN_RECORD_HEAD + PART) != LN_OK)
        return ENOMEM;
    for (size_t at = 0; at < z.len && !rc; at += PART) {
        size_t n = z.len - at < PART ? z.len - at : PART;
        struct ln_enc e = {c->scratch.data};
        ln_enc_head(&e, 0);
        ln_enc_raw(&e, ln_span(z.ptr + at, n));
        rc = put(c, ln_version_key_part(hash, (uint32_t)k.parts++), c->scratch.data,
                 LN_RECORD_HEAD + n);
    }
    return rc ? rc : put_kept(c, hash, &k);
}

/* One version more has this file; z: its content, for when it is not there yet. */
static int ref(struct ln_committer *c, struct ln_op *op, const uint8_t *hash, struct ln_span z,
               uint64_t len)
{
    struct ln_version_kept k;
    struct ln_span body;
    int rc = get(c, ln_version_key_hash('n', hash), &body);
    if (!rc && ln_version_kept_read(body, &k) == LN_OK) {
        k.refs++;
        return put_kept(c, hash, &k);
    }
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (z.len == 0) {
        op->code = LN_ENOTFOUND;
        return 0;
    }
    return put_content(c, hash, z, len);
}

static int unref(struct ln_committer *c, const uint8_t *hash)
{
    struct ln_version_kept k;
    struct ln_span body;
    int rc = get(c, ln_version_key_hash('n', hash), &body);
    if (rc || ln_version_kept_read(body, &k) != LN_OK)
        return rc == MDB_NOTFOUND ? 0 : rc; /* damaged: it stays */
    if (k.refs > 1) {
        k.refs--;
        return put_kept(c, hash, &k);
    }
    for (uint32_t i = 0; i < k.parts && !rc; i++)
        rc = del(c, ln_version_key_part(hash, i));
    return rc ? rc : del(c, ln_version_key_hash('n', hash));
}

/* ---- what a channel has -------------------------------------------------------------------- */

struct known {
    uint64_t id;
    int64_t last_us;
    bool named; /* by a message, or it runs */
};

struct list {
    struct known *at;
    size_t n, cap;
};

/* Calls fn for every record of that kind of the channel. */
static int each(struct ln_committer *c, char kind, uint32_t chan, struct list *list,
                int (*fn)(struct list *, MDB_val key, struct ln_span body))
{
    MDB_cursor *cur;
    struct ln_span body;
    struct ln_version_key k = ln_version_key_chan(kind, chan);
    MDB_val key = ln_version_val(&k), val;
    int rc = ln_write_cursor(c, LN_DB_VER, &cur);
    if (!rc)
        rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    while (!rc && ln_version_is(key, &k, 13)) {
        rc = body_of(c, key, val, &body);
        if (!rc)
            rc = fn(list, key, body);
        if (!rc)
            rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int add(struct list *l, MDB_val key, struct ln_span body)
{
    struct ln_version v = {0};
    struct ln_dec d;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct known *p = realloc(l->at, cap * sizeof *p);
        if (!p)
            return ENOMEM;
        l->at = p;
        l->cap = cap;
    }
    bool bad = ln_version_head_read(body, &v, &d) != LN_OK;
    /* What cannot be read is not dropped, either: verify names it. */
    l->at[l->n++] = (struct known){ln_get_u64((char *)key.mv_data + 5), v.last_us, bad};
    return 0;
}

static void name(struct list *l, uint64_t id)
{
    for (size_t i = 0; i < l->n; i++)
        l->at[i].named |= l->at[i].id == id;
}

static int name_run(struct list *l, MDB_val key, struct ln_span body)
{
    struct ln_version_run r;
    (void)key;
    if (ln_version_run_read(body, &r) == LN_OK)
        name(l, r.id);
    return 0;
}

static int drop(struct ln_committer *c, uint32_t chan, uint64_t id)
{
    struct ln_version v;
    struct ln_version_file f;
    struct ln_span body;
    struct ln_dec d;
    struct ln_version_key k = ln_version_key_of('v', chan, id);
    int rc = get(c, k, &body);
    if (rc || !body.len) /* not there, or damaged: then it stays */
        return rc == MDB_NOTFOUND ? 0 : rc;
    /* Its record moves when others are written. */
    char *own = malloc(body.len + 1);
    if (!own)
        return ENOMEM;
    memcpy(own, body.ptr, body.len);
    if (ln_version_head_read(ln_span(own, body.len), &v, &d) == LN_OK)
        for (uint32_t i = 0; i < v.nfile && !rc && ln_version_file_read(&d, &f) == LN_OK; i++)
            rc = unref(c, f.hash);
    free(own);
    return rc ? rc : del(c, k);
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const struct known *)a)->last_us, y = ((const struct known *)b)->last_us;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int sweep(struct ln_committer *c, const struct ln_numbers *n)
{
    struct list l = {0};
    struct ln_version_now now = {0};
    struct ln_span body;
    unsigned spare = 0;
    int rc = each(c, 'v', n->s.id, &l, add);
    if (!rc)
        rc = each(c, 'r', n->s.id, &l, name_run);
    if (!rc && get(c, ln_version_key_chan('c', n->s.id), &body) == 0 &&
        ln_version_now_read(body, &now) == LN_OK) {
        name(&l, now.id);
        name(&l, now.pin);
        name(&l, now.pin_from);
    }
    name(&l, n->run.id);
    if (l.n)
        qsort(l.at, l.n, sizeof *l.at, newest_first);
    for (size_t i = 0; i < l.n && !rc; i++)
        if (!l.at[i].named && ++spare > SPARE)
            rc = drop(c, n->s.id, l.at[i].id);
    free(l.at);
    return rc;
}

/* ---- operations ---------------------------------------------------------------------------- */

static int put_files(struct ln_committer *c, struct ln_op *op, struct ln_dec *files, uint32_t n)
{
    struct ln_dec packed = ln_dec_of(ln_span(op->data + op->data_len, op->len - op->data_len));
    struct ln_version_file f;
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc && op->code == LN_OK; i++) {
        if (ln_version_file_read(files, &f) != LN_OK)
            return EINVAL;
        struct ln_span z = ln_dec_bytes(&packed);
        uint64_t len = ln_dec_num(&packed);
        rc = ref(c, op, f.hash, z, len);
    }
    return rc;
}

/* Whether every file that came without content is there. */
static bool complete(struct ln_committer *c, struct ln_op *op, struct ln_dec files, uint32_t n)
{
    struct ln_dec packed = ln_dec_of(ln_span(op->data + op->data_len, op->len - op->data_len));
    struct ln_version_file f;
    struct ln_span body;
    for (uint32_t i = 0; i < n; i++) {
        if (ln_version_file_read(&files, &f) != LN_OK)
            return false;
        struct ln_span z = ln_dec_bytes(&packed);
        (void)ln_dec_num(&packed);
        if (z.len == 0 && get(c, ln_version_key_hash('n', f.hash), &body) != 0)
            return false;
    }
    return true;
}

/* The head of a version that is there already, or LN_ENOTFOUND. */
static int former(struct ln_committer *c, uint32_t chan, uint64_t id, struct ln_version *v)
{
    struct ln_span body;
    struct ln_dec d;
    int rc = get(c, ln_version_key_of('v', chan, id), &body);
    if (rc)
        return rc == MDB_NOTFOUND ? LN_ENOTFOUND : ln_code_from_mdb(rc);
    return ln_version_head_read(body, v, &d);
}

static int put_now(struct ln_committer *c, uint32_t chan, const struct ln_version_now *now)
{
    c->scratch.len = 0;
    if (ln_buf_reserve(&c->scratch, LN_VERSION_NOW_MAX + now->reason.len) != LN_OK)
        return ENOMEM;
    size_t len = ln_version_now_write(c->scratch.data, now);
    return put(c, ln_version_key_chan('c', chan), c->scratch.data, len);
}

static int set_now(struct ln_committer *c, uint32_t chan, uint64_t id)
{
    struct ln_version_now now = {0};
    struct ln_span body;
    int rc = get(c, ln_version_key_chan('c', chan), &body);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (rc || ln_version_now_read(body, &now) != LN_OK)
        now = (struct ln_version_now){0};
    char *reason = malloc(now.reason.len + 1); /* the record moves as it is written */
    if (!reason)
        return ENOMEM;
    if (now.reason.len)
        memcpy(reason, now.reason.ptr, now.reason.len);
    now.reason.ptr = reason;
    now.id = id;
    rc = put_now(c, chan, &now);
    free(reason);
    return rc;
}

int ln_version_put(struct ln_committer *c, struct ln_op *op)
{
    struct ln_version v, old;
    struct ln_dec d;
    struct ln_numbers *n = ln_write_chan(c, op->chan);
    struct ln_span body = ln_span(op->data + LN_RECORD_HEAD, op->data_len - LN_RECORD_HEAD);
    if (!n || ln_version_head_read(body, &v, &d) != LN_OK) {
        op->code = LN_EINVAL;
        return 0;
    }
    int rc = 0, code = former(c, op->chan, v.id, &old);
    if (code == LN_ENOTFOUND && !complete(c, op, d, v.nfile)) {
        op->code = LN_ENOTFOUND;
        return 0;
    }
    if (code == LN_OK) {
        v.first_us = old.first_us;
        if (!v.git[0] || (old.git[0] && (!old.dirty || v.dirty))) { /* what is known stays */
            memcpy(v.git, old.git, sizeof v.git);
            v.dirty = old.dirty;
        }
    } else if (code == LN_ENOTFOUND) {
        struct ln_dec files = d;
        rc = put_files(c, op, &files, v.nfile);
    }
    struct ln_version_file *f = calloc(v.nfile + 1u, sizeof *f);
    if (!rc && !f)
        rc = ENOMEM;
    for (uint32_t i = 0; i < v.nfile && !rc; i++)
        rc = ln_version_file_read(&d, &f[i]) == LN_OK ? 0 : EINVAL;
    v.file = f;
    c->scratch.len = 0;
    if (!rc && ln_buf_reserve(&c->scratch, ln_version_bound(&v)) != LN_OK)
        rc = ENOMEM;
    if (!rc)
        rc = put(c, ln_version_key_of('v', op->chan, v.id), c->scratch.data,
                 ln_version_write(c->scratch.data, &v));
    free(f);
    if (!rc)
        rc = set_now(c, op->chan, v.id);
    return rc || code == LN_OK ? rc : sweep(c, n);
}

int ln_version_pin(struct ln_committer *c, struct ln_op *op)
{
    struct ln_version_now now = {0}, pin = {0};
    struct ln_dec d = ln_dec_of(ln_span(op->data + LN_RECORD_HEAD, op->len - LN_RECORD_HEAD));
    struct ln_span body;
    (void)ln_dec_num(&d);
    pin.pin = ln_dec_num(&d);
    pin.pin_from = ln_dec_num(&d);
    pin.pin_us = (int64_t)ln_dec_num(&d);
    pin.reason = ln_dec_bytes(&d);
    int rc = get(c, ln_version_key_chan('c', op->chan), &body);
    if (!rc && ln_version_now_read(body, &now) == LN_OK)
        pin.id = now.id;
    return rc && rc != MDB_NOTFOUND ? rc : put_now(c, op->chan, &pin);
}

/* ---- runs ---------------------------------------------------------------------------------- */

int ln_version_ran(struct ln_committer *c, struct ln_numbers *n, uint64_t seq, uint64_t script,
                   int64_t time_us)
{
    char rec[LN_VERSION_RUN_MAX];
    struct ln_version_run *r = &n->run;
    int rc = 0;
    if (r->id != script) {
        if (r->id && r->messages)
            rc = put(c, ln_version_key_of('r', n->s.id, r->first_seq), rec,
                     ln_version_run_write(rec, r));
        *r = (struct ln_version_run){.id = script, .first_seq = seq, .first_us = time_us};
    }
    r->last_seq = seq;
    r->last_us = time_us;
    r->messages++;
    return rc;
}

int ln_version_trim(struct ln_committer *c, const struct ln_numbers *n)
{
    MDB_cursor *cur;
    struct ln_version_key k = ln_version_key_chan('r', n->s.id);
    struct ln_version_run r;
    bool gone = false;
    int rc = ln_write_cursor(c, LN_DB_VER, &cur);
    for (;;) {
        MDB_val key = ln_version_val(&k), val;
        struct ln_span body;
        if (rc || (rc = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE)) != 0 ||
            !ln_version_is(key, &k, 13) || (rc = body_of(c, key, val, &body)) != 0 ||
            ln_version_run_read(body, &r) != LN_OK || r.last_seq >= n->s.first_seq)
            break;
        rc = mdb_cursor_del(cur, 0);
        gone = true;
    }
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    return gone ? sweep(c, n) : 0;
}
