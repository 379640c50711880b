/* What carries the audit log to a repository: a process of its own that the hub starts when
 * lunate.lua has audit.syslog. It reads the log's files itself; the hub keeps how far it is, for
 * status, metrics and alerts. Nothing waits for it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/child.h"

struct ln_audit_send {
    struct ln_child child; /* its settings: pairs audit.* */
    bool reported;
    uint64_t sent, earlier; /* since it was started; by those before it */
    uint64_t marked, head; /* numbers: what arrived, what is signed */
    int64_t oldest_us; /* when the oldest entry was written that did not arrive; 0: none */
    char failure[600];
};

static int take_state(struct ln_audit_send *a, struct ln_wire_in *in)
{
    struct ln_span why = ln_wire_get_bytes(in);
    uint64_t marked = ln_wire_get_u64(in), head = ln_wire_get_u64(in), oldest = ln_wire_get_u64(in),
             sent = ln_wire_get_u64(in);
    if (!ln_wire_done(in))
        return LN_EPARSE;
    char *text = ln_child_text(why, sizeof a->failure - 1);
    snprintf(a->failure, sizeof a->failure, "%s", text ? text : "");
    free(text);
    a->marked = marked;
    a->head = head;
    a->oldest_us = oldest < (uint64_t)INT64_MAX ? (int64_t)oldest : 0;
    a->sent = sent;
    a->reported = true;
    return LN_OK;
}

static int on_record(void *owner, uint8_t type, struct ln_wire_in *in)
{
    struct ln_audit_send *a = owner;
    switch (type) {
    case LN_P_AUDIT_STATE: return take_state(a, in);
    case LN_P_LOG: return ln_child_log(&a->child, in);
    default: return LN_EPARSE;
    }
}

static void on_lost(void *owner, const char *why)
{
    struct ln_audit_send *a = owner;
    a->earlier += a->sent;
    a->sent = 0;
    snprintf(a->failure, sizeof a->failure, "audit-send: %s; it is being started again", why);
}

static const struct ln_child_ops ops = {
    .role = "audit-send",
    .silent_us = 300 * 1000000LL, /* looking up a name may take its time */
    .record = on_record,
    .lost = on_lost,
};

void ln_audit_send_stop(struct ln_hub *h)
{
    struct ln_audit_send *a = h->audit_send;
    if (!a)
        return;
    h->audit_send = NULL;
    ln_child_stop(&a->child);
    free(a);
}

void ln_audit_send_apply(struct ln_hub *h)
{
    struct ln_blob *settings = ln_child_settings(h->site_settings, "audit.syslog.");
    if (settings)
        h->audit_send = ln_child_apply(h->audit_send, sizeof *h->audit_send, h, &ops, settings);
    else
        ln_audit_send_stop(h);
}

void ln_audit_send_numbers(const struct ln_hub *h, struct ln_audit_send_numbers *out)
{
    const struct ln_audit_send *a = h->audit_send;
    *out = (struct ln_audit_send_numbers){.configured = a != NULL};
    if (!a)
        return;
    out->failing = a->failure[0] != '\0';
    out->sent = a->earlier + a->sent;
    out->behind = a->head > a->marked ? a->head - a->marked : 0;
    int64_t age_us = a->oldest_us ? ln_now_us() - a->oldest_us : 0;
    out->behind_s = age_us > 0 ? (double)age_us / 1e6 : 0;
}

void ln_audit_send_status(const struct ln_hub *h, struct ln_buf *b)
{
    const struct ln_audit_send *a = h->audit_send;
    struct ln_audit_send_numbers n;
    if (!a) {
        ln_json_null(b);
        return;
    }
    ln_audit_send_numbers(h, &n);
    ln_json_open(b, '{');
    ln_json_key(b, "state");
    ln_json_cstr(b, !a->child.pid ? "down" : a->reported ? "running" : "starting");
    ln_json_key(b, "failure");
    ln_json_cstr(b, a->failure);
    ln_json_key(b, "pid");
    ln_json_int(b, a->child.pid);
    ln_json_key(b, "sent");
    ln_json_int(b, (int64_t)n.sent);
    ln_json_key(b, "sent_to");
    ln_json_int(b, (int64_t)a->marked);
    ln_json_key(b, "behind");
    ln_json_int(b, (int64_t)n.behind);
    ln_json_key(b, "behind_s");
    ln_json_num(b, n.behind_s, 1);
    ln_json_close(b, '}');
}
