/* Reading along: the log's entries in order, for whoever carries them elsewhere, with a mark that
 * survives a crash.
 *
 * Nothing is given that the signed head does not cover: what is being written, or was never signed,
 * waits for the next signature. The mark (number and hash of the last entry that arrived elsewhere)
 * stands twice in DATA/audit/sent, written in turn: half a write spoils one of the two. */
#ifndef LN_AUDIT_FOLLOW_H
#define LN_AUDIT_FOLLOW_H

#include "audit/audit.h"

struct ln_audit_follow;

struct ln_audit_followed {
    struct ln_span line; /* the entry, without LF; valid until the next call */
    uint64_t seq;
    const char *file; /* where it stands */
    /* What is wrong with it or right before it; "" when nothing is. It is given all the same. */
    char note[160];
};

/* Goes on behind the mark. When the log does not have the entry of the mark as it was (it was put
 * back, or rewritten), everything is given again, and the first entry says so. LN_ENOTFOUND: there
 * is no log yet. */
int ln_audit_follow_open(const char *data, struct ln_audit_follow **out,
                         struct ln_err *err) LN_MUST;
/* The next entry. LN_EAGAIN: no more for now. LN_EIO, LN_EPARSE (there is no valid head). */
int ln_audit_follow_next(struct ln_audit_follow *f, struct ln_audit_followed *out,
                         struct ln_err *err) LN_MUST;
/* Back to behind the mark. */
void ln_audit_follow_rewind(struct ln_audit_follow *f);
/* What was given so far has arrived: the mark is on disk when it returns. */
int ln_audit_follow_mark(struct ln_audit_follow *f, struct ln_err *err) LN_MUST;
/* The number of the mark, and that of the signed head as it is now; 0: none. */
uint64_t ln_audit_follow_marked(const struct ln_audit_follow *f);
uint64_t ln_audit_follow_head(struct ln_audit_follow *f);
/* The signed head as ln_audit_head_text says it, when it is the last entry that was given; "" */
const char *ln_audit_follow_head_text(const struct ln_audit_follow *f, char *out, size_t cap);
void ln_audit_follow_close(struct ln_audit_follow *f); /* f may be NULL */

#endif
