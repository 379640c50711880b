/* A connection goes IDLE -> HEAD -> BODY -> ANSWERING -> WRITING -> IDLE, or to LINGER when it is
 * to end. It is read in the first three and in LINGER only, so that what is held of it is bounded.
 * The one timer is an absolute deadline for the phase. */
#include "net/http.h"

#include <event2/event_struct.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listen.h"
#include "net/stream.h"

enum phase { IDLE, HEAD, BODY, ANSWERING, WRITING, LINGER };
enum { HEADERS_MAX = 128, LINGER_MS = 2000, KEEP = 8 * 1024 };

struct header { /* places in the text of the request */
    size_t name, name_len, value, value_len;
};

struct ln_http_conn {
    TAILQ_ENTRY(ln_http_conn) link; /* the one idle for longest comes first */
    struct ln_http *server;
    struct ln_stream stream;
    llhttp_t parser;
    struct event deadline;
    enum phase phase;
    struct ln_buf in; /* received, not parsed yet */
    struct ln_buf text, body; /* of the request: target and headers; body */
    size_t target_len, taken; /* taken: bytes of the header section */
    struct header header[HEADERS_MAX];
    unsigned nheader, lines;
    bool in_value, trailer, close, head, pumping, gone;
    char last; /* byte parsed before this one */
    int refuse; /* status to refuse with; 0 = fine so far */
    char peer[80];
};

struct ln_http {
    struct event_base *base;
    struct ln_listener *listener;
    struct ln_tls *tls; /* for connections to come; NULL: in clear */
    const struct ln_http_limits *limits;
    const struct ln_http_ops *ops;
    void *owner;
    TAILQ_HEAD(, ln_http_conn) conns;
    unsigned nconn;
};

static void conn_free(struct ln_http_conn *k)
{
    if (k->phase == ANSWERING && k->server->ops->gone && !k->pumping)
        k->server->ops->gone(k->server->owner, k);
    if (k->pumping) { /* its caller frees it */
        k->gone = true;
        return;
    }
    evtimer_del(&k->deadline);
    ln_stream_fini(&k->stream);
    TAILQ_REMOVE(&k->server->conns, k, link);
    k->server->nconn--;
    ln_buf_fini(&k->in);
    ln_buf_fini(&k->text);
    ln_buf_fini(&k->body);
    free(k);
}

static void enter(struct ln_http_conn *k, enum phase phase, int ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    k->phase = phase;
    evtimer_add(&k->deadline, &tv);
}

static bool reads(const struct ln_http_conn *k)
{
    return k->phase <= BODY && !k->gone;
}

/* ---- replies ---- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {302, "Found"},
                   {303, "See Other"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {417, "Expectation Failed"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {503, "Service Unavailable"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Unknown";
}

/* A peer that still sends while we close would get a reset, which can overtake the reply and
 * destroy it: so our side ends first, and what more comes is thrown away. */
static void linger(struct ln_http_conn *k)
{
    ln_stream_end(&k->stream);
    enter(k, LINGER, LINGER_MS);
    ln_buf_fini(&k->in);
    k->in = (struct ln_buf){0};
    ln_stream_resume(&k->stream);
}

/* The reply has left: the next request, or the end. */
static void settle(struct ln_http_conn *k)
{
    if (k->phase != WRITING || ln_stream_kept(&k->stream) > 0)
        return;
    if (k->close) {
        linger(k);
        return;
    }
    ln_buf_clear(&k->text, KEEP);
    ln_buf_clear(&k->body, KEEP);
    k->taken = k->lines = 0;
    enter(k, IDLE, k->server->limits->idle_ms);
    TAILQ_REMOVE(&k->server->conns, k, link);
    TAILQ_INSERT_TAIL(&k->server->conns, k, link);
    ln_stream_resume(&k->stream);
}

static void pump(struct ln_http_conn *k);

static void write_reply(struct ln_http_conn *k, int status, const char *type, const char *more,
                        struct ln_span body)
{
    struct ln_buf *b = &k->stream.out;
    char date[40];
    struct tm tm;
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    ln_buf_addf(b,
                "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: %s\r\n"
                "%s\r\n",
                status, reason(status), date, type, body.len, k->close ? "close" : "keep-alive",
                more ? more : "");
    if (!k->head)
        ln_buf_add_span(b, body);
    enter(k, WRITING, k->server->limits->write_ms);
    if (b->failed) { /* half a reply would be worse */
        b->len = k->stream.out_done;
        k->close = true;
    }
    ln_stream_flush(&k->stream);
    settle(k);
}

void ln_http_reply(struct ln_http_conn *k, int status, const char *type, const char *more,
                   struct ln_span body)
{
    write_reply(k, status, type, more, body);
    pump(k); /* what came behind the request */
}

static void refuse(struct ln_http_conn *k, int status)
{
    char text[80], allow[120] = "";
    k->close = true;
    ln_log(LN_DEBUG, "http", "refused", "peer=%s status=%d", k->peer, status);
    if (status == 405)
        snprintf(allow, sizeof allow, "Allow: %s\r\n", k->server->limits->methods);
    snprintf(text, sizeof text, "%d %s\n", status, reason(status));
    ln_stream_pause(&k->stream);
    write_reply(k, status, "text/plain; charset=utf-8", allow, ln_span_str(text));
}

struct ln_span ln_http_header(const struct ln_http_conn *k, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < k->nheader; i++) {
        const struct header *x = &k->header[i];
        if (x->name_len == len && strncasecmp(k->text.data + x->name, name, len) == 0)
            return ln_span(k->text.data + x->value, x->value_len);
    }
    return ln_span(NULL, 0);
}

/* ---- what llhttp finds ---- */

static int refuse_with(struct ln_http_conn *k, int status)
{
    k->refuse = status;
    return HPE_USER;
}

static int on_begin(llhttp_t *p)
{
    struct ln_http_conn *k = p->data;
    k->text.len = k->body.len = k->target_len = 0;
    k->nheader = k->lines = 0;
    k->in_value = true; /* the next name begins a header */
    k->trailer = k->head = false;
    enter(k, HEAD, k->server->limits->request_ms);
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t len)
{
    struct ln_http_conn *k = p->data;
    k->target_len += len;
    return ln_buf_add(&k->text, at, len) == LN_OK ? 0 : refuse_with(k, 503);
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct ln_http_conn *k = p->data;
    if (k->trailer)
        return 0;
    if (k->in_value) {
        if (k->nheader == HEADERS_MAX || k->nheader == k->server->limits->headers)
            return refuse_with(k, 431);
        k->header[k->nheader++] = (struct header){.name = k->text.len};
        k->in_value = false;
    }
    k->header[k->nheader - 1].name_len += len;
    return ln_buf_add(&k->text, at, len) == LN_OK ? 0 : refuse_with(k, 503);
}

static int on_field_end(llhttp_t *p)
{
    struct ln_http_conn *k = p->data;
    k->in_value = true;
    if (!k->trailer && k->nheader)
        k->header[k->nheader - 1].value = k->text.len;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct ln_http_conn *k = p->data;
    if (k->trailer || k->nheader == 0)
        return 0;
    k->header[k->nheader - 1].value_len += len;
    return ln_buf_add(&k->text, at, len) == LN_OK ? 0 : refuse_with(k, 503);
}

static unsigned count(const struct ln_http_conn *k, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < k->nheader; i++)
        n += k->header[i].name_len == strlen(name) &&
             strncasecmp(k->text.data + k->header[i].name, name, strlen(name)) == 0;
    return n;
}

/* "GET, HEAD" has GET and not GE. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += len)
        if ((p == list || p[-1] == ' ') && (p[len] == '\0' || p[len] == ','))
            return true;
    return false;
}

static int on_headers(llhttp_t *p)
{
    struct ln_http_conn *k = p->data;
    const struct ln_http_limits *limits = k->server->limits;
    unsigned hosts = count(k, "host");
    struct ln_span expect = ln_http_header(k, "expect");
    k->head = p->method == HTTP_HEAD;
    k->trailer = true;
    if (p->http_major != 1 || p->http_minor > 1)
        return refuse_with(k, 505);
    if (hosts > 1 || (hosts == 0 && p->http_minor == 1))
        return refuse_with(k, 400);
    if (!has_word(limits->methods, llhttp_method_name((llhttp_method_t)p->method)))
        return refuse_with(k, 405);
    if (p->flags & F_CONTENT_LENGTH && p->content_length > limits->body_bytes)
        return refuse_with(k, 413);
    if (expect.ptr && (expect.len != 12 || strncasecmp(expect.ptr, "100-continue", 12) != 0))
        return refuse_with(k, 417);
    if (expect.ptr && p->http_minor == 1) {
        ln_buf_adds(&k->stream.out, "HTTP/1.1 100 Continue\r\n\r\n");
        ln_stream_flush(&k->stream);
    }
    p->upgrade = 0; /* no other protocol is spoken here: the request is answered as it is */
    k->phase = BODY;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct ln_http_conn *k = p->data;
    if (len > k->server->limits->body_bytes - k->body.len)
        return refuse_with(k, 413);
    return ln_buf_add(&k->body, at, len) == LN_OK ? 0 : refuse_with(k, 503);
}

static int on_complete(llhttp_t *p)
{
    struct ln_http_conn *k = p->data;
    k->close |= !llhttp_should_keep_alive(p);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {.on_message_begin = on_begin,
                                           .on_url = on_url,
                                           .on_header_field = on_field,
                                           .on_header_field_complete = on_field_end,
                                           .on_header_value = on_value,
                                           .on_headers_complete = on_headers,
                                           .on_body = on_body,
                                           .on_message_complete = on_complete};

/* ---- reading ---- */

static void answer(struct ln_http_conn *k)
{
    const char *text = k->text.data ? k->text.data : "";
    const char *mark = k->target_len ? memchr(text, '?', k->target_len) : NULL;
    struct ln_http_request r = {
        .method = llhttp_method_name((llhttp_method_t)k->parser.method),
        .peer = k->peer,
        .path = ln_span(text, mark ? (size_t)(mark - text) : k->target_len),
        .query =
            mark ? ln_span(mark + 1, k->target_len - (size_t)(mark - text) - 1) : ln_span(NULL, 0),
        .body = ln_buf_span(&k->body)};
    evtimer_del(&k->deadline);
    k->phase = ANSWERING;
    ln_stream_pause(&k->stream);
    k->server->ops->request(k->server->owner, k, &r);
}

/* The header section goes to llhttp line by line: it lets a bare line feed and a folded line pass,
 * which others read otherwise. Returns how many bytes to parse now; 0: refused. */
static size_t line(struct ln_http_conn *k, const char *p, size_t len)
{
    const char *lf = memchr(p, '\n', len);
    size_t n = lf ? (size_t)(lf - p) + 1 : len;
    char before = n > 1 ? p[n - 2] : k->last;
    bool folded = k->lines > 0 && k->last == '\n' && (p[0] == ' ' || p[0] == '\t');
    k->taken += n;
    if (folded || (lf && before != '\r'))
        k->refuse = 400;
    else if (k->taken > k->server->limits->header_bytes)
        k->refuse = k->lines ? 431 : 414;
    return k->refuse ? 0 : n;
}

/* Parses some of what came. */
static void step(struct ln_http_conn *k, size_t *at)
{
    const char *p = k->in.data + *at;
    size_t len = k->in.len - *at;
    bool head = k->phase <= HEAD;
    size_t n = head ? line(k, p, len) : len;
    if (n == 0) {
        refuse(k, k->refuse);
        return;
    }
    llhttp_errno_t e = llhttp_execute(&k->parser, p, n);
    if (e == HPE_PAUSED)
        n = (size_t)(llhttp_get_error_pos(&k->parser) - p);
    *at += n;
    if (n > 0) {
        k->last = p[n - 1];
        k->lines += head && k->phase == HEAD && k->last == '\n';
    }
    if (e == HPE_PAUSED) {
        llhttp_resume(&k->parser);
        answer(k);
    } else if (e != HPE_OK) {
        refuse(k, k->refuse ? k->refuse : 400);
    }
}

static void pump(struct ln_http_conn *k)
{
    size_t at = 0;
    if (k->pumping)
        return; /* the loop below goes on */
    k->pumping = true;
    while (reads(k) && at < k->in.len)
        step(k, &at);
    if (k->in.len)
        ln_buf_drop(&k->in, at < k->in.len ? at : k->in.len);
    if (k->in.len == 0)
        ln_buf_clear(&k->in, KEEP);
    k->pumping = false;
    if (k->gone)
        conn_free(k);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_http_conn *k = owner;
    if (!reads(k))
        return;
    if (ln_buf_add(&k->in, data, len) != LN_OK) {
        conn_free(k);
        return;
    }
    pump(k);
}

static void insecure(const struct ln_http_conn *k, const char *why)
{
    if (k->server->ops->insecure)
        k->server->ops->insecure(k->server->owner, k->peer, why);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_http_conn *k = owner;
    (void)code;
    if (k->stream.greeting)
        insecure(k, why);
    conn_free(k);
}

static void on_drained(void *owner)
{
    struct ln_http_conn *k = owner;
    settle(k);
    pump(k);
}

static const struct ln_stream_ops stream_ops = {
    .data = on_data, .closed = on_closed, .drained = on_drained};

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct ln_http_conn *k = arg;
    (void)fd;
    (void)what;
    if (k->phase == HEAD || k->phase == BODY)
        refuse(k, 408);
    else {
        if (k->stream.greeting)
            insecure(k, "no TLS handshake in time");
        conn_free(k);
    }
}

/* ---- connections ---- */

static bool make_room(struct ln_http *h)
{
    struct ln_http_conn *k;
    TAILQ_FOREACH (k, &h->conns, link)
        if (k->phase == IDLE || k->phase == LINGER) {
            conn_free(k);
            return true;
        }
    return false;
}

static void on_accept(void *owner, int fd, const char *peer)
{
    struct ln_http *h = owner;
    bool ok = !h->ops->admit || h->ops->admit(h->owner, peer);
    if (ok && h->nconn >= h->limits->connections)
        ok = make_room(h);
    struct ln_http_conn *k = ok ? calloc(1, sizeof *k) : NULL;
    if (!k) {
        close(fd);
        return;
    }
    k->server = h;
    snprintf(k->peer, sizeof k->peer, "%s", peer);
    llhttp_init(&k->parser, HTTP_REQUEST, &settings);
    k->parser.data = k;
    evtimer_assign(&k->deadline, h->base, on_deadline, k);
    if (ln_stream_init(&k->stream, h->base, fd, &stream_ops, k) != LN_OK) {
        free(k);
        return;
    }
    if (h->tls && ln_stream_secure(&k->stream, h->tls, NULL) != LN_OK) {
        ln_stream_fini(&k->stream);
        free(k);
        return;
    }
    TAILQ_INSERT_TAIL(&h->conns, k, link);
    h->nconn++;
    enter(k, IDLE, h->limits->request_ms);
}

int ln_http_open(struct event_base *base, const char *host, const char *addresses, int port,
                 const struct ln_http_limits *limits, const struct ln_http_ops *ops, void *owner,
                 struct ln_http **out, struct ln_err *err)
{
    struct ln_http *h = calloc(1, sizeof *h);
    if (!h)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    *h = (struct ln_http){.base = base, .limits = limits, .ops = ops, .owner = owner};
    TAILQ_INIT(&h->conns);
    int rc = ln_http_listen(h, host, addresses, port, err);
    if (rc != LN_OK)
        free(h);
    else
        *out = h;
    return rc;
}

int ln_http_listen(struct ln_http *h, const char *host, const char *addresses, int port,
                   struct ln_err *err)
{
    ln_http_mute(h);
    return addresses[0]
               ? ln_listen_resolved(h->base, host, addresses, port, on_accept, h, &h->listener, err)
               : ln_listen_tcp(h->base, host, port, on_accept, h, &h->listener, err);
}

void ln_http_mute(struct ln_http *h)
{
    ln_listener_free(h->listener);
    h->listener = NULL;
}

void ln_http_secure(struct ln_http *h, struct ln_tls *tls)
{
    struct ln_http_conn *k, *next;
    bool other = (tls != NULL) != (h->tls != NULL);
    ln_tls_unref(h->tls);
    h->tls = tls ? ln_tls_ref(tls) : NULL;
    for (k = other ? TAILQ_FIRST(&h->conns) : NULL; k; k = next) {
        next = TAILQ_NEXT(k, link);
        k->close = true;
        if (k->phase == IDLE)
            conn_free(k);
    }
}

void ln_http_close(struct ln_http *h)
{
    struct ln_http_conn *k;
    if (!h)
        return;
    ln_listener_free(h->listener);
    while ((k = TAILQ_FIRST(&h->conns)))
        conn_free(k);
    ln_tls_unref(h->tls);
    free(h);
}
