/* Whether data.mdb is as long as its pages need: looked at with reads, before it is mapped, since
 * touching a mapping behind the file's end kills the process (SIGBUS).
 *
 * LMDB's layout (lmdb.h 0.9, 64 bit, this machine's byte order): two meta pages; a page begins with
 * {u64 number, u16, u16 flags, u16 lower, u16 upper}, then u16 places of its nodes. The file may
 * end before the last page that was ever given out when what is missing is free: such pages were
 * never written. So when it is short, its list of free pages must name every missing one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/lmdb_env.h"

enum {
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    P_BRANCH = 1,
    P_LEAF = 2,
    P_META = 8,
    F_BIGDATA = 1,
    PAGE_MIN = 256,
    PAGE_MAX = 65536,
    DEPTH_MAX = 32,
};

#define MAGIC   0xbeefc0deu
#define NO_PAGE UINT64_MAX

struct meta {
    uint64_t txn, last, free_root;
    uint32_t page;
};

struct look {
    int fd;
    struct meta m;
    uint64_t have; /* whole pages that are there */
    uint64_t found; /* of those that are not: named as free */
    bool bad;
};

static uint16_t u16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* {head, u32 magic, u32 version, u64, u64, two of {u32 page size, u16, u16, 3 u64, u64, u64 root},
 * u64 last page, u64 transaction} */
static bool read_meta(int fd, off_t at, struct meta *m)
{
    char b[152];
    if (pread(fd, b, sizeof b, at) != (ssize_t)sizeof b || !(u16(b + 10) & P_META) ||
        u32(b + 16) != MAGIC)
        return false;
    m->page = u32(b + 40);
    m->free_root = u64(b + 40 + 40);
    m->last = u64(b + 136);
    m->txn = u64(b + 144);
    return m->page >= PAGE_MIN && m->page <= PAGE_MAX && (m->page & (m->page - 1)) == 0;
}

/* Counts the missing pages that a list {n, n numbers} names. */
static void count(struct look *l, const char *list, size_t len)
{
    uint64_t n = len >= 8 ? u64(list) : 0;
    if (len < 8 || n > len / 8 - 1) {
        l->bad = true;
        return;
    }
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t page = u64(list + 8 * i);
        l->found += page >= l->have && page <= l->m.last;
    }
}

/* A list of its own pages, behind a head. */
static void count_big(struct look *l, uint64_t page, size_t len)
{
    char *list = malloc(len ? len : 1);
    off_t at = (off_t)(page * l->m.page + PAGE_HEAD);
    if (!list || page >= l->have || pread(l->fd, list, len, at) != (ssize_t)len)
        l->bad = true;
    else
        count(l, list, len);
    free(list);
}

static void visit(struct look *l, uint64_t page, int depth)
{
    char *b = malloc(l->m.page);
    if (!b || depth > DEPTH_MAX || page >= l->have ||
        pread(l->fd, b, l->m.page, (off_t)(page * l->m.page)) != (ssize_t)l->m.page)
        l->bad = true;
    unsigned flags = l->bad ? 0 : u16(b + 10), lower = l->bad ? 0 : u16(b + 12);
    for (unsigned i = PAGE_HEAD; !l->bad && i + 2 <= lower && i + 2 <= l->m.page; i += 2) {
        unsigned at = u16(b + i);
        if (at + NODE_HEAD > l->m.page) {
            l->bad = true;
            break;
        }
        const char *n = b + at;
        uint64_t low = u16(n) | (uint64_t)u16(n + 2) << 16;
        size_t data = at + NODE_HEAD + u16(n + 6);
        if (flags & P_BRANCH)
            visit(l, low | (uint64_t)u16(n + 4) << 32, depth + 1);
        else if (!(flags & P_LEAF))
            l->bad = true;
        else if (u16(n + 4) & F_BIGDATA && data + 8 <= l->m.page)
            count_big(l, u64(b + data), low);
        else if (data + low <= l->m.page)
            count(l, b + data, low);
        else
            l->bad = true;
    }
    free(b);
}

/* LN_OK also for what is no store at all: LMDB says that. */
int ln_env_whole(const char *data, struct ln_err *err)
{
    struct look l = {.fd = open(data, O_RDONLY | O_CLOEXEC)};
    struct stat st;
    struct meta other = {0};
    int rc = LN_OK;
    if (l.fd < 0 || fstat(l.fd, &st) || !read_meta(l.fd, 0, &l.m))
        goto out;
    if (read_meta(l.fd, (off_t)l.m.page, &other) && other.txn > l.m.txn)
        l.m = other;
    l.have = (uint64_t)st.st_size / l.m.page;
    uint64_t need = l.m.last + 1;
    if (l.have >= need)
        goto out;
    if (l.m.free_root != NO_PAGE)
        visit(&l, l.m.free_root, 0);
    if (l.bad || l.found < need - l.have)
        rc =
            ln_err_set(err, LN_EPARSE,
                       "%s is cut off: it has %llu of the %llu bytes it needs. Restore it from a "
                       "backup (lunate restore DIR --force keeps this file aside)",
                       data, (unsigned long long)st.st_size, (unsigned long long)(need * l.m.page));
out:
    if (l.fd >= 0)
        close(l.fd);
    return rc;
}
