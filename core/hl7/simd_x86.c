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

AVX2 static inline uint64_t avx2_bits(__m256i v, __m256i a, __m256i b)
{
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_or_si256(_mm256_cmpeq_epi8(v, a), _mm256_cmpeq_epi8(v, b)));
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

/* Bits of the tail. */
AVX2 static inline uint64_t avx2_tail_bits(const char *p, size_t len, size_t left, __m256i a,
                                           __m256i b)
{
    unsigned shift;
    __m256i v = avx2_tail(p, len, left, &shift);
    return avx2_bits(v, a, b) >> shift & (((uint64_t)1 << left) - 1);
}

/* Writes the positions of the bits without a branch per bit, four or eight at a time: what is
 * written too much is written over by the next. */
AVX2 static inline uint32_t *avx2_emit(uint32_t *out, uint64_t bits, uint32_t at)
{
    uint32_t n = (uint32_t)_mm_popcnt_u64(bits);
    uint32_t *o = out;
    for (;;) {
        for (int i = 0; i < 4; i++) {
            o[i] = at + (uint32_t)_tzcnt_u64(bits);
            bits &= bits - 1;
        }
        if (__builtin_expect(!bits, 1))
            return out + n;
        o += 4;
    }
}

AVX2 static size_t avx2_find(const char *p, size_t len, char a, char b, uint32_t add, uint32_t *out)
{
    const __m256i va = _mm256_set1_epi8(a), vb = _mm256_set1_epi8(b);
    uint32_t *o = out;
    size_t i = 0;
    for (; i + 2 * WIDE <= len; i += 2 * WIDE) {
        uint64_t bits = avx2_bits(avx2_load(p + i), va, vb) |
                        avx2_bits(avx2_load(p + i + WIDE), va, vb) << WIDE;
        if (bits)
            o = avx2_emit(o, bits, add + (uint32_t)i);
    }
    if (i + WIDE <= len) {
        uint64_t bits = avx2_bits(avx2_load(p + i), va, vb);
        if (bits)
            o = avx2_emit(o, bits, add + (uint32_t)i);
        i += WIDE;
    }
    if (i < len) {
        uint64_t bits = avx2_tail_bits(p, len, len - i, va, vb);
        if (bits)
            o = avx2_emit(o, bits, add + (uint32_t)i);
    }
    return (size_t)(o - out);
}

AVX2 static size_t avx2_count(const char *p, size_t len, char c)
{
    const __m256i v = _mm256_set1_epi8(c);
    size_t n = 0, i = 0;
    for (; i + WIDE <= len; i += WIDE)
        n += (size_t)_mm_popcnt_u64(avx2_bits(avx2_load(p + i), v, v));
    if (i < len)
        n += (size_t)_mm_popcnt_u64(avx2_tail_bits(p, len, len - i, v, v));
    return n;
}

/* Sum of bytes. */
AVX2 static inline size_t avx2_sum(__m256i v)
{
    __m256i s = _mm256_sad_epu8(v, _mm256_setzero_si256());
    return (size_t)_mm256_extract_epi64(s, 0) + (size_t)_mm256_extract_epi64(s, 1) +
           (size_t)_mm256_extract_epi64(s, 2) + (size_t)_mm256_extract_epi64(s, 3);
}

AVX2 static void avx2_census(const char *p, size_t len, struct ln_simd_census *out)
{
    const __m256i cr = _mm256_set1_epi8('\r'), lf = _mm256_set1_epi8('\n'),
                  esc = _mm256_set1_epi8('\x1b');
    __m256i all = _mm256_setzero_si256(), escs = all;
    size_t ncr = 0, nlf = 0, i = 0;
    while (i + WIDE <= len) {
        __m256i crs = _mm256_setzero_si256(), lfs = crs;
        for (int n = 0; n < 255 && i + WIDE <= len; n++, i += WIDE) { /* byte sums hold 255 */
            __m256i v = avx2_load(p + i);
            crs = _mm256_sub_epi8(crs, _mm256_cmpeq_epi8(v, cr));
            lfs = _mm256_sub_epi8(lfs, _mm256_cmpeq_epi8(v, lf));
            escs = _mm256_or_si256(escs, _mm256_cmpeq_epi8(v, esc));
            all = _mm256_or_si256(all, v);
        }
        ncr += avx2_sum(crs);
        nlf += avx2_sum(lfs);
    }
    if (i < len) {
        unsigned shift;
        __m256i v = avx2_tail(p, len, len - i, &shift);
        ncr += (size_t)_mm_popcnt_u64(avx2_bits(v, cr, cr) >> shift);
        nlf += (size_t)_mm_popcnt_u64(avx2_bits(v, lf, lf) >> shift);
        escs = _mm256_or_si256(escs, _mm256_cmpeq_epi8(v, esc));
        all = _mm256_or_si256(all, v);
    }
    out->cr = ncr;
    out->lf = nlf;
    out->high = _mm256_movemask_epi8(all) != 0;
    out->esc = _mm256_movemask_epi8(escs) != 0;
}

const struct ln_simd ln_simd_avx2 = {"avx2", avx2_census, avx2_count, avx2_find};

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

static inline uint32_t sse2_bits(__m128i v, __m128i a, __m128i b)
{
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, a), _mm_cmpeq_epi8(v, b)));
}

static inline uint32_t *sse2_emit(uint32_t *out, uint32_t bits, uint32_t at)
{
    for (; bits; bits &= bits - 1)
        *out++ = at + (uint32_t)__builtin_ctz(bits);
    return out;
}

static size_t sse2_find(const char *p, size_t len, char a, char b, uint32_t add, uint32_t *out)
{
    const __m128i va = _mm_set1_epi8(a), vb = _mm_set1_epi8(b);
    uint32_t *o = out;
    size_t i = 0;
    for (; i + NARROW <= len; i += NARROW)
        o = sse2_emit(o, sse2_bits(sse2_load(p + i), va, vb), add + (uint32_t)i);
    if (i < len) {
        uint32_t bits = sse2_bits(sse2_tail(p + i, len - i), va, vb);
        o = sse2_emit(o, bits & ((1u << (len - i)) - 1), add + (uint32_t)i);
    }
    return (size_t)(o - out);
}

static size_t sse2_count(const char *p, size_t len, char c)
{
    const __m128i v = _mm_set1_epi8(c);
    size_t n = 0, i = 0;
    for (; i + NARROW <= len; i += NARROW)
        n += (size_t)__builtin_popcount(sse2_bits(sse2_load(p + i), v, v));
    if (i < len) {
        uint32_t bits = sse2_bits(sse2_tail(p + i, len - i), v, v);
        n += (size_t)__builtin_popcount(bits & ((1u << (len - i)) - 1));
    }
    return n;
}

static void sse2_census(const char *p, size_t len, struct ln_simd_census *out)
{
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), esc = _mm_set1_epi8('\x1b');
    __m128i all = _mm_setzero_si128(), escs = all;
    *out = (struct ln_simd_census){0};
    for (size_t i = 0; i < len; i += NARROW) {
        __m128i v = i + NARROW <= len ? sse2_load(p + i) : sse2_tail(p + i, len - i);
        out->cr += (size_t)__builtin_popcount(sse2_bits(v, cr, cr));
        out->lf += (size_t)__builtin_popcount(sse2_bits(v, lf, lf));
        escs = _mm_or_si128(escs, _mm_cmpeq_epi8(v, esc));
        all = _mm_or_si128(all, v);
    }
    out->high = _mm_movemask_epi8(all) != 0;
    out->esc = _mm_movemask_epi8(escs) != 0;
}

const struct ln_simd ln_simd_sse2 = {"sse2", sse2_census, sse2_count, sse2_find};

#else
typedef int ln_simd_x86_none; /* a file must hold something */
#endif
