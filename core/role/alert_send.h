/* Shared by alert_send.c and alert_command.c: one alert to be sent, as pairs of name and value. */
#ifndef LN_ROLE_ALERT_SEND_H
#define LN_ROLE_ALERT_SEND_H

#ifndef LN_CDEF
#include "base/buf.h"
#include "base/err.h"

enum { LN_ALERT_PAIRS = 256 };

struct ln_alert {
    unsigned n;
    char *name[LN_ALERT_PAIRS], *value[LN_ALERT_PAIRS];
    struct ln_buf password, ca; /* of files, read before this process is confined */
};

/* The value of a name, NULL when there is none; with several, the nth (from 0). */
const char *ln_alert_get(const struct ln_alert *a, const char *name);
const char *ln_alert_nth(const struct ln_alert *a, const char *name, unsigned nth);
/* Whole seconds, from "timeout". */
long ln_alert_timeout_s(const struct ln_alert *a);
/* Runs the command "arg" "arg" ... with "body" on its standard input. *err says what went wrong:
 * its exit status and the last line it wrote. */
int ln_alert_command(const struct ln_alert *a, struct ln_err *err) LN_MUST;
#endif

#endif
