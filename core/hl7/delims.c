#include "hl7/delims.h"

#include "base/utf8.h"

bool ln_delims_header_name(struct ln_span name)
{
    return name.len == 3 && (memcmp(name.ptr, "MSH", 3) == 0 || memcmp(name.ptr, "BHS", 3) == 0 ||
                             memcmp(name.ptr, "FHS", 3) == 0);
}

static bool is_text(char c)
{
    unsigned char u = (unsigned char)c;
    return c == ' ' || (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z');
}

/* VT and FS frame messages, ESC switches character sets: they keep that meaning. */
static bool may_separate(char c)
{
    return !is_text(c) && c != '\0' && !strchr("\t\r\n\v\x1c\x1b", c);
}

static int wrong(struct ln_err *err, size_t offset, const char *what)
{
    if (err)
        err->offset = offset;
    return ln_err_set(err, LN_EPARSE, "%s", what);
}

/* Bytes of the character at s when it is UTF-8; one otherwise. */
static size_t char_len(struct ln_span s)
{
    size_t n = ln_utf8_len((const unsigned char *)s.ptr, s.len);
    return n ? n : 1;
}

void ln_delims_roles(struct ln_delims *d, struct ln_span msh2)
{
    char *const role[] = {&d->component, &d->repetition, &d->escape, &d->subcomponent,
                          &d->truncation};
    const char *p = msh2.ptr, *end = p + msh2.len;
    bool no_escape = msh2.len == 3 && p[2] == '&';
    for (unsigned place = 0; place < 5 && p < end; place++) {
        char c = *p;
        size_t n = char_len(ln_span(p, (size_t)(end - p)));
        if (is_text(c))
            return;
        bool used = c == d->field || !may_separate(c);
        for (unsigned i = 0; i < place; i++)
            used = used || *role[i] == c;
        place += no_escape && place == 2;
        p += n;
        if (used && place == 3 && c == d->escape && p < end)
            place--; /* doubled escape character */
        else if (!used && n == 1)
            *role[place] = c;
    }
}

int ln_delims_read(struct ln_span text, struct ln_delims *d, struct ln_err *err)
{
    *d = (struct ln_delims){0};
    if (text.len < 4 || !may_separate(text.ptr[3]))
        return wrong(err, text.len < 4 ? text.len : 3,
                     "no field separator behind the header's name");
    d->field = text.ptr[3];
    const char *e = text.ptr + 4;
    size_t n = 0;
    while (4 + n < text.len && e[n] != d->field && e[n] != '\r' && e[n] != '\n')
        n++;
    ln_delims_roles(d, ln_span(e, n));
    if (!d->component)
        return wrong(err, 4, "no encoding characters behind the field separator");
    return LN_OK;
}

bool ln_delims_eq(const struct ln_delims *a, const struct ln_delims *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
