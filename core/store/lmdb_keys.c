/* The store's keys within a transaction: a data key for what is written from now on, other keys to
 * wrap it with, pairs of kv sealed that stand in clear. Committer thread. */
#include <errno.h>

#include "store/engine.h"
#include "store/seal.h"

/* Pairs that stand in clear are sealed, all at once, when the store begins to be encrypted. */
static int seal_kv(struct ln_committer *c)
{
    MDB_cursor *cur;
    MDB_val key, val;
    int rc = ln_write_cursor(c, LN_DB_KV, &cur);
    while (!rc && (rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST)) == 0) {
        struct ln_buf copy = {0};
        uint32_t chan = ln_get_u32(key.mv_data);
        size_t name = key.mv_size - 4, sum = val.mv_size < LN_RECORD_SUM ? 0 : LN_RECORD_SUM;
        if (chan & LN_KV_SEALED)
            return 0;
        if (ln_buf_add(&copy, (char *)key.mv_data + 4, name) != LN_OK ||
            ln_buf_add(&copy, val.mv_data, val.mv_size - sum) != LN_OK)
            rc = ENOMEM;
        if (!rc && !ln_record_sound(ln_val_span(val)))
            rc = MDB_CORRUPTED;
        if (!rc)
            copy.data[name + 1] &= (char)~LN_RECORD_SUMMED;
        if (!rc)
            rc = ln_seal_put_kv(c->seal, c->txn, chan, ln_span(copy.data, name),
                                ln_span(copy.data + name, copy.len - name), &c->scratch);
        key = (MDB_val){0, NULL};
        if (!rc && (rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST)) == 0)
            rc = mdb_cursor_del(cur, 0);
        ln_buf_fini(&copy);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int ln_write_keys(struct ln_committer *c)
{
    struct ln_vault *v = c->env->vault;
    struct ln_seal *s = c->seal;
    uint32_t gen;
    bool fresh = s->out_gen == 0 || s->count >= s->limit;
    if (!ln_vault_open(v) || (!fresh && !ln_vault_stale(v)))
        return 0;
    for (unsigned i = 0; i < c->nchans && !ln_env_sealed(c->env, c->txn); i++)
        c->chans[i].dirty = true; /* sealed from the first on */
    if (ln_vault_from(v) == UINT64_MAX && ln_vault_add(v, c->next_pos, &gen) != LN_OK)
        return ENOMEM;
    if (fresh && (ln_vault_add(v, c->next_pos, &gen) != LN_OK || ln_seal_use(s, gen) != LN_OK))
        return ENOMEM;
    c->env->out = s;
    int rc = ln_vault_put(c->env, c->txn);
    c->keys_put = true;
    return rc ? rc : seal_kv(c);
}

int ln_write_rekey(struct ln_committer *c, struct ln_op *op)
{
    struct ln_keys *keys;
    memcpy(&keys, op->data, sizeof keys);
    if (op->n == 0) { /* not when the transaction is tried again */
        ln_vault_rekey(c->env->vault, keys);
        c->seal->out_gen = 0;
        op->n = 1;
    }
    return ln_write_keys(c);
}
