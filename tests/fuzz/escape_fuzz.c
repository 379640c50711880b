/* Escapes: unescaping never grows; escaping then unescaping gives the text back and leaves nothing
 * that cuts; a part carried to other delimiters has the same text there. The first bytes are
 * delimiters. */
#include <stdint.h>
#include <stdlib.h>

#include "hl7/delims.h"
#include "hl7/escape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Delimiters as a header would declare them; false when none could. */
static bool delims(const uint8_t *data, struct ln_delims *d)
{
    char header[16] = "MSH";
    memcpy(header + 3, data, 6);
    header[9] = header[3];
    return ln_delims_read(ln_span(header, 10), d, NULL) == LN_OK;
}

static void round_trip(const struct ln_delims *d, struct ln_span text)
{
    size_t len;
    if (ln_escape_len(d, text, &len, NULL))
        return;
    char *out = malloc(len + 1), *back = malloc(len + 1);
    if (!out || !back)
        abort();
    ln_escape(d, text, out);
    for (size_t i = 0; i < len; i++)
        if (ln_depth_cuts(d, LN_DEPTH_SUBCOMPONENT, out[i]))
            abort();
    size_t n = ln_unescape(d, ln_span(out, len), back);
    if (!ln_span_eq(ln_span(back, n), text))
        abort();
    free(out);
    free(back);
}

/* A leaf means the same on both sides. */
static void carried(const struct ln_delims *from, const struct ln_delims *to, struct ln_span raw)
{
    size_t len, again;
    for (size_t i = 0; i < raw.len; i++)
        if (ln_depth_cuts(from, LN_DEPTH_SUBCOMPONENT, raw.ptr[i]))
            return;
    if (ln_reencode(from, to, raw, NULL, &len, NULL))
        return;
    char *out = malloc(len + 1), *a = malloc(raw.len + 1), *b = malloc(len + 1);
    if (!out || !a || !b)
        abort();
    if (ln_reencode(from, to, raw, out, &again, NULL) || again != len)
        abort();
    size_t na = ln_unescape(from, raw, a), nb = ln_unescape(to, ln_span(out, len), b);
    /* Commands that are not decoded carry their escape characters: compare only without. */
    bool plain = !memchr(a, from->escape, na) && !(to->escape && memchr(b, to->escape, nb));
    if (plain && !ln_span_eq(ln_span(a, na), ln_span(b, nb)))
        abort();
    free(out);
    free(a);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ln_delims d, to;
    if (size < 12 || !delims(data, &d))
        return 0;
    struct ln_span text = ln_span((const char *)data + 12, size - 12);
    char *out = malloc(text.len + 1);
    if (!out)
        abort();
    if (ln_unescape(&d, text, out) > text.len)
        abort();
    free(out);
    round_trip(&d, text);
    if (delims(data + 6, &to))
        carried(&d, &to, text);
    return 0;
}
