/* LD_PRELOAD: records what a store does to its file, in the order in which it happens, and what the
 * process says on stdout ("durable" marks), to the file that RECORD names. Records: u8 kind, u64
 * offset, u64 length, data; native order. Kinds: W write, D write through a synchronous descriptor,
 * S begin of a sync, s its end, T truncate (offset = length), M mark. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void start(void)
{
    real_write = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    out = open(getenv("RECORD"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        abort();
}

static void put(const void *data, size_t len)
{
    if (real_write(out, data, len) != (ssize_t)len)
        abort();
}

static void record(char kind, uint64_t off, const struct iovec *v, int n)
{
    uint64_t len = 0;
    for (int i = 0; i < n; i++)
        len += v[i].iov_len;
    pthread_mutex_lock(&lock);
    put(&kind, 1);
    put(&off, 8);
    put(&len, 8);
    for (int i = 0; i < n; i++)
        put(v[i].iov_base, v[i].iov_len);
    pthread_mutex_unlock(&lock);
}

static bool is_store(int fd)
{
    char link[32] = "/proc/self/fd/", name[256];
    char *p = link + strlen(link);
    if (fd >= 10)
        *p++ = (char)('0' + fd / 10 % 10);
    *p = (char)('0' + fd % 10);
    ssize_t n = readlink(link, name, sizeof name);
    return n > 9 && memcmp(name + n - 9, "/data.mdb", 9) == 0;
}

static char kind_of(int fd)
{
    return fcntl(fd, F_GETFL) & O_DSYNC ? 'D' : 'W';
}

ssize_t pwrite64(int fd, const void *b, size_t n, off64_t off)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (!is_store(fd))
        return real(fd, b, n, off);
    struct iovec v = {(void *)(uintptr_t)b, n};
    char kind = kind_of(fd);
    record('W', (uint64_t)off, &v, 1);
    ssize_t rc = real(fd, b, n, off);
    if (kind == 'D') /* it is on the disk now */
        record('D', (uint64_t)off, &v, 1);
    return rc;
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t off)
{
    return pwrite64(fd, b, n, off);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    if (is_store(fd))
        record('W', (uint64_t)lseek(fd, 0, SEEK_CUR), v, n);
    return real(fd, v, n);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");
    if (is_store(fd))
        record('W', (uint64_t)off, v, n);
    return real(fd, v, n, off);
}

ssize_t write(int fd, const void *b, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)b, n};
    if (fd == 1)
        record('M', 0, &v, 1);
    else if (is_store(fd))
        record('W', (uint64_t)lseek(fd, 0, SEEK_CUR), &v, 1);
    return real_write(fd, b, n);
}

int ftruncate(int fd, off_t len)
{
    int (*real)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate");
    if (is_store(fd))
        record('T', (uint64_t)len, NULL, 0);
    return real(fd, len);
}

static int synced(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    bool ours = is_store(fd);
    if (ours)
        record('S', 0, NULL, 0);
    int rc = real(fd);
    if (ours && rc == 0)
        record('s', 0, NULL, 0);
    return rc;
}

int fdatasync(int fd)
{
    return synced("fdatasync", fd);
}

int fsync(int fd)
{
    return synced("fsync", fd);
}

/* A store that writes through a mapping would escape this recorder: then its test must fail. */
int msync(void *at, size_t len, int flags)
{
    (void)at;
    (void)len;
    (void)flags;
    abort();
}
