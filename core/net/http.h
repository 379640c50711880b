/* HTTP/1.1 for servers: a codec on struct ln_stream, with llhttp for the syntax.
 *
 * One request at a time per connection; what is pipelined behind it waits. A request is complete
 * (header and body, both bounded) before its owner sees it. A peer has request_ms for the whole of
 * a request, however it spreads its bytes, idle_ms between requests and write_ms to take a reply.
 * What two readers could read differently (a folded header, a bare line feed, two lengths, none or
 * two Host) is refused and the connection closed. */
#ifndef LN_NET_HTTP_H
#define LN_NET_HTTP_H

#ifndef LN_CDEF
#include <event2/event.h>

#include "base/buf.h"

struct ln_http;
struct ln_http_conn;

struct ln_http_request {
    const char *method, *peer;
    struct ln_span path, query; /* as sent; query without its '?' */
    struct ln_span body;
};

struct ln_http_ops {
    /* May this address connect? NULL: everybody may. */
    bool (*admit)(void *owner, const char *peer);
    /* Answers with ln_http_reply, once, now or later; r is valid until then. */
    void (*request)(void *owner, struct ln_http_conn *k, const struct ln_http_request *r);
    /* The connection of a request that is not answered yet is gone, and k with it. May be NULL when
     * all answers are given at once. */
    void (*gone)(void *owner, struct ln_http_conn *k);
    /* No TLS could be agreed with a peer. May be NULL. */
    void (*insecure)(void *owner, const char *peer, const char *why);
};

struct ln_tls;

struct ln_http_limits {
    unsigned connections; /* more: the one idle for longest makes room, or the newcomer is closed */
    size_t header_bytes, body_bytes;
    unsigned headers;
    int request_ms, idle_ms, write_ms;
    const char *methods; /* in upper case with ", " between, as in "GET, HEAD" */
};

/* Opens a listener; host and errors as ln_listen_tcp. limits and ops are borrowed. */
/* addresses: what ln_listen_resolve has found for host; "": host is no name. */
int ln_http_open(struct event_base *base, const char *host, const char *addresses, int port,
                 const struct ln_http_limits *limits, const struct ln_http_ops *ops, void *owner,
                 struct ln_http **out, struct ln_err *err) LN_MUST;
/* TLS for connections to come; NULL: in clear. Renewed certificates end no connection; when TLS
 * comes or goes, those that are open end with their present request. tls is counted. */
void ln_http_secure(struct ln_http *h, struct ln_tls *tls);
/* Ends the listener, so that another one can be opened where it was; connections go on. */
void ln_http_mute(struct ln_http *h);
/* Listens again, or elsewhere: arguments as for ln_http_open. */
int ln_http_listen(struct ln_http *h, const char *host, const char *addresses, int port,
                   struct ln_err *err) LN_MUST;
/* Ends listener and connections. Not from within `request`. */
void ln_http_close(struct ln_http *h);

/* A header of the request, name in lower case; several of one name: the first. ptr NULL: not there.
 */
struct ln_span ln_http_header(const struct ln_http_conn *k, const char *name);
/* type: of the body; more: further header lines, each with its CR LF, or NULL. HEAD is answered
 * without the body. May free k when called later than from within `request`. */
void ln_http_reply(struct ln_http_conn *k, int status, const char *type, const char *more,
                   struct ln_span body);
#endif

#endif
