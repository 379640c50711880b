#include "hub/child.h"

#include <signal.h>

#include "base/clock.h"
#include "hub/spawn.h"

static const double BACKOFF_FIRST_S = 0.2, BACKOFF_MAX_S = 60;
enum { RECORD_MAX = 1 << 20, TICK_S = 5, WELL_S = 60 };

static void arm(struct ln_child *c, double s)
{
    struct timeval tv = {(time_t)s, (suseconds_t)((s - (double)(time_t)s) * 1e6)};
    evtimer_add(&c->timer, &tv);
}

/* Whatever there is of it goes; it is started again after a back-off. */
static void lost(struct ln_child *c, const char *why)
{
    if (c->pid)
        kill(c->pid, SIGKILL);
    ln_stream_fini(&c->stream);
    ln_buf_fini(&c->in);
    c->in = (struct ln_buf){0};
    c->restarts++;
    if (ln_mono_us() - c->spawned_us > WELL_S * 1000000LL)
        c->backoff_s = 0;
    c->backoff_s = c->backoff_s > 0 ? c->backoff_s * 2 : BACKOFF_FIRST_S;
    if (c->backoff_s > BACKOFF_MAX_S)
        c->backoff_s = BACKOFF_MAX_S;
    ln_log(LN_ERROR, c->ops->role, "lost", "pid=%d why=\"%s\" again_in_s=%.1f", (int)c->pid, why,
           c->backoff_s);
    c->pid = 0;
    c->hello = false;
    arm(c, c->backoff_s);
    c->ops->lost(c, why);
}

static int send_settings(struct ln_child *c)
{
    struct ln_buf *b = &c->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_SITE);
    ln_buf_add(b, c->settings->data, c->settings->len);
    int rc = ln_wire_end(b, rec);
    ln_stream_flush(&c->stream);
    return rc;
}

static int take_hello(struct ln_child *c, struct ln_wire_in *in)
{
    struct ln_buf *b = &c->stream.out;
    if (!ln_span_is(ln_wire_get_bytes(in), LN_PROTO_BUILD))
        return LN_EVERSION;
    c->hello = true;
    size_t rec = ln_wire_begin(b, LN_P_START);
    ln_wire_bytes(b, ln_span_str(c->hub->site));
    ln_wire_bytes(b, ln_span_str(c->hub->data));
    int rc = ln_wire_end(b, rec);
    return rc == LN_OK ? send_settings(c) : rc;
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_child *c = owner;
    size_t at = 0, used;
    int rc = ln_buf_add(&c->in, data, len);
    c->heard_us = ln_mono_us();
    while (rc == LN_OK) {
        struct ln_wire_in in;
        uint8_t type;
        rc = ln_wire_next(c->in.data + at, c->in.len - at, RECORD_MAX, &type, &in, &used);
        if (rc != LN_OK)
            break;
        if (c->hello)
            rc = c->ops->record(c, type, &in);
        else
            rc = type == LN_P_HELLO ? take_hello(c, &in) : LN_EPARSE;
        at += used;
    }
    ln_buf_drop(&c->in, at);
    if (rc != LN_EAGAIN && rc != LN_OK)
        lost(c, rc == LN_EVERSION ? "it is of another build"
                : rc == LN_ENOMEM ? "out of memory"
                                  : "it said what it should not");
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    lost(owner, "it ended");
}

static const struct ln_stream_ops stream_ops = {.data = on_data, .closed = on_closed};

static void spawn(struct ln_child *c)
{
    int fd;
    int rc = ln_spawn_role(c->ops->role, &c->pid, &fd);
    c->spawned_us = c->heard_us = ln_mono_us();
    if (rc != LN_OK)
        c->pid = 0;
    else
        rc = ln_stream_init(&c->stream, c->hub->base, fd, &stream_ops, c);
    if (rc == LN_OK)
        arm(c, TICK_S);
    else
        lost(c, ln_strerror(rc));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_child *c = arg;
    (void)fd;
    (void)what;
    if (c->pid == 0) {
        spawn(c);
        return;
    }
    if (c->ops->tick)
        c->ops->tick(c);
    if (c->ops->silent_us && ln_mono_us() - c->heard_us > c->ops->silent_us)
        lost(c, "it was silent for too long");
    else
        arm(c, TICK_S);
}

static void change(struct ln_child *c, struct ln_blob *settings)
{
    bool same = c->settings->len == settings->len &&
                memcmp(c->settings->data, settings->data, settings->len) == 0;
    ln_blob_unref(c->settings);
    c->settings = settings;
    if (!same && ln_child_answers(c) && send_settings(c) != LN_OK)
        lost(c, "out of memory");
}

void *ln_child_apply(void *owner, size_t size, struct ln_hub *h, const struct ln_child_ops *ops,
                     struct ln_blob *settings)
{
    struct ln_child *c = owner ? owner : calloc(1, size);
    if (owner) {
        change(c, settings);
    } else if (c) {
        *c = (struct ln_child){.hub = h, .ops = ops, .settings = settings};
        c->stream.fd = -1;
        evtimer_assign(&c->timer, h->base, on_timer, c);
        spawn(c);
    } else {
        ln_blob_unref(settings);
    }
    return c;
}

void ln_child_stop(struct ln_child *c)
{
    evtimer_del(&c->timer);
    if (c->pid)
        kill(c->pid, SIGKILL); /* what it knows is on disk */
    ln_stream_fini(&c->stream);
    ln_buf_fini(&c->in);
    ln_blob_unref(c->settings);
}

bool ln_child_answers(const struct ln_child *c)
{
    return c->pid && c->hello;
}

char *ln_child_text(struct ln_span s, size_t most)
{
    char *text = strndup(s.len ? s.ptr : "", s.len > most ? most : s.len);
    for (char *p = text; p && *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return text;
}

int ln_child_log(const struct ln_child *c, struct ln_wire_in *in)
{
    (void)ln_wire_get_u64(in);
    unsigned level = ln_wire_get_u8(in);
    struct ln_span event = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || level > LN_ERROR)
        return LN_EPARSE;
    char *e = ln_child_text(event, 40), *t = ln_child_text(text, 600);
    if (e && t)
        ln_log((enum ln_level)level, c->ops->role, e, "%s", t);
    free(e);
    free(t);
    return LN_OK;
}

struct ln_blob *ln_child_settings(const struct ln_blob *site, const char *prefix)
{
    size_t n = strlen(prefix);
    struct ln_buf b = {0};
    struct ln_blob *out = NULL;
    struct ln_wire_in in = {site ? site->data : "", site ? site->data + site->len : "", false};
    while (!in.bad && in.ptr < in.end) {
        struct ln_span k = ln_wire_get_bytes(&in), v = ln_wire_get_bytes(&in);
        if (in.bad || k.len <= n || memcmp(k.ptr, prefix, n) != 0)
            continue;
        ln_wire_bytes(&b, k);
        ln_wire_bytes(&b, v);
    }
    if (b.len && !b.failed)
        out = ln_blob_new(ln_buf_span(&b));
    ln_buf_fini(&b);
    return out;
}
