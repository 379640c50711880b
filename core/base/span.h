/* A borrowed run of bytes: not owned, not zero-terminated. */
#ifndef LN_BASE_SPAN_H
#define LN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct ln_span {
    const char *ptr;
    size_t len;
};

#ifndef LN_CDEF
static inline struct ln_span ln_span(const char *ptr, size_t len)
{
    return (struct ln_span){ptr, len};
}

static inline struct ln_span ln_span_str(const char *s)
{
    return (struct ln_span){s, s ? strlen(s) : 0};
}

static inline bool ln_span_eq(struct ln_span a, struct ln_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* A zero-terminated copy to free; NULL when memory is out. */
static inline char *ln_span_dup(struct ln_span s)
{
    return strndup(s.ptr ? s.ptr : "", s.len);
}

/* The same into out, cut to cap bytes with the zero; cap > 0. */
static inline void ln_span_copy(char *out, size_t cap, struct ln_span s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    if (n)
        memcpy(out, s.ptr, n);
    out[n] = '\0';
}

static inline bool ln_span_is(struct ln_span a, const char *s)
{
    return ln_span_eq(a, ln_span_str(s));
}
#endif

#endif
