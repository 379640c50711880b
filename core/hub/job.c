#include "hub/job.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/proc.h"

enum { END_S = 3 };

struct job {
    LIST_ENTRY(job) link;
    pthread_t thread;
    struct event ev;
    int fd;
    void (*work)(void *);
    void (*done)(void *);
    void *arg;
};

static LIST_HEAD(, job) jobs = LIST_HEAD_INITIALIZER(jobs); /* the loop's */

static void *run(void *arg)
{
    struct job *j = arg;
    uint64_t one = 1;
    setpriority(PRIO_PROCESS, (id_t)gettid(), LN_NICE); /* of this thread alone: messages first */
    j->work(j->arg);
    while (write(j->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    return NULL;
}

static void end(struct job *j)
{
    pthread_join(j->thread, NULL);
    LIST_REMOVE(j, link);
    event_del(&j->ev);
    close(j->fd);
    free(j);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct job *j = arg;
    void (*done)(void *) = j->done;
    void *owner = j->arg;
    (void)fd;
    (void)what;
    end(j);
    done(owner);
}

int ln_job_start(struct event_base *base, void (*work)(void *), void (*done)(void *), void *arg)
{
    struct job *j = calloc(1, sizeof *j);
    sigset_t all, old;
    if (!j)
        return LN_ENOMEM;
    *j = (struct job){.work = work, .done = done, .arg = arg};
    j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->fd < 0) {
        free(j);
        return ln_code_from_errno(errno);
    }
    event_assign(&j->ev, base, j->fd, EV_READ, on_done, j);
    event_add(&j->ev, NULL);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&j->thread, NULL, run, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        event_del(&j->ev);
        close(j->fd);
        free(j);
        return ln_code_from_errno(rc);
    }
    LIST_INSERT_HEAD(&jobs, j, link);
    return LN_OK;
}

void ln_job_end_all(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_S;
    while (!LIST_EMPTY(&jobs)) {
        struct job *j = LIST_FIRST(&jobs);
        LIST_REMOVE(j, link);
        if (pthread_timedjoin_np(j->thread, NULL, &until) != 0)
            continue; /* a look-up of a name, as a rule: it ends with the process */
        event_del(&j->ev);
        close(j->fd);
        free(j);
    }
}
