/* TLS 1.2 and 1.3 over a socket that somebody else polls.
 *
 * Only suites with forward secrecy and authenticated encryption; no renegotiation, no compression,
 * no resumption (connections live long, and a resumed session would pass by a CRL that has changed
 * since). Clients check chain and name unless told not to. Certificates come as text: whoever reads
 * the files is not this. Settings are counted: connections keep those they began with, which is how
 * certificates are renewed without dropping any. */
#ifndef LN_NET_TLS_H
#define LN_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum ln_tls_client { LN_TLS_CLIENT_NONE, LN_TLS_CLIENT_REQUEST, LN_TLS_CLIENT_REQUIRE };

/* A file and where it came from, for messages. text.ptr NULL: not given. */
struct ln_tls_file {
    const char *path;
    struct ln_span text;
};

struct ln_tls_options {
    bool server;
    struct ln_tls_file cert, key, ca, crl; /* PEM */
    enum ln_tls_client client; /* server: ask for a certificate? */
    const char *const *allow; /* server: subjects that may connect; see ln_tls_subject_is */
    unsigned nallow;
    bool tls13; /* at least 1.3; otherwise at least 1.2 */
    bool insecure; /* client: takes any certificate */
    const char *server_name; /* client: instead of the host's; NULL or "": the host's */
};

struct ln_tls;

/* Borrows all of opt for the call. A client without ca trusts the system's. err names the file and
 * what is wrong with it. LN_EINVAL, LN_ENOMEM. */
int ln_tls_new(const struct ln_tls_options *opt, struct ln_tls **out, struct ln_err *err) LN_MUST;
struct ln_tls *ln_tls_ref(struct ln_tls *t);
void ln_tls_unref(struct ln_tls *t); /* t may be NULL */
/* When our own certificate ends: seconds since 1970; 0: there is none. */
int64_t ln_tls_not_after(const struct ln_tls *t);
/* The subject of our own certificate, "" without one. */
const char *ln_tls_subject(const struct ln_tls *t);
/* The system's CAs are read once and kept; this lets the next client read them again. */
void ln_tls_forget_system(void);

/* ---- a connection ---- */

struct ln_tls_session;

/* fd is non-blocking and stays the caller's. host: whom a client connects to. NULL: out of memory.
 */
struct ln_tls_session *ln_tls_open(struct ln_tls *t, int fd, const char *host);
/* Says close_notify when it can, frees. s may be NULL. */
void ln_tls_close(struct ln_tls_session *s);
/* LN_OK: done. LN_EAGAIN: call again when readable, or writable when ln_tls_wants_write. LN_ETLS,
 * LN_ECLOSED: over; ln_tls_why says why. */
int ln_tls_handshake(struct ln_tls_session *s) LN_MUST;
/* Bytes read; 0: the peer said that it ends; LN_EAGAIN; LN_ECLOSED or LN_ETLS: see ln_tls_why. */
long ln_tls_read(struct ln_tls_session *s, char *buf, size_t cap) LN_MUST;
/* Bytes taken (maybe none), or LN_ECLOSED. Bytes not taken must come again first. */
long ln_tls_write(struct ln_tls_session *s, const char *data, size_t len) LN_MUST;
/* Says that no more will be written. */
void ln_tls_end(struct ln_tls_session *s);
bool ln_tls_wants_write(const struct ln_tls_session *s);
/* Bytes lie here that the socket will not announce any more. */
bool ln_tls_pending(const struct ln_tls_session *s);
/* What went wrong, which certificate it was, what to do. Never NULL. */
const char *ln_tls_why(const struct ln_tls_session *s);
/* After the handshake: "TLSv1.3 TLS_AES_128_GCM_SHA256". */
const char *ln_tls_describe(const struct ln_tls_session *s, char *out, size_t cap);
/* The peer's certificate: subject into out ("" without one), and when it ends. */
int64_t ln_tls_peer(const struct ln_tls_session *s, char *out, size_t cap);

#endif
