/* The difference of an output from its input: runs of new bytes and copies from the input.
 *
 * Made for HL7: what both have in common at the front and at the end, and between these, segment by
 * segment (a segment ends with CR), what an output segment shares with the next input segment that
 * begins alike. Linear in time, no tables. Wire: {num literal length, literal bytes, num copy
 * length, num copy offset} until the output is complete. */
#ifndef LN_STORE_DELTA_H
#define LN_STORE_DELTA_H

#include "base/span.h"

#ifndef LN_CDEF
/* Writes the difference of `out` from `in`; 0 when it does not fit in cap (then keep `out`). */
size_t ln_delta_write(struct ln_span in, struct ln_span out, char *to, size_t cap);
/* Rebuilds exactly `len` bytes; LN_EPARSE when delta does not give them. */
int ln_delta_read(struct ln_span in, struct ln_span delta, char *to, size_t len);
#endif
#endif
