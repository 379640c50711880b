#include "hl7/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define BLOCK_MIN 2048u
#define BLOCK_MAX (1024u * 1024u)

struct block {
    struct block *next;
};

static void *block_take(struct ln_arena *a, size_t size)
{
    if (a->more)
        return a->more(a->arg, size);
    struct block *b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    b->next = a->blocks;
    a->blocks = b;
    return b + 1;
}

void *ln_arena_take(struct ln_arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    if ((size_t)(a->end - a->at) < size) {
        size_t block = a->block < BLOCK_MIN ? BLOCK_MIN : a->block;
        /* A large piece gets a block of its own and leaves the current one in use. */
        if (size > block / 4)
            return block_take(a, size);
        char *p = block_take(a, block);
        if (!p)
            return NULL;
        a->at = p;
        a->end = p + block;
        a->block = block < BLOCK_MAX ? block * 2 : block;
    }
    void *p = a->at;
    a->at += size;
    return p;
}

void ln_arena_fini(struct ln_arena *a)
{
    struct block *b = a->blocks;
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
    a->blocks = NULL;
    a->at = a->end = NULL;
    a->block = 0;
}
