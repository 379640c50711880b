/* Written for peers of every age. What the sender's own header says is copied in its own
 * delimiters, never parsed and built anew; what we say ourselves is escaped with them. */
#include "hl7/ack.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "hl7/charset.h"

struct writer {
    struct ln_buf *out;
    struct ln_charset charset;
    size_t start; /* where to go back to when memory runs out */
    struct ln_delims d;
    struct ln_span msh2;
    char msh2_own[5];
};

static const char *const codes[] = {"AA", "AE", "AR", "CA", "CE", "CR"};

static bool positive(enum ln_ack_code code)
{
    return code == LN_ACK_AA || code == LN_ACK_CA;
}

static void begin(struct writer *w, struct ln_buf *out, const struct ln_header *h)
{
    *w = (struct writer){
        .out = out, .charset = h->charset, .start = out->len, .d = h->delims, .msh2 = h->field[2]};
    out->failed = false;
    if (h->kind == LN_HEADER_NONE)
        w->d.field = '|';
    if (w->d.component)
        return;
    /* The sender declared no encoding characters: the usual ones, but for its own separator. */
    memcpy(w->msh2_own, "^~\\&", 5);
    char *clash = strchr(w->msh2_own, w->d.field);
    if (clash)
        *clash = '|';
    w->msh2 = ln_span(w->msh2_own, 4);
    w->d.component = w->msh2_own[0];
    w->d.repetition = w->msh2_own[1];
    w->d.escape = w->msh2_own[2];
    w->d.subcomponent = w->msh2_own[3];
}

static int done(struct writer *w)
{
    if (!w->out->failed)
        return LN_OK;
    w->out->len = w->start;
    return LN_ENOMEM;
}

static void sep(struct writer *w, int n)
{
    while (n-- > 0)
        ln_buf_addc(w->out, w->d.field);
}

static void end_segment(struct writer *w)
{
    ln_buf_addc(w->out, '\r');
}

/* Our own text: delimiters escaped (or blank, where the sender has no escape character), no control
 * characters, so that neither a segment nor the MLLP frame can be broken. */
static void ascii(struct writer *w, struct ln_span s)
{
    const char from[] = {w->d.field,      w->d.component, w->d.subcomponent,
                         w->d.repetition, w->d.escape,    '\0'};
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        size_t at = 0;
        while (at < 5 && (from[at] != c || !c))
            at++;
        if (at < 5 && w->d.escape) {
            ln_buf_addc(w->out, w->d.escape);
            ln_buf_addc(w->out, "FSTRE"[at]);
            ln_buf_addc(w->out, w->d.escape);
        } else {
            ln_buf_addc(w->out, at < 5 || (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
        }
    }
}

/* The same in the sender's character set; `?` for what it lacks. */
static void text(struct writer *w, struct ln_span s)
{
    char bytes[LN_CHARSET_PUT];
    uint8_t g0;
    for (size_t i = 0, n; i < s.len; i += n) {
        n = ln_utf8_len((const unsigned char *)s.ptr + i, s.len - i);
        if (n == 1 || w->charset.kind == LN_CHARSET_UTF8) {
            n = n ? n : 1;
            ascii(w, ln_span(s.ptr + i, n));
            continue;
        }
        g0 = LN_G0_ASCII;
        size_t len = n ? ln_charset_put(&w->charset, s.ptr + i, n, bytes, &g0) : 0;
        if (g0 != LN_G0_ASCII && len)
            ln_buf_adds(w->out, ln_charset_switch(g0));
        ln_buf_add(w->out, len ? bytes : "?", len ? len : 1);
        if (g0 != LN_G0_ASCII && len)
            ln_buf_adds(w->out, ln_charset_switch(LN_G0_ASCII));
        n = n ? n : 1;
    }
}

static void str(struct writer *w, const char *s)
{
    text(w, ln_span_str(s));
}

/* A field of the sender as it stands; one that is nothing but delimiters means nothing, and trips
 * other readers. VT and FS would break our own frame. */
static void copy(struct writer *w, struct ln_span s)
{
    const char nothing[] = {w->d.component, w->d.repetition, w->d.subcomponent,
                            w->d.escape,    w->d.truncation, ' '};
    size_t i = 0;
    while (i < s.len && memchr(nothing, s.ptr[i], sizeof nothing))
        i++;
    if (i == s.len)
        return;
    if (!memchr(s.ptr, 0x0b, s.len) && !memchr(s.ptr, 0x1c, s.len)) {
        ln_buf_add_span(w->out, s);
        return;
    }
    for (i = 0; i < s.len; i++)
        if (s.ptr[i] != 0x0b && s.ptr[i] != 0x1c)
            ln_buf_addc(w->out, s.ptr[i]);
}

/* Version in tenths and hundredths: 2.3 -> 230, 2.3.1 -> 231, 2.5.1 -> 251; 0 when there is none to
 * be read, which the oldest forms serve best. */
static int version_of(const struct ln_header *h)
{
    struct ln_span s = ln_header_component(h, 12, 1);
    int part[3] = {0, 0, 0}, n = 0;
    if (h->kind != LN_HEADER_MSH)
        return 250;
    for (size_t i = 0; i < s.len && n < 3; i++) {
        char c = s.ptr[i];
        if (c >= '0' && c <= '9')
            part[n] = part[n] < 99 ? part[n] * 10 + (c - '0') : part[n];
        else if (c == '.')
            n++;
        else if (i > 0 || (c != 'v' && c != 'V'))
            break;
    }
    if (part[0] > 2)
        return 290;
    int minor = part[1] < 10 ? part[1] : 9;
    return part[0] < 2 ? 0 : 200 + minor * 10 + (part[2] < 10 ? part[2] : 9);
}

/* Fields 3 to 7 of a header segment: the sender's names the other way round, and the time. */
static void names_and_time(struct writer *w, const struct ln_header *h, int64_t time_us)
{
    static const int from[] = {5, 6, 3, 4};
    char when[40];
    sep(w, 1);
    ln_buf_add_span(w->out, w->msh2);
    for (int i = 0; i < 4; i++) {
        sep(w, 1);
        copy(w, h->field[from[i]]);
    }
    sep(w, 1);
    ln_hl7_time(time_us, when, sizeof when);
    ln_buf_adds(w->out, when);
}

/* Copies a field, or writes what stands for it when it says nothing. */
static void copy_or(struct writer *w, struct ln_span s, const char *otherwise)
{
    size_t before = w->out->len;
    copy(w, s);
    if (w->out->len == before)
        str(w, otherwise);
}

static void write_msh(struct writer *w, const struct ln_header *h, const struct ln_ack *ack,
                      int version)
{
    bool msh = h->kind == LN_HEADER_MSH;
    ln_buf_adds(w->out, "MSH");
    names_and_time(w, h, ack->time_us);
    sep(w, 2);
    ln_buf_adds(w->out, "ACK");
    struct ln_span event = msh ? ln_header_component(h, 9, 2) : ln_span(NULL, 0);
    if (event.len) {
        ln_buf_addc(w->out, w->d.component);
        copy(w, event);
        if (version >= 231) {
            ln_buf_addc(w->out, w->d.component);
            ln_buf_adds(w->out, "ACK");
        }
    }
    sep(w, 1);
    text(w, ack->control_id);
    sep(w, 1);
    copy_or(w, msh ? h->field[11] : ln_span(NULL, 0), "P");
    sep(w, 1);
    copy_or(w, msh ? h->field[12] : ln_span(NULL, 0), msh ? "2.3" : "2.5");
    if (msh && h->field[18].len) {
        sep(w, 6);
        copy(w, h->field[18]);
    }
    end_segment(w);
}

static void write_msa(struct writer *w, const struct ln_header *h, const struct ln_ack *ack,
                      int version)
{
    struct ln_span id = h->kind == LN_HEADER_MSH    ? h->field[10]
                        : h->kind == LN_HEADER_NONE ? ln_span(NULL, 0)
                                                    : h->field[11]; /* BHS-11, FHS-11 */
    ln_buf_adds(w->out, "MSA");
    sep(w, 1);
    ln_buf_adds(w->out, codes[ack->code]);
    sep(w, 1);
    ln_buf_add_span(w->out, id);
    bool with_text = ack->text.len && version < 270;
    if (with_text || (id.len && id.ptr[id.len - 1] == 0x1c)) /* FS CR would end our frame */
        sep(w, 1);
    if (with_text)
        text(w, ack->text);
    end_segment(w);
}

/* A location such as "OBX[3]-5[2].1.4" taken apart. */
struct location {
    struct ln_span segment;
    unsigned n[5]; /* occurrence of the segment, field, repetition, component, subcomponent */
    int given; /* how many of them are said */
};

static unsigned number(struct ln_span *s)
{
    unsigned v = 0;
    while (s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9') {
        v = v < 100000 ? v * 10 + (unsigned)(s->ptr[0] - '0') : v;
        *s = ln_span(s->ptr + 1, s->len - 1);
    }
    return v;
}

static bool taken(struct ln_span *s, char c)
{
    if (!s->len || s->ptr[0] != c)
        return false;
    *s = ln_span(s->ptr + 1, s->len - 1);
    return true;
}

static struct location read_location(struct ln_span s)
{
    struct location l = {.n = {1, 0, 1, 1, 1}};
    size_t name = 0;
    while (name < s.len && s.ptr[name] != '-' && s.ptr[name] != '[')
        name++;
    l.segment = ln_span(s.ptr, name);
    s = ln_span(s.ptr + name, s.len - name);
    l.given = name > 0;
    if (taken(&s, '[')) {
        l.n[0] = number(&s);
        (void)taken(&s, ']');
    }
    if (!taken(&s, '-') || (l.n[1] = number(&s)) == 0)
        return l;
    l.given = 2;
    if (taken(&s, '[')) {
        l.n[2] = number(&s);
        (void)taken(&s, ']');
        l.given = 3;
    }
    for (int i = 3; i < 5 && taken(&s, '.'); i++) {
        l.n[i] = number(&s);
        l.given = i + 1;
    }
    return l;
}

/* The segment's name and `count` numbers behind it, those not said left empty. */
static void write_location(struct writer *w, const struct location *l, int count)
{
    text(w, l->segment);
    for (int i = 0; i < count; i++) {
        ln_buf_addc(w->out, w->d.component);
        if (i < l->given)
            ln_buf_addf(w->out, "%u", l->n[i]);
    }
}

/* Table 0357. */
static const char *code_text(struct ln_span code)
{
    static const char *const table[][2] = {
        {"100", "Segment sequence error"},
        {"101", "Required field missing"},
        {"102", "Data type error"},
        {"103", "Table value not found"},
        {"104", "Value too long"},
        {"200", "Unsupported message type"},
        {"201", "Unsupported event code"},
        {"202", "Unsupported processing id"},
        {"203", "Unsupported version id"},
        {"204", "Unknown key identifier"},
        {"205", "Duplicate key identifier"},
        {"206", "Application record locked"},
        {"207", "Application internal error"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (ln_span_is(code, table[i][0]))
            return table[i][1];
    return "";
}

/* code, its text and its table, with the given separator between them. */
static void write_code(struct writer *w, struct ln_span code, char between)
{
    if (!code.len)
        code = ln_span_str("207");
    text(w, code);
    if (!between)
        return;
    ln_buf_addc(w->out, between);
    str(w, code_text(code));
    ln_buf_addc(w->out, between);
    ln_buf_adds(w->out, "HL70357");
}

/* Up to 2.4: ERR-1 segment^sequence^field^code, repeated. */
static void write_err_old(struct writer *w, const struct ln_ack_error *errors, size_t n)
{
    bool any = false, first = true;
    for (size_t i = 0; i < n; i++)
        any = any || errors[i].severity == 'E';
    ln_buf_adds(w->out, "ERR");
    sep(w, 1);
    for (size_t i = 0; i < n; i++) {
        struct location l = read_location(errors[i].location);
        if (any && errors[i].severity != 'E')
            continue;
        if (!first && !w->d.repetition)
            break;
        if (!first)
            ln_buf_addc(w->out, w->d.repetition);
        first = false;
        write_location(w, &l, 2);
        ln_buf_addc(w->out, w->d.component);
        write_code(w, errors[i].code, w->d.subcomponent);
    }
    end_segment(w);
}

/* From 2.5: ERR-2 location, ERR-3 code, ERR-4 severity, ERR-8 text for the user. */
static void write_err_new(struct writer *w, const struct ln_ack_error *e)
{
    struct location l = read_location(e->location);
    ln_buf_adds(w->out, "ERR");
    sep(w, 2);
    write_location(w, &l, l.given);
    sep(w, 1);
    write_code(w, e->code, w->d.component);
    sep(w, 1);
    ln_buf_addc(w->out, e->severity);
    if (e->text.len) {
        sep(w, 4);
        text(w, e->text);
    }
    end_segment(w);
}

static void write_errors(struct writer *w, const struct ln_header *h, const struct ln_ack *ack,
                         int version)
{
    struct ln_ack_error one = {
        .location = ack->location, .code = ack->error_code, .text = ack->text, .severity = 'E'};
    const struct ln_ack_error *errors = ack->nerrors ? ack->errors : &one;
    size_t n = ack->nerrors ? ack->nerrors : 1;
    if (!one.code.len)
        one.code = ln_span_str(h->kind == LN_HEADER_NONE ? "100" : "207");
    if (positive(ack->code) && (version < 250 || !ack->nerrors))
        return;
    if (version < 250) {
        write_err_old(w, errors, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        write_err_new(w, &errors[i]);
}

int ln_ack_write(struct ln_buf *out, const struct ln_header *h, const struct ln_ack *ack)
{
    struct writer w;
    if ((unsigned)ack->code > LN_ACK_CR)
        return LN_EINVAL;
    if (positive(ack->code) && (h->kind == LN_HEADER_NONE || !h->delims.component))
        return LN_EINVAL; /* never an AA or CA for what could not be read */
    int version = version_of(h);
    begin(&w, out, h);
    write_msh(&w, h, ack, version);
    write_msa(&w, h, ack, version);
    write_errors(&w, h, ack, version);
    return done(&w);
}

/* BHS and FHS share their first twelve fields. */
static void write_batch_header(struct writer *w, const struct ln_header *h,
                               const struct ln_ack *ack, const char *name, bool reference)
{
    ln_buf_adds(w->out, name);
    names_and_time(w, h, ack->time_us);
    sep(w, 4);
    text(w, ack->control_id);
    if (reference && h->field[11].len) {
        sep(w, 1);
        copy(w, h->field[11]);
    }
    end_segment(w);
}

int ln_ack_batch_begin(struct ln_buf *out, const struct ln_header *h, const struct ln_ack *ack,
                       bool file)
{
    struct writer w;
    if (h->kind == LN_HEADER_NONE)
        return LN_EINVAL;
    begin(&w, out, h);
    if (file)
        write_batch_header(&w, h, ack, "FHS", h->kind == LN_HEADER_FHS);
    write_batch_header(&w, h, ack, "BHS", h->kind == LN_HEADER_BHS);
    return done(&w);
}

int ln_ack_batch_end(struct ln_buf *out, const struct ln_header *h, unsigned count, bool file)
{
    struct writer w;
    if (h->kind == LN_HEADER_NONE)
        return LN_EINVAL;
    begin(&w, out, h);
    ln_buf_adds(out, "BTS");
    sep(&w, 1);
    ln_buf_addf(out, "%u", count);
    end_segment(&w);
    if (file) {
        ln_buf_adds(out, "FTS");
        sep(&w, 1);
        ln_buf_adds(out, "1");
        end_segment(&w);
    }
    return done(&w);
}
