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
#endif

#endif
