/* Listeners and their connections: bytes to frames, frames to the store, replies back.
 *
 * Invariants: a reply leaves in the order its frame came in, and a positive one only after the
 * commit (and what more the channel's `ack` asks for). A connection holds at most one unfinished
 * frame and PENDING_MAX unanswered ones; beyond that, or while the store is behind, it is not read.
 */
#include "hub/hub.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

enum {
    PENDING_MAX = 64,
    KEPT_MAX = 256 * 1024, /* reply bytes a peer has not taken */
    FRAME_IDLE_S = 60, /* between the bytes of one frame */
    PENDING_END_MS = 100, /* FS without CR: how long the CR may be late */
    PEERS_MAX = 256,
    BATCH_MAX = 100000,
};
static const uint64_t BACKLOG_HIGH = 24u << 20, BACKLOG_LOW = 12u << 20;

struct peer { /* deviations, counted per address */
    char addr[64];
    unsigned connections;
    uint64_t deviations[LN_MLLP_DEVIATIONS], frames, refused;
};

struct ln_conn {
    LIST_ENTRY(ln_conn) link;
    struct ln_source *source;
    struct ln_stream stream;
    struct ln_mllp mllp;
    uint64_t counted[LN_MLLP_DEVIATIONS];
    TAILQ_HEAD(owed_list, ln_owed) owed;
    unsigned nowed;
    struct event *late_end;
    int64_t last_us;
    bool eof, closing, stopped; /* stopped: not read for now */
    struct peer *peer;
    char name[80];
};

struct ln_source {
    struct ln_channel *channel;
    struct ln_listener *listener;
    LIST_HEAD(, ln_conn) conns;
    unsigned nconn;
    bool closing;
    uint64_t over_limit, denied;
    int64_t limit_logged_us;
    struct peer *peer;
    unsigned npeer;
};

/* ---- replies
 * --------------------------------------------------------------------------------------- */

static void owed_free(struct ln_owed *o)
{
    for (unsigned i = 0; i < o->total; i++)
        free(o->part[i].header);
    free(o->own.header);
    free(o);
}

static struct ln_owed *owed_new(struct ln_conn *conn, unsigned total)
{
    struct ln_owed *o = calloc(1, sizeof *o + total * sizeof o->part[0]);
    if (!o)
        return NULL;
    o->conn = conn;
    o->total = o->pending = total;
    TAILQ_INSERT_TAIL(&conn->owed, o, link);
    conn->nowed++;
    return o;
}

static void part_header(struct ln_reply_part *p, const struct ln_header *h)
{
    if (h->kind == LN_HEADER_NONE)
        return;
    p->header = malloc(h->segment.len + 1);
    if (p->header) {
        memcpy(p->header, h->segment.ptr, h->segment.len);
        p->header_len = h->segment.len;
    }
}

/* False: not readable; *h holds what can be said of it all the same. */
static bool part_read(const struct ln_reply_part *p, struct ln_header *h)
{
    *h = (struct ln_header){0};
    return p->header && ln_header_read(ln_span(p->header, p->header_len), h, NULL) == LN_OK;
}

static void write_part(struct ln_hub *hub, struct ln_buf *out, const struct ln_reply_part *p)
{
    struct ln_header h;
    char id[24];
    struct ln_ack ack = {.code = p->code, .text = ln_span_str(p->text), .time_us = ln_now_us()};
    ack.control_id = ln_hub_control_id(hub, id, sizeof id);
    if (!part_read(p, &h) && ack.code == LN_ACK_AA)
        ack.code = LN_ACK_AR; /* lost for lack of memory: never an AA built from nothing */
    if (ln_ack_write(out, &h, &ack) != LN_OK)
        out->failed = true;
}

static void write_owed(struct ln_hub *hub, struct ln_buf *out, struct ln_owed *o)
{
    struct ln_header h;
    char id[24];
    struct ln_ack ack = {.time_us = ln_now_us()};
    if (o->batch) {
        (void)part_read(&o->own, &h);
        ack.control_id = ln_hub_control_id(hub, id, sizeof id);
        if (ln_ack_batch_begin(out, &h, &ack, o->file) != LN_OK)
            out->failed = true;
    }
    for (unsigned i = 0; i < o->total; i++)
        write_part(hub, out, &o->part[i]);
    if (o->batch && ln_ack_batch_end(out, &h, o->total, o->file) != LN_OK)
        out->failed = true;
}

static void conn_free(struct ln_conn *k);
static void conn_read_on(struct ln_conn *k);

/* Sends the replies at the front that are settled. */
static void send_replies(struct ln_conn *k)
{
    static struct ln_buf text, frame;
    struct ln_owed *o;
    struct ln_hub *hub = k->source->channel->hub;
    ln_buf_clear(&frame, 64 * 1024);
    while ((o = TAILQ_FIRST(&k->owed)) && o->pending == 0) {
        ln_buf_clear(&text, 64 * 1024);
        if (k->source->channel->conf->ack != LN_ACK_NONE)
            write_owed(hub, &text, o);
        if (text.len && !text.failed)
            ln_mllp_write(&frame, ln_buf_span(&text));
        TAILQ_REMOVE(&k->owed, o, link);
        k->nowed--;
        owed_free(o);
    }
    if (frame.len)
        (void)!ln_stream_write(&k->stream, ln_buf_span(&frame));
    if ((k->eof || k->closing) && k->nowed == 0 && ln_stream_kept(&k->stream) == 0)
        conn_free(k);
    else
        conn_read_on(k);
}

void ln_owed_settle(struct ln_owed *o, unsigned part, enum ln_ack_code code, const char *text)
{
    o->part[part].code = code;
    snprintf(o->part[part].text, sizeof o->part[part].text, "%s", text ? text : "");
    if (--o->pending > 0)
        return;
    if (!o->conn)
        owed_free(o);
    else if (TAILQ_FIRST(&o->conn->owed) == o)
        send_replies(o->conn);
}

/* ---- connections
 * ------------------------------------------------------------------------------------ */

static void conn_free(struct ln_conn *k)
{
    struct ln_owed *o;
    struct ln_source *s = k->source;
    while ((o = TAILQ_FIRST(&k->owed))) {
        TAILQ_REMOVE(&k->owed, o, link);
        o->conn = NULL;
        if (o->pending == 0)
            owed_free(o);
    }
    if (k->late_end)
        event_free(k->late_end);
    ln_mllp_fini(&k->mllp);
    ln_stream_fini(&k->stream);
    LIST_REMOVE(k, link);
    if (k->peer)
        k->peer->connections--;
    s->nconn--;
    free(k);
    if (s->closing && s->nconn == 0) {
        free(s->peer);
        free(s);
    }
}

static bool may_read(const struct ln_conn *k)
{
    return !k->eof && !k->closing && k->nowed < PENDING_MAX &&
           ln_stream_kept(&k->stream) < KEPT_MAX && !k->source->channel->hub->reading_stopped;
}

static void conn_read_on(struct ln_conn *k)
{
    if (k->stopped && may_read(k)) {
        k->stopped = false;
        ln_stream_resume(&k->stream);
    }
}

static void conn_check_stop(struct ln_conn *k)
{
    struct ln_hub *h = k->source->channel->hub;
    if (!h->reading_stopped && ln_store_backlog(h->store) > BACKLOG_HIGH) {
        h->reading_stopped = true;
        ln_log(LN_DEBUG, "source", "backpressure", "on=1");
    }
    if (!k->stopped && !may_read(k)) {
        k->stopped = true;
        ln_stream_pause(&k->stream);
    }
}

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
                conn_read_on(k);
}

static void count_deviations(struct ln_conn *k)
{
    for (int i = 0; i < LN_MLLP_DEVIATIONS; i++) {
        uint64_t n = k->mllp.deviations[i] - k->counted[i];
        if (n == 0)
            continue;
        k->counted[i] = k->mllp.deviations[i];
        if (k->peer && k->peer->deviations[i] == 0)
            ln_log(LN_WARN, "source", "framing", "channel=%s peer=%s deviation=%s tolerated=1",
                   k->source->channel->name, k->name, ln_mllp_deviation_name(i));
        if (k->peer)
            k->peer->deviations[i] += n;
    }
}

/* ---- frames
 * ------------------------------------------------------------------------------------------ */

static void type_of(const struct ln_header *h, char *out, size_t cap)
{
    struct ln_span t = ln_header_component(h, 9, 1), e = ln_header_component(h, 9, 2);
    snprintf(out, cap, "%.*s%s%.*s", (int)(t.len > 20 ? 20 : t.len), t.ptr ? t.ptr : "",
             e.len ? "^" : "", (int)(e.len > 20 ? 20 : e.len), e.ptr ? e.ptr : "");
}

/* Stores one message of a frame; its part of the reply is settled now or when it is committed. */
static void store_message(struct ln_conn *k, struct ln_span raw, const struct ln_header *h,
                          bool readable, struct ln_owed *o, unsigned part)
{
    struct ln_channel *c = k->source->channel;
    char type[48] = "";
    struct ln_receipt r = {.kind = readable ? LN_R_RECEIVED : LN_R_UNREADABLE,
                           .time_us = ln_now_us(),
                           .peer = ln_span_str(k->name),
                           .raw = raw};
    if (h->kind == LN_HEADER_MSH) {
        r.control_id = h->field[10];
        type_of(h, type, sizeof type);
        r.type = ln_span_str(type);
        r.npatient = h->npatient;
        memcpy(r.patient, h->patient, sizeof h->patient[0] * h->npatient);
    }
    uint64_t seq;
    int rc = ln_work_append(c, &r, false, o, part, &seq);
    if (rc == LN_OK)
        return;
    ln_log(LN_ERROR, "source", "not_stored", "channel=%s peer=%s bytes=%zu why=\"%s\"", c->name,
           k->name, raw.len, ln_strerror(rc));
    ln_owed_settle(o, part, LN_ACK_AR,
                   "not stored: the receiver's store cannot take it now, send again");
}

static unsigned count_messages(struct ln_span frame)
{
    size_t pos = 0;
    unsigned n = 0;
    struct ln_span m;
    while (n <= BATCH_MAX && ln_batch_next(frame, &pos, &m))
        n++;
    return n;
}

static void on_batch(struct ln_conn *k, struct ln_span frame, const struct ln_header *h, unsigned n)
{
    struct ln_owed *o = owed_new(k, n);
    size_t pos = 0;
    struct ln_span m;
    if (!o)
        return;
    o->batch = h->kind != LN_HEADER_MSH;
    o->file = h->kind == LN_HEADER_FHS;
    part_header(&o->own, h);
    o->pending++; /* ours, so that settling inside the loop does not end it */
    ln_store_begin(k->source->channel->hub->store);
    for (unsigned i = 0; i < n && ln_batch_next(frame, &pos, &m); i++) {
        struct ln_header mh;
        bool readable = ln_header_read(m, &mh, NULL) == LN_OK;
        part_header(&o->part[i], &mh);
        store_message(k, m, &mh, readable, o, i);
    }
    ln_store_end(k->source->channel->hub->store);
    if (--o->pending == 0 && TAILQ_FIRST(&k->owed) == o)
        send_replies(k);
}

static void on_frame(struct ln_conn *k, struct ln_span frame)
{
    struct ln_channel *c = k->source->channel;
    struct ln_header h;
    struct ln_err err = {0};
    c->last_in_us = ln_now_us();
    if (k->peer)
        k->peer->frames++;
    bool readable = ln_header_read(frame, &h, &err) == LN_OK;
    unsigned n = readable ? count_messages(frame) : 1;
    if (n == 0 || n > BATCH_MAX) { /* kept and refused as a whole, never in part */
        readable = false;
        n = 1;
    }
    if (!readable)
        ln_log(LN_WARN, "source", "unreadable", "channel=%s peer=%s bytes=%zu offset=%zu kept=1",
               c->name, k->name, frame.len, err.offset);
    if (readable && (n > 1 || h.kind != LN_HEADER_MSH)) {
        on_batch(k, frame, &h, n);
        return;
    }
    struct ln_owed *o = owed_new(k, 1);
    if (!o)
        return;
    part_header(&o->part[0], &h);
    store_message(k, frame, &h, readable, o, 0);
}

/* Answers AR and closes. start: the first bytes of what was sent, for MSA-2; may be empty. */
static void refuse(struct ln_conn *k, struct ln_span start, const char *text)
{
    struct ln_header h;
    struct ln_owed *o = owed_new(k, 1);
    if (!o)
        return;
    (void)!ln_header_read(start, &h, NULL);
    part_header(&o->part[0], &h);
    k->closing = true;
    ln_stream_pause(&k->stream);
    ln_owed_settle(o, 0, LN_ACK_AR, text); /* may free k */
}

static void late_end(evutil_socket_t fd, short what, void *arg)
{
    struct ln_conn *k = arg;
    struct ln_span frame;
    (void)fd;
    (void)what;
    size_t used;
    if (ln_mllp_finish(&k->mllp, &frame) == LN_MLLP_FRAME) {
        count_deviations(k);
        on_frame(k, frame);
        (void)ln_mllp_feed(&k->mllp, NULL, 0, &used, &frame); /* gives the frame's memory back */
    }
}

static void wait_for_end(struct ln_conn *k)
{
    struct timeval tv = {0, PENDING_END_MS * 1000};
    if (!k->late_end)
        k->late_end = evtimer_new(k->source->channel->hub->base, late_end, k);
    if (k->late_end)
        evtimer_add(k->late_end, &tv);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_conn *k = owner;
    size_t used;
    struct ln_span frame;
    k->last_us = ln_mono_us();
    if (k->late_end)
        evtimer_del(k->late_end);
    k->nowed++; /* holds the connection: replies sent from within must not free it */
    while (len > 0) {
        enum ln_mllp_event ev = ln_mllp_feed(&k->mllp, data, len, &used, &frame);
        data += used;
        len -= used;
        if (ev == LN_MLLP_MORE)
            break;
        if (ev == LN_MLLP_FRAME) {
            on_frame(k, frame);
            continue;
        }
        ln_log(LN_ERROR, "source", "frame_too_big", "channel=%s peer=%s limit=%llu closed=1",
               k->source->channel->name, k->name,
               (unsigned long long)k->source->channel->conf->max_message);
        k->nowed--;
        refuse(k, ev == LN_MLLP_TOO_BIG ? frame : ln_span(NULL, 0),
               ev == LN_MLLP_TOO_BIG ? "message is larger than this receiver's max_message"
                                     : "receiver is out of memory");
        return;
    }
    count_deviations(k);
    if (ln_mllp_pending_end(&k->mllp))
        wait_for_end(k);
    k->nowed--;
    conn_check_stop(k);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_conn *k = owner;
    struct ln_span frame;
    k->nowed++;
    if (code == LN_ECLOSED && ln_mllp_pending_end(&k->mllp) &&
        ln_mllp_finish(&k->mllp, &frame) == LN_MLLP_FRAME)
        on_frame(k, frame);
    k->nowed--;
    if (ln_mllp_inside(&k->mllp))
        ln_log(LN_WARN, "source", "cut_off", "channel=%s peer=%s bytes=%zu why=\"%s\"",
               k->source->channel->name, k->name, ln_mllp_held(&k->mllp), why);
    count_deviations(k);
    k->eof = true;
    if (code != LN_ECLOSED || k->stream.broken || (k->nowed == 0 && !ln_stream_kept(&k->stream)))
        conn_free(k);
}

static void on_drained(void *owner)
{
    struct ln_conn *k = owner;
    if ((k->eof || k->closing) && k->nowed == 0)
        conn_free(k);
    else
        conn_read_on(k);
}

static const struct ln_stream_ops conn_ops = {on_data, on_closed, on_drained};

/* ---- accepting
 * --------------------------------------------------------------------------------------- */

static struct peer *peer_of(struct ln_source *s, const char *name)
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

static bool in_range(const char *range, const char *peer)
{
    char net[64], addr[64];
    unsigned char a[16], b[16];
    const char *slash = strchr(range, '/'), *colon = strrchr(peer, ':');
    bool v6 = peer[0] == '[';
    snprintf(net, sizeof net, "%.*s", slash ? (int)(slash - range) : (int)strlen(range), range);
    snprintf(addr, sizeof addr, "%.*s", colon ? (int)(colon - peer) - 2 * v6 : 0, peer + v6);
    int family = v6 ? AF_INET6 : AF_INET, bits = v6 ? 128 : 32;
    if (inet_pton(family, net, a) != 1 || inet_pton(family, addr, b) != 1)
        return false;
    if (slash && atoi(slash + 1) < bits)
        bits = atoi(slash + 1);
    if (memcmp(a, b, (size_t)bits / 8) != 0)
        return false;
    int rest = bits % 8;
    return rest == 0 || (a[bits / 8] >> (8 - rest)) == (b[bits / 8] >> (8 - rest));
}

static bool allowed(const struct ln_conf_channel *conf, const char *peer)
{
    for (unsigned i = 0; i < conf->nallow; i++)
        if (in_range(conf->allow[i], peer))
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

static void on_accept(void *owner, int fd, const char *name)
{
    struct ln_source *s = owner;
    struct ln_channel *c = s->channel;
    if (!allowed(c->conf, name)) {
        log_refusal(s, name, "peer_not_allowed", ++s->denied);
        close(fd);
        return;
    }
    struct ln_conn *k = calloc(1, sizeof *k);
    if (!k || ln_stream_init(&k->stream, c->hub->base, fd, &conn_ops, k) != LN_OK) {
        if (!k)
            close(fd);
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
    if (s->nconn > c->conf->max_connections) {
        log_refusal(s, name, "too_many_connections", ++s->over_limit);
        refuse(k, ln_span(NULL, 0), "too many connections to this receiver");
        return;
    }
    conn_check_stop(k);
}

int ln_source_open(struct ln_channel *c, const struct ln_conf_channel *conf, struct ln_source **out,
                   struct ln_err *err)
{
    struct ln_source *s = calloc(1, sizeof *s);
    if (!s)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    s->channel = c;
    LIST_INIT(&s->conns);
    int rc = ln_listen_tcp(c->hub->base, conf->host, conf->port, on_accept, s, &s->listener, err);
    if (rc != LN_OK) {
        free(s);
        return rc;
    }
    *out = s;
    return LN_OK;
}

void ln_source_close(struct ln_source *s, bool keep_replies)
{
    struct ln_conn *k, *next;
    if (!s)
        return;
    ln_listener_free(s->listener);
    s->listener = NULL;
    s->nconn++; /* ours, until the loop is through */
    for (k = LIST_FIRST(&s->conns); k; k = next) {
        next = LIST_NEXT(k, link);
        k->closing = true;
        ln_stream_pause(&k->stream);
        if (!keep_replies || (k->nowed == 0 && ln_stream_kept(&k->stream) == 0))
            conn_free(k);
    }
    s->closing = true;
    if (--s->nconn == 0) {
        free(s->peer);
        free(s);
    }
}

unsigned ln_source_connections(const struct ln_channel *c)
{
    return c->source ? c->source->nconn : 0;
}

void ln_source_tick(struct ln_channel *c, int64_t mono_us)
{
    struct ln_conn *k, *next;
    for (k = c->source ? LIST_FIRST(&c->source->conns) : NULL; k; k = next) {
        next = LIST_NEXT(k, link);
        double idle = (double)(mono_us - k->last_us) / 1e6;
        if (k->stopped || k->nowed > 0)
            continue; /* it waits for us */
        if (ln_mllp_inside(&k->mllp) && idle > FRAME_IDLE_S) {
            ln_log(LN_WARN, "source", "unfinished_frame",
                   "channel=%s peer=%s bytes=%zu idle_s=%.0f closed=1", c->name, k->name,
                   ln_mllp_held(&k->mllp), idle);
            conn_free(k);
        } else if (c->conf->idle_s > 0 && idle > c->conf->idle_s) {
            ln_log(LN_INFO, "source", "idle", "channel=%s peer=%s idle_s=%.0f closed=1", c->name,
                   k->name, idle);
            conn_free(k);
        }
    }
}

void ln_source_status(struct ln_channel *c, struct ln_buf *b)
{
    struct ln_source *s = c->source;
    ln_json_key(b, "peers");
    ln_json_open(b, '[');
    for (unsigned i = 0; s && i < s->npeer; i++) {
        struct peer *p = &s->peer[i];
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
