#include "hub/content.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/version.h"

enum { HEADS = 256, LARGE = 1 << 20 };

static struct ln_content *known[HEADS]; /* by the first byte of the hash */

struct ln_content *ln_content_new(struct ln_span s)
{
    struct ln_buf b = {0};
    if (s.len > LARGE) /* it is given back when it moves */
        return ln_buf_add(&b, s.ptr, s.len) == LN_OK ? ln_content_adopt(&b, ln_span(b.data, b.len))
                                                     : NULL;
    struct ln_content *c = malloc(sizeof *c + s.len);
    if (!c)
        return NULL;
    *c = (struct ln_content){.refs = 1, .len = s.len, .data = (char *)(c + 1), .fd = -1};
    if (s.len)
        memcpy(c->data, s.ptr, s.len);
    return c;
}

struct ln_content *ln_content_adopt(struct ln_buf *b, struct ln_span s)
{
    struct ln_content *c = malloc(sizeof *c);
    if (!c) {
        ln_buf_fini(b);
        return NULL;
    }
    *c = (struct ln_content){.refs = 1, .len = s.len, .owned = *b, .fd = -1};
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
    if (c->fd >= 0) {
        munmap(c->data, c->len + 1);
        close(c->fd);
    }
    ln_buf_fini(&c->packed);
    ln_buf_fini(&c->owned);
    free(c);
}

static bool write_all(int fd, const char *p, size_t left)
{
    while (left) {
        ssize_t n = write(fd, p, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        left -= (size_t)n;
    }
    return true;
}

/* When it cannot be moved, it stays: workers get copies then. */
static void move(struct ln_content *c)
{
    static const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    void *to = MAP_FAILED;
    int fd = memfd_create("lunate-file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && write_all(fd, c->data, c->len) && write_all(fd, "", 1) &&
        fcntl(fd, F_ADD_SEALS, seals) == 0)
        to = mmap(NULL, c->len + 1, PROT_READ, MAP_SHARED, fd, 0);
    if (to == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        return;
    }
    ln_buf_fini(&c->owned);
    c->data = to;
    c->fd = fd;
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
    if (c->len > LARGE && c->fd < 0)
        move(c);
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
