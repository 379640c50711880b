/* Files of a configuration: what version of its script a channel has, and pins, whose files take
 * the place of those on disk.
 *
 * A version's number is the SHA-256 over the path and the hash of each file: files that many
 * channels share are hashed once. Formerly it was that over paths, lengths and contents; pins
 * may still have such numbers, and so may the version that was rolled back from. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "hub/conf.h"

static struct ln_pin *pin_of(const struct ln_conf *c, const char *name)
{
    for (unsigned i = 0; i < c->npin; i++)
        if (strcmp(c->pin[i]->channel, name) == 0)
            return c->pin[i];
    return NULL;
}

static uint64_t first64(const unsigned char *md)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | md[i];
    return v;
}

static bool add_file(EVP_MD_CTX *ctx, const struct ln_conf_file *f, bool former)
{
    uint64_t len = f->content->len;
    if (!EVP_DigestUpdate(ctx, f->path, strlen(f->path) + 1))
        return false;
    if (!former)
        return EVP_DigestUpdate(ctx, f->content->hash, LN_CONTENT_HASH);
    return EVP_DigestUpdate(ctx, &len, sizeof len) &&
           EVP_DigestUpdate(ctx, f->content->data, f->content->len);
}

/* The number of files a, then b, all of them hashed; md has room for 32 bytes. */
static int number(const struct ln_conf_file *a, unsigned na, const struct ln_conf_file *b,
                  unsigned nb, bool former, unsigned char *md)
{
    unsigned n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (unsigned i = 0; ok && i < na; i++)
        ok = add_file(ctx, &a[i], former);
    for (unsigned i = 0; ok && i < nb; i++)
        ok = add_file(ctx, &b[i], former);
    ok = ok && EVP_DigestFinal_ex(ctx, md, &n) && n == LN_CONTENT_HASH;
    EVP_MD_CTX_free(ctx);
    return ok ? LN_OK : LN_EIO;
}

/* ---- before: in a thread, perhaps ---------------------------------------------------------- */

static int hash_all(const struct ln_conf_file *f, unsigned n)
{
    int rc = LN_OK;
    for (unsigned i = 0; i < n && rc == LN_OK; i++)
        rc = ln_content_hash(f[i].content);
    return rc;
}

static int number_formerly(struct ln_conf *c, struct ln_conf_channel *ch)
{
    unsigned char md[LN_CONTENT_HASH];
    if (!ch || ch->error)
        return LN_OK;
    int rc = number(ch->file, ch->nfile, c->shared, c->nshared, true, md);
    ch->former64 = rc == LN_OK ? first64(md) : 0;
    return rc;
}

/* Hashes p's files; when its number is of the former kind, so is its channel's needed. */
static int look_at_pin(struct ln_conf *c, struct ln_pin *p)
{
    unsigned char md[LN_CONTENT_HASH];
    int rc = hash_all(p->file, p->nfile);
    if (rc == LN_OK)
        rc = number(p->file, p->nfile, NULL, 0, false, md);
    if (rc != LN_OK || first64(md) == p->id)
        return rc;
    rc = number(p->file, p->nfile, NULL, 0, true, md);
    p->former = rc == LN_OK && first64(md) == p->id;
    return rc == LN_OK && p->former ? number_formerly(c, ln_conf_find(c, p->channel)) : rc;
}

int ln_conf_files_prepare(struct ln_conf *c)
{
    int rc = hash_all(c->shared, c->nshared);
    for (unsigned i = 0; i < c->nchannel && rc == LN_OK; i++)
        rc = hash_all(c->channel[i].file, c->channel[i].nfile);
    for (unsigned i = 0; i < c->npin && rc == LN_OK; i++)
        if (!c->pin[i]->broken[0])
            rc = look_at_pin(c, c->pin[i]);
    if (rc == LN_OK && c->former_of[0])
        rc = number_formerly(c, ln_conf_find(c, c->former_of));
    return rc;
}

/* ---- after: in the loop -------------------------------------------------------------------- */

static int version_of(struct ln_conf_channel *ch)
{
    unsigned char md[LN_CONTENT_HASH];
    int rc = number(ch->file, ch->nfile, NULL, 0, false, md);
    if (rc != LN_OK)
        return rc;
    ch->version64 = first64(md);
    for (unsigned i = 0; i < LN_CONTENT_HASH; i++)
        snprintf(ch->version + (size_t)2 * i, 3, "%02x", md[i]);
    return LN_OK;
}

static bool is_pinned(const struct ln_conf_channel *ch, const struct ln_pin *p)
{
    return ch->version64 == p->id || (p->former && ch->former64 == p->id);
}

/* What the loader read from disk gives way to what the pin has. */
static int take_pin(struct ln_conf_channel *ch, struct ln_pin *p)
{
    struct ln_conf_file *file = NULL;
    unsigned n = 0;
    int rc = LN_OK;
    for (unsigned i = 0; i < p->nfile && rc == LN_OK; i++) {
        p->file[i].content = ln_content_share(p->file[i].content);
        rc = ln_conf_file_add(&file, &n, ln_span_str(p->file[i].path),
                              ln_content_ref(p->file[i].content));
    }
    ln_conf_files_free(ch->file, ch->nfile);
    ch->file = file;
    ch->nfile = n;
    ch->pin = ln_pin_ref(p);
    snprintf(ch->disk, sizeof ch->disk, "%s", ch->version);
    if (rc == LN_OK)
        rc = version_of(ch);
    if (rc == LN_OK && p->former) {
        snprintf(ch->version, sizeof ch->version, "%s", p->version);
        ch->version64 = p->id;
    }
    return rc;
}

static void complain(struct ln_conf_channel *ch, const struct ln_pin *p)
{
    char text[700];
    if (p->left_out)
        snprintf(text, sizeof text,
                 "it was rolled back to %.6s, whose files do not fit beside those of other "
                 "channels that were rolled back (480 MB together): lunate reload %s runs the "
                 "files on disk",
                 p->version, ch->name);
    else
        snprintf(text, sizeof text,
                 "it was rolled back to %.6s, which cannot be read from the store (%s): lunate "
                 "reload %s runs the files on disk",
                 p->version, p->broken[0] ? p->broken : "other bytes than were put", ch->name);
    ch->error = strdup(text);
}

int ln_conf_files_finish(struct ln_conf *c, struct ln_conf_channel *ch)
{
    struct ln_pin *p = pin_of(c, ch->name);
    int rc = LN_OK;
    for (unsigned k = 0; k < ch->nfile; k++)
        ch->file[k].content = ln_content_share(ch->file[k].content);
    for (unsigned k = 0; k < c->nshared && rc == LN_OK; k++) {
        const struct ln_conf_file *f = &c->shared[k];
        rc = ln_conf_file_add(&ch->file, &ch->nfile, ln_span_str(f->path),
                              ln_content_ref(f->content));
    }
    if (rc == LN_OK)
        rc = version_of(ch);
    if (rc == LN_OK && p && !p->broken[0] && !p->left_out && !is_pinned(ch, p))
        rc = take_pin(ch, p);
    if (rc == LN_OK && p && !is_pinned(ch, p))
        complain(ch, p);
    return rc;
}

struct ln_span ln_conf_place(const struct ln_conf_channel *c, struct ln_span where)
{
    size_t n = where.len;
    while (n && where.ptr[n - 1] >= '0' && where.ptr[n - 1] <= '9')
        n--;
    if (n == 0 || n == where.len || where.len - n > 9 || where.ptr[n - 1] != ':')
        return ln_span("-", 1);
    for (unsigned i = 0; i < c->nfile; i++)
        if (ln_span_is(ln_span(where.ptr, n - 1), c->file[i].path))
            return where;
    return ln_span("-", 1);
}
