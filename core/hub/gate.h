/* The gate: who asks over the control socket, whether they may, and that it is recorded, before the
 * hub does anything of it. The decision itself is audit/access.h's. */
#ifndef LN_HUB_GATE_H
#define LN_HUB_GATE_H

#ifndef LN_CDEF
#include "audit/access.h"
#include "audit/audit.h"
#include "ipc/wire.h"

struct ln_asker;
struct ln_hub;

enum { LN_GATE_GROUPS = 256 };

struct ln_gate {
    struct ln_caller peer;
    uint32_t gid[LN_GATE_GROUPS];
    struct ln_audit_who who;
    /* what the client said before its request (LN_P_CONTEXT) */
    char reason[512], token[128];
    bool glass;
    struct ln_grant grant; /* of a token that was checked */
    char channels[512]; /* grant's */
    int64_t token_ends_us;
    /* the request under way */
    const struct ln_right *right;
    struct ln_right own; /* `right` may be this one */
    char action[40], object[200], text[400], channel[80];
    void (*go)(struct ln_asker *k);
    bool recorded;
};

/* A glass that is open: uid has the role until then. */
struct ln_glass {
    struct ln_glass *next;
    int64_t uid, until_us; /* monotonic */
};

/* Asks the kernel who is at the other end. */
void ln_gate_open(struct ln_asker *k);
/* Takes an LN_P_CONTEXT record; false: it is none. */
bool ln_gate_context(struct ln_asker *k, struct ln_wire_in *in);
/* Calls go(k) when k may use that right over channel (NULL: any; "*": all) and that is recorded
 * with object and text; else answers. k must be held. The reason is that of the context, or
 * `reason` when there is none. */
void ln_gate_pass(struct ln_asker *k, const struct ln_right *right, const char *channel,
                  const char *object, const char *text, const char *reason,
                  void (*go)(struct ln_asker *k));
/* What was let in has failed: recorded, too. */
void ln_gate_failed(struct ln_asker *k, struct ln_span why);
void ln_gate_fini(struct ln_hub *h);

/* A token that came another way (HTTP): done is called with LN_OK and its role over all channels
 * (or any, when `any`), or why not. Failures are recorded. */
typedef void ln_gate_token_fn(void *arg, enum ln_role role, const char *why);
void ln_gate_token(struct ln_hub *h, const char *text, const char *from, ln_gate_token_fn *done,
                   void *arg);
#endif

#endif
