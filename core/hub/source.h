/* Shared by source.c, conn.c and reply.c: one listener, its connections, what they are owed. */
#ifndef LN_HUB_SOURCE_H
#define LN_HUB_SOURCE_H

#ifndef LN_CDEF
#include "hub/hub.h"

struct ln_peer { /* deviations, counted per address */
    char addr[64];
    unsigned connections;
    uint64_t deviations[LN_MLLP_DEVIATIONS], frames;
};

struct ln_conn {
    LIST_ENTRY(ln_conn) link;
    struct ln_source *source;
    struct ln_stream stream;
    struct ln_mllp mllp;
    uint64_t counted[LN_MLLP_DEVIATIONS];
    TAILQ_HEAD(ln_owed_list, ln_owed) owed;
    unsigned nowed;
    struct event *late_end;
    int64_t frame_us; /* when the unfinished frame began; 0: there is none */
    size_t held; /* of it, as counted in the hub's sum */
    int64_t last_us; /* last bytes, last reply, or when it began to close */
    bool eof, closing;
    bool spoke; /* its first bytes were looked at */
    bool stopped; /* not read for now */
    bool refused; /* answered AR for good: what more comes is thrown away until the peer closes */
    struct ln_peer *peer;
    char name[80];
};

enum { LN_TLS_LOGGED = 8 };

struct ln_source {
    LIST_ENTRY(ln_source) link; /* in the hub's list, until the last connection is gone */
    struct ln_channel *channel;
    struct ln_listener *listener;
    struct ln_tls *tls; /* for connections to come; NULL: in clear */
    LIST_HEAD(, ln_conn) conns;
    unsigned nconn, nrefused; /* the latter are among the former */
    bool closing;
    char host[LN_CONF_HOST];
    char addresses[LN_CONF_ADDRESSES]; /* of a name; "" = host is an address */
    int port;
    uint64_t over_limit, denied, tls_failed;
    int64_t limit_logged_us;
    struct { /* handshakes that failed: of whom and why, and when that was logged last */
        char of[120];
        int64_t us;
    } tls_logged[LN_TLS_LOGGED];
    struct ln_peer *peer;
    unsigned npeer;
};

void ln_source_free(struct ln_source *s);
/* What k holds of an unfinished frame has changed; false: all together hold too much. */
bool ln_source_count_held(struct ln_conn *k, size_t held);
/* A connection could not be made secure, or should have been: counted, and logged, once a
 * second for each address and reason. */
void ln_source_tls_failed(struct ln_conn *k, const char *why);

/* ---- reply.c */
/* A reply of `total` parts, due behind those before it. NULL when out of memory. */
struct ln_owed *ln_owed_new(struct ln_conn *k, unsigned total);
/* A reply to one message, due likewise: in enhanced mode it may be two. NULL when out of memory. */
struct ln_owed *ln_owed_message(struct ln_conn *k, const struct ln_header *h);
void ln_owed_header(struct ln_reply_part *p, const struct ln_header *h);
/* Sends the replies at the front that are settled. May free k. */
void ln_owed_send(struct ln_conn *k);
/* The connection goes: nobody waits for what it was owed. */
void ln_owed_drop(struct ln_conn *k);

/* ---- conn.c */
extern const struct ln_stream_ops ln_conn_ops;
void ln_conn_free(struct ln_conn *k);
void ln_conn_read_on(struct ln_conn *k);
void ln_conn_check_stop(struct ln_conn *k);
/* Closes it when nothing more is to come; called whenever a reply or its last byte has left. */
void ln_conn_settled(struct ln_conn *k);
/* Answers AR and closes. start: the first bytes of what was sent, for MSA-2; may be empty. May free
 * k. */
void ln_conn_refuse(struct ln_conn *k, struct ln_span start, const char *text);
#endif

#endif
