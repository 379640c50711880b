/* How values spread: counts per range, for histograms in the metrics. Adding is a few comparisons.
 */
#ifndef LN_HUB_SPREAD_H
#define LN_HUB_SPREAD_H

#ifndef LN_CDEF
#include <stdint.h>

enum { LN_SPREAD_TIMES = 15, LN_SPREAD_SIZES = 12, LN_SPREAD_MAX = 15 };

/* Upper ends, each in its range. Times in us: half a millisecond to an hour. */
extern const uint64_t ln_spread_times[LN_SPREAD_TIMES];
extern const uint64_t ln_spread_sizes[LN_SPREAD_SIZES]; /* 1 to 8192 */

struct ln_spread {
    uint64_t count[LN_SPREAD_MAX + 1]; /* not cumulative; the last: above all ends */
    uint64_t sum;
};

static inline void ln_spread_add(struct ln_spread *s, const uint64_t *end, unsigned n, uint64_t v,
                                 uint64_t times)
{
    unsigned i = 0;
    while (i < n && v > end[i])
        i++;
    s->count[i] += times;
    s->sum += v * times;
}

static inline void ln_spread_time(struct ln_spread *s, int64_t us)
{
    ln_spread_add(s, ln_spread_times, LN_SPREAD_TIMES, us > 0 ? (uint64_t)us : 0, 1);
}
#endif

#endif
