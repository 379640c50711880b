/* A reload, whoever asks for it (a verb, SIGHUP, the watcher): specs when the site wants them, then
 * the loader, then the plan is told or applied. One at a time: h->loading. */
#include "hub/hub.h"

#include <stdio.h>

struct reload {
    struct ln_hub *hub;
    char only[LN_CONF_NAME];
    bool plan;
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
    free(r);
    ln_hub_loaded(h);
}

static void on_loaded(void *arg, struct ln_conf *conf, const char *error)
{
    struct reload *r = arg;
    struct ln_buf report = {0};
    const char *only = r->only[0] ? r->only : NULL;
    if (!error && r->hub->draining)
        error = "the engine is stopping";
    if (!error && r->plan)
        ln_plan_site(r->hub, conf, only, &report);
    else if (!error)
        ln_hub_apply(r->hub, conf, only, &report);
    finish(r, error, &report);
    ln_conf_free(conf);
}

static void load(struct reload *r)
{
    struct ln_err err = {0};
    struct ln_buf none = {0};
    if (ln_load_start(r->hub, on_loaded, r, &err) != LN_OK)
        finish(r, err.text, &none);
}

static void on_specs(void *arg, const char *error)
{
    struct reload *r = arg;
    struct ln_buf none = {0};
    char text[500];
    if (!error) {
        load(r);
        return;
    }
    snprintf(text, sizeof text, "the specs fail (reload_tests = true): %.400s", error);
    finish(r, text, &none);
}

int ln_reload_start(struct ln_hub *h, const char *only, bool plan, ln_reload_done *done, void *arg,
                    struct ln_err *err)
{
    if (h->draining)
        return ln_err_set(err, LN_EBUSY, "not reloaded: the engine is stopping");
    if (h->loading)
        return ln_err_set(err, LN_EBUSY, "a reload is under way: try again in a moment");
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    *r = (struct reload){.hub = h, .plan = plan, .done = done, .arg = arg};
    snprintf(r->only, sizeof r->only, "%s", only ? only : "");
    int rc = h->reload_tests && !plan ? ln_specs_start(h, on_specs, r, err)
                                      : ln_load_start(h, on_loaded, r, err);
    if (rc != LN_OK) {
        free(r);
        return rc;
    }
    h->loading = true;
    return LN_OK;
}
