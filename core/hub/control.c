/* The control socket: the command line asks, the hub answers with JSON or a one-line error. */
#include "hub/control.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

enum { WORDS_MAX = 16, REQUEST_MAX = 64 << 20, CLIENTS_MAX = 256, WAIT_MS = 10 };

static unsigned clients;

static void client_free(struct ln_asker *k)
{
    ln_stream_fini(&k->stream);
    k->gone = true;
    if (k->waiting)
        return;
    ln_buf_fini(&k->in);
    free(k);
    clients--;
}

void ln_asker_reply(struct ln_asker *k, int status, struct ln_span text)
{
    struct ln_buf b = {0};
    if (k->gone)
        return;
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

void ln_asker_done(struct ln_asker *k, const char *key, const char *value)
{
    struct ln_buf b = {0};
    ln_json_open(&b, '{');
    ln_json_key(&b, "ok");
    ln_json_bool(&b, true);
    if (key) {
        ln_json_key(&b, key);
        ln_json_cstr(&b, value);
    }
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

void ln_asker_hold(struct ln_asker *k)
{
    k->waiting++;
}

void ln_asker_let_go(struct ln_asker *k)
{
    k->waiting--;
    if (k->gone)
        client_free(k);
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

static void verb_status(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_status_json(k->hub, &b);
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_metrics(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_metrics(k->hub, LN_METRICS_OPEN, &b);
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_version(struct ln_asker *k, char **word, unsigned n)
{
    (void)word;
    (void)n;
    ln_asker_done(k, "version", LN_VERSION);
}

static const struct {
    const char *name;
    unsigned least, most; /* words, with the verb */
    ln_verb_fn *fn;
} verbs[] = {
    {"status", 1, 1, verb_status},    {"metrics", 1, 1, verb_metrics},
    {"version", 1, 1, verb_version},  {"start", 2, 2, ln_verb_mode},
    {"stop", 2, 3, ln_verb_halt},     {"pause", 2, 2, ln_verb_mode},
    {"resume", 2, 2, ln_verb_mode},   {"drain", 2, 3, ln_verb_halt},
    {"settle", 4, 4, ln_verb_settle}, {"edit", 4, 4, ln_verb_edit},
    {"hold", 2, 2, ln_verb_dest},     {"release", 2, 2, ln_verb_dest},
    {"step", 2, 2, ln_verb_step},     {"skip", 3, 3, ln_verb_skip},
    {"resend", 5, 5, ln_verb_resend}, {"reposition", 7, 7, ln_verb_reposition},
    {"reload", 1, 3, ln_verb_reload}, {"rollback", 4, 4, ln_verb_rollback},
    {"alerts", 2, 7, ln_verb_alerts},
};

/* ---- requests
 * ------------------------------------------------------------------------------------------------
 */

static void request(struct ln_asker *k, struct ln_wire_in *in)
{
    char *word[WORDS_MAX] = {0};
    unsigned n = ln_wire_get_u32(in), i;
    bool ok = n >= 1 && n <= WORDS_MAX;
    for (i = 0; ok && i < n; i++) {
        struct ln_span s = ln_wire_get_bytes(in);
        word[i] = strndup(s.ptr ? s.ptr : "", s.len);
        ok = word[i] && !in->bad && strlen(word[i]) == s.len;
    }
    if (!ok || !ln_wire_done(in)) {
        ln_asker_fail(k, 2, "not a request");
    } else {
        size_t v = 0, count = sizeof verbs / sizeof verbs[0];
        while (v < count && strcmp(verbs[v].name, word[0]) != 0)
            v++;
        if (v == count)
            ln_asker_fail(k, 2, "the engine knows no verb %.40s: is it of another version?",
                          word[0]);
        else if (n < verbs[v].least || n > verbs[v].most)
            ln_asker_fail(k, 2, "%s: wrong number of words", word[0]);
        else
            verbs[v].fn(k, word, n);
    }
    for (i = 0; i < WORDS_MAX; i++)
        free(word[i]);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_asker *k = owner;
    size_t used;
    if (ln_buf_add(&k->in, data, len) != LN_OK) {
        client_free(k);
        return;
    }
    for (;;) {
        struct ln_wire_in in;
        uint8_t type;
        int rc = ln_wire_next(k->in.data, k->in.len, REQUEST_MAX, &type, &in, &used);
        if (rc == LN_EAGAIN)
            return;
        if (rc != LN_OK || type != LN_P_REQUEST) {
            client_free(k);
            return;
        }
        request(k, &in);
        ln_buf_drop(&k->in, used);
    }
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_asker *k = owner;
    (void)code;
    (void)why;
    client_free(k);
}

static const struct ln_stream_ops client_ops = {.data = on_data, .closed = on_closed};

static void on_accept(void *owner, int fd, const char *peer)
{
    struct ln_hub *h = owner;
    struct ln_asker *k = clients < CLIENTS_MAX ? calloc(1, sizeof *k) : NULL;
    (void)peer;
    if (!k) {
        evutil_closesocket(fd);
        return;
    }
    k->hub = h;
    clients++;
    if (ln_stream_init(&k->stream, h->base, fd, &client_ops, k) != LN_OK)
        client_free(k);
}

int ln_control_open(struct ln_hub *h, struct ln_err *err)
{
    return ln_listen_unix(h->base, h->data, "control.sock", on_accept, h, &h->control, err);
}

void ln_control_close(struct ln_hub *h)
{
    ln_listener_free(h->control);
    h->control = NULL;
}
