/* Log lines on stderr: one event a line, key=value. Never message content: control ids, numbers,
 * types, paths and lengths only. Only the hub writes the log; workers send it records. */
#ifndef LN_BASE_LOG_H
#define LN_BASE_LOG_H

#include "base/err.h"

enum ln_level { LN_DEBUG, LN_INFO, LN_WARN, LN_ERROR };

/* Lines below this level are dropped. Default LN_INFO. */
void ln_log_set_level(enum ln_level level);

/* area: the file's name; event: one word. fmt gives `key=value` pairs, values with blanks quoted by
 * the caller, e.g. ln_log(LN_WARN, "dest", "retry", "channel=%s dest=%s in_s=%.1f", ...). */
void ln_log(enum ln_level level, const char *area, const char *event, const char *fmt, ...)
    LN_PRINTF(4, 5);

#endif
