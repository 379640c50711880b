/* MLLP reader: a stream gives the same frames, counts and state however it is cut; what the writer
 * wrote is read back. First byte: seed of the cuts; second: the size limit. */
#include "fuzz.h"

#include "hl7/mllp.h"

struct run {
    struct ln_buf log; /* every frame, with its length before it */
    enum ln_mllp_event last;
    struct ln_mllp m;
};

static void note(struct run *r, struct ln_span frame)
{
    ln_buf_addf(&r->log, "%zu:", frame.len);
    CHECK(frame.ptr);
    CHECK(ln_buf_add_span(&r->log, frame) == LN_OK);
    CHECK(!r->m.max_frame || frame.len <= r->m.max_frame);
}

/* Feeds one piece from a buffer of its own length. False when the reader has failed. */
static bool feed(struct run *r, const uint8_t *data, size_t len)
{
    char *copy = fuzz_copy(data, len);
    size_t at = 0, used;
    struct ln_span frame;
    while ((r->last = ln_mllp_feed(&r->m, copy + at, len - at, &used, &frame)) == LN_MLLP_FRAME) {
        CHECK(used <= len - at);
        CHECK(!ln_mllp_inside(&r->m) && ln_mllp_held(&r->m) == 0);
        note(r, frame);
        at += used;
    }
    if (r->last == LN_MLLP_MORE)
        CHECK(used == len - at);
    else
        CHECK(r->last == LN_MLLP_TOO_BIG && frame.len <= r->m.max_frame);
    if (r->m.max_frame)
        CHECK(ln_mllp_held(&r->m) <= r->m.max_frame + 4);
    free(copy);
    return r->last == LN_MLLP_MORE;
}

static void finish(struct run *r)
{
    struct ln_span frame;
    bool pending = ln_mllp_pending_end(&r->m);
    bool more = r->last == LN_MLLP_MORE;
    CHECK((ln_mllp_finish(&r->m, &frame) == LN_MLLP_FRAME) == (pending && more));
    if (pending && more)
        note(r, frame);
}

static void write_and_read(const uint8_t *data, size_t size)
{
    struct run r = {.last = LN_MLLP_MORE};
    size_t n = 0;
    struct ln_buf out = {0}, want = {0};
    for (size_t i = 0; i < size; i++) /* clean data: what a writer may be given */
        n += data[i] == LN_MLLP_VT || data[i] == LN_MLLP_FS;
    if (n == 0) {
        CHECK(ln_mllp_write(&out, ln_span((const char *)data, size)) == LN_OK);
        CHECK(ln_mllp_write(&out, ln_span((const char *)data, size)) == LN_OK);
        ln_mllp_init(&r.m, size);
        CHECK(feed(&r, (const uint8_t *)out.data, out.len));
        for (int i = 0; i < 2; i++) {
            ln_buf_addf(&want, "%zu:", size);
            CHECK(ln_buf_add(&want, data, size) == LN_OK);
        }
        CHECK(ln_span_eq(ln_buf_span(&r.log), ln_buf_span(&want)));
        ln_mllp_fini(&r.m);
    }
    ln_buf_fini(&r.log);
    ln_buf_fini(&out);
    ln_buf_fini(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole = {0}, cut = {0};
    if (size < 2)
        return 0;
    uint32_t seed = data[0] * 2654435761u + 1;
    size_t limit = data[1];
    data += 2;
    size -= 2;
    ln_mllp_init(&whole.m, limit);
    ln_mllp_init(&cut.m, limit);
    feed(&whole, data, size);
    finish(&whole);
    cut.last = LN_MLLP_MORE;
    for (size_t at = 0; at < size;) {
        seed = seed * 1664525u + 1013904223u;
        size_t n = 1 + (seed >> 16) % 7;
        n = n > size - at ? size - at : n;
        if (!feed(&cut, data + at, n))
            break;
        at += n;
    }
    finish(&cut);
    CHECK(whole.last == cut.last);
    CHECK(ln_span_eq(ln_buf_span(&whole.log), ln_buf_span(&cut.log)));
    CHECK(memcmp(whole.m.deviations, cut.m.deviations, sizeof cut.m.deviations) == 0);
    ln_buf_fini(&whole.log);
    ln_buf_fini(&cut.log);
    ln_mllp_fini(&whole.m);
    ln_mllp_fini(&cut.m);
    write_and_read(data, size);
    return 0;
}
