/* Rewrites a whole store under a new data key, while no engine has it: what stood in clear, or
 * under a key that somebody else may know, is then encrypted anew. The new file takes the old one's
 * place when it is whole, synced and checked; a crash leaves the old one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/engine.h"
#include "store/reader.h"
#include "store/seal.h"

enum { COMMIT = 2000, MERGES = 4 }; /* messages in a transaction */

struct rewrite {
    struct ln_reader *r; /* of the old store */
    struct ln_env *to;
    MDB_txn *txn; /* on it */
    struct ln_seal *seal;
    uint64_t *bytes; /* of a channel's content, by id - 1 */
    uint32_t nchan;
    struct ln_tail tail;
    struct ln_buf rec, scratch;
    uint64_t messages, last;
    unsigned in_txn;
};

/* ---- one record ---------------------------------------------------------------------------- */

/* A record with that body, as it was encoded, in w->rec. */
static int encode(struct rewrite *w, struct ln_span body)
{
    char head[LN_RECORD_HEAD];
    struct ln_enc e = {head};
    ln_enc_head(&e, 0);
    w->rec.len = 0;
    return ln_buf_add(&w->rec, head, sizeof head) == LN_OK &&
                   ln_buf_add_span(&w->rec, body) == LN_OK
               ? LN_OK
               : LN_ENOMEM;
}

static int copy(struct rewrite *w, struct ln_at at, uint64_t *bytes)
{
    struct ln_span body;
    int rc = ln_reader_body(w->r, at, &body);
    if (rc == LN_OK)
        rc = encode(w, body);
    return rc == LN_OK
               ? ln_code_from_mdb(ln_part_put(w->to, w->txn, at, ln_buf_span(&w->rec), bytes))
               : rc;
}

/* Outcomes or events of a message. */
static int copy_all(struct rewrite *w, enum ln_db db, uint64_t pos, uint64_t *bytes)
{
    MDB_cursor *c;
    MDB_val key, val;
    struct ln_key k = ln_key_pos(pos);
    int rc = ln_reader_cursor(w->r, db, &c), m;
    if (rc != LN_OK)
        return rc;
    m = ln_reader_seek(c, &k, 8, &key, &val);
    while (m == LN_OK && rc == LN_OK && key.mv_size == 12 && memcmp(key.mv_data, k.b, 8) == 0) {
        struct ln_at at = {.db = db, .pos = pos, .last = true};
        at.n = ln_get_u32((char *)key.mv_data + 8);
        rc = copy(w, at, bytes);
        m = ln_code_from_mdb(mdb_cursor_get(c, &key, &val, MDB_NEXT));
    }
    return rc;
}

static int copy_message(struct rewrite *w, uint64_t pos)
{
    struct ln_receipt r;
    struct ln_at at = {.db = LN_DB_LOG, .pos = pos, .last = true};
    uint64_t bytes = 0;
    int rc = copy(w, at, &bytes);
    if (rc == LN_OK)
        rc = ln_record_receipt_read(
            ln_span(w->rec.data + LN_RECORD_HEAD, w->rec.len - LN_RECORD_HEAD), &r);
    if (rc == LN_OK && (r.chan == 0 || r.chan > w->nchan))
        rc = LN_EPARSE;
    if (rc == LN_OK)
        rc = ln_index_add(&w->tail, w->to, w->txn, w->seal, pos, &r);
    if (rc != LN_OK)
        return rc;
    at.db = LN_DB_RES;
    rc = copy(w, at, &bytes);
    rc = rc == LN_ENOTFOUND ? LN_OK : rc;
    if (rc == LN_OK)
        rc = copy_all(w, LN_DB_OUT, pos, &bytes);
    if (rc == LN_OK)
        rc = copy_all(w, LN_DB_EV, pos, &bytes);
    w->bytes[r.chan - 1] += bytes;
    w->messages++;
    return rc;
}

/* ---- all of them --------------------------------------------------------------------------- */

static int begin(struct rewrite *w)
{
    w->in_txn = 0;
    return ln_seal_renew(w->seal) == LN_OK
               ? ln_code_from_mdb(mdb_txn_begin(w->to->mdb, NULL, 0, &w->txn))
               : LN_EIO;
}

/* Commits what there is, and begins anew. */
static int breathe(struct rewrite *w)
{
    bool more = false;
    int rc = 0;
    if (w->tail.n[0] >= LN_INDEX_BLOCK || w->tail.n[1] >= LN_INDEX_BLOCK) {
        rc = ln_index_flush(w->to, w->txn, &w->tail, w->last + 1, &w->scratch);
        for (int i = 0; i < MERGES && !rc; i++)
            rc = ln_index_merge(w->to, w->txn, &w->scratch, &more);
    }
    if (rc) {
        mdb_txn_abort(w->txn);
    } else {
        rc = mdb_txn_commit(w->txn);
    }
    w->txn = NULL;
    ln_reader_forget(w->r);
    return rc ? ln_code_from_mdb(rc) : begin(w);
}

static int copy_log(struct rewrite *w, void (*progress)(void *, uint64_t, uint64_t), void *arg)
{
    MDB_cursor *c;
    MDB_val key, val;
    uint64_t end = 0;
    int rc = ln_reader_cursor(w->r, LN_DB_LOG, &c);
    if (rc != LN_OK)
        return rc;
    int m = mdb_cursor_get(c, &key, &val, MDB_LAST);
    if (!m)
        end = ln_get_u64(key.mv_data);
    for (m = mdb_cursor_get(c, &key, &val, MDB_FIRST); !m && rc == LN_OK;
         m = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        w->last = ln_get_u64(key.mv_data);
        rc = copy_message(w, w->last);
        ln_reader_forget(w->r);
        if (rc == LN_OK && ++w->in_txn == COMMIT) {
            rc = breathe(w);
            if (progress)
                progress(arg, w->last, end);
        }
    }
    return rc != LN_OK || m == MDB_NOTFOUND || !m ? rc : ln_code_from_mdb(m);
}

/* Tables that hold nothing of a patient: sealed anew as they are. */
static int copy_table(struct rewrite *w, enum ln_db db)
{
    MDB_cursor *c;
    MDB_val key, val;
    int rc = ln_reader_cursor(w->r, db, &c);
    int m = rc == LN_OK ? mdb_cursor_get(c, &key, &val, MDB_FIRST) : 0;
    for (; rc == LN_OK && !m; m = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        struct ln_span body;
        uint64_t total;
        rc = ln_part_open(w->r->txn, &w->r->plain, db, key, val, &body, &total);
        if (rc == LN_OK)
            rc = encode(w, body);
        if (rc == LN_OK)
            rc = ln_code_from_mdb(ln_part_seal(w->to, w->txn, db, &key, ln_buf_span(&w->rec), 0));
        ln_reader_forget(w->r);
    }
    return rc != LN_OK || m == MDB_NOTFOUND ? rc : ln_code_from_mdb(m);
}

static int copy_kv(struct rewrite *w, uint32_t chan)
{
    struct ln_span key = ln_span("", 0), value;
    int rc;
    while ((rc = ln_read_kv_next(w->r, chan, &key, &value)) == LN_OK) {
        rc = encode(w, value);
        if (rc == LN_OK)
            rc = ln_code_from_mdb(
                ln_seal_put_kv(w->seal, w->txn, chan, key, ln_buf_span(&w->rec), &w->scratch));
        if (rc != LN_OK)
            return rc;
    }
    return rc == LN_ENOTFOUND ? LN_OK : rc;
}

static int copy_channel(struct rewrite *w, uint32_t id)
{
    struct ln_numbers n = {.kept = 0};
    struct ln_span runs;
    struct ln_key k = ln_key_chan(id);
    MDB_val key = ln_key_val(&k), val;
    int m = mdb_get(w->r->txn, w->r->env->db[LN_DB_CUR], &key, &val);
    if (m)
        return m == MDB_NOTFOUND ? LN_OK : ln_code_from_mdb(m);
    int rc = ln_numbers_read(ln_val_span(val), id, &n, &runs);
    n.s.bytes = w->bytes[id - 1];
    w->scratch.len = 0;
    if (rc == LN_OK)
        rc = ln_numbers_write(&n, runs, &w->scratch);
    if (rc == LN_OK)
        rc = ln_code_from_mdb(
            ln_part_seal(w->to, w->txn, LN_DB_CUR, &key, ln_buf_span(&w->scratch), 0));
    ln_numbers_fini(&n);
    return rc == LN_OK ? copy_kv(w, id) : rc;
}

static int copy_store(struct rewrite *w, void (*progress)(void *, uint64_t, uint64_t), void *arg)
{
    struct ln_channel_state s;
    uint32_t gen;
    for (uint32_t id = 0; ln_read_next_channel(w->r, id, &s) == LN_OK; id = s.id)
        w->nchan = s.id;
    w->bytes = calloc(w->nchan + 1, sizeof *w->bytes);
    w->seal = ln_seal_new(w->to);
    if (!w->bytes || !w->seal)
        return LN_ENOMEM;
    struct ln_vault *v = w->to->vault;
    int rc = ln_vault_add(v, 0, &gen);
    if (rc == LN_OK)
        rc = ln_vault_add(v, 0, &gen);
    if (rc == LN_OK)
        rc = ln_seal_use(w->seal, gen);
    w->to->out = w->seal;
    if (rc == LN_OK)
        rc = begin(w);
    if (rc == LN_OK)
        rc = ln_code_from_mdb(ln_vault_put(w->to, w->txn));
    if (rc == LN_OK)
        rc = copy_log(w, progress, arg);
    if (rc == LN_OK)
        rc = copy_table(w, LN_DB_MAP);
    if (rc == LN_OK)
        rc = copy_table(w, LN_DB_PARKED);
    if (rc == LN_OK && w->r->env->db[LN_DB_VER] != LN_DB_NONE)
        rc = copy_table(w, LN_DB_VER);
    for (uint32_t id = 1; id <= w->nchan && rc == LN_OK; id++)
        rc = copy_channel(w, id);
    if (rc == LN_OK)
        rc = breathe(w);
    return rc;
}

static void fini(struct rewrite *w)
{
    if (w->txn)
        mdb_txn_abort(w->txn);
    if (w->to) {
        w->to->out = NULL;
        ln_env_close(w->to);
    }
    ln_seal_free(w->seal);
    ln_index_fini(&w->tail);
    ln_buf_fini(&w->rec);
    ln_buf_fini(&w->scratch);
    free(w->bytes);
}

/* ---- the files ----------------------------------------------------------------------------- */

static void remove_folder(const char *dir)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "engine.lock"};
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%.4000s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void on_found(void *arg, const char *channel, uint64_t seq, const char *what)
{
    char *first = arg;
    if (!*first)
        snprintf(first, 300, "%s/%llu: %s", channel, (unsigned long long)seq, what);
}

/* Only what is in order takes the old file's place. */
static int put_in_place(const char *path, const char *tmp, struct ln_err *err)
{
    char from[4096], to[4096], lock[4096], first[300] = "";
    const struct ln_verify_ops ops = {on_found, NULL};
    struct ln_verify v;
    int rc = ln_store_verify(tmp, &ops, first, &v, err);
    if (rc != LN_OK)
        return rc;
    if (v.problems)
        return ln_err_set(err, LN_EPARSE, "the new file is not in order (%s): the old one stays",
                          first);
    snprintf(from, sizeof from, "%.4000s/data.mdb", tmp);
    snprintf(to, sizeof to, "%.4000s/data.mdb", path);
    snprintf(lock, sizeof lock, "%.4000s/lock.mdb", path);
    if (rename(from, to))
        return ln_err_set(err, ln_code_from_errno(errno), "cannot rename %s: %s", from,
                          strerror(errno));
    unlink(lock);
    return ln_env_sync_dir(path);
}

int ln_store_encrypt(const char *path, void (*progress)(void *, uint64_t, uint64_t), void *arg,
                     uint64_t *messages, struct ln_err *err)
{
    struct rewrite w = {.r = NULL};
    char tmp[4096];
    int lock = -1;
    snprintf(tmp, sizeof tmp, "%.4000s/rewrite.tmp", path);
    int rc = ln_reader_open(path, &w.r, err);
    if (rc != LN_OK)
        return rc;
    rc = ln_env_lock(path, &lock, err);
    if (rc == LN_OK) {
        remove_folder(tmp); /* what an earlier attempt left */
        rc = mkdir(tmp, 0700) ? ln_err_set(err, ln_code_from_errno(errno), "cannot make %s: %s",
                                           tmp, strerror(errno))
                              : ln_env_open(tmp, LN_ENV_WRITE, (uint64_t)1 << 40, &w.to, err);
    }
    if (rc == LN_OK && !ln_vault_open(w.to->vault))
        rc = ln_err_set(err, LN_EKEY, "there is no key to encrypt with");
    if (rc == LN_OK && (rc = ln_reader_begin(w.r)) == LN_OK) {
        rc = copy_store(&w, progress, arg);
        ln_reader_end(w.r);
        if (rc != LN_OK)
            ln_err_set(err, rc,
                       "%s could not be rewritten (%s), it is as it was: lunate verify looks for "
                       "what is wrong with it",
                       path, ln_strerror(rc));
    }
    fini(&w);
    ln_reader_close(w.r);
    if (rc == LN_OK)
        rc = put_in_place(path, tmp, err);
    if (lock >= 0) {
        remove_folder(tmp);
        close(lock);
    }
    *messages = w.messages;
    return rc;
}
