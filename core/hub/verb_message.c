/* Verbs on messages in the store. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/control.h"

enum { PARTS = 256 };
#define AGAIN_EDITED "edited and processed again"

struct resend {
    LIST_ENTRY(resend) link;
    struct ln_asker *client;
    struct ln_channel *channel;
    struct ln_blob *raw;
    uint8_t kind;
    int64_t time_us;
    uint64_t origin;
    uint16_t dest; /* the only one; 0 = all */
};

/* Not committed yet: what they resend is on its way, though the store still calls it parked. */
static LIST_HEAD(, resend) on_the_way = LIST_HEAD_INITIALIZER(on_the_way);

static void on_resent(void *arg, int code, uint64_t seq)
{
    struct resend *r = arg;
    LIST_REMOVE(r, link);
    struct ln_asker *k = r->client;
    if (code == LN_OK) {
        ln_work_add(r->channel, seq, r->time_us, r->kind, r->raw, NULL, 0);
        ln_work_pump(r->channel);
        ln_asker_number(k, "seq", seq);
    } else {
        ln_asker_fail(k, 1, "not stored: %s", ln_strerror(code));
    }
    ln_blob_unref(r->raw);
    free(r);
    ln_asker_let_go(k);
}

/* Checks what is to be sent again, and copies its receipt. Within a read transaction. */
static int resend_check(struct ln_asker *k, struct ln_channel *c, uint64_t seq, bool reprocess,
                        const struct ln_dest *only, struct ln_receipt *r, struct ln_processed *p)
{
    int rc = ln_read_receipt(k->hub->reader, c->id, seq, r);
    if (rc != LN_OK) {
        ln_asker_fail(k, 1, "no message %s/%llu", c->name, (unsigned long long)seq);
        return rc;
    }
    if (r->kind == LN_R_UNREADABLE) {
        ln_asker_fail(k, 1, "%s/%llu is not an HL7 message: there is nothing to send", c->name,
                      (unsigned long long)seq);
        return LN_EINVAL;
    }
    *p = (struct ln_processed){0};
    rc = ln_read_result(k->hub->reader, c->id, seq, p);
    if (reprocess)
        return LN_OK;
    unsigned deliverable = 0;
    for (uint32_t i = 0; rc == LN_OK && i < p->nitems; i++)
        deliverable += p->items[i].kind != LN_I_FILTERED && p->items[i].kind != LN_I_PARKED &&
                       (!only || p->items[i].dest == only->id);
    if (rc == LN_OK && deliverable)
        return LN_OK;
    ln_asker_fail(
        k, 1, "%s/%llu has no output to send again%s%s%s; use --reprocess to run the script on it",
        c->name, (unsigned long long)seq, only ? " to " : "", only ? only->conf.name : "",
        rc == LN_OK ? "" : " (it is not processed yet)");
    return LN_EINVAL;
}

/* What goes out again is no longer waiting for somebody. */
static void unpark(struct ln_channel *c, uint64_t seq, const struct ln_dest *only,
                   const struct ln_processed *p)
{
    struct ln_store *s = c->hub->store;
    if (!only)
        (void)!ln_store_unpark(s, c->id, seq, LN_WHOLE, NULL, NULL);
    for (uint32_t i = 0; i < p->nitems; i++)
        if (!only || p->items[i].dest == only->id)
            (void)!ln_store_unpark(s, c->id, seq, i, NULL, NULL);
}

/* Appends r to c as what `verb` made of seq, and says so with seq. Within a read transaction. */
static void append_again(struct ln_asker *k, struct ln_channel *c, uint64_t seq,
                         struct ln_receipt *r, const struct ln_dest *only,
                         const struct ln_processed *p, const char *verb)
{
    struct resend *arg = calloc(1, sizeof *arg);
    uint64_t again;
    char text[128];
    r->origin_chan = c->id;
    r->origin_seq = seq;
    r->time_us = ln_now_us();
    if (arg)
        *arg = (struct resend){.client = k,
                               .channel = c,
                               .raw = ln_blob_new(r->raw),
                               .kind = r->kind,
                               .time_us = r->time_us,
                               .origin = seq,
                               .dest = only ? only->id : 0};
    ln_store_begin(k->hub->store);
    int rc = arg && arg->raw
                 ? ln_store_append(k->hub->store, c->id, r, true, on_resent, arg, &again)
                 : LN_ENOMEM;
    if (rc == LN_OK) {
        LIST_INSERT_HEAD(&on_the_way, arg, link);
        ln_asker_hold(k);
        snprintf(text, sizeof text, "%s as %s/%llu", verb, c->name, (unsigned long long)again);
        ln_asker_note(c, seq, only ? only->id : 0, text);
        unpark(c, seq, only, p);
    } else {
        if (arg)
            ln_blob_unref(arg->raw);
        free(arg);
        ln_asker_fail(k, 1, "not stored: %s", ln_strerror(rc));
    }
    ln_store_end(k->hub->store);
}

/* The parked parts of a message: LN_WHOLE and outputs; at most cap. Within a read
 * transaction. */
static unsigned parked_parts(struct ln_channel *c, uint64_t seq, uint32_t *part, unsigned cap)
{
    uint64_t at = seq > 0 ? seq - 1 : 0;
    uint32_t n = LN_WHOLE;
    unsigned count = 0;
    while (count < cap && ln_read_next_parked(c->hub->reader, c->id, &at, &n) == LN_OK && at <= seq)
        if (at == seq)
            part[count++] = n;
    return count;
}

/* Whether seq is parked (at only) and nobody is about to resend it. Within a read transaction. */
static bool still_parked(struct ln_channel *c, uint64_t seq, const struct ln_dest *only,
                         const struct ln_processed *p)
{
    uint32_t part[PARTS];
    unsigned count = parked_parts(c, seq, part, PARTS), there = only ? 0 : count;
    for (unsigned i = 0; only && i < count; i++)
        there += part[i] < p->nitems && p->items[part[i]].dest == only->id;
    const struct resend *r;
    LIST_FOREACH (r, &on_the_way, link)
        if (r->channel == c && r->origin == seq && (!only || !r->dest || r->dest == only->id))
            return false;
    return there > 0;
}

/* The notes that append_again leaves. */
static bool says_again(struct ln_span text)
{
    static const char *const verbs[] = {"resent as ", "reprocessed as ", AGAIN_EDITED " as "};
    for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (text.len > strlen(verbs[i]) && memcmp(text.ptr, verbs[i], strlen(verbs[i])) == 0)
            return true;
    return false;
}

/* Whether somebody has sent seq again (to `only`, or to all) since the verb began to look at it:
 * then k is told, and asks once more when it is wanted twice. Within a read transaction. */
static bool sent_meanwhile(struct ln_asker *k, struct ln_channel *c, uint64_t seq,
                           const struct ln_dest *only, const char *since)
{
    struct ln_event e;
    const struct resend *r;
    int64_t since_us = strtoll(since, NULL, 10);
    char what[200] = "";
    LIST_FOREACH (r, &on_the_way, link)
        if (r->channel == c && r->origin == seq && (!only || !r->dest || r->dest == only->id))
            snprintf(what, sizeof what, "is on its way already");
    for (uint32_t i = 0;
         since_us > 0 && ln_read_event(k->hub->reader, c->id, seq, &i, &e) == LN_OK;)
        if (e.kind == LN_EV_OPERATOR && e.time_us >= since_us &&
            (!only || !e.dest || e.dest == only->id) && says_again(e.text))
            snprintf(what, sizeof what, "was %.*s", (int)(e.text.len < 150 ? e.text.len : 150),
                     e.text.ptr);
    if (!what[0])
        return false;
    ln_asker_fail(
        k, 1,
        "%s/%llu %s by somebody else meanwhile: nothing more is sent (lunate show %s/%llu; ask "
        "again to have it sent once more)",
        c->name, (unsigned long long)seq, what, c->name, (unsigned long long)seq);
    return true;
}

static struct ln_channel *loaded_channel(struct ln_asker *k, const char *name)
{
    struct ln_channel *c = ln_asker_channel(k, name);
    if (c && c->failed) {
        ln_asker_fail(k, 1, "channel %s does not load", c->name);
        return NULL;
    }
    return c;
}

/* The destination of that name, NULL for none ("": all); false when there is none such: k is told.
 */
static bool only_dest(struct ln_asker *k, struct ln_channel *c, const char *name,
                      struct ln_dest **only)
{
    *only = name[0] ? ln_channel_dest(c, name) : NULL;
    if (!name[0] || *only)
        return true;
    ln_asker_fail(k, 1, "channel %s has no destination named %.64s", c->name, name);
    return false;
}

/* resend CHANNEL SEQ DEST|"" 0|1 "parked"|"" SINCE: with "parked" only what is parked at this
 * moment, and nothing that was sent again since the verb began (SINCE, microseconds since 1970), so
 * that two people who do the same send it once */
void ln_verb_resend(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_channel *c = loaded_channel(k, word[1]);
    uint64_t seq = strtoull(word[2], NULL, 10);
    bool reprocess = strcmp(word[4], "1") == 0;
    struct ln_receipt r;
    struct ln_processed p;
    struct ln_dest *only;
    (void)n;
    if (!c || !only_dest(k, c, word[3], &only))
        return;
    if (ln_reader_begin(k->hub->reader) != LN_OK) {
        ln_asker_fail(k, 1, "the store cannot be read");
        return;
    }
    if (resend_check(k, c, seq, reprocess, only, &r, &p) != LN_OK) {
        /* it has been told */
    } else if (word[5][0] && !still_parked(c, seq, only, &p)) {
        ln_asker_fail(k, 1,
                      "%s/%llu is no longer parked%s%s: somebody was faster (lunate show "
                      "%s/%llu)",
                      c->name, (unsigned long long)seq, only ? " at " : "",
                      only ? only->conf.name : "", c->name, (unsigned long long)seq);
    } else if (!sent_meanwhile(k, c, seq, only, word[6])) {
        r.kind = reprocess ? LN_R_REPROCESS : LN_R_RESENT;
        r.only_dest = ln_span_str(word[3]);
        append_again(k, c, seq, &r, only, &p, reprocess ? "reprocessed" : "resent");
    }
    ln_reader_end(k->hub->reader);
}

/* edit CHANNEL SEQ BYTES SINCE [DEST]: the message as somebody has changed it, through the script;
 * not when another has sent it again meanwhile */
void ln_verb_edit(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_channel *c = loaded_channel(k, word[1]);
    uint64_t seq = strtoull(word[2], NULL, 10);
    struct ln_receipt r;
    struct ln_processed p = {0};
    struct ln_header h;
    struct ln_err err = {0};
    char type[48];
    const char *dest = n > 5 ? word[5] : "";
    struct ln_dest *only;
    if (!c || !only_dest(k, c, dest, &only))
        return;
    if (ln_header_read(ln_span_str(word[3]), &h, &err) != LN_OK || h.kind != LN_HEADER_MSH) {
        ln_asker_fail(k, 1, "what was edited is not an HL7 message: %s",
                      err.text[0] ? err.text : "it does not begin with MSH");
        return;
    }
    if (ln_reader_begin(k->hub->reader) != LN_OK) {
        ln_asker_fail(k, 1, "the store cannot be read");
        return;
    }
    if (ln_read_receipt(k->hub->reader, c->id, seq, &r) != LN_OK) {
        ln_asker_fail(k, 1, "no message %s/%llu", c->name, (unsigned long long)seq);
    } else if (!sent_meanwhile(k, c, seq, only, word[4])) {
        (void)!ln_read_result(k->hub->reader, c->id, seq, &p);
        r = (struct ln_receipt){.kind = LN_R_REPROCESS, .raw = ln_span_str(word[3])};
        ln_receipt_fill(&r, &h, type, sizeof type);
        r.only_dest = ln_span_str(dest);
        append_again(k, c, seq, &r, only, &p, AGAIN_EDITED);
    }
    ln_reader_end(k->hub->reader);
}

/* ---- settle ---------------------------------------------------------------------------------- */

static void on_settled(void *arg, int code, uint64_t seq)
{
    struct ln_asker *k = arg;
    if (code == LN_OK)
        ln_asker_number(k, "settled", seq);
    else
        ln_asker_fail(k, 1, "not settled: %s", ln_strerror(code));
    ln_asker_let_go(k);
}

/* settle CHANNEL SEQ REASON: dealt with by hand, outside of the engine */
void ln_verb_settle(struct ln_asker *k, char **word, unsigned n)
{
    uint32_t part[PARTS];
    char text[700];
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    uint64_t seq = strtoull(word[2], NULL, 10);
    (void)n;
    if (!c)
        return;
    if (!word[3][0]) {
        ln_asker_fail(k, 2, "settle needs a reason: --reason TEXT");
        return;
    }
    bool readable = c->id && ln_reader_begin(c->hub->reader) == LN_OK;
    unsigned count = readable ? parked_parts(c, seq, part, PARTS) : 0;
    if (readable)
        ln_reader_end(c->hub->reader);
    if (count == 0) {
        ln_asker_fail(k, 1, "%s/%llu is not parked (lunate messages %s --state parked lists them)",
                      c->name, (unsigned long long)seq, c->name);
        return;
    }
    snprintf(text, sizeof text, "settled: %.600s", word[3]);
    struct ln_event e = {.kind = LN_EV_OPERATOR, .time_us = ln_now_us(), .text = ln_span_str(text)};
    struct ln_store *s = k->hub->store;
    ln_store_begin(s);
    int rc = LN_OK;
    for (unsigned i = 0; i < count && rc == LN_OK; i++)
        rc = ln_store_unpark(s, c->id, seq, part[i], NULL, NULL);
    if (rc == LN_OK)
        rc = ln_store_event(s, c->id, seq, &e, on_settled, k);
    ln_store_end(s);
    if (rc == LN_OK)
        ln_asker_hold(k);
    else
        ln_asker_fail(k, 1, "not settled: %s", ln_strerror(rc));
    ln_log(LN_WARN, "control", "settle", "channel=%s seq=%llu", c->name, (unsigned long long)seq);
}
