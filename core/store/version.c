/* Script versions, given to the store: the loop's side. */
#include "store/version.h"

#include <stdlib.h>
#include <zstd.h>

#include "store/engine.h"
#include "store/version_key.h"

enum { LEVEL = 3 };

int ln_version_pack(struct ln_span content, struct ln_buf *out)
{
    size_t cap = ZSTD_compressBound(content.len);
    out->len = 0;
    if (ln_buf_reserve(out, cap) != LN_OK)
        return LN_ENOMEM;
    size_t n = ZSTD_compress(out->data, cap, content.ptr, content.len, LEVEL);
    if (ZSTD_isError(n))
        return LN_ENOMEM;
    char *p = realloc(out->data, n); /* it may be kept for a while */
    out->data = p ? p : out->data;
    out->cap = p ? n : out->cap;
    out->len = n;
    return LN_OK;
}

/* Appends {bytes packed, number len} of each file; a file without content has an empty one. */
static size_t put_files(const struct ln_version *v, char *to)
{
    struct ln_enc e = {to};
    for (uint32_t i = 0; i < v->nfile; i++) {
        ln_enc_bytes(&e, v->file[i].packed);
        ln_enc_num(&e, v->file[i].len);
    }
    return (size_t)(e.p - to);
}

static size_t files_bound(const struct ln_version *v)
{
    size_t n = 0;
    for (uint32_t i = 0; i < v->nfile; i++)
        n += 20 + v->file[i].packed.len;
    return n;
}

static struct ln_op *start(struct ln_store *s, enum ln_op_kind kind, uint32_t chan, size_t cap,
                           ln_store_done *done, void *arg)
{
    struct ln_op *op = ln_batch_op(s, kind, cap);
    if (op) {
        op->chan = chan;
        op->done = done;
        op->arg = arg;
    }
    return op;
}

int ln_store_version(struct ln_store *s, uint32_t chan, const struct ln_version *v,
                     ln_store_done *done, void *arg)
{
    if (!chan || chan > s->nchans)
        return LN_EINVAL;
    struct ln_op *op =
        start(s, LN_OP_VERSION, chan, ln_version_bound(v) + files_bound(v), done, arg);
    if (!op)
        return LN_ENOMEM;
    op->data_len = ln_version_write(op->data, v);
    op->len = op->data_len + put_files(v, op->data + op->data_len);
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_pin(struct ln_store *s, uint32_t chan, const struct ln_version_now *now,
                 ln_store_done *done, void *arg)
{
    if (!chan || chan > s->nchans)
        return LN_EINVAL;
    struct ln_op *op = start(s, LN_OP_PIN, chan, LN_VERSION_NOW_MAX + now->reason.len, done, arg);
    if (!op)
        return LN_ENOMEM;
    op->len = ln_version_now_write(op->data, now);
    ln_batch_push(s, op);
    return LN_OK;
}
