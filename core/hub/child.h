/* A process of its own beside the hub (alerter, archiver, audit-send): it is started, says HELLO,
 * is told the site and its settings, and is started again with back-off when it ends, is silent, or
 * says what it should not. No message waits for it. What it says is read as hostile. */
#ifndef LN_HUB_CHILD_H
#define LN_HUB_CHILD_H

#ifndef LN_CDEF
#include "hub/hub.h"

struct ln_child_ops {
    const char *role; /* of the binary, and its name in the log */
    int64_t silent_us; /* ended when nothing was heard of it for so long; 0: it may be silent */
    /* A record; anything but LN_OK ends it. */
    int (*record)(void *owner, uint8_t type, struct ln_wire_in *in);
    /* It is gone (or could not be started), and will be started again. */
    void (*lost)(void *owner, const char *why);
    /* Every few seconds while it runs. May be NULL. */
    void (*tick)(void *owner);
};

struct ln_child {
    struct ln_hub *hub;
    const struct ln_child_ops *ops;
    struct ln_blob *settings; /* a SITE record's payload */
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer; /* while it runs: looks after it; otherwise: starts it again */
    pid_t pid; /* 0: not running */
    bool hello;
    int64_t heard_us, spawned_us;
    double backoff_s;
    uint64_t restarts;
};

/* The pairs of lunate.lua's settings whose keys begin so; NULL: none. */
struct ln_blob *ln_child_settings(const struct ln_blob *site, const char *prefix);
/* A LOG record: a line of the log under the role's name. */
int ln_child_log(const struct ln_child *c, struct ln_wire_in *in);
/* A copy without control characters, at most so long; NULL: out of memory. */
char *ln_child_text(struct ln_span s, size_t most);
/* What the hub keeps of such a process, whose first member is its struct ln_child: `owner`, told of
 * settings when they differ; when that is NULL a new one of `size` bytes, whose process is started
 * (that never fails: it is tried again). Takes over settings. NULL: out of memory. */
void *ln_child_apply(void *owner, size_t size, struct ln_hub *h, const struct ln_child_ops *ops,
                     struct ln_blob *settings) LN_MUST;
/* Ends it and frees what c holds; lost is not called. */
void ln_child_stop(struct ln_child *c);
/* It runs and has said HELLO: records may be added to c->stream.out. */
bool ln_child_answers(const struct ln_child *c);

/* ---- alerter.c ------------------------------------------------------------------------------- */

struct ln_alerter_numbers {
    bool configured, up;
    unsigned firing; /* neither silenced nor acknowledged */
    uint64_t sent, failed, restarts;
};

/* Starts, changes or ends the alerter as the site's settings want it. */
void ln_alerter_apply(struct ln_hub *h);
void ln_alerter_stop(struct ln_hub *h);
/* A JSON object, or null when the site has no alerts. */
void ln_alerter_status(const struct ln_hub *h, struct ln_buf *json);
void ln_alerter_numbers(const struct ln_hub *h, struct ln_alerter_numbers *out);

/* ---- archiver.c ------------------------------------------------------------------------------ */

/* Starts, changes or ends the archiver as the channels want it. */
void ln_archiver_apply(struct ln_hub *h);
void ln_archiver_stop(struct ln_hub *h);
/* A JSON object, or null when no channel is archived. */
void ln_archiver_status(const struct ln_hub *h, struct ln_buf *json);

/* ---- audit_send.c ---------------------------------------------------------------------------- */

struct ln_audit_send_numbers {
    bool configured, failing;
    uint64_t sent, behind; /* entries */
    double behind_s; /* age of the oldest that is not there yet */
};

/* Starts, changes or ends what carries the audit log elsewhere, as the site's settings want it. */
void ln_audit_send_apply(struct ln_hub *h);
void ln_audit_send_stop(struct ln_hub *h);
/* A JSON object, or null when the log goes nowhere. */
void ln_audit_send_status(const struct ln_hub *h, struct ln_buf *json);
void ln_audit_send_numbers(const struct ln_hub *h, struct ln_audit_send_numbers *out);
#endif

#endif
