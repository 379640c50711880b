/* Script versions: their records. */
#include <stdio.h>

#include "store/version_key.h"

static size_t numbers_write(char *at, const uint64_t *v, size_t n)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    for (size_t i = 0; i < n; i++)
        ln_enc_num(&e, v[i]);
    return (size_t)(e.p - at);
}

int ln_version_kept_read(struct ln_span body, struct ln_version_kept *out)
{
    struct ln_dec d = ln_dec_of(body);
    out->refs = ln_dec_num(&d);
    out->len = ln_dec_num(&d);
    out->parts = ln_dec_num(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

size_t ln_version_kept_write(char *at, const struct ln_version_kept *k)
{
    const uint64_t v[] = {k->refs, k->len, k->parts};
    return numbers_write(at, v, 3);
}

int ln_version_run_take(struct ln_dec *d, struct ln_version_run *out)
{
    out->id = ln_dec_num(d);
    out->first_seq = ln_dec_num(d);
    out->last_seq = ln_dec_num(d);
    out->messages = ln_dec_num(d);
    out->first_us = (int64_t)ln_dec_num(d);
    out->last_us = (int64_t)ln_dec_num(d);
    return d->bad ? LN_EPARSE : LN_OK;
}

void ln_version_run_put(struct ln_enc *e, const struct ln_version_run *r)
{
    const uint64_t v[] = {r->id,       r->first_seq,          r->last_seq,
                          r->messages, (uint64_t)r->first_us, (uint64_t)r->last_us};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        ln_enc_num(e, v[i]);
}

int ln_version_run_read(struct ln_span body, struct ln_version_run *out)
{
    struct ln_dec d = ln_dec_of(body);
    return ln_version_run_take(&d, out);
}

size_t ln_version_run_write(char *at, const struct ln_version_run *r)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_version_run_put(&e, r);
    return (size_t)(e.p - at);
}

int ln_version_now_read(struct ln_span body, struct ln_version_now *out)
{
    struct ln_dec d = ln_dec_of(body);
    out->id = ln_dec_num(&d);
    out->pin = ln_dec_num(&d);
    out->pin_from = ln_dec_num(&d);
    out->pin_us = (int64_t)ln_dec_num(&d);
    out->reason = ln_dec_bytes(&d);
    return d.bad ? LN_EPARSE : LN_OK;
}

size_t ln_version_now_write(char *at, const struct ln_version_now *n)
{
    const uint64_t v[] = {n->id, n->pin, n->pin_from, (uint64_t)n->pin_us};
    struct ln_enc e = {at + numbers_write(at, v, 4)};
    ln_enc_bytes(&e, n->reason);
    return (size_t)(e.p - at);
}

/* ---- a version ----------------------------------------------------------------------------- */

size_t ln_version_bound(const struct ln_version *v)
{
    size_t n = LN_RECORD_HEAD + LN_VERSION_HASH + 64 + sizeof v->git;
    for (uint32_t i = 0; i < v->nfile; i++)
        n += 10 + v->file[i].path.len + LN_VERSION_HASH;
    return n;
}

size_t ln_version_write(char *at, const struct ln_version *v)
{
    struct ln_enc e = {at};
    ln_enc_head(&e, 0);
    ln_enc_raw(&e, ln_span((const char *)v->hash, LN_VERSION_HASH));
    ln_enc_num(&e, (uint64_t)v->first_us);
    ln_enc_num(&e, (uint64_t)v->last_us);
    ln_enc_bytes(&e, ln_span_str(v->git));
    ln_enc_u8(&e, v->dirty);
    ln_enc_num(&e, v->nfile);
    for (uint32_t i = 0; i < v->nfile; i++) {
        ln_enc_bytes(&e, v->file[i].path);
        ln_enc_raw(&e, ln_span((const char *)v->file[i].hash, LN_VERSION_HASH));
    }
    return (size_t)(e.p - at);
}

static int take_hash(struct ln_dec *d, uint8_t *hash)
{
    if (d->bad || (size_t)(d->end - d->p) < LN_VERSION_HASH)
        return LN_EPARSE;
    memcpy(hash, d->p, LN_VERSION_HASH);
    d->p += LN_VERSION_HASH;
    return LN_OK;
}

int ln_version_head_read(struct ln_span body, struct ln_version *v, struct ln_dec *d)
{
    *d = ln_dec_of(body);
    *v = (struct ln_version){0};
    if (take_hash(d, v->hash) != LN_OK)
        return LN_EPARSE;
    v->id = ln_get_u64(v->hash);
    v->first_us = (int64_t)ln_dec_num(d);
    v->last_us = (int64_t)ln_dec_num(d);
    struct ln_span git = ln_dec_bytes(d);
    v->dirty = ln_dec_u8(d) != 0;
    uint64_t n = ln_dec_num(d);
    if (d->bad || git.len >= sizeof v->git || n > (size_t)(d->end - d->p) / LN_VERSION_HASH)
        return LN_EPARSE;
    memcpy(v->git, git.ptr, git.len);
    v->nfile = (uint32_t)n;
    return LN_OK;
}

int ln_version_file_read(struct ln_dec *d, struct ln_version_file *f)
{
    *f = (struct ln_version_file){.path = ln_dec_bytes(d)};
    return take_hash(d, f->hash);
}
