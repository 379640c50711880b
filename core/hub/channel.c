/* One channel: putting its parts together, and changing them while it runs.
 *
 * Invariants: a reload changes the script between two messages, when no result is on its way; a
 * configuration that cannot be used leaves the one before in force; a channel's struct lives as
 * long as the hub, since operations on their way to the disk point to it. */
#include "hub/version.h"

#include <stdio.h>

#include "base/clock.h"
#include "hub/job.h"

struct ln_channel *ln_channel_find(struct ln_hub *h, const char *name)
{
    struct ln_channel *c;
    LIST_FOREACH (c, &h->channels, link)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

struct ln_dest *ln_channel_dest(struct ln_channel *c, const char *name)
{
    struct ln_dest *d;
    LIST_FOREACH (d, &c->dests, link)
        if (strcmp(d->conf.name, name) == 0)
            return d;
    return NULL;
}

static void say(struct ln_buf *report, const char *name, const char *what, const char *detail)
{
    if (report)
        ln_buf_addf(report, "%s: %s%s%s\n", name, what, detail[0] ? ": " : "", detail);
}

/* Destinations that the script no longer names and that have a queue all the same: they stay in
 * sight and can be skipped or named again. Until then retention trims nothing behind their head. */
static void keep_removed(struct ln_channel *c)
{
    struct ln_channel_state cs;
    if (ln_store_channel_state(c->hub->store, c->id, &cs) != LN_OK)
        return;
    for (unsigned i = 0; i < cs.ndest; i++) {
        struct ln_conf_dest conf = {.name = ""};
        if (cs.dest[i].queued == 0 || ln_channel_dest(c, cs.dest[i].name))
            continue;
        snprintf(conf.name, sizeof conf.name, "%s", cs.dest[i].name);
        struct ln_dest *d = ln_dest_open(c, &conf);
        if (d)
            d->configured = false;
        ln_log(LN_WARN, "channel", "destination_removed",
               "channel=%s dest=%s queue=kept queued=%llu", c->name, conf.name,
               (unsigned long long)cs.dest[i].queued);
    }
}

/* The destinations of c->conf: new ones are opened, changed ones set, others put to rest. */
static int set_dests(struct ln_channel *c)
{
    struct ln_conf_channel *conf = c->conf;
    struct ln_dest *d;
    struct ln_dest **by_index = calloc(conf->ndest + 1u, sizeof *by_index);
    if (!by_index)
        return LN_ENOMEM;
    for (unsigned i = 0; i < conf->ndest; i++) {
        d = ln_channel_dest(c, conf->dest[i].name);
        if (d)
            ln_dest_set(d, &conf->dest[i]);
        else
            d = ln_dest_open(c, &conf->dest[i]);
        if (!d) {
            free(by_index);
            return LN_ENOMEM;
        }
        by_index[i] = d;
    }
    free(c->by_index);
    c->by_index = by_index;
    LIST_FOREACH (d, &c->dests, link) {
        bool found = false;
        for (unsigned i = 0; i < conf->ndest; i++)
            found = found || by_index[i] == d;
        if (!found && d->configured) {
            ln_log(LN_WARN, "channel", "destination_removed", "channel=%s dest=%s queue=kept",
                   c->name, d->conf.name);
            d->configured = false;
            ln_dest_leave(d);
        }
    }
    keep_removed(c);
    return LN_OK;
}

static void set_retention(struct ln_channel *c)
{
    c->hub->archive_stale = true;
    if (!c->conf->archive != !c->archiving) { /* a step forward comes from the archiver */
        c->archiving = c->conf->archive != NULL;
        ln_store_archived(c->hub->store, c->id, c->archiving ? 0 : UINT64_MAX);
    }
    ln_store_retain(c->hub->store, c->id, (uint64_t)(c->conf->retain_days * 86400),
                    c->conf->retain_mb << 20);
}

static void pump_all(struct ln_channel *c)
{
    struct ln_dest *d;
    ln_work_pump(c);
    LIST_FOREACH (d, &c->dests, link)
        ln_dest_pump(d);
}

static const double LISTEN_AGAIN_FIRST_S = 1, LISTEN_AGAIN_MAX_S = 15;

/* Without its listener: what is queued goes on, the port is tried again and again. */
static void go_deaf(struct ln_channel *c, const char *why)
{
    double s = LISTEN_AGAIN_FIRST_S * (double)(1u << (c->deaf_tries < 8 ? c->deaf_tries : 8));
    if (c->deaf_tries++ == 0)
        ln_log(LN_ERROR, "channel", "not_listening", "channel=%s retried=1 why=\"%s\"", c->name,
               why);
    c->deaf = true;
    snprintf(c->deaf_why, sizeof c->deaf_why, "%s", why);
    c->deaf_until_us =
        ln_mono_us() + (int64_t)((s < LISTEN_AGAIN_MAX_S ? s : LISTEN_AGAIN_MAX_S) * 1e6);
}

static void hear(struct ln_channel *c)
{
    if (c->deaf)
        ln_log(LN_INFO, "channel", "listening", "channel=%s tries=%u", c->name, c->deaf_tries);
    c->deaf = false;
    c->deaf_tries = 0;
}

/* Sees that the channel listens where conf says, or not at all. On failure it listens as before. */
static int set_source(struct ln_channel *c, const struct ln_conf_channel *conf, struct ln_err *err)
{
    struct ln_source *fresh = NULL;
    struct ln_err again = {0};
    if (c->halt != LN_HALT_NONE) /* it is to end: no listener */
        return LN_OK;
    if (c->source && c->mode != LN_MODE_STOPPED && ln_source_is(c->source, conf)) {
        int rc = ln_source_unmute(c->source, err);
        ln_source_renew(c->source, conf);
        if (rc == LN_OK)
            hear(c);
        return rc;
    }
    if (!conf->from_channel && c->mode != LN_MODE_STOPPED) {
        ln_source_mute(c->source); /* it may be the same port on another address */
        int rc = ln_source_open(c, conf, &fresh, err);
        if (rc != LN_OK) {
            if (ln_source_unmute(c->source, &again) != LN_OK)
                go_deaf(c, again.text);
            return rc;
        }
    }
    ln_source_close(c->source, true);
    c->source = fresh;
    hear(c);
    return LN_OK;
}

static struct ln_channel *channel_new(struct ln_hub *h, const char *name)
{
    struct ln_channel *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->hub = h;
    c->failed = true;
    snprintf(c->name, sizeof c->name, "%s", name);
    LIST_INIT(&c->dests);
    ln_worker_init(c);
    struct ln_channel *o, *before = NULL; /* in order of names, as people want to read them */
    LIST_FOREACH (o, &h->channels, link) {
        if (strcmp(o->name, name) > 0)
            break;
        before = o;
    }
    if (before)
        LIST_INSERT_AFTER(before, c, link);
    else
        LIST_INSERT_HEAD(&h->channels, c, link);
    return c;
}

/* A channel that did not run gets its configuration. Takes conf in any case. */
static int channel_begin(struct ln_channel *c, struct ln_conf_channel *conf, struct ln_err *err)
{
    int rc = LN_OK;
    ln_conf_channel_free(c->conf);
    c->conf = conf;
    if (c->id == 0) {
        c->id = ln_store_channel(c->hub->store, c->name);
        rc = c->id ? ln_work_open(c) : LN_ENOMEM;
        if (rc != LN_OK)
            c->id = 0;
    }
    if (rc == LN_OK)
        rc = set_dests(c);
    if (rc != LN_OK)
        return ln_err_set(err, rc, "channel %s: %s", c->name, ln_strerror(rc));
    if (set_source(c, c->conf, err) != LN_OK)
        go_deaf(c, err->text); /* no reason to hold up what is queued */
    c->failed = c->removed = false;
    c->error[0] = '\0';
    set_retention(c);
    if (c->mode != LN_MODE_STOPPED)
        ln_worker_start(c);
    pump_all(c);
    return LN_OK;
}

/* A running channel gets another configuration: the listener now, the script at the next boundary.
 */
static int channel_change(struct ln_channel *c, struct ln_conf_channel *conf, struct ln_err *err)
{
    int rc = set_source(c, conf, err);
    if (rc != LN_OK)
        return rc;
    ln_conf_channel_free(c->next);
    c->next = conf;
    c->reverted = false;
    ln_work_pump(c);
    return LN_OK;
}

void ln_channel_switch(struct ln_channel *c)
{
    ln_worker_stop(c);
    if (c->prev) /* what runs has not proved itself yet: the one before it is kept */
        ln_conf_channel_free(c->conf);
    else
        c->prev = c->conf;
    c->conf = c->next;
    c->next = NULL;
    c->work.careful = false;
    if (set_dests(c) != LN_OK)
        ln_log(LN_ERROR, "channel", "no_memory", "channel=%s", c->name);
    set_retention(c);
    ln_log(LN_INFO, "channel", "switched", "channel=%s from=%.6s to=%.6s", c->name,
           c->prev->version, c->conf->version);
    if (c->mode != LN_MODE_STOPPED)
        ln_worker_start(c);
    else
        ln_version_runs(c); /* no worker proves it: it is taken as it is, as settings are */
}

void ln_channel_revert(struct ln_channel *c, const char *why)
{
    struct ln_conf_channel *bad = c->conf;
    struct ln_err err = {0};
    c->reverted = true;
    snprintf(c->error, sizeof c->error, "reload refused: %.380s", why);
    ln_log(LN_ERROR, "channel", "reverted", "channel=%s script=%.6s why=\"%s\"", c->name,
           c->prev->version, c->error);
    ln_worker_stop(c);
    c->conf = c->prev;
    c->prev = NULL;
    if (!c->next && set_source(c, c->conf, &err) != LN_OK)
        go_deaf(c, err.text);
    if (set_dests(c) != LN_OK)
        ln_log(LN_ERROR, "channel", "no_memory", "channel=%s", c->name);
    ln_conf_channel_free(bad);
    ln_worker_start(c);
}

static void close_but_dests(struct ln_channel *c, bool keep_replies)
{
    ln_channel_halt_off(c);
    ln_source_close(c->source, keep_replies);
    c->source = NULL;
    c->deaf = false;
    c->deaf_tries = 0;
    ln_worker_stop(c);
}

void ln_channel_shut(struct ln_channel *c, bool keep_replies)
{
    struct ln_dest *d;
    close_but_dests(c, keep_replies);
    LIST_FOREACH (d, &c->dests, link)
        ln_dest_close(d);
}

/* A reply that waits for script or delivery will not come from a channel that ends. */
static bool may_keep_replies(const struct ln_channel *c)
{
    return c->conf && (c->conf->ack == LN_ACK_COMMIT || c->conf->ack == LN_ACK_NONE);
}

/* ---- a load is applied ----------------------------------------------------------------------- */

static void refuse(struct ln_channel *c, const char *text, struct ln_buf *report)
{
    snprintf(c->error, sizeof c->error, "%s", text);
    ln_log(LN_ERROR, "channel", c->failed ? "not_loaded" : "reload_refused",
           "channel=%s why=\"%s\"", c->name, text);
    say(report, c->name, c->failed ? "does not load" : "not reloaded, the old one goes on", text);
}

/* Nothing to swap; but what it came of may have changed: a version that was rolled back to, or
 * disk.
 */
static void same_again(struct ln_channel *c, struct ln_conf_channel *ch, struct ln_buf *report)
{
    char text[300] = "";
    bool ended = c->conf->pin && !ch->pin;
    c->error[0] = '\0';
    if (ch->pin)
        ln_pin_ref(ch->pin);
    ln_pin_unref(c->conf->pin);
    c->conf->pin = ch->pin;
    memcpy(c->conf->disk, ch->disk, sizeof ch->disk);
    if (!c->prev)
        ln_version_runs(c);
    if (ch->pin)
        snprintf(
            text, sizeof text,
            "stays rolled back to %.6s; the files on disk are %.6s, lunate reload %s runs them",
            ch->version, ch->disk, c->name);
    say(report, c->name,
        text[0] ? text
        : ended ? "unchanged; it is no longer rolled back, the files on disk are what runs"
                : "unchanged",
        "");
}

static void apply_one(struct ln_hub *h, struct ln_conf *conf, struct ln_conf_channel *ch,
                      struct ln_buf *report)
{
    struct ln_err err = {0};
    struct ln_channel *c = ln_channel_find(h, ch->name);
    bool fresh = !c;
    if (!c && !(c = channel_new(h, ch->name)))
        return;
    if (ch->error) {
        refuse(c, ch->error, report);
        return;
    }
    if (!c->failed && !c->removed && !c->next && ch->version64 == c->conf->version64 &&
        ch->settings64 == c->conf->settings64) {
        same_again(c, ch, report);
        return;
    }
    struct ln_conf_channel *own = ln_conf_take_channel(conf, ch->name);
    if (!own)
        return;
    if (c->failed || c->removed) {
        if (channel_begin(c, own, &err) != LN_OK)
            refuse(c, err.text, report);
        else if (c->deaf)
            say(report, c->name, "does not listen yet", c->deaf_why);
        else
            say(report, c->name, fresh ? "started" : "loaded and started", "");
        return;
    }
    c->error[0] = '\0';
    if (channel_change(c, own, &err) == LN_OK) {
        say(report, c->name, "reloaded", "");
    } else {
        refuse(c, err.text, report);
        ln_conf_channel_free(own);
    }
}

static void remove_channel(struct ln_channel *c, struct ln_buf *report)
{
    struct ln_dest *d;
    ln_log(LN_WARN, "channel", "removed", "channel=%s queue=kept", c->name);
    say(report, c->name, "stopped: it is no longer in the site; its messages are kept", "");
    c->removed = true;
    ln_conf_channel_free(c->next); /* or they would run when the channel comes back */
    ln_conf_channel_free(c->prev);
    c->next = c->prev = NULL;
    close_but_dests(c, may_keep_replies(c));
    LIST_FOREACH (d, &c->dests, link)
        ln_dest_leave(d);
}

void ln_channel_apply(struct ln_hub *h, struct ln_conf *conf, const char *only,
                      struct ln_buf *report)
{
    struct ln_channel *c;
    /* First ports become free, so that channels may be renamed and may swap them. */
    LIST_FOREACH (c, &h->channels, link) {
        struct ln_conf_channel *ch = ln_conf_find(conf, c->name);
        if (c->removed || (only && strcmp(c->name, only) != 0))
            continue;
        if (!ch)
            remove_channel(c, report);
        else if (c->source && !ch->error && !ln_source_is(c->source, ch))
            ln_source_mute(c->source);
    }
    for (unsigned i = 0; i < conf->nchannel; i++)
        if (!only || strcmp(conf->channel[i].name, only) == 0)
            apply_one(h, conf, &conf->channel[i], report);
}

int ln_channel_set_mode(struct ln_channel *c, uint8_t mode, struct ln_err *err)
{
    if (c->hub->draining)
        return ln_err_set(err, LN_EBUSY, "the engine is stopping");
    if (c->failed)
        return ln_err_set(err, LN_EINVAL, "channel %s does not load: %.300s", c->name, c->error);
    uint8_t before = c->mode;
    ln_channel_halt_off(c);
    c->mode = mode;
    const struct ln_conf_channel *conf = c->next ? c->next : c->conf;
    int rc = set_source(c, conf, err);
    if (rc != LN_OK && conf->by_name && !conf->addresses[0]) {
        go_deaf(c, err->text); /* it is looked up again */
    } else if (rc != LN_OK) {
        c->mode = before;
        return rc;
    }
    if (mode == LN_MODE_RUN)
        c->error[0] = '\0';
    c->work.attempts = mode == LN_MODE_RUN ? 0 : c->work.attempts;
    ln_worker_start(c);
    pump_all(c);
    return ln_store_set_mode(c->hub->store, c->id, mode, NULL, NULL);
}

/* ---- a name that was not found, looked up again -------------------------------------------- */

struct look_up {
    struct ln_hub *hub;
    char channel[LN_CONF_NAME], host[LN_CONF_HOST], addresses[LN_CONF_ADDRESSES];
    int code;
    struct ln_err err;
};

static void look_up(void *arg)
{
    struct look_up *l = arg;
    l->code = ln_listen_resolve(l->host, l->addresses, sizeof l->addresses, &l->err);
}

static void on_looked_up(void *arg)
{
    struct look_up *l = arg;
    struct ln_channel *c = ln_channel_find(l->hub, l->channel);
    struct ln_conf_channel *conf = c ? c->next ? c->next : c->conf : NULL;
    struct ln_err err = {0};
    if (c)
        c->looking_up = false;
    if (conf && c->deaf && strcmp(conf->host, l->host) == 0) {
        if (l->code == LN_OK)
            snprintf(conf->addresses, sizeof conf->addresses, "%s", l->addresses);
        if (l->code != LN_OK || set_source(c, conf, &err) != LN_OK)
            go_deaf(c, l->code != LN_OK ? l->err.text : err.text);
    }
    free(l);
}

/* True when conf's listener waits for a look-up. */
static bool look_up_again(struct ln_channel *c, const struct ln_conf_channel *conf)
{
    if (!conf->by_name || conf->addresses[0] || c->looking_up)
        return c->looking_up;
    struct look_up *l = calloc(1, sizeof *l);
    if (!l)
        return false;
    l->hub = c->hub;
    snprintf(l->channel, sizeof l->channel, "%s", c->name);
    snprintf(l->host, sizeof l->host, "%s", conf->host);
    c->looking_up = ln_job_start(c->hub->base, look_up, on_looked_up, l) == LN_OK;
    if (!c->looking_up)
        free(l);
    return c->looking_up;
}

unsigned ln_channel_listen_again(struct ln_hub *h, int64_t mono_us)
{
    struct ln_channel *c;
    unsigned deaf = 0;
    LIST_FOREACH (c, &h->channels, link) {
        struct ln_err err = {0};
        const struct ln_conf_channel *conf = c->next ? c->next : c->conf;
        bool due = c->deaf && !h->draining && mono_us >= c->deaf_until_us;
        if (due && !look_up_again(c, conf) && set_source(c, conf, &err) != LN_OK)
            go_deaf(c, err.text);
        deaf += c->deaf;
    }
    return deaf;
}

const char *ln_channel_state_name(const struct ln_channel *c)
{
    static const char *const modes[] = {"running", "paused", "stopped"};
    if (c->removed)
        return "removed";
    if (c->halt != LN_HALT_NONE)
        return c->halt == LN_HALT_STOP ? "stopping" : "draining";
    if (c->failed || c->deaf || (c->worker.failure[0] && c->mode == LN_MODE_RUN))
        return "failed";
    return modes[c->mode <= LN_MODE_STOPPED ? c->mode : LN_MODE_STOPPED];
}
