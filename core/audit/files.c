/* The files of the log's folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/chain.h"

/* Twelve digits and ".jsonl". */
static bool is_file(const char *name)
{
    return strlen(name) == 18 && strspn(name, "0123456789") == 12 &&
           strcmp(name + 12, ".jsonl") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

char (*ln_audit_files(int dir, size_t *n))[AUDIT_NAME]
{
    char(*list)[AUDIT_NAME] = NULL;
    size_t cap = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    *n = 0;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (!is_file(e->d_name))
            continue;
        if (*n == cap) {
            void *p = realloc(list, (cap = cap * 2 + 16) * sizeof *list);
            if (!p)
                break;
            list = p;
        }
        memcpy(list[(*n)++], e->d_name, 19);
    }
    closedir(d);
    if (*n)
        qsort(list, *n, sizeof *list, by_name);
    return list;
}

int ln_audit_file(int dir, const char *name, int flags)
{
    struct stat folder;
    int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 || errno != ENOENT || !(flags & O_RDWR))
        return fd;
    fd = openat(dir, name, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && geteuid() == 0 && fstat(dir, &folder) == 0)
        (void)!fchown(fd, folder.st_uid, folder.st_gid);
    return fd;
}

bool ln_audit_write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

long ln_audit_read_small(int dir, const char *name, char *out, size_t cap)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, cap);
    int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return n;
}
