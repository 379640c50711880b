/* Verbs on messages in the store. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/control.h"

struct resend {
    struct ln_asker *client;
    struct ln_channel *channel;
    struct ln_blob *raw;
    uint8_t kind;
    int64_t time_us;
};

static void on_resent(void *arg, int code, uint64_t seq)
{
    struct resend *r = arg;
    struct ln_asker *k = r->client;
    char text[32];
    if (code == LN_OK) {
        ln_work_add(r->channel, seq, r->time_us, r->kind, r->raw, NULL, 0);
        ln_work_pump(r->channel);
        snprintf(text, sizeof text, "%llu", (unsigned long long)seq);
        ln_asker_done(k, "seq", text);
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

/* resend CHANNEL SEQ DEST|"" 0|1 */
void ln_verb_resend(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    uint64_t seq = strtoull(word[2], NULL, 10), again;
    bool reprocess = strcmp(word[4], "1") == 0;
    struct ln_receipt r;
    struct ln_processed p;
    struct ln_dest *only = c && word[3][0] ? ln_channel_dest(c, word[3]) : NULL;
    char text[128];
    (void)n;
    if (!c || c->failed) {
        if (c)
            ln_asker_fail(k, 1, "channel %s does not load", c->name);
        return;
    }
    if (word[3][0] && !only) {
        ln_asker_fail(k, 1, "channel %s has no destination named %.64s", c->name, word[3]);
        return;
    }
    if (ln_reader_begin(k->hub->reader) != LN_OK) {
        ln_asker_fail(k, 1, "the store cannot be read");
        return;
    }
    struct resend *arg = calloc(1, sizeof *arg);
    if (arg && resend_check(k, c, seq, reprocess, only, &r, &p) == LN_OK) {
        r.kind = reprocess ? LN_R_REPROCESS : LN_R_RESENT;
        r.origin_chan = c->id;
        r.origin_seq = seq;
        r.time_us = ln_now_us();
        r.only_dest = ln_span_str(word[3]);
        *arg = (struct resend){k, c, ln_blob_new(r.raw), r.kind, r.time_us};
        ln_store_begin(k->hub->store);
        int rc = arg->raw ? ln_store_append(k->hub->store, c->id, &r, true, on_resent, arg, &again)
                          : LN_ENOMEM;
        if (rc == LN_OK) {
            ln_asker_hold(k);
            snprintf(text, sizeof text, "%s as %s/%llu", reprocess ? "reprocessed" : "resent",
                     c->name, (unsigned long long)again);
            ln_asker_note(c, seq, 0, text);
            unpark(c, seq, only, &p);
            arg = NULL;
        } else {
            ln_blob_unref(arg->raw);
            ln_asker_fail(k, 1, "not stored: %s", ln_strerror(rc));
        }
        ln_store_end(k->hub->store);
    }
    ln_reader_end(k->hub->reader);
    free(arg);
}
