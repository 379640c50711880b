/* tamper WHAT DIR: changes an encrypted store as somebody would who knows its format, but has no
 * key: sums are made right again.
 *   receipt, result, outcome, event, kv, numbers, part   a byte of it
 *   version, file, count, now   of a script version: its record, its text, how many have that, what
 *            runs: a byte of it
 *   swap     two receipts change places
 *   clear, clearkv   a receipt, a pair of kv in clear takes the place of an encrypted one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"
#include "store/seal.h"

static struct ln_env *env;
static MDB_txn *txn;

static void must(int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", mdb_strerror(rc));
        exit(1);
    }
}

static MDB_val get(enum ln_db db, MDB_val *key)
{
    MDB_cursor *c;
    MDB_val val;
    must(mdb_cursor_open(txn, env->db[db], &c));
    must(mdb_cursor_get(c, key, &val, MDB_SET_RANGE));
    mdb_cursor_close(c);
    char *copy = malloc(val.mv_size), *k = malloc(key->mv_size);
    memcpy(copy, val.mv_data, val.mv_size);
    memcpy(k, key->mv_data, key->mv_size);
    key->mv_data = k;
    return (MDB_val){val.mv_size, copy};
}

static void put(enum ln_db db, MDB_val key, MDB_val val)
{
    ln_record_sum(val.mv_data, val.mv_size - LN_RECORD_SUM);
    must(mdb_put(txn, env->db[db], &key, &val, 0));
}

static void change(enum ln_db db, struct ln_key k, size_t from_end)
{
    MDB_val key = ln_key_val(&k), val = get(db, &key);
    ((char *)val.mv_data)[val.mv_size - from_end] ^= 1;
    put(db, key, val);
}

/* The first record of that kind in the table of script versions. */
static void change_version(char kind)
{
    MDB_val key = {1, &kind}, val = get(LN_DB_VER, &key);
    ((char *)val.mv_data)[val.mv_size - 22] ^= 1;
    put(LN_DB_VER, key, val);
}

static void swap(void)
{
    struct ln_key a = ln_key_pos(4), b = ln_key_pos(5);
    MDB_val ka = ln_key_val(&a), kb = ln_key_val(&b);
    MDB_val va = get(LN_DB_LOG, &ka), vb = get(LN_DB_LOG, &kb);
    put(LN_DB_LOG, ka, vb);
    put(LN_DB_LOG, kb, va);
}

static void plain(void)
{
    struct ln_receipt r = {.kind = LN_R_RECEIVED, .raw = ln_span_str("forged")};
    char *b = malloc(ln_record_receipt_bound(&r) + LN_RECORD_SUM);
    size_t len = ln_record_receipt_write(b, 1, 2, &r);
    struct ln_key k = ln_key_pos(2);
    b[1] |= LN_RECORD_SUMMED;
    put(LN_DB_LOG, ln_key_val(&k), (MDB_val){len + LN_RECORD_SUM, b});
}

static void plain_kv(void)
{
    char b[64];
    struct ln_enc e = {b};
    struct ln_key k = ln_key_chan(1);
    MDB_val key = ln_key_val(&k);
    (void)get(LN_DB_KV, &key);
    ln_enc_head(&e, LN_RECORD_SUMMED);
    ln_enc_bytes(&e, ln_span_str("KVNAMEMARK1"));
    ln_enc_raw(&e, ln_span_str("forged"));
    put(LN_DB_KV, key, (MDB_val){(size_t)(e.p - b) + LN_RECORD_SUM, b});
}

int main(int argc, char **argv)
{
    struct ln_err err;
    if (argc != 3 ||
        ln_env_open(argv[2], LN_ENV_WRITE | LN_ENV_BLIND, (uint64_t)1 << 30, &env, &err) != LN_OK)
        return 1;
    must(mdb_txn_begin(env->mdb, NULL, 0, &txn));
    const char *what = argv[1];
    if (strcmp(what, "receipt") == 0)
        change(LN_DB_LOG, ln_key_pos(2), 30);
    else if (strcmp(what, "result") == 0)
        change(LN_DB_RES, ln_key_pos(2), 30);
    else if (strcmp(what, "outcome") == 0)
        change(LN_DB_OUT, ln_key_pos(2), 30);
    else if (strcmp(what, "event") == 0)
        change(LN_DB_EV, ln_key_pos(2), 22);
    else if (strcmp(what, "kv") == 0)
        change(LN_DB_KV, ln_key_chan(1), 22);
    else if (strcmp(what, "numbers") == 0)
        change(LN_DB_CUR, ln_key_chan(1), 30);
    else if (strcmp(what, "part") == 0)
        change(LN_DB_PART, ln_key_pos(61), 1000);
    else if (strcmp(what, "version") == 0)
        change_version('v');
    else if (strcmp(what, "file") == 0)
        change_version('f');
    else if (strcmp(what, "count") == 0)
        change_version('n');
    else if (strcmp(what, "now") == 0)
        change_version('c');
    else if (strcmp(what, "swap") == 0)
        swap();
    else if (strcmp(what, "clear") == 0)
        plain();
    else if (strcmp(what, "clearkv") == 0)
        plain_kv();
    else
        return 2;
    must(mdb_txn_commit(txn));
    ln_env_close(env);
    return 0;
}
