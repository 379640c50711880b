#include "net/call.h"

#include <ctype.h>
#include <errno.h>
#include <llhttp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { HEADERS_MAX = 64 * 1024 };

struct state {
    const struct ln_call *call;
    struct ln_called *out;
    struct ln_tls_session *tls;
    llhttp_t parser;
    bool done, trailer;
    int code; /* why the answer is refused */
    struct ln_err *err;
};

static int fail(struct state *s, int code, const char *what)
{
    return ln_err_set(s->err, code, "%s", what);
}

/* ---- the connection ------------------------------------------------------------------------ */

/* False: not in time. */
static bool wait_for(struct state *s, short events)
{
    struct pollfd p = {.fd = s->call->fd, .events = events};
    for (;;) {
        int64_t left = s->call->until_us - ln_mono_us();
        int n = left > 0 ? poll(&p, 1, (int)(left / 1000 + 1)) : 0;
        if (n >= 0 || errno != EINTR)
            return n > 0;
    }
}

static short wants(const struct state *s, short events)
{
    return s->tls && ln_tls_wants_write(s->tls) ? POLLOUT : events;
}

static int shake(struct state *s)
{
    int rc;
    if (!s->call->tls)
        return LN_OK;
    if (!(s->tls = ln_tls_open(s->call->tls, s->call->fd, s->call->host)))
        return fail(s, LN_ENOMEM, "out of memory");
    while ((rc = ln_tls_handshake(s->tls)) == LN_EAGAIN)
        if (!wait_for(s, wants(s, POLLIN)))
            return fail(s, LN_ETIMEOUT, "no TLS handshake in time: does it speak TLS?");
    return rc == LN_OK ? LN_OK : fail(s, rc, ln_tls_why(s->tls));
}

/* Bytes read; 0: the end; below: a code, LN_EAGAIN: none for now. */
static long get(struct state *s, char *to, size_t cap)
{
    if (s->tls)
        return ln_tls_read(s->tls, to, cap);
    ssize_t n = recv(s->call->fd, to, cap, MSG_DONTWAIT);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? LN_EAGAIN : LN_ECLOSED;
}

static long put(struct state *s, const char *data, size_t len)
{
    if (s->tls)
        return ln_tls_write(s->tls, data, len);
    ssize_t n = send(s->call->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? 0 : LN_ECLOSED;
}

/* ---- the answer ---------------------------------------------------------------------------- */

static int refuse(struct state *s, int code)
{
    s->code = code;
    return HPE_USER;
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct state *s = p->data;
    if (s->trailer)
        return 0;
    for (size_t i = 0; i < len; i++)
        ln_buf_addc(&s->out->headers, (char)tolower((unsigned char)at[i]));
    return s->out->headers.len < HEADERS_MAX ? 0 : refuse(s, LN_ETOOBIG);
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct state *s = p->data;
    if (s->trailer)
        return 0;
    ln_buf_add(&s->out->headers, at, len);
    return s->out->headers.len < HEADERS_MAX ? 0 : refuse(s, LN_ETOOBIG);
}

static int on_end(llhttp_t *p)
{
    struct state *s = p->data;
    if (!s->trailer)
        ln_buf_addc(&s->out->headers, '\0');
    return 0;
}

static int on_headers(llhttp_t *p)
{
    struct state *s = p->data;
    if (p->status_code >= 100 && p->status_code < 200) { /* another follows */
        s->out->headers.len = 0;
        return p->status_code == 101 ? refuse(s, LN_EPARSE) : 0;
    }
    s->trailer = true;
    if (p->flags & F_CONTENT_LENGTH && p->content_length > s->call->max_body &&
        strcmp(s->call->method, "HEAD") != 0)
        return refuse(s, LN_ETOOBIG);
    return strcmp(s->call->method, "HEAD") == 0; /* 1: no body comes */
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct state *s = p->data;
    if (len > s->call->max_body - s->out->body.len)
        return refuse(s, LN_ETOOBIG);
    return ln_buf_add(&s->out->body, at, len) == LN_OK ? 0 : refuse(s, LN_ENOMEM);
}

static int on_complete(llhttp_t *p)
{
    struct state *s = p->data;
    if (p->status_code < 200)
        return 0;
    s->out->status = p->status_code;
    s->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {.on_header_field = on_field,
                                           .on_header_field_complete = on_end,
                                           .on_header_value = on_value,
                                           .on_header_value_complete = on_end,
                                           .on_headers_complete = on_headers,
                                           .on_body = on_body,
                                           .on_message_complete = on_complete};

static int wrong(struct state *s)
{
    if (s->code == LN_ETOOBIG)
        return ln_err_set(s->err, LN_ETOOBIG,
                          "the answer is larger than max_body = %zu (or its headers than %d)",
                          s->call->max_body, HEADERS_MAX);
    if (s->code == LN_ENOMEM || s->out->headers.failed)
        return fail(s, LN_ENOMEM, "out of memory");
    return fail(s, LN_EPARSE, "what came is not an HTTP/1.1 answer");
}

/* The connection's end may be the body's. */
static int at_end(struct state *s, int code)
{
    if (code == LN_ETLS || code == LN_ECLOSED)
        return fail(s, code, s->tls ? ln_tls_why(s->tls) : "the connection was reset");
    (void)llhttp_finish(&s->parser);
    if (s->done)
        return LN_OK;
    return fail(s, LN_ECLOSED,
                s->out->headers.len ? "the connection ended within the answer"
                                    : "the connection ended without an answer");
}

/* LN_EAGAIN: more is to come. */
static int take(struct state *s)
{
    char data[16384];
    do {
        long n = get(s, data, sizeof data);
        if (n == LN_EAGAIN)
            return LN_EAGAIN;
        if (n <= 0)
            return at_end(s, (int)n);
        llhttp_errno_t e = llhttp_execute(&s->parser, data, (size_t)n);
        if (s->done)
            return LN_OK;
        if (e != HPE_OK || s->out->headers.failed)
            return wrong(s);
        if (ln_mono_us() > s->call->until_us) /* one that never pauses */
            return fail(s, LN_ETIMEOUT, "no end of the answer in time");
    } while (s->tls && ln_tls_pending(s->tls));
    return LN_EAGAIN;
}

/* A server may answer before it has all, and stop reading. */
static int exchange(struct state *s)
{
    struct ln_span left = s->call->request;
    for (;;) {
        int rc = take(s);
        if (rc != LN_EAGAIN)
            return rc;
        long n = left.len ? put(s, left.ptr, left.len) : 0;
        if (n < 0) { /* what it said before that counts */
            left.len = 0;
            continue;
        }
        left = ln_span(left.ptr + n, left.len - (size_t)n);
        if (n > 0 && left.len)
            continue;
        if (!wait_for(s, wants(s, left.len ? POLLIN | POLLOUT : POLLIN)))
            return fail(s, LN_ETIMEOUT,
                        left.len ? "the request was not taken in time" : "no answer in time");
    }
}

int ln_call(const struct ln_call *c, struct ln_called *out, struct ln_err *err)
{
    struct state s = {.call = c, .out = out, .err = err};
    llhttp_init(&s.parser, HTTP_RESPONSE, &settings);
    s.parser.data = &s;
    int rc = shake(&s);
    if (rc == LN_OK)
        rc = exchange(&s);
    ln_tls_close(s.tls);
    return rc;
}
