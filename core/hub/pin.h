/* A pin: a channel that was rolled back to a version that the store keeps. While it stands, the
 * channel is evaluated and run from those files, not from the ones on disk. Shared by the hub,
 * which lists the pins that stand, and by configurations that came of one. */
#ifndef LN_HUB_PIN_H
#define LN_HUB_PIN_H

#ifndef LN_CDEF
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "hub/content.h"
#include "ipc/wire.h"

struct ln_conf_file {
    char *path;
    struct ln_content *content;
};

struct ln_pin {
    LIST_ENTRY(ln_pin) link; /* of the hub's */
    unsigned refs;
    char channel[65];
    char version[65]; /* hex */
    uint64_t id, from; /* which version; which one ran before */
    int64_t since_us;
    char reason[300];
    char broken[300]; /* why its files cannot be had; "" = they can */
    bool left_out; /* of the load under way: there are too many others */
    bool former; /* it has its number from the former way of numbering (conf_files.c) */
    unsigned nfile;
    struct ln_conf_file *file;
};

LIST_HEAD(ln_pins, ln_pin);

struct ln_pin *ln_pin_new(const char *channel);
struct ln_pin *ln_pin_ref(struct ln_pin *p);
void ln_pin_unref(struct ln_pin *p); /* p may be NULL */
/* Takes over content, in any case. */
int ln_pin_add(struct ln_pin *p, struct ln_span path, struct ln_content *content) LN_MUST;
struct ln_pin *ln_pin_find(const struct ln_pins *list, const char *channel);
void ln_conf_files_free(struct ln_conf_file *f, unsigned n);
/* Appends a file; takes over content, in any case. */
int ln_conf_file_add(struct ln_conf_file **list, unsigned *n, struct ln_span path,
                     struct ln_content *content) LN_MUST;
/* Sets left_out of those whose files a load has no room for, beside the others'. Which ones are
 * looked at is as below. */
void ln_pin_fit(const struct ln_pins *list, const char *except, struct ln_pin *instead);
/* For the loader: u32 n, n x bytes content, u32 n, n x (bytes channel, u32 files, files x (bytes
 * path, u32 which content)). All of the list, but of `except` only `instead` (which may be NULL).
 * Broken ones are left out, and those that do not fit. */
void ln_pin_write(const struct ln_pins *list, const char *except, const struct ln_pin *instead,
                  struct ln_buf *out);
#endif
#endif
