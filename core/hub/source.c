/* Listeners: who may connect, how many, for how long; back-pressure; what peers do wrong. */
#include "hub/source.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "net/address.h"

enum {
    FRAME_IDLE_S = 60, /* between the bytes of one frame */
    HALF_CLOSED_S = 60, /* how long a reply is kept for a peer that has ended its side, or whose
                           listener is gone */
    HANDSHAKE_S = 10, /* for TLS, from the first byte */
    LINGER_S = 10, /* how long a refused peer may go on sending */
    REFUSED_MAX = 256,
    PEERS_MAX = 256,
    FRAME_RATE = 1024, /* bytes a second: what an unfinished frame must grow by in the end */
};
static const size_t HELD_MAX = (size_t)512 << 20; /* of unfinished frames, all together */
static const uint64_t BACKLOG_LOW = 12u << 20;

void ln_source_relieve(struct ln_hub *h)
{
    struct ln_channel *c;
    struct ln_conn *k;
    if (!h->reading_stopped || ln_store_backlog(h->store) > BACKLOG_LOW)
        return;
    h->reading_stopped = false;
    LIST_FOREACH (c, &h->channels, link)
        if (c->source)
            LIST_FOREACH (k, &c->source->conns, link)
                ln_conn_read_on(k);
}

static struct ln_peer *peer_of(struct ln_source *s, const char *name)
{
    char addr[64];
    const char *colon = strrchr(name, ':');
    snprintf(addr, sizeof addr, "%.*s", colon ? (int)(colon - name) : (int)strlen(name), name);
    for (unsigned i = 0; i < s->npeer; i++)
        if (strcmp(s->peer[i].addr, addr) == 0)
            return &s->peer[i];
    if (!s->peer)
        s->peer = calloc(PEERS_MAX, sizeof *s->peer);
    if (!s->peer || s->npeer == PEERS_MAX)
        return NULL;
    snprintf(s->peer[s->npeer].addr, sizeof s->peer[0].addr, "%s", addr);
    return &s->peer[s->npeer++];
}

static bool allowed(const struct ln_conf_channel *conf, const char *peer)
{
    for (unsigned i = 0; i < conf->nallow; i++)
        if (ln_address_within(conf->allow[i], peer))
            return true;
    return conf->nallow == 0;
}

static void log_refusal(struct ln_source *s, const char *peer, const char *event, uint64_t total)
{
    int64_t now = ln_mono_us();
    if (s->limit_logged_us && now - s->limit_logged_us < 1000000)
        return; /* one line a second tells enough of a flood */
    s->limit_logged_us = now;
    ln_log(LN_ERROR, "source", event, "channel=%s peer=%s limit=%u connections=%u total=%llu",
           s->channel->name, peer, s->channel->conf->max_connections, s->nconn,
           (unsigned long long)total);
}

/* Senders that gave up waiting leave connections that look as if they waited: the oldest of those
 * makes room. */
static void make_room(struct ln_source *s)
{
    struct ln_conn *k, *oldest = NULL;
    LIST_FOREACH (k, &s->conns, link)
        if (k->eof && (!oldest || k->last_us <= oldest->last_us))
            oldest = k;
    if (oldest)
        ln_conn_free(oldest);
}

static unsigned in_use(const struct ln_source *s)
{
    return s->nconn - s->nrefused;
}

/* A line a second for each address and reason, so that one peer does not hide another; a few of
 * these at most. */
static bool may_log(struct ln_source *s, const char *name, const char *why)
{
    const char *port = strrchr(name, ':');
    int64_t now = ln_mono_us();
    int oldest = 0;
    char of[sizeof s->tls_logged[0].of];
    snprintf(of, sizeof of, "%.*s %s", (int)(port ? port - name : 80), name, why);
    for (int i = 0; i < LN_TLS_LOGGED; i++) {
        if (strcmp(s->tls_logged[i].of, of) == 0) {
            oldest = i;
            break;
        }
        if (s->tls_logged[i].us < s->tls_logged[oldest].us)
            oldest = i;
    }
    if (s->tls_logged[oldest].us && now - s->tls_logged[oldest].us < 1000000)
        return false;
    memcpy(s->tls_logged[oldest].of, of, sizeof of);
    s->tls_logged[oldest].us = now;
    return true;
}

void ln_source_tls_failed(struct ln_conn *k, const char *why)
{
    struct ln_source *s = k->source;
    s->tls_failed++;
    if (!may_log(s, k->name, why))
        return;
    ln_log(LN_ERROR, "source", "tls_failed", "channel=%s peer=%s total=%llu why=\"%s\"",
           s->channel->name, k->name, (unsigned long long)s->tls_failed, why);
}

bool ln_source_count_held(struct ln_conn *k, size_t held)
{
    struct ln_hub *h = k->source->channel->hub;
    h->frames_held += held - k->held;
    k->held = held;
    return h->frames_held <= HELD_MAX;
}

/* Connections of one address; most sites have few, so that counting them is quicker than a table.
 */
static bool too_many_of(const struct ln_source *s, const char *name)
{
    unsigned limit = s->channel->conf->max_per_address, n = 0;
    const char *colon = strrchr(name, ':');
    size_t len = colon ? (size_t)(colon - name) + 1 : strlen(name);
    const struct ln_conn *k;
    if (limit == 0)
        return false;
    LIST_FOREACH (k, &s->conns, link)
        n += strncmp(k->name, name, len) == 0;
    return n >= limit;
}

static void on_accept(void *owner, int fd, const char *name)
{
    struct ln_source *s = owner;
    struct ln_channel *c = s->channel;
    if (!allowed(c->conf, name)) {
        log_refusal(s, name, "peer_not_allowed", ++s->denied);
        close(fd);
        return;
    }
    if (too_many_of(s, name)) {
        log_refusal(s, name, "too_many_connections_of_address", ++s->over_limit);
        close(fd);
        return;
    }
    if (in_use(s) >= c->conf->max_connections)
        make_room(s);
    bool full = in_use(s) >= c->conf->max_connections;
    if (full)
        log_refusal(s, name, "too_many_connections", ++s->over_limit);
    struct ln_conn *k =
        full && (s->tls || s->nrefused >= REFUSED_MAX) ? NULL : calloc(1, sizeof *k);
    if (!k || ln_stream_init(&k->stream, c->hub->base, fd, &ln_conn_ops, k) != LN_OK) {
        if (!k)
            close(fd);
        free(k);
        return;
    }
    if (s->tls && ln_stream_secure(&k->stream, s->tls, NULL) != LN_OK) {
        ln_stream_fini(&k->stream);
        free(k);
        return;
    }
    k->source = s;
    k->last_us = ln_mono_us();
    TAILQ_INIT(&k->owed);
    snprintf(k->name, sizeof k->name, "%s", name);
    ln_mllp_init(&k->mllp, c->conf->max_message);
    k->peer = peer_of(s, name);
    if (k->peer)
        k->peer->connections++;
    LIST_INSERT_HEAD(&s->conns, k, link);
    s->nconn++;
    if (full) {
        ln_conn_refuse(k, ln_span(NULL, 0), "too many connections to this receiver");
        return;
    }
    ln_conn_check_stop(k);
}

/* Where a name led to stays so until the next reload. */
static int open_listener(struct ln_source *s, struct ln_err *err)
{
    struct event_base *base = s->channel->hub->base;
    if (!s->addresses[0])
        return ln_listen_tcp(base, s->host, s->port, on_accept, s, &s->listener, err);
    return ln_listen_resolved(base, s->host, s->addresses, s->port, on_accept, s, &s->listener,
                              err);
}

int ln_source_open(struct ln_channel *c, const struct ln_conf_channel *conf, struct ln_source **out,
                   struct ln_err *err)
{
    if (conf->by_name && !conf->addresses[0])
        return ln_err_set(err, LN_ENOTFOUND, "%s", conf->no_address);
    struct ln_source *s = calloc(1, sizeof *s);
    if (!s)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    s->channel = c;
    LIST_INIT(&s->conns);
    snprintf(s->host, sizeof s->host, "%s", conf->host);
    snprintf(s->addresses, sizeof s->addresses, "%s", conf->addresses);
    s->port = conf->port;
    int rc = open_listener(s, err);
    if (rc != LN_OK) {
        free(s);
        return rc;
    }
    s->tls = ln_tls_ref(conf->tls.made);
    LIST_INSERT_HEAD(&c->hub->sources, s, link);
    *out = s;
    return LN_OK;
}

bool ln_source_is(const struct ln_source *s, const struct ln_conf_channel *conf)
{
    return !conf->from_channel && s->port == conf->port && strcmp(s->host, conf->host) == 0 &&
           (s->tls != NULL) == conf->tls.on;
}

void ln_source_renew(struct ln_source *s, const struct ln_conf_channel *conf)
{
    ln_tls_unref(s->tls);
    s->tls = ln_tls_ref(conf->tls.made);
}

void ln_source_mute(struct ln_source *s)
{
    if (!s)
        return;
    ln_listener_free(s->listener);
    s->listener = NULL;
}

int ln_source_unmute(struct ln_source *s, struct ln_err *err)
{
    if (!s || s->listener)
        return LN_OK;
    return open_listener(s, err);
}

void ln_source_quiet(struct ln_source *s)
{
    struct ln_conn *k, *next;
    if (!s)
        return;
    ln_source_mute(s);
    for (k = LIST_FIRST(&s->conns); k; k = next) {
        next = LIST_NEXT(k, link);
        k->closing = true;
        k->last_us = ln_mono_us();
        ln_stream_pause(&k->stream);
        if (k->nowed == 0 && ln_stream_kept(&k->stream) == 0)
            ln_conn_free(k);
    }
}

void ln_source_free(struct ln_source *s)
{
    LIST_REMOVE(s, link);
    ln_tls_unref(s->tls);
    free(s->peer);
    free(s);
}

void ln_source_close(struct ln_source *s, bool keep_replies)
{
    struct ln_conn *k, *next;
    if (!s)
        return;
    ln_source_mute(s);
    s->nconn++; /* ours, until the loop is through */
    for (k = LIST_FIRST(&s->conns); k; k = next) {
        next = LIST_NEXT(k, link);
        k->closing = true;
        k->last_us = ln_mono_us();
        ln_stream_pause(&k->stream);
        if (!keep_replies || (k->nowed == 0 && ln_stream_kept(&k->stream) == 0))
            ln_conn_free(k);
    }
    s->closing = true;
    if (--s->nconn == 0)
        ln_source_free(s);
}

unsigned ln_source_connections(const struct ln_channel *c)
{
    return c->source ? in_use(c->source) : 0;
}

const struct ln_tls *ln_source_tls(const struct ln_channel *c)
{
    return c->source ? c->source->tls : NULL;
}

/* Bytes that trickle in keep a connection and its memory for ever: beyond frame_timeout they must
 * come at FRAME_RATE at least. */
static bool too_slow(const struct ln_conn *k, int64_t mono_us)
{
    double over = (double)(mono_us - k->frame_us) / 1e6 - k->source->channel->conf->frame_s;
    return over > 0 && (double)ln_mllp_held(&k->mllp) < over * FRAME_RATE;
}

static void conn_tick(struct ln_conn *k, int64_t mono_us)
{
    const struct ln_channel *c = k->source->channel;
    double idle = (double)(mono_us - k->last_us) / 1e6;
    if (k->stream.greeting && idle > HANDSHAKE_S) {
        ln_source_tls_failed(k, "no TLS handshake within 10 s");
        ln_conn_free(k);
    } else if (k->refused ? idle > LINGER_S : (k->eof || k->closing) && idle > HALF_CLOSED_S) {
        ln_conn_free(k);
    } else if (k->eof || k->closing || k->stopped || k->nowed > 0) {
        return; /* it waits for us */
    } else if (ln_mllp_inside(&k->mllp) && idle > FRAME_IDLE_S) {
        ln_log(LN_WARN, "source", "unfinished_frame",
               "channel=%s peer=%s bytes=%zu idle_s=%.0f closed=1", c->name, k->name,
               ln_mllp_held(&k->mllp), idle);
        ln_conn_free(k);
    } else if (k->frame_us && too_slow(k, mono_us)) {
        ln_log(LN_WARN, "source", "slow_frame",
               "channel=%s peer=%s bytes=%zu limit_s=%.1f closed=1", c->name, k->name,
               ln_mllp_held(&k->mllp), c->conf->frame_s);
        ln_conn_free(k);
    } else if (c->conf->idle_s > 0 && idle > c->conf->idle_s) {
        ln_log(LN_INFO, "source", "idle", "channel=%s peer=%s idle_s=%.0f closed=1", c->name,
               k->name, idle);
        ln_conn_free(k);
    }
}

void ln_source_tick(struct ln_hub *h, int64_t mono_us)
{
    struct ln_source *s, *next_source;
    struct ln_conn *k, *next;
    for (s = LIST_FIRST(&h->sources); s; s = next_source) {
        next_source = LIST_NEXT(s, link);
        for (k = LIST_FIRST(&s->conns); k; k = next) {
            next = LIST_NEXT(k, link); /* the last one may take s with it */
            conn_tick(k, mono_us);
        }
    }
}

void ln_source_status(struct ln_channel *c, struct ln_buf *b)
{
    struct ln_source *s = c->source;
    ln_json_key(b, "peers");
    ln_json_open(b, '[');
    for (unsigned i = 0; s && i < s->npeer; i++) {
        struct ln_peer *p = &s->peer[i];
        ln_json_open(b, '{');
        ln_json_key(b, "address");
        ln_json_cstr(b, p->addr);
        ln_json_key(b, "connections");
        ln_json_int(b, p->connections);
        ln_json_key(b, "frames");
        ln_json_int(b, (int64_t)p->frames);
        ln_json_key(b, "deviations");
        ln_json_open(b, '{');
        for (int d = 0; d < LN_MLLP_DEVIATIONS; d++)
            if (p->deviations[d]) {
                ln_json_key(b, ln_mllp_deviation_name(d));
                ln_json_int(b, (int64_t)p->deviations[d]);
            }
        ln_json_close(b, '}');
        ln_json_close(b, '}');
    }
    ln_json_close(b, ']');
}
