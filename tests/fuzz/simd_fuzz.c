/* The twins of hl7/simd.h: the input's first bytes choose separator and ends, the rest is text. All
 * of them must agree with the one in plain C, and read nothing outside of the text. */
#include "fuzz.h"
#include "hl7/simd.h"

struct result {
    struct ln_simd_census census;
    uint32_t *at, *ends;
    size_t n, nends;
};

static struct result run(const struct ln_simd *s, const char *p, size_t len, const char *c)
{
    struct result r = {.at = malloc((len + 1) * 4), .ends = malloc((len + 1) * 4)};
    CHECK(r.at && r.ends);
    s->census(p, len, c[0], &r.census);
    r.n = s->index(p, len, c[0], c[1], c[2], 3, r.at, r.ends, &r.nends);
    return r;
}

static void done(struct result *r)
{
    free(r->at);
    free(r->ends);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    char c[3] = {(char)data[0], (char)data[1], (char)data[2]};
    if (c[0] == c[1] || c[0] == c[2])
        return 0;
    char *p = fuzz_copy(data + 3, size - 3);
    struct result want = run(ln_simd_kind(LN_SIMD_SCALAR), p, size - 3, c);
    for (int kind = 1; kind < LN_SIMD_KINDS; kind++) {
        const struct ln_simd *twin = ln_simd_kind((enum ln_simd_kind)kind);
        if (!twin)
            continue;
        struct result r = run(twin, p, size - 3, c);
        CHECK(r.census.sep == want.census.sep && r.census.cr == want.census.cr);
        CHECK(r.census.lf == want.census.lf && r.census.high == want.census.high);
        CHECK(r.census.esc == want.census.esc);
        CHECK(r.n == want.n && r.nends == want.nends);
        CHECK(memcmp(r.at, want.at, r.n * 4) == 0);
        CHECK(memcmp(r.ends, want.ends, r.nends * 4) == 0);
        done(&r);
    }
    done(&want);
    free(p);
    return 0;
}
