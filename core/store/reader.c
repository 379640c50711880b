#include "store/reader.h"

#include <stdlib.h>

#include "store/engine.h"
#include "store/seal.h"

enum { BLOCK = 64 * 1024 };

/* ---- life ---------------------------------------------------------------------------------- */

static char *room(void *reader, size_t len)
{
    return ln_reader_alloc(reader, len);
}

static int reader_new(struct ln_env *env, bool own, struct ln_reader **out)
{
    struct ln_reader *r = calloc(1, sizeof *r);
    if (!r)
        return LN_ENOMEM;
    r->env = env;
    r->own_env = own;
    r->plain = (struct ln_plain){ln_seal_new(env), room, r};
    if (!r->plain.seal) {
        free(r);
        return LN_ENOMEM;
    }
    pthread_mutex_lock(&env->readers_lock);
    r->next = env->readers;
    env->readers = r;
    pthread_mutex_unlock(&env->readers_lock);
    *out = r;
    return LN_OK;
}

int ln_reader_of(struct ln_store *s, struct ln_reader **out)
{
    return reader_new(s->env, false, out);
}

int ln_reader_open_as(const char *path, unsigned how, struct ln_reader **out, struct ln_err *err)
{
    struct ln_env *env;
    int rc = ln_env_open(path, how, 0, &env, err);
    if (rc != LN_OK)
        return rc;
    if ((rc = reader_new(env, true, out)) != LN_OK) {
        ln_env_close(env);
        return ln_err_set(err, rc, "out of memory");
    }
    return LN_OK;
}

int ln_reader_open(const char *path, struct ln_reader **out, struct ln_err *err)
{
    return ln_reader_open_as(path, 0, out, err);
}

/* Guard held, or nobody else about. */
static void forget(struct ln_reader *r)
{
    for (int i = 0; i < LN_DB_COUNT; i++) {
        if (r->cur[i])
            mdb_cursor_close(r->cur[i]);
        r->cur[i] = NULL;
        r->cur_live[i] = false;
    }
    if (r->txn)
        mdb_txn_abort(r->txn);
    r->txn = NULL;
}

void ln_reader_forget_all(struct ln_env *e)
{
    pthread_mutex_lock(&e->readers_lock);
    for (struct ln_reader *r = e->readers; r; r = r->next)
        forget(r);
    pthread_mutex_unlock(&e->readers_lock);
}

void ln_reader_close(struct ln_reader *r)
{
    if (!r)
        return;
    ln_reader_end(r);
    pthread_rwlock_rdlock(&r->env->guard);
    forget(r);
    pthread_rwlock_unlock(&r->env->guard);
    pthread_mutex_lock(&r->env->readers_lock);
    struct ln_reader **at = &r->env->readers;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    pthread_mutex_unlock(&r->env->readers_lock);
    if (r->own_env)
        ln_env_close(r->env);
    for (struct ln_reader_block *b; (b = r->blocks);) {
        r->blocks = b->next;
        free(b);
    }
    ln_numbers_fini(&r->numbers);
    ln_seal_free(r->plain.seal);
    free(r->items);
    free(r);
}

/* ---- transactions -------------------------------------------------------------------------- */

static int start(struct ln_reader *r)
{
    if (r->txn)
        return mdb_txn_renew(r->txn);
    return mdb_txn_begin(r->env->mdb, NULL, MDB_RDONLY, &r->txn);
}

int ln_reader_begin(struct ln_reader *r)
{
    if (r->active)
        return LN_EINVAL;
    /* Held by another only while the environment is opened again after a failure. */
    if (pthread_rwlock_tryrdlock(&r->env->guard))
        return LN_EAGAIN;
    int rc = r->env->mdb ? start(r) : MDB_PANIC;
    if (rc == MDB_MAP_RESIZED && !r->env->writable) { /* the engine's file outgrew our map */
        pthread_rwlock_unlock(&r->env->guard);
        pthread_rwlock_wrlock(&r->env->guard);
        ln_reader_forget_all(r->env);
        rc = mdb_env_set_mapsize(r->env->mdb, 0);
        pthread_rwlock_unlock(&r->env->guard);
        pthread_rwlock_rdlock(&r->env->guard);
        rc = rc ? rc : start(r);
    }
    if (rc) {
        forget(r);
        pthread_rwlock_unlock(&r->env->guard);
        return ln_code_from_mdb(rc);
    }
    r->active = true;
    return LN_OK;
}

void ln_reader_end(struct ln_reader *r)
{
    if (!r->active)
        return;
    mdb_txn_reset(r->txn);
    memset(r->cur_live, 0, sizeof r->cur_live);
    r->runs_chan = 0;
    r->active = false;
    pthread_rwlock_unlock(&r->env->guard);
    ln_reader_forget(r);
}

void ln_reader_forget(struct ln_reader *r)
{
    for (struct ln_reader_block *b; (b = r->blocks);) {
        if (b->cap == BLOCK && !b->next) {
            b->used = 0;
            break;
        }
        r->blocks = b->next;
        free(b);
    }
}

char *ln_reader_alloc(struct ln_reader *r, size_t len)
{
    size_t need = (len + 15) & ~(size_t)15;
    struct ln_reader_block *b = r->blocks;
    if (need < len)
        return NULL;
    if (!b || b->cap - b->used < need) {
        size_t cap = need > BLOCK ? need : BLOCK;
        if (!(b = malloc(sizeof *b + cap)))
            return NULL;
        b->cap = cap;
        b->used = 0;
        b->next = r->blocks;
        r->blocks = b;
    }
    b->used += need;
    return b->data + b->used - need;
}

int ln_reader_cursor(struct ln_reader *r, enum ln_db db, MDB_cursor **out)
{
    int rc = 0;
    if (!r->cur[db])
        rc = mdb_cursor_open(r->txn, r->env->db[db], &r->cur[db]);
    else if (!r->cur_live[db])
        rc = mdb_cursor_renew(r->txn, r->cur[db]);
    r->cur_live[db] = rc == 0;
    *out = r->cur[db];
    return ln_code_from_mdb(rc);
}

int ln_reader_seek(MDB_cursor *c, struct ln_key *k, size_t prefix, MDB_val *key, MDB_val *val)
{
    *key = ln_key_val(k);
    int rc = mdb_cursor_get(c, key, val, MDB_SET_RANGE);
    if (rc)
        return ln_code_from_mdb(rc);
    return key->mv_size >= prefix && memcmp(key->mv_data, k->b, prefix) == 0 ? LN_OK : LN_ENOTFOUND;
}

/* Finds the tail of the channel's map, and a cursor on the rest of it. */
static int map_of(struct ln_reader *r, uint32_t chan, MDB_cursor **cur)
{
    struct ln_key k = ln_key_chan(chan);
    MDB_val key = ln_key_val(&k), val;
    if (chan != r->runs_chan || chan == 0) {
        int rc = mdb_get(r->txn, r->env->db[LN_DB_CUR], &key, &val);
        int code = rc ? ln_code_from_mdb(rc) : ln_numbers_runs(ln_val_span(val), &r->runs);
        if (code != LN_OK)
            return code;
        r->runs_chan = chan;
    }
    return ln_reader_cursor(r, LN_DB_MAP, cur);
}

int ln_reader_runs(struct ln_reader *r, uint32_t chan, MDB_cursor **cur, struct ln_span *runs)
{
    int rc = map_of(r, chan, cur);
    *runs = r->runs;
    return rc;
}

int ln_reader_at(struct ln_reader *r, uint32_t chan, uint64_t seq, uint64_t *pos)
{
    MDB_cursor *cur;
    int rc = map_of(r, chan, &cur);
    return rc == LN_OK ? ln_map_at(cur, chan, r->runs, seq, pos) : rc;
}

int ln_reader_from(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint64_t *pos)
{
    MDB_cursor *cur;
    int rc = map_of(r, chan, &cur);
    return rc == LN_OK ? ln_map_from(cur, chan, r->runs, seq, pos) : rc;
}

int ln_reader_back(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint64_t *pos)
{
    MDB_cursor *cur;
    int rc = map_of(r, chan, &cur);
    return rc == LN_OK ? ln_map_back(cur, chan, r->runs, seq, pos) : rc;
}

int ln_reader_body(struct ln_reader *r, struct ln_at at, struct ln_span *body)
{
    uint64_t total;
    int rc = ln_part_get(r->env, r->txn, &r->plain, at, body, &total);
    if (rc != LN_OK || total == body->len)
        return rc;
    char *to = ln_reader_alloc(r, total);
    if (!to)
        return LN_ENOMEM;
    rc = ln_part_join(r->env, r->txn, &r->plain, at, *body, total, to);
    *body = ln_span(to, total);
    return rc;
}
