#include "base/secret.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_bool unlocked;

static size_t whole_pages(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len + page - 1) / page * page;
}

void *ln_secret_new(size_t len)
{
    size_t size = whole_pages(len ? len : 1);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (mlock(p, size))
        atomic_store(&unlocked, true);
    madvise(p, size, MADV_DONTDUMP);
    return p;
}

void ln_secret_free(void *p, size_t len)
{
    size_t size = whole_pages(len ? len : 1);
    if (!p)
        return;
    ln_secret_wipe(p, size);
    munmap(p, size); /* unlocks it, too */
}

void ln_secret_wipe(void *p, size_t len)
{
    explicit_bzero(p, len);
}

bool ln_secret_locked(void)
{
    return !atomic_load(&unlocked);
}
