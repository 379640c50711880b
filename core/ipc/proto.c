#include "ipc/proto.h"

#include <stdlib.h>

int ln_result_write(struct ln_buf *b, const struct ln_result *r)
{
    size_t at = ln_wire_begin(b, LN_P_RESULT);
    ln_wire_u64(b, r->seq);
    ln_wire_u8(b, r->verdict);
    ln_wire_u32(b, r->duration_us);
    ln_wire_bytes(b, r->reason);
    ln_wire_bytes(b, r->where);
    ln_wire_bytes(b, r->trace);
    ln_wire_u32(b, r->noutputs);
    for (uint32_t i = 0; i < r->noutputs; i++) {
        const struct ln_output *o = &r->outputs[i];
        ln_wire_u16(b, o->dest);
        ln_wire_u8(b, o->kind);
        ln_wire_u32(b, o->same);
        ln_wire_bytes(b, o->data);
    }
    ln_wire_u32(b, r->nkv);
    for (uint32_t i = 0; i < r->nkv; i++) {
        ln_wire_u8(b, r->kv[i].deleted);
        ln_wire_bytes(b, r->kv[i].key);
        ln_wire_bytes(b, r->kv[i].value);
    }
    return ln_wire_end(b, at);
}

/* An entry takes at least `least` bytes: a count that the rest cannot hold is a lie. */
static bool count_ok(const struct ln_wire_in *in, uint32_t n, uint32_t max, size_t least)
{
    return !in->bad && n <= max && n <= (size_t)(in->end - in->ptr) / least;
}

static bool output_ok(const struct ln_result *r, uint32_t i, unsigned ndest)
{
    const struct ln_output *o = &r->outputs[i];
    if (o->dest >= ndest || o->kind < LN_O_BYTES || o->kind > LN_O_ERROR)
        return false;
    return o->kind != LN_O_SAME || (o->same < i && r->outputs[o->same].kind == LN_O_BYTES);
}

int ln_result_read(struct ln_wire_in *in, unsigned ndest, struct ln_result *r)
{
    *r = (struct ln_result){0};
    r->seq = ln_wire_get_u64(in);
    r->verdict = ln_wire_get_u8(in);
    r->duration_us = ln_wire_get_u32(in);
    r->reason = ln_wire_get_bytes(in);
    r->where = ln_wire_get_bytes(in);
    r->trace = ln_wire_get_bytes(in);
    uint32_t n = ln_wire_get_u32(in);
    if (!count_ok(in, n, LN_RESULT_OUTPUTS_MAX, 11) || r->verdict < LN_V_DONE ||
        r->verdict > LN_V_LIMIT)
        return LN_EPARSE;
    if (n && !(r->outputs = calloc(n, sizeof *r->outputs)))
        return LN_ENOMEM;
    for (; r->noutputs < n; r->noutputs++) {
        struct ln_output *o = &r->outputs[r->noutputs];
        o->dest = ln_wire_get_u16(in);
        o->kind = ln_wire_get_u8(in);
        o->same = ln_wire_get_u32(in);
        o->data = ln_wire_get_bytes(in);
        if (in->bad || !output_ok(r, r->noutputs, ndest))
            goto fail;
    }
    n = ln_wire_get_u32(in);
    if (!count_ok(in, n, LN_RESULT_KV_MAX, 9))
        goto fail;
    if (n && !(r->kv = calloc(n, sizeof *r->kv))) {
        ln_result_fini(r);
        return LN_ENOMEM;
    }
    for (; r->nkv < n; r->nkv++) {
        r->kv[r->nkv].deleted = ln_wire_get_u8(in) != 0;
        r->kv[r->nkv].key = ln_wire_get_bytes(in);
        r->kv[r->nkv].value = ln_wire_get_bytes(in);
    }
    if (ln_wire_done(in))
        return LN_OK;
fail:
    ln_result_fini(r);
    return LN_EPARSE;
}

void ln_result_fini(struct ln_result *r)
{
    free(r->outputs);
    free(r->kv);
    r->outputs = NULL;
    r->kv = NULL;
    r->noutputs = r->nkv = 0;
}
