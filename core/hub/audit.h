/* The hub's way into the audit log: a thread writes, the loop goes on. */
#ifndef LN_HUB_AUDIT_H
#define LN_HUB_AUDIT_H

#ifndef LN_CDEF
#include "audit/audit.h"
#include "hub/hub.h"

/* LN_OK: the entry is on disk. Otherwise it is not, and why says why. */
typedef void ln_hub_audited(void *arg, int code, const char *why);

/* Starts the thread; the log itself is opened by it, and again and again when that fails: nothing
 * of the engine waits for it. */
int ln_hub_audit_start(struct ln_hub *h) LN_MUST;
/* Writes what is left, says the last head to syslog, ends the thread. */
void ln_hub_audit_stop(struct ln_hub *h);

/* Appends a copy of e; done (may be NULL) is called from the loop. keep: what cannot be written is
 * held in memory and tried again, so that the deed itself need not wait for the disk (done still
 * tells of the failure). */
void ln_hub_audit_put(struct ln_hub *h, const struct ln_audit_entry *e, bool keep,
                      ln_hub_audited *done, void *arg);
/* Something the engine did by itself: kept. */
void ln_hub_audit_event(struct ln_hub *h, const char *action, const char *object, const char *text);
/* What runs now: each channel with its script's version. */
void ln_hub_audit_config(struct ln_hub *h, const char *why);
/* Work for the same thread that may take its time (hashing a password): run is called there, then
 * done in the loop. LN_EAGAIN: too much of it waits. */
int ln_hub_audit_run(struct ln_hub *h, void (*run)(void *arg), ln_hub_audited *done,
                     void *arg) LN_MUST;
/* Why entries cannot be written; "" when they can. */
const char *ln_hub_audit_failing(const struct ln_hub *h);
#endif

#endif
