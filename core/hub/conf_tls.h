/* The tls = { ... } of a listener or destination, as the loader handed it over. */
#ifndef LN_HUB_CONF_TLS_H
#define LN_HUB_CONF_TLS_H

#ifndef LN_CDEF
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "hub/content.h"
#include "net/tls.h"

enum ln_conf_tls_file { LN_TLS_CERT, LN_TLS_KEY, LN_TLS_CA, LN_TLS_CRL, LN_TLS_FILES };

struct ln_conf_tls {
    bool on, tls13, insecure;
    enum ln_tls_client client;
    char server_name[256];
    char *allow; /* lines */
    struct {
        char *path;
        struct ln_content *text;
    } file[LN_TLS_FILES]; /* until made */
    struct ln_tls *made;
};

/* key: what stands behind "tls", as in ".client", or "". False: the value is not usable. */
bool ln_conf_tls_set(struct ln_conf_tls *t, const char *key, struct ln_span v);
/* key: ".cert", ".key", ".ca", ".crl". */
int ln_conf_tls_take(struct ln_conf_tls *t, const char *key, struct ln_span path,
                     struct ln_span text) LN_MUST;
/* Makes the settings of connections from it; keys are wiped from memory. */
int ln_conf_tls_make(struct ln_conf_tls *t, bool server, struct ln_err *err) LN_MUST;
void ln_conf_tls_fini(struct ln_conf_tls *t);
#endif

#endif
