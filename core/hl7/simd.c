/* The choice between the twins, and the one in plain C. */
#include "hl7/simd.h"

#include <stdatomic.h>

/* ---- plain C -----------------------------------------------------------------------------------
 */

static void census(const char *p, size_t len, char sep, struct ln_simd_census *out)
{
    unsigned char all = 0;
    *out = (struct ln_simd_census){0};
    for (size_t i = 0; i < len; i++) {
        out->sep += p[i] == sep;
        out->cr += p[i] == '\r';
        out->lf += p[i] == '\n';
        out->esc |= p[i] == '\x1b';
        all |= (unsigned char)p[i];
    }
    out->high = all > 0x7f;
}

static size_t index_bytes(const char *p, size_t len, char sep, char end, char end2, uint32_t add,
                          uint32_t *at, uint32_t *ends, size_t *nends)
{
    size_t n = 0, e = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_end = p[i] == end || p[i] == end2;
        if (is_end)
            ends[e++] = (uint32_t)n;
        if (is_end || p[i] == sep)
            at[n++] = add + (uint32_t)i;
    }
    *nends = e;
    return n;
}

const struct ln_simd ln_simd_scalar = {"scalar", census, index_bytes};

/* ---- choice ------------------------------------------------------------------------------------
 */

const struct ln_simd *ln_simd_kind(enum ln_simd_kind kind)
{
    switch (kind) {
    case LN_SIMD_SCALAR: return &ln_simd_scalar;
#if defined(__x86_64__)
    case LN_SIMD_SSE2: return &ln_simd_sse2;
    case LN_SIMD_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                       __builtin_cpu_supports("popcnt")
                   ? &ln_simd_avx2
                   : NULL;
#elif defined(__aarch64__)
    case LN_SIMD_NEON: return &ln_simd_neon;
#endif
    default: return NULL;
    }
}

const struct ln_simd *ln_simd(void)
{
    static const struct ln_simd *_Atomic best;
    const struct ln_simd *s = atomic_load_explicit(&best, memory_order_relaxed);
    for (int kind = LN_SIMD_KINDS - 1; !s; kind--)
        if ((s = ln_simd_kind((enum ln_simd_kind)kind)))
            atomic_store_explicit(&best, s, memory_order_relaxed);
    return s;
}
