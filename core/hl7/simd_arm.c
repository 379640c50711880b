/* NEON, which every AArch64 has. */
#include "hl7/simd.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#define WIDE 16

static inline uint8x16_t load(const char *p)
{
    return vld1q_u8((const uint8_t *)p);
}

/* Up to WIDE bytes, zeros behind them. */
static inline uint8x16_t tail(const char *p, size_t left)
{
    char copy[WIDE] = {0};
    memcpy(copy, p, left);
    return load(copy);
}

static inline uint8x16_t equal(uint8x16_t v, uint8x16_t a, uint8x16_t b)
{
    return vorrq_u8(vceqq_u8(v, a), vceqq_u8(v, b));
}

/* Four bits per byte, of which the lowest is kept: NEON has no movemask. */
static inline uint64_t bits_of(uint8x16_t hit)
{
    uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(hit), 4);
    return vget_lane_u64(vreinterpret_u64_u8(narrow), 0) & 0x1111111111111111u;
}

static inline uint32_t *emit(uint32_t *out, uint64_t bits, uint32_t at)
{
    for (; bits; bits &= bits - 1)
        *out++ = at + (uint32_t)__builtin_ctzll(bits) / 4;
    return out;
}

static size_t find(const char *p, size_t len, char a, char b, uint32_t add, uint32_t *out)
{
    const uint8x16_t va = vdupq_n_u8((uint8_t)a), vb = vdupq_n_u8((uint8_t)b);
    uint32_t *o = out;
    size_t i = 0;
    for (; i + WIDE <= len; i += WIDE)
        o = emit(o, bits_of(equal(load(p + i), va, vb)), add + (uint32_t)i);
    if (i < len) {
        uint64_t bits = bits_of(equal(tail(p + i, len - i), va, vb));
        o = emit(o, bits & (((uint64_t)1 << 4 * (len - i)) - 1), add + (uint32_t)i);
    }
    return (size_t)(o - out);
}

static inline size_t hits(uint8x16_t hit)
{
    return (size_t)__builtin_popcountll(bits_of(hit));
}

static size_t count(const char *p, size_t len, char c)
{
    const uint8x16_t v = vdupq_n_u8((uint8_t)c);
    size_t n = 0, i = 0;
    for (; i + WIDE <= len; i += WIDE)
        n += hits(vceqq_u8(load(p + i), v));
    if (i < len) {
        uint64_t bits = bits_of(vceqq_u8(tail(p + i, len - i), v));
        n += (size_t)__builtin_popcountll(bits & (((uint64_t)1 << 4 * (len - i)) - 1));
    }
    return n;
}

static void census(const char *p, size_t len, struct ln_simd_census *out)
{
    const uint8x16_t cr = vdupq_n_u8('\r'), lf = vdupq_n_u8('\n'), esc = vdupq_n_u8(0x1b);
    uint8x16_t all = vdupq_n_u8(0), escs = all;
    *out = (struct ln_simd_census){0};
    for (size_t i = 0; i < len; i += WIDE) {
        uint8x16_t v = i + WIDE <= len ? load(p + i) : tail(p + i, len - i);
        out->cr += hits(vceqq_u8(v, cr));
        out->lf += hits(vceqq_u8(v, lf));
        escs = vorrq_u8(escs, vceqq_u8(v, esc));
        all = vorrq_u8(all, v);
    }
    out->high = vmaxvq_u8(all) > 0x7f;
    out->esc = vmaxvq_u8(escs) != 0;
}

const struct ln_simd ln_simd_neon = {"neon", census, count, find};

#else
typedef int ln_simd_arm_none; /* a file must hold something */
#endif
