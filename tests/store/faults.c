/* LD_PRELOAD: makes every EVERYth write or sync of a store fail with EIO. FAIL names which:
 * meta-before, meta-after (the bytes arrive all the same), data, sync. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *what;
static int every, count;

__attribute__((constructor)) static void start(void)
{
    what = getenv("FAIL");
    every = atoi(getenv("EVERY"));
}

static bool now(const char *kind)
{
    return strcmp(what, kind) == 0 && ++count % every == 0;
}

static bool is_store(int fd)
{
    char link[64], name[256];
    strcpy(link, "/proc/self/fd/");
    char *p = link + strlen(link);
    if (fd >= 10)
        *p++ = (char)('0' + fd / 10 % 10);
    *p++ = (char)('0' + fd % 10);
    *p = 0;
    ssize_t n = readlink(link, name, sizeof name);
    return n > 9 && memcmp(name + n - 9, "/data.mdb", 9) == 0;
}

ssize_t pwrite64(int fd, const void *b, size_t n, off64_t off)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    bool meta = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    if (is_store(fd) && (meta ? now("meta-before") : now("data"))) {
        errno = EIO;
        return -1;
    }
    ssize_t rc = real(fd, b, n, off);
    if (meta && is_store(fd) && now("meta-after")) {
        errno = EIO;
        return -1;
    }
    return rc;
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t off)
{
    return pwrite64(fd, b, n, off);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    if (is_store(fd) && now("data")) {
        errno = EIO;
        return -1;
    }
    return real(fd, v, n);
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (is_store(fd) && now("sync")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
