#include "role/histogram.h"

#include <math.h>

static unsigned index_of(uint64_t v)
{
    if (v < 128)
        return (unsigned)v;
    unsigned top = 63u - (unsigned)__builtin_clzll(v);
    unsigned i = 128 + (top - 7) * 64 + (unsigned)((v >> (top - 6)) - 64);
    return i < LN_HISTOGRAM_BUCKETS ? i : LN_HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_end(unsigned i)
{
    if (i < 128)
        return i;
    unsigned shift = (i - 128) / 64 + 1;
    return ((uint64_t)((i - 128) % 64 + 65) << shift) - 1;
}

void ln_histogram_add(struct ln_histogram *h, int64_t us)
{
    uint64_t v = us > 0 ? (uint64_t)us : 0;
    h->n++;
    h->sum += v;
    if (v > h->max)
        h->max = v;
    h->bucket[index_of(v)]++;
}

uint64_t ln_histogram_percentile(const struct ln_histogram *h, double percent)
{
    if (h->n == 0)
        return 0;
    uint64_t want = (uint64_t)ceil((double)h->n * percent / 100.0), seen = 0;
    if (want == 0)
        want = 1;
    for (unsigned i = 0; i < LN_HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= want)
            return upper_end(i) < h->max ? upper_end(i) : h->max;
    }
    return h->max;
}

double ln_histogram_mean(const struct ln_histogram *h)
{
    return h->n ? (double)h->sum / (double)h->n : 0;
}
