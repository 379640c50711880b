/* Header, batch and acknowledgement: spans lie inside the input; a batch's messages are in order,
 * apart and start with MSH; the acknowledgement of anything is readable, names the same control id,
 * survives framing, and is never an AA for what has no readable header. */
#include "fuzz.h"

#include "hl7/ack.h"
#include "hl7/header.h"
#include "hl7/mllp.h"

static void inside(struct ln_span s, struct ln_span of)
{
    if (s.len)
        CHECK(s.ptr >= of.ptr && s.ptr + s.len <= of.ptr + of.len);
}

static void check_header(struct ln_span frame, const struct ln_header *h, int code)
{
    CHECK(code == LN_OK || code == LN_EPARSE);
    CHECK(h->offset <= frame.len && h->npatient <= LN_HEADER_PATIENTS);
    CHECK(code == LN_EPARSE || (h->kind != LN_HEADER_NONE && h->delims.component));
    inside(h->segment, frame);
    for (int n = 0; n <= LN_HEADER_FIELDS; n++) {
        inside(h->field[n], h->segment);
        for (int c = 0; c < 4; c++)
            inside(ln_header_component(h, n, c), h->field[n]);
    }
    for (unsigned i = 0; i < h->npatient; i++) {
        inside(h->patient[i], frame);
        CHECK(h->patient[i].len);
    }
}

static void check_batch(struct ln_span frame, const struct ln_header *h, int code)
{
    size_t pos = 0, last = 0;
    struct ln_span m, first = {0};
    unsigned n = 0;
    while (ln_batch_next(frame, &pos, &m)) {
        inside(m, frame);
        size_t start = (size_t)(m.ptr - frame.ptr);
        CHECK(m.len >= 4 && memcmp(m.ptr, "MSH", 3) == 0);
        CHECK(start >= last && pos == start + m.len);
        last = pos;
        if (n++ == 0)
            first = m;
    }
    if (code == LN_OK && h->kind == LN_HEADER_MSH) {
        CHECK(n && first.ptr == frame.ptr + h->offset);
        /* The first message alone reads as it does in the batch. */
        struct ln_header alone;
        CHECK(ln_header_read(first, &alone, NULL) == LN_OK);
        CHECK(ln_span_eq(alone.segment, h->segment) && alone.npatient == h->npatient);
    }
}

static void check_ack(const struct ln_header *h, int readable, enum ln_ack_code code,
                      struct ln_span text)
{
    static const char *const names[] = {"AA", "AE", "AR"};
    struct ln_ack ack = {.code = code,
                         .text = text,
                         .location = text,
                         .control_id = ln_span_str("ID"),
                         .time_us = 1767225600000000};
    struct ln_buf out = {0}, framed = {0};
    struct ln_reply r;
    struct ln_err err;
    int rc = ln_ack_write(&out, h, &ack);
    CHECK(rc == LN_OK || (rc == LN_EINVAL && code == LN_ACK_AA && readable != LN_OK));
    if (rc == LN_OK) {
        struct ln_span want = h->kind == LN_HEADER_MSH    ? h->field[10]
                              : h->kind == LN_HEADER_NONE ? ln_span(NULL, 0)
                                                          : h->field[11];
        CHECK(code != LN_ACK_AA || readable == LN_OK);
        CHECK(ln_reply_read(ln_buf_span(&out), &r, &err) == LN_OK);
        CHECK(strcmp(r.code, names[code]) == 0);
        /* The set of a message that names none was guessed from bytes that the answer may not have.
         */
        struct ln_header back;
        (void)ln_header_read(ln_buf_span(&out), &back, NULL);
        bool same = ln_charset_eq(back.charset, h->charset);
        /* An id that ends amid ISO 2022 double bytes takes what follows in MSA with it. */
        bool open = ln_charset_steps(&h->charset) && r.control_id.len > want.len;
        CHECK(!same || (open ? !want.len || !memcmp(r.control_id.ptr, want.ptr, want.len)
                             : ln_span_eq(r.control_id, want)));
        struct ln_mllp m;
        struct ln_span frame;
        size_t used;
        ln_mllp_init(&m, 0);
        CHECK(ln_mllp_write(&framed, ln_buf_span(&out)) == LN_OK);
        if (!memchr(out.data, LN_MLLP_VT, out.len)) {
            CHECK(ln_mllp_feed(&m, framed.data, framed.len, &used, &frame) == LN_MLLP_FRAME);
            CHECK(ln_span_eq(frame, ln_buf_span(&out)));
        }
        ln_mllp_fini(&m);
    }
    ln_buf_fini(&out);
    ln_buf_fini(&framed);
}

static void check_batch_ack(const struct ln_header *h)
{
    struct ln_ack ack = {.control_id = ln_span_str("ID")};
    struct ln_buf out = {0};
    struct ln_header back;
    int want = h->kind == LN_HEADER_NONE ? LN_EINVAL : LN_OK;
    CHECK(ln_ack_batch_begin(&out, h, &ack, true) == want);
    CHECK(ln_ack_batch_end(&out, h, 3, true) == want);
    if (want == LN_OK)
        CHECK(ln_header_read(ln_buf_span(&out), &back, NULL) == LN_OK &&
              back.kind == LN_HEADER_FHS);
    ln_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(data, size);
    struct ln_span frame = ln_span(copy, size);
    struct ln_header h;
    struct ln_reply r;
    struct ln_err err = {0};
    int code = ln_header_read(frame, &h, &err);
    check_header(frame, &h, code);
    CHECK(code == LN_OK || (err.code == code && err.text[0] && err.offset <= size));
    check_batch(frame, &h, code);
    struct ln_span text = ln_span(copy, size < 40 ? size : 40);
    for (int c = LN_ACK_AA; c <= LN_ACK_AR; c++)
        check_ack(&h, code, (enum ln_ack_code)c, text);
    check_batch_ack(&h);
    code = ln_reply_read(frame, &r, &err);
    CHECK(code == LN_OK ? r.code[0] != 0 : code == LN_EPARSE && !r.code[0] && err.text[0]);
    inside(r.control_id, frame);
    inside(r.text, frame);
    free(copy);
    return 0;
}
