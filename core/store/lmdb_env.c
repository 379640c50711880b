#include "store/lmdb_env.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/reader.h"
#include "store/seal.h"

/* Environments of this process, so that none is opened twice. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ln_env *all;

static const char *const db_names[LN_DB_COUNT] = {"meta", "log", "res", "out",    "ev",  "part",
                                                  "map",  "cur", "kv",  "parked", "idx", "ver"};

int ln_code_from_mdb(int rc)
{
    switch (rc) {
    case 0: return LN_OK;
    case MDB_NOTFOUND: return LN_ENOTFOUND;
    case MDB_KEYEXIST: return LN_EEXIST;
    case MDB_MAP_FULL: return LN_EFULL;
    case MDB_READERS_FULL: return LN_EFULL;
    case MDB_TXN_FULL:
    case MDB_BAD_VALSIZE: return LN_ETOOBIG;
    case MDB_VERSION_MISMATCH: return LN_EVERSION;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND: return LN_EPARSE;
    default: return rc > 0 ? ln_code_from_errno(rc) : LN_EIO;
    }
}

int ln_env_mdb_open(const char *dir, unsigned flags, uint64_t map_size, MDB_env **out)
{
    for (;;) {
        MDB_env *mdb;
        int rc = mdb_env_create(&mdb);
        if (rc)
            return rc;
        if ((rc = mdb_env_set_maxdbs(mdb, LN_DB_COUNT)) == 0 &&
            (map_size == 0 || (rc = mdb_env_set_mapsize(mdb, map_size)) == 0))
            rc = mdb_env_open(mdb, dir, flags | MDB_NOTLS | MDB_NORDAHEAD, 0600);
        int fd;
        if (rc == 0 && (rc = mdb_env_get_fd(mdb, &fd)) == 0) {
            fcntl(fd, F_SETFD, FD_CLOEXEC); /* its other descriptors have that from LMDB */
            *out = mdb;
            return 0;
        }
        mdb_env_close(mdb);
        /* A reader with less address space than the engine begins with what there is. */
        if (rc != ENOMEM || (map_size && map_size <= ((uint64_t)64 << 20)))
            return rc;
        map_size = map_size ? map_size / 2 : (uint64_t)1 << 39;
    }
}

int ln_env_open_dbs(MDB_env *mdb, unsigned flags, MDB_dbi *db)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(mdb, NULL, flags & MDB_CREATE ? 0 : MDB_RDONLY, &txn);
    if (rc)
        return rc;
    for (int i = 0; i < LN_DB_COUNT && !rc; i++) {
        rc = mdb_dbi_open(txn, db_names[i], flags, &db[i]);
        if (rc == MDB_NOTFOUND && i == LN_DB_VER) {
            db[i] = LN_DB_NONE;
            rc = 0;
        }
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* of a read transaction: keeps the handles */
}

static const char foreign[] = ": it belongs to the user that the engine runs as";

static int no_store(const char *path, int no, struct ln_err *err)
{
    const char *hint = no == ENOENT   ? ": data.mdb is made when an engine first runs"
                       : no == EACCES ? foreign
                                      : "";
    return ln_err_set(err, ln_code_from_errno(no), "no store in %s: %s%s", path, strerror(no),
                      hint);
}

/* What LMDB says, and what to do about it. An empty file cannot be mapped for reading: EBADF. */
static int open_failed(const char *path, int rc, struct ln_err *err)
{
    if (rc == MDB_INVALID || rc == EBADF || rc == EISDIR)
        return ln_err_set(err, LN_EPARSE,
                          "%s/data.mdb is not a Lunate store: if `data` of lunate.lua names the "
                          "right folder, `lunate restore DIR --force` puts a backup in its place",
                          path);
    if (rc == MDB_VERSION_MISMATCH)
        return ln_err_set(
            err, LN_EVERSION,
            "%s/data.mdb was written by another version of LMDB: use a lunate that is "
            "linked with that one",
            path);
    return ln_err_set(err, ln_code_from_mdb(rc), "cannot open %s/data.mdb: %s%s", path,
                      mdb_strerror(rc), rc == EACCES ? foreign : "");
}

/* The format is checked before anything else in the store is looked at. */
static int read_meta(struct ln_env *e, struct ln_err *err)
{
    MDB_txn *txn;
    MDB_dbi meta;
    MDB_val fkey = ln_span_val(ln_span_str("format")), format;
    MDB_val hkey = ln_span_val(ln_span_str("hash_key")), hash;
    int rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return ln_err_set(err, ln_code_from_mdb(rc), "%s: %s", e->path, mdb_strerror(rc));
    rc = mdb_dbi_open(txn, db_names[LN_DB_META], 0, &meta);
    if (!rc)
        rc = mdb_get(txn, meta, &fkey, &format);
    int code = LN_OK;
    if (rc || format.mv_size != 4)
        code = open_failed(e->path, MDB_INVALID, err);
    else if ((e->format = ln_get_u32(format.mv_data)) != LN_STORE_FORMAT &&
             e->format != LN_STORE_FORMAT_SEALED)
        code = ln_err_set(err, LN_EVERSION,
                          "%s was written in store format %u, this lunate knows formats %u and %u: "
                          "use the lunate that wrote it, or a newer one",
                          e->path, e->format, LN_STORE_FORMAT, LN_STORE_FORMAT_SEALED);
    else if (mdb_get(txn, meta, &hkey, &hash) || hash.mv_size != LN_HASH_KEY_LEN)
        code = ln_err_set(err, LN_EPARSE, "%s/data.mdb is damaged: no hash key", e->path);
    else
        memcpy(e->hash_key, hash.mv_data, LN_HASH_KEY_LEN);
    bool sealed = e->format == LN_STORE_FORMAT_SEALED;
    if (code == LN_OK && sealed != ln_vault_any(txn, meta))
        code = ln_err_set(err, LN_EPARSE, "%s/data.mdb is damaged: it says that it is %s", e->path,
                          sealed ? "encrypted, and holds no data key"
                                 : "in clear, and holds data keys");
    if (code == LN_OK && sealed) {
        code = ln_vault_load(e, txn, meta, err);
        if (code == LN_EKEY && e->blind && !ln_vault_open(e->vault))
            code = LN_OK;
    }
    mdb_txn_abort(txn);
    return code;
}

bool ln_env_sealed(const struct ln_env *e, MDB_txn *txn)
{
    MDB_val key = ln_span_val(ln_span_str("format")), val;
    return mdb_get(txn, e->db[LN_DB_META], &key, &val) == 0 && val.mv_size == 4 &&
           ln_get_u32(val.mv_data) == LN_STORE_FORMAT_SEALED;
}

/* The last words when the file shrinks, or the disk fails, under a mapping: nothing can be mended
 * then, but who looks at the log must not have to guess. */
static void on_sigbus(int sig)
{
    static const char text[] = "lunate: SIGBUS: data.mdb cannot be read where it is mapped: it was "
                               "cut off by somebody, or "
                               "the disk failed (see dmesg); then: lunate verify, lunate restore\n";
    signal(sig, SIG_DFL);
    if (write(2, text, sizeof text - 1) < 0) {
    }
    raise(sig);
}

static void guard_mapping(void)
{
    struct sigaction sa;
    if (sigaction(SIGBUS, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
        signal(SIGBUS, on_sigbus); /* not where a sanitizer has its own */
}

static int open_mdb(struct ln_env *e, struct ln_err *err)
{
    unsigned flags = 0;
    char lock[4096];
    snprintf(lock, sizeof lock, "%s/lock.mdb", e->path);
    if (!e->writable) {
        /* A copy without a lock file has no engine either: don't make one. */
        flags = MDB_RDONLY | (access(lock, F_OK) ? MDB_NOLOCK : 0);
    } else {
        /* LMDB writes to this file through a mapping: on a full disk that would be a bus error. */
        int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        int rc = fd < 0 ? errno : posix_fallocate(fd, 0, 8192);
        if (fd >= 0)
            close(fd);
        if (rc && rc != EOPNOTSUPP && rc != EINVAL)
            return ln_err_set(err, ln_code_from_errno(rc), "cannot write to data folder %s: %s",
                              e->path, strerror(rc));
    }
    char data[4096];
    snprintf(data, sizeof data, "%s/data.mdb", e->path);
    int code = ln_env_whole(data, err);
    if (code != LN_OK)
        return code;
    guard_mapping();
    int rc = ln_env_mdb_open(e->path, flags, e->map_size, &e->mdb);
    if (rc) {
        e->mdb = NULL;
        return open_failed(e->path, rc, err);
    }
    code = read_meta(e, err);
    if (code == LN_OK && (rc = ln_env_open_dbs(e->mdb, 0, e->db)) == 0 && e->writable &&
        e->db[LN_DB_VER] == LN_DB_NONE)
        rc = ln_env_open_dbs(e->mdb, MDB_CREATE, e->db);
    if (code == LN_OK && rc != 0)
        code = ln_err_set(err, LN_EPARSE, "%s/data.mdb is damaged: %s", e->path, mdb_strerror(rc));
    if (code != LN_OK) {
        mdb_env_close(e->mdb);
        e->mdb = NULL;
    }
    return code;
}

int ln_env_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ln_code_from_errno(errno);
    int rc = fsync(fd) ? ln_code_from_errno(errno) : LN_OK;
    close(fd);
    return rc;
}

static void env_free(struct ln_env *e)
{
    if (e->mdb)
        mdb_env_close(e->mdb);
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    pthread_rwlock_destroy(&e->guard);
    pthread_mutex_destroy(&e->readers_lock);
    ln_vault_free(e->vault);
    free(e->path);
    free(e);
}

static int open_new(const char *path, unsigned how, uint64_t map_size, struct ln_env **out,
                    struct ln_err *err)
{
    struct stat st;
    char data[4096];
    bool writable = (how & LN_ENV_WRITE) != 0;
    struct ln_env *e = calloc(1, sizeof *e);
    if (!e || !(e->path = strdup(path)) || !(e->vault = ln_vault_new(ln_vault_keys()))) {
        if (e)
            free(e->path);
        free(e);
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    }
    e->writable = writable;
    e->blind = (how & LN_ENV_BLIND) != 0;
    e->map_size = map_size;
    e->refs = 1;
    e->lock_fd = -1;
    pthread_rwlock_init(&e->guard, NULL);
    pthread_mutex_init(&e->readers_lock, NULL);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    int code = writable ? ln_env_lock(path, &e->lock_fd, err) : LN_OK;
    if (code == LN_OK && writable && access(data, F_OK) && errno == ENOENT)
        code = ln_env_create(path, err);
    if (code == LN_OK && stat(data, &st))
        code = no_store(path, errno, err);
    if (code == LN_OK) {
        e->dev = st.st_dev;
        e->ino = st.st_ino;
        code = open_mdb(e, err);
    }
    if (code != LN_OK)
        env_free(e);
    else
        *out = e;
    return code;
}

int ln_env_open(const char *path, unsigned how, uint64_t map_size, struct ln_env **out,
                struct ln_err *err)
{
    struct stat st;
    char data[4096];
    int code;
    if (snprintf(data, sizeof data, "%s/data.mdb", path) >= (int)sizeof data - 16)
        return ln_err_set(err, LN_EINVAL, "the data folder's path is too long");
    pthread_mutex_lock(&all_lock);
    struct ln_env *e = all;
    if (stat(data, &st) == 0)
        while (e && (e->dev != st.st_dev || e->ino != st.st_ino))
            e = e->next;
    else
        e = NULL;
    if (e && (how & LN_ENV_WRITE)) {
        code = ln_err_set(err, LN_EBUSY, "data folder %s is open in this process already", path);
    } else if (e) {
        e->refs++;
        *out = e;
        code = LN_OK;
    } else if ((code = open_new(path, how, map_size, &e, err)) == LN_OK) {
        e->next = all;
        all = *out = e;
    }
    pthread_mutex_unlock(&all_lock);
    return code;
}

void ln_env_close(struct ln_env *e)
{
    pthread_mutex_lock(&all_lock);
    if (--e->refs == 0) {
        struct ln_env **at = &all;
        while (*at != e)
            at = &(*at)->next;
        *at = e->next;
        env_free(e);
    }
    pthread_mutex_unlock(&all_lock);
}

int ln_env_reopen(struct ln_env *e, struct ln_err *err)
{
    pthread_rwlock_wrlock(&e->guard);
    ln_reader_forget_all(e);
    if (e->mdb)
        mdb_env_close(e->mdb);
    e->mdb = NULL;
    int code = open_mdb(e, err);
    if (code == LN_OK) {
        /* LMDB put the old meta page back without syncing it. Before any page of the failed
         * transaction is written over, the disk must hold what we now see. */
        int rc = mdb_env_sync(e->mdb, 1);
        if (rc) {
            code = ln_err_set(err, ln_code_from_mdb(rc), "sync: %s", mdb_strerror(rc));
            mdb_env_close(e->mdb);
            e->mdb = NULL;
        }
    }
    pthread_rwlock_unlock(&e->guard);
    return code;
}

int ln_env_pages(struct ln_env *e, uint64_t *used, uint64_t *freed, bool count_free)
{
    MDB_envinfo info;
    int rc = mdb_env_info(e->mdb, &info);
    if (rc)
        return ln_code_from_mdb(rc);
    *used = info.me_last_pgno + 1;
    *freed = 0;
    if (!count_free)
        return LN_OK;
    MDB_txn *txn;
    MDB_cursor *c;
    MDB_val key, val;
    if ((rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn)) != 0)
        return ln_code_from_mdb(rc);
    if ((rc = mdb_cursor_open(txn, 0, &c)) == 0) { /* 0: LMDB's list of free pages */
        while ((rc = mdb_cursor_get(c, &key, &val, MDB_NEXT)) == 0) {
            size_t n = 0;
            if (val.mv_size >= sizeof n) {
                memcpy(&n, val.mv_data, sizeof n);
                *freed += n;
            }
        }
        mdb_cursor_close(c);
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? LN_OK : ln_code_from_mdb(rc);
}
