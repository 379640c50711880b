/* The engine's lock on a data folder, and making an empty store in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/lmdb_env.h"

static int make_folder(const char *path, struct ln_err *err)
{
    if (mkdir(path, 0700) == 0) {
        char parent[4096];
        snprintf(parent, sizeof parent, "%s", path);
        char *slash = strrchr(parent, '/');
        if (slash && slash != parent)
            *slash = 0;
        return ln_env_sync_dir(slash ? (slash == parent ? "/" : parent) : ".");
    }
    if (errno != EEXIST)
        return ln_err_set(err, ln_code_from_errno(errno), "cannot make data folder %s: %s", path,
                          strerror(errno));
    return LN_OK;
}

/* A killed engine holds its lock until its last write to the disk has ended: give it a second. */
static int lock_patiently(int fd)
{
    for (int i = 0;; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK || i == 50)
            return errno;
        usleep(20 * 1000);
    }
}

int ln_env_lock(const char *path, int *fd, struct ln_err *err)
{
    char file[4096], pid[32] = "";
    int code = make_folder(path, err);
    if (code != LN_OK)
        return code;
    snprintf(file, sizeof file, "%s/engine.lock", path);
    int f = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f < 0) {
        int e = errno;
        return ln_err_set(err, ln_code_from_errno(e),
                          "cannot write to data folder %s: %s: it must be a folder that belongs to "
                          "the user lunate runs as",
                          path, strerror(e));
    }
    int e = lock_patiently(f);
    if (e) {
        ssize_t n = e == EWOULDBLOCK ? pread(f, pid, sizeof pid - 1, 0) : 0;
        pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
        close(f);
        if (e == EWOULDBLOCK)
            return ln_err_set(
                err, LN_EBUSY,
                "data folder %s is in use by another engine (process %s): stop it first", path,
                pid);
        return ln_err_set(err, LN_EIO, "cannot lock %s: %s", file, strerror(e));
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* The number only helps people: on a full disk the lock holds without it. */
    if (ftruncate(f, 0) || pwrite(f, pid, (size_t)n, 0) != n)
        (void)!ftruncate(f, 0);
    *fd = f;
    return LN_OK;
}

static int fill(MDB_env *mdb)
{
    MDB_dbi db[LN_DB_COUNT];
    MDB_txn *txn;
    struct ln_key format = {.len = 0};
    uint8_t key[LN_HASH_KEY_LEN];
    MDB_val fkey = ln_span_val(ln_span_str("format"));
    MDB_val hkey = ln_span_val(ln_span_str("hash_key")), hval = {sizeof key, key};
    int rc = ln_env_open_dbs(mdb, MDB_CREATE, db);
    if (rc)
        return rc;
    ln_key_u32(&format, LN_STORE_FORMAT);
    MDB_val fval = ln_key_val(&format);
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return EIO;
    if ((rc = mdb_txn_begin(mdb, NULL, 0, &txn)) != 0)
        return rc;
    if ((rc = mdb_put(txn, db[LN_DB_META], &fkey, &fval, 0)) != 0 ||
        (rc = mdb_put(txn, db[LN_DB_META], &hkey, &hval, 0)) != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* The file gets its name when it is whole and synced: a power cut leaves a store or none. */
int ln_env_create(const char *path, struct ln_err *err)
{
    char tmp[4096], data[4096], lock[4096], final[4096];
    MDB_env *mdb;
    snprintf(tmp, sizeof tmp, "%.4000s/new.tmp", path);
    snprintf(data, sizeof data, "%.4000s/new.tmp/data.mdb", path);
    snprintf(lock, sizeof lock, "%.4000s/new.tmp/lock.mdb", path);
    snprintf(final, sizeof final, "%.4000s/data.mdb", path);
    unlink(data); /* what an earlier attempt left */
    int rc = mkdir(tmp, 0700) && errno != EEXIST ? errno : 0;
    if (!rc && (rc = ln_env_mdb_open(tmp, 0, (uint64_t)1 << 30, &mdb)) == 0) {
        rc = fill(mdb);
        mdb_env_close(mdb);
    }
    if (!rc && rename(data, final))
        rc = errno;
    unlink(data);
    unlink(lock);
    rmdir(tmp);
    if (rc)
        return ln_err_set(err, ln_code_from_mdb(rc), "cannot make a store in %s: %s", path,
                          mdb_strerror(rc));
    int code = ln_env_sync_dir(path);
    return code == LN_OK ? LN_OK : ln_err_set(err, code, "cannot sync folder %s", path);
}
