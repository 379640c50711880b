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
    struct ln_conf_admin conf; /* allow is ours */
    uint64_t denied;
    int64_t denied_logged_us;
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
static void deny(struct ln_admin *a, const char *peer)
{
    int64_t now = ln_mono_us();
    a->denied++;
    if (a->denied_logged_us && now - a->denied_logged_us < 1000000)
        return;
    a->denied_logged_us = now;
    ln_log(LN_WARN, "admin", "peer_not_allowed", "peer=%s total=%llu", peer,
           (unsigned long long)a->denied);
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
        deny(a, peer);
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

static const struct ln_http_ops ops = {.admit = admit, .request = request, .gone = gone};

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

int ln_admin_apply(struct ln_hub *h, struct ln_conf *conf, struct ln_err *err)
{
    struct ln_admin *a = h->admin;
    if (conf->admin.port == 0) {
        ln_admin_close(h);
        return LN_OK;
    }
    if (!same_place(a, &conf->admin)) {
        a = calloc(1, sizeof *a);
        if (!a)
            return ln_err_set(err, LN_ENOMEM, "out of memory");
        a->hub = h;
        int rc = ln_http_open(h->base, conf->admin.host, conf->admin.port, &limits, &ops, a,
                              &a->http, err);
        if (rc != LN_OK) {
            free(a);
            return rc;
        }
        ln_admin_close(h);
        h->admin = a;
        ln_log(LN_INFO, "admin", "listening", "host=%s port=%d", conf->admin.host,
               conf->admin.port);
    }
    ln_conf_admin_fini(&a->conf);
    a->conf = conf->admin; /* takes its list */
    conf->admin = (struct ln_conf_admin){0};
    return LN_OK;
}
