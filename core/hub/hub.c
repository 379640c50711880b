/* The hub as a whole: start, loop, drain, end. */
#include "hub/version.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/notify.h"
#include "crypt/keys.h"
#include "hub/audit.h"
#include "hub/child.h"
#include "hub/gate.h"
#include "hub/job.h"
#include "hub/nursery.h"
#include "hub/view.h"

static const int64_t DRAIN_LIMIT_US = 10 * 1000000;
static const int64_t DRAIN_DIAL_US = 1000000; /* how long a drain waits for a connection to come */
/* Then what hangs is cut off; with the drain less than the unit's TimeoutStopSec. The store gives
 * itself 10. */
enum { END_S = 15 };
static const int64_t GIVE_BACK_US = 300 * 1000000LL;
enum { TICK_MS = 500, DRAIN_TICK_MS = 10 };

size_t ln_blob_held;

struct ln_span ln_hub_control_id(struct ln_hub *h, char *out, size_t cap)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char number[16];
    size_t n = sizeof number, len = strlen(h->ack_prefix);
    for (uint64_t v = ++h->ack_counter; n > 0 && (v > 0 || n == sizeof number); v /= 36)
        number[--n] = digits[v % 36];
    if (len + sizeof number - n > cap)
        len = 0;
    memcpy(out, h->ack_prefix, len);
    memcpy(out + len, number + n, sizeof number - n);
    return ln_span(out, len + sizeof number - n);
}

static void make_ack_prefix(struct ln_hub *h)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t v = (uint64_t)ln_now_us() / 10000; /* 10 ms: no two starts share it */
    size_t n = 9;
    h->ack_prefix[0] = 'L';
    h->ack_prefix[n--] = '\0';
    for (; n > 0; n--, v /= 36)
        h->ack_prefix[n] = digits[v % 36];
}

static void finish(struct ln_hub *h, int status)
{
    h->finished = true;
    h->status = status;
}

static void complain(const char *text)
{
    fprintf(stderr, "lunate: %s\n", text);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void on_store(evutil_socket_t fd, short what, void *arg)
{
    struct ln_hub *h = arg;
    (void)fd;
    (void)what;
    ln_store_dispatch(h->store);
    ln_metrics_commit(h);
    ln_source_relieve(h);
}

static int open_store(struct ln_hub *h, const struct ln_conf *conf, struct ln_err *err)
{
    struct ln_store_options opt = {0};
    const char *data = conf->data && conf->data[0] ? conf->data : "data";
    if (conf->key_file || conf->key_command) {
        struct ln_keys *keys;
        int code = ln_keys_get(h->site, conf->key_file, conf->key_command, &keys, err);
        if (code != LN_OK)
            return code;
        ln_store_keys(keys);
    }
    if (asprintf(&h->data, "%s%s%s", data[0] == '/' ? "" : h->site, data[0] == '/' ? "" : "/",
                 data) < 0)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    opt.path = h->data;
    int rc = ln_store_open(&opt, &h->store, err);
    if (rc == LN_OK && (rc = ln_reader_of(h->store, &h->reader)) != LN_OK)
        ln_err_set(err, rc, "%s: cannot read the store: %s", h->data, ln_strerror(rc));
    if (rc != LN_OK)
        return rc;
    event_assign(&h->store_ev, h->base, ln_store_fd(h->store), EV_READ | EV_PERSIST, on_store, h);
    event_add(&h->store_ev, NULL);
    return LN_OK;
}

static void set_log_level(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; name && i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            ln_log_set_level((enum ln_level)i);
}

/* What lunate.lua says of the engine itself, as far as it can change while it runs. */
static void set_site(struct ln_hub *h, struct ln_conf *conf)
{
    free(h->key_file);
    free(h->key_command);
    h->key_file = conf->key_file ? strdup(conf->key_file) : NULL;
    h->key_command = conf->key_command ? strdup(conf->key_command) : NULL;
    set_log_level(conf->log_level);
    h->reload_tests = conf->reload_tests;
    ln_access_fini(&h->access);
    h->access = conf->access; /* takes it */
    conf->access = (struct ln_access){0};
    ln_control_outside(h);
    ln_watch_set(h, conf->watch);
    ln_blob_unref(h->site_settings);
    h->site_settings = conf->settings ? ln_blob_ref(conf->settings) : NULL;
    ln_alerter_apply(h);
    ln_audit_send_apply(h);
}

/* `ready` means that every listener is open: supervisors and senders' tests wait for it. */
static void announce(struct ln_hub *h)
{
    if (h->announced)
        return;
    h->announced = true;
    fprintf(stderr, "ready\n");
}

/* After the first load: complains of channels that do not run as they should; false when none does.
 * A port in use must not keep the other channels from running; an engine that can open none of its
 * ports (a second one of the same site, as a rule) ends. */
static bool first_look(struct ln_hub *h, unsigned *running, unsigned *deaf)
{
    struct ln_channel *c;
    unsigned listening = 0;
    char text[700];
    *running = *deaf = 0;
    LIST_FOREACH (c, &h->channels, link) {
        *running += !c->failed;
        *deaf += c->deaf;
        listening += c->source != NULL;
        if (c->failed)
            complain(c->error);
    }
    LIST_FOREACH (c, &h->channels, link) {
        if (c->failed || !c->conf->pin)
            continue;
        snprintf(
            text, sizeof text,
            "channel %s: runs %.6s, which it was rolled back to%s%.200s, not %.6s, which is on "
            "disk: lunate reload %s runs that",
            c->name, c->conf->version, c->conf->pin->reason[0] ? ": " : "", c->conf->pin->reason,
            c->conf->disk, c->name);
        complain(text);
        ln_log(LN_WARN, "hub", "rolled_back", "channel=%s script=%.6s disk=%.6s", c->name,
               c->conf->version, c->conf->disk);
    }
    LIST_FOREACH (c, &h->channels, link) {
        if (c->failed || c->mode == LN_MODE_RUN)
            continue;
        const char *how = c->mode == LN_MODE_PAUSED ? "paused" : "stopped";
        const char *verb = c->mode == LN_MODE_PAUSED ? "resume" : "start";
        snprintf(text, sizeof text, "channel %s: still %s, as it was before: lunate %s %s", c->name,
                 how, verb, c->name);
        complain(text);
        ln_log(LN_WARN, "hub", how, "channel=%s since=before_start hint=\"lunate %s %s\"", c->name,
               verb, c->name);
    }
    LIST_FOREACH (c, &h->channels, link) {
        if (!c->deaf)
            continue;
        snprintf(text, sizeof text, "channel %s: %s%s", c->name, c->deaf_why,
                 listening ? "; tried again until it opens, the other channels run" : "");
        complain(text);
    }
    return (*running > 0 || LIST_EMPTY(&h->channels)) && (*deaf == 0 || listening > 0);
}

static void give_up(struct ln_hub *h, const char *why)
{
    complain(why);
    finish(h, 1);
}

/* The store is open, and the scripts' versions can be put to it. */
static void apply_first(void *arg)
{
    struct ln_hub *h = arg;
    struct ln_conf *conf = h->first;
    struct ln_err err = {0};
    unsigned running, deaf;
    h->first = NULL;
    if (ln_hub_audit_start(h) != LN_OK) {
        give_up(h, "cannot start the audit log's thread");
        goto out;
    }
    set_site(h, conf);
    int rc = ln_admin_apply(h, conf, &err);
    if (rc == LN_ETLS) { /* messages go on without being watched, rather than not at all */
        ln_log(LN_ERROR, "hub", "admin_closed", "why=\"%s\"", err.text);
    } else if (rc != LN_OK) {
        give_up(h, err.text);
        goto out;
    }
    ln_channel_apply(h, conf, NULL, NULL);
    if (!first_look(h, &running, &deaf)) {
        finish(h, 1);
        goto out;
    }
    if (conf->nchannel == 0)
        ln_log(LN_WARN, "hub", "no_channels", "site=%s hint=\"lunate new channel NAME\"", h->site);
    h->ready = true;
    ln_hub_audit_event(h, "engine.start", h->site, "version " LN_VERSION);
    ln_hub_audit_config(h, "start");
    ln_log(LN_INFO, "hub", "started", "version=%s pid=%d channels=%u failed=%u ms=%.1f", LN_VERSION,
           (int)getpid(), conf->nchannel, conf->nchannel - running + deaf,
           (double)(ln_mono_us() - h->started_us) / 1e3);
    ln_notify("READY=1"); /* even while a port is not to be had: the other channels run */
    if (ln_channel_listen_again(h, 0) == 0)
        announce(h);
out:
    ln_conf_free(conf);
}

/* The first load: all or nothing for what a person must mend now (the store), channel by channel
 * for scripts and ports: one that does not load must not keep the others from running. */
static void on_first_load(void *arg, struct ln_conf *conf, const char *error)
{
    struct ln_hub *h = arg;
    struct ln_err err = {0};
    h->loading = false;
    if (error) {
        give_up(h, error);
        goto out;
    }
    set_log_level(conf->log_level);
    if (!h->store) {
        if (open_store(h, conf, &err) != LN_OK || ln_control_open(h, &err) != LN_OK) {
            give_up(h, err.text);
            goto out;
        }
        /* What was rolled back is evaluated from the store: once more, with that. */
        if (ln_version_pins_read(h) > 0) {
            h->loading = ln_load_start(h, NULL, NULL, on_first_load, h, &err) == LN_OK;
            if (!h->loading)
                give_up(h, err.text);
            goto out;
        }
    }
    h->first = conf;
    ln_version_make_ready(h, conf, NULL, apply_first, h);
    return;
out:
    ln_conf_free(conf);
}

bool ln_hub_data_moves(const struct ln_hub *h, const struct ln_conf *conf)
{
    const char *data = conf->data && conf->data[0] ? conf->data : "data";
    size_t n = strlen(h->site);
    if (data[0] == '/')
        return strcmp(data, h->data) != 0;
    return strncmp(h->data, h->site, n) != 0 || h->data[n] != '/' ||
           strcmp(h->data + n + 1, data) != 0;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

void ln_hub_apply(struct ln_hub *h, struct ln_conf *conf, const char *only, struct ln_buf *report)
{
    if (!only) {
        bool other = !same_text(h->key_file, conf->key_file) ||
                     !same_text(h->key_command, conf->key_command);
        if (report)
            ln_plan_told(h->site_settings, conf->settings, report);
        set_site(h, conf);
        if (other && report)
            ln_buf_addf(report,
                        "lunate.lua: encryption takes effect with lunate key rotate, or the "
                        "next start\n");
        if (ln_hub_data_moves(h, conf)) {
            ln_log(LN_WARN, "hub", "data_moves", "now=%s effect=next_start", h->data);
            if (report)
                ln_buf_addf(report, "lunate.lua: data takes effect with the next start\n");
        }
    }
    ln_channel_apply(h, conf, only, report);
    h->archive_stale = true;
    ln_hub_audit_config(h, only ? only : "reload");
    struct ln_err err = {0};
    if (!only && ln_admin_apply(h, conf, &err) != LN_OK) {
        ln_log(LN_ERROR, "hub", "admin_not_moved", "why=\"%s\"", err.text);
        if (report)
            ln_buf_addf(report, "admin: not reloaded, the old one goes on: %s\n", err.text);
    }
}

static void on_reload(void *arg, const char *error, const char *report)
{
    (void)arg; /* reload.c and channel.c have logged it all */
    (void)error;
    (void)report;
}

void ln_hub_reload(struct ln_hub *h)
{
    struct ln_err err = {0};
    if (h->audit)
        ln_hub_audit_event(h, "reload", h->site, "by a signal, or a file that changed");
    if (h->loading)
        h->reload_again = true;
    else if (h->ready && !h->draining &&
             ln_reload_start(h, NULL, false, on_reload, NULL, &err) != LN_OK)
        ln_log(LN_ERROR, "hub", "reload_refused", "why=\"%s\"", err.text);
}

void ln_hub_loaded(struct ln_hub *h)
{
    h->loading = false;
    if (!h->reload_again || h->draining)
        return;
    h->reload_again = false;
    ln_hub_reload(h);
}

/* ---- signals and time ------------------------------------------------------------------------ */

static void drain(struct ln_hub *h)
{
    struct ln_channel *c;
    struct timeval tv = {0, DRAIN_TICK_MS * 1000};
    if (h->draining || !h->ready) {
        finish(h, 0);
        return;
    }
    h->draining = true;
    ln_notify("STOPPING=1");
    h->drain_until_us = ln_mono_us() + DRAIN_LIMIT_US;
    ln_log(LN_INFO, "hub", "draining", "limit_s=10");
    ln_hub_audit_event(h, "engine.stop", h->site, NULL);
    LIST_FOREACH (c, &h->channels, link) {
        ln_source_close(c->source, true);
        c->source = NULL;
    }
    event_add(&h->tick, &tv);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
    struct ln_hub *h = arg;
    (void)what;
    if (sig == SIGCHLD) {
        int st;
        pid_t pid;
        while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
            ln_nursery_exited(h, pid);
            ln_view_exited(pid);
            ln_git_exited(h, pid, st);
            ln_specs_exited(h, pid, st); /* other deaths are seen on their sockets */
        }
    } else if (sig == SIGUSR1) {
        ln_log_reopen();
    } else if (sig == SIGHUP) {
        ln_hub_reload(h);
    } else {
        drain(h);
    }
}

static bool drained(struct ln_hub *h)
{
    struct ln_channel *c;
    struct ln_dest *d;
    bool late = ln_mono_us() > h->drain_until_us - DRAIN_LIMIT_US + DRAIN_DIAL_US;
    LIST_FOREACH (c, &h->channels, link) {
        if (c->failed || c->removed)
            continue;
        bool stuck = c->mode != LN_MODE_RUN || c->worker.state == LN_W_WAITING;
        if (c->work.answered > 0 || (!stuck && !ln_work_idle(c)))
            return false;
        LIST_FOREACH (d, &c->dests, link) {
            bool reaching = (d->dial || d->greeting) && d->uncommitted == 0;
            if (!ln_dest_idle(d) && !(reaching && (late || d->failures)))
                return false;
        }
    }
    return ln_store_backlog(h->store) == 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct ln_hub *h = arg;
    int64_t now = ln_mono_us();
    (void)fd;
    (void)what;
    struct timeval tv = {0, (h->draining ? DRAIN_TICK_MS : TICK_MS) * 1000};
    ln_source_tick(h, now);
    if (h->archive_stale && h->ready) {
        h->archive_stale = false;
        ln_archiver_apply(h);
    }
    if (h->ready && ln_channel_listen_again(h, now) == 0)
        announce(h);
    if (h->ready)
        ln_version_tick(h, now);
    if (h->watchdog_us && now - h->watchdog_last_us >= h->watchdog_us) {
        h->watchdog_last_us = now;
        ln_notify("WATCHDOG=1");
    }
    if (now - h->given_back_us >= GIVE_BACK_US) {
        h->given_back_us = now;
        malloc_trim(0); /* of all arenas: what a burst has freed would stay resident */
    }
    if (h->draining && (drained(h) || now > h->drain_until_us)) {
        ln_log(LN_INFO, "hub", "drained", "complete=%d", drained(h));
        finish(h, 0);
    }
    event_add(&h->tick, &tv);
}

/* libevent's resolver writes to stderr by itself: its words become lines of the log, at most one a
 * minute of a kind (a nameserver that comes and goes says so each time). */
static void on_dns_note(int is_warning, const char *text)
{
    static int64_t last_us[2];
    int64_t now = ln_mono_us(), *last = &last_us[is_warning != 0];
    if (*last && now - *last < 60 * 1000000)
        return;
    *last = now;
    ln_log(is_warning ? LN_WARN : LN_DEBUG, "dns", "note", "text=\"%s\"", text);
}

static void on_event_note(int severity, const char *text)
{
    on_dns_note(severity >= EVENT_LOG_WARN, text);
}

static int prepare(struct ln_hub *h)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1};
    struct rlimit files, core = {0, 0};
    struct timeval tv = {0, TICK_MS * 1000};
    struct timespec ts;
    setrlimit(RLIMIT_CORE, &core); /* memory holds patient data */
    prctl(PR_SET_DUMPABLE, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    clock_gettime(CLOCK_MONOTONIC, &ts);
    srandom((unsigned)(ts.tv_nsec ^ getpid()));
    make_ack_prefix(h);
    h->watchdog_us = ln_notify_watchdog_us();
    event_set_log_callback(on_event_note);
    evdns_set_log_fn(on_dns_note);
    h->base = event_base_new();
    if (!h->base)
        return LN_ENOMEM;
    h->dns = evdns_base_new(h->base,
                            EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        evsignal_assign(&h->sig[i], h->base, signals[i], on_signal, h);
        if (event_add(&h->sig[i], NULL) != 0)
            return LN_EIO;
    }
    evtimer_assign(&h->tick, h->base, on_tick, h);
    return event_add(&h->tick, &tv) == 0 ? LN_OK : LN_EIO;
}

static void shut_down(struct ln_hub *h)
{
    struct ln_channel *c;
    bool own = h->control != NULL; /* another engine's folder, otherwise */
    ln_last_resort(h, END_S);
    ln_job_end_all();
    ln_admin_close(h);
    ln_alerter_stop(h);
    ln_archiver_stop(h);
    ln_audit_send_stop(h);
    ln_control_close(h);
    ln_watch_set(h, false);
    ln_specs_stop(h);
    ln_git_stop(h);
    LIST_FOREACH (c, &h->channels, link)
        ln_channel_shut(c, false);
    ln_nursery_stop(h);
    ln_hub_audit_stop(h);
    ln_gate_fini(h);
    if (h->store) {
        event_del(&h->store_ev);
        ln_store_dispatch(h->store);
        ln_reader_close(h->reader);
        ln_store_close(h->store);
    }
    if (h->data && own) {
        char path[4096];
        snprintf(path, sizeof path, "%s/control.sock", h->data);
        unlink(path);
    }
    ln_store_keys(NULL);
    free(h->key_file);
    free(h->key_command);
    free(h->data);
    ln_blob_unref(h->site_settings);
}

int ln_hub_run(const char *site)
{
    struct ln_hub h = {.site = site, .started_us = ln_mono_us()};
    struct ln_err err = {0};
    LIST_INIT(&h.channels);
    LIST_INIT(&h.sources);
    LIST_INIT(&h.pins);
    if (prepare(&h) != LN_OK) {
        complain("cannot start the event loop");
        return 1;
    }
    ln_worker_init_hub(&h);
    ln_nursery_start(&h);
    if (ln_load_start(&h, NULL, NULL, on_first_load, &h, &err) != LN_OK) {
        complain(err.text);
        return 1;
    }
    h.loading = true;
    while (!h.finished) {
        event_base_loop(h.base, EVLOOP_ONCE);
        ln_worker_flush_all(&h);
    }
    shut_down(&h);
    return h.status;
}
