/* A channel's numbers: what the store counts, where its cursors stand, its names. One record each,
 * written with every commit that changes it. The committer thread owns them; the loop gets copies.
 */
#ifndef LN_STORE_NUMBERS_H
#define LN_STORE_NUMBERS_H

#ifndef LN_CDEF
#include "store/record.h"
#include "store/version.h"

struct ln_numbers {
    struct ln_channel_state s; /* s.dest points to dest */
    struct ln_dest_state *dest;
    unsigned dest_cap; /* used for copies */
    uint64_t kept; /* receipts in the log */
    uint64_t last_pos; /* of the last message ever, in the log */
    struct ln_version_run run; /* the stretch of messages that one script handles, so far */

    /* Committer only, not stored. */
    uint64_t max_age_s, max_bytes; /* retention; 0 = no limit */
    bool archive; /* nothing at or behind `archived` is trimmed */
    uint64_t archived;
    uint64_t trim_from; /* trimming goes on here */
    int64_t look_at_us; /* wall time of the next look for what is too old */
    bool dirty, unpublished;
};

/* Gives the destination with this id (ids count from 1), making room; NULL when out of memory. */
struct ln_dest_state *ln_numbers_dest(struct ln_numbers *n, uint16_t id);
/* runs: the tail of the channel's map (map.h), which stands before the numbers. */
int ln_numbers_write(const struct ln_numbers *n, struct ln_span runs, struct ln_buf *out) LN_MUST;
/* Overwrites what is stored of *n and keeps the rest. */
int ln_numbers_read(struct ln_span rec, uint32_t id, struct ln_numbers *n,
                    struct ln_span *runs) LN_MUST;
/* Only the runs. */
int ln_numbers_runs(struct ln_span rec, struct ln_span *runs) LN_MUST;
void ln_numbers_fini(struct ln_numbers *n);
#endif
#endif
