/* SSE2, which every x86-64 has, and AVX2, which is asked for at run time. */
#include "hl7/simd.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,bmi,popcnt")))

/* ---- AVX2 --------------------------------------------------------------------------------------
 */

#define WIDE 32

AVX2 static inline __m256i avx2_load(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

AVX2 static inline uint32_t avx2_bits(__m256i hits)
{
    return (uint32_t)_mm256_movemask_epi8(hits);
}

/* The last `left` bytes (1 to WIDE - 1) of p[0..len), and in *shift how many bits the first of them
 * stands from the lowest one. Bytes before them are read again where there are enough. */
AVX2 static inline __m256i avx2_tail(const char *p, size_t len, size_t left, unsigned *shift)
{
    if (len >= WIDE) {
        *shift = (unsigned)(WIDE - left);
        return avx2_load(p + len - WIDE);
    }
    char copy[WIDE];
    *shift = 0;
    _mm256_storeu_si256((__m256i *)(void *)copy, _mm256_setzero_si256());
    memcpy(copy, p + len - left, left);
    return avx2_load(copy);
}

struct wanted {
    __m256i sep, end, end2;
};

AVX2 static inline __m256i avx2_ends(__m256i v, const struct wanted *w)
{
    return _mm256_or_si256(_mm256_cmpeq_epi8(v, w->end), _mm256_cmpeq_epi8(v, w->end2));
}

/* Where the results go. */
struct sink {
    uint32_t *at, *at0, *ends;
};

/* Takes the hits among WIDE bytes, bit by bit: with as few as a segment has in 32 bytes, writing
 * eight at a time without branches was measured slower. */
AVX2 static inline void avx2_take(struct sink *s, uint32_t seps, uint32_t ends, uint32_t at)
{
    uint32_t bits = seps | ends;
    for (; ends; ends &= ends - 1)
        *s->ends++ =
            (uint32_t)(s->at - s->at0) + (uint32_t)_mm_popcnt_u32(bits & (_blsmsk_u32(ends) >> 1));
    for (; bits; bits &= bits - 1)
        *s->at++ = at + _tzcnt_u32(bits);
}

AVX2 static size_t avx2_index(const char *p, size_t len, char sep, char end, char end2,
                              uint32_t add, uint32_t *at, uint32_t *ends, size_t *nends)
{
    const struct wanted w = {_mm256_set1_epi8(sep), _mm256_set1_epi8(end), _mm256_set1_epi8(end2)};
    struct sink s = {at, at, ends};
    size_t i = 0;
    for (; i + WIDE <= len; i += WIDE) {
        __m256i v = avx2_load(p + i);
        avx2_take(&s, avx2_bits(_mm256_cmpeq_epi8(v, w.sep)), avx2_bits(avx2_ends(v, &w)),
                  add + (uint32_t)i);
    }
    if (i < len) {
        unsigned shift, left = (unsigned)(len - i);
        __m256i v = avx2_tail(p, len, left, &shift);
        uint32_t e = avx2_bits(avx2_ends(v, &w)) >> shift,
                 f = avx2_bits(_mm256_cmpeq_epi8(v, w.sep)) >> shift, valid = (1u << left) - 1;
        avx2_take(&s, f & valid, e & valid, add + (uint32_t)i);
    }
    *nends = (size_t)(s.ends - ends);
    return (size_t)(s.at - at);
}

/* Sum of bytes. */
AVX2 static inline size_t avx2_sum(__m256i v)
{
    __m256i s = _mm256_sad_epu8(v, _mm256_setzero_si256());
    return (size_t)_mm256_extract_epi64(s, 0) + (size_t)_mm256_extract_epi64(s, 1) +
           (size_t)_mm256_extract_epi64(s, 2) + (size_t)_mm256_extract_epi64(s, 3);
}

AVX2 static void avx2_census(const char *p, size_t len, char sep, struct ln_simd_census *out)
{
    const __m256i vs = _mm256_set1_epi8(sep), cr = _mm256_set1_epi8('\r'),
                  lf = _mm256_set1_epi8('\n'), esc = _mm256_set1_epi8('\x1b'),
                  zero = _mm256_setzero_si256();
    __m256i all = zero, escs = zero;
    size_t i = 0;
    *out = (struct ln_simd_census){0};
    while (i + WIDE <= len) {
        __m256i seps = zero, crs = zero, lfs = zero;
        for (int n = 0; n < 255 && i + WIDE <= len; n++, i += WIDE) { /* byte sums hold 255 */
            __m256i v = avx2_load(p + i);
            seps = _mm256_sub_epi8(seps, _mm256_cmpeq_epi8(v, vs));
            crs = _mm256_sub_epi8(crs, _mm256_cmpeq_epi8(v, cr));
            lfs = _mm256_sub_epi8(lfs, _mm256_cmpeq_epi8(v, lf));
            escs = _mm256_or_si256(escs, _mm256_cmpeq_epi8(v, esc));
            all = _mm256_or_si256(all, v);
        }
        out->sep += avx2_sum(seps);
        out->cr += avx2_sum(crs);
        out->lf += avx2_sum(lfs);
    }
    if (i < len) {
        unsigned shift, left = (unsigned)(len - i);
        __m256i v = avx2_tail(p, len, left, &shift);
        uint32_t valid = (1u << left) - 1;
        out->sep += (size_t)_mm_popcnt_u32(avx2_bits(_mm256_cmpeq_epi8(v, vs)) >> shift & valid);
        out->cr += (size_t)_mm_popcnt_u32(avx2_bits(_mm256_cmpeq_epi8(v, cr)) >> shift & valid);
        out->lf += (size_t)_mm_popcnt_u32(avx2_bits(_mm256_cmpeq_epi8(v, lf)) >> shift & valid);
        escs = _mm256_or_si256(escs, _mm256_cmpeq_epi8(v, esc));
        all = _mm256_or_si256(all, v);
    }
    out->high = _mm256_movemask_epi8(all) != 0;
    out->esc = _mm256_movemask_epi8(escs) != 0;
}

const struct ln_simd ln_simd_avx2 = {"avx2", avx2_census, avx2_index};

/* ---- SSE2 --------------------------------------------------------------------------------------
 */

#define NARROW 16

static inline __m128i sse2_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Up to NARROW bytes, zeros behind them. */
static inline __m128i sse2_tail(const char *p, size_t left)
{
    char copy[NARROW] = {0};
    memcpy(copy, p, left);
    return sse2_load(copy);
}

static inline uint32_t sse2_equal(__m128i v, char c)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c)));
}

static size_t sse2_index(const char *p, size_t len, char sep, char end, char end2, uint32_t add,
                         uint32_t *at, uint32_t *ends, size_t *nends)
{
    size_t n = 0, ne = 0;
    for (size_t i = 0; i < len; i += NARROW) {
        size_t left = len - i;
        __m128i v = left >= NARROW ? sse2_load(p + i) : sse2_tail(p + i, left);
        uint32_t e = sse2_equal(v, end) | sse2_equal(v, end2), bits = e | sse2_equal(v, sep);
        if (left < NARROW)
            bits &= (1u << left) - 1;
        for (; bits; bits &= bits - 1) {
            uint32_t bit = (uint32_t)__builtin_ctz(bits);
            ends[ne] = (uint32_t)n; /* stays when it is an end */
            ne += e >> bit & 1;
            at[n++] = add + (uint32_t)i + bit;
        }
    }
    *nends = ne;
    return n;
}

static void sse2_census(const char *p, size_t len, char sep, struct ln_simd_census *out)
{
    __m128i all = _mm_setzero_si128();
    uint32_t escs = 0;
    *out = (struct ln_simd_census){0};
    for (size_t i = 0; i < len; i += NARROW) {
        size_t left = len - i;
        __m128i v = left >= NARROW ? sse2_load(p + i) : sse2_tail(p + i, left);
        uint32_t seps = sse2_equal(v, sep);
        if (left < NARROW)
            seps &= (1u << left) - 1;
        out->sep += (size_t)__builtin_popcount(seps);
        out->cr += (size_t)__builtin_popcount(sse2_equal(v, '\r'));
        out->lf += (size_t)__builtin_popcount(sse2_equal(v, '\n'));
        escs |= sse2_equal(v, '\x1b');
        all = _mm_or_si128(all, v);
    }
    out->high = _mm_movemask_epi8(all) != 0;
    out->esc = escs != 0;
}

const struct ln_simd ln_simd_sse2 = {"sse2", sse2_census, sse2_index};

#else
typedef int ln_simd_x86_none; /* a file must hold something */
#endif
