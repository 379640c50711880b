#include "hub/audit.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { BATCH_MAX = 256, KEPT_MAX = 1000, RUN_MAX = 16, RETRY_S = 5, HEAD_S = 60 };

struct job {
    STAILQ_ENTRY(job) link;
    struct ln_audit_who who;
    struct ln_audit_entry e; /* texts are below */
    bool keep, known; /* known: who needs no look-up */
    void (*run)(void *arg);
    ln_hub_audited *done;
    void *arg;
    int code;
    char why[512];
    char text[]; /* the entry's texts, one after another */
};
STAILQ_HEAD(jobs, job);

struct ln_hub_audit {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int wake; /* eventfd: something is done */
    struct event ev;
    bool stop;
    unsigned waiting; /* of jobs with run */
    struct jobs todo, done; /* under the mutex */
    char failing[512]; /* the loop's */
    /* the thread's: */
    struct ln_audit *log;
    struct jobs kept;
    unsigned nkept, lost;
    uint64_t said;
    int64_t said_us;
    const char *data, *site;
};

/* ---- the thread ---- */

static void say_head(struct ln_hub_audit *a, bool now)
{
    char text[300], hash[LN_AUDIT_HEX];
    uint64_t seq = a->log ? ln_audit_head(a->log, hash) : 0;
    if (seq == a->said || (!now && ln_mono_us() - a->said_us < HEAD_S * 1000000ll))
        return;
    a->said = seq;
    a->said_us = ln_mono_us();
    ln_audit_syslog(a->log, a->site);
    ln_log(LN_INFO, "audit", "head", "%s", ln_audit_head_text(a->log, text, sizeof text));
}

static int append(struct ln_hub_audit *a, struct jobs *list, struct ln_err *err)
{
    struct ln_audit_entry e[BATCH_MAX];
    struct ln_audit_who self;
    char lost[100];
    unsigned n = 0;
    struct job *j;
    int rc = a->log ? LN_OK : ln_audit_open(a->data, 0, &a->log, err);
    if (rc != LN_OK)
        return rc;
    if (a->lost) {
        ln_audit_who_self(&self, "engine");
        snprintf(lost, sizeof lost, "%u entries could not be kept in memory", a->lost);
        e[n++] = (struct ln_audit_entry){
            .who = &self, .action = "audit.lost", .outcome = "failed", .text = lost};
    }
    STAILQ_FOREACH (j, list, link) {
        if (!j->known) {
            struct ln_audit_who known = j->who;
            ln_audit_who_peer(&known, j->who.uid, j->who.pid, j->who.via);
            j->who = known;
        }
        j->known = true;
        if (n == BATCH_MAX && (rc = ln_audit_append(a->log, e, n, err)) != LN_OK)
            return rc;
        n = n == BATCH_MAX ? 0 : n;
        e[n++] = j->e;
    }
    rc = n ? ln_audit_append(a->log, e, n, err) : LN_OK;
    if (rc == LN_OK)
        a->lost = 0;
    return rc;
}

static void keep(struct ln_hub_audit *a, struct job *j)
{
    if (a->nkept < KEPT_MAX) {
        j->done = NULL; /* that is told by a copy without the entry */
        STAILQ_INSERT_TAIL(&a->kept, j, link);
        a->nkept++;
    } else {
        a->lost++;
        free(j);
    }
}

/* Tells the loop of j, and frees or keeps j. */
static void settle(struct ln_hub_audit *a, struct jobs *done, struct job *j,
                   const struct ln_err *err)
{
    struct job *told = j;
    bool kept = j->keep && err->code != LN_OK;
    if (kept)
        told = calloc(1, sizeof *told);
    if (told) {
        told->done = j->done;
        told->arg = j->arg;
        told->code = err->code;
        snprintf(told->why, sizeof told->why, "%s", err->code ? err->text : "");
        STAILQ_INSERT_TAIL(done, told, link);
    }
    if (kept)
        keep(a, j);
}

static void work(struct ln_hub_audit *a, struct jobs *todo, struct jobs *done)
{
    struct ln_err err = {0};
    struct jobs entries = STAILQ_HEAD_INITIALIZER(entries);
    struct job *j;
    STAILQ_CONCAT(&entries, &a->kept); /* the oldest first */
    unsigned old = a->nkept;
    a->nkept = 0;
    while ((j = STAILQ_FIRST(todo))) {
        STAILQ_REMOVE_HEAD(todo, link);
        if (j->run) {
            j->run(j->arg);
            STAILQ_INSERT_TAIL(done, j, link);
        } else {
            STAILQ_INSERT_TAIL(&entries, j, link);
        }
    }
    if (!STAILQ_EMPTY(&entries) || a->lost)
        err.code = append(a, &entries, &err);
    if (err.code == LN_EIO || err.code == LN_EINVAL) { /* a folder that went away, a key */
        ln_audit_close(a->log);
        a->log = NULL;
    }
    for (; (j = STAILQ_FIRST(&entries)); old -= old > 0) {
        STAILQ_REMOVE_HEAD(&entries, link);
        if (old > 0 && err.code == LN_OK)
            free(j);
        else if (old > 0)
            keep(a, j);
        else
            settle(a, done, j, &err);
    }
    say_head(a, false);
}

static void *run(void *arg)
{
    struct ln_hub_audit *a = arg;
    struct jobs todo, done;
    bool stop = false;
    while (!stop) {
        struct timespec until;
        STAILQ_INIT(&todo);
        STAILQ_INIT(&done);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += a->nkept ? RETRY_S : HEAD_S;
        pthread_mutex_lock(&a->mutex);
        while (STAILQ_EMPTY(&a->todo) && !a->stop)
            if (pthread_cond_timedwait(&a->cond, &a->mutex, &until) != 0)
                break;
        STAILQ_CONCAT(&todo, &a->todo);
        stop = a->stop;
        pthread_mutex_unlock(&a->mutex);
        work(a, &todo, &done);
        if (!STAILQ_EMPTY(&done)) {
            uint64_t one = 1;
            pthread_mutex_lock(&a->mutex);
            STAILQ_CONCAT(&a->done, &done);
            pthread_mutex_unlock(&a->mutex);
            (void)!write(a->wake, &one, sizeof one);
        }
    }
    say_head(a, true);
    return NULL;
}

/* ---- the loop ---- */

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct ln_hub *h = arg;
    struct ln_hub_audit *a = h->audit;
    struct jobs done = STAILQ_HEAD_INITIALIZER(done);
    struct job *j;
    uint64_t n;
    (void)what;
    (void)!read(fd, &n, sizeof n);
    pthread_mutex_lock(&a->mutex);
    STAILQ_CONCAT(&done, &a->done);
    pthread_mutex_unlock(&a->mutex);
    while ((j = STAILQ_FIRST(&done))) {
        STAILQ_REMOVE_HEAD(&done, link);
        a->waiting -= j->run != NULL;
        if (!j->run && strcmp(a->failing, j->why) != 0) {
            snprintf(a->failing, sizeof a->failing, "%s", j->why);
            if (j->why[0])
                ln_log(LN_ERROR, "audit", "failing", "why=\"%s\"", j->why);
            else
                ln_log(LN_INFO, "audit", "works_again", NULL);
        }
        if (j->done)
            j->done(j->arg, j->code, j->why);
        free(j);
    }
}

int ln_hub_audit_start(struct ln_hub *h)
{
    sigset_t all, before;
    struct ln_hub_audit *a = calloc(1, sizeof *a);
    if (!a)
        return LN_ENOMEM;
    a->data = h->data;
    a->site = h->site;
    STAILQ_INIT(&a->todo);
    STAILQ_INIT(&a->done);
    STAILQ_INIT(&a->kept);
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->cond, NULL);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = a->wake < 0 || pthread_create(&a->thread, NULL, run, a) != 0 ? LN_EIO : LN_OK;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != LN_OK) {
        free(a);
        return rc;
    }
    h->audit = a;
    event_assign(&a->ev, h->base, a->wake, EV_READ | EV_PERSIST, on_done, h);
    event_add(&a->ev, NULL);
    return LN_OK;
}

void ln_hub_audit_stop(struct ln_hub *h)
{
    struct ln_hub_audit *a = h->audit;
    struct job *j;
    if (!a)
        return;
    pthread_mutex_lock(&a->mutex);
    a->stop = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);
    event_del(&a->ev);
    if (a->nkept)
        ln_log(LN_ERROR, "audit", "entries_lost", "count=%u", a->nkept);
    STAILQ_CONCAT(&a->done, &a->kept);
    while ((j = STAILQ_FIRST(&a->done))) { /* whoever waited is gone with the engine */
        STAILQ_REMOVE_HEAD(&a->done, link);
        free(j);
    }
    ln_audit_close(a->log);
    close(a->wake);
    pthread_mutex_destroy(&a->mutex);
    pthread_cond_destroy(&a->cond);
    free(a);
    h->audit = NULL;
}

static void push(struct ln_hub_audit *a, struct job *j)
{
    pthread_mutex_lock(&a->mutex);
    STAILQ_INSERT_TAIL(&a->todo, j, link);
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->mutex);
}

void ln_hub_audit_put(struct ln_hub *h, const struct ln_audit_entry *e, bool keep_it,
                      ln_hub_audited *done, void *arg)
{
    const char *const texts[] = {e->action, e->object,  e->query, e->shown,
                                 e->reason, e->outcome, e->text};
    enum { N = sizeof texts / sizeof *texts };
    size_t len[N], room = 0;
    const char *at[N] = {0};
    for (int i = 0; i < N; i++)
        room += len[i] = texts[i] ? strnlen(texts[i], LN_AUDIT_TEXT_MAX) + 1 : 0;
    struct job *j = h->audit ? calloc(1, sizeof *j + room) : NULL;
    if (!j) {
        if (done)
            done(arg, LN_ENOMEM, "out of memory");
        return;
    }
    char *p = j->text;
    for (int i = 0; i < N; i++, p += len[i - 1]) {
        if (len[i]) {
            memcpy(p, texts[i], len[i] - 1);
            at[i] = p;
        }
    }
    j->who = *e->who;
    j->e = (struct ln_audit_entry){&j->who, at[0], at[1],
                                   at[2],   at[3], at[4],
                                   at[5],   at[6], e->time_us ? e->time_us : ln_now_us()};
    j->known = j->who.uid < 0;
    j->keep = keep_it;
    j->done = done;
    j->arg = arg;
    push(h->audit, j);
}

int ln_hub_audit_run(struct ln_hub *h, void (*fn)(void *arg), ln_hub_audited *done, void *arg)
{
    struct job *j = h->audit && h->audit->waiting < RUN_MAX ? calloc(1, sizeof *j) : NULL;
    if (!j)
        return LN_EAGAIN;
    j->run = fn;
    j->done = done;
    j->arg = arg;
    h->audit->waiting++;
    push(h->audit, j);
    return LN_OK;
}

void ln_hub_audit_event(struct ln_hub *h, const char *action, const char *object, const char *text)
{
    struct ln_audit_who who = {
        .uid = (int64_t)geteuid(), .login_uid = -1, .pid = (int)getpid(), .via = "engine"};
    struct ln_audit_entry e = {.who = &who, .action = action, .object = object, .text = text};
    ln_hub_audit_put(h, &e, true, NULL, NULL);
}

void ln_hub_audit_config(struct ln_hub *h, const char *why)
{
    struct ln_buf b = {0};
    struct ln_channel *c;
    LIST_FOREACH (c, &h->channels, link) {
        const struct ln_conf_channel *conf = c->next ? c->next : c->conf;
        if (!c->removed)
            ln_buf_addf(&b, "%s%s=%.12s%s", b.len ? " " : "", c->name, conf ? conf->version : "",
                        c->failed ? "(failed)" : "");
    }
    ln_buf_addc(&b, '\0');
    ln_hub_audit_event(h, "config", why, b.failed ? "" : b.data);
    ln_buf_fini(&b);
}

const char *ln_hub_audit_failing(const struct ln_hub *h)
{
    return h->audit ? h->audit->failing : "";
}
