/* A consistent copy while the engine runs. LMDB's compacting copy reads in one transaction and
 * takes no lock that a writer needs; the plain copy would hold the writers' lock for a moment,
 * which a process that is stopped just then would never give back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
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

static int sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int rc = fsync(fd) ? errno : 0;
    close(fd);
    return rc;
}

int ln_store_backup(const char *path, const char *dir, struct ln_err *err)
{
    struct ln_env *e;
    char file[4096];
    int code = ln_env_open(path, false, 0, &e, err);
    if (code != LN_OK)
        return code;
    if ((code = make_empty(dir, err)) == LN_OK) {
        snprintf(file, sizeof file, "%.4000s/data.mdb", dir);
        int rc = mdb_env_copy2(e->mdb, dir, MDB_CP_COMPACT);
        if (!rc)
            rc = sync_file(file);
        if (rc) {
            unlink(file);
            code = ln_err_set(err, ln_code_from_mdb(rc), "cannot copy the store to %s: %s", dir,
                              mdb_strerror(rc));
        } else {
            code = ln_env_sync_dir(dir);
        }
    }
    ln_env_close(e);
    return code;
}
