/* The content of a file of the site, shared by all that have it: channels, the versions before
 * them, pins. Hashed and compressed once, however many channels use it.
 *
 * A large one is kept in memory that workers map instead of getting a copy each: sealed, nobody can
 * write to it.
 *
 * Counting and listing are the loop's; a thread may hash and pack what nobody else has yet. */
#ifndef LN_HUB_CONTENT_H
#define LN_HUB_CONTENT_H

#ifndef LN_CDEF
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LN_CONTENT_HASH 32u

struct ln_content {
    struct ln_content *next; /* in the list of those that are known by their hash */
    unsigned refs;
    bool hashed, listed;
    bool wanted; /* the store does not have it: it is to be compressed */
    bool given; /* the store was given it: it has it, unless that failed */
    uint32_t mark; /* scratch of whoever goes through a list */
    uint8_t hash[LN_CONTENT_HASH]; /* SHA-256 */
    struct ln_buf packed; /* as the store keeps it; empty: not (or no longer) */
    struct ln_buf owned; /* data is in there, in what fd maps, or behind this struct */
    int fd; /* -1: not a large one */
    size_t len;
    char *data;
};

struct ln_content *ln_content_new(struct ln_span s);
/* The same without a copy: s is in b, which is taken. */
struct ln_content *ln_content_adopt(struct ln_buf *b, struct ln_span s);
struct ln_content *ln_content_ref(struct ln_content *c);
void ln_content_unref(struct ln_content *c); /* c may be NULL */
/* Also moves it to where workers can map it, when it is large. */
int ln_content_hash(struct ln_content *c) LN_MUST;
int ln_content_pack(struct ln_content *c) LN_MUST;
/* The one with this hash (borrowed), or NULL. */
struct ln_content *ln_content_find(const uint8_t *hash);
/* c, which is hashed, or the one that was listed with the same hash in its place; takes c. */
struct ln_content *ln_content_share(struct ln_content *c);

static inline struct ln_span ln_content_span(const struct ln_content *c)
{
    return ln_span(c->data, c->len);
}
#endif

#endif
