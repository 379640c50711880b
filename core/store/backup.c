/* A consistent copy while the engine runs. LMDB's compacting copy reads in one transaction and
 * takes no lock that a writer needs; the plain copy would hold the writers' lock for a moment,
 * which a process that is stopped just then would never give back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/lmdb_env.h"

static int make_empty(const char *dir, struct ln_err *err)
{
    if (mkdir(dir, 0700) && errno != EEXIST)
        return ln_err_set(err, ln_code_from_errno(errno), "cannot make %s: %s", dir,
                          strerror(errno));
    DIR *d = opendir(dir);
    if (!d)
        return ln_err_set(err, ln_code_from_errno(errno), "cannot read %s: %s", dir,
                          strerror(errno));
    bool empty = true;
    for (struct dirent *f; (f = readdir(d));)
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, ".."))
            empty = false;
    closedir(d);
    return empty
               ? LN_OK
               : ln_err_set(err, LN_EEXIST, "%s is not empty: a backup needs an empty folder", dir);
}

static int copy_to(struct ln_env *e, const char *tmp, const char *file)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = mdb_env_copyfd2(e->mdb, fd, MDB_CP_COMPACT);
    if (!rc && fsync(fd))
        rc = errno;
    if (close(fd) && !rc)
        rc = errno;
    if (!rc && rename(tmp, file))
        rc = errno;
    if (rc)
        unlink(tmp);
    return rc;
}

int ln_store_backup(const char *path, const char *dir, struct ln_err *err)
{
    struct ln_env *e;
    char file[4096], tmp[4096];
    int code = ln_env_open(path, LN_ENV_BLIND, 0, &e, err);
    if (code != LN_OK)
        return code;
    if ((code = make_empty(dir, err)) == LN_OK) {
        snprintf(file, sizeof file, "%.4000s/data.mdb", dir);
        snprintf(tmp, sizeof tmp, "%.4000s/unfinished.tmp", dir);
        int rc = copy_to(e, tmp, file);
        code = rc ? ln_err_set(err, ln_code_from_mdb(rc), "cannot copy the store to %s: %s", dir,
                               mdb_strerror(rc))
                  : ln_env_sync_dir(dir);
    }
    ln_env_close(e);
    return code;
}

/* ---- and back ------------------------------------------------------------------------------ */

static int copy_file(const char *from, const char *to)
{
    static char block[1 << 20];
    ssize_t n = 0;
    int rc = 0, in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return errno;
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        rc = errno;
    while (!rc && (n = read(in, block, sizeof block)) > 0)
        for (ssize_t done = 0, m; !rc && done < n; done += m)
            if ((m = write(out, block + done, (size_t)(n - done))) < 0) {
                rc = errno;
                break;
            }
    if (!rc && (n < 0 || fsync(out)))
        rc = errno;
    close(in);
    if (out >= 0 && close(out) && !rc)
        rc = errno;
    return rc;
}

/* A name beside data.mdb that is not taken. */
static void aside_name(const char *path, char *to, size_t cap)
{
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    snprintf(to, cap, "%.3900s/data.mdb.before-%s", path, when);
    for (int i = 2; access(to, F_OK) == 0; i++)
        snprintf(to, cap, "%.3900s/data.mdb.before-%s-%d", path, when, i);
}

/* The lock is held. At every moment there is a whole data.mdb, old or new. */
static int put_back(const char *dir, const char *path, bool force, char *aside, size_t cap,
                    struct ln_err *err)
{
    char from[4096], file[4096], tmp[4096], lock[4096];
    snprintf(from, sizeof from, "%.4000s/data.mdb", dir);
    snprintf(file, sizeof file, "%.4000s/data.mdb", path);
    snprintf(tmp, sizeof tmp, "%.4000s/restore.tmp", path);
    snprintf(lock, sizeof lock, "%.4000s/lock.mdb", path);
    bool there = access(file, F_OK) == 0;
    if (there && !force)
        return ln_err_set(err, LN_EEXIST,
                          "there is a store in %s: with --force it is moved aside and kept", path);
    int rc = copy_file(from, tmp);
    if (!rc && there) {
        aside_name(path, aside, cap);
        rc = link(file, aside) ? errno : 0;
    }
    if (!rc && rename(tmp, file))
        rc = errno;
    if (rc) {
        unlink(tmp);
        return ln_err_set(err, ln_code_from_errno(rc), "cannot restore to %s: %s", path,
                          strerror(rc));
    }
    unlink(lock); /* LMDB's, of the store before */
    return ln_env_sync_dir(path);
}

int ln_store_restore(const char *dir, const char *path, bool force, char *aside, size_t cap,
                     struct ln_err *err)
{
    struct ln_env *e;
    struct stat a, b;
    int lock;
    *aside = 0;
    if (stat(dir, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return ln_err_set(err, LN_EINVAL, "%s is the site's own store", dir);
    int code = ln_env_open(dir, 0, 0, &e, err); /* it is one of ours, and of this format */
    if (code != LN_OK)
        return code;
    ln_env_close(e);
    if ((code = ln_env_lock(path, &lock, err)) != LN_OK)
        return code;
    code = put_back(dir, path, force, aside, cap, err);
    close(lock);
    return code;
}
