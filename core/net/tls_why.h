/* What to tell people when TLS does not work: which certificate, what is wrong, what to do. */
#ifndef LN_NET_TLS_WHY_H
#define LN_NET_TLS_WHY_H

#ifndef LN_CDEF
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

/* The subject as one line: "CN=lab,O=Hospital". */
void ln_tls_name(const X509_NAME *name, char *out, size_t cap);
/* An ASN.1 time as "2026-11-25 23:59:59 UTC". */
void ln_tls_time(const ASN1_TIME *t, char *out, size_t cap);
/* The names a certificate is good for: "lab.example.org, 192.0.2.7". */
void ln_tls_names(const X509 *cert, char *out, size_t cap);
/* May cert connect, by a list of "CN=lab", "lab.example.org", "*.example.org", or a whole subject
 * "CN=lab,O=Hospital"? Compared without case with subject, its parts, and the alternative names. */
bool ln_tls_subject_is(const X509 *cert, const char *const *allow, unsigned nallow);

/* A chain did not verify: error is X509_V_ERR_*, cert the one it is about (may be NULL). host: whom
 * we connect to, NULL on a server. */
void ln_tls_why_verify(long error, const X509 *cert, const char *host, char *out, size_t cap);
/* All else: the head of OpenSSL's queue of errors, which is emptied. own_cert: we sent one. */
void ln_tls_why_error(bool server, bool own_cert, char *out, size_t cap);
#endif

#endif
