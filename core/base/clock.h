/* Time. Wall time is microseconds since 1970 (UTC); monotonic time is for intervals only. */
#ifndef LN_BASE_CLOCK_H
#define LN_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t ln_now_us(void);
int64_t ln_mono_us(void);
/* From now on ln_now_us gives this, until it is set again; 0 = the real clock. For scripts that are
 * tried out (tests, replay), in a process of their own. */
void ln_now_fix(int64_t wall_us);

/* HL7 DTM with seconds and offset, as in MSH-7: 20261123231922+0000. Returns its length. */
size_t ln_hl7_time(int64_t wall_us, char *out, size_t cap);
/* ISO 8601 in UTC with milliseconds: 2026-11-23T23:19:22.123Z. Returns its length. */
size_t ln_iso_time(int64_t wall_us, char *out, size_t cap);

#endif
