/* What senders are owed: one acknowledgement per message, sent in the order the frames came in,
 * when all that the channel's `ack` asks for is done. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/source.h"

static void owed_free(struct ln_owed *o)
{
    for (unsigned i = 0; i < o->total; i++) {
        free(o->part[i].header);
        free(o->part[i].errors);
    }
    free(o->own.header);
    free(o);
}

struct ln_owed *ln_owed_new(struct ln_conn *conn, unsigned total)
{
    struct ln_owed *o = calloc(1, sizeof *o + total * sizeof o->part[0]);
    if (!o)
        return NULL;
    o->conn = conn;
    o->total = o->pending = total;
    enum ln_ack_mode ack = conn->source->channel->conf->ack;
    o->later = ack == LN_ACK_TRANSFORM || ack == LN_ACK_DELIVERY;
    o->enhanced = conn->source->channel->conf->enhanced;
    o->from_us = conn->last_us;
    TAILQ_INSERT_TAIL(&conn->owed, o, link);
    conn->nowed++;
    return o;
}

void ln_owed_header(struct ln_reply_part *p, const struct ln_header *h)
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
static bool part_read(const struct ln_reply_part *p, const struct ln_charset_policy *policy,
                      struct ln_header *h)
{
    *h = (struct ln_header){0};
    return p->header &&
           ln_header_read_as(ln_span(p->header, p->header_len), policy, h, NULL) == LN_OK;
}

/* Which answers the sender gets: what MSH-15 and MSH-16 say in enhanced mode; in original mode one,
 * since many senders fill them without meaning it. */
static struct ln_ack_wish wish_of(bool enhanced, const struct ln_header *h)
{
    if (enhanced)
        return ln_ack_wish_read(h);
    return (struct ln_ack_wish){.accept = LN_ACK_NEVER, .application = LN_ACK_ALWAYS};
}

struct ln_owed *ln_owed_message(struct ln_conn *k, const struct ln_header *h)
{
    const struct ln_channel *c = k->source->channel;
    struct ln_ack_wish wish = wish_of(c->conf->enhanced, h);
    bool later = c->conf->ack == LN_ACK_TRANSFORM || c->conf->ack == LN_ACK_DELIVERY;
    struct ln_owed *accept = NULL, *o;
    if (wish.enhanced && later && wish.accept != LN_ACK_NEVER) {
        accept = ln_owed_new(k, 1);
        if (!accept)
            return NULL;
        accept->is_accept = true;
        ln_owed_header(&accept->part[0], h);
    }
    o = ln_owed_new(k, 1);
    if (o) {
        o->accept = accept;
        ln_owed_header(&o->part[0], h);
    } else if (accept) {
        TAILQ_REMOVE(&k->owed, accept, link);
        k->nowed--;
        owed_free(accept);
    }
    return o;
}

/* What is sent of a single message's reply in enhanced mode; false: nothing. Where nobody waits for
 * the script, a message that is stored is all there is to be known: one answer, the accept
 * acknowledgement when it is wanted, or else the application's. */
static bool enhanced(const struct ln_owed *o, const struct ln_header *h, enum ln_ack_code *code)
{
    struct ln_ack_wish wish = wish_of(o->enhanced, h);
    if (!wish.enhanced)
        return true;
    if (o->is_accept || !o->later) {
        bool due = ln_ack_is_due(wish.accept, *code);
        if (due || o->is_accept) {
            *code = ln_ack_accept(*code);
            return due;
        }
    }
    return ln_ack_is_due(wish.application, *code);
}

static void write_part(struct ln_channel *c, struct ln_buf *out, const struct ln_owed *o,
                       const struct ln_reply_part *p)
{
    struct ln_header h;
    char id[24];
    struct ln_ack ack = {.code = p->code, .text = ln_span_str(p->text), .time_us = ln_now_us()};
    struct ln_ack_error errors[LN_ACK_ERRORS_MAX];
    ack.control_id = ln_hub_control_id(c->hub, id, sizeof id);
    if (p->errors && ack.code != LN_ACK_AA) {
        ack.errors = errors;
        ack.nerrors = ln_ack_errors_read(ln_span_str(p->errors), errors);
    }
    if (!part_read(p, &c->conf->charset, &h) && ack.code == LN_ACK_AA)
        ack.code = LN_ACK_AR; /* lost for lack of memory: never an AA built from nothing */
    if (o->silent || (o->total == 1 && !o->batch && !enhanced(o, &h, &ack.code)))
        return;
    if (ln_ack_write(out, &h, &ack) != LN_OK)
        out->failed = true;
}

static void write_owed(struct ln_channel *c, struct ln_buf *out, struct ln_owed *o)
{
    struct ln_header h;
    char id[24];
    struct ln_ack ack = {.time_us = ln_now_us()};
    if (o->batch) {
        (void)part_read(&o->own, &c->conf->charset, &h);
        ack.control_id = ln_hub_control_id(c->hub, id, sizeof id);
        if (ln_ack_batch_begin(out, &h, &ack, o->file) != LN_OK)
            out->failed = true;
    }
    for (unsigned i = 0; i < o->total; i++)
        write_part(c, out, o, &o->part[i]);
    if (o->batch && ln_ack_batch_end(out, &h, o->total, o->file) != LN_OK)
        out->failed = true;
}

void ln_owed_send(struct ln_conn *k)
{
    static struct ln_buf text, frame;
    struct ln_owed *o;
    struct ln_channel *c = k->source->channel;
    int64_t now = ln_mono_us();
    ln_buf_clear(&frame, 64 * 1024);
    while ((o = TAILQ_FIRST(&k->owed)) && o->pending == 0) {
        ln_buf_clear(&text, 64 * 1024);
        if (c->conf->ack != LN_ACK_NONE)
            write_owed(c, &text, o);
        ln_spread_time(&c->acked_us, now - o->from_us);
        if (text.len && !text.failed)
            ln_mllp_write(&frame, ln_buf_span(&text));
        TAILQ_REMOVE(&k->owed, o, link);
        k->nowed--;
        owed_free(o);
    }
    k->last_us = now;
    if (frame.len)
        (void)!ln_stream_write(&k->stream, ln_buf_span(&frame));
    ln_conn_settled(k);
}

void ln_owed_stored(struct ln_owed *o)
{
    struct ln_owed *accept = o->accept;
    o->accept = NULL;
    if (accept)
        ln_owed_settle(accept, 0, LN_ACK_AA, NULL);
}

/* Refused before it was stored: that is what the accept acknowledgement says, when it is wanted. */
static void refuse_accept(struct ln_owed *o, enum ln_ack_code code, const char *text)
{
    struct ln_owed *accept = o->accept;
    struct ln_header h;
    o->accept = NULL;
    (void)part_read(&accept->part[0], NULL, &h);
    o->silent = ln_ack_is_due(wish_of(o->enhanced, &h).accept, code);
    ln_owed_settle(accept, 0, code, text);
}

void ln_owed_settle(struct ln_owed *o, unsigned part, enum ln_ack_code code, const char *text)
{
    if (o->accept)
        refuse_accept(o, code, text);
    o->part[part].code = code;
    snprintf(o->part[part].text, sizeof o->part[part].text, "%s", text ? text : "");
    if (--o->pending > 0)
        return;
    if (!o->conn)
        owed_free(o);
    else if (TAILQ_FIRST(&o->conn->owed) == o)
        ln_owed_send(o->conn);
}

void ln_owed_drop(struct ln_conn *k)
{
    struct ln_owed *o;
    while ((o = TAILQ_FIRST(&k->owed))) {
        TAILQ_REMOVE(&k->owed, o, link);
        o->conn = NULL;
        if (o->pending == 0)
            owed_free(o);
    }
}
