#include "store/delta.h"

#include <stdint.h>

#include "store/record.h"

enum {
    COPY_MIN = 8, /* a shorter copy costs as much as its bytes */
    LOOK_AHEAD = 8 /* input segments looked at for one that begins like the output's */
};

/* What has been seen of `out`: [0, lit_from) is written; [lit_from, copy_at) is new; then copy_len
 * bytes equal in[copy_from...]; what lies between these and `at` is new again. */
struct writer {
    const char *in, *out;
    char *to, *end;
    size_t lit_from, copy_at, copy_len, copy_from, at;
    bool full;
};

static size_t common_front(const char *a, const char *b, size_t max)
{
    size_t i = 0;
    for (; i + 8 <= max; i += 8) {
        uint64_t x, y;
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if (x != y)
            break;
    }
    while (i < max && a[i] == b[i])
        i++;
    return i;
}

static size_t common_back(const char *a_end, const char *b_end, size_t max)
{
    size_t i = 0;
    for (; i + 8 <= max; i += 8) {
        uint64_t x, y;
        memcpy(&x, a_end - i - 8, 8);
        memcpy(&y, b_end - i - 8, 8);
        if (x != y)
            break;
    }
    while (i < max && a_end[-(ptrdiff_t)i - 1] == b_end[-(ptrdiff_t)i - 1])
        i++;
    return i;
}

static void flush(struct writer *w)
{
    struct ln_span lit = ln_span(w->out + w->lit_from, w->copy_at - w->lit_from);
    if (w->full || (size_t)(w->end - w->to) < lit.len + 30) {
        w->full = true;
        return;
    }
    struct ln_enc e = {w->to};
    ln_enc_bytes(&e, lit);
    ln_enc_num(&e, w->copy_len);
    ln_enc_num(&e, w->copy_from);
    w->to = e.p;
    w->lit_from = w->copy_at + w->copy_len;
    w->copy_len = 0;
}

/* out[at, at + len) equals in[from, from + len). */
static void copy(struct writer *w, size_t from, size_t len)
{
    bool goes_on =
        w->copy_len && w->copy_at + w->copy_len == w->at && w->copy_from + w->copy_len == from;
    if (goes_on) {
        w->copy_len += len;
    } else if (len >= COPY_MIN) {
        if (w->copy_len)
            flush(w);
        w->copy_at = w->at;
        w->copy_from = from;
        w->copy_len = len;
    }
    w->at += len;
}

static size_t line_end(const char *s, size_t at, size_t end)
{
    const char *cr = memchr(s + at, '\r', end - at);
    return cr ? (size_t)(cr - s) + 1 : end;
}

/* Looks for the input segment that the output segment out[o, oe) came from: the nearest at or
 * behind *i that begins with the same four bytes. */
static bool find_like(const struct writer *w, size_t o, size_t oe, size_t *i, size_t *ie,
                      size_t in_end)
{
    size_t a = *i;
    for (int n = 0; n < LOOK_AHEAD && a < in_end; n++) {
        size_t ae = line_end(w->in, a, in_end);
        if (ae - a >= 4 && oe - o >= 4 && memcmp(w->in + a, w->out + o, 4) == 0) {
            *i = a;
            *ie = ae;
            return true;
        }
        a = ae;
    }
    return false;
}

static void middle(struct writer *w, size_t i, size_t in_end, size_t out_end)
{
    size_t ie = 0;
    while (w->at < out_end && !w->full) {
        size_t o = w->at, oe = line_end(w->out, o, out_end);
        if (!find_like(w, o, oe, &i, &ie, in_end)) {
            w->at = oe;
            continue;
        }
        size_t il = ie - i, ol = oe - o, most = il < ol ? il : ol;
        size_t front = common_front(w->in + i, w->out + o, most);
        size_t back = common_back(w->in + ie, w->out + oe, most - front);
        copy(w, i, front);
        w->at = oe - back;
        copy(w, ie - back, back);
        i = ie;
    }
}

size_t ln_delta_write(struct ln_span in, struct ln_span out, char *to, size_t cap)
{
    struct writer w = {.in = in.ptr, .out = out.ptr, .to = to, .end = to + cap};
    size_t most = in.len < out.len ? in.len : out.len;
    if (most < COPY_MIN)
        return 0;
    size_t front = common_front(in.ptr, out.ptr, most);
    size_t back = common_back(in.ptr + in.len, out.ptr + out.len, most - front);
    /* Segments are compared whole: the middle begins where the first that differs begins. */
    while (front > 0 && in.ptr[front - 1] != '\r')
        front--;
    copy(&w, 0, front);
    middle(&w, front, in.len - back, out.len - back);
    copy(&w, in.len - back, back);
    if (w.copy_len)
        flush(&w);
    w.copy_at = w.at;
    w.copy_from = 0;
    if (w.lit_from < w.at)
        flush(&w);
    return w.full ? 0 : (size_t)(w.to - to);
}

int ln_delta_read(struct ln_span in, struct ln_span delta, char *to, size_t len)
{
    struct ln_dec d = ln_dec_of(delta);
    size_t at = 0;
    while (at < len) {
        struct ln_span lit = ln_dec_bytes(&d);
        uint64_t n = ln_dec_num(&d), from = ln_dec_num(&d);
        if (d.bad || lit.len > len - at || n > len - at - lit.len || from > in.len ||
            n > in.len - from || lit.len + n == 0)
            return LN_EPARSE;
        memcpy(to + at, lit.ptr, lit.len);
        memcpy(to + at + lit.len, in.ptr + from, (size_t)n);
        at += lit.len + (size_t)n;
    }
    return d.p == d.end ? LN_OK : LN_EPARSE;
}
