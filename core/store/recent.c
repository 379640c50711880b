#include "store/recent.h"

#include <stdlib.h>

enum { HEADS = 4096, NONE = -1 };

struct kind {
    struct ln_entry *e;
    int *next; /* beside e: the one before with the same head */
    unsigned n, cap;
    int head[HEADS];
};

struct ln_recent {
    pthread_mutex_t lock;
    uint64_t base, end; /* base UINT64_MAX: nothing can be said */
    struct kind kind[LN_INDEX_KINDS];
};

static void empty(struct ln_recent *r, uint64_t base)
{
    r->base = r->end = base;
    for (unsigned k = 0; k < LN_INDEX_KINDS; k++) {
        r->kind[k].n = 0;
        for (unsigned i = 0; i < HEADS; i++)
            r->kind[k].head[i] = NONE;
    }
}

struct ln_recent *ln_recent_new(void)
{
    struct ln_recent *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    empty(r, UINT64_MAX);
    return r;
}

void ln_recent_free(struct ln_recent *r)
{
    if (!r)
        return;
    for (unsigned k = 0; k < LN_INDEX_KINDS; k++) {
        free(r->kind[k].e);
        free(r->kind[k].next);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static bool add(struct kind *k, struct ln_entry e)
{
    if (k->n == k->cap) {
        unsigned cap = k->cap ? k->cap * 2 : LN_INDEX_BLOCK;
        struct ln_entry *p = realloc(k->e, cap * sizeof *p);
        if (p)
            k->e = p;
        int *next = p ? realloc(k->next, cap * sizeof *next) : NULL;
        if (!next)
            return false;
        k->next = next;
        k->cap = cap;
    }
    int *head = &k->head[e.hash % HEADS];
    k->e[k->n] = e;
    k->next[k->n] = *head;
    *head = (int)k->n++;
    return true;
}

void ln_recent_take(struct ln_recent *r, const struct ln_tail *t, uint64_t base, uint64_t end)
{
    bool ok = true;
    pthread_mutex_lock(&r->lock);
    if (base != r->base)
        empty(r, base);
    for (unsigned k = 0; k < LN_INDEX_KINDS; k++) {
        unsigned i = t->n[k];
        while (i > 0 && t->e[k][i - 1].pos >= r->end)
            i--;
        for (; i < t->n[k] && ok; i++)
            ok = add(&r->kind[k], t->e[k][i]);
    }
    r->end = end;
    if (!ok)
        empty(r, UINT64_MAX);
    pthread_mutex_unlock(&r->lock);
}

int ln_recent_find(struct ln_recent *r, enum ln_index kind, uint64_t hash, uint64_t base,
                   uint64_t **pos, unsigned *n, uint64_t *end)
{
    const struct kind *k = &r->kind[(unsigned)kind - 1];
    unsigned count = 0;
    int rc = LN_OK;
    *pos = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->base != base || base == UINT64_MAX)
        rc = LN_EAGAIN;
    for (int i = rc == LN_OK ? k->head[hash % HEADS] : NONE; i != NONE; i = k->next[i])
        count += k->e[i].hash == hash;
    if (count && !(*pos = malloc(count * sizeof **pos)))
        rc = LN_ENOMEM;
    *n = *pos ? count : 0;
    for (int i = *pos ? k->head[hash % HEADS] : NONE; i != NONE; i = k->next[i])
        if (k->e[i].hash == hash)
            (*pos)[--count] = k->e[i].pos;
    *end = r->end;
    pthread_mutex_unlock(&r->lock);
    return rc;
}
