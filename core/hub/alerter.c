/* The alerter: a process of its own that reads status, weighs the site's alert rules and sends. The
 * hub starts it when lunate.lua has alerts, hands it their settings, keeps what it says is firing
 * for status and metrics, passes `lunate alerts` on to it, and starts it again when it ends or has
 * not been heard of for SILENT_US. Whatever becomes of it, no message waits for it.
 *
 * What it says is read as hostile: bounded, and nothing but text for people. */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/child.h"
#include "hub/control.h"

static const int ASK_LIMIT_S = 180; /* a test waits for slow mail servers */
enum { FIRING_MAX = 500, ASKS_MAX = 16, START_LIMIT_S = 10 };

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
    struct ln_child child; /* its settings: pairs alerts.* */
    bool reported;
    uint64_t sent, failed, next_ask;
    char trouble[500]; /* why alerts do not reach people; "" */
    struct firing *firing;
    unsigned nfiring;
    struct ask ask[ASKS_MAX];
};

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

/* ---- what it says ---------------------------------------------------------------------------- */

/* ALERTS: all that is firing now. */
static int take_alerts(struct ln_alerter *a, struct ln_wire_in *in)
{
    struct ln_span trouble = ln_wire_get_bytes(in);
    char *why = ln_child_text(trouble, sizeof a->trouble - 1);
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
        f->rule = ln_child_text(ln_wire_get_bytes(in), 100);
        f->subject = ln_child_text(ln_wire_get_bytes(in), 200);
        f->text = ln_child_text(ln_wire_get_bytes(in), 600);
        f->state = ln_child_text(ln_wire_get_bytes(in), 20);
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

static int on_record(void *owner, uint8_t type, struct ln_wire_in *in)
{
    struct ln_alerter *a = owner;
    switch (type) {
    case LN_P_ALERTS: return take_alerts(a, in);
    case LN_P_ALERTS_ANSWER: return take_answer(a, in);
    case LN_P_LOG: return ln_child_log(&a->child, in);
    default: return LN_EPARSE;
    }
}

static void on_lost(void *owner, const char *why)
{
    struct ln_alerter *a = owner;
    (void)why;
    a->reported = false;
    end_asks(a, INT64_MAX, "the alerter ended meanwhile; it is being started again");
}

static void on_tick(void *owner)
{
    end_asks(owner, ln_mono_us(), "the alerter gave no answer in time");
}

static const struct ln_child_ops ops = {
    .role = "alerter",
    .silent_us = 120 * 1000000LL, /* it says something every 10 s */
    .record = on_record,
    .lost = on_lost,
    .tick = on_tick,
};

/* ---- its life -------------------------------------------------------------------------------- */

void ln_alerter_stop(struct ln_hub *h)
{
    struct ln_alerter *a = h->alerter;
    if (!a)
        return;
    h->alerter = NULL;
    ln_child_stop(&a->child);
    end_asks(a, INT64_MAX, "alerts were taken out of lunate.lua");
    drop_firing(a);
    free(a);
}

void ln_alerter_apply(struct ln_hub *h)
{
    struct ln_blob *settings = ln_child_settings(h->site_settings, "alerts.");
    if (settings)
        h->alerter = ln_child_apply(h->alerter, sizeof *h->alerter, h, &ops, settings);
    else
        ln_alerter_stop(h);
}

/* ---- asked about ----------------------------------------------------------------------------- */

static void ask(struct ln_asker *k, struct ln_alerter *a, char **word, unsigned n)
{
    struct ask *free_one = NULL;
    for (unsigned i = 0; i < ASKS_MAX && !free_one; i++)
        free_one = a->ask[i].asker ? NULL : &a->ask[i];
    if (!ln_child_answers(&a->child) || !free_one) {
        ln_asker_fail(k, 1, "the alerter %s: try again in a few seconds",
                      free_one ? "is being started" : "is asked by too many");
        return;
    }
    struct ln_buf *b = &a->child.stream.out;
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
    ln_stream_flush(&a->child.stream);
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
    if (a && !ln_child_answers(&a->child) && !over)
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
    struct early *e = ln_child_answers(&a->child) ? NULL : early_new(word, n);
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
    pair(b, "state", !a->child.pid ? "down" : a->reported ? "running" : "starting");
    pair(b, "trouble", a->trouble);
    ln_json_key(b, "pid");
    ln_json_int(b, a->child.pid);
    ln_json_key(b, "restarts");
    ln_json_int(b, (int64_t)a->child.restarts);
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
    out->up = a->child.pid && a->reported;
    out->sent = a->sent;
    out->failed = a->failed;
    for (unsigned i = 0; i < a->nfiring; i++)
        out->firing += strcmp(a->firing[i].state, "firing") == 0;
    out->restarts = a->child.restarts;
}
