#include "net/tls_make.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { BACKDATED_S = 300 /* clocks that differ */ };

static X509 *read_cert(struct ln_span pem)
{
    BIO *b = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return x;
}

static EVP_PKEY *read_key(struct ln_span pem)
{
    BIO *b = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (char[]){""}) : NULL;
    BIO_free(b);
    return k;
}

static bool extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* "DNS:lab.example.org,IP:192.0.2.7"; false: one of them would mean something else there. */
static bool list_names(const struct ln_tls_request *r, struct ln_buf *out)
{
    unsigned char ip[16];
    for (unsigned i = 0; i < r->nnames; i++) {
        const char *n = r->names[i];
        bool addr = inet_pton(AF_INET, n, ip) == 1 || inet_pton(AF_INET6, n, ip) == 1;
        if (!*n || (!addr && strspn(n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789.-*_") != strlen(n)))
            return false;
        ln_buf_addf(out, "%s%s:%s", i ? "," : "", addr ? "IP" : "DNS", n);
    }
    return ln_buf_addc(out, '\0') == LN_OK;
}

static bool set_serial(X509 *x)
{
    unsigned char bytes[16];
    BIGNUM *n = NULL;
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] &= 0x7f;
    n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

static bool fill(X509 *x, const struct ln_tls_request *r, EVP_PKEY *key, X509 *issuer,
                 const char *names)
{
    X509_NAME *name = X509_get_subject_name(x);
    bool ca = !issuer;
    return X509_set_version(x, 2) == 1 && set_serial(x) &&
           X509_gmtime_adj(X509_getm_notBefore(x), -BACKDATED_S) &&
           X509_time_adj_ex(X509_getm_notAfter(x), (int)r->days, 0, NULL) &&
           X509_set_pubkey(x, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)r->subject,
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, ca ? name : X509_get_subject_name(issuer)) == 1 &&
           extend(x, ca ? x : issuer, NID_basic_constraints,
                  ca ? "critical,CA:TRUE" : "CA:FALSE") &&
           extend(x, ca ? x : issuer, NID_key_usage,
                  ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
           (ca || extend(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth")) &&
           (!*names || extend(x, ca ? x : issuer, NID_subject_alt_name, names)) &&
           extend(x, ca ? x : issuer, NID_subject_key_identifier, "hash") &&
           extend(x, ca ? x : issuer, NID_authority_key_identifier, "keyid:always");
}

static bool to_pem(BIO *b, struct ln_buf *out)
{
    char *data;
    long len = BIO_get_mem_data(b, &data);
    return len > 0 && ln_buf_add(out, data, (size_t)len) == LN_OK;
}

int ln_tls_make(const struct ln_tls_request *r, struct ln_buf *cert, struct ln_buf *key,
                struct ln_err *err)
{
    struct ln_buf names = {0};
    X509 *issuer = r->ca_cert.len ? read_cert(r->ca_cert) : NULL;
    EVP_PKEY *signer = r->ca_cert.len ? read_key(r->ca_key) : NULL;
    EVP_PKEY *own = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
    int rc = LN_OK;
    if (r->ca_cert.len && (!issuer || !signer || X509_check_private_key(issuer, signer) != 1))
        rc = ln_err_set(err, LN_EINVAL,
                        "the CA's certificate and key cannot be read, or do not "
                        "belong together");
    else if (!list_names(r, &names))
        rc = ln_err_set(err, LN_EINVAL, "a name must be a host name or an address");
    else if (!own || !x || !c || !k || !fill(x, r, own, issuer, names.data) ||
             X509_sign(x, signer ? signer : own, EVP_sha256()) == 0 ||
             PEM_write_bio_X509(c, x) != 1 ||
             PEM_write_bio_PKCS8PrivateKey(k, own, NULL, NULL, 0, NULL, NULL) != 1 ||
             !to_pem(c, cert) || !to_pem(k, key))
        rc = ln_err_set(err, LN_EIO, "cannot make the certificate");
    ERR_clear_error();
    ln_buf_fini(&names);
    BIO_free(c);
    BIO_free(k);
    X509_free(x);
    X509_free(issuer);
    EVP_PKEY_free(own);
    EVP_PKEY_free(signer);
    return rc;
}
