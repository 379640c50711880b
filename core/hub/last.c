/* The end of the engine has a bound, whatever hangs: a disk that takes nothing any longer holds the
 * committer and the audit log in a sync, and no thread can be called back from there. What was
 * answered is on disk; what is cut off was not, and is done again after the next start, as after
 * kill -9.
 *
 * A signal and not an event: the loop has ended by then, or hangs itself. */
#include "hub/hub.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static char said[700], control[4096];
static size_t said_len;

/* Async-signal-safe. A stderr that nobody reads must not hold up the end either. */
static void on_alarm(int signal)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    (void)signal;
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
        (void)!write(STDERR_FILENO, said, said_len);
    if (control[0])
        unlink(control);
    _exit(1);
}

void ln_last_resort(const struct ln_hub *h, unsigned seconds)
{
    struct sigaction act = {.sa_handler = on_alarm};
    int n = snprintf(said, sizeof said,
                     "lunate: the disk of %.500s has not taken all within %u s: cut off, as by "
                     "kill -9; what was answered is kept\n",
                     h->data ? h->data : h->site, seconds);
    said_len = n > 0 ? (size_t)n < sizeof said ? (size_t)n : sizeof said - 1 : 0;
    control[0] = '\0';
    if (h->control) /* another engine's, otherwise */
        snprintf(control, sizeof control, "%s/control.sock", h->data);
    sigfillset(&act.sa_mask);
    sigaction(SIGALRM, &act, NULL);
    alarm(seconds);
}
