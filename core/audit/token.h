/* Tokens: for scripts and for the admin address. What is kept of one is its scrypt hash; the text
 * is shown once. They live in DATA/tokens (0600), a line each, and end on a day. */
#ifndef LN_AUDIT_TOKEN_H
#define LN_AUDIT_TOKEN_H

#include "audit/access.h"

enum { LN_TOKEN_TEXT = 96, LN_TOKEN_ID = 17 };

struct ln_token {
    char id[LN_TOKEN_ID];
    enum ln_role role;
    char channels[512], name[65];
    int64_t made_us, ends_us;
};

/* Makes one; text becomes "lnt_ID_SECRET". name: what it is for, one word. LN_EINVAL, LN_EIO. */
int ln_token_new(const char *data, const struct ln_token *want, struct ln_token *made,
                 char text[LN_TOKEN_TEXT], struct ln_err *err) LN_MUST;
/* Calls take for each, in order of making. LN_OK also when there is none. */
int ln_token_each(const char *data, void (*take)(void *arg, const struct ln_token *t), void *arg,
                  struct ln_err *err) LN_MUST;
/* LN_ENOTFOUND: there is none of that id. */
int ln_token_revoke(const char *data, const char *id, struct ln_err *err) LN_MUST;
/* Which one text is: LN_OK and *out; LN_ENOTFOUND: none (any more); LN_ETIMEOUT: it has ended.
 * Takes some 50 ms of one core, by design. */
int ln_token_check(const char *data, const char *text, int64_t now_us, struct ln_token *out,
                   struct ln_err *err) LN_MUST;
/* Changes whenever the file does. */
uint64_t ln_token_stamp(const char *data);

#endif
