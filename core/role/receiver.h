/* The MLLP receiver behind `listen`: many connections on one epoll loop, every message answered. It
 * stores nothing of its own and promises nothing: it is for tests and measurements. */
#ifndef LN_ROLE_RECEIVER_H
#define LN_ROLE_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hl7/ack.h"
#include "hl7/header.h"
#include "hl7/mllp.h"
#include "net/tls.h"

struct ln_received {
    int64_t time_us;
    const char *peer;
    const struct ln_header *header; /* kind LN_HEADER_NONE when it is not HL7 */
    struct ln_span frame;
    uint64_t number; /* counts messages from 1 */
};

struct ln_receiver_totals {
    uint64_t messages, unreadable, bytes, connections, open;
    int64_t first_us, last_us; /* wall time of the first and last message */
    uint64_t deviations[LN_MLLP_DEVIATIONS];
};

struct ln_receiver_options {
    const char *host;
    unsigned port; /* 0 = any free one */
    bool answer; /* false: silence */
    enum ln_ack_code code;
    int64_t delay_us; /* before each answer */
    uint64_t count; /* stop after that many messages; 0 = never */
    /* Listening on that port: told once. */
    void (*on_ready)(void *arg, const char *host, unsigned port);
    /* A message; false: it could not be kept, and is answered AE whatever `code` says. */
    bool (*on_message)(void *arg, const struct ln_received *r);
    void (*on_idle)(void *arg); /* after each round of events */
    void (*on_refused)(void *arg, const char *peer, const char *why); /* no TLS with it */
    struct ln_tls *tls; /* NULL: in clear */
    void *arg;
    const volatile int *stop; /* set by a handler of SIGINT or SIGTERM, which wake the loop */
};

/* Runs until stopped or `count` messages are answered. LN_EBUSY (port in use), LN_ENOTFOUND (host),
 * LN_EIO, LN_ENOMEM. */
int ln_receiver_run(const struct ln_receiver_options *opt, struct ln_receiver_totals *totals,
                    struct ln_err *err) LN_MUST;

#endif
