#include "hub/content.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "store/version.h"

enum { HEADS = 256 };

static struct ln_content *known[HEADS]; /* by the first byte of the hash */

struct ln_content *ln_content_new(struct ln_span s)
{
    struct ln_content *c = malloc(sizeof *c + s.len);
    if (!c)
        return NULL;
    *c = (struct ln_content){.refs = 1, .len = s.len, .data = (char *)(c + 1)};
    if (s.len)
        memcpy(c->data, s.ptr, s.len);
    return c;
}

struct ln_content *ln_content_adopt(struct ln_buf *b, struct ln_span s)
{
    struct ln_content *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    *c = (struct ln_content){.refs = 1, .len = s.len, .owned = *b};
    c->data = b->data + (s.ptr - b->data);
    *b = (struct ln_buf){0};
    return c;
}

struct ln_content *ln_content_ref(struct ln_content *c)
{
    c->refs++;
    return c;
}

void ln_content_unref(struct ln_content *c)
{
    if (!c || --c->refs > 0)
        return;
    if (c->listed) {
        struct ln_content **at = &known[c->hash[0]];
        while (*at != c)
            at = &(*at)->next;
        *at = c->next;
    }
    ln_buf_fini(&c->packed);
    ln_buf_fini(&c->owned);
    free(c);
}

int ln_content_hash(struct ln_content *c)
{
    unsigned n = 0;
    unsigned char md[EVP_MAX_MD_SIZE];
    if (c->hashed)
        return LN_OK;
    if (!EVP_Digest(c->data, c->len, md, &n, EVP_sha256(), NULL) || n != LN_CONTENT_HASH)
        return LN_EIO;
    memcpy(c->hash, md, n);
    c->hashed = true;
    return LN_OK;
}

int ln_content_pack(struct ln_content *c)
{
    return c->packed.len ? LN_OK : ln_version_pack(ln_content_span(c), &c->packed);
}

struct ln_content *ln_content_find(const uint8_t *hash)
{
    struct ln_content *c = known[hash[0]];
    while (c && memcmp(c->hash, hash, LN_CONTENT_HASH) != 0)
        c = c->next;
    return c;
}

struct ln_content *ln_content_share(struct ln_content *c)
{
    struct ln_content *is;
    if (c->listed)
        return c;
    if ((is = ln_content_find(c->hash)) != NULL) {
        ln_content_ref(is);
        ln_content_unref(c);
        return is;
    }
    c->listed = true;
    c->next = known[c->hash[0]];
    known[c->hash[0]] = c;
    return c;
}
