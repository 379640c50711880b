/* An alert to a command: JSON on its standard input, the gist in its environment, a time limit, and
 * what it printed last when it fails. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/alert_send.h"

enum { ARGS_MAX = 64, OUTPUT_MAX = 4096 };

/* Behind fork. sock: its standard input and outputs. */
static void become(const struct ln_alert *a, char **argv, int sock)
{
    static const char *const env[] = {"id", "status", "title", "host", NULL};
    char name[64];
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    for (int fd = 0; fd <= 2; fd++)
        dup2(sock, fd);
    for (unsigned i = 0; env[i]; i++) {
        snprintf(name, sizeof name, "LUNATE_ALERT_%s", env[i]);
        for (char *p = name; *p; p++)
            *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
        if (ln_alert_get(a, env[i]))
            setenv(name, ln_alert_get(a, env[i]), 1);
    }
    const char *site = ln_alert_get(a, "site");
    if (site && chdir(site) != 0)
        _exit(126);
    execvp(argv[0], argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Writes body while reading what the command says (its end is kept), until both are done or time is
 * up; false: time is up. */
static bool converse(int fd, const char *body, int64_t until_us, char *out)
{
    size_t left = strlen(body), len = 0;
    for (;;) {
        int64_t ms = (until_us - ln_mono_us()) / 1000;
        struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (left ? POLLOUT : 0))};
        if (ms <= 0)
            return false;
        if (poll(&p, 1, (int)ms) <= 0)
            continue;
        if (left && (p.revents & POLLOUT)) {
            ssize_t n = send(fd, body, left, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0) {
                body += n;
                left -= (size_t)n;
            } else if (errno != EAGAIN) {
                left = 0;
            }
            if (!left)
                shutdown(fd, SHUT_WR);
        }
        if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        if (len > OUTPUT_MAX / 2) { /* the end of what it says is what tells */
            memmove(out, out + OUTPUT_MAX / 4, len - OUTPUT_MAX / 4);
            len -= OUTPUT_MAX / 4;
        }
        ssize_t n = recv(fd, out + len, OUTPUT_MAX - 1 - len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (n > 0)
            out[len += (size_t)n] = '\0';
    }
}

static const char *last_line(char *out)
{
    size_t len = strlen(out);
    while (len && (unsigned char)out[len - 1] <= ' ')
        out[--len] = '\0';
    char *line = strrchr(out, '\n');
    return line ? line + 1 : out;
}

/* The end of its process, or of the whole group when time is up. */
static int wait_for(pid_t pid, int64_t until_us, bool *late)
{
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (ln_mono_us() > until_us) {
            *late = true;
            kill(-pid, SIGKILL);
        }
        poll(NULL, 0, 10);
    }
    return status;
}

int ln_alert_command(const struct ln_alert *a, struct ln_err *err)
{
    char *argv[ARGS_MAX + 1] = {0}, out[OUTPUT_MAX] = "";
    const char *body = ln_alert_get(a, "body");
    int64_t until_us = ln_mono_us() + ln_alert_timeout_s(a) * 1000000;
    int pair[2];
    for (unsigned i = 0; i < ARGS_MAX; i++)
        argv[i] = (char *)(uintptr_t)ln_alert_nth(a, "arg", i);
    if (!argv[0])
        return ln_err_set(err, LN_EINVAL, "no command is given");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return ln_err_set(err, LN_EIO, "no socketpair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(a, argv, pair[1]);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return ln_err_set(err, LN_EIO, "cannot start %.200s: %s", argv[0], strerror(errno));
    }
    bool late = !converse(pair[0], body ? body : "", until_us, out);
    if (late)
        kill(-pid, SIGKILL);
    int status = wait_for(pid, until_us, &late);
    close(pair[0]);
    if (late)
        return ln_err_set(err, LN_EIO, "%.200s did not end within %ld s", argv[0],
                          ln_alert_timeout_s(a));
    if (WIFSIGNALED(status))
        return ln_err_set(err, LN_EIO, "%.200s was ended by signal %d", argv[0], WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return ln_err_set(err, LN_EIO, "%.200s ended with %d: %.300s", argv[0], WEXITSTATUS(status),
                          last_line(out));
    return LN_OK;
}
