/* Who may do what: the one place that decides it, for the control socket, for verbs that the engine
 * runs for somebody, and for the console to come.
 *
 * A right is a role, per channel. Each role may do what the ones before it may. Nobody has a role
 * but the engine's own account and root (admin over everything), whoever lunate.lua's `access`
 * names, and holders of tokens. */
#ifndef LN_AUDIT_ACCESS_H
#define LN_AUDIT_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum ln_role {
    LN_ROLE_NONE,
    LN_ROLE_OBSERVER, /* states, counters, numbers of messages; never content */
    LN_ROLE_VIEWER, /* and what stands in messages */
    LN_ROLE_OPERATOR, /* and queues, resends, starts and stops */
    LN_ROLE_DEVELOPER, /* and scripts */
    LN_ROLE_ADMIN, /* and tokens, the audit log, copies of the store */
};
const char *ln_role_name(enum ln_role role);
/* LN_ROLE_NONE when it is no role's name. */
enum ln_role ln_role_of(struct ln_span name);

enum {
    LN_RIGHT_RECORDED = 1, /* has an entry in the audit log */
    LN_RIGHT_STRICT = 2, /* is refused when that cannot be written: it shows or sends content */
    LN_RIGHT_SITE = 4, /* concerns all channels: the role is needed over all of them */
    LN_RIGHT_LOCAL = 8, /* works on files of the user's own: needs no right of the engine's */
    LN_RIGHT_VIEW = 16, /* reads the store; the engine runs it for who cannot */
    LN_RIGHT_OWNER = 32, /* works on the site's files itself: only for who owns them */
};
struct ln_right {
    const char *verb;
    uint8_t role; /* enum ln_role: the least that is needed */
    uint8_t flags;
};
/* Of a verb of the command line or of the control socket; NULL: there is none of that name. */
const struct ln_right *ln_right_of(const char *verb);
/* All of them: the i-th, NULL behind the last. */
const struct ln_right *ln_right_at(size_t i);

/* ---- grants ---- */

enum ln_grant_kind { LN_GRANT_USER = 1, LN_GRANT_GROUP, LN_GRANT_GLASS_USER, LN_GRANT_GLASS_GROUP };
struct ln_grant {
    enum ln_grant_kind kind;
    int64_t id; /* uid or gid */
    enum ln_role role;
    char *name, *channels; /* channels: names and patterns with *, commas between */
};
struct ln_access {
    struct ln_grant *grant;
    unsigned ngrant;
    enum ln_role glass_role; /* what breaking the glass gives */
    unsigned glass_minutes;
    bool http_token; /* the admin address asks for a token */
    char *socket; /* folder of the socket for others than the owner; NULL: none */
};
struct ln_caller {
    int64_t uid; /* -1: not by an account (a token over HTTP) */
    int pid;
    const uint32_t *gid;
    unsigned ngid;
    bool owner; /* the engine's own account, or root */
    enum ln_role glass; /* what an open glass gives over all channels */
    const struct ln_grant *token; /* instead of what the account may; NULL: none */
};

/* Adds a line "user|group|glass-user|glass-group ID NAME ROLE CHANNELS" of the loader. */
int ln_access_add(struct ln_access *a, struct ln_span line) LN_MUST;
void ln_access_fini(struct ln_access *a);
/* True when `channels` has a name or pattern that is channel's. */
bool ln_access_names(const char *channels, const char *channel);
/* The role over a channel; channel NULL: over any, whichever gives most; "*": over all of them. */
enum ln_role ln_access_role(const struct ln_access *a, const struct ln_caller *p,
                            const char *channel);
/* True when p may break the glass. */
bool ln_access_glass(const struct ln_access *a, const struct ln_caller *p);

#endif
