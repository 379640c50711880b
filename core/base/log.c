#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static enum ln_level threshold = LN_INFO;

void ln_log_set_level(enum ln_level level)
{
    threshold = level;
}

void ln_log(enum ln_level level, const char *area, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char line[2048], when[40];
    if (level < threshold)
        return;
    int saved = errno;
    ln_iso_time(ln_now_us(), when, sizeof when);
    int n = snprintf(line, sizeof line, "%s %s %s %s", when, names[level], area, event);
    if (fmt && *fmt && n > 0 && (size_t)n < sizeof line - 2) {
        line[n++] = ' ';
        va_list ap;
        va_start(ap, fmt);
        int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
        va_end(ap);
        n += m < 0 ? 0 : m;
    }
    if ((size_t)n > sizeof line - 1)
        n = (int)sizeof line - 1;
    for (int i = 0; i < n; i++) /* one event stays one line, whatever a peer or a script sent */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0) { /* nobody left to tell */
    }
    errno = saved;
}
