/* The choice between the twins, and the one in plain C. */
#include "hl7/simd.h"

#include <stdatomic.h>

/* ---- plain C -----------------------------------------------------------------------------------
 */

static void census(const char *p, size_t len, struct ln_simd_census *out)
{
    size_t cr = 0, lf = 0;
    unsigned char all = 0;
    bool esc = false;
    for (size_t i = 0; i < len; i++) {
        cr += p[i] == '\r';
        lf += p[i] == '\n';
        esc |= p[i] == '\x1b';
        all |= (unsigned char)p[i];
    }
    *out = (struct ln_simd_census){cr, lf, all > 0x7f, esc};
}

static size_t count(const char *p, size_t len, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += p[i] == c;
    return n;
}

static size_t find(const char *p, size_t len, char a, char b, uint32_t add, uint32_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        if (p[i] == a || p[i] == b)
            out[n++] = add + (uint32_t)i;
    return n;
}

const struct ln_simd ln_simd_scalar = {"scalar", census, count, find};

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
