/* Names in a configuration that are to be listened on. All are looked up at once, each in a thread
 * of its own, and waited for together: a name server that is dead costs a reload two seconds, not
 * some for each channel. What has not come by then is not found, and looked up again (channel.c).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hub/conf.h"
#include "net/listen.h"

enum { NAMES_MAX = 64, WAIT_S = 2, FIRST_WAIT_S = 10 };

struct name {
    struct round *round;
    char host[LN_CONF_HOST], addresses[LN_CONF_ADDRESSES];
    bool admin, done;
    int code;
    struct ln_err err;
};

struct round { /* freed by whoever leaves it last: a thread may take as long as it likes */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned users, n, pending, admin_pending;
    struct name name[NAMES_MAX];
};

static void leave(struct round *r)
{
    bool last = --r->users == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *look_up(void *arg)
{
    struct name *x = arg;
    struct round *r = x->round;
    char addresses[LN_CONF_ADDRESSES] = "";
    struct ln_err err = {0};
    int code = ln_listen_resolve(x->host, addresses, sizeof addresses, &err);
    pthread_mutex_lock(&r->lock);
    x->code = code;
    x->err = err;
    memcpy(x->addresses, addresses, sizeof addresses);
    x->done = true;
    r->pending--;
    r->admin_pending -= x->admin;
    pthread_cond_signal(&r->changed);
    leave(r);
    return NULL;
}

static struct name *find(struct round *r, const char *host)
{
    for (unsigned i = 0; i < r->n; i++)
        if (strcmp(r->name[i].host, host) == 0)
            return &r->name[i];
    return NULL;
}

static void add(struct round *r, const char *host, bool admin)
{
    struct name *x = find(r, host);
    if (!x && r->n < NAMES_MAX) {
        x = &r->name[r->n++];
        x->round = r;
        snprintf(x->host, sizeof x->host, "%s", host);
    }
    if (x)
        x->admin |= admin;
}

static void start(struct round *r)
{
    pthread_attr_t attr;
    sigset_t all, old;
    sigfillset(&all); /* signals are the loop's */
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < r->n; i++) {
        struct name *x = &r->name[i];
        pthread_t thread;
        if (pthread_create(&thread, &attr, look_up, x) != 0)
            continue; /* it is not found now */
        r->users++;
        r->pending++;
        r->admin_pending += x->admin;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
}

/* Until all have come, or some seconds have passed. */
static void await(struct round *r, const unsigned *pending, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    while (*pending && pthread_cond_timedwait(&r->changed, &r->lock, &until) != ETIMEDOUT)
        ;
}

static void take(struct round *r, const char *host, char *addresses, char *why, size_t cap)
{
    const struct name *x = find(r, host);
    addresses[0] = '\0';
    if (x && x->done && x->code == LN_OK)
        memcpy(addresses, x->addresses, sizeof x->addresses);
    else if (x && x->done)
        snprintf(why, cap, "%s", x->err.text);
    else
        snprintf(why, cap, "cannot listen on %.200s: no name server has said yet what that is",
                 host);
}

void ln_conf_names(struct ln_conf *c)
{
    struct round *r = calloc(1, sizeof *r);
    if (!r)
        return;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    c->admin.by_name = c->admin.port && ln_listen_by_name(c->admin.host);
    if (c->admin.by_name)
        add(r, c->admin.host, true);
    for (unsigned i = 0; i < c->nchannel; i++) {
        struct ln_conf_channel *ch = &c->channel[i];
        ch->by_name = !ch->error && !ch->from_channel && ln_listen_by_name(ch->host);
        if (ch->by_name)
            add(r, ch->host, false);
    }
    pthread_mutex_lock(&r->lock);
    r->users = 1;
    start(r);
    await(r, &r->pending, WAIT_S);
    if (c->first) /* without its admin address an engine does not start */
        await(r, &r->admin_pending, FIRST_WAIT_S - WAIT_S);
    if (c->admin.by_name)
        take(r, c->admin.host, c->admin.addresses, c->admin.no_address, sizeof c->admin.no_address);
    for (unsigned i = 0; i < c->nchannel; i++) {
        struct ln_conf_channel *ch = &c->channel[i];
        if (ch->by_name)
            take(r, ch->host, ch->addresses, ch->no_address, sizeof ch->no_address);
    }
    leave(r);
}
