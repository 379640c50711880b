#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int ln_buf_reserve(struct ln_buf *b, size_t more)
{
    if (b->cap - b->len >= more)
        return LN_OK;
    if (more > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
        b->failed = true;
        return LN_ENOMEM;
    }
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < more)
        cap += cap / 2 + 64;
    char *p = realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return LN_ENOMEM;
    }
    b->data = p;
    b->cap = cap;
    return LN_OK;
}

int ln_buf_add(struct ln_buf *b, const void *data, size_t len)
{
    if (ln_buf_reserve(b, len) != LN_OK)
        return LN_ENOMEM;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return LN_OK;
}

int ln_buf_add_span(struct ln_buf *b, struct ln_span s)
{
    return ln_buf_add(b, s.ptr, s.len);
}

int ln_buf_addc(struct ln_buf *b, char c)
{
    return ln_buf_add(b, &c, 1);
}

int ln_buf_adds(struct ln_buf *b, const char *s)
{
    return ln_buf_add(b, s, strlen(s));
}

int ln_buf_addf(struct ln_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return LN_EINVAL;
    if (ln_buf_reserve(b, (size_t)n + 1) != LN_OK)
        return LN_ENOMEM;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return LN_OK;
}

void ln_buf_drop(struct ln_buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void ln_buf_clear(struct ln_buf *b, size_t keep_cap)
{
    b->len = 0;
    b->failed = false;
    if (b->cap > keep_cap) {
        free(b->data);
        b->data = NULL;
        b->cap = 0;
    }
}

void ln_buf_fini(struct ln_buf *b)
{
    free(b->data);
    *b = (struct ln_buf){0};
}
