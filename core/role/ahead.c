/* Processes are started by fork and exec (base/proc.c), so that nothing of the parent is in them.
 * Here is the one exception, for a person who waits for a prompt: at the very beginning of main
 * there is nothing of the parent yet but the libraries, loaded and relocated. Doing that again
 * takes as long as all else that the REPL does at its start (docs/performance.md). What is given
 * up: these children have the address layout of the process at the terminal. Both are the same
 * person's; the engine's workers have layouts of their own. */
#include "role/ahead.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/proc.h"

#define MOST 3

static struct {
    const char *role;
    int fd, pid;
} ahead[MOST];
static unsigned count;

static void keep(const char *role, int fd, int pid)
{
    ahead[count].role = role;
    ahead[count].fd = fd;
    ahead[count++].pid = pid;
}

void ln_ahead_exec(const char *role, const char *exe)
{
    const char *argv[] = {"lunate", role, NULL};
    struct ln_err err;
    int fd, pid;
    if (count < MOST && ln_proc_spawn(exe, argv, &fd, &pid, &err) == LN_OK)
        keep(role, fd, pid);
}

void ln_ahead_start(const char *role, ln_role_fn *main, int argc, char **argv)
{
    int fd, pid;
    if (count == MOST || !ln_proc_fork(&fd, &pid))
        return;
    if (pid == 0)
        exit(main(argc, argv));
    keep(role, fd, pid);
}

bool ln_ahead_take(const char *role, int *fd, int *pid)
{
    for (unsigned i = 0; i < count; i++) {
        if (!ahead[i].role || strcmp(ahead[i].role, role) != 0)
            continue;
        ahead[i].role = NULL;
        *fd = ahead[i].fd;
        *pid = ahead[i].pid;
        return true;
    }
    return false;
}
