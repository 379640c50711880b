/* The admin address: metrics and health over HTTP. Reads only; nothing here has message content. */
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/gate.h"
#include "hub/hub.h"
#include "net/address.h"
#include "net/http.h"

typedef void page_fn(struct ln_hub *h, struct ln_http_conn *k);

/* A request whose token is being checked. */
struct asking {
    LIST_ENTRY(asking) link;
    struct ln_hub *hub;
    struct ln_http_conn *conn; /* NULL: gone */
    page_fn *page;
};

struct ln_admin {
    struct ln_http *http;
    LIST_HEAD(, asking) asking;
    struct ln_hub *hub;
    struct ln_conf_admin conf; /* its lists and certificate are ours */
    struct flaw {
        uint64_t total;
        int64_t logged_us;
    } denied, tls_failed;
};

static const struct ln_http_limits limits = {.connections = 64,
                                             .header_bytes = 16 * 1024,
                                             .headers = 64,
                                             .body_bytes = 0,
                                             .request_ms = 5000,
                                             .idle_ms = 75000,
                                             .write_ms = 10000,
                                             .methods = "GET, HEAD"};

/* One line a second tells enough of a flood. */
static void count(struct flaw *f, const char *event, const char *peer, const char *why)
{
    int64_t now = ln_mono_us();
    f->total++;
    if (f->logged_us && now - f->logged_us < 1000000)
        return;
    f->logged_us = now;
    ln_log(LN_WARN, "admin", event, "peer=%s total=%llu why=\"%s\"", peer,
           (unsigned long long)f->total, why);
}

static void insecure(void *owner, const char *peer, const char *why)
{
    struct ln_admin *a = owner;
    count(&a->tls_failed, "tls_failed", peer, why);
}

static bool admit(void *owner, const char *peer)
{
    struct ln_admin *a = owner;
    char host[64];
    ln_address_host(peer, host, sizeof host);
    bool ok = a->conf.nallow == 0 ? ln_address_loopback(host) : false;
    for (unsigned i = 0; i < a->conf.nallow && !ok; i++)
        ok = ln_address_within(a->conf.allow[i], peer);
    if (!ok)
        count(&a->denied, "peer_not_allowed", peer, "not in allow");
    return ok;
}

/* ---- pages ---- */

/* OpenMetrics when it is named and not refused: Prometheus asks for it with q-values of its own. */
static bool wants_open(const struct ln_http_conn *k)
{
    static const char type[] = "application/openmetrics-text";
    struct ln_span a = ln_http_header(k, "accept");
    char text[512];
    if (!a.ptr || a.len >= sizeof text)
        return false;
    memcpy(text, a.ptr, a.len);
    text[a.len] = '\0';
    const char *at = strstr(text, type);
    if (!at)
        return false;
    const char *end = strchr(at, ','), *q = strstr(at, "q=0");
    bool refused = q && (!end || q < end) && strspn(q + 2, "0.") == strcspn(q + 2, " ,;");
    return !refused;
}

static void metrics(struct ln_hub *h, struct ln_http_conn *k)
{
    struct ln_buf b = {0};
    bool open = wants_open(k);
    ln_metrics(h, open ? LN_METRICS_OPEN : LN_METRICS_PROMETHEUS, &b);
    if (b.failed)
        ln_http_reply(k, 503, "text/plain; charset=utf-8", NULL, ln_span_str("out of memory\n"));
    else
        ln_http_reply(k, 200,
                      open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                           : "text/plain; version=0.0.4; charset=utf-8",
                      "Vary: Accept\r\n", ln_buf_span(&b));
    ln_buf_fini(&b);
}

/* It answers, so its loop turns: all that a liveness probe may restart it for. */
static void healthz(struct ln_hub *h, struct ln_http_conn *k)
{
    (void)h;
    ln_http_reply(k, 200, "application/json", NULL, ln_span_str("{\"status\":\"ok\"}\n"));
}

static const char *trouble(const struct ln_channel *c)
{
    const char *state = ln_channel_state_name(c);
    if (strcmp(state, "failed") == 0)
        return state;
    return c->mode == LN_MODE_RUN && c->worker.state == LN_W_WAITING ? "restarting" : NULL;
}

static void readyz(struct ln_hub *h, struct ln_http_conn *k)
{
    struct ln_buf b = {0}, list = {0};
    struct ln_store_stat st;
    struct ln_channel *c;
    ln_store_stat(h->store, &st);
    const char *state = h->draining  ? "draining"
                        : !h->ready  ? "starting"
                        : st.failing ? "store failing"
                        : st.full    ? "store full"
                                     : NULL;
    bool ready = !state;
    ln_json_open(&list, '[');
    LIST_FOREACH (c, &h->channels, link) {
        const char *what = c->removed ? NULL : trouble(c);
        if (!what)
            continue;
        ready = false;
        ln_json_open(&list, '{');
        ln_json_key(&list, "name");
        ln_json_cstr(&list, c->name);
        ln_json_key(&list, "state");
        ln_json_cstr(&list, what);
        ln_json_close(&list, '}');
    }
    ln_json_close(&list, ']');
    ln_buf_addf(&b, "{\"ready\":%s,\"state\":\"%s\",\"channels\":", ready ? "true" : "false",
                state   ? state
                : ready ? "running"
                        : "channels not ready");
    ln_buf_add_span(&b, ln_buf_span(&list));
    ln_buf_adds(&b, "}\n");
    ln_http_reply(k, ready ? 200 : 503, "application/json", NULL, ln_buf_span(&b));
    ln_buf_fini(&list);
    ln_buf_fini(&b);
}

static void front(struct ln_hub *h, struct ln_http_conn *k)
{
    static const char text[] = "Lunate " LN_VERSION "\n\n"
                               "/metrics   counters for Prometheus\n"
                               "/healthz   200 while the engine answers\n"
                               "/readyz    200 when all channels are ready, else 503 and which\n";
    (void)h;
    ln_http_reply(k, 200, "text/plain; charset=utf-8", NULL, ln_span_str(text));
}

/* ---- tokens ---- */

static void unauthorized(struct ln_http_conn *k, const char *why)
{
    char text[300];
    int n = snprintf(text, sizeof text, "%.250s (Authorization: Bearer TOKEN; lunate token new)\n",
                     why);
    ln_http_reply(k, 401, "text/plain; charset=utf-8", "WWW-Authenticate: Bearer\r\n",
                  ln_span(text, (size_t)n));
}

static void on_token(void *arg, enum ln_role role, const char *why)
{
    struct asking *a = arg;
    struct ln_http_conn *k = a->conn;
    if (k) {
        LIST_REMOVE(a, link);
        if (role >= LN_ROLE_OBSERVER)
            a->page(a->hub, k);
        else
            unauthorized(k, why);
    }
    free(a);
}

static void gone(void *owner, struct ln_http_conn *k)
{
    struct ln_admin *admin = owner;
    struct asking *a;
    LIST_FOREACH (a, &admin->asking, link)
        if (a->conn == k) {
            LIST_REMOVE(a, link);
            a->conn = NULL;
            return;
        }
}

static void ask_token(struct ln_admin *admin, struct ln_http_conn *k, const char *peer,
                      page_fn *page)
{
    static const char bearer[] = "Bearer ";
    enum { LEN = sizeof bearer - 1 };
    struct ln_span auth = ln_http_header(k, "authorization");
    char token[128];
    if (!auth.ptr || auth.len <= LEN || auth.len - LEN >= sizeof token ||
        strncasecmp(auth.ptr, bearer, LEN) != 0) {
        unauthorized(k, "a token is needed");
        return;
    }
    struct asking *a = calloc(1, sizeof *a);
    if (!a) {
        ln_http_reply(k, 503, "text/plain", NULL, ln_span_str("out of memory\n"));
        return;
    }
    snprintf(token, sizeof token, "%.*s", (int)(auth.len - LEN), auth.ptr + LEN);
    *a = (struct asking){.hub = admin->hub, .conn = k, .page = page};
    LIST_INSERT_HEAD(&admin->asking, a, link);
    ln_gate_token(admin->hub, token, peer, on_token, a);
}

static void request(void *owner, struct ln_http_conn *k, const struct ln_http_request *r)
{
    static const struct {
        const char *path;
        void (*page)(struct ln_hub *h, struct ln_http_conn *k);
    } pages[] = {{"/metrics", metrics}, {"/healthz", healthz}, {"/readyz", readyz}, {"/", front}};
    struct ln_admin *a = owner;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (ln_span_is(r->path, pages[i].path)) {
            if (a->hub->access.http_token && pages[i].page != healthz)
                ask_token(a, k, r->peer, pages[i].page);
            else
                pages[i].page(a->hub, k);
            return;
        }
    ln_http_reply(k, 404, "text/plain; charset=utf-8", NULL,
                  ln_span_str("no such page: there are /metrics, /healthz and /readyz\n"));
}

static const struct ln_http_ops ops = {
    .admit = admit, .request = request, .gone = gone, .insecure = insecure};

/* ---- opening ---- */

void ln_admin_close(struct ln_hub *h)
{
    struct ln_admin *a = h->admin;
    if (!a)
        return;
    h->admin = NULL;
    ln_http_close(a->http);
    ln_conf_admin_fini(&a->conf);
    free(a);
}

static bool same_place(const struct ln_admin *a, const struct ln_conf_admin *conf)
{
    return a && a->conf.port == conf->port && strcmp(a->conf.host, conf->host) == 0;
}

/* Nothing is lost by a new place that cannot be had. */
static void unmute(struct ln_hub *h)
{
    struct ln_admin *a = h->admin;
    struct ln_err err = {0};
    if (ln_http_listen(a->http, a->conf.host, a->conf.addresses, a->conf.port, &err) == LN_OK)
        return;
    ln_log(LN_ERROR, "admin", "closed", "why=\"%s\"", err.text); /* taken in that moment */
    ln_admin_close(h);
}

/* At the place where it is, or at a new one. */
static int open_at(struct ln_hub *h, const struct ln_conf_admin *conf, struct ln_err *err)
{
    if (same_place(h->admin, conf))
        return LN_OK;
    if (conf->by_name && !conf->addresses[0])
        return ln_err_set(err, LN_ENOTFOUND, "%s", conf->no_address);
    struct ln_admin *a = calloc(1, sizeof *a);
    if (!a)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    a->hub = h;
    bool muted = h->admin && h->admin->conf.port == conf->port; /* another address of the same */
    if (muted)
        ln_http_mute(h->admin->http);
    int rc = ln_http_open(h->base, conf->host, conf->addresses, conf->port, &limits, &ops, a,
                          &a->http, err);
    if (rc != LN_OK) {
        free(a);
        if (muted)
            unmute(h);
        return rc;
    }
    ln_admin_close(h);
    h->admin = a;
    ln_log(LN_INFO, "admin", "listening", "host=%s port=%d tls=%s", conf->host, conf->port,
           conf->tls.on ? "true" : "false");
    return LN_OK;
}

/* The new certificate cannot be used: what is open goes on with the one it has, and lets in only
 * whom the new list does; what is in clear, but is not to be any more, is closed. */
static void keep_closed(struct ln_hub *h, struct ln_conf_admin *wanted)
{
    struct ln_admin *a = h->admin;
    if (a && !a->conf.tls.on) {
        ln_admin_close(h);
    } else if (a) {
        char **allow = a->conf.allow;
        unsigned n = a->conf.nallow;
        a->conf.allow = wanted->allow;
        a->conf.nallow = wanted->nallow;
        wanted->allow = allow;
        wanted->nallow = n;
    }
}

int ln_admin_apply(struct ln_hub *h, struct ln_conf *conf, struct ln_err *err)
{
    int rc = LN_OK;
    h->admin_failure[0] = '\0';
    if (conf->admin.port == 0) {
        ln_admin_close(h);
        return LN_OK;
    }
    if (conf->admin.tls.on && !conf->admin.tls.made) {
        rc = ln_err_set(err, LN_ETLS, "%s", conf->admin.no_tls);
        keep_closed(h, &conf->admin);
    } else
        rc = open_at(h, &conf->admin, err);
    if (rc != LN_OK) {
        snprintf(h->admin_failure, sizeof h->admin_failure, "%.290s", err->text);
        return rc;
    }
    struct ln_admin *a = h->admin;
    ln_http_secure(a->http, conf->admin.tls.made);
    ln_conf_admin_fini(&a->conf);
    a->conf = conf->admin; /* takes its list and certificate */
    conf->admin = (struct ln_conf_admin){0};
    return LN_OK;
}

/* ---- what is told of it ---- */

bool ln_admin_numbers(const struct ln_hub *h, struct ln_admin_numbers *out)
{
    const struct ln_admin *a = h->admin;
    if (!a)
        return false;
    *out = (struct ln_admin_numbers){
        .tls = a->conf.tls.made, .denied = a->denied.total, .tls_failed = a->tls_failed.total};
    if (out->tls)
        out->not_after = ln_tls_not_after(a->conf.tls.made);
    return true;
}

void ln_admin_status(const struct ln_hub *h, struct ln_buf *b)
{
    const struct ln_admin *a = h->admin;
    char listen[LN_CONF_HOST + 16] = "";
    if (!a && !h->admin_failure[0]) {
        ln_json_null(b);
        return;
    }
    if (a)
        snprintf(listen, sizeof listen, strchr(a->conf.host, ':') ? "[%s]:%d" : "%s:%d",
                 a->conf.host, a->conf.port);
    ln_json_open(b, '{');
    ln_json_key(b, "listen");
    ln_json_cstr(b, listen);
    ln_json_key(b, "failure");
    ln_json_cstr(b, h->admin_failure);
    ln_status_tls(b, a ? a->conf.tls.made : NULL, 0);
    ln_json_close(b, '}');
}
