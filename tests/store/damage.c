/* damage WHAT DIR: makes something wrong in a store, as no engine would, with right checksums.
 *   count, queue, cursor   channel 1's number of messages, of queued outputs; its cursor
 *   result, outcome, receipt, note   takes those of channel 1's message 2 away
 *   orphan   an outcome of a message that is not there
 *   map      channel 1's tail leads one message further */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"

static struct ln_env *env;
static MDB_txn *txn;

static void must(int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", mdb_strerror(rc));
        exit(1);
    }
}

static void take(enum ln_db db, struct ln_key k)
{
    MDB_val key = ln_key_val(&k);
    must(mdb_del(txn, env->db[db], &key, NULL));
}

static void numbers(const char *what)
{
    struct ln_key k = ln_key_chan(1);
    MDB_val key = ln_key_val(&k), val;
    struct ln_numbers n = {.kept = 0};
    struct ln_span runs;
    struct ln_map map = {.nruns = 0};
    struct ln_buf out = {0};
    must(mdb_get(txn, env->db[LN_DB_CUR], &key, &val));
    must(ln_numbers_read(ln_val_span(val), 1, &n, &runs));
    must(ln_map_set(&map, runs));
    if (strcmp(what, "count") == 0)
        n.kept++;
    else if (strcmp(what, "queue") == 0)
        n.dest[0].queued += 2;
    else if (strcmp(what, "cursor") == 0)
        n.s.cursor -= 1;
    else
        must(ln_map_add(&map, n.s.next_seq++, n.last_pos + 100));
    must(ln_numbers_write(&n, ln_buf_span(&map.runs), &out));
    key = ln_key_val(&k);
    must(ln_part_seal(env, txn, LN_DB_CUR, &key, ln_buf_span(&out), 0));
}

int main(int argc, char **argv)
{
    struct ln_err err = {0};
    struct ln_key sub = ln_key_pos(2);
    const char *what = argv[1];
    uint64_t bytes = 0;
    if (argc != 3 || ln_env_open(argv[2], true, (uint64_t)1 << 30, &env, &err) != LN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    must(mdb_txn_begin(env->mdb, NULL, 0, &txn));
    ln_key_u32(&sub, 0);
    if (strcmp(what, "result") == 0)
        take(LN_DB_RES, ln_key_pos(2));
    else if (strcmp(what, "receipt") == 0)
        take(LN_DB_LOG, ln_key_pos(2));
    else if (strcmp(what, "outcome") == 0)
        take(LN_DB_OUT, sub);
    else if (strcmp(what, "note") == 0)
        take(LN_DB_PARKED, ln_key_parked(1, 3, LN_WHOLE));
    else if (strcmp(what, "orphan") == 0)
        must(ln_part_put(env, txn, (struct ln_at){.db = LN_DB_OUT, .pos = 5000},
                         ln_span("\1\0\1\1\1", 5), &bytes));
    else
        numbers(what);
    must(mdb_txn_commit(txn));
    ln_env_close(env);
    return 0;
}
