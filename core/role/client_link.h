/* Inside of the load generator, shared by its two files: client.c (messages, the loop) and
 * client_link.c (connections). */
#ifndef LN_ROLE_CLIENT_LINK_H
#define LN_ROLE_CLIENT_LINK_H

#include "hl7/mllp.h"
#include "role/client.h"

struct addrinfo;

enum ln_link_state {
    LN_LINK_CLOSED, /* not connected; connects when there is room */
    LN_LINK_CONNECTING,
    LN_LINK_IDLE,
    LN_LINK_WAITING, /* message n is out, or on its way */
    LN_LINK_BACKING_OFF /* lost its connection; tries again at `at_us` */
};

struct ln_link_target {
    const struct ln_client_target *name;
    struct addrinfo *addresses, *address;
    unsigned connected;
};

struct ln_link {
    enum ln_link_state state;
    int fd;
    struct ln_tls_session *tls; /* NULL: in clear */
    bool greeting; /* LN_LINK_CONNECTING: the handshake is under way */
    struct ln_link_target *target;
    const struct addrinfo *address;
    bool want_out; /* EPOLLOUT is set */
    bool in_ring; /* stands in the ring of idle ones, maybe no longer idle */
    bool mute; /* left a message that wants no answer without one: the next are not waited for */
    char digits[24]; /* "-N" */
    unsigned ndigits;
    uint64_t n;
    const struct ln_payload_message *m;
    size_t off; /* bytes of the frame written */
    int64_t from_us; /* latency counts from here */
    int64_t at_us; /* when the present state began, or is to end when LN_LINK_BACKING_OFF */
    int64_t lost_us; /* when the connection was lost; 0 = it is not */
    struct ln_mllp in;
};

struct ln_client {
    const struct ln_client_options *opt;
    struct ln_client_totals *t;
    struct ln_err *err;
    int rc;
    int epfd;
    struct ln_link_target *target; /* opt->ntargets of them */
    struct ln_link *conn; /* opt->connections of them */
    unsigned connecting, connected, closed; /* connections in these states */
    unsigned cursor; /* where ln_link_dial_more goes on */
    bool started; /* all were connected once */
    bool hasty; /* some connection is mute: deadlines are looked at all the time */
    uint64_t next, done; /* messages begun, messages ended */
    int64_t start_us;
    unsigned *idle, idle_head, nidle; /* ring of connections without work, with a rate */
    char buffer[65536];
};

/* Keeps the first failure: it ends the run. */
void ln_client_fail(struct ln_client *c, const struct ln_link_target *t, int code, const char *what,
                    const char *why);

/* Asks for EPOLLOUT besides EPOLLIN, or no longer. */
void ln_link_watch(struct ln_client *c, struct ln_link *k, bool out);
/* Makes it one that wants to be connected. */
void ln_link_reset(struct ln_client *c, struct ln_link *k);
/* Closes it; its state is the caller's to set. */
void ln_link_drop(struct ln_client *c, struct ln_link *k);
/* Closes it; a new connection is made when there is something left to send. */
void ln_link_lost(struct ln_client *c, struct ln_link *k, int64_t now);
/* Could not connect: the next address at the start, a second try later on. */
void ln_link_refused(struct ln_client *c, struct ln_link *k, int error, int64_t now);
/* Connecting came to an end: true when it is connected. */
bool ln_link_connected(struct ln_client *c, struct ln_link *k, int64_t now);
/* One more step of the TLS handshake: true when it is connected. */
bool ln_link_greet(struct ln_client *c, struct ln_link *k);
/* Begins to connect those that want it, as many at once as is polite. */
void ln_link_dial_more(struct ln_client *c, int64_t now);

#endif
