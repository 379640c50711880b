/* Metrics as text: Prometheus' 0.0.4 and OpenMetrics 1.0.0, which differ in how a counter's family
 * is named and in how it ends. Labels are channels, destinations, states and the first PEERS_SHOWN
 * addresses of a listener: what a peer sends cannot make more of them. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "hub/audit.h"
#include "hub/child.h"
#include "hub/hub.h"
#include "hub/source.h"

enum { PEERS_SHOWN = 16 };

const uint64_t ln_spread_times[LN_SPREAD_TIMES] = {
    500,    1000,    2500,    5000,     10000,    25000,     50000,     100000,
    250000, 1000000, 5000000, 10000000, 60000000, 600000000, 3600000000};
const uint64_t ln_spread_sizes[LN_SPREAD_SIZES] = {1,   4,   8,   16,   32,   64,
                                                   128, 256, 512, 1024, 2048, 8192};

struct row { /* one channel, as it is now */
    struct ln_channel *c;
    struct ln_channel_state cs;
};

struct page {
    struct ln_buf *b;
    struct ln_hub *hub;
    bool open;
    struct row *row;
    unsigned n;
    char sample[80]; /* name of the samples of the present family */
};

static void family(struct page *p, const char *name, const char *type, const char *help)
{
    bool counter = strcmp(type, "counter") == 0;
    snprintf(p->sample, sizeof p->sample, "%s%s", name, counter ? "_total" : "");
    const char *head = p->open ? name : p->sample;
    ln_buf_addf(p->b, "# HELP %s %s\n# TYPE %s %s\n", head, help, head, type);
}

static void count(struct page *p, const char *labels, uint64_t v)
{
    ln_buf_addf(p->b, "%s%s %llu\n", p->sample, labels, (unsigned long long)v);
}

static void real(struct page *p, const char *labels, double v, int decimals)
{
    ln_buf_addf(p->b, "%s%s %.*f\n", p->sample, labels, decimals, v);
}

/* labels: without braces, or "". unit: divides what was counted. */
static void spread(struct page *p, const char *labels, const struct ln_spread *s,
                   const uint64_t *end, unsigned n, double unit)
{
    const char *comma = labels[0] ? "," : "", *name = p->sample;
    unsigned long long total = 0;
    for (unsigned i = 0; i <= n; i++) {
        char le[32] = "+Inf";
        total += s->count[i];
        if (i < n)
            snprintf(le, sizeof le, unit == 1 ? "%.1f" : "%.4g", (double)end[i] / unit);
        ln_buf_addf(p->b, "%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels, comma, le, total);
    }
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    ln_buf_addf(p->b, "%s_sum%s%s%s %.6f\n%s_count%s%s%s %llu\n", name, open, labels, close,
                (double)s->sum / unit, name, open, labels, close, total);
}

static void times(struct page *p, const char *labels, const struct ln_spread *s)
{
    spread(p, labels, s, ln_spread_times, LN_SPREAD_TIMES, 1e6);
}

/* ---- channels ---- */

static uint64_t pending(const struct ln_channel_state *cs)
{
    uint64_t done = cs->processed + cs->filtered + cs->errors + cs->rejected;
    return cs->received > done ? cs->received - done : 0;
}

enum of_channel {
    RECEIVED,
    FILTERED,
    PROCESSED,
    ERRORS,
    REJECTED,
    PARKED,
    PENDING,
    CONNECTIONS,
    PEERS,
    RESTARTS,
    OVER_LIMIT,
    DENIED,
    TLS_FAILED
};

static uint64_t of_channel(const struct row *r, enum of_channel what)
{
    const struct ln_source *s = r->c->source;
    switch (what) {
    case RECEIVED: return r->cs.received;
    case FILTERED: return r->cs.filtered;
    case PROCESSED: return r->cs.processed;
    case ERRORS: return r->cs.errors;
    case REJECTED: return r->cs.rejected;
    case PARKED: return r->cs.parked;
    case PENDING: return pending(&r->cs);
    case CONNECTIONS: return ln_source_connections(r->c);
    case PEERS: return s ? s->npeer : 0;
    case RESTARTS: return r->c->worker.restarts;
    case OVER_LIMIT: return s ? s->over_limit : 0;
    case DENIED: return s ? s->denied : 0;
    case TLS_FAILED: return s ? s->tls_failed : 0;
    }
    return 0;
}

static void channel_families(struct page *p)
{
    static const struct {
        const char *name, *type, *help;
        enum of_channel what;
    } families[] = {
        {"lunate_messages_received", "counter", "Messages received and kept.", RECEIVED},
        {"lunate_messages_filtered", "counter", "Messages that a filter kept back.", FILTERED},
        {"lunate_messages_processed", "counter", "Messages a script has transformed.", PROCESSED},
        {"lunate_messages_errored", "counter", "Messages a script failed at.", ERRORS},
        {"lunate_messages_rejected", "counter", "Frames that were not HL7.", REJECTED},
        {"lunate_messages_parked", "gauge", "Messages that wait for somebody.", PARKED},
        {"lunate_messages_pending", "gauge", "Messages that wait for the script.", PENDING},
        {"lunate_connections", "gauge", "Open connections of senders.", CONNECTIONS},
        {"lunate_peers", "gauge", "Addresses that have connected since the start.", PEERS},
        {"lunate_connections_over_limit", "counter", "Connections refused: too many.", OVER_LIMIT},
        {"lunate_connections_denied", "counter", "Connections refused: not allowed.", DENIED},
        {"lunate_tls_failures", "counter", "Senders that no TLS could be agreed with.", TLS_FAILED},
        {"lunate_worker_restarts", "counter", "Workers started again.", RESTARTS},
    };
    char labels[LN_CONF_NAME + 16];
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        family(p, families[f].name, families[f].type, families[f].help);
        for (unsigned i = 0; i < p->n; i++) {
            snprintf(labels, sizeof labels, "{channel=\"%s\"}", p->row[i].c->name);
            count(p, labels, of_channel(&p->row[i], families[f].what));
        }
    }
}

static void channel_states(struct page *p)
{
    static const char *const states[] = {"running", "paused", "stopped", "failed"};
    char labels[LN_CONF_NAME + 40];
    family(p, "lunate_channel_state", "gauge", "1 for the state that a channel is in.");
    for (unsigned i = 0; i < p->n; i++)
        for (int s = 0; s < 4; s++) {
            snprintf(labels, sizeof labels, "{channel=\"%s\",state=\"%s\"}", p->row[i].c->name,
                     states[s]);
            count(p, labels, strcmp(ln_channel_state_name(p->row[i].c), states[s]) == 0);
        }
    family(p, "lunate_last_received_timestamp_seconds", "gauge",
           "When the last message came in; only after the first.");
    for (unsigned i = 0; i < p->n; i++) {
        snprintf(labels, sizeof labels, "{channel=\"%s\"}", p->row[i].c->name);
        if (p->row[i].c->last_in_us)
            real(p, labels, (double)p->row[i].c->last_in_us / 1e6, 3);
    }
}

static void channel_times(struct page *p)
{
    char labels[LN_CONF_NAME + 16];
    family(p, "lunate_receive_to_ack_seconds", "histogram",
           "From the last byte of a message to its reply.");
    for (unsigned i = 0; i < p->n; i++) {
        snprintf(labels, sizeof labels, "channel=\"%s\"", p->row[i].c->name);
        times(p, labels, &p->row[i].c->acked_us);
    }
    family(p, "lunate_script_seconds", "histogram", "Time a message spent in its script.");
    for (unsigned i = 0; i < p->n; i++) {
        snprintf(labels, sizeof labels, "channel=\"%s\"", p->row[i].c->name);
        times(p, labels, &p->row[i].c->script_us);
    }
}

/* ---- senders ---- */

static void peers(struct page *p)
{
    char labels[LN_CONF_NAME + 120];
    family(p, "lunate_peer_frames", "counter", "Frames by address of the sender.");
    for (unsigned i = 0; i < p->n; i++) {
        const struct ln_source *s = p->row[i].c->source;
        uint64_t others = 0;
        for (unsigned k = 0; s && k < s->npeer; k++) {
            snprintf(labels, sizeof labels, "{channel=\"%s\",peer=\"%s\"}", p->row[i].c->name,
                     s->peer[k].addr);
            if (k < PEERS_SHOWN)
                count(p, labels, s->peer[k].frames);
            else
                others += s->peer[k].frames;
        }
        snprintf(labels, sizeof labels, "{channel=\"%s\",peer=\"others\"}", p->row[i].c->name);
        if (s && s->npeer > PEERS_SHOWN)
            count(p, labels, others);
    }
    family(p, "lunate_framing_deviations", "counter", "Framing that was tolerated, by kind.");
    for (unsigned i = 0; i < p->n; i++) {
        const struct ln_source *s = p->row[i].c->source;
        for (int d = 0; s && d < LN_MLLP_DEVIATIONS; d++) {
            uint64_t total = 0;
            for (unsigned k = 0; k < s->npeer; k++)
                total += s->peer[k].deviations[d];
            snprintf(labels, sizeof labels, "{channel=\"%s\",deviation=\"%s\"}", p->row[i].c->name,
                     ln_mllp_deviation_name((enum ln_mllp_deviation)d));
            if (total)
                count(p, labels, total);
        }
    }
}

/* ---- destinations ---- */

enum of_dest { SENT, DEST_PARKED, RETRIES, QUEUED, OLDEST, HELD, RETRYING, LAST_SENT, DELIVERED };

static void dest_sample(struct page *p, const struct ln_dest *d, const struct ln_dest_state *ds,
                        enum of_dest what)
{
    char labels[2 * LN_CONF_NAME + 40], *bare = labels + 1;
    size_t len = (size_t)snprintf(labels, sizeof labels, "{channel=\"%s\",destination=\"%s\"}",
                                  d->channel->name, d->conf.name);
    switch (what) {
    case SENT: count(p, labels, ds->sent); break;
    case DEST_PARKED: count(p, labels, ds->parked); break;
    case RETRIES: count(p, labels, d->retries); break;
    case QUEUED: count(p, labels, ds->queued); break;
    case OLDEST: real(p, labels, ln_dest_oldest_s(d), 3); break;
    case HELD: count(p, labels, d->held); break;
    case RETRYING: count(p, labels, d->retrying || d->failures > 0); break;
    case LAST_SENT:
        if (d->last_sent_us)
            real(p, labels, (double)d->last_sent_us / 1e6, 3);
        break;
    case DELIVERED:
        labels[len - 1] = '\0';
        times(p, bare, &d->delivered_us);
        break;
    }
}

static void dest_families(struct page *p)
{
    static const struct {
        const char *name, *type, *help;
        enum of_dest what;
    } families[] = {
        {"lunate_messages_sent", "counter", "Outputs accepted by the receiver.", SENT},
        {"lunate_outputs_parked", "gauge", "Outputs that wait for somebody.", DEST_PARKED},
        {"lunate_delivery_retries", "counter", "Delivery tries that failed.", RETRIES},
        {"lunate_queue_depth", "gauge", "Outputs not yet delivered.", QUEUED},
        {"lunate_queue_oldest_seconds", "gauge", "Age of the oldest of them.", OLDEST},
        {"lunate_destination_held", "gauge", "1 while an operator holds the queue.", HELD},
        {"lunate_destination_retrying", "gauge", "1 while the receiver takes nothing.", RETRYING},
        {"lunate_last_sent_timestamp_seconds", "gauge",
         "When the last output was accepted; only after the first.", LAST_SENT},
        {"lunate_receive_to_delivered_seconds", "histogram",
         "From receipt to the receiver's acknowledgement.", DELIVERED},
    };
    const struct ln_dest *d;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        family(p, families[f].name, families[f].type, families[f].help);
        for (unsigned i = 0; i < p->n; i++)
            LIST_FOREACH (d, &p->row[i].c->dests, link) {
                const struct ln_dest_state *ds = ln_status_dest(&p->row[i].cs, d->id);
                if (d->configured || ds->queued)
                    dest_sample(p, d, ds, families[f].what);
            }
    }
}

static void certificate(struct page *p, const char *channel, const char *dest, int64_t ends)
{
    char labels[2 * LN_CONF_NAME + 40];
    snprintf(labels, sizeof labels, "{channel=\"%s\",destination=\"%s\"}", channel, dest);
    if (ends)
        count(p, labels, (uint64_t)ends);
}

static void certificates(struct page *p)
{
    const struct ln_dest *d;
    family(p, "lunate_certificate_expiry_timestamp_seconds", "gauge",
           "When our own certificate ends; a listener's has no destination.");
    for (unsigned i = 0; i < p->n; i++) {
        const struct ln_channel *c = p->row[i].c;
        const struct ln_tls *own = ln_source_tls(c);
        certificate(p, c->name, "", own ? ln_tls_not_after(own) : 0);
        LIST_FOREACH (d, &c->dests, link)
            if (d->configured && d->tls)
                certificate(p, c->name, d->conf.name, ln_tls_not_after(d->tls));
    }
    family(p, "lunate_peer_certificate_expiry_timestamp_seconds", "gauge",
           "When the receiver's certificate ends, as last seen.");
    for (unsigned i = 0; i < p->n; i++)
        LIST_FOREACH (d, &p->row[i].c->dests, link)
            if (d->configured && d->tls)
                certificate(p, d->channel->name, d->conf.name, d->peer_not_after);
}

/* ---- the engine ---- */

void ln_metrics_commit(struct ln_hub *h)
{
    struct ln_store_stat st;
    ln_store_stat(h->store, &st);
    uint64_t n = st.commits - h->commits_seen;
    if (n == 0)
        return;
    ln_spread_add(&h->commit_us, ln_spread_times, LN_SPREAD_TIMES,
                  (st.commit_us_total - h->commit_us_seen) / n, n);
    ln_spread_add(&h->commit_size, ln_spread_sizes, LN_SPREAD_SIZES,
                  (st.operations - h->operations_seen) / n, n);
    h->commits_seen = st.commits;
    h->commit_us_seen = st.commit_us_total;
    h->operations_seen = st.operations;
}

static void alerter(struct page *p)
{
    struct ln_alerter_numbers n;
    ln_alerter_numbers(p->hub, &n);
    if (!n.configured)
        return;
    family(p, "lunate_alerter_up", "gauge", "1 while the alerter runs.");
    count(p, "", n.up);
    family(p, "lunate_alerts_firing", "gauge", "Alerts that fire, not silenced or acknowledged.");
    count(p, "", n.firing);
    family(p, "lunate_alerts_sent", "counter", "Messages that targets took, since its start.");
    count(p, "", n.sent);
    family(p, "lunate_alerts_failed", "counter", "Tries that targets did not take.");
    count(p, "", n.failed);
}

static void audit_log(struct page *p)
{
    struct ln_audit_send_numbers n;
    ln_audit_send_numbers(p->hub, &n);
    family(p, "lunate_audit_failing", "gauge", "1 while the audit log cannot be written.");
    count(p, "", ln_hub_audit_failing(p->hub)[0] != '\0');
    if (!n.configured)
        return;
    family(p, "lunate_audit_syslog_failing", "gauge", "1 while the repository takes no entries.");
    count(p, "", n.failing);
    family(p, "lunate_audit_syslog_behind", "gauge", "Entries that the repository has not taken.");
    count(p, "", n.behind);
    family(p, "lunate_audit_syslog_behind_seconds", "gauge", "Age of the oldest of them.");
    count(p, "", (uint64_t)n.behind_s);
    family(p, "lunate_audit_syslog_sent", "counter", "Entries that it took, since the start.");
    count(p, "", n.sent);
}

static void admin(struct page *p)
{
    struct ln_admin_numbers n;
    if (!ln_admin_numbers(p->hub, &n))
        return;
    family(p, "lunate_admin_denied", "counter", "Connections from addresses that may not.");
    count(p, "", n.denied);
    if (!n.tls)
        return;
    family(p, "lunate_admin_tls_failures", "counter", "Clients that no TLS could be agreed with.");
    count(p, "", n.tls_failed);
    family(p, "lunate_admin_certificate_expiry_timestamp_seconds", "gauge",
           "When the admin address' certificate ends.");
    count(p, "", (uint64_t)n.not_after);
}

static void store(struct page *p)
{
    struct ln_store_stat st;
    ln_store_stat(p->hub->store, &st);
    family(p, "lunate_store_bytes", "gauge", "Size of the store.");
    count(p, "", st.bytes);
    family(p, "lunate_store_messages", "gauge", "Messages kept.");
    count(p, "", st.messages);
    family(p, "lunate_store_failing", "gauge", "1 while the last commit failed.");
    count(p, "", st.failing);
    family(p, "lunate_store_full", "gauge", "1 while messages are refused for lack of space.");
    count(p, "", st.full);
    alerter(p);
    audit_log(p);
    admin(p);
    family(p, "lunate_store_commits", "counter", "Synced transactions.");
    count(p, "", st.commits);
    family(p, "lunate_store_operations", "counter", "Receipts, results and outcomes in them.");
    count(p, "", st.operations);
    family(p, "lunate_store_commit_seconds", "histogram", "Time of a transaction with its sync.");
    times(p, "", &p->hub->commit_us);
    family(p, "lunate_store_commit_operations", "histogram", "Operations in a transaction.");
    spread(p, "", &p->hub->commit_size, ln_spread_sizes, LN_SPREAD_SIZES, 1);
    family(p, "lunate_messages_not_stored", "counter", "Messages answered AR: not stored.");
    count(p, "", p->hub->not_stored);
}

static void process(struct page *p)
{
    struct rusage ru;
    unsigned long size, resident = 0;
    double up = (double)(ln_mono_us() - p->hub->started_us) / 1e6;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    getrusage(RUSAGE_SELF, &ru);
    family(p, "process_start_time_seconds", "gauge", "When the engine started.");
    real(p, "", (double)ln_now_us() / 1e6 - up, 2);
    family(p, "process_cpu_seconds", "counter", "Processor time of the engine, without workers.");
    real(p, "",
         (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
             (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
         3);
    family(p, "process_resident_memory_bytes", "gauge", "Memory of the engine, without workers.");
    count(p, "", (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
}

void ln_metrics(struct ln_hub *h, enum ln_metrics_format format, struct ln_buf *out)
{
    struct page p = {.b = out, .hub = h, .open = format == LN_METRICS_OPEN};
    struct ln_channel *c;
    unsigned n = 0;
    LIST_FOREACH (c, &h->channels, link)
        n += !c->removed;
    p.row = calloc(n + 1u, sizeof *p.row);
    if (!p.row) {
        out->failed = true;
        return;
    }
    LIST_FOREACH (c, &h->channels, link) {
        if (c->removed)
            continue;
        struct row *r = &p.row[p.n++];
        r->c = c;
        if (c->id && ln_store_channel_state(h->store, c->id, &r->cs) != LN_OK)
            r->cs = (struct ln_channel_state){0};
    }
    if (p.open)
        ln_buf_adds(out, "# HELP lunate_build Version of the engine.\n# TYPE lunate_build info\n");
    else
        family(&p, "lunate_build_info", "gauge", "Version of the engine.");
    ln_buf_addf(out, "lunate_build_info{version=\"%s\"} 1\n", LN_VERSION);
    channel_families(&p);
    channel_states(&p);
    channel_times(&p);
    peers(&p);
    dest_families(&p);
    certificates(&p);
    store(&p);
    process(&p);
    if (p.open)
        ln_buf_adds(out, "# EOF\n");
    free(p.row);
}
