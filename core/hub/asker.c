/* How clients of the control socket are answered, now or later. */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/control.h"

enum { WAIT_MS = 10, KEPT_S = 3 };

void ln_asker_reply(struct ln_asker *k, int status, struct ln_span text)
{
    struct ln_buf b = {0};
    struct timeval now = {0, 0};
    if (status != 0)
        ln_gate_failed(k, text);
    if (k->gone)
        return;
    k->busy = false;
    if (!k->pumping)
        evtimer_add(&k->again, &now);
    size_t rec = ln_wire_begin(&b, LN_P_REPLY);
    ln_wire_u8(&b, (uint8_t)status);
    ln_wire_bytes(&b, text);
    if (ln_wire_end(&b, rec) == LN_OK)
        (void)!ln_stream_write(&k->stream, ln_buf_span(&b));
    ln_buf_fini(&b);
}

void ln_asker_fail(struct ln_asker *k, int status, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ln_asker_reply(k, status, ln_span_str(text));
}

void ln_asker_ok(struct ln_buf *b, const char *key, const char *value)
{
    ln_json_open(b, '{');
    ln_json_key(b, "ok");
    ln_json_bool(b, true);
    if (key) {
        ln_json_key(b, key);
        ln_json_cstr(b, value);
    }
}

void ln_asker_done(struct ln_asker *k, const char *key, const char *value)
{
    struct ln_buf b = {0};
    ln_asker_ok(&b, key, value);
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

void ln_asker_number(struct ln_asker *k, const char *key, uint64_t value)
{
    struct ln_buf b = {0};
    ln_asker_ok(&b, NULL, NULL);
    ln_json_key(&b, key);
    ln_json_int(&b, (int64_t)value);
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

struct kept {
    struct ln_asker *client; /* NULL: answered, before the disk had it */
    struct ln_buf text;
    struct event timer;
};

static void kept_answer(struct kept *w, int code, bool late)
{
    struct ln_asker *k = w->client;
    w->client = NULL;
    if (late) {
        ln_json_key(&w->text, "unkept");
        ln_json_cstr(&w->text,
                     "the disk has not yet taken that: an engine killed now would come up "
                     "without it");
    }
    ln_json_close(&w->text, '}');
    if (code == LN_OK)
        ln_asker_reply(k, 0, ln_buf_span(&w->text));
    else
        ln_asker_fail(k, 1, "done, but not kept: %s", ln_strerror(code));
    ln_asker_let_go(k);
}

static void on_kept(void *arg, int code, uint64_t seq)
{
    struct kept *w = arg;
    (void)seq;
    evtimer_del(&w->timer);
    if (w->client)
        kept_answer(w, code, false);
    ln_buf_fini(&w->text);
    free(w);
}

static void on_kept_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kept_answer(arg, LN_OK, true);
}

void ln_asker_kept(struct ln_asker *k, struct ln_buf *b)
{
    struct timeval tv = {KEPT_S, 0};
    struct kept *w = calloc(1, sizeof *w);
    if (!w || ln_store_fence(k->hub->store, on_kept, w) != LN_OK) {
        free(w);
        ln_buf_fini(b);
        ln_asker_fail(k, 1, "done, but perhaps not kept: out of memory");
        return;
    }
    w->client = k;
    w->text = *b;
    *b = (struct ln_buf){0};
    ln_asker_hold(k);
    evtimer_assign(&w->timer, k->hub->base, on_kept_late, w);
    evtimer_add(&w->timer, &tv);
}

struct wait {
    struct ln_asker *client;
    ln_wait_fn *check;
    void *arg;
    struct event timer;
    int64_t until_us;
};

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
    struct wait *w = arg;
    struct timeval tv = {0, WAIT_MS * 1000};
    (void)fd;
    (void)what;
    if (!w->check(w->client, w->arg, ln_mono_us() > w->until_us)) {
        evtimer_add(&w->timer, &tv);
        return;
    }
    evtimer_del(&w->timer);
    ln_asker_let_go(w->client);
    free(w->arg);
    free(w);
}

void ln_asker_wait(struct ln_asker *k, double limit_s, ln_wait_fn *check, void *arg)
{
    struct wait *w = calloc(1, sizeof *w);
    if (!w) {
        ln_asker_fail(k, 1, "out of memory");
        free(arg);
        return;
    }
    *w = (struct wait){.client = k, .check = check, .arg = arg};
    w->until_us = ln_mono_us() + (int64_t)(limit_s * 1e6);
    evtimer_assign(&w->timer, k->hub->base, on_wait, w);
    ln_asker_hold(k);
    on_wait(-1, 0, w);
}

struct ln_channel *ln_asker_channel(struct ln_asker *k, const char *name)
{
    struct ln_channel *c = ln_channel_find(k->hub, name);
    if (!c || c->removed) {
        ln_asker_fail(k, 1, "no channel named %.64s (lunate status lists them)", name);
        return NULL;
    }
    return c;
}

/* "CHANNEL/DEST" */
struct ln_dest *ln_asker_dest(struct ln_asker *k, const char *word)
{
    const char *slash = strchr(word, '/');
    char name[LN_CONF_NAME];
    if (!slash || (size_t)(slash - word) >= sizeof name) {
        ln_asker_fail(k, 2, "%.100s: give CHANNEL/DESTINATION", word);
        return NULL;
    }
    snprintf(name, sizeof name, "%.*s", (int)(slash - word), word);
    struct ln_channel *c = ln_asker_channel(k, name);
    struct ln_dest *d = c ? ln_channel_dest(c, slash + 1) : NULL;
    if (c && !d)
        ln_asker_fail(k, 1, "channel %s has no destination named %.64s", c->name, slash + 1);
    return d;
}

/* What an operator did stands with the message it concerned. */
void ln_asker_note(struct ln_channel *c, uint64_t seq, uint16_t dest, const char *text)
{
    struct ln_event e = {
        .kind = LN_EV_OPERATOR, .time_us = ln_now_us(), .dest = dest, .text = ln_span_str(text)};
    (void)!ln_store_event(c->hub->store, c->id, seq, &e, NULL, NULL);
}
