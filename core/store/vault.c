/* The data keys of a store: see seal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/secret.h"
#include "store/seal.h"

enum { VALUE = 8 + LN_WRAPPED + 4, LABEL = 16 + 12 };

/* ---- the operator's keys ------------------------------------------------------------------- */

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ln_keys *own;

void ln_store_keys(struct ln_keys *keys)
{
    pthread_mutex_lock(&own_lock);
    struct ln_keys *old = own;
    own = keys;
    pthread_mutex_unlock(&own_lock);
    ln_keys_unref(old);
}

struct ln_keys *ln_vault_keys(void)
{
    pthread_mutex_lock(&own_lock);
    struct ln_keys *k = own ? ln_keys_ref(own) : NULL;
    pthread_mutex_unlock(&own_lock);
    return k;
}

struct ln_keys *ln_store_keys_ref(void)
{
    return ln_vault_keys();
}

/* ---- the table ----------------------------------------------------------------------------- */

struct ln_vault *ln_vault_new(struct ln_keys *keys)
{
    struct ln_vault *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    pthread_mutex_init(&v->lock, NULL);
    v->keys = keys;
    return v;
}

void ln_vault_free(struct ln_vault *v)
{
    if (!v)
        return;
    ln_secret_free(v->secret, v->cap * sizeof *v->secret);
    free(v->gen);
    ln_keys_unref(v->keys);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

/* Room for one more. Lock held by the callers of all below. */
static bool grow(struct ln_vault *v)
{
    if (v->n < v->cap)
        return true;
    unsigned cap = v->cap ? v->cap * 2 : 64;
    struct ln_generation *gen = realloc(v->gen, cap * sizeof *gen);
    if (gen)
        v->gen = gen;
    unsigned char(*secret)[LN_AEAD_KEY] = gen ? ln_secret_new(cap * sizeof *secret) : NULL;
    if (!secret)
        return false;
    if (v->n)
        memcpy(secret, v->secret, v->n * sizeof *secret);
    ln_secret_free(v->secret, v->cap * sizeof *v->secret);
    v->secret = secret;
    v->cap = cap;
    return true;
}

/* Numbers only grow, and are known in order: the last ones are asked for most. */
static int find(const struct ln_vault *v, uint32_t gen)
{
    for (unsigned i = v->n; i-- > 0;)
        if (v->gen[i].gen == gen)
            return (int)i;
    return -1;
}

int ln_vault_get(struct ln_vault *v, uint32_t gen, unsigned char key[LN_AEAD_KEY])
{
    pthread_mutex_lock(&v->lock);
    int i = find(v, gen);
    if (i >= 0)
        memcpy(key, v->secret[i], LN_AEAD_KEY);
    pthread_mutex_unlock(&v->lock);
    return i < 0 ? LN_ENOTFOUND : LN_OK;
}

int ln_vault_add(struct ln_vault *v, uint64_t from, uint32_t *gen)
{
    pthread_mutex_lock(&v->lock);
    int rc = grow(v) ? ln_crypt_random(v->secret[v->n], LN_AEAD_KEY) : LN_ENOMEM;
    if (rc == LN_OK) {
        *gen = v->n ? v->gen[v->n - 1].gen + 1 : 0;
        v->gen[v->n++] = (struct ln_generation){*gen, from, true};
    }
    pthread_mutex_unlock(&v->lock);
    return rc;
}

bool ln_vault_stale(struct ln_vault *v)
{
    pthread_mutex_lock(&v->lock);
    bool stale = v->keys && v->n == 0;
    for (unsigned i = 0; i < v->n && v->keys && !stale; i++)
        stale = v->gen[i].stale;
    pthread_mutex_unlock(&v->lock);
    return stale;
}

void ln_vault_settled(struct ln_vault *v)
{
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < v->n; i++)
        v->gen[i].stale = false;
    pthread_mutex_unlock(&v->lock);
}

bool ln_vault_open(struct ln_vault *v)
{
    pthread_mutex_lock(&v->lock);
    bool has = v->keys != NULL;
    pthread_mutex_unlock(&v->lock);
    return has;
}

uint64_t ln_vault_from(struct ln_vault *v)
{
    pthread_mutex_lock(&v->lock);
    uint64_t from = v->n ? v->gen[0].from : UINT64_MAX;
    pthread_mutex_unlock(&v->lock);
    return from;
}

void ln_vault_rekey(struct ln_vault *v, struct ln_keys *keys)
{
    pthread_mutex_lock(&v->lock);
    struct ln_keys *old = v->keys;
    v->keys = keys;
    for (unsigned i = 0; i < v->n; i++)
        v->gen[i].stale = true;
    pthread_mutex_unlock(&v->lock);
    ln_keys_unref(old);
}

/* ---- in meta ------------------------------------------------------------------------------- */

static struct ln_key meta_key(uint32_t gen)
{
    struct ln_key k = {.b = "key", .len = 3};
    ln_key_u32(&k, gen);
    return k;
}

/* What a wrapped key is good for. */
static struct ln_span label_of(uint32_t gen, uint64_t from, char to[LABEL])
{
    struct ln_key k = {.len = 0};
    ln_key_u32(&k, gen);
    ln_key_u64(&k, from);
    memcpy(to, "lunate store key", 16);
    memcpy(to + 16, k.b, 12);
    return ln_span(to, LABEL);
}

/* Whether a value of meta is one of ours, and whole. */
bool ln_vault_sound(MDB_val val)
{
    const unsigned char *p = (const unsigned char *)val.mv_data + VALUE - 4;
    return val.mv_size == VALUE && ln_crc32c(val.mv_data, VALUE - 4) == ln_get_u32(p);
}

/* Lock held. */
static int take(struct ln_vault *v, const char *path, uint32_t gen, MDB_val val, struct ln_err *err)
{
    char label[LABEL], id[LN_KEYS_ID_TEXT];
    if (find(v, gen) >= 0)
        return LN_OK;
    if (!ln_vault_sound(val))
        return ln_err_set(err, LN_EPARSE, "%s/data.mdb is damaged: its data key %u", path, gen);
    struct ln_span wrapped = ln_span((const char *)val.mv_data + 8, LN_WRAPPED);
    uint64_t from = ln_get_u64(val.mv_data);
    if (!v->keys)
        return ln_err_set(err, LN_EKEY,
                          "the store in %s is encrypted, and no key is named: lunate.lua needs "
                          "encryption = { key_file = \"...\" }",
                          path);
    if (!grow(v))
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    int rc = ln_keys_unwrap(v->keys, label_of(gen, from, label), wrapped, v->secret[v->n]);
    ln_keys_wrapped_id(wrapped, id);
    if (rc == LN_ENOTFOUND)
        return ln_err_set(err, LN_EKEY,
                          "the store in %s is encrypted with key %s, which is not in %s: put that "
                          "key there (a line below the present key is enough)",
                          path, id, ln_keys_source(v->keys));
    if (rc != LN_OK)
        return ln_err_set(err, rc, "%s/data.mdb: data key %u was changed, or the key %s is wrong",
                          path, gen, id);
    v->gen[v->n++] = (struct ln_generation){gen, from, ln_keys_find(v->keys, wrapped) != 0};
    return LN_OK;
}

int ln_vault_load(const struct ln_env *e, MDB_txn *txn, MDB_dbi meta, struct ln_err *err)
{
    struct ln_key k = meta_key(0);
    MDB_val key = ln_key_val(&k), val;
    MDB_cursor *c;
    int rc = mdb_cursor_open(txn, meta, &c), code = LN_OK;
    if (rc)
        return ln_err_set(err, ln_code_from_mdb(rc), "%s: %s", e->path, mdb_strerror(rc));
    pthread_mutex_lock(&e->vault->lock);
    rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    for (; !rc && code == LN_OK && key.mv_size == k.len && memcmp(key.mv_data, "key", 3) == 0;
         rc = mdb_cursor_get(c, &key, &val, MDB_NEXT))
        code = take(e->vault, e->path, ln_get_u32((char *)key.mv_data + 3), val, err);
    pthread_mutex_unlock(&e->vault->lock);
    mdb_cursor_close(c);
    return code;
}

bool ln_vault_any(MDB_txn *txn, MDB_dbi meta)
{
    MDB_cursor *c;
    MDB_val key = ln_span_val(ln_span_str("key")), val;
    if (mdb_cursor_open(txn, meta, &c))
        return false;
    bool any = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE) == 0 && key.mv_size == 7 &&
               memcmp(key.mv_data, "key", 3) == 0;
    mdb_cursor_close(c);
    return any;
}

static int put_format(const struct ln_env *e, MDB_txn *txn)
{
    struct ln_key f = {.len = 0};
    ln_key_u32(&f, LN_STORE_FORMAT_SEALED);
    MDB_val key = ln_span_val(ln_span_str("format")), val = ln_key_val(&f);
    return mdb_put(txn, e->db[LN_DB_META], &key, &val, 0);
}

int ln_vault_put(const struct ln_env *e, MDB_txn *txn)
{
    struct ln_vault *v = e->vault;
    int rc = put_format(e, txn);
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < v->n && !rc; i++) {
        const struct ln_generation *g = &v->gen[i];
        unsigned char b[VALUE];
        char label[LABEL];
        struct ln_key k = meta_key(g->gen), from = ln_key_pos(g->from), sum = {.len = 0};
        if (!g->stale)
            continue;
        memcpy(b, from.b, 8);
        rc = ln_keys_wrap(v->keys, label_of(g->gen, g->from, label), v->secret[i], b + 8) == LN_OK
                 ? 0
                 : EIO;
        ln_key_u32(&sum, ln_crc32c(b, VALUE - 4));
        memcpy(b + VALUE - 4, sum.b, 4);
        MDB_val key = ln_key_val(&k), val = {sizeof b, b};
        if (!rc)
            rc = mdb_put(txn, e->db[LN_DB_META], &key, &val, 0);
    }
    pthread_mutex_unlock(&v->lock);
    return rc;
}
