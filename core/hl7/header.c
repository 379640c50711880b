/* Reads what stands at the front of a message, however odd, and never more than it must. Linear in
 * the bytes, whatever they are: a peer may send 50 MB of line ends. */
#include "hl7/header.h"

#include "hl7/delims.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* What may be a delimiter: printable ASCII, no letter, digit or blank. */
static bool is_delim(char c)
{
    return c > ' ' && c < 0x7f && !is_alnum(c);
}

static size_t skip_front(struct ln_span f)
{
    size_t i = 0;
    if (f.len >= 3 && memcmp(f.ptr, "\xef\xbb\xbf", 3) == 0)
        i = 3;
    while (i < f.len && strchr(" \t\r\n\v", f.ptr[i])) /* strchr also finds NUL, as it should */
        i++;
    return i;
}

static enum ln_header_kind kind_at(const char *p, size_t left)
{
    if (left < 4 || !is_delim(p[3]))
        return LN_HEADER_NONE;
    return memcmp(p, "MSH", 3) == 0   ? LN_HEADER_MSH
           : memcmp(p, "BHS", 3) == 0 ? LN_HEADER_BHS
           : memcmp(p, "FHS", 3) == 0 ? LN_HEADER_FHS
                                      : LN_HEADER_NONE;
}

/* First CR or LF in s[from..), or its end. Looks in growing steps, since the search for the one
 * that is not there must not run to the end of the message for each line. */
static size_t line_end(struct ln_span s, size_t from)
{
    for (size_t step = 128; from < s.len; step *= 2) {
        size_t n = s.len - from < step ? s.len - from : step;
        const char *cr = memchr(s.ptr + from, '\r', n);
        const char *lf = memchr(s.ptr + from, '\n', cr ? (size_t)(cr - s.ptr) - from : n);
        if (lf || cr)
            return (size_t)((lf ? lf : cr) - s.ptr);
        from += n;
    }
    return s.len;
}

/* Start of the line behind the one that holds `from`; s.len when there is none. *lf_only tells that
 * no CR stands between the two. */
static size_t next_line(struct ln_span s, size_t from, bool *lf_only)
{
    size_t i = line_end(s, from);
    *lf_only = true;
    for (; i < s.len && (s.ptr[i] == '\r' || s.ptr[i] == '\n'); i++)
        *lf_only = *lf_only && s.ptr[i] == '\n';
    return i;
}

/* Field n of a segment whose name takes three bytes; field 1 follows the first separator. */
struct ln_span ln_header_cut(const struct ln_charset *cs, struct ln_span segment, char sep, int n)
{
    const char *p = segment.ptr, *end = segment.ptr + segment.len;
    while (n-- > 0) {
        p = ln_charset_seek(cs, p, end, sep);
        if (p == end)
            return ln_span(NULL, 0);
        p++;
    }
    return ln_span(p, (size_t)(ln_charset_seek(cs, p, end, sep) - p));
}

static void read_fields(struct ln_header *h)
{
    const char *p = h->segment.ptr + 3, *end = h->segment.ptr + h->segment.len;
    h->field[1] = ln_span(p, 1);
    for (int n = 2; n <= LN_HEADER_FIELDS && p < end; n++) {
        const char *stop = ln_charset_seek(&h->charset, p + 1, end, h->delims.field);
        h->field[n] = ln_span(p + 1, (size_t)(stop - p - 1));
        p = stop;
    }
}

static struct ln_span first_part(struct ln_span s, const struct ln_delims *d)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c && (c == d->component || c == d->subcomponent || c == d->repetition))
            return ln_span(s.ptr, i);
    }
    return s;
}

static void read_patients(struct ln_header *h, struct ln_span pid3)
{
    while (pid3.len && h->npatient < LN_HEADER_PATIENTS) {
        char rep = h->delims.repetition;
        const char *stop = rep ? memchr(pid3.ptr, rep, pid3.len) : NULL;
        size_t n = stop ? (size_t)(stop - pid3.ptr) : pid3.len;
        struct ln_span id = first_part(ln_span(pid3.ptr, n), &h->delims);
        if (id.len && !ln_span_is(id, "\"\""))
            h->patient[h->npatient++] = id;
        n += stop != NULL;
        pid3 = ln_span(pid3.ptr + n, pid3.len - n);
    }
}

/* A header segment for certain enough to split a batch at: its name, a separator, and something
 * that may be MSH-2 (or nothing): a line of text that starts with "MSH-7" is none. */
static enum ln_header_kind boundary_at(struct ln_span f, size_t i)
{
    const char *p = f.ptr + i;
    size_t left = f.len - i;
    if (left > 4 && !is_delim(p[4]) && p[4] != '\r' && p[4] != '\n')
        return LN_HEADER_NONE;
    return kind_at(p, left);
}

/* Behind the blanks that some files have before a header; `at` when no header stands there. */
static size_t past_blanks(struct ln_span f, size_t at)
{
    size_t i = at;
    while (i < f.len && (f.ptr[i] == ' ' || f.ptr[i] == '\t'))
        i++;
    return i > at && boundary_at(f, i) != LN_HEADER_NONE ? i : at;
}

static bool trailer_at(struct ln_span f, size_t i)
{
    const char *p = f.ptr + i;
    size_t left = f.len - i;
    if (left < 3 || (memcmp(p, "BTS", 3) != 0 && memcmp(p, "FTS", 3) != 0))
        return false;
    return left == 3 || is_delim(p[3]) || p[3] == '\r' || p[3] == '\n';
}

/* The lines of one message from its header on. When its header segment ends with CR, a bare LF is
 * data; yet a header or trailer behind one with this message's own field separator ends it: data
 * can't hold that separator unescaped, and files with a message per line, CR inside, are common. */
struct lines {
    struct ln_span f;
    size_t start, at;
    bool lf_ends, lf_only;
};

static void lines_begin(struct lines *l, struct ln_span f, size_t start)
{
    *l = (struct lines){.f = f, .start = start};
    l->at = next_line(f, start, &l->lf_ends);
    l->lf_only = l->lf_ends;
}

/* True while l->at is the start of a line of this message; otherwise it is the message's end. */
static bool lines_go_on(const struct lines *l)
{
    if (l->at == l->f.len)
        return false;
    size_t at = past_blanks(l->f, l->at);
    bool doubtful = l->lf_only && !l->lf_ends;
    if (doubtful && (l->f.len - at < 4 || l->f.ptr[at + 3] != l->f.ptr[l->start + 3]))
        return true;
    return boundary_at(l->f, at) == LN_HEADER_NONE && !trailer_at(l->f, at);
}

static void lines_next(struct lines *l)
{
    l->at = next_line(l->f, l->at, &l->lf_only);
}

/* Looks for the first PID of this message. */
static void find_patient(struct ln_span f, struct ln_header *h)
{
    struct lines l;
    for (lines_begin(&l, f, h->offset); lines_go_on(&l); lines_next(&l)) {
        const char *p = f.ptr + l.at;
        if (f.len - l.at >= 4 && memcmp(p, "PID", 3) == 0 && p[3] == h->delims.field) {
            struct ln_span pid = ln_span(p, line_end(f, l.at) - l.at);
            read_patients(h, ln_header_cut(&h->charset, pid, h->delims.field, 3));
            return;
        }
    }
}

static int fail(const struct ln_header *h, struct ln_err *err, size_t at, const char *why)
{
    static const char *const names[] = {"", "MSH", "BHS", "FHS"};
    if (err)
        err->offset = at;
    return ln_err_set(err, LN_EPARSE, "%s%s", names[h->kind], why);
}

/* The character set, where it matters for cutting: of a header of plain ASCII, MSH-18 is enough,
 * and is looked at only by who writes text into an answer. */
static void find_charset(struct ln_header *h, const struct ln_charset_policy *policy)
{
    bool high = false, esc = false;
    for (size_t i = 0; i < h->segment.len; i++) {
        high = high || (unsigned char)h->segment.ptr[i] > 0x7f;
        esc = esc || h->segment.ptr[i] == '\x1b';
    }
    (void)ln_charset_resolve(h->segment, h->delims.field, h->delims.repetition, h->delims.escape,
                             policy, high, esc, &h->charset);
    if (ln_charset_steps(&h->charset) && (high || esc))
        read_fields(h);
}

int ln_header_read(struct ln_span frame, struct ln_header *h, struct ln_err *err)
{
    return ln_header_read_as(frame, NULL, h, err);
}

int ln_header_read_as(struct ln_span frame, const struct ln_charset_policy *policy,
                      struct ln_header *h, struct ln_err *err)
{
    *h = (struct ln_header){0};
    size_t at = frame.len ? skip_front(frame) : 0;
    h->offset = at;
    if (at == frame.len)
        return fail(h, err, at, frame.len ? "nothing but blanks" : "empty");
    const char *p = frame.ptr + at;
    enum ln_header_kind kind = kind_at(p, frame.len - at);
    if (kind == LN_HEADER_NONE) {
        bool named = frame.len - at >= 3 &&
                     (!memcmp(p, "MSH", 3) || !memcmp(p, "BHS", 3) || !memcmp(p, "FHS", 3));
        const char *wide = ln_charset_wide(frame);
        if (wide && err) {
            err->offset = at;
            return ln_err_set(err, LN_EPARSE,
                              "the bytes are %s, which MLLP cannot carry: send UNICODE UTF-8",
                              wide);
        }
        return named ? fail(h, err, at + 3, "header segment without a field separator")
                     : fail(h, err, at, "does not start with MSH, BHS or FHS");
    }
    h->segment = ln_span(p, line_end(frame, at) - at);
    /* MSH-2 left out altogether: all fields stand in wrong places, nothing can be trusted. */
    if (h->segment.len > 4 && p[4] != p[3] && !is_delim(p[4]))
        return fail(h, err, at + 4, "header segment without encoding characters");
    h->kind = kind;
    h->delims.field = p[3];
    read_fields(h);
    ln_delims_roles(&h->delims, h->field[2]);
    if (!h->delims.component)
        return fail(h, err, at + 4, " without encoding characters");
    if (kind == LN_HEADER_MSH) {
        find_charset(h, policy);
        find_patient(frame, h);
    }
    return LN_OK;
}

struct ln_span ln_header_component(const struct ln_header *h, int field, int component)
{
    if (field < 1 || field > LN_HEADER_FIELDS || component < 1)
        return ln_span(NULL, 0);
    struct ln_span s = h->field[field];
    if (field <= 2)
        return component == 1 ? s : ln_span(NULL, 0);
    const struct ln_delims *d = &h->delims;
    if (d->repetition && s.len) {
        const char *rep = memchr(s.ptr, d->repetition, s.len);
        s.len = rep ? (size_t)(rep - s.ptr) : s.len;
    }
    while (--component) {
        const char *next = d->component && s.len ? memchr(s.ptr, d->component, s.len) : NULL;
        if (!next)
            return ln_span(NULL, 0);
        s = ln_span(next + 1, s.len - (size_t)(next + 1 - s.ptr));
    }
    return first_part(s, d);
}

bool ln_batch_next(struct ln_span frame, size_t *pos, struct ln_span *message)
{
    bool lf_only;
    *message = ln_span(NULL, 0);
    if (*pos == 0 && frame.len)
        *pos = skip_front(frame);
    for (; *pos < frame.len; *pos = next_line(frame, *pos, &lf_only)) {
        size_t at = past_blanks(frame, *pos);
        if (boundary_at(frame, at) == LN_HEADER_MSH) {
            *pos = at;
            break;
        }
    }
    if (*pos >= frame.len)
        return false;
    struct lines l;
    for (lines_begin(&l, frame, *pos); lines_go_on(&l);)
        lines_next(&l);
    *pos = l.at;
    *message = ln_span(frame.ptr + l.start, l.at - l.start);
    return true;
}

/* BTS-1 says that there were messages, which then are missing. */
static bool counts_messages(struct ln_span f, size_t i)
{
    if (f.ptr[i] != 'B')
        return false;
    size_t end = line_end(f, i);
    for (i += 4; i < end && f.ptr[i] >= '0' && f.ptr[i] <= '9'; i++)
        if (f.ptr[i] != '0')
            return true;
    return false;
}

bool ln_batch_is_empty(struct ln_span frame)
{
    bool lf_only, header = false, trailer = false;
    for (size_t at = frame.len ? skip_front(frame) : 0; at < frame.len;
         at = next_line(frame, at, &lf_only)) {
        size_t i = past_blanks(frame, at);
        bool end = trailer_at(frame, i);
        enum ln_header_kind kind = end ? LN_HEADER_NONE : boundary_at(frame, i);
        if (end ? counts_messages(frame, i) : kind != LN_HEADER_BHS && kind != LN_HEADER_FHS)
            return false;
        header = header || !end;
        trailer = trailer || end;
    }
    return header && trailer;
}
