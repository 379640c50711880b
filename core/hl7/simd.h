/* The delimiters of a message, many bytes at a time: what the structural index is made with. Four
 * twins of the same two functions (AVX2, SSE2, NEON and plain C), chosen once by what the processor
 * has; they give the same results, byte for byte (tests/hl7/simd_spec.lua,
 * tests/fuzz/simd_fuzz.c). Only p[0..len) is ever read. */
#ifndef LN_HL7_SIMD_H
#define LN_HL7_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ln_simd_census {
    size_t sep, cr, lf; /* how many of them */
    bool high; /* a byte above 0x7f occurs */
    bool esc; /* 0x1b occurs: ISO 2022 switches character sets with it */
};

struct ln_simd {
    const char *name;
    void (*census)(const char *p, size_t len, char sep, struct ln_simd_census *out);
    /* Writes add + i to at[] for every p[i] that is sep, end or end2, in order, and to ends[] which
     * of these (counted from 0) are end or end2. Returns how many stand in at[], *nends in ends[].
     * len at most 2^31; sep is neither end nor end2. */
    size_t (*index)(const char *p, size_t len, char sep, char end, char end2, uint32_t add,
                    uint32_t *at, uint32_t *ends, size_t *nends);
};

enum ln_simd_kind { LN_SIMD_SCALAR, LN_SIMD_SSE2, LN_SIMD_AVX2, LN_SIMD_NEON, LN_SIMD_KINDS };

/* The twin of this kind; NULL when this build or this processor has none. */
const struct ln_simd *ln_simd_kind(enum ln_simd_kind kind);
/* The best one. */
const struct ln_simd *ln_simd(void);

#ifndef LN_CDEF
extern const struct ln_simd ln_simd_scalar, ln_simd_sse2, ln_simd_avx2, ln_simd_neon;
#endif

#endif
