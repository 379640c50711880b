#include "hub/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_MAX = LN_SPAWN_FDS, HIGH = FDS_MAX + 1, SOCKET_BYTES = 1 << 20 };

extern char **environ;

/* Copies above all that the child will have, so that none is written over before it is used. */
static int lift(const int *fd, int n, int pair, int *high)
{
    int rc = LN_OK;
    for (int i = 0; i < n; i++) {
        int from = fd[i] == LN_SPAWN_PAIR ? pair : fd[i];
        high[i] = from >= 0 ? fcntl(from, F_DUPFD_CLOEXEC, HIGH) : -1;
        if (from >= 0 && high[i] < 0)
            rc = ln_code_from_errno(errno);
    }
    return rc;
}

static int start(const char *file, const char *const argv[], const int *fd, const int *high, int n,
                 pid_t *pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, dfl;
    sigemptyset(&none);
    sigfillset(&dfl);
    posix_spawn_file_actions_init(&fa);
    for (int i = 0; i < n; i++) {
        if (high[i] >= 0)
            posix_spawn_file_actions_adddup2(&fa, high[i], i);
        else if (fd[i] == LN_SPAWN_NULL)
            posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
    }
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &dfl);
    int rc = posix_spawnp(pid, file, &fa, &attr, (char **)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return rc ? ln_code_from_errno(rc) : LN_OK;
}

int ln_spawn_pair(int pair[2])
{
    int size = SOCKET_BYTES;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return ln_code_from_errno(errno);
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    return LN_OK;
}

int ln_spawn(const char *file, const char *const argv[], const int *fd, int n, pid_t *pid,
             int *ours)
{
    int pair[2] = {-1, -1}, high[FDS_MAX] = {0};
    int rc = n > FDS_MAX ? LN_EINVAL : ours ? ln_spawn_pair(pair) : LN_OK;
    if (rc != LN_OK)
        return rc;
    rc = lift(fd, n, pair[1], high);
    if (rc == LN_OK)
        rc = start(file, argv, fd, high, n, pid);
    for (int i = 0; i < n; i++)
        if (high[i] >= 0)
            close(high[i]);
    if (!ours)
        return rc;
    close(pair[1]);
    if (rc == LN_OK)
        *ours = pair[0];
    else
        close(pair[0]);
    return rc;
}

int ln_spawn_role(const char *role, pid_t *pid, int *ours)
{
    static const int fd[] = {LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_PAIR};
    const char *argv[] = {"lunate", role, NULL};
    return ln_spawn(LN_SPAWN_SELF, argv, fd, sizeof fd / sizeof *fd, pid, ours);
}
