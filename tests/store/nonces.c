/* nonces DIR: reads every sealed record of a store and says whether two of one generation have the
 * same nonce. Parts take the numbers behind their record's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"
#include "store/seal.h"

struct nonce {
    uint32_t gen;
    unsigned char n[LN_AEAD_NONCE];
};

static struct nonce *all;
static size_t n, cap;

static int by_all(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct nonce));
}

static void add(const struct ln_sealed *s)
{
    if (n == cap)
        all = realloc(all, (cap = cap ? 2 * cap : 4096) * sizeof *all);
    memset(&all[n], 0, sizeof *all);
    all[n].gen = s->gen;
    memcpy(all[n++].n, s->nonce, LN_AEAD_NONCE);
}

int main(int argc, char **argv)
{
    struct ln_env *e;
    struct ln_err err;
    MDB_txn *txn;
    unsigned long doubles = 0, gens = 0, unsealed = 0;
    if (argc != 2 || ln_env_open(argv[1], LN_ENV_BLIND, 0, &e, &err) != LN_OK)
        return 1;
    if (mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn))
        return 1;
    for (int db = LN_DB_LOG; db < LN_DB_COUNT; db++) {
        MDB_cursor *c;
        MDB_val key, val;
        struct ln_sealed s;
        if (db == LN_DB_PART || mdb_cursor_open(txn, e->db[db], &c))
            continue;
        while (mdb_cursor_get(c, &key, &val, MDB_NEXT) == 0)
            if (ln_record_sealed(ln_val_span(val), &s) == LN_OK)
                add(&s);
            else
                unsealed++;
        mdb_cursor_close(c);
    }
    qsort(all, n, sizeof *all, by_all);
    for (size_t i = 0; i < n; i++) {
        doubles += i && memcmp(&all[i], &all[i - 1], sizeof *all) == 0;
        gens += i == 0 || all[i].gen != all[i - 1].gen;
    }
    printf("%zu records, %lu generations, %lu double, %lu not sealed\n", n, gens, doubles,
           unsealed);
    mdb_txn_abort(txn);
    ln_env_close(e);
    free(all);
    return doubles || unsealed ? 1 : 0;
}
