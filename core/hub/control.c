/* The control socket: the command line asks, the hub answers with JSON or a one-line error. */
#include "hub/hub.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

enum { WORDS_MAX = 16, REQUEST_MAX = 64 * 1024, CLIENTS_MAX = 256 };

struct client {
    struct ln_stream stream;
    struct ln_buf in;
    struct ln_hub *hub;
    unsigned waiting; /* answers to come; the client is freed after the last */
    bool gone;
};

static unsigned clients;

static void client_free(struct client *k)
{
    ln_stream_fini(&k->stream);
    k->gone = true;
    if (k->waiting)
        return;
    ln_buf_fini(&k->in);
    free(k);
    clients--;
}

static void reply(struct client *k, int status, struct ln_span text)
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

static void fail(struct client *k, int status, const char *fmt, ...) LN_PRINTF(3, 4);
static void fail(struct client *k, int status, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply(k, status, ln_span_str(text));
}

static void done(struct client *k, const char *key, const char *value)
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
    reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static struct ln_channel *channel_of(struct client *k, const char *name)
{
    struct ln_channel *c = ln_channel_find(k->hub, name);
    if (!c || c->removed) {
        fail(k, 1, "no channel named %.64s (lunate status lists them)", name);
        return NULL;
    }
    return c;
}

/* "CHANNEL/DEST" */
static struct ln_dest *dest_of(struct client *k, const char *word)
{
    const char *slash = strchr(word, '/');
    char name[LN_CONF_NAME];
    if (!slash || (size_t)(slash - word) >= sizeof name) {
        fail(k, 2, "%.100s: give CHANNEL/DESTINATION", word);
        return NULL;
    }
    snprintf(name, sizeof name, "%.*s", (int)(slash - word), word);
    struct ln_channel *c = channel_of(k, name);
    struct ln_dest *d = c ? ln_channel_dest(c, slash + 1) : NULL;
    if (c && !d)
        fail(k, 1, "channel %s has no destination named %.64s", c->name, slash + 1);
    return d;
}

/* What an operator did stands with the message it concerned. */
static void note(struct ln_channel *c, uint64_t seq, uint16_t dest, const char *text)
{
    struct ln_event e = {
        .kind = LN_EV_OPERATOR, .time_us = ln_now_us(), .dest = dest, .text = ln_span_str(text)};
    (void)!ln_store_event(c->hub->store, c->id, seq, &e, NULL, NULL);
}

/* ---- verbs
 * ------------------------------------------------------------------------------------------------
 */

static void verb_status(struct client *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_status_json(k->hub, &b);
    reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_metrics(struct client *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_status_metrics(k->hub, &b);
    reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_mode(struct client *k, char **word, unsigned n)
{
    static const struct {
        const char *verb, *now;
        uint8_t mode;
    } modes[] = {{"start", "running", LN_MODE_RUN},
                 {"resume", "running", LN_MODE_RUN},
                 {"pause", "paused", LN_MODE_PAUSED},
                 {"stop", "stopped", LN_MODE_STOPPED}};
    struct ln_err err = {0};
    struct ln_channel *c = channel_of(k, word[1]);
    (void)n;
    if (!c)
        return;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(word[0], modes[i].verb) != 0)
            continue;
        if (ln_channel_set_mode(c, modes[i].mode, &err) != LN_OK) {
            fail(k, 1, "%s", err.text);
            return;
        }
        ln_log(LN_WARN, "control", "mode", "channel=%s now=%s", c->name, modes[i].now);
        done(k, "state", modes[i].now);
    }
}

static void verb_dest(struct client *k, char **word, unsigned n)
{
    struct ln_dest *d = dest_of(k, word[1]);
    (void)n;
    if (!d)
        return;
    if (strcmp(word[0], "step") == 0) {
        if (!d->held) {
            fail(k, 1, "%.130s is not held: lunate hold %.130s first", word[1], word[1]);
            return;
        }
        ln_dest_step(d);
    } else {
        ln_dest_hold(d, strcmp(word[0], "hold") == 0);
    }
    ln_log(LN_WARN, "control", word[0], "channel=%s dest=%s", d->channel->name, d->conf.name);
    done(k, "state", ln_dest_state(d));
}

static void verb_skip(struct client *k, char **word, unsigned n)
{
    struct ln_dest *d = dest_of(k, word[1]);
    char number[32];
    (void)n;
    if (!d)
        return;
    if (!word[2][0]) {
        fail(k, 2, "skip needs a reason: --reason TEXT");
        return;
    }
    snprintf(number, sizeof number, "%llu",
             (unsigned long long)(d->count ? d->ring[d->head & (d->cap - 1)].pos.seq : 0));
    int rc = ln_dest_skip(d, word[2]);
    if (rc != LN_OK)
        fail(k, 1, rc == LN_ENOTFOUND ? "%.130s has nothing queued" : "%.130s: out of memory",
             word[1]);
    else
        done(k, "skipped", number);
}

struct resend {
    struct client *client;
    struct ln_channel *channel;
    struct ln_blob *raw;
    uint8_t kind;
    int64_t time_us;
};

static void on_resent(void *arg, int code, uint64_t seq)
{
    struct resend *r = arg;
    struct client *k = r->client;
    char text[32];
    k->waiting--;
    if (code == LN_OK) {
        ln_work_add(r->channel, seq, r->time_us, r->kind, r->raw, NULL, 0);
        ln_work_pump(r->channel);
        snprintf(text, sizeof text, "%llu", (unsigned long long)seq);
        done(k, "seq", text);
    } else {
        fail(k, 1, "not stored: %s", ln_strerror(code));
    }
    ln_blob_unref(r->raw);
    free(r);
    if (k->gone)
        client_free(k);
}

/* Checks what is to be sent again, and copies its receipt. Within a read transaction. */
static int resend_check(struct client *k, struct ln_channel *c, uint64_t seq, bool reprocess,
                        const struct ln_dest *only, struct ln_receipt *r, struct ln_processed *p)
{
    int rc = ln_read_receipt(k->hub->reader, c->id, seq, r);
    if (rc != LN_OK) {
        fail(k, 1, "no message %s/%llu", c->name, (unsigned long long)seq);
        return rc;
    }
    if (r->kind == LN_R_UNREADABLE) {
        fail(k, 1, "%s/%llu is not an HL7 message: there is nothing to send", c->name,
             (unsigned long long)seq);
        return LN_EINVAL;
    }
    *p = (struct ln_processed){0};
    rc = ln_read_result(k->hub->reader, c->id, seq, p);
    if (reprocess)
        return LN_OK;
    unsigned deliverable = 0;
    for (uint32_t i = 0; rc == LN_OK && i < p->nitems; i++)
        deliverable += p->items[i].kind != LN_I_FILTERED && p->items[i].kind != LN_I_PARKED &&
                       (!only || p->items[i].dest == only->id);
    if (rc == LN_OK && deliverable)
        return LN_OK;
    fail(k, 1, "%s/%llu has no output to send again%s%s%s; use --reprocess to run the script on it",
         c->name, (unsigned long long)seq, only ? " to " : "", only ? only->conf.name : "",
         rc == LN_OK ? "" : " (it is not processed yet)");
    return LN_EINVAL;
}

/* What goes out again is no longer waiting for somebody. */
static void unpark(struct ln_channel *c, uint64_t seq, const struct ln_dest *only,
                   const struct ln_processed *p)
{
    struct ln_store *s = c->hub->store;
    if (!only)
        (void)!ln_store_unpark(s, c->id, seq, LN_WHOLE, NULL, NULL);
    for (uint32_t i = 0; i < p->nitems; i++)
        if (!only || p->items[i].dest == only->id)
            (void)!ln_store_unpark(s, c->id, seq, i, NULL, NULL);
}

/* resend CHANNEL SEQ DEST|"" 0|1 */
static void verb_resend(struct client *k, char **word, unsigned n)
{
    struct ln_channel *c = channel_of(k, word[1]);
    uint64_t seq = strtoull(word[2], NULL, 10), again;
    bool reprocess = strcmp(word[4], "1") == 0;
    struct ln_receipt r;
    struct ln_processed p;
    struct ln_dest *only = c && word[3][0] ? ln_channel_dest(c, word[3]) : NULL;
    char text[128];
    (void)n;
    if (!c || c->failed) {
        if (c)
            fail(k, 1, "channel %s does not load", c->name);
        return;
    }
    if (word[3][0] && !only) {
        fail(k, 1, "channel %s has no destination named %.64s", c->name, word[3]);
        return;
    }
    if (ln_reader_begin(k->hub->reader) != LN_OK) {
        fail(k, 1, "the store cannot be read");
        return;
    }
    struct resend *arg = calloc(1, sizeof *arg);
    if (arg && resend_check(k, c, seq, reprocess, only, &r, &p) == LN_OK) {
        r.kind = reprocess ? LN_R_REPROCESS : LN_R_RESENT;
        r.origin_chan = c->id;
        r.origin_seq = seq;
        r.time_us = ln_now_us();
        r.only_dest = ln_span_str(word[3]);
        *arg = (struct resend){k, c, ln_blob_new(r.raw), r.kind, r.time_us};
        ln_store_begin(k->hub->store);
        int rc = arg->raw ? ln_store_append(k->hub->store, c->id, &r, true, on_resent, arg, &again)
                          : LN_ENOMEM;
        if (rc == LN_OK) {
            k->waiting++;
            snprintf(text, sizeof text, "%s as %s/%llu", reprocess ? "reprocessed" : "resent",
                     c->name, (unsigned long long)again);
            note(c, seq, 0, text);
            unpark(c, seq, only, &p);
            arg = NULL;
        } else {
            ln_blob_unref(arg->raw);
            fail(k, 1, "not stored: %s", ln_strerror(rc));
        }
        ln_store_end(k->hub->store);
    }
    ln_reader_end(k->hub->reader);
    free(arg);
}

struct reload {
    struct client *client;
    char only[LN_CONF_NAME];
};

static void on_loaded(void *arg, struct ln_conf *conf, const char *error)
{
    struct reload *r = arg;
    struct client *k = r->client;
    struct ln_hub *h = k->hub;
    struct ln_buf report = {0}, b = {0};
    k->waiting--;
    if (h->draining) {
        fail(k, 1, "not reloaded: the engine is stopping");
    } else if (error) {
        ln_log(LN_ERROR, "control", "reload_refused", "why=\"%s\"", error);
        fail(k, 1, "not reloaded, the old scripts go on: %s", error);
    } else {
        ln_channel_apply(h, conf, r->only[0] ? r->only : NULL, &report);
        ln_buf_addc(&report, '\0');
        bool bad = report.data && (strstr(report.data, ": not reloaded") ||
                                   strstr(report.data, ": does not load"));
        bool known = report.len > 1;
        if (!known && r->only[0]) {
            fail(k, 1, "no channel named %.64s in the site", r->only);
        } else if (bad) {
            reply(k, 1, ln_span(report.data, report.len - 2));
        } else {
            ln_json_open(&b, '{');
            ln_json_key(&b, "ok");
            ln_json_bool(&b, true);
            ln_json_key(&b, "report");
            ln_json_str(&b, ln_span(report.data, report.len > 1 ? report.len - 2 : 0));
            ln_json_close(&b, '}');
            reply(k, 0, ln_buf_span(&b));
        }
    }
    ln_buf_fini(&report);
    ln_buf_fini(&b);
    ln_conf_free(conf);
    free(r);
    if (k->gone)
        client_free(k);
    ln_hub_loaded(h);
}

static void verb_reload(struct client *k, char **word, unsigned n)
{
    struct ln_err err = {0};
    if (k->hub->draining) {
        fail(k, 1, "not reloaded: the engine is stopping");
        return;
    }
    if (k->hub->loading) {
        fail(k, 1, "a reload is under way: try again in a moment");
        return;
    }
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->client = k;
    snprintf(r->only, sizeof r->only, "%s", n > 1 ? word[1] : "");
    if (ln_load_start(k->hub, on_loaded, r, &err) != LN_OK) {
        free(r);
        fail(k, 1, "%s", err.text);
        return;
    }
    k->hub->loading = true;
    k->waiting++;
}

static void verb_version(struct client *k, char **word, unsigned n)
{
    (void)word;
    (void)n;
    done(k, "version", LN_VERSION);
}

static const struct {
    const char *name;
    unsigned least, most; /* words, with the verb */
    void (*fn)(struct client *k, char **word, unsigned n);
} verbs[] = {
    {"status", 1, 1, verb_status}, {"metrics", 1, 1, verb_metrics}, {"version", 1, 1, verb_version},
    {"start", 2, 2, verb_mode},    {"stop", 2, 2, verb_mode},       {"pause", 2, 2, verb_mode},
    {"resume", 2, 2, verb_mode},   {"hold", 2, 2, verb_dest},       {"release", 2, 2, verb_dest},
    {"step", 2, 2, verb_dest},     {"skip", 3, 3, verb_skip},       {"resend", 5, 5, verb_resend},
    {"reload", 1, 2, verb_reload},
};

/* ---- requests
 * ------------------------------------------------------------------------------------------------
 */

static void request(struct client *k, struct ln_wire_in *in)
{
    char *word[WORDS_MAX] = {0};
    unsigned n = ln_wire_get_u32(in), i;
    bool ok = n >= 1 && n <= WORDS_MAX;
    for (i = 0; ok && i < n; i++) {
        struct ln_span s = ln_wire_get_bytes(in);
        word[i] = strndup(s.ptr ? s.ptr : "", s.len);
        ok = word[i] && !in->bad;
    }
    if (!ok || !ln_wire_done(in)) {
        fail(k, 2, "not a request");
    } else {
        size_t v = 0, count = sizeof verbs / sizeof verbs[0];
        while (v < count && strcmp(verbs[v].name, word[0]) != 0)
            v++;
        if (v == count)
            fail(k, 2, "the engine knows no verb %.40s: is it of another version?", word[0]);
        else if (n < verbs[v].least || n > verbs[v].most)
            fail(k, 2, "%s: wrong number of words", word[0]);
        else
            verbs[v].fn(k, word, n);
    }
    for (i = 0; i < WORDS_MAX; i++)
        free(word[i]);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct client *k = owner;
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
    struct client *k = owner;
    (void)code;
    (void)why;
    client_free(k);
}

static const struct ln_stream_ops client_ops = {on_data, on_closed, NULL};

static void on_accept(void *owner, int fd, const char *peer)
{
    struct ln_hub *h = owner;
    struct client *k = clients < CLIENTS_MAX ? calloc(1, sizeof *k) : NULL;
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
