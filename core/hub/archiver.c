/* The archiver: a process of its own that writes messages to files before retention trims them. The
 * hub starts it when a channel has `archive`, says to the store how far it has come (nothing beyond
 * that is trimmed), keeps what it complains of for status, and starts it again when it ends. */
#include "hub/hub.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

static const double AGAIN_S = 5;
enum { RECORD_MAX = 1 << 20 };

struct ln_archiver {
    struct ln_hub *hub;
    struct ln_blob *settings; /* SITE's payload for it */
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer;
    pid_t pid; /* 0: not running */
    bool hello;
    uint64_t messages, bytes; /* written since it started */
    char failure[500];
};

static void start(struct ln_archiver *a);

static void lost(struct ln_archiver *a, const char *why)
{
    struct timeval tv = {(time_t)AGAIN_S, 0};
    kill(a->pid, SIGKILL);
    ln_stream_fini(&a->stream);
    ln_buf_fini(&a->in);
    a->in = (struct ln_buf){0};
    ln_log(LN_ERROR, "archiver", "lost", "pid=%d why=\"%s\"", (int)a->pid, why);
    snprintf(a->failure, sizeof a->failure, "the archiver: %s", why);
    a->pid = 0;
    evtimer_add(&a->timer, &tv);
}

static int send_settings(struct ln_archiver *a)
{
    struct ln_buf *b = &a->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_SITE);
    ln_buf_add(b, a->settings->data, a->settings->len);
    int rc = ln_wire_end(b, rec);
    ln_stream_flush(&a->stream);
    return rc;
}

static int take_hello(struct ln_archiver *a, struct ln_wire_in *in)
{
    struct ln_buf *b = &a->stream.out;
    if (!ln_span_is(ln_wire_get_bytes(in), LN_PROTO_BUILD))
        return LN_EVERSION;
    a->hello = true;
    size_t rec = ln_wire_begin(b, LN_P_START);
    ln_wire_bytes(b, ln_span_str(a->hub->site));
    ln_wire_bytes(b, ln_span_str(a->hub->data));
    int rc = ln_wire_end(b, rec);
    return rc == LN_OK ? send_settings(a) : rc;
}

/* ARCHIVED: all of a channel before this message is in its files. */
static int take_archived(struct ln_archiver *a, struct ln_wire_in *in)
{
    char name[LN_CONF_NAME] = "";
    struct ln_span s = ln_wire_get_bytes(in);
    uint64_t below = ln_wire_get_u64(in);
    if (!ln_wire_done(in) || s.len >= sizeof name)
        return LN_EPARSE;
    memcpy(name, s.ptr, s.len);
    struct ln_channel *c = ln_channel_find(a->hub, name);
    if (c && c->id && c->conf && c->conf->archive)
        ln_store_archived(a->hub->store, c->id, below);
    return LN_OK;
}

static int take_state(struct ln_archiver *a, struct ln_wire_in *in)
{
    struct ln_span failure = ln_wire_get_bytes(in);
    uint64_t messages = ln_wire_get_u64(in), bytes = ln_wire_get_u64(in);
    if (!ln_wire_done(in))
        return LN_EPARSE;
    a->messages = messages;
    a->bytes = bytes;
    char old = a->failure[0];
    snprintf(a->failure, sizeof a->failure, "%.*s", (int)(failure.len > 400 ? 400 : failure.len),
             failure.len ? failure.ptr : "");
    if (a->failure[0] && !old)
        ln_log(LN_ERROR, "archiver", "not_archived", "why=\"%s\" effect=\"nothing is trimmed\"",
               a->failure);
    else if (!a->failure[0] && old)
        ln_log(LN_INFO, "archiver", "archives_again", "messages=%llu",
               (unsigned long long)messages);
    return LN_OK;
}

static int on_record(struct ln_archiver *a, uint8_t type, struct ln_wire_in *in)
{
    if (!a->hello)
        return type == LN_P_HELLO ? take_hello(a, in) : LN_EPARSE;
    switch (type) {
    case LN_P_ARCHIVED: return take_archived(a, in);
    case LN_P_ARCHIVE_STATE: return take_state(a, in);
    default: return LN_EPARSE;
    }
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_archiver *a = owner;
    size_t at = 0, used;
    int rc = ln_buf_add(&a->in, data, len);
    while (rc == LN_OK) {
        struct ln_wire_in in;
        uint8_t type;
        rc = ln_wire_next(a->in.data + at, a->in.len - at, RECORD_MAX, &type, &in, &used);
        if (rc != LN_OK)
            break;
        rc = on_record(a, type, &in);
        at += used;
    }
    ln_buf_drop(&a->in, at);
    if (rc != LN_EAGAIN && rc != LN_OK)
        lost(a, "it said what no archiver says");
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    lost(owner, "it ended");
}

static const struct ln_stream_ops archiver_ops = {.data = on_data, .closed = on_closed};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    start(arg);
}

static void start(struct ln_archiver *a)
{
    struct timeval tv = {60, 0};
    int fd;
    int rc = ln_worker_spawn("archiver", NULL, &a->pid, &fd);
    a->hello = false;
    if (rc == LN_OK)
        rc = ln_stream_init(&a->stream, a->hub->base, fd, &archiver_ops, a);
    if (rc == LN_OK)
        return;
    a->pid = 0;
    snprintf(a->failure, sizeof a->failure, "the archiver cannot be started: %s", ln_strerror(rc));
    evtimer_add(&a->timer, &tv);
}

/* NAME -> "path\ndays\nmb" for each channel that is archived; NULL: none is. */
static struct ln_blob *settings_of(struct ln_hub *h)
{
    struct ln_buf b = {0};
    struct ln_channel *c;
    char text[4200];
    LIST_FOREACH (c, &h->channels, link) {
        if (c->removed || !c->conf || !c->conf->archive)
            continue;
        snprintf(text, sizeof text, "%s\n%.6f\n%llu", c->conf->archive, c->conf->retain_days,
                 (unsigned long long)c->conf->retain_mb);
        ln_wire_bytes(&b, ln_span_str(c->name));
        ln_wire_bytes(&b, ln_span_str(text));
    }
    struct ln_blob *out = b.len && !b.failed ? ln_blob_new(ln_buf_span(&b)) : NULL;
    ln_buf_fini(&b);
    return out;
}

void ln_archiver_stop(struct ln_hub *h)
{
    struct ln_archiver *a = h->archiver;
    if (!a)
        return;
    h->archiver = NULL;
    evtimer_del(&a->timer);
    if (a->pid) {
        kill(a->pid, SIGKILL);
        ln_stream_fini(&a->stream);
    }
    ln_buf_fini(&a->in);
    ln_blob_unref(a->settings);
    free(a);
}

void ln_archiver_apply(struct ln_hub *h)
{
    struct ln_archiver *a = h->archiver;
    struct ln_blob *settings = settings_of(h);
    if (!settings) {
        ln_archiver_stop(h);
        return;
    }
    if (a) {
        bool same = a->settings->len == settings->len &&
                    memcmp(a->settings->data, settings->data, settings->len) == 0;
        ln_blob_unref(a->settings);
        a->settings = settings;
        if (!same && a->pid && a->hello && send_settings(a) != LN_OK)
            lost(a, "out of memory");
        return;
    }
    if (!(a = calloc(1, sizeof *a))) {
        ln_blob_unref(settings);
        return;
    }
    a->hub = h;
    a->settings = settings;
    h->archiver = a;
    evtimer_assign(&a->timer, h->base, on_timer, a);
    start(a);
}

void ln_archiver_status(const struct ln_hub *h, struct ln_buf *b)
{
    const struct ln_archiver *a = h->archiver;
    if (!a) {
        ln_json_null(b);
        return;
    }
    ln_json_open(b, '{');
    ln_json_key(b, "failure");
    ln_json_cstr(b, a->failure);
    ln_json_key(b, "messages");
    ln_json_int(b, (int64_t)a->messages);
    ln_json_key(b, "bytes");
    ln_json_int(b, (int64_t)a->bytes);
    ln_json_close(b, '}');
}
