/* flip DIR drop|swap TABLE RECORD: takes a record out; it and the next one change values.
 * flip DIR: says for each table how many records it has, a line each: its name, their number.
 * flip DIR TABLE RECORD BYTE MASK: changes one byte of a record's value, as a hand with a
 * hexadecimal editor would: no sum is made right again. BYTE counts from the front, below 0 from
 * the end; says how long the value is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"

static const char *const names[LN_DB_COUNT] = {"meta", "log", "res", "out",    "ev",  "part",
                                               "map",  "cur", "kv",  "parked", "idx", "ver"};

static void must(int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", mdb_strerror(rc));
        exit(1);
    }
}

static void list(const struct ln_env *env, MDB_txn *txn)
{
    for (int db = 0; db < LN_DB_COUNT; db++) {
        MDB_stat st;
        if (env->db[db] == LN_DB_NONE)
            continue;
        must(mdb_stat(txn, env->db[db], &st));
        printf("%s %zu\n", names[db], st.ms_entries);
    }
}

/* A cursor on that record. */
static MDB_cursor *find(const struct ln_env *env, MDB_txn *txn, const char *table,
                        const char *record, MDB_val *key, MDB_val *val)
{
    MDB_cursor *c;
    int db = 0;
    while (db < LN_DB_COUNT && strcmp(names[db], table) != 0)
        db++;
    must(db == LN_DB_COUNT);
    must(mdb_cursor_open(txn, env->db[db], &c));
    must(mdb_cursor_get(c, key, val, MDB_FIRST));
    for (long n = strtol(record, NULL, 10); n > 0; n--)
        must(mdb_cursor_get(c, key, val, MDB_NEXT));
    return c;
}

static MDB_val dup_of(MDB_val v)
{
    void *p = malloc(v.mv_size ? v.mv_size : 1);
    memcpy(p, v.mv_data, v.mv_size);
    return (MDB_val){v.mv_size, p};
}

static void whole(const struct ln_env *env, MDB_txn *txn, char **argv)
{
    MDB_val key, val, key2, val2;
    MDB_cursor *c = find(env, txn, argv[3], argv[4], &key, &val);
    if (strcmp(argv[2], "drop") == 0) {
        must(mdb_cursor_del(c, 0));
    } else {
        MDB_dbi db = mdb_cursor_dbi(c);
        key = dup_of(key);
        val = dup_of(val);
        must(mdb_cursor_get(c, &key2, &val2, MDB_NEXT));
        key2 = dup_of(key2);
        val2 = dup_of(val2);
        must(mdb_put(txn, db, &key, &val2, 0));
        must(mdb_put(txn, db, &key2, &val, 0));
    }
    mdb_cursor_close(c);
}

static void flip(const struct ln_env *env, MDB_txn *txn, char **argv)
{
    MDB_val key, val;
    MDB_cursor *c = find(env, txn, argv[2], argv[3], &key, &val);
    long at = strtol(argv[4], NULL, 10), len = (long)val.mv_size;
    at = at < 0 ? len + at : at;
    printf("%ld\n", len);
    if (at >= 0 && at < len) {
        char *copy = malloc(val.mv_size);
        memcpy(copy, val.mv_data, val.mv_size);
        copy[at] ^= (char)strtol(argv[5], NULL, 10);
        val.mv_data = copy;
        must(mdb_cursor_put(c, &key, &val, MDB_CURRENT));
        free(copy);
    }
    mdb_cursor_close(c);
}

int main(int argc, char **argv)
{
    struct ln_err err = {0};
    struct ln_env *env;
    MDB_txn *txn;
    if ((argc != 2 && argc != 5 && argc != 6) ||
        ln_env_open(argv[1], LN_ENV_WRITE | LN_ENV_BLIND, (uint64_t)1 << 30, &env, &err) != LN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    must(mdb_txn_begin(env->mdb, NULL, 0, &txn));
    if (argc == 2)
        list(env, txn);
    else if (argc == 5)
        whole(env, txn, argv);
    else
        flip(env, txn, argv);
    must(mdb_txn_commit(txn));
    ln_env_close(env);
    return 0;
}
