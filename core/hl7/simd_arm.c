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

/* Four bits per byte, of which the lowest is kept: NEON has no movemask. */
static inline uint64_t equal(uint8x16_t v, char c)
{
    uint8x16_t hit = vceqq_u8(v, vdupq_n_u8((uint8_t)c));
    uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(hit), 4);
    return vget_lane_u64(vreinterpret_u64_u8(narrow), 0) & 0x1111111111111111u;
}

static inline uint64_t valid(size_t left)
{
    return left < WIDE ? ((uint64_t)1 << 4 * left) - 1 : UINT64_MAX;
}

static size_t index_bytes(const char *p, size_t len, char sep, char end, char end2, uint32_t add,
                          uint32_t *at, uint32_t *ends, size_t *nends)
{
    size_t n = 0, ne = 0;
    for (size_t i = 0; i < len; i += WIDE) {
        size_t left = len - i;
        uint8x16_t v = left >= WIDE ? load(p + i) : tail(p + i, left);
        uint64_t e = equal(v, end) | equal(v, end2), bits = (e | equal(v, sep)) & valid(left);
        for (; bits; bits &= bits - 1) {
            uint32_t bit = (uint32_t)__builtin_ctzll(bits);
            ends[ne] = (uint32_t)n; /* stays when it is an end */
            ne += e >> bit & 1;
            at[n++] = add + (uint32_t)i + bit / 4;
        }
    }
    *nends = ne;
    return n;
}

static void census(const char *p, size_t len, char sep, struct ln_simd_census *out)
{
    uint8x16_t all = vdupq_n_u8(0);
    uint64_t escs = 0;
    *out = (struct ln_simd_census){0};
    for (size_t i = 0; i < len; i += WIDE) {
        size_t left = len - i;
        uint8x16_t v = left >= WIDE ? load(p + i) : tail(p + i, left);
        out->sep += (size_t)__builtin_popcountll(equal(v, sep) & valid(left));
        out->cr += (size_t)__builtin_popcountll(equal(v, '\r'));
        out->lf += (size_t)__builtin_popcountll(equal(v, '\n'));
        escs |= equal(v, '\x1b');
        all = vorrq_u8(all, v);
    }
    out->high = vmaxvq_u8(all) > 0x7f;
    out->esc = escs != 0;
}

const struct ln_simd ln_simd_neon = {"neon", census, index_bytes};

#else
typedef int ln_simd_arm_none; /* a file must hold something */
#endif
