/* Edit sequences. First byte: character set and delimiters; second: how many edits, of 8 bytes
 * each; the rest is a message behind a header of ours.
 * - what is set reads back, and nothing else in the message changes: no other segment, field,
 *   repetition, component or subcomponent;
 * - the wire form reads as the edited message, part for part. */
#include "fuzz.h"

#include "hl7/field.h"
#include "hl7/text.h"

enum { OP_SET, OP_RAW, OP_CLEAR, OP_ADD, OP_REMOVE, OP_MOVE, OPS };

static struct ln_charset_policy policy;

/* The raw fields of every slot, in copies. */
struct shot {
    uint32_t nslot, *nfield;
    struct ln_span **field;
};

static struct ln_span copy_of(struct ln_span s)
{
    return ln_span(fuzz_copy(s.ptr, s.len), s.len);
}

static void drop(struct ln_span s)
{
    free((char *)(uintptr_t)s.ptr);
}

static void take(struct ln_message *m, struct shot *shot)
{
    shot->nslot = m->nslot;
    shot->nfield = calloc(m->nslot, sizeof *shot->nfield);
    shot->field = calloc(m->nslot, sizeof(struct ln_span *));
    CHECK(shot->nfield && shot->field);
    for (uint32_t s = 0; s < m->nslot; s++) {
        if (m->seg[s].removed)
            continue;
        CHECK(ln_field_count(m, s, &shot->nfield[s]) == LN_OK);
        shot->field[s] = calloc(shot->nfield[s] + 1, sizeof(struct ln_span));
        CHECK(shot->field[s]);
        for (struct ln_part p = {.field = 1}; p.field <= shot->nfield[s]; p.field++) {
            struct ln_span raw;
            CHECK(ln_field_get(m, s, &p, &raw) == LN_OK && raw.ptr);
            shot->field[s][p.field] = copy_of(raw);
        }
    }
}

static void release(struct shot *shot)
{
    for (uint32_t s = 0; s < shot->nslot; s++) {
        for (uint32_t f = 1; shot->field[s] && f <= shot->nfield[s]; f++)
            drop(shot->field[s][f]);
        free(shot->field[s]);
    }
    free(shot->field);
    free(shot->nfield);
}

/* The same bytes; what is absent is empty. */
static bool same_piece(struct ln_span a, struct ln_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* All pieces of a and b but the nth are the same; missing ones are empty. *x, *y: the nth. */
static void others_same(const struct ln_message *m, char c, uint32_t nth, struct ln_span *x,
                        struct ln_span *y)
{
    struct ln_span a = x->ptr ? *x : ln_span("", 0), b = y->ptr ? *y : ln_span("", 0);
    uint32_t na = ln_field_pieces(&m->charset, a, c), nb = ln_field_pieces(&m->charset, b, c);
    uint32_t most = na > nb ? na : nb;
    for (uint32_t i = 1; i <= most; i++)
        if (i != nth)
            CHECK(same_piece(ln_field_piece(&m->charset, a, c, i),
                             ln_field_piece(&m->charset, b, c, i)));
    *x = ln_field_piece(&m->charset, a, c, nth);
    *y = ln_field_piece(&m->charset, b, c, nth);
}

/* Around a part that was set, its field is as it was. */
static void check_around(struct ln_message *m, uint32_t slot, const struct ln_part *p,
                         struct ln_span was)
{
    const struct ln_delims *d = &m->delims;
    struct ln_span now;
    CHECK(ln_field_get(m, slot, &(struct ln_part){.field = p->field}, &now) == LN_OK);
    const struct {
        char c;
        uint32_t n;
    } levels[] = {{d->repetition, p->repetition},
                  {d->component, p->component},
                  {d->subcomponent, p->subcomponent}};
    for (size_t i = 0; i < 3 && levels[i].n; i++)
        others_same(m, levels[i].c, levels[i].n, &was, &now);
}

/* Everything but field `field` of `slot` (LN_NO_SEGMENT: everything) is as it was. */
static void check_rest(struct ln_message *m, const struct shot *was, uint32_t slot, uint32_t field)
{
    for (uint32_t s = 0; s < was->nslot; s++) {
        uint32_t n;
        if (m->seg[s].removed || !was->field[s])
            continue;
        CHECK(ln_field_count(m, s, &n) == LN_OK && n >= was->nfield[s]);
        CHECK(n == was->nfield[s] || s == slot);
        for (struct ln_part p = {.field = 1}; p.field <= n; p.field++) {
            struct ln_span raw;
            if (s == slot && p.field == field)
                continue;
            CHECK(ln_field_get(m, s, &p, &raw) == LN_OK && raw.ptr);
            CHECK(p.field <= was->nfield[s] ? same_piece(raw, was->field[s][p.field]) : !raw.len);
        }
    }
}

/* The wire form reads as the message. */
static void check_wire(struct ln_message *m)
{
    size_t len = ln_message_wire_len(m);
    char *wire = malloc(len + 1);
    struct ln_message again = {0};
    struct ln_scan scan;
    CHECK(wire);
    ln_message_wire(m, wire);
    CHECK(ln_message_scan_as(ln_span(wire, len), &policy, &scan, NULL) == LN_OK);
    CHECK(ln_message_build(&again, ln_span(wire, len), &scan) == LN_OK);
    CHECK(again.count == m->count);
    uint32_t t = again.first;
    for (uint32_t s = m->first; s != LN_NO_SEGMENT; s = m->seg[s].next, t = again.seg[t].next) {
        uint32_t n, k;
        CHECK(ln_span_eq(ln_message_name(m, s), ln_message_name(&again, t)));
        CHECK(ln_field_count(m, s, &n) == LN_OK && ln_field_count(&again, t, &k) == LN_OK);
        CHECK(n == k);
        for (struct ln_part p = {.field = 1}; p.field <= n; p.field++) {
            struct ln_span a, b;
            CHECK(ln_field_get(m, s, &p, &a) == LN_OK && ln_field_get(&again, t, &p, &b) == LN_OK);
            CHECK(same_piece(a, b));
        }
    }
    ln_message_fini(&again);
    free(wire);
}

/* The line ends in another set than ASCII: writing behind it closes it, which is a change. */
static bool ends_open(const struct ln_message *m, const struct shot *was, uint32_t slot)
{
    struct ln_charset_state state = {0};
    bool opaque;
    if (!was->nfield[slot])
        return false;
    struct ln_span last = was->field[slot][was->nfield[slot]];
    for (const char *p = last.ptr, *end = p + last.len; p < end;)
        p += ln_charset_step(&m->charset, &state, p, end, &opaque);
    return state.g0 != LN_G0_ASCII;
}

static void set(struct ln_message *m, uint32_t slot, const uint8_t *e, struct ln_span value)
{
    struct ln_part p = {e[2] % 24 + 1, e[3] % 4, e[4] % 4, e[5] % 4};
    struct ln_text t = {.delims = m->delims, .charset = m->charset};
    struct shot was;
    struct ln_span old = {"", 0}, got;
    size_t len = value.len;
    char *raw = NULL;
    p.component = p.repetition ? p.component : 0;
    p.subcomponent = p.component ? p.subcomponent : 0;
    if (e[0] % OPS == OP_SET) {
        if (ln_text_write(&t, value, NULL, &len, NULL))
            return;
        CHECK((raw = malloc(len + 1)) && ln_text_write(&t, value, raw, &len, NULL) == LN_OK);
    }
    struct ln_span bytes = raw ? ln_span(raw, len) : e[0] % OPS == OP_RAW ? value : ln_span("", 0);
    take(m, &was);
    if (p.field <= was.nfield[slot])
        old = was.field[slot][p.field];
    int rc = ln_field_set(m, slot, &p, bytes, false, NULL);
    if (rc == LN_OK) {
        if (!ends_open(m, &was, slot)) {
            check_rest(m, &was, slot, p.field);
            check_around(m, slot, &p, old);
        }
        CHECK(ln_field_get(m, slot, &p, &got) == LN_OK);
        CHECK(bytes.len ? ln_span_eq(got, bytes) : !got.len);
    } else {
        CHECK(e[0] % OPS != OP_CLEAR || (m->seg[slot].header && p.field <= 2) || rc == LN_EINVAL);
    }
    release(&was);
    free(raw);
}

static void edit(struct ln_message *m, const uint8_t *e, struct ln_span text)
{
    uint32_t slot = e[1] % m->nslot, other = e[2] % m->nslot, made;
    size_t from = text.len ? e[6] % text.len : 0, len = e[7] % 32;
    struct ln_span value = ln_span(text.ptr + from, len < text.len - from ? len : text.len - from);
    struct shot was;
    if (m->seg[slot].removed)
        return;
    if (e[0] % OPS <= OP_CLEAR) {
        set(m, slot, e, value);
        return;
    }
    uint32_t count = m->count;
    take(m, &was);
    if (e[0] % OPS == OP_ADD) {
        CHECK(ln_message_add(m, ln_span_str("ZZ1"), slot, &made, NULL) == LN_OK);
        CHECK(m->count == count + 1 && m->seg[slot].next == made);
    } else if (e[0] % OPS == OP_REMOVE) {
        CHECK((ln_message_remove(m, slot, NULL) == LN_OK) == (slot != m->first));
    } else if (!m->seg[other].removed && slot != other) {
        CHECK((ln_message_move(m, slot, other, NULL) == LN_OK) == (slot != m->first));
        CHECK(m->count == count && (slot == m->first || m->seg[other].next == slot));
    }
    check_rest(m, &was, LN_NO_SEGMENT, 0);
    release(&was);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const heads[] = {"MSH|^~\\&|\r", "MSH^~|\\&^\r", "MSH$%*!?$\r", "MSH|^\r"};
    static const char *const names[] = {"UNICODE UTF-8", "ASCII",         "8859/1",    "KS X 1001",
                                        "SHIFT_JIS",     "GB 18030-2000", "~ISO IR87", "BIG-5"};
    if (size < 2)
        return 0;
    size_t edits = data[1] % 12, skip = 2 + edits * 8;
    if (size < skip)
        return 0;
    policy = (struct ln_charset_policy){.force = true};
    CHECK(ln_charset_list(ln_span_str(names[data[0] / 4 % 8]), '~', &policy.charset) == LN_OK);
    const char *head = heads[data[0] % 4];
    size_t len = strlen(head);
    char *bytes = malloc(len + size - skip);
    CHECK(bytes);
    memcpy(bytes, head, len);
    for (size_t i = skip; i < size; i++) /* what a bare LF means is message_fuzz's */
        bytes[len++] = data[i] == '\n' ? '\r' : (char)data[i];
    struct ln_message m = {0};
    struct ln_scan scan;
    CHECK(ln_message_scan_as(ln_span(bytes, len), &policy, &scan, NULL) == LN_OK);
    CHECK(ln_message_build(&m, ln_span(bytes, len), &scan) == LN_OK);
    char *text = fuzz_copy(data + skip, size - skip);
    for (size_t i = 0; i < edits; i++)
        edit(&m, data + 2 + i * 8, ln_span(text, size - skip));
    check_wire(&m);
    ln_message_fini(&m);
    free(text);
    free(bytes);
    return 0;
}
