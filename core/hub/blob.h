/* Bytes shared by the steps of a message, counted. The hub's loop is one thread: plain counting. */
#ifndef LN_HUB_BLOB_H
#define LN_HUB_BLOB_H

#ifndef LN_CDEF
#include <stdlib.h>

#include "base/span.h"

/* Bytes in all blobs. Over LN_BLOB_MUCH queues in memory stop growing (each still holds its head)
 * and are read back from the store: the hub's memory is bounded however many channels are behind.
 */
extern size_t ln_blob_held;
#define LN_BLOB_MUCH ((size_t)64 << 20)

struct ln_blob {
    unsigned refs;
    size_t len;
    char data[];
};

static inline struct ln_blob *ln_blob_new(struct ln_span s)
{
    struct ln_blob *b = malloc(sizeof *b + s.len);
    if (!b)
        return NULL;
    b->refs = 1;
    b->len = s.len;
    ln_blob_held += s.len;
    if (s.len)
        memcpy(b->data, s.ptr, s.len);
    return b;
}

static inline struct ln_blob *ln_blob_ref(struct ln_blob *b)
{
    b->refs++;
    return b;
}

static inline void ln_blob_unref(struct ln_blob *b)
{
    if (b && --b->refs == 0) {
        ln_blob_held -= b->len;
        free(b);
    }
}

static inline struct ln_span ln_blob_span(const struct ln_blob *b)
{
    return ln_span(b->data, b->len);
}
#endif

#endif
