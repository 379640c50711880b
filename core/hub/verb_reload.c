/* Reload on demand. */
#include <stdio.h>

#include "base/json.h"
#include "hub/control.h"

struct reload {
    struct ln_asker *client;
    char only[LN_CONF_NAME];
};

static void on_loaded(void *arg, struct ln_conf *conf, const char *error)
{
    struct reload *r = arg;
    struct ln_asker *k = r->client;
    struct ln_hub *h = k->hub;
    struct ln_buf report = {0}, b = {0};
    struct ln_err err = {0};
    if (h->draining) {
        ln_asker_fail(k, 1, "not reloaded: the engine is stopping");
    } else if (error) {
        ln_log(LN_ERROR, "control", "reload_refused", "why=\"%s\"", error);
        ln_asker_fail(k, 1, "not reloaded, the old scripts go on: %s", error);
    } else {
        ln_channel_apply(h, conf, r->only[0] ? r->only : NULL, &report);
        if (!r->only[0] && ln_admin_apply(h, conf, &err) != LN_OK)
            ln_buf_addf(&report, "admin: not reloaded, the old one goes on: %s\n", err.text);
        ln_buf_addc(&report, '\0');
        bool bad = report.data && (strstr(report.data, ": not reloaded") ||
                                   strstr(report.data, ": does not load"));
        bool known = report.len > 1;
        if (!known && r->only[0]) {
            ln_asker_fail(k, 1, "no channel named %.64s in the site", r->only);
        } else if (bad) {
            ln_asker_reply(k, 1, ln_span(report.data, report.len - 2));
        } else {
            ln_json_open(&b, '{');
            ln_json_key(&b, "ok");
            ln_json_bool(&b, true);
            ln_json_key(&b, "report");
            ln_json_str(&b, ln_span(report.data, report.len > 1 ? report.len - 2 : 0));
            ln_json_close(&b, '}');
            ln_asker_reply(k, 0, ln_buf_span(&b));
        }
    }
    ln_buf_fini(&report);
    ln_buf_fini(&b);
    ln_conf_free(conf);
    free(r);
    ln_asker_let_go(k);
    ln_hub_loaded(h);
}

void ln_verb_reload(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_err err = {0};
    if (k->hub->draining) {
        ln_asker_fail(k, 1, "not reloaded: the engine is stopping");
        return;
    }
    if (k->hub->loading) {
        ln_asker_fail(k, 1, "a reload is under way: try again in a moment");
        return;
    }
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->client = k;
    snprintf(r->only, sizeof r->only, "%s", n > 1 ? word[1] : "");
    if (ln_load_start(k->hub, on_loaded, r, &err) != LN_OK) {
        free(r);
        ln_asker_fail(k, 1, "%s", err.text);
        return;
    }
    k->hub->loading = true;
    ln_asker_hold(k);
}
