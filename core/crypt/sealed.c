#include "crypt/sealed.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define LAST 0x80000000u

struct ln_sealer {
    struct ln_aead *aead;
    uint64_t n; /* chunks so far */
    bool done;
};

struct ln_unsealer {
    struct ln_aead *aead;
    uint64_t n;
    bool done;
};

static void put_u32(unsigned char *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++, v >>= 8)
        p[i] = (unsigned char)(v & 0xff);
}

static uint32_t get_u32(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void nonce_of(uint64_t n, unsigned char nonce[LN_AEAD_NONCE])
{
    memset(nonce, 0, LN_AEAD_NONCE);
    for (unsigned i = 0; i < 8; i++, n >>= 8)
        nonce[i] = (unsigned char)(n & 0xff);
}

int ln_sealer_new(const struct ln_keys *k, struct ln_span label, struct ln_sealer **out,
                  struct ln_buf *to)
{
    unsigned char key[LN_AEAD_KEY], head[LN_SEALED_HEAD] = LN_SEALED_MAGIC;
    struct ln_sealer *s = calloc(1, sizeof *s);
    if (!s || !(s->aead = ln_aead_new(true))) {
        free(s);
        return LN_ENOMEM;
    }
    int rc = ln_crypt_random(key, sizeof key);
    if (rc == LN_OK)
        rc = ln_aead_key(s->aead, key);
    if (rc == LN_OK)
        rc = ln_keys_wrap(k, label, key, head + 8);
    if (rc == LN_OK)
        rc = ln_buf_add(to, head, sizeof head);
    ln_secret_wipe(key, sizeof key);
    if (rc == LN_OK)
        *out = s;
    else
        ln_sealer_free(s);
    return rc;
}

static int add_chunk(struct ln_sealer *s, struct ln_span data, bool last, struct ln_buf *to)
{
    unsigned char len[4], nonce[LN_AEAD_NONCE];
    put_u32(len, (uint32_t)data.len | (last ? LAST : 0));
    nonce_of(s->n++, nonce);
    const struct ln_span with[2] = {ln_span((const char *)len, sizeof len), ln_span("", 0)};
    if (ln_buf_reserve(to, sizeof len + data.len + LN_AEAD_TAG) != LN_OK)
        return LN_ENOMEM;
    memcpy(to->data + to->len, len, sizeof len);
    int rc = ln_aead_seal(s->aead, nonce, with, data, to->data + to->len + sizeof len);
    if (rc == LN_OK)
        to->len += sizeof len + data.len + LN_AEAD_TAG;
    return rc;
}

int ln_sealer_add(struct ln_sealer *s, struct ln_span data, bool last, struct ln_buf *to)
{
    int rc = s->done ? LN_EINVAL : LN_OK;
    s->done |= last;
    for (bool more = data.len > 0 || last; more && rc == LN_OK;) {
        size_t n = data.len < LN_SEALED_CHUNK ? data.len : LN_SEALED_CHUNK;
        more = data.len > n;
        rc = add_chunk(s, ln_span(data.ptr, n), last && !more, to);
        data = ln_span(data.ptr + n, data.len - n);
    }
    return rc;
}

void ln_sealer_free(struct ln_sealer *s)
{
    if (s)
        ln_aead_free(s->aead);
    free(s);
}

int ln_unsealer_new(const struct ln_keys *k, struct ln_span label, struct ln_span head,
                    struct ln_unsealer **out, struct ln_err *err)
{
    unsigned char key[LN_AEAD_KEY];
    char id[LN_KEYS_ID_TEXT];
    if (head.len != LN_SEALED_HEAD || memcmp(head.ptr, LN_SEALED_MAGIC, 8) != 0)
        return ln_err_set(err, LN_EPARSE, "this is not a sealed file of Lunate's");
    struct ln_span wrapped = ln_span(head.ptr + 8, LN_WRAPPED);
    int rc = ln_keys_unwrap(k, label, wrapped, key);
    ln_keys_wrapped_id(wrapped, id);
    if (rc == LN_ENOTFOUND)
        return ln_err_set(err, rc, "it was sealed with key %s, which is not in %s", id,
                          ln_keys_source(k));
    if (rc != LN_OK)
        return ln_err_set(err, rc, "it is damaged, or it is not what it is called");
    struct ln_unsealer *u = calloc(1, sizeof *u);
    if (u && (u->aead = ln_aead_new(false)))
        rc = ln_aead_key(u->aead, key);
    else
        rc = LN_ENOMEM;
    ln_secret_wipe(key, sizeof key);
    if (rc == LN_OK) {
        *out = u;
        return LN_OK;
    }
    ln_unsealer_free(u);
    return ln_err_set(err, rc, "%s", ln_strerror(rc));
}

int ln_unsealer_add(struct ln_unsealer *u, struct ln_span in, size_t *used, struct ln_buf *to)
{
    *used = 0;
    while (in.len - *used >= 4) {
        const char *at = in.ptr + *used;
        uint32_t len = get_u32(at) & ~LAST;
        unsigned char nonce[LN_AEAD_NONCE];
        if (u->done || len > LN_SEALED_CHUNK)
            return LN_EPARSE;
        if (in.len - *used < 4 + (size_t)len + LN_AEAD_TAG)
            break;
        nonce_of(u->n, nonce);
        const struct ln_span with[2] = {ln_span(at, 4), ln_span("", 0)};
        if (ln_buf_reserve(to, (size_t)len + 1) != LN_OK)
            return LN_ENOMEM;
        int rc = ln_aead_open(u->aead, nonce, with, ln_span(at + 4, len + LN_AEAD_TAG),
                              to->data + to->len);
        if (rc != LN_OK)
            return rc;
        to->len += len;
        u->n++;
        u->done = (get_u32(at) & LAST) != 0;
        *used += 4 + (size_t)len + LN_AEAD_TAG;
    }
    return LN_OK;
}

bool ln_unsealer_done(const struct ln_unsealer *u)
{
    return u->done;
}

void ln_unsealer_free(struct ln_unsealer *u)
{
    if (u)
        ln_aead_free(u->aead);
    free(u);
}
