#include "hl7/delims.h"

bool ln_delims_header_name(struct ln_span name)
{
    return name.len == 3 && (memcmp(name.ptr, "MSH", 3) == 0 || memcmp(name.ptr, "BHS", 3) == 0 ||
                             memcmp(name.ptr, "FHS", 3) == 0);
}

static bool may_separate(char c)
{
    unsigned char u = (unsigned char)c;
    bool alnum = (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z');
    return !alnum && u != ' ' && u != '\t' && u != '\r' && u != '\n' && u != '\0';
}

static int wrong(struct ln_err *err, size_t offset, const char *what)
{
    if (err)
        err->offset = offset;
    return ln_err_set(err, LN_EPARSE, "%s", what);
}

/* c, unless it can't separate or has a role already. */
static char role(const struct ln_delims *d, char c)
{
    if (!may_separate(c) || c == d->field || c == d->component || c == d->repetition ||
        c == d->escape || c == d->subcomponent)
        return '\0';
    return c;
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
    if (n == 0 || !may_separate(e[0]))
        return wrong(err, 4, "no encoding characters behind the field separator");
    d->component = e[0];
    if (n > 1)
        d->repetition = role(d, e[1]);
    if (n == 3 && e[2] == '&') {
        d->subcomponent = role(d, e[2]);
        return LN_OK;
    }
    if (n > 2)
        d->escape = role(d, e[2]);
    size_t sub = n == 5 && d->escape && e[2] == e[3] ? 4 : 3;
    if (n > sub)
        d->subcomponent = role(d, e[sub]);
    if (n > 4 && sub == 3)
        d->truncation = role(d, e[4]);
    return LN_OK;
}

bool ln_delims_eq(const struct ln_delims *a, const struct ln_delims *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
