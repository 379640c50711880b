#include "net/tls_why.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>

/* Bytes of certificates go into logs and onto terminals: printable ASCII only. */
static void clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e || *s == '"')
            *s = '?';
}

static void from_bio(BIO *b, char *out, size_t cap)
{
    int n = b ? BIO_read(b, out, (int)cap - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    clean(out);
    BIO_free(b);
}

void ln_tls_name(const X509_NAME *name, char *out, size_t cap)
{
    BIO *b = BIO_new(BIO_s_mem());
    if (b && name)
        X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253);
    from_bio(b, out, cap);
}

void ln_tls_time(const ASN1_TIME *t, char *out, size_t cap)
{
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1 || !strftime(out, cap, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(out, cap, "an unreadable time");
}

/* Calls fn with each alternative name as text until it says true. */
static bool each_name(const X509 *cert, bool (*fn)(void *arg, const char *name, bool dns),
                      void *arg)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; list && i < sk_GENERAL_NAME_num(list) && !found; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);
        char text[256] = "";
        if (g->type == GEN_DNS || g->type == GEN_EMAIL || g->type == GEN_URI) {
            const ASN1_IA5STRING *s = g->d.ia5;
            int len = ASN1_STRING_length(s);
            const unsigned char *p = ASN1_STRING_get0_data(s);
            if (len > 0 && len < (int)sizeof text && !memchr(p, 0, (size_t)len))
                snprintf(text, sizeof text, "%.*s", len, (const char *)p);
        } else if (g->type == GEN_IPADD) {
            int len = ASN1_STRING_length(g->d.ip);
            if (len == 4 || len == 16)
                inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.ip), text,
                          sizeof text);
        }
        clean(text);
        found = text[0] && fn(arg, text, g->type == GEN_DNS);
    }
    GENERAL_NAMES_free(list);
    return found;
}

struct text {
    char *out;
    size_t cap, len;
};

static bool add_name(void *arg, const char *name, bool dns)
{
    struct text *t = arg;
    (void)dns;
    int n = snprintf(t->out + t->len, t->cap - t->len, "%s%s", t->len ? ", " : "", name);
    if (n > 0 && (size_t)n < t->cap - t->len)
        t->len += (size_t)n;
    else
        t->out[t->len] = '\0';
    return false;
}

void ln_tls_names(const X509 *cert, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    out[0] = '\0';
    each_name(cert, add_name, &t);
    if (t.len == 0)
        snprintf(out, cap, "no name at all");
}

/* ---- allowed subjects ---- */

struct wanted {
    const char *const *allow;
    unsigned n;
};

static bool name_is(const char *want, const char *name, bool dns)
{
    if (strcasecmp(want, name) == 0)
        return true;
    const char *dot = strchr(name, '.'); /* "*.example.org": exactly one label more */
    return dns && want[0] == '*' && want[1] == '.' && dot && strcasecmp(want + 1, dot) == 0;
}

static bool is_wanted(void *arg, const char *name, bool dns)
{
    const struct wanted *w = arg;
    for (unsigned i = 0; i < w->n; i++)
        if (name_is(w->allow[i], name, dns))
            return true;
    return false;
}

/* "CN=lab" and, for common names, "lab" as well. */
static bool part_wanted(struct wanted *w, const X509_NAME_ENTRY *e)
{
    char text[300];
    unsigned char *utf8 = NULL;
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
    bool ok = false;
    if (len > 0 && len < 200 && !memchr(utf8, 0, (size_t)len)) {
        snprintf(text, sizeof text, "%s=%.*s", OBJ_nid2sn(nid), len, (const char *)utf8);
        ok = is_wanted(w, text, false) ||
             (nid == NID_commonName && is_wanted(w, strchr(text, '=') + 1, true));
    }
    OPENSSL_free(utf8);
    return ok;
}

bool ln_tls_subject_is(const X509 *cert, const char *const *allow, unsigned nallow)
{
    struct wanted w = {allow, nallow};
    char subject[512];
    const X509_NAME *name = X509_get_subject_name(cert);
    ln_tls_name(name, subject, sizeof subject);
    bool ok = is_wanted(&w, subject, false);
    for (int i = 0; !ok && i < X509_NAME_entry_count(name); i++)
        ok = part_wanted(&w, X509_NAME_get_entry(name, i));
    return ok || each_name(cert, is_wanted, &w);
}

/* ---- chains ---- */

void ln_tls_why_verify(long error, const X509 *cert, const char *host, char *out, size_t cap)
{
    char subject[200] = "", issuer[200] = "", when[40], names[200];
    const char *whose = host ? "its" : "the client's";
    if (cert) {
        ln_tls_name(X509_get_subject_name(cert), subject, sizeof subject);
        ln_tls_name(X509_get_issuer_name(cert), issuer, sizeof issuer);
    }
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        ln_tls_time(cert ? X509_get0_notAfter(cert) : NULL, when, sizeof when);
        snprintf(out, cap, "%s certificate %s expired on %s: it needs a new one", whose, subject,
                 when);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        ln_tls_time(cert ? X509_get0_notBefore(cert) : NULL, when, sizeof when);
        snprintf(out, cap,
                 "%s certificate %s is valid only from %s: is this machine's clock right?", whose,
                 subject, when);
        return;
    case X509_V_ERR_CERT_REVOKED:
        snprintf(out, cap, "%s certificate %s was revoked by %s (crl)", whose, subject, issuer);
        return;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        snprintf(out, cap, "crl has no list of %s, which issued %s certificate %s: add that list",
                 issuer, whose, subject);
        return;
    case X509_V_ERR_CRL_HAS_EXPIRED:
        snprintf(out, cap, "the revocation list of %s (crl) is out of date: fetch the new one",
                 issuer);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (cert)
            ln_tls_names(cert, names, sizeof names);
        snprintf(
            out, cap,
            "its certificate %s is for %s, not for %s: connect by that name, or set server_name",
            subject, cert ? names : "another", host ? host : "this");
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(out, cap,
                 "%s certificate %s is signed by itself: put that certificate into ca to trust it",
                 whose, subject);
        return;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        snprintf(out, cap, "%s CA %s is not trusted here: add that CA's certificate to ca", whose,
                 subject);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        snprintf(out, cap,
                 "%s certificate %s is issued by %s, which is not trusted here: add that CA's "
                 "certificate to ca",
                 whose, subject, issuer);
        return;
    case X509_V_ERR_APPLICATION_VERIFICATION:
        snprintf(out, cap,
                 "%s certificate %s is valid, but is not in allow_subject: add it there if it may "
                 "connect",
                 whose, subject);
        return;
    case X509_V_ERR_INVALID_PURPOSE:
        snprintf(out, cap,
                 "%s certificate %s is not meant for this side (extended key usage): it needs %s",
                 whose, subject, host ? "serverAuth" : "clientAuth");
        return;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        snprintf(out, cap,
                 "%s certificate %s has a key or signature that is too weak (RSA 2048 and "
                 "SHA-256 at least)",
                 whose, subject);
        return;
    default:
        snprintf(out, cap, "%s certificate %s does not verify: %s", whose, subject,
                 X509_verify_cert_error_string(error));
    }
}

/* ---- the rest ---- */

static const char *alert(int reason, bool server, bool own_cert)
{
    switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the peer does not trust our certificate: it needs our CA's certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the peer says that our certificate has expired: renew cert, then lunate reload";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "the peer says that our certificate was revoked";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the peer wants a client certificate: set cert and key";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return server
                   ? "the peer does not accept our certificate: does it have our CA, and does it "
                     "connect by a name that the certificate has?"
                   : "the peer does not accept our certificate: is it one that may connect?";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return server || own_cert
                   ? "the peer refused the handshake: no common suite, or our certificate is not "
                     "accepted"
                   : "the peer refused the handshake: it may want a client certificate (cert and "
                     "key), or has no suite in common";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "the peer has no TLS version in common with us (1.2 and 1.3)";
    case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
        return "the peer wants stronger suites than we offer";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
        return "the peer has no certificate for this name: set server_name";
    default: return NULL;
    }
}

static const char *local(int reason, bool server)
{
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST: return "the peer speaks HTTP in clear, this port speaks TLS";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_RECORD_LENGTH_MISMATCH:
        return server
                   ? "the peer does not speak TLS (plain MLLP?): switch TLS on at the sender, or "
                     "take tls out of mllp.listen"
                   : "the peer does not speak TLS on this port: is it the right one?";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return "the peer knows only TLS 1.1 or older, or less than min_version: it needs 1.2 or "
               "1.3";
    case SSL_R_NO_SHARED_CIPHER:
        return "no suite in common: the peer must know ECDHE with AES-GCM or ChaCha20";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS: return "no curve or signature in common with the peer";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "the peer sent no certificate, and client = \"require\" wants one";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return "cut off: the connection ended without TLS saying so";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
        return "a record was changed on its way, or is no TLS record";
    case SSL_R_NO_RENEGOTIATION: return "the peer asked for a renegotiation, which is off";
    default: return NULL;
    }
}

void ln_tls_why_error(bool server, bool own_cert, char *out, size_t cap)
{
    unsigned long e = ERR_get_error();
    int reason = ERR_GET_REASON(e);
    const char *text = ERR_GET_LIB(e) == ERR_LIB_SSL ? alert(reason, server, own_cert) : NULL;
    if (!text && ERR_GET_LIB(e) == ERR_LIB_SSL)
        text = local(reason, server);
    ERR_clear_error();
    if (text) {
        snprintf(out, cap, "%s", text);
        return;
    }
    const char *detail = e ? ERR_reason_error_string(e) : NULL;
    snprintf(out, cap, "%s", detail ? detail : "the peer broke off the handshake");
}
