/* Children that a verb is certain to want, started before it has begun (ahead.c). */
#ifndef LN_ROLE_AHEAD_H
#define LN_ROLE_AHEAD_H

#include <stdbool.h>

typedef int ln_role_fn(int argc, char **argv);

/* Forks this process, which must be as good as new (no thread, no Lua, nothing open, nothing
 * written), into a child in that role with its socket on descriptor 3. Where that fails, nothing
 * was done: the verb starts the child itself. */
void ln_ahead_start(const char *role, ln_role_fn *main, int argc, char **argv);
/* Starts another program, as base/proc.h does. */
void ln_ahead_exec(const char *role, const char *exe);
/* Hands out the child that was started in that role, once: its socket (close-on-exec) and its
 * process. False when there is none. */
bool ln_ahead_take(const char *role, int *fd, int *pid);

#endif
