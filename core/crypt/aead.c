#include "crypt/aead.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct ln_aead {
    EVP_CIPHER_CTX *ctx;
    bool seal;
};

struct ln_mac {
    EVP_MAC_CTX *ctx;
};

struct ln_aead *ln_aead_new(bool seal)
{
    struct ln_aead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->seal = seal;
    a->ctx = EVP_CIPHER_CTX_new();
    if (a->ctx && EVP_CipherInit_ex(a->ctx, EVP_aes_256_gcm(), NULL, NULL, NULL, seal) == 1)
        return a;
    ln_aead_free(a);
    return NULL;
}

int ln_aead_key(struct ln_aead *a, const unsigned char *key)
{
    return EVP_CipherInit_ex(a->ctx, NULL, NULL, key, NULL, a->seal) == 1 ? LN_OK : LN_EIO;
}

/* Nonce and what stays in clear. */
static bool start(struct ln_aead *a, const unsigned char *nonce, const struct ln_span with[2])
{
    int n;
    if (EVP_CipherInit_ex(a->ctx, NULL, NULL, NULL, nonce, a->seal) != 1)
        return false;
    for (int i = 0; i < 2; i++)
        if (with[i].len && (with[i].len > INT_MAX ||
                            EVP_CipherUpdate(a->ctx, NULL, &n, (const unsigned char *)with[i].ptr,
                                             (int)with[i].len) != 1))
            return false;
    return true;
}

static bool update(struct ln_aead *a, struct ln_span in, char *out)
{
    int n = 0;
    return in.len <= INT_MAX &&
           (in.len == 0 || (EVP_CipherUpdate(a->ctx, (unsigned char *)out, &n,
                                             (const unsigned char *)in.ptr, (int)in.len) == 1 &&
                            (size_t)n == in.len));
}

int ln_aead_seal(struct ln_aead *a, const unsigned char *nonce, const struct ln_span with[2],
                 struct ln_span in, char *out)
{
    unsigned char none[LN_AEAD_TAG];
    int n;
    if (!a->seal || !start(a, nonce, with) || !update(a, in, out) ||
        EVP_CipherFinal_ex(a->ctx, none, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, LN_AEAD_TAG, out + in.len) != 1)
        return LN_EIO;
    return LN_OK;
}

int ln_aead_open(struct ln_aead *a, const unsigned char *nonce, const struct ln_span with[2],
                 struct ln_span in, char *out)
{
    unsigned char tag[LN_AEAD_TAG], none[LN_AEAD_TAG];
    int n;
    if (in.len < LN_AEAD_TAG)
        return LN_EPARSE;
    in.len -= LN_AEAD_TAG;
    memcpy(tag, in.ptr + in.len, sizeof tag);
    if (a->seal || !start(a, nonce, with) || !update(a, in, out) ||
        EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) != 1)
        return LN_EIO;
    return EVP_CipherFinal_ex(a->ctx, none, &n) == 1 ? LN_OK : LN_EPARSE;
}

void ln_aead_free(struct ln_aead *a)
{
    if (!a)
        return;
    EVP_CIPHER_CTX_free(a->ctx); /* wipes the key */
    free(a);
}

struct ln_mac *ln_mac_new(const unsigned char *key, size_t len)
{
    char sha256[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
                           OSSL_PARAM_construct_end()};
    struct ln_mac *m = calloc(1, sizeof *m);
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (m && hmac && (m->ctx = EVP_MAC_CTX_new(hmac)) != NULL &&
        EVP_MAC_init(m->ctx, key, len, params) == 1) {
        EVP_MAC_free(hmac);
        return m;
    }
    EVP_MAC_free(hmac);
    ln_mac_free(m);
    return NULL;
}

int ln_mac(struct ln_mac *m, const struct ln_span *parts, size_t n, unsigned char out[LN_MAC_LEN])
{
    size_t len = 0;
    if (EVP_MAC_init(m->ctx, NULL, 0, NULL) != 1)
        return LN_EIO;
    for (size_t i = 0; i < n; i++)
        if (parts[i].len &&
            EVP_MAC_update(m->ctx, (const unsigned char *)parts[i].ptr, parts[i].len) != 1)
            return LN_EIO;
    return EVP_MAC_final(m->ctx, out, &len, LN_MAC_LEN) == 1 && len == LN_MAC_LEN ? LN_OK : LN_EIO;
}

void ln_mac_free(struct ln_mac *m)
{
    if (!m)
        return;
    EVP_MAC_CTX_free(m->ctx);
    free(m);
}

int ln_sha256(const struct ln_span *parts, size_t n, unsigned char out[LN_SHA256_LEN])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < n; i++)
        ok = EVP_DigestUpdate(md, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(md, out, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok ? LN_OK : LN_ENOMEM;
}

int ln_crypt_random(void *to, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = getrandom((char *)to + have, len - have, 0);
        if (n <= 0)
            return LN_EIO;
        have += (size_t)n;
    }
    return LN_OK;
}
