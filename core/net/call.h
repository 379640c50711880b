/* One HTTP/1.1 request over a connection that somebody else has made, for a process that may wait:
 * every step has the same deadline. No redirect is followed, nothing is kept for a next request. */
#ifndef LN_NET_CALL_H
#define LN_NET_CALL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/tls.h"

struct ln_call {
    int fd; /* connected, non-blocking; stays the caller's */
    struct ln_tls *tls; /* NULL: in clear */
    const char *host; /* whose certificate it must be */
    const char *method;
    struct ln_span request; /* all of it */
    int64_t until_us; /* ln_mono_us */
    size_t max_body; /* bytes of the answer's */
};

struct ln_called {
    unsigned status;
    struct ln_buf headers, body; /* headers: "name\0value\0" each, names in lower case */
};

/* err says what failed, without anything that was sent or received. LN_ETIMEOUT, LN_ETLS,
 * LN_ECLOSED, LN_EPARSE, LN_ETOOBIG, LN_ENOMEM. */
int ln_call(const struct ln_call *c, struct ln_called *out, struct ln_err *err) LN_MUST;

#endif
