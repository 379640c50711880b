/* Messages. The input is a message; its first four bytes also choose edits.
 * - the wire form holds the input's bytes from the header on, line ends aside, and reads as itself;
 * - what is set reads back, there and in the wire form, and everything else stays. */
#include <stdint.h>
#include <stdlib.h>

#include "hl7/delims.h"
#include "hl7/escape.h"
#include "hl7/field.h"
#include "hl7/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ln_span wire_of(struct ln_message *m)
{
    size_t len = ln_message_wire_len(m);
    char *p = malloc(len + 1);
    if (!p)
        abort();
    ln_message_wire(m, p);
    return ln_span(p, len);
}

static bool is_end(char c)
{
    return c == '\r' || c == '\n';
}

/* The same bytes, line ends aside. */
static void check_same(struct ln_span a, struct ln_span b)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a.len && is_end(a.ptr[i]))
            i++;
        while (j < b.len && is_end(b.ptr[j]))
            j++;
        if (i == a.len || j == b.len)
            break;
        if (a.ptr[i++] != b.ptr[j++])
            abort();
    }
    if (i != a.len || j != b.len)
        abort();
}

static struct ln_message parsed(struct ln_span bytes)
{
    struct ln_message m;
    if (ln_message_init(&m, bytes, NULL))
        abort();
    return m;
}

static void check_wire(struct ln_message *m)
{
    struct ln_span once = wire_of(m);
    struct ln_message again = parsed(once);
    struct ln_span twice = wire_of(&again);
    if (!ln_span_eq(once, twice) || again.count < m->count)
        abort();
    ln_message_fini(&again);
    free((char *)(uintptr_t)once.ptr);
    free((char *)(uintptr_t)twice.ptr);
}

/* Reads every field, and counts. */
static void read_all(struct ln_message *m)
{
    uint32_t n = 0, fields;
    for (uint32_t s = ln_message_next(m, ln_span(NULL, 0), LN_NO_SEGMENT); s != LN_NO_SEGMENT;
         s = ln_message_next(m, ln_span(NULL, 0), s)) {
        size_t len = ln_message_name(m, s).len;
        if (ln_field_count(m, s, &fields))
            abort();
        for (struct ln_part p = {.field = 1}; p.field <= fields; p.field++) {
            struct ln_span f, leaf;
            if (ln_field_get(m, s, &p, &f) || !f.ptr || ln_field_leaf(m, s, &p, &leaf))
                abort();
            len += f.len + !(m->seg[s].header && p.field == 1);
        }
        if (len != ln_message_segment_len(m, s) && !m->seg[s].header)
            abort();
        n++;
    }
    if (n != m->count)
        abort();
}

static void edit(struct ln_message *m, const uint8_t *choice, struct ln_span text)
{
    uint32_t slot = choice[0] % m->nslot;
    struct ln_part p = {choice[1] % 40 + 1, choice[2] % 4 + 1, choice[2] / 4 % 4 + 1,
                        choice[2] / 16 % 4 + 1};
    struct ln_span got;
    struct ln_text t = {.delims = m->delims, .charset = m->charset};
    bool plain = m->charset.kind <= LN_CHARSET_ASCII;
    size_t len = text.len;
    if (text.len == 0 || (!plain && ln_text_write(&t, text, NULL, &len, NULL)))
        return;
    char *raw = malloc(len + 1);
    if (!raw || (!plain && ln_text_write(&t, text, raw, &len, NULL)))
        abort();
    int rc = ln_field_set(m, slot, &p, plain ? text : ln_span(raw, len), plain, NULL);
    free(raw);
    if (rc)
        return;
    if (ln_field_get(m, slot, &p, &got) || !got.ptr)
        abort();
    char *out = malloc(ln_text_room(got));
    if (!out)
        abort();
    size_t n = ln_text_read(&t, got, out);
    if (!ln_span_eq(ln_span(out, n), text))
        abort();
    free(out);
}

static void restructure(struct ln_message *m, const uint8_t *choice)
{
    uint32_t slot, a = choice[0] % m->nslot, b = choice[3] % m->nslot;
    if (choice[1] & 1 && !m->seg[a].removed &&
        ln_message_add(m, ln_span_str("ZZ1"), a, &slot, NULL))
        abort();
    if (choice[1] & 2 && a != m->first && !m->seg[a].removed && !m->seg[b].removed &&
        ln_message_move(m, a, b, NULL))
        abort();
    if (choice[1] & 4 && b != m->first && !m->seg[b].removed && ln_message_remove(m, b, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ln_message m;
    struct ln_err err = {0};
    struct ln_span bytes = ln_span((const char *)data, size);
    if (ln_message_init(&m, bytes, &err)) {
        if (err.code != LN_EPARSE || err.offset > size)
            abort();
        return 0;
    }
    struct ln_span wire = wire_of(&m);
    size_t start = (size_t)(m.seg[0].ptr - bytes.ptr);
    check_same(ln_span(bytes.ptr + start, size - start), wire);
    free((char *)(uintptr_t)wire.ptr);
    check_wire(&m);
    read_all(&m);
    /* The choices come from the end, where they disturb the message least. */
    for (size_t i = 0; i + 4 <= size && i < 32; i += 4) {
        const uint8_t *choice = data + size - i - 4;
        edit(&m, choice, ln_span(bytes.ptr, size < 24 ? size : choice[3] % 24u));
        if (i % 8 == 0)
            restructure(&m, choice);
        read_all(&m);
    }
    check_wire(&m);
    ln_message_fini(&m);
    return 0;
}
