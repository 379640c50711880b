/* TLS of the verbs `send` and `listen`: settings made from files named on the command line. */
#ifndef LN_ROLE_TLS_FILES_H
#define LN_ROLE_TLS_FILES_H

#include <stdbool.h>

#include "net/tls.h"

struct ln_tls_files { /* NULL: not given. key: cert's file when not given */
    const char *cert, *key, *ca, *crl, *server_name;
    bool insecure, tls13;
};

/* A server with ca wants a certificate of its clients. err names the file. */
int ln_tls_from_files(const struct ln_tls_files *f, bool server, struct ln_tls **out,
                      struct ln_err *err) LN_MUST;

#endif
