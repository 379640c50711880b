/* A connected, non-blocking socket in the loop: reads into one shared buffer, writes at once what
 * the kernel takes and keeps the rest. MLLP connections, workers and control clients all stand on
 * it.
 *
 * The owner embeds the struct. Callbacks may call ln_stream_fini on their own stream. */
#ifndef LN_NET_STREAM_H
#define LN_NET_STREAM_H

#ifndef LN_CDEF
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/buf.h"
#include "net/tls.h"

struct ln_stream_ops {
    /* Bytes arrived; data is valid during the call only. */
    void (*data)(void *owner, const char *data, size_t len);
    /* End of file (LN_ECLOSED with why = "end of file") or an error. Reading has stopped; after an
     * end of file writing still works. The owner ends it with ln_stream_fini. */
    void (*closed)(void *owner, int code, const char *why);
    /* All that was kept has been written. May be NULL. */
    void (*drained)(void *owner);
    /* The TLS handshake is done. May be NULL. */
    void (*secured)(void *owner);
};

struct ln_stream {
    struct event rd, wr;
    struct event_base *base;
    const struct ln_stream_ops *ops;
    void *owner;
    struct ln_buf out;
    size_t out_done;
    struct ln_tls_session *tls; /* NULL: in clear */
    int fd; /* -1: not open */
    bool reading, writing, broken, ended;
    bool greeting; /* the TLS handshake is not done: what is written waits */
};

/* What every TCP connection of ours has: no delay, and keepalive that finds a dead peer in 90 s. */
void ln_stream_tune_tcp(int fd);

/* Takes over fd, which must be non-blocking. */
int ln_stream_init(struct ln_stream *s, struct event_base *base, int fd,
                   const struct ln_stream_ops *ops, void *owner) LN_MUST;
/* Right after init: TLS from the first byte on. host: whom we connect to, NULL on a server. The
 * owner sees to a deadline; a handshake that fails is told through ops->closed with LN_ETLS. */
int ln_stream_secure(struct ln_stream *s, struct ln_tls *tls, const char *host) LN_MUST;
/* Ends our side: what was written before arrives, the peer may go on. */
void ln_stream_end(struct ln_stream *s);
/* Closes at once; what was not written is gone. Safe to call twice. */
void ln_stream_fini(struct ln_stream *s);

void ln_stream_pause(struct ln_stream *s); /* stop reading */
void ln_stream_resume(struct ln_stream *s); /* read on */

/* Writes, keeping what the kernel does not take now. An error is told through ops->closed, later.
 */
int ln_stream_write(struct ln_stream *s, struct ln_span data);
/* The same in two steps: add to s->out directly, then flush once. */
void ln_stream_flush(struct ln_stream *s);
/* Tells ops->drained, from the loop, as soon as nothing is kept: also when that is so now. */
void ln_stream_wake(struct ln_stream *s);
/* Bytes kept. */
size_t ln_stream_kept(const struct ln_stream *s);
#endif

#endif
