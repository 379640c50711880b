#include "script/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE     ((size_t)2 << 20) /* a huge page */
#define STEP     ((size_t)16)
#define FINE_MAX ((size_t)1024) /* classes of STEP up to here, then powers of two */
#define MOST     ((size_t)256 << 10) /* larger blocks are malloc's */
#define FINE     (FINE_MAX / STEP)
#define CLASSES  (FINE + 8)

struct block {
    struct block *next;
};

/* Stands at the beginning of its own region. */
struct ln_heap {
    char *at, *end; /* what was never handed out */
    struct block *freed[CLASSES];
};

/* Which class holds n bytes (1 to MOST), and how many it really has. */
static size_t class_of(size_t n, size_t *size)
{
    if (n <= FINE_MAX) {
        size_t i = (n - 1) / STEP;
        *size = (i + 1) * STEP;
        return i;
    }
    size_t i = FINE;
    for (*size = FINE_MAX * 2; *size < n; *size *= 2)
        i++;
    return i;
}

static void *take(struct ln_heap *h, size_t n)
{
    size_t size;
    if (n > MOST)
        return malloc(n);
    size_t i = class_of(n, &size);
    struct block *b = h->freed[i];
    if (b) {
        h->freed[i] = b->next;
        return b;
    }
    if ((size_t)(h->end - h->at) < size)
        return malloc(n);
    h->at += size;
    return h->at - size;
}

static bool is_inside(const struct ln_heap *h, const void *p)
{
    return (const char *)p >= (const char *)h && (const char *)p < h->end;
}

static void give(struct ln_heap *h, void *p, size_t n)
{
    size_t size;
    if (!is_inside(h, p)) {
        free(p);
        return;
    }
    struct block *b = p;
    size_t i = class_of(n, &size);
    b->next = h->freed[i];
    h->freed[i] = b;
}

void *ln_heap_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct ln_heap *h = ud;
    size_t before, after;
    if (nsize == 0) {
        if (ptr)
            give(h, ptr, osize);
        return NULL;
    }
    if (!ptr)
        return take(h, nsize);
    if (!is_inside(h, ptr))
        return realloc(ptr, nsize);
    if (nsize <= MOST && class_of(osize, &before) == class_of(nsize, &after))
        return ptr;
    void *p = take(h, nsize);
    if (!p)
        return nsize <= osize ? ptr : NULL; /* shrinking must not fail */
    memcpy(p, ptr, osize < nsize ? osize : nsize);
    give(h, ptr, osize);
    return p;
}

struct ln_heap *ln_heap_new(void)
{
    char *p = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *at = (char *)(((uintptr_t)p + SIZE - 1) & ~(uintptr_t)(SIZE - 1));
    if (at > p)
        munmap(p, (size_t)(at - p));
    if (at + SIZE < p + 2 * SIZE)
        munmap(at + SIZE, (size_t)(p + SIZE - at));
    madvise(at, SIZE, MADV_HUGEPAGE); /* advice: may fail */
    struct ln_heap *h = (struct ln_heap *)at;
    h->at = at + ((sizeof *h + STEP - 1) & ~(STEP - 1));
    h->end = at + SIZE;
    return h;
}

void ln_heap_free(struct ln_heap *h)
{
    if (h)
        munmap(h, SIZE);
}
