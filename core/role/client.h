/* The MLLP load generator behind `send`: many connections, each stop-and-wait, on one epoll loop.
 * It shares its machine with what it measures, so a message costs one write, one read and no
 * allocation. */
#ifndef LN_ROLE_CLIENT_H
#define LN_ROLE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hl7/ack.h"
#include "net/tls.h"
#include "role/histogram.h"
#include "role/payload.h"

/* How a message ended. */
enum ln_client_end {
    LN_CLIENT_REPLY, /* the reply says how */
    LN_CLIENT_UNREADABLE, /* a reply without a readable MSA */
    LN_CLIENT_TIMEOUT,
    LN_CLIENT_CLOSED, /* the connection ended first */
    LN_CLIENT_UNASKED, /* written, and no answer came: it wants none */
};

struct ln_client_result {
    uint64_t n; /* which message, from 0 */
    enum ln_client_end end;
    bool accepted; /* AA, CA or LN_CLIENT_UNASKED */
    const struct ln_payload_message *message;
    const char *control_id; /* as sent, of control_id_len bytes; borrowed */
    size_t control_id_len;
    struct ln_reply reply; /* with LN_CLIENT_REPLY; borrowed */
    struct ln_span frame; /* the reply as received; empty without one; borrowed */
    int64_t latency_us;
};

struct ln_client_totals {
    uint64_t sent, accepted, aa, ae, ar, other; /* other: CA, CE, CR */
    uint64_t unreadable, timeouts, closed, unasked;
    uint64_t mismatched; /* replies to something else: ignored, the right one was waited for */
    uint64_t reconnects, bytes;
    int64_t elapsed_us;
    bool interrupted;
    struct ln_histogram latency; /* of messages that got a reply */
};

struct ln_client_target {
    const char *host, *port;
};

struct ln_client_options {
    const struct ln_payload *payload;
    const struct ln_client_target *targets; /* connections go to them in turn */
    unsigned ntargets;
    uint64_t count; /* messages in all, round robin over the payload */
    unsigned connections;
    double rate; /* messages a second over all connections; 0 = as fast as it goes. Latency
                    then counts from when a message was due, so that a stalled receiver
                    can't hide what it did to those that had to wait */
    int64_t timeout_us; /* for a reply, and for connecting */
    bool unique_ids; /* append "-N" to MSH-10 */
    void (*on_result)(void *arg, const struct ln_client_result *r); /* may be NULL */
    void (*on_tick)(void *arg, const struct ln_client_totals *t); /* about 10 times a second */
    void *arg;
    const volatile int *stop; /* becomes non-zero: end now */
    struct ln_tls *tls; /* NULL: in clear */
};

/* Connects, sends, waits for all replies. LN_ENOTFOUND (host), LN_ECLOSED (cannot connect, or not
 * again after a loss), LN_EINVAL, LN_ENOMEM; totals tell what was done until then. */
int ln_client_run(const struct ln_client_options *opt, struct ln_client_totals *totals,
                  struct ln_err *err) LN_MUST;

#endif
