/* LD_PRELOAD for disk_spec: every sync, and every write to a file opened with O_DSYNC or O_SYNC,
 * takes as long as the file that SLOWDISK names says (milliseconds; 0 or no file: no delay). */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void wait_as_told(void)
{
    const char *path = getenv("SLOWDISK");
    FILE *f = path ? fopen(path, "re") : NULL;
    long ms = 0;
    if (!f)
        return;
    if (fscanf(f, "%ld", &ms) != 1)
        ms = 0;
    fclose(f);
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int syncs(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & (O_DSYNC | O_SYNC));
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

int fdatasync(int fd)
{
    wait_as_told();
    return NEXT(int (*)(int), "fdatasync")(fd);
}

int fsync(int fd)
{
    wait_as_told();
    return NEXT(int (*)(int), "fsync")(fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (syncs(fd))
        wait_as_told();
    return NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite")(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    if (syncs(fd))
        wait_as_told();
    return NEXT(ssize_t(*)(int, const struct iovec *, int, off_t), "pwritev")(fd, v, n, at);
}
