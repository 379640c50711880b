/* LD_PRELOAD: every sync of a file takes SLOW_MS longer, as on a worn or busy disk. LMDB writes its
 * meta page through a descriptor with O_DSYNC, so those writes are slow as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_a_while(void)
{
    const char *ms = getenv("SLOW_MS");
    long n = ms ? atol(ms) : 0;
    struct timespec ts = {n / 1000, n % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_a_while();
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_a_while();
    return real(fd);
}
