#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/tls_why.h"

/* AES-128 first: as safe here, and a third quicker. */
static const char suites12[] = "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20";
static const char suites13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct ln_tls {
    SSL_CTX *ctx;
    unsigned refs;
    bool server, insecure;
    char *server_name;
    char **allow;
    unsigned nallow;
    int64_t not_after;
    char subject[200];
};

struct ln_tls_session {
    SSL *ssl;
    struct ln_tls *tls;
    const char *host;
    bool wants_write, starved; /* starved: what is buffered is no whole record */
    bool ready, over, verify_failed;
    int code; /* how it is over */
    char why[700];
};

/* ---- settings ---- */

static X509_STORE *system_store; /* parsing all of the system's CAs takes 10 ms: once */

void ln_tls_forget_system(void)
{
    X509_STORE_free(system_store);
    system_store = NULL;
}

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return 0;
}

static BIO *open_text(const struct ln_tls_file *f)
{
    return f->text.len <= INT_MAX ? BIO_new_mem_buf(f->text.ptr, (int)f->text.len) : NULL;
}

static int unreadable(struct ln_err *err, const struct ln_tls_file *f, const char *what)
{
    ERR_clear_error();
    return ln_err_set(err, LN_EINVAL, "%s: no %s in PEM form in it", f->path, what);
}

static int64_t to_unix(const ASN1_TIME *t)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Our certificate and those that lead from it to its CA. */
static int use_cert(struct ln_tls *t, const struct ln_tls_file *f, struct ln_err *err)
{
    BIO *b = open_text(f);
    X509 *x = b ? PEM_read_bio_X509(b, NULL, no_passphrase, NULL) : NULL;
    bool ok = x && SSL_CTX_use_certificate(t->ctx, x) == 1;
    int reason = ok ? 0 : ERR_GET_REASON(ERR_peek_last_error());
    if (ok) {
        t->not_after = to_unix(X509_get0_notAfter(x));
        ln_tls_name(X509_get_subject_name(x), t->subject, sizeof t->subject);
    }
    X509_free(x);
    while (ok && (x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL))) {
        ok = SSL_CTX_add1_chain_cert(t->ctx, x) == 1;
        X509_free(x);
    }
    BIO_free(b);
    ERR_clear_error();
    if (ok)
        return LN_OK;
    if (reason == SSL_R_EE_KEY_TOO_SMALL || reason == SSL_R_CA_MD_TOO_WEAK)
        return ln_err_set(err, LN_EINVAL,
                          "%s: key or signature is too weak (RSA 2048 and SHA-256 "
                          "at least)",
                          f->path);
    return unreadable(err, f, "certificate");
}

/* Private keys lie in OpenSSL's secure heap: locked, left out of core dumps, wiped. Made when the
 * first one comes, so that who has none does not pay for it; a machine that locks no memory has it
 * unlocked. 1 MiB has room for some 500 RSA keys. */
static void keep_keys_locked(void)
{
    if (!CRYPTO_secure_malloc_initialized())
        (void)CRYPTO_secure_malloc_init(1 << 20, 16);
}

static int use_key(struct ln_tls *t, const struct ln_tls_options *opt, struct ln_err *err)
{
    keep_keys_locked();
    BIO *b = open_text(&opt->key);
    EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    if (!k) {
        bool locked = memmem(opt->key.text.ptr, opt->key.text.len, "ENCRYPTED", 9) != NULL;
        if (locked)
            return ERR_clear_error(),
                   ln_err_set(err, LN_EINVAL,
                              "%s: the key has a passphrase, and nobody is there to type it: take "
                              "it off (openssl pkey -in ... -out ...) and protect the file (0600)",
                              opt->key.path);
        return unreadable(err, &opt->key, "private key");
    }
    bool ok = SSL_CTX_use_PrivateKey(t->ctx, k) == 1 && SSL_CTX_check_private_key(t->ctx) == 1;
    EVP_PKEY_free(k);
    ERR_clear_error();
    return ok ? LN_OK
              : ln_err_set(err, LN_EINVAL, "%s is not the key of the certificate in %s",
                           opt->key.path, opt->cert.path);
}

/* Takes each certificate of ca into the store; a server also names them to its clients. */
static int use_ca(struct ln_tls *t, const struct ln_tls_file *f, X509_STORE *store,
                  struct ln_err *err)
{
    BIO *b = open_text(f);
    X509 *x;
    unsigned n = 0;
    bool ok = b != NULL;
    while (ok && (x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL))) {
        ok = X509_STORE_add_cert(store, x) == 1 &&
             (!t->server || SSL_CTX_add_client_CA(t->ctx, x) == 1);
        X509_free(x);
        n += ok;
    }
    BIO_free(b);
    ERR_clear_error();
    return ok && n > 0 ? LN_OK : unreadable(err, f, "CA certificate");
}

static int use_crl(const struct ln_tls_file *f, X509_STORE *store, struct ln_err *err)
{
    BIO *b = open_text(f);
    X509_CRL *x;
    unsigned n = 0;
    bool ok = b != NULL;
    while (ok && (x = PEM_read_bio_X509_CRL(b, NULL, no_passphrase, NULL))) {
        ok = X509_STORE_add_crl(store, x) == 1;
        X509_CRL_free(x);
        n += ok;
    }
    BIO_free(b);
    ERR_clear_error();
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return ok && n > 0 ? LN_OK : unreadable(err, f, "revocation list");
}

static int use_trust(struct ln_tls *t, const struct ln_tls_options *opt, struct ln_err *err)
{
    int rc = LN_OK;
    if (!opt->ca.text.ptr && !opt->server && !opt->insecure && !opt->crl.text.ptr) {
        if (!system_store) {
            system_store = X509_STORE_new();
            if (system_store && X509_STORE_set_default_paths(system_store) != 1)
                ERR_clear_error();
        }
        if (!system_store)
            return ln_err_set(err, LN_ENOMEM, "out of memory");
        SSL_CTX_set1_cert_store(t->ctx, system_store);
        return LN_OK;
    }
    X509_STORE *store = SSL_CTX_get_cert_store(t->ctx);
    if (opt->ca.text.ptr) {
        /* What stands in ca is trusted, be it a root, an intermediate CA or the peer's own. */
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        rc = use_ca(t, &opt->ca, store, err);
    } else if (!opt->server) {
        X509_STORE_set_default_paths(store);
    }
    if (rc == LN_OK && opt->crl.text.ptr)
        rc = use_crl(&opt->crl, store, err);
    return rc;
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct ln_tls_session *s = SSL_get_app_data(ssl);
    struct ln_tls *t = s->tls;
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    if (t->insecure)
        return 1;
    if (ok && t->nallow && X509_STORE_CTX_get_error_depth(store) == 0 &&
        !ln_tls_subject_is(cert, (const char *const *)t->allow, t->nallow)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        ok = 0;
    }
    if (!ok && !s->verify_failed) {
        s->verify_failed = true;
        ln_tls_why_verify(X509_STORE_CTX_get_error(store), cert, t->server ? NULL : s->host, s->why,
                          sizeof s->why);
    }
    return ok;
}

static void use_policy(struct ln_tls *t, const struct ln_tls_options *opt)
{
    int mode = SSL_VERIFY_PEER;
    if (opt->server && opt->client == LN_TLS_CLIENT_NONE)
        mode = SSL_VERIFY_NONE;
    else if (opt->server && opt->client == LN_TLS_CLIENT_REQUIRE)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(t->ctx, mode, on_verify);
    SSL_CTX_set_security_level(t->ctx, 2);
    SSL_CTX_set_min_proto_version(t->ctx, opt->tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(t->ctx, 0);
    SSL_CTX_set_cipher_list(t->ctx, suites12);
    SSL_CTX_set_ciphersuites(t->ctx, suites13);
    SSL_CTX_set1_groups_list(t->ctx, "X25519:P-256:P-384");
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(t->ctx, 0);
    SSL_CTX_set_read_ahead(t->ctx, 1);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
}

static bool copy_words(struct ln_tls *t, const struct ln_tls_options *opt)
{
    t->server_name = opt->server_name && *opt->server_name ? strdup(opt->server_name) : NULL;
    t->allow = calloc(opt->nallow + 1u, sizeof *t->allow);
    if (!t->allow || (opt->server_name && *opt->server_name && !t->server_name))
        return false;
    for (; t->nallow < opt->nallow; t->nallow++)
        if (!(t->allow[t->nallow] = strdup(opt->allow[t->nallow])))
            return false;
    return true;
}

int ln_tls_new(const struct ln_tls_options *opt, struct ln_tls **out, struct ln_err *err)
{
    struct ln_tls *t = calloc(1, sizeof *t);
    int rc = LN_OK;
    if (!t)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    t->refs = 1;
    t->server = opt->server;
    t->insecure = opt->insecure;
    t->ctx = SSL_CTX_new(opt->server ? TLS_server_method() : TLS_client_method());
    if (!t->ctx || !copy_words(t, opt))
        rc = ln_err_set(err, LN_ENOMEM, "out of memory");
    if (rc == LN_OK) {
        use_policy(t, opt);
        rc = use_trust(t, opt, err);
    }
    if (rc == LN_OK && opt->cert.text.ptr)
        rc = use_cert(t, &opt->cert, err);
    if (rc == LN_OK && opt->cert.text.ptr)
        rc = use_key(t, opt, err);
    if (rc != LN_OK)
        ln_tls_unref(t);
    else
        *out = t;
    return rc;
}

struct ln_tls *ln_tls_ref(struct ln_tls *t)
{
    if (t)
        t->refs++;
    return t;
}

void ln_tls_unref(struct ln_tls *t)
{
    if (!t || --t->refs > 0)
        return;
    SSL_CTX_free(t->ctx);
    for (unsigned i = 0; i < t->nallow; i++)
        free(t->allow[i]);
    free(t->allow);
    free(t->server_name);
    free(t);
}

int64_t ln_tls_not_after(const struct ln_tls *t)
{
    return t->not_after;
}

const char *ln_tls_subject(const struct ln_tls *t)
{
    return t->subject;
}

/* ---- a connection ---- */

static bool expect_name(struct ln_tls_session *s)
{
    unsigned char ip[16];
    X509_VERIFY_PARAM *p = SSL_get0_param(s->ssl);
    if (inet_pton(AF_INET, s->host, ip) == 1 || inet_pton(AF_INET6, s->host, ip) == 1)
        return s->tls->insecure || X509_VERIFY_PARAM_set1_ip_asc(p, s->host) == 1;
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(s->ssl, s->host) == 1 &&
           (s->tls->insecure || SSL_set1_host(s->ssl, s->host) == 1);
}

struct ln_tls_session *ln_tls_open(struct ln_tls *t, int fd, const char *host)
{
    struct ln_tls_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->tls = ln_tls_ref(t);
    s->host = t->server_name ? t->server_name : host ? host : "";
    char *own = strdup(s->host);
    s->host = own;
    s->ssl = SSL_new(t->ctx);
    bool ok = own && s->ssl && SSL_set_fd(s->ssl, fd) == 1 && (t->server || expect_name(s));
    if (!ok) {
        ERR_clear_error();
        ln_tls_close(s);
        return NULL;
    }
    SSL_set_app_data(s->ssl, s);
    if (t->server)
        SSL_set_accept_state(s->ssl);
    else
        SSL_set_connect_state(s->ssl);
    return s;
}

void ln_tls_close(struct ln_tls_session *s)
{
    if (!s)
        return;
    if (s->ready && !(s->over && s->code != LN_OK))
        ln_tls_end(s);
    ERR_clear_error();
    SSL_free(s->ssl);
    ln_tls_unref(s->tls);
    free((char *)(uintptr_t)s->host);
    free(s);
}

void ln_tls_end(struct ln_tls_session *s)
{
    ERR_clear_error();
    if (s->ready)
        SSL_shutdown(s->ssl);
    ERR_clear_error();
}

static int over(struct ln_tls_session *s, int code)
{
    s->over = true;
    return s->code = code;
}

/* The connection ended below TLS. */
static int cut(struct ln_tls_session *s, int e)
{
    if (!s->ready)
        snprintf(s->why, sizeof s->why,
                 "the peer closed the connection during the handshake: does it speak TLS, and does "
                 "it accept our %s?",
                 s->tls->server ? "certificate" : "side");
    else
        snprintf(s->why, sizeof s->why, "%s",
                 e ? strerror(e) : "cut off: the connection ended without TLS saying so");
    return over(s, s->ready ? LN_ECLOSED : LN_ETLS);
}

/* What a call that returned ret <= 0 means. */
static int failed(struct ln_tls_session *s, int ret)
{
    int e = errno;
    switch (SSL_get_error(s->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        s->wants_write = false;
        s->starved = true;
        return LN_EAGAIN;
    case SSL_ERROR_WANT_WRITE: s->wants_write = true; return LN_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        snprintf(s->why, sizeof s->why, "end of file");
        return s->ready ? over(s, LN_OK) : cut(s, 0);
    case SSL_ERROR_SYSCALL: return cut(s, e);
    default: break;
    }
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return ERR_clear_error(), cut(s, 0);
    if (s->verify_failed)
        ERR_clear_error();
    else
        ln_tls_why_error(s->tls->server, s->tls->subject[0] != '\0', s->why, sizeof s->why);
    return over(s, LN_ETLS);
}

int ln_tls_handshake(struct ln_tls_session *s)
{
    if (s->over)
        return s->code ? s->code : LN_ECLOSED;
    ERR_clear_error();
    errno = 0;
    s->wants_write = s->starved = false;
    int ret = SSL_do_handshake(s->ssl);
    if (ret == 1) {
        s->ready = true;
        return LN_OK;
    }
    return failed(s, ret);
}

long ln_tls_read(struct ln_tls_session *s, char *buf, size_t cap)
{
    size_t n = 0;
    if (s->over)
        return s->code;
    s->starved = false;
    do {
        ERR_clear_error();
        errno = 0;
        int ret = SSL_read(s->ssl, buf + n, (int)(cap - n));
        if (ret <= 0) {
            int code = failed(s, ret);
            return n > 0 ? (long)n : code; /* what ended it is told by the next call */
        }
        n += (size_t)ret;
    } while (n < cap && SSL_has_pending(s->ssl));
    return (long)n;
}

long ln_tls_write(struct ln_tls_session *s, const char *data, size_t len)
{
    size_t n = 0;
    if (s->over && s->code != LN_OK) /* a peer that has ended its side still reads */
        return LN_ECLOSED;
    while (n < len) {
        size_t left = len - n;
        ERR_clear_error();
        errno = 0;
        int ret = SSL_write(s->ssl, data + n, left > INT_MAX ? INT_MAX : (int)left);
        if (ret <= 0) {
            int e = SSL_get_error(s->ssl, ret);
            if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ)
                break;
            failed(s, ret);
            return LN_ECLOSED;
        }
        n += (size_t)ret;
    }
    return (long)n;
}

bool ln_tls_wants_write(const struct ln_tls_session *s)
{
    return s->wants_write;
}

bool ln_tls_pending(const struct ln_tls_session *s)
{
    return s->over || (s->ready && !s->starved && SSL_has_pending(s->ssl));
}

const char *ln_tls_why(const struct ln_tls_session *s)
{
    return s->why[0] ? s->why : "TLS failed";
}

const char *ln_tls_describe(const struct ln_tls_session *s, char *out, size_t cap)
{
    snprintf(out, cap, "%s %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl));
    return out;
}

int64_t ln_tls_peer(const struct ln_tls_session *s, char *out, size_t cap)
{
    const X509 *x = SSL_get0_peer_certificate(s->ssl);
    out[0] = '\0';
    if (!x)
        return 0;
    ln_tls_name(X509_get_subject_name(x), out, cap);
    return to_unix(X509_get0_notAfter(x));
}
