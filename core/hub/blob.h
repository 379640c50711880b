/* Bytes shared by the steps of a message, counted. The hub's loop is one thread: plain counting. */
#ifndef LN_HUB_BLOB_H
#define LN_HUB_BLOB_H

#ifndef LN_CDEF
#include <stdlib.h>

#include "base/span.h"

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
    if (b && --b->refs == 0)
        free(b);
}

static inline struct ln_span ln_blob_span(const struct ln_blob *b)
{
    return ln_span(b->data, b->len);
}
#endif

#endif
