/* Reload on demand: the answer comes when the new scripts run, or says why they do not. */
#include <stdio.h>

#include "base/json.h"
#include "hub/control.h"
#include "hub/version.h"

static const double SETTLE_LIMIT_S = 15; /* a message in hand may take its time */

struct reload {
    struct ln_asker *asker;
    char only[LN_CONF_NAME];
    bool plan;
    char *report;
};

/* An error is one line: what was refused comes first, what is unchanged is left out. */
static void answer_bad(struct ln_asker *k, struct ln_span report)
{
    struct ln_buf b = {0};
    for (int refused = 1; refused >= 0; refused--) {
        for (size_t at = 0, n; at < report.len; at += n + 1) {
            const char *line = report.ptr + at, *end = memchr(line, '\n', report.len - at);
            n = end ? (size_t)(end - line) : report.len - at;
            bool good = memmem(line, n, ": reloaded", 10) || memmem(line, n, ": unchanged", 11);
            if (good == refused || memmem(line, n, ": unchanged", 11))
                continue;
            ln_buf_addf(&b, "%s%.*s", b.len ? "; " : "", (int)n, line);
        }
    }
    ln_asker_reply(k, 1, b.len ? ln_buf_span(&b) : report);
    ln_buf_fini(&b);
}

static void answer(struct ln_asker *k, const struct ln_buf *report, bool bad)
{
    struct ln_buf b = {0};
    struct ln_span text = ln_span(report->data, report->len ? report->len - 1 : 0);
    unsigned refused = 0;
    if (bad) {
        answer_bad(k, text);
        return;
    }
    for (size_t i = 0; i + 10 < text.len; i++)
        refused += memcmp(text.ptr + i, ": refused,", 10) == 0;
    ln_json_open(&b, '{');
    ln_json_key(&b, "ok");
    ln_json_bool(&b, true);
    ln_json_key(&b, "report");
    ln_json_str(&b, text);
    ln_json_key(&b, "refused");
    ln_json_int(&b, refused);
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

/* True when c runs what it is to run, or has gone back. */
static bool settled(const struct ln_channel *c)
{
    if (c->failed || c->removed || c->mode == LN_MODE_STOPPED)
        return true;
    return !c->next && !c->prev;
}

static const char outcome_wanted[] = ": reloaded"; /* as channel.c says it, before the switch */

static void add_waiting(const struct ln_channel *c, struct ln_buf *out)
{
    char text[200];
    bool waits = ln_channel_waits(c, text, sizeof text);
    ln_buf_addf(out, "%s: not yet reloaded, %s (lunate status)\n", c->name,
                waits ? text : "it is about to be");
}

/* Copies a line of the report, with what has become of the channel. */
static bool add_line(struct ln_hub *h, const char *line, size_t len, struct ln_buf *out)
{
    char name[LN_CONF_NAME] = "";
    const char *colon = memchr(line, ':', len);
    if (colon && (size_t)(colon - line) < sizeof name)
        memcpy(name, line, (size_t)(colon - line));
    struct ln_channel *c = colon ? ln_channel_find(h, name) : NULL;
    bool wanted = c && ln_span_is(ln_span(colon, len - (size_t)(colon - line)), outcome_wanted);
    if (wanted && c->reverted)
        ln_buf_addf(out, "%s: not reloaded, the old one goes on: %s\n", name, c->error);
    else if (wanted && !settled(c))
        add_waiting(c, out);
    else
        ln_buf_addf(out, "%.*s\n", (int)len, line);
    return !(wanted && c->reverted);
}

static bool reload_settled(struct ln_asker *k, void *arg, bool late)
{
    struct reload *r = arg;
    struct ln_channel *c;
    struct ln_buf out = {0};
    bool good = true;
    LIST_FOREACH (c, &k->hub->channels, link)
        if (!late && (!settled(c) || c->pinning) && (!r->only[0] || strcmp(c->name, r->only) == 0))
            return false;
    for (const char *p = r->report; *p;) {
        size_t n = strcspn(p, "\n");
        good = add_line(k->hub, p, n, &out) && good;
        p += n + (p[n] == '\n');
    }
    bool bad = !good || strstr(r->report, ": not reloaded") ||
               strstr(r->report, ": does not load") || strstr(r->report, ": does not listen");
    answer(k, &out, bad);
    ln_buf_fini(&out);
    free(r->report);
    return true;
}

static void on_reloaded(void *arg, const char *error, const char *report)
{
    struct reload *r = arg;
    struct ln_asker *k = r->asker;
    struct ln_buf text = {0};
    if (error && r->plan) {
        ln_asker_fail(k, 1, "would be refused, the old scripts go on: %s", error);
    } else if (error) {
        ln_asker_fail(k, 1, "not reloaded, the old scripts go on: %s", error);
    } else if (!report[0] && r->only[0]) {
        ln_asker_fail(k, 1, "no channel named %.64s in the site", r->only);
    } else if (r->plan) {
        ln_buf_addf(&text, "%s", report);
        answer(k, &text, false);
    } else if ((r->report = strdup(report))) {
        ln_asker_wait(k, SETTLE_LIMIT_S, reload_settled, r); /* frees r */
        r = NULL;
    }
    ln_buf_fini(&text);
    free(r);
    ln_asker_let_go(k);
}

/* reload [CHANNEL|""] ["plan"] */
void ln_verb_reload(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_err err = {0};
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->asker = k;
    r->plan = n > 2;
    snprintf(r->only, sizeof r->only, "%s", n > 1 ? word[1] : "");
    if (ln_reload_start(k->hub, n > 1 && word[1][0] ? word[1] : NULL, r->plan, on_reloaded, r,
                        &err) != LN_OK) {
        free(r);
        ln_asker_fail(k, 1, "%s", err.text);
        return;
    }
    ln_asker_hold(k);
}

/* ---- rollback -------------------------------------------------------------------------------- */

struct rollback {
    struct ln_asker *asker;
    struct ln_pin *pin;
    char name[LN_CONF_NAME];
};

static void tell_rollback(struct ln_asker *k, const struct ln_channel *c, const struct ln_pin *p)
{
    struct ln_buf b = {0};
    bool pinned = c->conf->pin == p;
    ln_json_open(&b, '{');
    ln_json_key(&b, "ok");
    ln_json_bool(&b, true);
    ln_json_key(&b, "script");
    ln_json_cstr(&b, c->conf->version);
    ln_json_key(&b, "disk"); /* what is on disk, where that is another one */
    ln_json_cstr(&b, pinned ? c->conf->disk : "");
    ln_json_close(&b, '}');
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static bool rollback_settled(struct ln_asker *k, void *arg, bool late)
{
    struct rollback *r = arg;
    struct ln_channel *c = ln_channel_find(k->hub, r->name);
    char text[200];
    if (!late && c && (!settled(c) || c->pinning)) /* what is answered is on disk */
        return false;
    if (!c || c->failed || c->removed)
        ln_asker_fail(k, 1, "%s: not rolled back: %s", r->name, c ? c->error : "it is gone");
    else if (c->reverted)
        ln_asker_fail(k, 1, "%s: not rolled back, the present one goes on: %s", r->name, c->error);
    else if (!settled(c))
        ln_asker_fail(k, 1, "%s: not yet rolled back, %s (lunate status)", r->name,
                      ln_channel_waits(c, text, sizeof text) ? text : "it is about to be");
    else if (c->pinning)
        ln_asker_fail(k, 1,
                      "%s: runs %.6s, but the store cannot write (lunate status): until it can, an "
                      "engine that is started anew runs the files on disk",
                      r->name, c->conf->version);
    else
        tell_rollback(k, c, r->pin);
    ln_pin_unref(r->pin);
    return true;
}

static void on_rolled_back(void *arg, const char *error, const char *report)
{
    struct rollback *r = arg;
    struct ln_asker *k = r->asker;
    struct ln_channel *c = ln_channel_find(k->hub, r->name);
    bool bad = strstr(report, ": not reloaded") || strstr(report, ": does not load");
    if (!error && !bad) {
        ln_asker_wait(k, SETTLE_LIMIT_S, rollback_settled, r); /* frees r */
    } else {
        ln_asker_fail(k, 1, "%s: not rolled back: %s", r->name,
                      error ? error
                      : c   ? c->error
                            : "it is gone");
        ln_pin_unref(r->pin);
        free(r);
    }
    ln_asker_let_go(k);
}

static void on_pin(void *arg, struct ln_pin *p, const char *error)
{
    struct rollback *r = arg;
    struct ln_asker *k = r->asker;
    struct ln_err err = {0};
    if (p && ln_reload_pin(k->hub, p, on_rolled_back, r, &err) == LN_OK) {
        r->pin = ln_pin_ref(p);
        ln_log(LN_WARN, "control", "rollback", "channel=%s to=%.6s", r->name, p->version);
        return;
    }
    ln_asker_fail(k, 1, "%s", p ? err.text : error);
    free(r);
    ln_asker_let_go(k);
}

/* rollback CHANNEL VERSION|"" REASON|"" */
void ln_verb_rollback(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    struct ln_err err = {0};
    struct rollback *r = c ? calloc(1, sizeof *r) : NULL;
    (void)n;
    if (!r)
        return;
    r->asker = k;
    snprintf(r->name, sizeof r->name, "%s", c->name);
    ln_asker_hold(k);
    if (ln_version_pin_of(c, word[2], word[3], on_pin, r, &err) == LN_OK)
        return;
    ln_asker_fail(k, 1, "%s", err.text);
    free(r);
    ln_asker_let_go(k);
}
