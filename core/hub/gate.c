#include "hub/gate.h"

#include <stdio.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "audit/token.h"
#include "base/clock.h"
#include "hub/audit.h"
#include "hub/control.h"

enum { DENIED_MS = 300, PATIENCE_MS = 500 };

/* ---- who ---- */

void ln_gate_open(struct ln_asker *k)
{
    struct ln_gate *g = &k->gate;
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t len = sizeof cred, groups = sizeof g->gid - sizeof *g->gid;
    g->peer = (struct ln_caller){.uid = -1, .gid = g->gid};
    if (getsockopt(k->stream.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return;
    if (getsockopt(k->stream.fd, SOL_SOCKET, SO_PEERGROUPS, g->gid, &groups) == 0)
        g->peer.ngid = (unsigned)(groups / sizeof *g->gid);
    g->gid[g->peer.ngid++] = cred.gid;
    g->peer.uid = (int64_t)cred.uid;
    g->peer.pid = (int)cred.pid;
    g->peer.owner = cred.uid == 0 || cred.uid == geteuid();
    g->who = (struct ln_audit_who){
        .uid = g->peer.uid, .login_uid = -1, .pid = g->peer.pid, .via = "control"};
}

bool ln_gate_context(struct ln_asker *k, struct ln_wire_in *in)
{
    struct ln_gate *g = &k->gate;
    while (!in->bad && in->ptr < in->end) {
        struct ln_span key = ln_wire_get_bytes(in), v = ln_wire_get_bytes(in);
        int n = (int)(v.len < 1000 ? v.len : 1000);
        const char *p = v.len ? v.ptr : "";
        if (in->bad)
            return false;
        if (ln_span_is(key, "reason"))
            snprintf(g->reason, sizeof g->reason, "%.*s", n, p);
        else if (ln_span_is(key, "token"))
            snprintf(g->token, sizeof g->token, "%.*s", n, p);
        else if (ln_span_is(key, "break_glass"))
            g->glass = ln_span_is(v, "true");
    }
    return ln_wire_done(in);
}

/* ---- entries ---- */

static struct ln_audit_entry entry(struct ln_asker *k, const char *action, const char *outcome,
                                   const char *text)
{
    struct ln_gate *g = &k->gate;
    return (struct ln_audit_entry){.who = &g->who,
                                   .action = action,
                                   .object = g->object,
                                   .reason = g->reason,
                                   .outcome = outcome,
                                   .text = text};
}

static void put(struct ln_asker *k, const char *action, const char *outcome, const char *text,
                bool keep, ln_hub_audited *done)
{
    struct ln_audit_entry e = entry(k, action, outcome, text);
    ln_hub_audit_put(k->hub, &e, keep, done, k);
}

static void refuse(struct ln_asker *k, const char *why)
{
    ln_asker_fail(k, 1, "%s: refused, since it could not be recorded: %s", k->gate.action, why);
    ln_asker_let_go(k);
}

static void on_recorded(void *arg, int code, const char *why)
{
    struct ln_asker *k = arg;
    struct ln_gate *g = &k->gate;
    if (code != LN_OK && (g->right->flags & LN_RIGHT_STRICT)) {
        refuse(k, why);
        return;
    }
    g->recorded = true;
    g->go(k);
    ln_asker_let_go(k);
}

/* A deed that goes on without its entry when it must (hold, stop) does not wait long for a slow
 * disk either: the entry is on its way. */
struct soft {
    LIST_ENTRY(soft) link;
    struct ln_asker *k; /* NULL: gone on already */
    struct event timer;
};
static LIST_HEAD(, soft) softs = LIST_HEAD_INITIALIZER(softs);

static void go_on(struct soft *s)
{
    struct ln_asker *k = s->k;
    s->k = NULL;
    k->gate.recorded = true;
    k->gate.go(k);
    ln_asker_let_go(k);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    go_on(arg);
}

static void soft_free(struct soft *s)
{
    evtimer_del(&s->timer);
    LIST_REMOVE(s, link);
    free(s);
}

static void on_recorded_or_not(void *arg, int code, const char *why)
{
    struct soft *s = arg;
    (void)code;
    (void)why;
    if (s->k)
        go_on(s);
    soft_free(s);
}

static void put_and_go(struct ln_asker *k)
{
    struct ln_gate *g = &k->gate;
    struct timeval tv = {0, PATIENCE_MS * 1000};
    struct soft *s = calloc(1, sizeof *s);
    if (!s) {
        put(k, g->action, "ok", g->text, true, on_recorded);
        return;
    }
    s->k = k;
    LIST_INSERT_HEAD(&softs, s, link);
    evtimer_assign(&s->timer, k->hub->base, on_patience, s);
    evtimer_add(&s->timer, &tv);
    struct ln_audit_entry e = entry(k, g->action, "ok", g->text);
    ln_hub_audit_put(k->hub, &e, true, on_recorded_or_not, s);
}

void ln_gate_failed(struct ln_asker *k, struct ln_span why)
{
    char text[300];
    if (!k->gate.recorded)
        return;
    k->gate.recorded = false;
    snprintf(text, sizeof text, "%.*s", (int)(why.len < 280 ? why.len : 280), why.ptr);
    put(k, k->gate.action, "failed", text, true, NULL);
}

/* ---- denied ---- */

static void tell_denied(evutil_socket_t fd, short what, void *arg)
{
    struct ln_asker *k = arg;
    (void)fd;
    (void)what;
    ln_asker_fail(k, 1, "%s", k->gate.text);
    ln_asker_let_go(k);
}

/* Not at once: whoever has no right should not be able to fill the log. */
static void on_denied(void *arg, int code, const char *why)
{
    struct ln_asker *k = arg;
    struct timeval tv = {0, DENIED_MS * 1000};
    (void)code;
    (void)why;
    if (event_base_once(k->hub->base, -1, EV_TIMEOUT, tell_denied, k, &tv) != 0)
        tell_denied(-1, 0, k);
}

static void deny(struct ln_asker *k, enum ln_role has)
{
    struct ln_gate *g = &k->gate;
    char who[100], over[100];
    if (g->peer.token)
        snprintf(who, sizeof who, "%.90s", g->who.user);
    else
        snprintf(who, sizeof who, "uid %lld", (long long)g->peer.uid);
    snprintf(over, sizeof over, "%.80s",
             strcmp(g->channel, "*") == 0 ? "all channels"
             : g->channel[0]              ? g->channel
                                          : "a channel");
    snprintf(g->text, sizeof g->text,
             "%s may not %s: that needs the role %s over %s, and has %s (lunate.lua: access)", who,
             g->action, ln_role_name(g->right->role), over, ln_role_name(has));
    ln_log(LN_WARN, "gate", "denied", "uid=%lld verb=%s needs=%s has=%s", (long long)g->peer.uid,
           g->action, ln_role_name(g->right->role), ln_role_name(has));
    put(k, g->action, "denied", g->text, true, on_denied);
}

/* ---- the glass ---- */

static void use_glass(struct ln_asker *k)
{
    struct ln_gate *g = &k->gate;
    struct ln_glass **at = &k->hub->glass;
    int64_t now = ln_mono_us();
    g->peer.glass = LN_ROLE_NONE;
    bool may = ln_access_glass(&k->hub->access, &g->peer);
    while (*at) {
        struct ln_glass *one = *at;
        if (one->until_us < now) {
            *at = one->next;
            free(one);
            continue;
        }
        if (may && one->uid == g->peer.uid)
            g->peer.glass = k->hub->access.glass_role;
        at = &one->next;
    }
}

static void decide(struct ln_asker *k);

static void on_glass(void *arg, int code, const char *why)
{
    struct ln_asker *k = arg;
    struct ln_gate *g = &k->gate;
    struct ln_glass *one = code == LN_OK ? calloc(1, sizeof *one) : NULL;
    g->glass = false;
    if (!one) {
        refuse(k, code == LN_OK ? "out of memory" : why);
        return;
    }
    one->uid = g->peer.uid;
    one->until_us = ln_mono_us() + (int64_t)k->hub->access.glass_minutes * 60000000;
    one->next = k->hub->glass;
    k->hub->glass = one;
    ln_log(LN_ERROR, "gate", "break_glass", "uid=%lld role=%s minutes=%u", (long long)g->peer.uid,
           ln_role_name(k->hub->access.glass_role), k->hub->access.glass_minutes);
    syslog(LOG_AUTHPRIV | LOG_ALERT, "lunate[%d]: uid %lld breaks the glass of %s: %s for %u min",
           (int)getpid(), (long long)g->peer.uid, k->hub->site,
           ln_role_name(k->hub->access.glass_role), k->hub->access.glass_minutes);
    decide(k);
}

static bool break_glass(struct ln_asker *k)
{
    struct ln_gate *g = &k->gate;
    char text[200];
    if (!g->glass || g->peer.glass || !ln_access_glass(&k->hub->access, &g->peer) ||
        k->hub->access.glass_role < g->right->role)
        return false;
    if (!g->reason[strspn(g->reason, " ")]) {
        ln_asker_fail(k, 2, "--break-glass needs --reason: say what the emergency is");
        ln_asker_let_go(k);
        return true;
    }
    snprintf(text, sizeof text, "%s over all channels for %u minute%s",
             ln_role_name(k->hub->access.glass_role), k->hub->access.glass_minutes,
             k->hub->access.glass_minutes == 1 ? "" : "s");
    put(k, "break-glass", "ok", text, false, on_glass);
    return true;
}

/* ---- the decision ---- */

static void decide(struct ln_asker *k)
{
    struct ln_gate *g = &k->gate;
    const char *channel = g->channel[0] ? g->channel : NULL;
    use_glass(k);
    enum ln_role has = ln_access_role(&k->hub->access, &g->peer, channel);
    snprintf(g->who.role, sizeof g->who.role, "%s", ln_role_name(has));
    if (has < g->right->role || has == LN_ROLE_NONE) {
        if (!break_glass(k))
            deny(k, has);
        return;
    }
    if (g->right->flags & LN_RIGHT_RECORDED) {
        if (g->right->flags & LN_RIGHT_STRICT)
            put(k, g->action, "ok", g->text, false, on_recorded);
        else
            put_and_go(k);
        return;
    }
    g->go(k);
    ln_asker_let_go(k);
}

/* ---- tokens ---- */

/* Those that were checked: the hash of one takes its time, and scripts come often. */
struct ln_token_seen {
    struct ln_token_seen *next;
    char text[128];
    struct ln_token token;
    uint64_t stamp;
};

struct check {
    struct ln_hub *hub;
    char text[128], from[96];
    struct ln_token token;
    struct ln_err err;
    int code;
    uint64_t stamp;
    void (*done)(void *arg, const struct ln_token *t, const char *why);
    void *arg;
};

static void check_token(void *arg)
{
    struct check *c = arg;
    c->stamp = ln_token_stamp(c->hub->data);
    c->code = ln_token_check(c->hub->data, c->text, ln_now_us(), &c->token, &c->err);
}

static void on_checked(void *arg, int code, const char *why)
{
    struct check *c = arg;
    struct ln_audit_who who = {.uid = -1, .login_uid = -1, .via = "token"};
    (void)code;
    (void)why;
    bool good = c->code == LN_OK;
    snprintf(who.from, sizeof who.from, "%s", c->from);
    if (c->token.id[0])
        snprintf(who.user, sizeof who.user, "token:%s/%.40s", c->token.id, c->token.name);
    if (good)
        snprintf(who.role, sizeof who.role, "%s", ln_role_name(c->token.role));
    struct ln_audit_entry e = {.who = &who,
                               .action = "login",
                               .outcome = good ? "ok" : "failed",
                               .text = good ? NULL : c->err.text};
    ln_hub_audit_put(c->hub, &e, true, NULL, NULL);
    if (!good)
        ln_log(LN_WARN, "gate", "token_refused", "from=\"%s\" why=\"%s\"", c->from, c->err.text);
    struct ln_token_seen *s = good ? calloc(1, sizeof *s) : NULL;
    if (s) {
        snprintf(s->text, sizeof s->text, "%s", c->text);
        s->token = c->token;
        s->stamp = c->stamp;
        s->next = c->hub->tokens;
        c->hub->tokens = s;
    }
    c->done(c->arg, good ? &c->token : NULL, c->err.text);
    free(c);
}

/* Answers at once when the token is known and the file has not changed since. */
static void with_token(struct ln_hub *h, const char *text, const char *from,
                       void (*done)(void *arg, const struct ln_token *t, const char *why),
                       void *arg)
{
    uint64_t stamp = ln_token_stamp(h->data);
    for (struct ln_token_seen **at = &h->tokens; *at;) {
        struct ln_token_seen *s = *at;
        if (s->stamp != stamp || s->token.ends_us <= ln_now_us()) {
            *at = s->next;
            free(s);
            continue;
        }
        if (strcmp(s->text, text) == 0) {
            done(arg, &s->token, NULL);
            return;
        }
        at = &s->next;
    }
    struct check *c = calloc(1, sizeof *c);
    if (c) {
        *c = (struct check){.hub = h, .done = done, .arg = arg};
        snprintf(c->text, sizeof c->text, "%s", text);
        snprintf(c->from, sizeof c->from, "%s", from);
        if (ln_hub_audit_run(h, check_token, on_checked, c) == LN_OK)
            return;
        free(c);
    }
    done(arg, NULL, "too many tokens are being checked: try again");
}

static void on_token(void *arg, const struct ln_token *t, const char *why)
{
    struct ln_asker *k = arg;
    struct ln_gate *g = &k->gate;
    g->token[0] = '\0';
    if (!t) {
        ln_asker_fail(k, 1, "the token is refused: %s", why);
        ln_asker_let_go(k);
        return;
    }
    snprintf(g->channels, sizeof g->channels, "%s", t->channels);
    g->grant = (struct ln_grant){.role = t->role, .channels = g->channels};
    g->peer.token = &g->grant;
    snprintf(g->who.user, sizeof g->who.user, "token:%s/%.40s", t->id, t->name);
    decide(k);
}

void ln_gate_pass(struct ln_asker *k, const struct ln_right *right, const char *channel,
                  const char *object, const char *text, const char *reason,
                  void (*go)(struct ln_asker *k))
{
    struct ln_gate *g = &k->gate;
    char from[96];
    g->right = right;
    g->go = go;
    g->recorded = false;
    snprintf(g->action, sizeof g->action, "%s", right->verb);
    snprintf(g->channel, sizeof g->channel, "%s", channel ? channel : "");
    snprintf(g->object, sizeof g->object, "%s", object ? object : "");
    snprintf(g->text, sizeof g->text, "%s", text ? text : "");
    if (!g->reason[0] && reason)
        snprintf(g->reason, sizeof g->reason, "%s", reason);
    ln_asker_hold(k);
    if (!g->token[0]) {
        decide(k);
        return;
    }
    snprintf(from, sizeof from, "uid %lld pid %d", (long long)g->peer.uid, g->peer.pid);
    with_token(k->hub, g->token, from, on_token, k);
}

struct http {
    ln_gate_token_fn *done;
    void *arg;
};

static void on_http_token(void *arg, const struct ln_token *t, const char *why)
{
    struct http *p = arg;
    p->done(p->arg, t ? t->role : LN_ROLE_NONE, why);
    free(p);
}

void ln_gate_token(struct ln_hub *h, const char *text, const char *from, ln_gate_token_fn *done,
                   void *arg)
{
    struct http *p = calloc(1, sizeof *p);
    if (!p) {
        done(arg, LN_ROLE_NONE, "out of memory");
        return;
    }
    *p = (struct http){done, arg};
    with_token(h, text, from, on_http_token, p);
}

void ln_gate_fini(struct ln_hub *h)
{
    while (!LIST_EMPTY(&softs))
        soft_free(LIST_FIRST(&softs));
    while (h->glass) {
        struct ln_glass *one = h->glass;
        h->glass = one->next;
        free(one);
    }
    while (h->tokens) {
        struct ln_token_seen *one = h->tokens;
        h->tokens = one->next;
        free(one);
    }
    ln_access_fini(&h->access);
}
