/* What the hub tells of itself: status as JSON (the contract's). */
#include "hub/hub.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/audit.h"
#include "hub/child.h"

static void num(struct ln_buf *b, const char *key, uint64_t v)
{
    ln_json_key(b, key);
    ln_json_int(b, (int64_t)v);
}

static void str(struct ln_buf *b, const char *key, const char *v)
{
    ln_json_key(b, key);
    ln_json_cstr(b, v);
}

const struct ln_dest_state *ln_status_dest(const struct ln_channel_state *cs, uint16_t id)
{
    static const struct ln_dest_state none;
    for (unsigned i = 0; i < cs->ndest; i++)
        if (cs->dest[i].id == id)
            return &cs->dest[i];
    return &none;
}

double ln_dest_oldest_s(const struct ln_dest *d)
{
    if (d->count == 0)
        return 0;
    double s = (double)(ln_now_us() - d->ring[d->head & (d->cap - 1)].received_us) / 1e6;
    return s > 0 ? s : 0;
}

static void time_or_null(struct ln_buf *b, const char *key, int64_t us)
{
    char text[40];
    ln_json_key(b, key);
    if (us && ln_iso_time(us, text, sizeof text))
        ln_json_cstr(b, text);
    else
        ln_json_null(b);
}

/* Certificates: when they end. The receiver's is known once it was connected to. */
void ln_status_tls(struct ln_buf *b, const struct ln_tls *own, int64_t peer_not_after)
{
    int64_t not_after = own ? ln_tls_not_after(own) : 0;
    ln_json_key(b, "tls");
    if (!own) {
        ln_json_null(b);
        return;
    }
    ln_json_open(b, '{');
    str(b, "subject", ln_tls_subject(own));
    time_or_null(b, "expires", not_after * 1000000);
    time_or_null(b, "peer_expires", peer_not_after * 1000000);
    ln_json_close(b, '}');
}

static void dest_json(struct ln_buf *b, const struct ln_dest *d, const struct ln_channel_state *cs)
{
    const struct ln_dest_state *ds = ln_status_dest(cs, d->id);
    char to[LN_CONF_HOST + 16];
    snprintf(to, sizeof to, d->conf.to_channel ? "channel %s" : "%s:%d",
             d->conf.to_channel ? d->conf.to : d->conf.host, d->conf.port);
    ln_json_open(b, '{');
    str(b, "name", d->conf.name);
    str(b, "state", ln_dest_state(d));
    num(b, "queued", ds->queued);
    num(b, "sent", ds->sent);
    num(b, "parked", ds->parked);
    num(b, "filtered", ds->filtered);
    num(b, "retries", d->retries);
    ln_json_key(b, "oldest_s");
    ln_json_num(b, ln_dest_oldest_s(d), 3);
    uint64_t first = d->count ? d->ring[d->head & (d->cap - 1)].pos.seq : d->unreadable.seq;
    ln_json_key(b, "first"); /* so that who acts on it can name it */
    if (first)
        ln_json_int(b, (int64_t)first);
    else
        ln_json_null(b);
    str(b, "to", to);
    time_or_null(b, "last_sent", d->last_sent_us);
    time_or_null(b, "retrying_since", d->retry_since_us);
    str(b, "last_error", d->last_error);
    str(b, "failing", d->failures ? ln_conf_try_name(d->try_class) : "");
    ln_status_tls(b, d->tls, d->peer_not_after);
    ln_json_close(b, '}');
}

/* null, or which version runs instead of the files on disk, since when, and why. */
static void rolled_back_json(struct ln_buf *b, const struct ln_channel *c)
{
    const struct ln_pin *p = c->conf ? c->conf->pin : NULL;
    char text[8];
    ln_json_key(b, "rolled_back");
    if (!p) {
        ln_json_null(b);
        return;
    }
    ln_json_open(b, '{');
    snprintf(text, sizeof text, "%.6s", c->conf->version);
    str(b, "to", text);
    snprintf(text, sizeof text, "%.6s", c->conf->disk);
    str(b, "disk", text);
    time_or_null(b, "since", p->since_us);
    str(b, "reason", p->reason);
    ln_json_close(b, '}');
}

static void channel_json(struct ln_channel *c, struct ln_buf *b)
{
    struct ln_channel_state cs = {0};
    struct ln_dest *d;
    char listen[LN_CONF_HOST + 16] = "", script[8] = "", waits[200] = "";
    bool starting = c->worker.state == LN_W_STARTING;
    if (c->id)
        (void)!ln_store_channel_state(c->hub->store, c->id, &cs);
    if (c->conf && !c->conf->from_channel)
        snprintf(listen, sizeof listen, strchr(c->conf->host, ':') ? "[%s]:%d" : "%s:%d",
                 c->conf->host, c->conf->port);
    if (c->conf)
        snprintf(script, sizeof script, "%.6s", c->conf->version);
    uint64_t results = cs.processed + cs.filtered;
    ln_json_open(b, '{');
    str(b, "name", c->name);
    str(b, "state", ln_channel_state_name(c));
    str(b, "script", script);
    str(b, "listen", listen);
    ln_json_key(b, "listening");
    ln_json_bool(b, c->source && !c->deaf);
    num(b, "connections", ln_source_connections(c));
    num(b, "received", cs.received);
    num(b, "filtered", cs.filtered);
    num(b, "processed", cs.processed);
    num(b, "errors", cs.errors);
    num(b, "parked", cs.parked);
    num(b, "rejected", cs.rejected);
    num(b, "duplicates", c->duplicates);
    num(b, "reused_ids", c->reused_ids);
    uint64_t done = results + cs.errors + cs.rejected;
    num(b, "pending", cs.received > done ? cs.received - done : 0);
    num(b, "worker_restarts", c->worker.restarts);
    num(b, "worker_pid", (uint64_t)c->worker.pid);
    str(b, "waits_for", ln_channel_waits(c, waits, sizeof waits) ? waits : "");
    ln_json_key(b, "starting_s");
    if (starting)
        ln_json_num(b, (double)(ln_mono_us() - c->worker.spawned_us) / 1e6, 3);
    else
        ln_json_null(b);
    time_or_null(b, "last_in", c->last_in_us);
    str(b, "error", c->deaf ? c->deaf_why : c->error[0] ? c->error : c->worker.failure);
    rolled_back_json(b, c);
    ln_json_key(b, "destinations");
    ln_json_open(b, '[');
    for (unsigned i = 0; c->conf && c->by_index && i < c->conf->ndest; i++)
        dest_json(b, c->by_index[i], &cs);
    LIST_FOREACH (d, &c->dests, link)
        if (!d->configured && ln_status_dest(&cs, d->id)->queued)
            dest_json(b, d, &cs);
    ln_json_close(b, ']');
    ln_status_tls(b, ln_source_tls(c), 0);
    ln_source_status(c, b);
    ln_json_close(b, '}');
}

void ln_status_json(struct ln_hub *h, struct ln_buf *b)
{
    struct ln_store_stat st;
    struct ln_channel *c;
    ln_store_stat(h->store, &st);
    ln_json_open(b, '{');
    str(b, "version", LN_VERSION);
    str(b, "site", h->site);
    num(b, "pid", (uint64_t)getpid());
    ln_json_key(b, "uptime_s");
    ln_json_num(b, (double)(ln_mono_us() - h->started_us) / 1e6, 3);
    str(b, "state",
        h->draining  ? "draining"
        : st.failing ? "store failing"
        : st.full    ? "store full"
                     : "running");
    str(b, "reload_error", h->reload_error);
    ln_json_key(b, "store");
    ln_json_open(b, '{');
    num(b, "bytes", st.bytes);
    ln_json_key(b, "encrypted");
    ln_json_bool(b, st.sealed);
    num(b, "messages", st.messages);
    num(b, "commits", st.commits);
    num(b, "operations", st.operations);
    num(b, "commit_us_mean", st.commits ? st.commit_us_total / st.commits : 0);
    num(b, "commit_us_max", st.commit_us_max);
    str(b, "failure", st.failing || st.full ? st.failure : "");
    ln_json_key(b, "archive");
    ln_archiver_status(h, b);
    ln_json_close(b, '}');
    ln_json_key(b, "admin");
    ln_admin_status(h, b);
    ln_json_key(b, "alerts");
    ln_alerter_status(h, b);
    ln_json_key(b, "audit");
    ln_json_open(b, '{');
    str(b, "failure", ln_hub_audit_failing(h));
    ln_json_key(b, "syslog");
    ln_audit_send_status(h, b);
    ln_json_close(b, '}');
    ln_json_key(b, "channels");
    ln_json_open(b, '[');
    LIST_FOREACH (c, &h->channels, link)
        if (!c->removed)
            channel_json(c, b);
    ln_json_close(b, ']');
    ln_json_close(b, '}');
}
