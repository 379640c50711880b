/* nursery: brings forth workers, and the loader of a reload, for the hub. Everything that all of
 * them need is loaded once, here, before there is any script; a fork then costs a fraction of
 * executing the binary, and its pages are shared until they are written to. No script ever runs in
 * this process: each child confines itself as if it had been executed (role/worker.c). What they
 * have in common is where things lie in memory: docs/threat-model.md. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/proc.h"
#include "ipc/pass.h"
#include "ipc/wire.h"
#include "role/role.h"
#include "role/worker.h"

enum { REQUEST_MAX = 4096, HIGH = 64 };

/* What the hub asks for, see hub/nursery.c. */
struct request {
    uint64_t number;
    char channel[256];
    unsigned n;
    int fd[LN_PASS_MAX]; /* as they came, */
    uint8_t place[LN_PASS_MAX]; /* and what they are to be */
};

static void take_fds(struct request *r, struct msghdr *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return;
    r->n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(r->fd, CMSG_DATA(c), r->n * sizeof(int));
}

/* False: the hub is gone, or speaks of something else. */
static bool take_request(struct request *r)
{
    char data[REQUEST_MAX];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * LN_PASS_MAX)];
    } control;
    struct iovec iov = {data, sizeof data};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    ssize_t len;
    while ((len = recvmsg(LN_PROC_FD, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (len <= 0 || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return false;
    *r = (struct request){0};
    take_fds(r, &m);
    struct ln_wire_in in = {data, data + len, false};
    r->number = ln_wire_get_u64(&in);
    struct ln_span channel = ln_wire_get_bytes(&in);
    snprintf(r->channel, sizeof r->channel, "%.*s", (int)channel.len, channel.ptr);
    for (unsigned i = 0; i < r->n; i++)
        r->place[i] = ln_wire_get_u8(&in);
    return ln_wire_done(&in) && r->n > 0;
}

/* By the child when there is one: what it says stands before anything that it does. */
static bool reply(uint64_t number, pid_t pid, int why)
{
    struct ln_buf b = {0};
    ln_wire_u64(&b, number);
    ln_wire_u32(&b, (uint32_t)pid);
    ln_wire_u32(&b, (uint32_t)why);
    bool sent = !b.failed && send(LN_PROC_FD, b.data, b.len, MSG_NOSIGNAL) >= 0;
    ln_buf_fini(&b);
    return sent;
}

/* Each where it is to be, and nothing else: the nursery's own socket goes, too. */
static bool put_fds(const struct request *r)
{
    int high[LN_PASS_MAX];
    for (unsigned i = 0; i < r->n; i++)
        if ((high[i] = fcntl(r->fd[i], F_DUPFD, HIGH)) < 0)
            return false;
    close_range(LN_PROC_FD, HIGH - 1, 0);
    for (unsigned i = 0; i < r->n; i++)
        if (r->place[i] < LN_PROC_FD || r->place[i] >= HIGH || dup2(high[i], r->place[i]) < 0)
            return false;
    closefrom(HIGH);
    return true;
}

/* A child of the hub's, not of ours: it is the hub that reaps it, and dies with it. */
static pid_t fork_beside(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
}

static void become(const struct request *r, int argc, char **argv)
{
    char title[300];
    if (!r->channel[0]) {
        setpriority(PRIO_PROCESS, 0, LN_NICE);
        exit(ln_role_loader(argc, argv));
    }
    snprintf(title, sizeof title, "lunate: worker %s", r->channel);
    ln_proc_title(argc, argv, title);
    ln_worker_run(argc, argv);
}

static void bear(const struct request *r, int argc, char **argv)
{
    pid_t pid = fork_beside();
    if (pid == 0) {
        if (!reply(r->number, getpid(), 0) || !put_fds(r))
            _exit(1);
        become(r, argc, argv);
    }
    if (pid < 0)
        reply(r->number, 0, errno);
    for (unsigned i = 0; i < r->n; i++)
        close(r->fd[i]);
}

int ln_role_nursery(int argc, char **argv)
{
    struct request r;
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate nursery: only the engine starts it (lunate run)\n");
        return LN_EXIT_USAGE;
    }
    ln_proc_seal(LN_PROC_FD, 0);
    ln_worker_prepare();
    while (take_request(&r))
        bear(&r, argc, argv);
    return LN_EXIT_OK;
}
