/* Reads what a receiver answered. Whoever answers may speak another version, end lines otherwise,
 * or put segments in any order: all that counts is which message is meant and what is said of it.
 */
#include "hl7/ack.h"

/* Takes the next line off *s; false at the end. */
static bool next_line(struct ln_span *s, struct ln_span *line)
{
    size_t n = 0;
    if (s->len == 0)
        return false;
    while (n < s->len && s->ptr[n] != '\r' && s->ptr[n] != '\n')
        n++;
    *line = ln_span(s->ptr, n);
    n += n < s->len;
    *s = ln_span(s->ptr + n, s->len - n);
    return true;
}

static bool is_segment(struct ln_span line, const char *name, char sep)
{
    return line.len >= 4 && memcmp(line.ptr, name, 3) == 0 && line.ptr[3] == sep;
}

/* The header says how the reply is cut. */
static struct ln_span field(const struct ln_header *h, struct ln_span line, int n)
{
    return ln_header_cut(&h->charset, line, h->delims.field, n);
}

/* MSA-1 as one of AA, AE, AR, CA, CE, CR; blanks around it and small letters are forgiven. */
static bool read_code(struct ln_span s, char code[3])
{
    while (s.len && s.ptr[0] == ' ')
        s = ln_span(s.ptr + 1, s.len - 1);
    while (s.len && s.ptr[s.len - 1] == ' ')
        s.len--;
    if (s.len != 2)
        return false;
    char a = (char)(s.ptr[0] & ~0x20), b = (char)(s.ptr[1] & ~0x20);
    if ((a != 'A' && a != 'C') || (b != 'A' && b != 'E' && b != 'R'))
        return false;
    code[0] = a;
    code[1] = b;
    code[2] = '\0';
    return true;
}

/* Why there is no header, said in terms of what receivers are known to send. */
static int no_header(struct ln_span frame, size_t offset, struct ln_err *err)
{
    if (err)
        err->offset = offset;
    if (frame.len == 0)
        return ln_err_set(err, LN_EPARSE, "empty reply");
    if (frame.len == 1 && (frame.ptr[0] == 0x06 || frame.ptr[0] == 0x15))
        return ln_err_set(err, LN_EPARSE,
                          "reply is a bare %s (MLLP release 2): it names no message",
                          frame.ptr[0] == 0x06 ? "ACK byte 06" : "NAK byte 15");
    return ln_err_set(err, LN_EPARSE, "reply of %zu bytes does not start with MSH", frame.len);
}

int ln_reply_read(struct ln_span frame, struct ln_reply *r, struct ln_err *err)
{
    struct ln_header h;
    struct ln_span line, rest;
    bool msa = false;
    *r = (struct ln_reply){0};
    int code = ln_header_read(frame, &h, NULL);
    if (code != LN_OK && h.kind == LN_HEADER_NONE)
        return no_header(frame, h.offset, err);
    char sep = h.delims.field;
    rest = ln_span(frame.ptr + h.offset, frame.len - h.offset);
    while (next_line(&rest, &line)) {
        if (!r->code[0] && is_segment(line, "MSA", sep)) {
            msa = true;
            if (!read_code(field(&h, line, 1), r->code))
                continue;
            r->control_id = field(&h, line, 2);
            r->text = field(&h, line, 3);
        } else if (r->code[0] && !r->text.len && is_segment(line, "ERR", sep)) {
            r->text = field(&h, line, 8);
        }
    }
    if (r->code[0])
        return LN_OK;
    if (err)
        err->offset = h.offset;
    return msa ? ln_err_set(err, LN_EPARSE, "reply without a known code in MSA-1")
               : ln_err_set(err, LN_EPARSE, "reply without an MSA segment");
}
