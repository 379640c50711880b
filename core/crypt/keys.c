#include "crypt/keys.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

struct ln_keys {
    atomic_uint refs;
    unsigned n;
    char source[400];
    unsigned char id[LN_KEYS_MAX][LN_KEYS_ID];
    unsigned char (*key)[LN_AEAD_KEY]; /* LN_KEYS_MAX of them, in locked memory */
};

enum { SECRET = LN_KEYS_MAX * LN_AEAD_KEY };

/* ---- text ---------------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool from_hex(struct ln_span s, unsigned char *to)
{
    if (s.len != (size_t)2 * LN_AEAD_KEY)
        return false;
    for (size_t i = 0; i < LN_AEAD_KEY; i++) {
        int hi = digit(s.ptr[2 * i]), lo = digit(s.ptr[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        to[i] = (unsigned char)(hi << 4 | lo);
    }
    return true;
}

static bool from_base64(struct ln_span s, unsigned char *to)
{
    unsigned char raw[LN_AEAD_KEY + 1];
    if (s.len != 44 || s.ptr[43] != '=' || s.ptr[42] == '=')
        return false;
    bool ok = EVP_DecodeBlock(raw, (const unsigned char *)s.ptr, 44) == sizeof raw;
    if (ok)
        memcpy(to, raw, LN_AEAD_KEY);
    ln_secret_wipe(raw, sizeof raw);
    return ok;
}

/* 8 bytes of SHA-256 over a name of ours and the key. */
static bool name_key(const unsigned char *key, unsigned char id[LN_KEYS_ID])
{
    static const char label[] = "lunate key id";
    unsigned char text[sizeof label + LN_AEAD_KEY], sum[EVP_MAX_MD_SIZE];
    memcpy(text, label, sizeof label);
    memcpy(text + sizeof label, key, LN_AEAD_KEY);
    bool ok = EVP_Digest(text, sizeof text, sum, NULL, EVP_sha256(), NULL) == 1;
    memcpy(id, sum, LN_KEYS_ID);
    ln_secret_wipe(text, sizeof text);
    return ok;
}

static int add(struct ln_keys *k, struct ln_span s, unsigned line, struct ln_err *err)
{
    if (k->n == LN_KEYS_MAX)
        return ln_err_set(err, LN_EPARSE, "%s: more than %u keys", k->source, LN_KEYS_MAX);
    unsigned char *to = k->key[k->n];
    if (!from_hex(s, to) && !from_base64(s, to))
        return ln_err_set(err, LN_EPARSE,
                          "%s, line %u: not a key: it must be 64 hexadecimal digits or 44 "
                          "characters of base64 (lunate key new FILE makes one)",
                          k->source, line);
    if (!name_key(to, k->id[k->n]))
        return ln_err_set(err, LN_EIO, "OpenSSL cannot compute SHA-256");
    k->n++;
    return LN_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int add_lines(struct ln_keys *k, struct ln_span text, struct ln_err *err)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    int rc = LN_OK;
    for (unsigned line = 1; p < end && rc == LN_OK; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
        struct ln_span s = ln_span(p, (size_t)(stop - p));
        for (; s.len && is_space(*s.ptr); s.ptr++)
            s.len--;
        while (s.len && is_space(s.ptr[s.len - 1]))
            s.len--;
        if (s.len && *s.ptr != '#')
            rc = add(k, s, line, err);
        p = stop + 1;
    }
    return rc;
}

/* 32 bytes that are no text: `head -c 32 /dev/urandom`. */
static bool is_raw(struct ln_span text)
{
    bool printable = true;
    for (size_t i = 0; i < text.len; i++)
        printable &= isprint((unsigned char)text.ptr[i]) || isspace((unsigned char)text.ptr[i]);
    return text.len == LN_AEAD_KEY && !printable;
}

int ln_keys_parse(struct ln_span text, const char *source, struct ln_keys **out, struct ln_err *err)
{
    struct ln_keys *k = calloc(1, sizeof *k);
    if (!k || !(k->key = ln_secret_new(SECRET))) {
        free(k);
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    }
    atomic_init(&k->refs, 1);
    strncpy(k->source, source, sizeof k->source - 1);
    int rc = LN_OK;
    if (is_raw(text)) {
        memcpy(k->key[0], text.ptr, LN_AEAD_KEY);
        k->n = 1;
        rc = name_key(k->key[0], k->id[0]) ? LN_OK : LN_EIO;
    } else {
        rc = add_lines(k, text, err);
    }
    if (rc == LN_OK && k->n == 0)
        rc = ln_err_set(err, LN_EPARSE, "%s: there is no key in it", source);
    if (rc == LN_OK)
        *out = k;
    else
        ln_keys_unref(k);
    return rc;
}

struct ln_keys *ln_keys_ref(struct ln_keys *k)
{
    atomic_fetch_add(&k->refs, 1);
    return k;
}

void ln_keys_unref(struct ln_keys *k)
{
    if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    ln_secret_free(k->key, SECRET);
    free(k);
}

/* ---- names --------------------------------------------------------------------------------- */

static void to_text(const unsigned char *id, char text[LN_KEYS_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < LN_KEYS_ID; i++) {
        text[2 * i] = digits[id[i] >> 4];
        text[2 * i + 1] = digits[id[i] & 15];
    }
    text[2 * LN_KEYS_ID] = 0;
}

unsigned ln_keys_count(const struct ln_keys *k)
{
    return k->n;
}

const char *ln_keys_source(const struct ln_keys *k)
{
    return k->source;
}

void ln_keys_id(const struct ln_keys *k, unsigned i, char text[LN_KEYS_ID_TEXT])
{
    to_text(k->id[i], text);
}

void ln_keys_wrapped_id(struct ln_span wrapped, char text[LN_KEYS_ID_TEXT])
{
    static const unsigned char none[LN_KEYS_ID];
    to_text(wrapped.len == LN_WRAPPED ? (const unsigned char *)wrapped.ptr + 1 : none, text);
}

int ln_keys_find(const struct ln_keys *k, struct ln_span wrapped)
{
    for (unsigned i = 0; i < k->n && wrapped.len == LN_WRAPPED && wrapped.ptr[0] == 1; i++)
        if (memcmp(k->id[i], wrapped.ptr + 1, LN_KEYS_ID) == 0)
            return (int)i;
    return -1;
}

/* ---- wrapping ------------------------------------------------------------------------------ */

/* Nonces are random: a key wraps a few data keys a year. */
int ln_keys_wrap(const struct ln_keys *k, struct ln_span with, const unsigned char *key,
                 unsigned char out[LN_WRAPPED])
{
    unsigned char *nonce = out + 1 + LN_KEYS_ID;
    struct ln_aead *a = ln_aead_new(true);
    out[0] = 1;
    memcpy(out + 1, k->id[0], LN_KEYS_ID);
    int rc = a ? ln_crypt_random(nonce, LN_AEAD_NONCE) : LN_ENOMEM;
    struct ln_span all[2] = {with, ln_span((const char *)out, 1 + LN_KEYS_ID)};
    if (rc == LN_OK)
        rc = ln_aead_key(a, k->key[0]);
    if (rc == LN_OK)
        rc = ln_aead_seal(a, nonce, all, ln_span((const char *)key, LN_AEAD_KEY),
                          (char *)nonce + LN_AEAD_NONCE);
    ln_aead_free(a);
    return rc;
}

int ln_keys_unwrap(const struct ln_keys *k, struct ln_span with, struct ln_span wrapped,
                   unsigned char *key)
{
    int i = ln_keys_find(k, wrapped);
    if (wrapped.len != LN_WRAPPED || wrapped.ptr[0] != 1)
        return LN_EPARSE;
    if (i < 0)
        return LN_ENOTFOUND;
    struct ln_aead *a = ln_aead_new(false);
    const char *nonce = wrapped.ptr + 1 + LN_KEYS_ID;
    struct ln_span all[2] = {with, ln_span(wrapped.ptr, 1 + LN_KEYS_ID)};
    int rc = a ? ln_aead_key(a, k->key[i]) : LN_ENOMEM;
    if (rc == LN_OK)
        rc = ln_aead_open(a, (const unsigned char *)nonce, all,
                          ln_span(nonce + LN_AEAD_NONCE, LN_AEAD_KEY + LN_AEAD_TAG), (char *)key);
    if (rc != LN_OK)
        ln_secret_wipe(key, LN_AEAD_KEY); /* it may hold the right one under a wrong tag */
    ln_aead_free(a);
    return rc;
}
