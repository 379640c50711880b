/* The loader child: evaluates the site's Lua in a process of its own and hands over plain records.
 */
#include "hub/hub.h"
#include "hub/job.h"
#include "hub/nursery.h"
#include "hub/spawn.h"

#include <stdio.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/proc.h"

/* Without a record: of processor time; and in all, for a machine that has none to give. */
enum { LOAD_LIMIT_S = 30, LOAD_MOST_S = 120 };
enum { RECORD_MAX = 65 << 20, LARGE = 1 << 20 }; /* a file has up to 64 MB */

struct load {
    struct ln_hub *hub;
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer;
    int64_t since_us; /* the last bytes from it: when, */
    double cpu_s; /* and what processor time it had used */
    struct ln_conf *conf;
    pid_t pid;
    bool executed; /* not of the nursery's */
    bool hello, done;
    char reading[LN_CONF_NAME]; /* the channel that is being evaluated */
    char only[LN_CONF_NAME]; /* a channel that is not evaluated from its pin, */
    struct ln_pin *instead; /* but from this one; NULL: from disk */
    int code; /* of the thread that prepares what was read */
    ln_load_fn *fn;
    void *arg;
};

/* The process is not needed any longer. */
static void end_child(struct load *l)
{
    ln_stream_fini(&l->stream);
    ln_buf_fini(&l->in);
    evtimer_del(&l->timer);
    ln_nursery_end(l->hub, &l->pid);
    ln_pin_unref(l->instead);
    l->instead = NULL;
}

static void tell(struct load *l, const char *error)
{
    ln_load_fn *fn = l->fn;
    void *arg = l->arg;
    struct ln_conf *conf = l->conf;
    struct ln_hub *h = l->hub;
    char text[512];
    free(l);
    if (!error && conf->error) {
        snprintf(text, sizeof text, "%s", conf->error);
        error = text;
    }
    ln_git_read(h, error ? NULL : conf);
    fn(arg, conf, error);
}

static void failed(struct load *l, const char *error)
{
    char text[512];
    snprintf(text, sizeof text, "%s", error); /* it may stand in what ends here */
    end_child(l);
    tell(l, text);
}

/* All has been read: files are hashed and certificates read in a thread, no sender waits for it. */
static void prepare(void *arg)
{
    struct load *l = arg;
    l->code = ln_conf_prepare(l->conf);
}

static void on_prepared(void *arg)
{
    struct load *l = arg;
    if (l->code == LN_OK)
        l->code = ln_conf_finish(l->conf);
    tell(l, l->code == LN_OK ? NULL : ln_strerror(l->code));
}

static void finish(struct load *l)
{
    end_child(l);
    if (ln_job_start(l->hub->base, prepare, on_prepared, l) == LN_OK)
        return;
    prepare(l);
    on_prepared(l);
}

static int send_start(struct load *l)
{
    struct ln_buf *b = &l->stream.out;
    const char *except = l->only[0] ? l->only : NULL;
    size_t rec = ln_wire_begin(b, LN_P_START);
    ln_wire_bytes(b, ln_span_str(l->hub->site));
    ln_pin_fit(&l->hub->pins, except, l->instead);
    ln_pin_write(&l->hub->pins, except, l->instead, b);
    ln_pin_unref(l->instead);
    l->instead = NULL;
    int rc = ln_wire_end(b, rec);
    ln_stream_flush(&l->stream);
    return rc;
}

/* A large file: it stays where it came to, instead of being copied, for which the loop would stand
 * still. What follows it in the buffer moves on. */
static int take_large(struct load *l, uint8_t type, struct ln_wire_in *in, size_t end,
                      struct ln_err *err)
{
    struct ln_buf whole = l->in;
    l->in = (struct ln_buf){0};
    int rc = ln_buf_add(&l->in, whole.data + end, whole.len - end);
    if (rc == LN_OK) {
        l->conf->lent = &whole;
        rc = ln_conf_take(l->conf, type, in, err);
        l->conf->lent = NULL;
    }
    ln_buf_fini(&whole);
    return rc;
}

static int on_record(struct load *l, uint8_t type, struct ln_wire_in *in, struct ln_err *err)
{
    if (!l->hello) {
        l->hello = type == LN_P_HELLO && ln_span_is(ln_wire_get_bytes(in), LN_PROTO_BUILD);
        return l->hello ? send_start(l)
                        : ln_err_set(err, LN_EVERSION, "loader is of another build");
    }
    if (type == LN_P_DONE) {
        l->done = true;
        return LN_OK;
    }
    if (type == LN_P_BEGIN) {
        struct ln_wire_in peek = *in;
        struct ln_span name = ln_wire_get_bytes(&peek);
        snprintf(l->reading, sizeof l->reading, "%.*s", (int)(name.len > 64 ? 64 : name.len),
                 name.ptr);
    }
    return ln_conf_take(l->conf, type, in, err);
}

/* It is alive: its time counts from now. */
static void wait_on(struct load *l)
{
    struct timeval tv = {LOAD_LIMIT_S, 0};
    l->since_us = ln_mono_us();
    l->cpu_s = ln_proc_cpu_s(l->pid);
    evtimer_add(&l->timer, &tv);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct load *l = owner;
    struct ln_err err = {.text = "out of memory"};
    size_t at = 0, used;
    int rc = ln_buf_add(&l->in, data, len);
    wait_on(l);
    while (rc == LN_OK && !l->done) {
        struct ln_wire_in in;
        uint8_t type;
        rc = ln_wire_next(l->in.data + at, l->in.len - at, RECORD_MAX, &type, &in, &used);
        if (rc == LN_EAGAIN)
            break;
        bool large =
            rc == LN_OK && l->hello && used > LARGE && (type == LN_P_FILE || type == LN_P_SHARED);
        if (large)
            rc = take_large(l, type, &in, at + used, &err);
        else if (rc == LN_OK)
            rc = on_record(l, type, &in, &err);
        else
            ln_err_set(&err, rc, "loader sent what no loader sends");
        at = large ? 0 : at + used;
    }
    ln_buf_drop(&l->in, at);
    if (l->done)
        finish(l);
    else if (rc != LN_OK && rc != LN_EAGAIN)
        failed(l, err.text);
}

static void stopped(struct load *l, const char *how)
{
    char text[200];
    if (l->reading[0])
        snprintf(text, sizeof text, "channels/%s.lua: loading it %s", l->reading, how);
    else
        snprintf(text, sizeof text, "reading the site %s", how);
    failed(l, text);
}

static int launch(struct load *l, bool execute);

/* It was the nursery that failed, before there was a loader: it is done without. */
static bool launch_again(struct load *l)
{
    if (l->hello || l->executed)
        return false;
    ln_stream_fini(&l->stream);
    ln_nursery_end(l->hub, &l->pid);
    if (launch(l, true) != LN_OK)
        return false;
    wait_on(l);
    return true;
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    if (!launch_again(owner))
        stopped(owner, "ended the loader");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct load *l = arg;
    struct timeval tv = {LOAD_LIMIT_S, 0};
    double s = (double)(ln_mono_us() - l->since_us) / 1e6;
    char how[60];
    (void)fd;
    (void)what;
    if (ln_nursery_hangs(l->hub, &l->pid, s) && launch_again(l))
        return;
    if (s < LOAD_MOST_S && ln_proc_cpu_s(l->pid) - l->cpu_s < LOAD_LIMIT_S * 0.9) {
        evtimer_add(&l->timer, &tv);
        return;
    }
    snprintf(how, sizeof how, "took longer than %.0f s", s);
    stopped(l, how);
}

static const struct ln_stream_ops load_ops = {.data = on_data, .closed = on_closed};

/* At the start it is executed, beside the nursery, which is not ready yet. */
static int launch(struct load *l, bool execute)
{
    static const int fds[] = {LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_KEEP, LN_SPAWN_PAIR};
    int fd;
    l->executed = execute;
    int rc = execute ? ln_spawn_role("loader", &l->pid, &fd)
                     : ln_nursery_bear(l->hub, NULL, fds, LN_PROC_FD + 1, &l->pid, &fd);
    return rc == LN_OK ? ln_stream_init(&l->stream, l->hub->base, fd, &load_ops, l) : rc;
}

/* The configuration knows the same pins as the loader is given. */
static int take_pins(struct load *l)
{
    struct ln_pin *p;
    int rc = l->instead ? ln_conf_pin(l->conf, l->instead) : LN_OK;
    LIST_FOREACH (p, &l->hub->pins, link) {
        bool passed = strcmp(p->channel, l->only) == 0;
        if (passed && p->former) /* it may be what must not come back: ln_version_refused */
            snprintf(l->conf->former_of, sizeof l->conf->former_of, "%s", p->channel);
        if (rc == LN_OK && !passed)
            rc = ln_conf_pin(l->conf, p);
    }
    return rc;
}

int ln_load_start(struct ln_hub *h, const char *only, struct ln_pin *instead, ln_load_fn *fn,
                  void *arg, struct ln_err *err)
{
    struct load *l = calloc(1, sizeof *l);
    if (!l || !(l->conf = ln_conf_new())) {
        free(l);
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    }
    l->hub = h;
    l->conf->first = !h->ready;
    l->fn = fn;
    l->arg = arg;
    snprintf(l->only, sizeof l->only, "%s", only ? only : "");
    l->instead = instead ? ln_pin_ref(instead) : NULL;
    int rc = take_pins(l);
    if (rc == LN_OK)
        rc = launch(l, !h->ready);
    if (rc != LN_OK) {
        ln_nursery_end(h, &l->pid);
        ln_conf_free(l->conf);
        ln_pin_unref(l->instead);
        free(l);
        return ln_err_set(err, rc, "cannot start the loader: %s", ln_strerror(rc));
    }
    evtimer_assign(&l->timer, h->base, on_timer, l);
    wait_on(l);
    ln_git_ask(h);
    return LN_OK;
}
