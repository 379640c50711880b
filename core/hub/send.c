/* Delivery, the wire: connecting, sending the first of a queue, and what the receiver answers. The
 * queue and the ends of its messages are dest.c's. */
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "hub/dest.h"

enum { CONNECT_MS = 10000 };

/* How long an answer is waited for that is not asked for, in enhanced mode. */
static const double UNASKED_S = 0.1;

/* ---- replies --------------------------------------------------------------------------------- */

static void on_negative(struct ln_dest *d, const struct ln_reply *r, struct ln_span frame)
{
    int which = (r->code[1] == 'R' ? LN_REFUSED_AR : LN_REFUSED_AE) + (r->code[0] == 'C' ? 2 : 0);
    enum ln_reply_policy policy = d->conf.on_reply[which];
    char why[80];
    snprintf(why, sizeof why, "answered %s", r->code);
    if (policy == LN_POLICY_PARK)
        ln_dest_end(d, LN_OUT_PARKED, frame, why);
    else if (policy == LN_POLICY_RETRY)
        ln_dest_fail(d, (enum ln_try)(LN_TRY_AE + which), why, frame);
    else
        ln_dest_refused(d, why);
}

/* Whether a reply is for what is in flight. A message without a control id is answered with none,
 * or with one that the receiver made up: then it must not be a second answer to the message before.
 */
static bool is_ours(const struct ln_dest *d, struct ln_span id)
{
    if (d->control_id_len == 0 && id.len)
        return !d->silent && (!d->used || !ln_span_eq(id, ln_span(d->former_id, d->former_id_len)));
    return ln_span_eq(id, ln_span(d->control_id, d->control_id_len));
}

static void on_reply(struct ln_dest *d, struct ln_span frame)
{
    struct ln_reply r;
    struct ln_err err = {0};
    if (!d->inflight) {
        ln_log(LN_WARN, "dest", "late_reply", "channel=%s dest=%s bytes=%zu ignored=1",
               d->channel->name, d->conf.name, frame.len);
        return;
    }
    if (ln_reply_read(frame, &r, &err) != LN_OK) {
        snprintf(d->odd, sizeof d->odd, "a reply is no acknowledgement: %.120s", err.text);
        snprintf(d->last_error, sizeof d->last_error, "%s", d->odd);
        ln_log(LN_WARN, "dest", "unreadable_reply",
               "channel=%s dest=%s seq=%llu bytes=%zu ignored=1", d->channel->name, d->conf.name,
               (unsigned long long)ln_dest_first(d)->pos.seq, frame.len);
        return;
    }
    if (!is_ours(d, r.control_id)) {
        snprintf(d->odd, sizeof d->odd, "a reply is for another control id (MSA-2)");
        ln_log(LN_WARN, "dest", "stale_reply", "channel=%s dest=%s seq=%llu code=%s ignored=1",
               d->channel->name, d->conf.name, (unsigned long long)ln_dest_first(d)->pos.seq,
               r.code);
        return;
    }
    d->used = true;
    if (r.code[1] == 'A')
        ln_dest_end(d, LN_OUT_SENT, frame, "");
    else
        on_negative(d, &r, frame);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_dest *d = owner;
    struct ln_span frame;
    size_t used;
    d->answered = true;
    while (d->connected && len > 0) {
        enum ln_mllp_event ev = ln_mllp_feed(&d->mllp, data, len, &used, &frame);
        data += used;
        len -= used;
        if (ev == LN_MLLP_MORE)
            break;
        if (ev != LN_MLLP_FRAME) {
            bool was = d->inflight;
            ln_dest_disconnect(d);
            if (was)
                ln_dest_fail(d, LN_TRY_CLOSED, "reply is larger than 1 MB", ln_span(NULL, 0));
            return;
        }
        on_reply(d, frame);
    }
    if (d->connected &&
        ln_mllp_pending_end(&d->mllp) && /* a reply without CR: nothing else is due */
        ln_mllp_finish(&d->mllp, &frame) == LN_MLLP_FRAME)
        on_reply(d, frame);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_dest *d = owner;
    bool was = d->inflight, worn = d->used && !d->answered, greeting = d->greeting;
    char text[900];
    ln_dest_disconnect(d);
    if (greeting) {
        snprintf(text, sizeof text, "no TLS with %.100s port %d: %s", d->conf.host, d->conf.port,
                 why);
        evtimer_del(&d->timer);
        ln_dest_fail(d, LN_TRY_TLS, text, ln_span(NULL, 0));
    } else if (was && worn) {
        /* Many receivers close after each reply, and our next message was faster than their end of
         * file. A new connection, at once; there it counts. */
        evtimer_del(&d->timer);
        d->tries--;
        ln_dest_pump(d);
    } else if (was) {
        snprintf(text, sizeof text, "connection closed before the reply (%s)", why);
        ln_dest_fail(d, code == LN_ETLS ? LN_TRY_TLS : LN_TRY_CLOSED, text, ln_span(NULL, 0));
    } else {
        ln_log(LN_INFO, "dest", "closed_by_peer", "channel=%s dest=%s", d->channel->name,
               d->conf.name);
        ln_dest_pump(d);
    }
}

static void on_secured(void *owner)
{
    struct ln_dest *d = owner;
    char session[120], peer[200];
    d->peer_not_after = ln_tls_peer(d->stream.tls, peer, sizeof peer);
    d->greeting = false;
    d->connected = true;
    evtimer_del(&d->timer);
    ln_log(LN_INFO, "dest", "connected", "channel=%s dest=%s to=%s:%d tls=\"%s\" peer=\"%s\"",
           d->channel->name, d->conf.name, d->conf.host, d->conf.port,
           ln_tls_describe(d->stream.tls, session, sizeof session), peer);
    ln_dest_pump(d);
}

static const struct ln_stream_ops dest_ops = {
    .data = on_data, .closed = on_closed, .secured = on_secured};

/* ---- sending --------------------------------------------------------------------------------- */

static void greet(struct ln_dest *d)
{
    d->greeting = true;
    if (ln_stream_secure(&d->stream, d->tls, d->conf.host) == LN_OK) {
        ln_dest_arm(d, CONNECT_MS / 1e3);
        return;
    }
    ln_dest_disconnect(d);
    ln_dest_fail(d, LN_TRY_OTHER, "out of memory", ln_span(NULL, 0));
}

static void on_dialled(void *owner, int fd, int code, const char *why)
{
    struct ln_dest *d = owner;
    char text[200];
    d->dial = NULL;
    if (fd >= 0 && ln_stream_init(&d->stream, d->channel->hub->base, fd, &dest_ops, d) == LN_OK) {
        if (d->tls) {
            greet(d);
            return;
        }
        d->connected = true;
        ln_log(LN_INFO, "dest", "connected", "channel=%s dest=%s to=%s:%d", d->channel->name,
               d->conf.name, d->conf.host, d->conf.port);
        ln_dest_pump(d);
        return;
    }
    (void)code;
    snprintf(text, sizeof text, "cannot connect to %.100s port %d: %s", d->conf.host, d->conf.port,
             fd >= 0 ? "out of memory" : why);
    ln_dest_fail(d, LN_TRY_CONNECT, text, ln_span(NULL, 0));
}

/* What must be known of what goes out to judge the replies. */
static void remember(struct ln_dest *d, struct ln_span bytes)
{
    struct ln_header h;
    if (d->control_id_len) {
        char *p = d->former_id;
        d->former_id = d->control_id;
        d->former_id_len = d->control_id_len;
        d->control_id = p;
    }
    d->control_id_len = 0;
    d->unasked = d->never = false;
    if (ln_header_read(bytes, &h, NULL) != LN_OK || h.kind != LN_HEADER_MSH)
        return;
    struct ln_ack_wish wish = ln_ack_wish_read(&h);
    d->unasked = d->conf.enhanced && !ln_ack_is_due(wish.accept, LN_ACK_CA) &&
                 !ln_ack_is_due(wish.application, LN_ACK_AA);
    d->never = d->unasked && wish.accept == LN_ACK_NEVER && wish.application == LN_ACK_NEVER;
    if (h.field[10].len == 0)
        return;
    char *p = realloc(d->control_id, h.field[10].len);
    if (!p)
        return;
    memcpy(p, h.field[10].ptr, h.field[10].len);
    d->control_id = p;
    d->control_id_len = h.field[10].len;
}

static void send_now(struct ln_dest *d)
{
    struct ln_due *x = ln_dest_first(d);
    struct ln_span bytes = ln_blob_span(x->bytes);
    remember(d, bytes);
    ln_buf_clear(&d->frame, 64 * 1024);
    if (ln_mllp_write(&d->frame, bytes) != LN_OK ||
        ln_stream_write(&d->stream, ln_buf_span(&d->frame)) == LN_ENOMEM) {
        ln_dest_disconnect(d);
        ln_dest_fail(d, LN_TRY_OTHER, "out of memory", ln_span(NULL, 0));
        return;
    }
    ln_buf_clear(&d->frame, 64 * 1024);
    d->tries++;
    d->answered = false;
    d->odd[0] = '\0';
    if (d->first_us == 0)
        d->first_us = ln_now_us();
    d->inflight = true;
    d->patience_s = d->never && d->conf.timeout_s > UNASKED_S ? UNASKED_S : d->conf.timeout_s;
    d->deadline_us = ln_mono_us() + (int64_t)(d->patience_s * 1e6);
    if (!evtimer_pending(&d->timer, NULL) || d->never)
        ln_dest_arm(d, d->patience_s);
}

void ln_send_first(struct ln_dest *d)
{
    if (d->connected) {
        send_now(d);
        return;
    }
    d->dial = ln_dial(d->channel->hub->base, d->channel->hub->dns, d->conf.host, d->conf.port,
                      CONNECT_MS, on_dialled, d);
    if (!d->dial)
        ln_dest_fail(d, LN_TRY_OTHER, "out of memory", ln_span(NULL, 0));
}

/* True when the receiver's machine has confirmed every byte that was sent. */
static bool has_arrived(const struct ln_dest *d)
{
    int left = 0;
    return ln_stream_kept(&d->stream) == 0 && ioctl(d->stream.fd, SIOCOUTQ, &left) == 0 &&
           left == 0;
}

static void no_reply(struct ln_dest *d)
{
    char why[256];
    int64_t left = d->deadline_us - ln_mono_us();
    if (left > 0) { /* armed for an earlier message */
        ln_dest_arm(d, (double)left / 1e6 + 0.001);
        return;
    }
    if (d->unasked && has_arrived(d)) {
        d->silent = d->used = true;
        ln_dest_end(d, LN_OUT_SENT, ln_span(NULL, 0),
                    "no acknowledgement came: MSH-15 and MSH-16 ask for none");
        return;
    }
    double more = d->conf.timeout_s - d->patience_s;
    if (more > 0) { /* slow today: all the time there is */
        d->patience_s = d->conf.timeout_s;
        d->deadline_us += (int64_t)(more * 1e6);
        ln_dest_arm(d, more);
        return;
    }
    snprintf(why, sizeof why, "no acknowledgement within %.3g s%s%s", d->conf.timeout_s,
             d->odd[0] ? "; " : "", d->odd);
    ln_dest_disconnect(d); /* a late reply cannot be taken for that of another message */
    ln_dest_fail(d, LN_TRY_TIMEOUT, why, ln_span(NULL, 0));
}

void ln_send_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_dest *d = arg;
    (void)fd;
    (void)what;
    if (d->inflight) {
        no_reply(d);
        return;
    }
    if (d->greeting) {
        ln_dest_disconnect(d);
        ln_dest_fail(
            d, LN_TRY_TLS,
            "the receiver did not finish the TLS handshake within 10 s: does it speak TLS?",
            ln_span(NULL, 0));
        return;
    }
    d->retrying = false;
    ln_dest_pump(d);
}
