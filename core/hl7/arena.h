/* Memory that lives and dies with one message: taken piece by piece, freed all at once. All zero is
 * a valid empty arena on the heap. `more` lets somebody else own the memory (a script's message
 * lives in its Lua state, so that the state's limit and its collector count it); such an arena
 * needs no fini. */
#ifndef LN_HL7_ARENA_H
#define LN_HL7_ARENA_H

#include <stddef.h>

struct ln_arena {
    char *at, *end; /* what is left of the current block */
    size_t block; /* size of the next block */
    /* Gives `size` bytes, aligned to 8, that live as long as the arena; NULL when there are none.
     * May also leave by longjmp: nothing is changed before it is called. NULL: the heap. */
    void *(*more)(void *arg, size_t size);
    void *arg;
    void *blocks; /* heap blocks, chained */
};

/* size bytes, aligned to 8, not cleared; NULL when there is no memory. */
void *ln_arena_take(struct ln_arena *a, size_t size);
/* Frees heap blocks; the arena is empty again. */
void ln_arena_fini(struct ln_arena *a);

#endif
