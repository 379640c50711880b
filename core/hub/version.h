/* Script versions that the store keeps, pins, and the commit of the site's checkout. */
#ifndef LN_HUB_VERSION_H
#define LN_HUB_VERSION_H

#ifndef LN_CDEF
#include "hub/hub.h"
#include "store/version.h"

/* c->conf runs (its worker is ready), or is to when the channel is started: it is kept, and what it
 * was rolled back to, or no longer is, is noted. */
void ln_version_runs(struct ln_channel *c);
/* Before conf is applied (to `only`, or as a whole): what the store is to get with its versions is
 * compressed, in a thread; then, or at once when there is nothing, calls done. */
void ln_version_make_ready(struct ln_hub *h, const struct ln_conf *conf, const char *only,
                           void (*done)(void *), void *arg);
/* Puts again what the store had no room for. */
void ln_version_tick(struct ln_hub *h, int64_t mono_us);
/* Reads the pins that the store has into h->pins; how many there are. */
int ln_version_pins_read(struct ln_hub *h);
/* ---- rollback.c */
typedef void ln_version_pin_fn(void *arg, struct ln_pin *p, const char *error); /* p is borrowed */
/* A pin of c to the kept version that `version` (hex) begins, "" for the one that ran before: done
 * gets it, or NULL and why not, once its files are read. Otherwise err says why not. */
int ln_version_pin_of(struct ln_channel *c, const char *version, const char *reason,
                      ln_version_pin_fn *done, void *arg, struct ln_err *err) LN_MUST;
/* True when ch, read from disk, is what its channel was rolled back from: then text says so. */
bool ln_version_refused(const struct ln_hub *h, const struct ln_conf_channel *ch, char *text,
                        size_t cap);
#endif
#endif
