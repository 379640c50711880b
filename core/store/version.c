/* Script versions, given to the store: the loop's side. Content is compressed here, file by file.
 */
#include "store/version.h"

#include <stdlib.h>
#include <zstd.h>

#include "store/engine.h"
#include "store/version_key.h"

enum { LEVEL = 3 };

/* Appends {bytes packed, number len} of each file; a file without content has an empty one. */
static int pack_files(const struct ln_version *v, struct ln_buf *out)
{
    for (uint32_t i = 0; i < v->nfile; i++) {
        struct ln_span c = v->file[i].content;
        size_t cap = c.ptr ? ZSTD_compressBound(c.len) : 0, n = 0;
        char *z = malloc(cap + 1);
        if (z && c.ptr)
            n = ZSTD_compress(z, cap, c.ptr, c.len, LEVEL);
        if (!z || ZSTD_isError(n) || ln_buf_reserve(out, n + 20) != LN_OK) {
            free(z);
            return LN_ENOMEM;
        }
        struct ln_enc e = {out->data + out->len};
        ln_enc_bytes(&e, ln_span(z, n));
        ln_enc_num(&e, c.len);
        out->len = (size_t)(e.p - out->data);
        free(z);
    }
    return LN_OK;
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
    struct ln_buf files = {0};
    if (!chan || chan > s->nchans)
        return LN_EINVAL;
    int rc = pack_files(v, &files);
    struct ln_op *op =
        rc == LN_OK ? start(s, LN_OP_VERSION, chan, ln_version_bound(v) + files.len, done, arg)
                    : NULL;
    if (op) {
        op->data_len = ln_version_write(op->data, v);
        if (files.len)
            memcpy(op->data + op->data_len, files.data, files.len);
        op->len = op->data_len + files.len;
        ln_batch_push(s, op);
    }
    ln_buf_fini(&files);
    return op ? LN_OK : LN_ENOMEM;
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
