#include "hub/nursery.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "hub/spawn.h"
#include "ipc/pass.h"

enum { REPLY_MAX = 64 };
/* Without an answer; when it has not given any yet, for a machine that has no time to give. */
static const double HANGS_S = 10, START_MOST_S = 60;

/* A worker whose process id is not known yet. */
struct birth {
    TAILQ_ENTRY(birth) link;
    uint64_t number;
    pid_t *pid; /* where it belongs; NULL: it is to be ended at once */
};

struct ln_nursery {
    struct ln_hub *hub;
    pid_t pid; /* 0: it has ended */
    bool answered; /* it is up */
    int fd;
    struct event ev;
    uint64_t last;
    TAILQ_HEAD(, birth) births;
};

static void forget(struct ln_nursery *n, struct birth *b)
{
    TAILQ_REMOVE(&n->births, b, link);
    free(b);
}

/* Nobody but a child of ours: what has been reaped may be somebody else's number by now. */
static void kill_child(pid_t pid)
{
    siginfo_t si;
    if (pid > 0 && waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0)
        kill(pid, SIGKILL);
}

static void born(struct ln_nursery *n, uint64_t number, pid_t pid, int why)
{
    struct birth *b;
    TAILQ_FOREACH (b, &n->births, link)
        if (b->number == number)
            break;
    if (!pid)
        ln_log(LN_ERROR, "nursery", "fork_failed",
               "why=\"%s\" look_at=\"ulimit -u, TasksMax, memory\"", strerror(why));
    else if (b && b->pid)
        *b->pid = pid;
    else
        kill_child(pid);
    if (b)
        forget(n, b);
}

enum take { TAKEN, NONE, GONE, WRONG };

static enum take take_reply(struct ln_nursery *n)
{
    char data[REPLY_MAX];
    ssize_t len = recv(n->fd, data, sizeof data, MSG_DONTWAIT);
    if (len < 0 && errno == EINTR)
        return TAKEN;
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return NONE;
    if (len <= 0)
        return GONE;
    struct ln_wire_in in = {data, data + len, false};
    uint64_t number = ln_wire_get_u64(&in);
    pid_t pid = (pid_t)ln_wire_get_u32(&in);
    int why = (int)ln_wire_get_u32(&in);
    if (!ln_wire_done(&in) || pid < 0)
        return WRONG;
    n->answered = true;
    born(n, number, pid, why);
    return TAKEN;
}

/* What it has said still counts: a worker whose process id is not known could not be ended. Those
 * it had not brought forth yet see their sockets closed, and who is born now cannot say so, and
 * ends. An error (it left requests unread) stands before its last words, once. */
static void end(struct ln_nursery *n)
{
    struct birth *b;
    event_del(&n->ev);
    shutdown(n->fd, SHUT_RD);
    for (int errors = 0; errors < 2;) {
        enum take t = take_reply(n);
        errors += t == GONE;
        if (t == NONE || t == WRONG)
            break;
    }
    close(n->fd);
    kill_child(n->pid);
    while ((b = TAILQ_FIRST(&n->births)))
        forget(n, b);
    n->hub->nursery = NULL;
    free(n);
}

static void take_replies(struct ln_nursery *n)
{
    enum take t;
    while ((t = take_reply(n)) == TAKEN)
        ;
    if (t == NONE)
        return;
    ln_log(LN_ERROR, "nursery", "lost", "pid=%d why=\"%s\"", (int)n->pid,
           t == WRONG ? "it said what it should not" : "it ended");
    end(n);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    take_replies(arg);
}

static int start(struct ln_hub *h)
{
    static const char *const argv[] = {"lunate", "nursery", NULL};
    int pair[2], fds[LN_PROC_FD + 1] = {LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_KEEP};
    struct ln_nursery *n = calloc(1, sizeof *n);
    if (!n)
        return LN_ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(n);
        return ln_code_from_errno(errno);
    }
    fds[LN_PROC_FD] = pair[1];
    int rc = ln_spawn(LN_SPAWN_SELF, argv, fds, LN_PROC_FD + 1, &n->pid, NULL);
    close(pair[1]);
    if (rc != LN_OK) {
        close(pair[0]);
        free(n);
        return rc;
    }
    n->hub = h;
    n->fd = pair[0];
    TAILQ_INIT(&n->births);
    event_assign(&n->ev, h->base, n->fd, EV_READ | EV_PERSIST, on_readable, n);
    h->nursery = n;
    if (event_add(&n->ev, NULL) == 0)
        return LN_OK;
    end(n);
    return LN_ENOMEM;
}

void ln_nursery_start(struct ln_hub *h)
{
    int rc = start(h);
    if (rc != LN_OK)
        ln_log(LN_ERROR, "nursery", "spawn_failed", "why=\"%s\"", ln_strerror(rc));
}

void ln_nursery_stop(struct ln_hub *h)
{
    if (h->nursery)
        end(h->nursery);
}

/* u64 number, bytes channel (empty: the loader), then a u8 for each descriptor that comes along:
 * what it is to be. */
static int ask(struct ln_nursery *n, const char *channel, const int *fd, const uint8_t *place,
               unsigned count)
{
    struct ln_buf b = {0};
    ln_wire_u64(&b, n->last);
    ln_wire_bytes(&b, ln_span_str(channel ? channel : ""));
    for (unsigned i = 0; i < count; i++)
        ln_wire_u8(&b, place[i]);
    int rc = ln_pass_send(n->fd, &b, fd, count);
    ln_buf_fini(&b);
    return rc;
}

static int bear(struct ln_nursery *n, const char *channel, const int *fd, int count, int theirs,
                pid_t *pid)
{
    int passed[LN_SPAWN_FDS];
    uint8_t place[LN_SPAWN_FDS];
    unsigned np = 0;
    struct birth *b = calloc(1, sizeof *b);
    if (!b)
        return LN_ENOMEM;
    *b = (struct birth){.number = ++n->last, .pid = pid};
    for (int i = LN_PROC_FD; i < count; i++) {
        if (fd[i] == LN_SPAWN_KEEP)
            continue;
        place[np] = (uint8_t)i;
        passed[np++] = fd[i] == LN_SPAWN_PAIR ? theirs : fd[i];
    }
    int rc = ask(n, channel, passed, place, np);
    if (rc != LN_OK) {
        free(b);
        return rc;
    }
    TAILQ_INSERT_TAIL(&n->births, b, link);
    return LN_OK;
}

int ln_nursery_bear(struct ln_hub *h, const char *channel, const int *fd, int n, pid_t *pid,
                    int *ours)
{
    int pair[2];
    *pid = 0;
    int rc = ln_spawn_pair(pair);
    if (rc != LN_OK)
        return rc;
    for (int try = 0; try < 2; try++) { /* one that has just died is seen when it is asked */
        if (!h->nursery && (rc = start(h)) != LN_OK)
            break;
        rc = bear(h->nursery, channel, fd, n, pair[1], pid);
        if (rc == LN_OK || rc == LN_EAGAIN || rc == LN_ENOMEM)
            break;
        end(h->nursery);
    }
    close(pair[1]);
    if (rc == LN_OK)
        *ours = pair[0];
    else
        close(pair[0]);
    return rc;
}

static struct birth *birth_of(const struct ln_hub *h, const pid_t *pid)
{
    struct birth *b = NULL;
    if (h->nursery)
        TAILQ_FOREACH (b, &h->nursery->births, link)
            if (b->pid == pid)
                break;
    return b;
}

void ln_nursery_end(struct ln_hub *h, pid_t *pid)
{
    struct birth *b = *pid ? NULL : birth_of(h, pid);
    kill_child(*pid);
    if (b)
        b->pid = NULL;
    *pid = 0;
}

void ln_nursery_look(struct ln_hub *h)
{
    if (h->nursery)
        take_replies(h->nursery);
}

bool ln_nursery_hangs(struct ln_hub *h, const pid_t *pid, double passed_s)
{
    if (*pid)
        return false;
    if (!birth_of(h, pid))
        return true;
    if (passed_s < (h->nursery->answered ? HANGS_S : START_MOST_S))
        return false;
    ln_log(LN_ERROR, "nursery", "hangs", "pid=%d seconds=%.0f", (int)h->nursery->pid, passed_s);
    end(h->nursery);
    return true;
}

void ln_nursery_exited(struct ln_hub *h, pid_t pid)
{
    if (h->nursery && h->nursery->pid == pid)
        h->nursery->pid = 0;
}
