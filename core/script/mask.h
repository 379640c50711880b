/* Secrets that were handed to a script (files "secrets/NAME") must not stand in what it says of
 * itself: reasons, tracebacks and log lines are kept with the message and shown. */
#ifndef LN_SCRIPT_MASK_H
#define LN_SCRIPT_MASK_H

#include "base/buf.h"
#include "script/files.h"

/* Secrets shorter than this would be found in anything: they are not looked for. Bytes. */
#define LN_SECRET_MIN 4

/* The text with "(secret NAME)" in place of every secret's value: the very span when there is none,
 * else one in tmp, which is overwritten. When memory runs out: an empty span. */
struct ln_span ln_mask(const struct ln_files *f, struct ln_span text, struct ln_buf *tmp);

#endif
