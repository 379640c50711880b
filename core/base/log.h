/* Log lines: one event a line. Never message content: control ids, numbers, types, paths and
 * lengths only. Only the hub writes the log; workers send it records. */
#ifndef LN_BASE_LOG_H
#define LN_BASE_LOG_H

#include "base/err.h"

enum ln_level { LN_DEBUG, LN_INFO, LN_WARN, LN_ERROR };

enum ln_log_form {
    LN_LOG_TEXT, /* 2026-11-25T22:44:01.637Z info hub started version=0.1.0 pid=23488 */
    LN_LOG_JSON, /* {"time":"...","level":"info","area":"hub","event":"started","version":"0.1.0",...}
                  */
    LN_LOG_JOURNAL, /* <6>hub started version=0.1.0: level as a prefix, the journal has the time */
};

/* Lines below this level are dropped. Default LN_INFO. */
void ln_log_set_level(enum ln_level level);
/* Default: LN_LOG_JOURNAL when stderr is the systemd journal (JOURNAL_STREAM), else LN_LOG_TEXT. */
void ln_log_set_form(enum ln_log_form form);
/* Appends to this file instead of stderr. LN_EIO and errno when it cannot be opened; the log then
 * stays where it was. */
int ln_log_open(const char *path) LN_MUST;
/* Opens the file again, which was moved away (logrotate); nothing without a file. */
void ln_log_reopen(void);

/* area: the file's name; event: one word. fmt gives `key=value` pairs, values with blanks quoted by
 * the caller, e.g. ln_log(LN_WARN, "dest", "retry", "channel=%s dest=%s in_s=%.1f", ...). */
void ln_log(enum ln_level level, const char *area, const char *event, const char *fmt, ...)
    LN_PRINTF(4, 5);

#endif
