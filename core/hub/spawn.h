/* Starting programs from the loop: nothing of ours but what is given, default signals. */
#ifndef LN_HUB_SPAWN_H
#define LN_HUB_SPAWN_H
#ifndef LN_CDEF

#include <sys/types.h>

#include "base/err.h"

#define LN_SPAWN_SELF "/proc/self/exe" /* this binary, also when the file was replaced */

enum {
    LN_SPAWN_KEEP = -1, /* as we have it */
    LN_SPAWN_NULL = -2, /* /dev/null */
    LN_SPAWN_PAIR = -3, /* one end of a new stream socketpair */
    LN_SPAWN_FDS = 24, /* the most that a child gets */
};

/* Starts `file` (looked for in PATH when it has no slash) with argv, NULL at its end. fd[i] says
 * what the child's descriptor i is: one of ours, or one of the above; all others are close-on-exec.
 * *ours: the other end of the pair, non-blocking and close-on-exec; NULL when there is none. */
int ln_spawn(const char *file, const char *const argv[], const int *fd, int n, pid_t *pid,
             int *ours) LN_MUST;

/* This binary in a role, with one end of a pair as its descriptor 3. */
int ln_spawn_role(const char *role, pid_t *pid, int *ours) LN_MUST;
/* A stream socketpair for a child: [0] is ours, non-blocking; both are close-on-exec. */
int ln_spawn_pair(int pair[2]) LN_MUST;

#endif
#endif
