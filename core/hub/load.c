/* The loader child: evaluates the site's Lua in a process of its own and hands over plain records.
 */
#include "hub/hub.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static const int LOAD_LIMIT_S = 30; /* without a record */
enum { RECORD_MAX = 64 << 20 };

struct load {
    struct ln_hub *hub;
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer;
    struct ln_conf *conf;
    pid_t pid;
    bool hello, done;
    char reading[LN_CONF_NAME]; /* the channel that is being evaluated */
    char only[LN_CONF_NAME]; /* a channel that is not evaluated from its pin, */
    struct ln_pin *instead; /* but from this one; NULL: from disk */
    ln_load_fn *fn;
    void *arg;
};

static void finish(struct load *l, const char *error)
{
    ln_load_fn *fn = l->fn;
    void *arg = l->arg;
    struct ln_conf *conf = l->conf;
    char text[512];
    ln_stream_fini(&l->stream);
    ln_buf_fini(&l->in);
    evtimer_del(&l->timer);
    kill(l->pid, SIGKILL);
    snprintf(text, sizeof text, "%s", error ? error : "");
    ln_pin_unref(l->instead);
    free(l);
    if (!error && ln_conf_finish(conf) != LN_OK)
        error = "out of memory";
    if (!error && conf->error) {
        snprintf(text, sizeof text, "%s", conf->error);
        error = text;
    }
    fn(arg, conf, error ? text : NULL);
}

static int send_start(struct load *l)
{
    struct ln_buf *b = &l->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_START);
    ln_wire_bytes(b, ln_span_str(l->hub->site));
    ln_pin_write(&l->hub->pins, l->only[0] ? l->only : NULL, l->instead, b);
    ln_pin_unref(l->instead);
    l->instead = NULL;
    int rc = ln_wire_end(b, rec);
    ln_stream_flush(&l->stream);
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

static void on_data(void *owner, const char *data, size_t len)
{
    struct load *l = owner;
    struct ln_err err = {.text = "out of memory"};
    struct timeval tv = {LOAD_LIMIT_S, 0};
    size_t at = 0, used;
    int rc = ln_buf_add(&l->in, data, len);
    evtimer_add(&l->timer, &tv);
    while (rc == LN_OK && !l->done) {
        struct ln_wire_in in;
        uint8_t type;
        rc = ln_wire_next(l->in.data + at, l->in.len - at, RECORD_MAX, &type, &in, &used);
        if (rc == LN_EAGAIN)
            break;
        if (rc == LN_OK)
            rc = on_record(l, type, &in, &err);
        else
            ln_err_set(&err, rc, "loader sent what no loader sends");
        at += used;
    }
    ln_buf_drop(&l->in, at);
    if (l->done)
        finish(l, NULL);
    else if (rc != LN_OK && rc != LN_EAGAIN)
        finish(l, err.text);
}

static void stopped(struct load *l, const char *how)
{
    char text[200];
    if (l->reading[0])
        snprintf(text, sizeof text, "channels/%s.lua: loading it %s", l->reading, how);
    else
        snprintf(text, sizeof text, "reading the site %s", how);
    finish(l, text);
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    stopped(owner, "ended the loader");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    stopped(arg, "took longer than 30 s");
}

static const struct ln_stream_ops load_ops = {.data = on_data, .closed = on_closed};

/* The configuration knows the same pins as the loader is given. */
static int take_pins(struct load *l)
{
    struct ln_pin *p;
    int rc = l->instead ? ln_conf_pin(l->conf, l->instead) : LN_OK;
    LIST_FOREACH (p, &l->hub->pins, link)
        if (rc == LN_OK && strcmp(p->channel, l->only) != 0)
            rc = ln_conf_pin(l->conf, p);
    return rc;
}

int ln_load_start(struct ln_hub *h, const char *only, struct ln_pin *instead, ln_load_fn *fn,
                  void *arg, struct ln_err *err)
{
    struct timeval tv = {LOAD_LIMIT_S, 0};
    struct load *l = calloc(1, sizeof *l);
    int fd;
    if (!l || !(l->conf = ln_conf_new())) {
        free(l);
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    }
    l->hub = h;
    l->fn = fn;
    l->arg = arg;
    snprintf(l->only, sizeof l->only, "%s", only ? only : "");
    l->instead = instead ? ln_pin_ref(instead) : NULL;
    int rc = take_pins(l);
    if (rc == LN_OK)
        rc = ln_worker_spawn("loader", NULL, &l->pid, &fd);
    if (rc == LN_OK)
        rc = ln_stream_init(&l->stream, h->base, fd, &load_ops, l);
    if (rc != LN_OK) {
        ln_conf_free(l->conf);
        ln_pin_unref(l->instead);
        free(l);
        return ln_err_set(err, rc, "cannot start the loader: %s", ln_strerror(rc));
    }
    evtimer_assign(&l->timer, h->base, on_timer, l);
    evtimer_add(&l->timer, &tv);
    ln_git_ask(h);
    return LN_OK;
}
