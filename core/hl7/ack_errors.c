/* Errors as lines of text: how they travel from a script that refuses a message to the one who
 * answers its sender, and how people read them. */
#include "hl7/ack.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "E 102 PID-7: no such month"; the place may be empty ("E 207 : locked"). */
static bool read_line(struct ln_span line, struct ln_ack_error *e)
{
    const char *p = line.ptr, *end = p + line.len;
    if (line.len < 8 || (p[0] != 'E' && p[0] != 'W' && p[0] != 'I') || p[1] != ' ' ||
        !is_digit(p[2]) || !is_digit(p[3]) || !is_digit(p[4]) || p[5] != ' ')
        return false;
    const char *place = p + 6, *colon = memchr(place, ':', (size_t)(end - place));
    if (!colon || colon + 1 >= end || colon[1] != ' ')
        return false;
    e->severity = p[0];
    e->code = ln_span(p + 2, 3);
    e->location = ln_span(place, (size_t)(colon - place));
    e->text = ln_span(colon + 2, (size_t)(end - colon - 2));
    return true;
}

size_t ln_ack_errors_read(struct ln_span text, struct ln_ack_error out[LN_ACK_ERRORS_MAX])
{
    size_t n = 0;
    while (text.len && n < LN_ACK_ERRORS_MAX) {
        const char *eol = memchr(text.ptr, '\n', text.len);
        size_t len = eol ? (size_t)(eol - text.ptr) : text.len;
        if (!read_line(ln_span(text.ptr, len), &out[n]))
            break;
        n++;
        if (eol)
            len++;
        text = ln_span(text.ptr + len, text.len - len);
    }
    return n;
}
