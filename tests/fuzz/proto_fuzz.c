/* Records between the processes: no cut and no lie is read past its end; a RESULT that was taken
 * reads the same after it is written again. */
#include "fuzz.h"

#include "ipc/proto.h"

#define NDEST 4

static void check_result(const struct ln_result *r)
{
    CHECK(r->verdict >= LN_V_DONE && r->verdict <= LN_V_LIMIT);
    for (uint32_t i = 0; i < r->noutputs; i++) {
        const struct ln_output *o = &r->outputs[i];
        CHECK(o->dest < NDEST && o->kind >= LN_O_BYTES && o->kind <= LN_O_ERROR);
        if (o->kind == LN_O_SAME)
            CHECK(o->same < i && r->outputs[o->same].kind == LN_O_BYTES);
    }
}

static void try_result(struct ln_wire_in in)
{
    struct ln_span payload = ln_span(in.ptr, (size_t)(in.end - in.ptr));
    struct ln_result r, again;
    struct ln_buf out = {0}, twice = {0};
    int code = ln_result_read(&in, NDEST, &r);
    CHECK(code == LN_OK || code == LN_EPARSE);
    CHECK(code == LN_OK || (!r.outputs && !r.kv && !r.noutputs && !r.nkv));
    if (code != LN_OK)
        return;
    check_result(&r);
    CHECK(ln_result_write(&out, &r) == LN_OK);
    uint8_t type;
    size_t used;
    struct ln_wire_in back;
    CHECK(ln_wire_next(out.data, out.len, LN_WIRE_MAX, &type, &back, &used) == LN_OK);
    CHECK(type == LN_P_RESULT && used == out.len && out.len == payload.len + LN_WIRE_HEADER);
    CHECK(ln_result_read(&back, NDEST, &again) == LN_OK);
    CHECK(ln_result_write(&twice, &again) == LN_OK);
    CHECK(ln_span_eq(ln_buf_span(&out), ln_buf_span(&twice)));
    ln_result_fini(&again);
    ln_result_fini(&r);
    ln_buf_fini(&out);
    ln_buf_fini(&twice);
}

/* Takes fields in an order that the input says. */
static void try_fields(struct ln_wire_in in)
{
    while (!in.bad && in.ptr < in.end) {
        const char *before = in.ptr;
        switch (*in.ptr & 7) {
        case 0: ln_wire_get_u8(&in); break;
        case 1: ln_wire_get_u16(&in); break;
        case 2: ln_wire_get_u32(&in); break;
        case 3: ln_wire_get_u64(&in); break;
        case 4: ln_wire_get_f64(&in); break;
        default: {
            struct ln_span s = ln_wire_get_bytes(&in);
            CHECK(in.bad ? s.len == 0 : s.ptr + s.len == in.ptr);
        }
        }
        CHECK(in.bad || (in.ptr > before && in.ptr <= in.end));
    }
    CHECK(ln_wire_done(&in) == !in.bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(data, size);
    size_t at = 0, used;
    uint8_t type;
    struct ln_wire_in in;
    int code;
    /* As a payload by itself, so that the fuzzer need not get a length right first. */
    try_result((struct ln_wire_in){copy, copy + size, false});
    while ((code = ln_wire_next(copy + at, size - at, 4096, &type, &in, &used)) == LN_OK) {
        CHECK(used >= LN_WIRE_HEADER && used <= size - at);
        CHECK(in.ptr == copy + at + LN_WIRE_HEADER && in.end == copy + at + used);
        try_result(in);
        try_fields(in);
        at += used;
    }
    CHECK(code == LN_EPARSE || code == LN_EAGAIN);
    if (code == LN_EAGAIN)
        CHECK(used == 0 || used > size - at);
    free(copy);
    return 0;
}
