/* The alerter: a process of its own that reads status, weighs the site's alert rules and sends. The
 * hub starts it when lunate.lua has alerts, hands it their settings, keeps what it says is firing
 * for status and metrics, passes `lunate alerts` on to it, and starts it again when it ends or has
 * not been heard of for SILENT_US. Whatever becomes of it, no message waits for it.
 *
 * What it says is read as hostile: bounded, and nothing but text for people. */
#include "hub/hub.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/control.h"

static const int64_t SILENT_US = 120 * 1000000LL; /* it says something every 10 s */
static const double BACKOFF_FIRST_S = 0.2, BACKOFF_MAX_S = 60;
static const int ASK_LIMIT_S = 180; /* a test waits for slow mail servers */
enum { RECORD_MAX = 1 << 20, FIRING_MAX = 500, ASKS_MAX = 16, TICK_S = 5, START_LIMIT_S = 10 };

struct firing {
    char *rule, *subject, *text, *state;
    int64_t since_us;
};

struct ask {
    struct ln_asker *asker; /* NULL: free */
    uint64_t id;
    int64_t until_us;
};

struct ln_alerter {
    struct ln_hub *hub;
    struct ln_blob *settings; /* pairs alerts.* */
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer; /* alive: looks after it; otherwise: start it again */
    pid_t pid; /* 0: not running */
    bool hello, reported;
    int64_t heard_us, spawned_us;
    double backoff_s;
    uint64_t restarts, sent, failed, next_ask;
    char trouble[500]; /* why alerts do not reach people; "" */
    struct firing *firing;
    unsigned nfiring;
    struct ask ask[ASKS_MAX];
};

static void start(struct ln_alerter *a);

static void arm(struct ln_alerter *a, double s)
{
    struct timeval tv = {(time_t)s, (suseconds_t)((s - (double)(time_t)s) * 1e6)};
    evtimer_add(&a->timer, &tv);
}

static void drop_firing(struct ln_alerter *a)
{
    for (unsigned i = 0; i < a->nfiring; i++) {
        struct firing *f = &a->firing[i];
        free(f->rule);
        free(f->subject);
        free(f->text);
        free(f->state);
    }
    free(a->firing);
    a->firing = NULL;
    a->nfiring = 0;
}

static void end_ask(struct ask *k, int status, struct ln_span text)
{
    struct ln_asker *asker = k->asker;
    k->asker = NULL;
    ln_asker_reply(asker, status, text);
    ln_asker_let_go(asker);
}

static void end_asks(struct ln_alerter *a, int64_t before_us, const char *why)
{
    for (unsigned i = 0; i < ASKS_MAX; i++)
        if (a->ask[i].asker && a->ask[i].until_us < before_us)
            end_ask(&a->ask[i], 1, ln_span_str(why));
}

/* It is gone, or is made to go; it is started again after a back-off. */
static void lost(struct ln_alerter *a, const char *why)
{
    kill(a->pid, SIGKILL);
    ln_stream_fini(&a->stream);
    ln_buf_fini(&a->in);
    a->in = (struct ln_buf){0};
    a->restarts++;
    if (ln_mono_us() - a->spawned_us > 60 * 1000000LL)
        a->backoff_s = 0;
    a->backoff_s = a->backoff_s > 0 ? a->backoff_s * 2 : BACKOFF_FIRST_S;
    if (a->backoff_s > BACKOFF_MAX_S)
        a->backoff_s = BACKOFF_MAX_S;
    ln_log(LN_ERROR, "alerter", "lost", "pid=%d why=\"%s\" again_in_s=%.1f", (int)a->pid, why,
           a->backoff_s);
    a->pid = 0;
    end_asks(a, INT64_MAX, "the alerter ended meanwhile; it is being started again");
    arm(a, a->backoff_s);
}

/* ---- what it says
 * ------------------------------------------------------------------------------------------------
 */

static char *text_of(struct ln_span s, size_t most)
{
    char *text = strndup(s.len ? s.ptr : "", s.len > most ? most : s.len);
    for (char *p = text; p && *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return text;
}

/* ALERTS: all that is firing now. */
static int take_alerts(struct ln_alerter *a, struct ln_wire_in *in)
{
    struct ln_span trouble = ln_wire_get_bytes(in);
    char *why = text_of(trouble, sizeof a->trouble - 1);
    a->sent = ln_wire_get_u64(in);
    a->failed = ln_wire_get_u64(in);
    uint32_t n = ln_wire_get_u32(in);
    snprintf(a->trouble, sizeof a->trouble, "%s", why ? why : "");
    free(why);
    if (in->bad || n > FIRING_MAX)
        return LN_EPARSE;
    drop_firing(a);
    if (n && !(a->firing = calloc(n, sizeof *a->firing)))
        return LN_ENOMEM;
    while (a->nfiring < n) {
        struct firing *f = &a->firing[a->nfiring++];
        f->rule = text_of(ln_wire_get_bytes(in), 100);
        f->subject = text_of(ln_wire_get_bytes(in), 200);
        f->text = text_of(ln_wire_get_bytes(in), 600);
        f->state = text_of(ln_wire_get_bytes(in), 20);
        f->since_us = (int64_t)ln_wire_get_u64(in);
        if (!f->rule || !f->subject || !f->text || !f->state)
            return LN_ENOMEM;
    }
    a->reported = true;
    return ln_wire_done(in) ? LN_OK : LN_EPARSE;
}

/* ALERTS_ANSWER: to a request that was passed on. */
static int take_answer(struct ln_alerter *a, struct ln_wire_in *in)
{
    uint64_t id = ln_wire_get_u64(in);
    unsigned status = ln_wire_get_u8(in);
    struct ln_span text = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || status > 3)
        return LN_EPARSE;
    for (unsigned i = 0; i < ASKS_MAX; i++)
        if (a->ask[i].asker && a->ask[i].id == id)
            end_ask(&a->ask[i], (int)status, text);
    return LN_OK;
}

static int take_log(struct ln_wire_in *in)
{
    (void)ln_wire_get_u64(in);
    unsigned level = ln_wire_get_u8(in);
    struct ln_span event = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || level > LN_ERROR)
        return LN_EPARSE;
    char *e = text_of(event, 40), *t = text_of(text, 600);
    if (e && t)
        ln_log((enum ln_level)level, "alerter", e, "%s", t);
    free(e);
    free(t);
    return LN_OK;
}

static int send_settings(struct ln_alerter *a)
{
    struct ln_buf *b = &a->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_SITE);
    ln_buf_add(b, a->settings->data, a->settings->len);
    int rc = ln_wire_end(b, rec);
    ln_stream_flush(&a->stream);
    return rc;
}

static int take_hello(struct ln_alerter *a, struct ln_wire_in *in)
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

static int on_record(struct ln_alerter *a, uint8_t type, struct ln_wire_in *in)
{
    if (!a->hello)
        return type == LN_P_HELLO ? take_hello(a, in) : LN_EPARSE;
    switch (type) {
    case LN_P_ALERTS: return take_alerts(a, in);
    case LN_P_ALERTS_ANSWER: return take_answer(a, in);
    case LN_P_LOG: return take_log(in);
    default: return LN_EPARSE;
    }
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_alerter *a = owner;
    size_t at = 0, used;
    int rc = ln_buf_add(&a->in, data, len);
    a->heard_us = ln_mono_us();
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
        lost(a, rc == LN_EVERSION ? "it is of another build" : "it said what no alerter says");
}

static void on_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    lost(owner, "it ended");
}

static const struct ln_stream_ops alerter_ops = {.data = on_data, .closed = on_closed};

/* ---- its life
 * ------------------------------------------------------------------------------------------------
 */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_alerter *a = arg;
    int64_t now = ln_mono_us();
    (void)fd;
    (void)what;
    if (a->pid == 0) {
        start(a);
        return;
    }
    end_asks(a, now, "the alerter gave no answer in time");
    if (now - a->heard_us > SILENT_US)
        lost(a, "it was silent for 2 minutes");
    else
        arm(a, TICK_S);
}

static void start(struct ln_alerter *a)
{
    int fd;
    int rc = ln_worker_spawn("alerter", NULL, &a->pid, &fd);
    a->spawned_us = a->heard_us = ln_mono_us();
    a->hello = a->reported = false;
    if (rc == LN_OK)
        rc = ln_stream_init(&a->stream, a->hub->base, fd, &alerter_ops, a);
    if (rc != LN_OK) {
        a->pid = 0;
        ln_log(LN_ERROR, "alerter", "not_started", "why=\"%s\"", ln_strerror(rc));
        arm(a, BACKOFF_MAX_S);
        return;
    }
    arm(a, TICK_S);
}

static bool is_ours(struct ln_span key)
{
    return key.len > 7 && memcmp(key.ptr, "alerts.", 7) == 0;
}

/* The pairs that begin with "alerts."; NULL when there are none. */
static struct ln_blob *our_settings(const struct ln_blob *site)
{
    struct ln_buf b = {0};
    struct ln_blob *out = NULL;
    struct ln_wire_in in = {site ? site->data : "", site ? site->data + site->len : "", false};
    while (!in.bad && in.ptr < in.end) {
        struct ln_span k = ln_wire_get_bytes(&in), v = ln_wire_get_bytes(&in);
        if (in.bad || !is_ours(k))
            continue;
        ln_wire_bytes(&b, k);
        ln_wire_bytes(&b, v);
    }
    if (b.len && !b.failed)
        out = ln_blob_new(ln_buf_span(&b));
    ln_buf_fini(&b);
    return out;
}

void ln_alerter_stop(struct ln_hub *h)
{
    struct ln_alerter *a = h->alerter;
    if (!a)
        return;
    h->alerter = NULL;
    evtimer_del(&a->timer);
    if (a->pid) {
        kill(a->pid, SIGKILL); /* what it knows is on disk */
        ln_stream_fini(&a->stream);
    }
    end_asks(a, INT64_MAX, "alerts were taken out of lunate.lua");
    ln_buf_fini(&a->in);
    ln_blob_unref(a->settings);
    drop_firing(a);
    free(a);
}

void ln_alerter_apply(struct ln_hub *h)
{
    struct ln_alerter *a = h->alerter;
    struct ln_blob *settings = our_settings(h->site_settings);
    if (!settings) {
        ln_alerter_stop(h);
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
    h->alerter = a;
    evtimer_assign(&a->timer, h->base, on_timer, a);
    start(a);
}

/* ---- asked about
 * ------------------------------------------------------------------------------------------------
 */

static bool answers(const struct ln_alerter *a)
{
    return a->pid && a->hello;
}

static void ask(struct ln_asker *k, struct ln_alerter *a, char **word, unsigned n)
{
    struct ask *free_one = NULL;
    for (unsigned i = 0; i < ASKS_MAX && !free_one; i++)
        free_one = a->ask[i].asker ? NULL : &a->ask[i];
    if (!answers(a) || !free_one) {
        ln_asker_fail(k, 1, "the alerter %s: try again in a few seconds",
                      free_one ? "is being started" : "is asked by too many");
        return;
    }
    struct ln_buf *b = &a->stream.out;
    size_t rec = ln_wire_begin(b, LN_P_ALERTS_ASK);
    ln_wire_u64(b, ++a->next_ask);
    ln_wire_u32(b, n - 1);
    for (unsigned i = 1; i < n; i++)
        ln_wire_bytes(b, ln_span_str(word[i]));
    if (ln_wire_end(b, rec) != LN_OK) {
        ln_asker_fail(k, 1, "out of memory");
        return;
    }
    *free_one = (struct ask){k, a->next_ask, ln_mono_us() + ASK_LIMIT_S * 1000000LL};
    ln_asker_hold(k);
    ln_stream_flush(&a->stream);
}

/* What was asked while the alerter was being started. */
struct early {
    unsigned n;
    char *word[LN_ASK_WORDS];
    char text[];
};

static bool ask_when_there(struct ln_asker *k, void *arg, bool over)
{
    struct early *e = arg;
    struct ln_alerter *a = k->hub->alerter;
    if (a && !answers(a) && !over)
        return false;
    if (a)
        ask(k, a, e->word, e->n);
    else
        ln_asker_fail(k, 1, "this site has no alerts any more");
    return true;
}

static struct early *early_new(char **word, unsigned n)
{
    size_t room = 0;
    for (unsigned i = 0; i < n; i++)
        room += strlen(word[i]) + 1;
    struct early *e = n <= LN_ASK_WORDS ? calloc(1, sizeof *e + room) : NULL;
    if (!e)
        return NULL;
    char *p = e->text;
    for (e->n = 0; e->n < n; e->n++) {
        size_t len = strlen(word[e->n]) + 1;
        e->word[e->n] = memcpy(p, word[e->n], len);
        p += len;
    }
    return e;
}

void ln_verb_alerts(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_alerter *a = k->hub->alerter;
    if (!a) {
        ln_asker_fail(k, 1,
                      "this site has no alerts: set alerts = { ... } in lunate.lua, then "
                      "lunate reload");
        return;
    }
    struct early *e = answers(a) ? NULL : early_new(word, n);
    if (e)
        ln_asker_wait(k, START_LIMIT_S, ask_when_there, e);
    else
        ask(k, a, word, n);
}

static void pair(struct ln_buf *b, const char *key, const char *value)
{
    ln_json_key(b, key);
    ln_json_cstr(b, value);
}

void ln_alerter_status(const struct ln_hub *h, struct ln_buf *b)
{
    const struct ln_alerter *a = h->alerter;
    char time[40];
    if (!a) {
        ln_json_null(b);
        return;
    }
    ln_json_open(b, '{');
    pair(b, "state", !a->pid ? "down" : a->reported ? "running" : "starting");
    pair(b, "trouble", a->trouble);
    ln_json_key(b, "pid");
    ln_json_int(b, a->pid);
    ln_json_key(b, "restarts");
    ln_json_int(b, (int64_t)a->restarts);
    ln_json_key(b, "firing");
    ln_json_open(b, '[');
    for (unsigned i = 0; i < a->nfiring; i++) {
        const struct firing *f = &a->firing[i];
        ln_iso_time(f->since_us, time, sizeof time);
        ln_json_open(b, '{');
        pair(b, "rule", f->rule);
        pair(b, "subject", f->subject);
        pair(b, "text", f->text);
        pair(b, "state", f->state);
        pair(b, "since", time);
        ln_json_close(b, '}');
    }
    ln_json_close(b, ']');
    ln_json_close(b, '}');
}

void ln_alerter_numbers(const struct ln_hub *h, struct ln_alerter_numbers *out)
{
    const struct ln_alerter *a = h->alerter;
    *out = (struct ln_alerter_numbers){.configured = a != NULL};
    if (!a)
        return;
    out->up = a->pid && a->reported;
    out->sent = a->sent;
    out->failed = a->failed;
    for (unsigned i = 0; i < a->nfiring; i++)
        out->firing += strcmp(a->firing[i].state, "firing") == 0;
    out->restarts = a->restarts;
}
