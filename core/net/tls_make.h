/* Certificates for test beds: a CA of one's own, and certificates that it issues. EC P-256,
 * SHA-256. */
#ifndef LN_NET_TLS_MAKE_H
#define LN_NET_TLS_MAKE_H

#include "base/buf.h"

struct ln_tls_request {
    const char *subject; /* common name */
    const char *const *names; /* alternative names: host names and addresses */
    unsigned nnames;
    unsigned days;
    struct ln_span ca_cert, ca_key; /* PEM of the issuer; empty: it issues itself, and is a CA */
};

/* PEM into cert and key. LN_EINVAL: the issuer is not readable, or a name is no name. */
int ln_tls_make(const struct ln_tls_request *r, struct ln_buf *cert, struct ln_buf *key,
                struct ln_err *err) LN_MUST;

#endif
