/* A log-linear histogram of durations: exact below 128 us, 64 steps per power of two above it, so a
 * percentile is at most 1.6 % too high. Fixed size, no allocation. */
#ifndef LN_ROLE_HISTOGRAM_H
#define LN_ROLE_HISTOGRAM_H

#include <stdint.h>

#define LN_HISTOGRAM_BUCKETS 2240 /* 128 + 64 * 33: up to 2^40 us, about 12 days */

struct ln_histogram {
    uint64_t n, sum, max;
    uint64_t bucket[LN_HISTOGRAM_BUCKETS];
};

void ln_histogram_add(struct ln_histogram *h, int64_t us);
/* The value that `percent` of all are at or below, in us; 0 when empty. */
uint64_t ln_histogram_percentile(const struct ln_histogram *h, double percent);
/* In us; 0 when empty. */
double ln_histogram_mean(const struct ln_histogram *h);

#endif
