/* Notes what the store tells, so that no C code calls into Lua: `done` writes code and seq to the
 * place that arg names and counts. */
#include <stdint.h>

struct ln_collect {
    int64_t told; /* how often done was called, for all */
    int64_t cap;
    struct ln_collected {
        int64_t order; /* 0 = not told; 1 = first told, ... */
        int64_t code;
        uint64_t seq;
    } at[];
};

static struct ln_collect *to;

void collect_into(struct ln_collect *c)
{
    to = c;
}

/* arg: index from 0. */
void collect_done(void *arg, int code, uint64_t seq)
{
    intptr_t i = (intptr_t)arg;
    if (i < 0 || i >= to->cap)
        return;
    to->at[i].order = ++to->told;
    to->at[i].code = code;
    to->at[i].seq = seq;
}
