/* The queue between the loop and the committer: operations gather in blocks of memory; done batches
 * come back and are told, in order. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "store/engine.h"

enum { BLOCK = 256 * 1024, SPARE_BLOCKS = 8, VERSION_SMALL = 64 * 1024 };

static struct ln_block *block_new(struct ln_store *s, size_t need)
{
    if (need <= BLOCK && s->spare_blocks) {
        struct ln_block *b = s->spare_blocks;
        s->spare_blocks = b->next;
        s->spare_count--;
        return b;
    }
    size_t cap = need > BLOCK ? need : BLOCK;
    struct ln_block *b = malloc(sizeof *b + cap);
    if (b) {
        b->cap = cap;
        b->used = 0;
    }
    return b;
}

static void *batch_alloc(struct ln_store *s, struct ln_batch *b, size_t len)
{
    len = (len + 15) & ~(size_t)15;
    if (!b->blocks || b->blocks->cap - b->blocks->used < len) {
        struct ln_block *n = block_new(s, len);
        if (!n)
            return NULL;
        n->next = b->blocks;
        b->blocks = n;
    }
    void *p = b->blocks->data + b->blocks->used;
    b->blocks->used += len;
    return p;
}

struct ln_batch *ln_batch_new(struct ln_store *s)
{
    struct ln_batch *b = s->spare;
    if (b)
        s->spare = b->next;
    else if (!(b = calloc(1, sizeof *b)))
        return NULL;
    b->next = NULL;
    b->first = NULL;
    b->last = &b->first;
    return b;
}

struct ln_op *ln_batch_op(struct ln_store *s, enum ln_op_kind kind, size_t cap)
{
    pthread_mutex_lock(&s->lock);
    struct ln_batch *b = s->gather ? s->gather : (s->gather = ln_batch_new(s));
    struct ln_op *op = b && cap < SIZE_MAX / 2 ? batch_alloc(s, b, sizeof *op + cap) : NULL;
    if (!op) {
        pthread_mutex_unlock(&s->lock);
        return NULL;
    }
    memset(op, 0, sizeof *op);
    op->kind = (uint8_t)kind;
    op->must = true;
    op->data = (char *)(op + 1);
    op->len = cap;
    return op;
}

void ln_batch_push(struct ln_store *s, struct ln_op *op)
{
    struct ln_batch *b = s->gather;
    /* It is the newest in its block: what its data doesn't need goes back. */
    b->blocks->used = (size_t)(op->data + ((op->len + 15) & ~(size_t)15) - b->blocks->data);
    *b->last = op;
    b->last = &op->next;
    b->count++;
    b->bytes += sizeof *op + op->len;
    atomic_fetch_add(&s->backlog, sizeof *op + op->len);
    /* In a dispatch one wake-up at its end does for all that the callbacks queue. */
    if (s->idle && !s->in_group && !s->dispatching) {
        s->idle = false;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

void ln_batch_take(struct ln_store *s, struct ln_batch **to)
{
    struct ln_batch *b = s->gather, *w = *to;
    if (!b || !b->first)
        return;
    s->gather = NULL;
    if (!w) {
        *to = b;
        return;
    }
    *w->last = b->first;
    w->last = b->last;
    w->count += b->count;
    w->bytes += b->bytes;
    struct ln_block **end = &b->blocks;
    while (*end)
        end = &(*end)->next;
    *end = w->blocks;
    w->blocks = b->blocks;
    b->blocks = NULL;
    b->count = 0;
    b->bytes = 0;
    b->next = s->spare;
    s->spare = b;
}

void ln_batch_publish(struct ln_store *s, struct ln_batch *b)
{
    uint64_t one = 1;
    bool was_empty = !s->done;
    b->next = NULL;
    *s->done_last = b;
    s->done_last = &b->next;
    atomic_fetch_sub(&s->backlog, b->bytes);
    b->bytes = 0;
    if (was_empty &&
        write(s->event_fd, &one, sizeof one) < 0) { /* only if its counter overflowed */
    }
}

/* What was refused leaves its memory behind in blocks that the rest still needs. In a long failure
 * that would grow without end: move the rest to new blocks when most is waste. */
static void compact(struct ln_store *s, struct ln_batch *b)
{
    struct ln_batch to = {.first = NULL};
    if (b->waste < b->bytes + ((uint64_t)1 << 20))
        return;
    to.last = &to.first;
    for (const struct ln_op *op = b->first; op; op = op->next) {
        struct ln_op *copy = batch_alloc(s, &to, sizeof *op + op->len);
        if (!copy)
            break;
        *copy = *op;
        copy->next = NULL;
        copy->data = memcpy(copy + 1, op->data, op->len);
        *to.last = copy;
        to.last = &copy->next;
        to.count++;
    }
    struct ln_block *drop = b->blocks;
    if (to.count == b->count) {
        b->blocks = to.blocks;
        b->first = to.first;
        b->last = to.first ? to.last : &b->first;
        b->waste = 0;
    } else {
        drop = to.blocks;
    }
    for (struct ln_block *k; (k = drop);) {
        drop = k->next;
        free(k);
    }
}

/* What may be refused: messages, whose senders have them, unless they may be in the store all the
 * same (the sender would send again); and a version's files, which may be larger than all the room
 * that is left, and would keep out results and outcomes. */
static bool refusable(const struct ln_op *op)
{
    if (op->settled)
        return false;
    if (op->kind == LN_OP_VERSION)
        return op->len > VERSION_SMALL;
    return op->kind == LN_OP_APPEND && !op->must && !op->in_doubt;
}

struct ln_batch *ln_batch_refuse(struct ln_store *s, struct ln_batch *b, int code)
{
    struct ln_batch *r = NULL;
    struct ln_op **at = &b->first, *op;
    while ((op = *at)) {
        if (!refusable(op)) {
            at = &op->next;
            continue;
        }
        op->code = code;
        op->settled = true;
        struct ln_op *copy = r || (r = ln_batch_new(s)) ? batch_alloc(s, r, sizeof *op) : NULL;
        if (!copy) { /* it is told with the rest */
            at = &op->next;
            continue;
        }
        *copy = *op;
        copy->next = NULL;
        copy->data = NULL;
        *r->last = copy;
        r->last = &copy->next;
        r->bytes += sizeof *op + op->len;
        b->bytes -= sizeof *op + op->len;
        b->waste += sizeof *op + op->len;
        b->count--;
        *at = op->next;
    }
    b->last = at;
    if (r && !r->first) {
        ln_batch_free(r);
        r = NULL;
    }
    compact(s, b);
    return r;
}

void ln_batch_free(struct ln_batch *b)
{
    for (struct ln_block *k; (k = b->blocks);) {
        b->blocks = k->next;
        free(k);
    }
    for (unsigned i = 0; i < b->numbers_cap; i++)
        free(b->numbers[i].dest);
    free(b->numbers);
    free(b);
}

void ln_batch_recycle(struct ln_store *s, struct ln_batch *b)
{
    for (struct ln_block *k; (k = b->blocks);) {
        b->blocks = k->next;
        if (k->cap != BLOCK || s->spare_count >= SPARE_BLOCKS) {
            free(k);
            continue;
        }
        k->used = 0;
        k->next = s->spare_blocks;
        s->spare_blocks = k;
        s->spare_count++;
    }
    b->count = 0;
    b->nnumbers = 0;
    b->waste = 0;
    b->next = s->spare;
    s->spare = b;
}

static void free_list(struct ln_batch *b)
{
    for (struct ln_batch *next; b; b = next) {
        next = b->next;
        ln_batch_free(b);
    }
}

void ln_batch_fini(struct ln_store *s)
{
    if (s->gather)
        ln_batch_free(s->gather);
    free_list(s->spare);
    free_list(s->done);
    for (struct ln_block *k; (k = s->spare_blocks);) {
        s->spare_blocks = k->next;
        free(k);
    }
}

/* ---- telling the loop ---------------------------------------------------------------------- */

static void see_numbers(struct ln_store *s, const struct ln_batch *b)
{
    for (unsigned i = 0; i < b->nnumbers; i++) {
        const struct ln_numbers *from = &b->numbers[i];
        if (from->s.id > s->nchans)
            continue;
        struct ln_numbers *to = &s->chans[from->s.id - 1].seen;
        struct ln_dest_state *dest = to->dest;
        /* The channel's table has had room for all its destinations since they were named. */
        if (from->s.ndest)
            memcpy(dest, from->dest, from->s.ndest * sizeof *dest);
        *to = *from;
        to->s.dest = to->dest = dest;
    }
}

void ln_store_dispatch(struct ln_store *s)
{
    uint64_t n;
    if (s->dispatching)
        return;
    if (read(s->event_fd, &n, sizeof n) < 0 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&s->lock);
    struct ln_batch *done = s->done;
    s->done = NULL;
    s->done_last = &s->done;
    pthread_mutex_unlock(&s->lock);
    s->dispatching = true;
    while (done) {
        struct ln_batch *b = done;
        done = b->next;
        see_numbers(s, b);
        for (struct ln_op *op = b->first, *next; op; op = next) {
            next = op->next;
            if (op->done)
                op->done(op->arg, op->code, op->seq);
        }
        pthread_mutex_lock(&s->lock);
        ln_batch_recycle(s, b);
        pthread_mutex_unlock(&s->lock);
    }
    s->dispatching = false;
    pthread_mutex_lock(&s->lock);
    if (s->idle && !s->in_group && s->gather && s->gather->first) {
        s->idle = false;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

void ln_store_begin(struct ln_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->in_group = true;
    pthread_mutex_unlock(&s->lock);
}

void ln_store_end(struct ln_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->in_group = false;
    if (s->idle && !s->dispatching && s->gather && s->gather->first) {
        s->idle = false;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

int ln_store_fd(const struct ln_store *s)
{
    return s->event_fd;
}

uint64_t ln_store_backlog(const struct ln_store *s)
{
    return atomic_load(&((struct ln_store *)(uintptr_t)s)->backlog);
}
