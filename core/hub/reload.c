/* A reload, whoever asks for it (a verb, SIGHUP, the watcher): specs when the site wants them, then
 * the loader, then the plan is told or applied. One at a time: h->loading. */
#include "hub/version.h"

#include <stdio.h>

#include "base/clock.h"

enum { AGAIN_MAX = 10, AGAIN_MS = 100 };

struct reload {
    struct ln_hub *hub;
    char only[LN_CONF_NAME];
    bool plan;
    struct ln_pin *pin; /* a rollback; NULL: what is on disk */
    int64_t since_us; /* the loader reads: since when, */
    unsigned again; /* and how often before */
    struct ln_conf *conf; /* about to be applied */
    ln_reload_done *done;
    void *arg;
};

static void finish(struct reload *r, const char *error, struct ln_buf *report)
{
    struct ln_hub *h = r->hub;
    ln_buf_addc(report, '\0');
    if (error && !r->plan) {
        snprintf(h->reload_error, sizeof h->reload_error, "%s", error);
        ln_log(LN_ERROR, "reload", "refused", "why=\"%s\"", error);
    } else if (!r->plan && !r->only[0]) {
        h->reload_error[0] = '\0';
    }
    r->done(r->arg, error, report->failed ? "" : report->data);
    ln_buf_fini(report);
    ln_pin_unref(r->pin);
    free(r);
    ln_hub_loaded(h);
}

/* What `check` counts as a mistake although it loads: somebody who reloads by hand does not read
 * the log. */
static void add_mistakes(const struct ln_conf *conf, const char *only, struct ln_buf *report)
{
    struct ln_span rest = ln_buf_span(&conf->mistakes);
    size_t len = only ? strlen(only) : 0;
    while (rest.len) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t n = end ? (size_t)(end - rest.ptr) + 1 : rest.len;
        if (!only || (n > len && memcmp(rest.ptr, only, len) == 0 && rest.ptr[len] == ':'))
            (void)!ln_buf_add(report, rest.ptr, n);
        rest = ln_span(rest.ptr + n, rest.len - n);
    }
}

static void apply(void *arg)
{
    struct reload *r = arg;
    struct ln_buf report = {0};
    struct ln_conf *conf = r->conf;
    const char *error = r->hub->draining ? "the engine is stopping" : NULL;
    if (!error)
        ln_hub_apply(r->hub, conf, r->only[0] ? r->only : NULL, &report);
    if (!error && report.len)
        add_mistakes(conf, r->only[0] ? r->only : NULL, &report);
    finish(r, error, &report);
    ln_conf_free(conf);
}

static void on_loaded(void *arg, struct ln_conf *conf, const char *error);

static int load(struct reload *r, struct ln_err *err)
{
    r->since_us = ln_mono_us();
    return ln_load_start(r->hub, r->only[0] ? r->only : NULL, r->pin, on_loaded, r, err);
}

static void load_again(evutil_socket_t fd, short what, void *arg)
{
    struct reload *r = arg;
    struct ln_buf none = {0};
    struct ln_err err = {0};
    (void)fd;
    (void)what;
    if (r->hub->draining)
        finish(r, "the engine is stopping", &none);
    else if (load(r, &err) != LN_OK)
        finish(r, err.text, &none);
}

/* Somebody saved while the loader read (the watcher sees it): it may have half a file. A file that
 * is written to all the time does not hold up the reload for ever. */
static bool is_half(struct reload *r)
{
    struct timeval tv = {0, AGAIN_MS * 1000};
    return r->again++ < AGAIN_MAX && ln_watch_touched(r->hub, r->since_us) &&
           event_base_once(r->hub->base, -1, EV_TIMEOUT, load_again, r, &tv) == 0;
}

static void on_loaded(void *arg, struct ln_conf *conf, const char *error)
{
    struct reload *r = arg;
    if (is_half(r)) {
        ln_conf_free(conf);
        return;
    }
    struct ln_buf report = {0};
    const char *only = r->only[0] ? r->only : NULL;
    const struct ln_conf_channel *ch = only && !error ? ln_conf_find(conf, only) : NULL;
    char text[600];
    if (!error && ch && !r->plan && !r->pin && ln_version_refused(r->hub, ch, text, sizeof text))
        error = text;
    if (!error && !r->plan) {
        r->conf = conf;
        ln_version_make_ready(r->hub, conf, only, apply, r);
        return;
    }
    if (!error) {
        ln_plan_site(r->hub, conf, only, &report);
        add_mistakes(conf, only, &report);
    }
    finish(r, error, &report);
    ln_conf_free(conf);
}

static void on_specs(void *arg, const char *error)
{
    struct reload *r = arg;
    struct ln_buf none = {0};
    struct ln_err err = {0};
    char text[500];
    if (error) {
        snprintf(text, sizeof text, "the specs fail (reload_tests = true): %.400s", error);
        finish(r, text, &none);
    } else if (load(r, &err) != LN_OK) {
        finish(r, err.text, &none);
    }
}

static int start(struct ln_hub *h, const char *only, bool plan, struct ln_pin *pin,
                 ln_reload_done *done, void *arg, struct ln_err *err)
{
    if (h->draining)
        return ln_err_set(err, LN_EBUSY, "not reloaded: the engine is stopping");
    if (h->loading)
        return ln_err_set(err, LN_EBUSY, "a reload is under way: try again in a moment");
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    *r = (struct reload){.hub = h, .plan = plan, .done = done, .arg = arg};
    r->pin = pin ? ln_pin_ref(pin) : NULL;
    snprintf(r->only, sizeof r->only, "%s", only ? only : "");
    int rc = h->reload_tests && !plan && !pin && ln_specs_there(h)
                 ? ln_specs_start(h, on_specs, r, err)
                 : load(r, err);
    if (rc != LN_OK) {
        ln_pin_unref(r->pin);
        free(r);
        return rc;
    }
    h->loading = true;
    return LN_OK;
}

int ln_reload_start(struct ln_hub *h, const char *only, bool plan, ln_reload_done *done, void *arg,
                    struct ln_err *err)
{
    return start(h, only, plan, NULL, done, arg, err);
}

int ln_reload_pin(struct ln_hub *h, struct ln_pin *p, ln_reload_done *done, void *arg,
                  struct ln_err *err)
{
    return start(h, p->channel, false, p, done, arg, err);
}
