/* A growable byte buffer. All zero is a valid empty buffer. Failed growth leaves it unchanged and
 * returns LN_ENOMEM; `failed` then stays set, so that a writer may check once at the end. */
#ifndef LN_BASE_BUF_H
#define LN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct ln_buf {
    char *data;
    size_t len, cap;
    bool failed;
};

/* Makes room for `more` bytes behind len. */
int ln_buf_reserve(struct ln_buf *b, size_t more);
int ln_buf_add(struct ln_buf *b, const void *data, size_t len);
int ln_buf_add_span(struct ln_buf *b, struct ln_span s);
int ln_buf_addc(struct ln_buf *b, char c);
int ln_buf_adds(struct ln_buf *b, const char *s);
int ln_buf_addf(struct ln_buf *b, const char *fmt, ...) LN_PRINTF(2, 3);
/* Drops the first n bytes. */
void ln_buf_drop(struct ln_buf *b, size_t n);
/* Empties it, keeping memory up to keep_cap bytes. */
void ln_buf_clear(struct ln_buf *b, size_t keep_cap);
void ln_buf_fini(struct ln_buf *b);

#ifndef LN_CDEF
static inline struct ln_span ln_buf_span(const struct ln_buf *b)
{
    return ln_span(b->data, b->len);
}
#endif

#endif
