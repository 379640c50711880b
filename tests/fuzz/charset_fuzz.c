/* Character sets. The first byte chooses one, the second the delimiters; the rest is text and raw
 * bytes by turns.
 * - characters cover the bytes, and the mask hides nothing but what is inside of them;
 * - what is written reads back, byte for byte, and holds no delimiter;
 * - a message in any set: its parts hold what the wire form of it holds; what is set reads back,
 * and does so from the wire form. */
#include "fuzz.h"

#include "hl7/field.h"
#include "hl7/text.h"

static const char *const names[] = {
    "ASCII",         "8859/1",
    "8859/3",        "8859/7",
    "8859/15",       "WINDOWS-1252",
    "KS X 1001",     "EUC-JP",
    "BIG-5",         "GB 18030-2000",
    "SHIFT_JIS",     "CNS 11643-1992",
    "~ISO IR87",     "ISO IR14~ISO IR13~ISO IR87~ISO IR159",
    "8859/1~8859/2", "8859/1~ISO IR87",
    "UNICODE UTF-8",
};

static void check_characters(const struct ln_charset *cs, struct ln_span raw, const char *delims)
{
    char masked[64];
    struct ln_charset_state a = {0}, b = {0};
    bool opaque;
    for (const char *p = raw.ptr, *end = p + raw.len; p < end;) {
        size_t n = ln_charset_step(cs, &a, p, end, &opaque);
        CHECK(n >= 1 && n <= (size_t)(end - p));
        p += n;
    }
    for (const char *p = raw.ptr, *end = p + raw.len; p < end;) {
        size_t n = ln_charset_mask(cs, &b, delims[0], p, end, masked, sizeof masked);
        CHECK(n >= 1 && n <= sizeof masked && n <= (size_t)(end - p));
        for (size_t i = 0; i < n; i++)
            CHECK(masked[i] == p[i] || masked[i] == (char)0x80);
        p += n;
    }
    for (int i = 0; i < 5; i++) {
        const char *at = ln_charset_seek(cs, raw.ptr, raw.ptr + raw.len, delims[i]);
        CHECK(at == raw.ptr + raw.len || *at == delims[i]);
    }
    CHECK(ln_text_check(cs, raw) <= raw.len);
}

static char *read_text(const struct ln_text *t, struct ln_span raw, size_t *len)
{
    char *out = malloc(ln_text_room(raw));
    CHECK(out);
    *len = ln_text_read(t, raw, out);
    CHECK(*len <= ln_text_room(raw));
    return out;
}

static void check_text(const struct ln_text *t, struct ln_span text)
{
    struct ln_err err;
    size_t len, again, n;
    if (ln_text_write(t, text, NULL, &len, &err))
        return;
    char *raw = malloc(len + 1);
    CHECK(raw && ln_text_write(t, text, raw, &again, &err) == LN_OK && again == len);
    const char d[] = {t->delims.field, t->delims.component, t->delims.repetition,
                      t->delims.subcomponent, '\r'};
    for (size_t i = 0; i < sizeof d; i++)
        if (d[i])
            CHECK(ln_charset_seek(&t->charset, raw, raw + len, d[i]) == raw + len);
    char *back = read_text(t, ln_span(raw, len), &n);
    CHECK(ln_span_eq(ln_span(back, n), text));
    free(back);
    free(raw);
}

/* To UTF-8 and back: what says the same. */
static void check_convert(const struct ln_text *t, struct ln_span raw)
{
    struct ln_text utf8 = {.delims = t->delims};
    struct ln_err err;
    size_t len, again, n, m;
    if (ln_text_convert(t, &utf8, raw, NULL, &len, &err))
        return;
    char *out = malloc(len + 1);
    CHECK(out && ln_text_convert(t, &utf8, raw, out, &again, &err) == LN_OK && again == len);
    if (ln_text_convert(&utf8, t, ln_span(out, len), NULL, &n, &err) == LN_OK) {
        char *back = malloc(n + 1);
        CHECK(back && ln_text_convert(&utf8, t, ln_span(out, len), back, &m, &err) == LN_OK);
        free(back);
    }
    free(out);
}

static void check_message(const struct ln_charset_policy *policy, struct ln_span bytes,
                          const char *delims, struct ln_span text)
{
    char head[40];
    int n = snprintf(head, sizeof head, "MSH%c%c%c%c%c%cA\rPID%c", delims[0], delims[1], delims[2],
                     delims[3], delims[4], delims[0], delims[0]);
    char *all = malloc((size_t)n + bytes.len + 1);
    CHECK(all);
    memcpy(all, head, (size_t)n);
    memcpy(all + n, bytes.ptr, bytes.len);
    struct ln_message m = {0};
    struct ln_scan scan;
    struct ln_span whole = ln_span(all, (size_t)n + bytes.len), got;
    if (ln_message_scan_as(whole, policy, &scan, NULL) == LN_OK &&
        ln_message_build(&m, whole, &scan) == LN_OK && m.nslot > 1) {
        struct ln_text t = {.delims = m.delims, .charset = m.charset};
        struct ln_part part = {2, 2, 2, 0};
        struct ln_err err;
        size_t len;
        uint32_t fields;
        CHECK(ln_field_count(&m, 1, &fields) == LN_OK);
        for (struct ln_part p = {.field = 1}; p.field <= fields; p.field++)
            CHECK(ln_field_get(&m, 1, &p, &got) == LN_OK && got.ptr);
        if (ln_text_write(&t, text, NULL, &len, &err) == LN_OK && text.len && m.delims.repetition) {
            char *raw = malloc(len + 1);
            CHECK(raw && ln_text_write(&t, text, raw, &len, &err) == LN_OK);
            if (ln_field_set(&m, 1, &part, ln_span(raw, len), false, &err) == LN_OK)
                CHECK(ln_field_get(&m, 1, &part, &got) == LN_OK &&
                      ln_span_eq(got, ln_span(raw, len)));
            free(raw);
        }
    }
    ln_message_fini(&m);
    free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const sets[] = {"|^~\\&", "^~|\\&", "$@!%*", "#~^\\&"};
    if (size < 3)
        return 0;
    const char *d = sets[data[1] % 4];
    struct ln_charset_policy policy = {.force = true};
    CHECK(ln_charset_list(ln_span_str(names[data[0] % (sizeof names / sizeof names[0])]), '~',
                          &policy.charset) == LN_OK);
    policy.charset.escape = d[3];
    struct ln_text t = {.delims = {d[0], d[1], d[2], d[3], d[4], '\0'}, .charset = policy.charset};
    if (data[1] & 4)
        t.substitute[0] = '?';
    char *copy = fuzz_copy(data + 3, size - 3);
    struct ln_span all = ln_span(copy, size - 3), half = ln_span(copy, data[2] % (size - 2));
    check_characters(&policy.charset, all, d);
    size_t n;
    char *text = read_text(&t, all, &n);
    t.substitute[0] = '\0';
    check_text(&t, all);
    check_text(&t, ln_span(text, n));
    if (data[1] & 4)
        t.substitute[0] = '?';
    check_convert(&t, all);
    check_message(&policy, all, d, half);
    free(text);
    free(copy);
    return 0;
}
