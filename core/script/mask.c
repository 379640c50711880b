#include "script/mask.h"

static const char folder[] = "secrets/";

/* The first place at or after `from` where a secret's value stands, and which; the longest of those
 * that begin there. */
static const char *find(const struct ln_files *f, const char *from, const char *end,
                        const struct ln_file **which)
{
    const char *first = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const struct ln_file *s = &f->list[i];
        if (s->len < LN_SECRET_MIN || strncmp(s->path, folder, sizeof folder - 1) != 0)
            continue;
        const char *at = memmem(from, (size_t)(end - from), s->data, s->len);
        if (at && (!first || at < first || (at == first && s->len > (*which)->len))) {
            first = at;
            *which = s;
        }
    }
    return first;
}

struct ln_span ln_mask(const struct ln_files *f, struct ln_span text, struct ln_buf *tmp)
{
    const struct ln_file *s = NULL;
    if (text.len < LN_SECRET_MIN)
        return text;
    const char *from = text.ptr, *end = text.ptr + text.len, *at = find(f, from, end, &s);
    if (!at)
        return text;
    ln_buf_clear(tmp, 4096);
    int rc = LN_OK;
    for (; at && rc == LN_OK; at = find(f, from, end, &s)) {
        rc = ln_buf_add(tmp, from, (size_t)(at - from));
        if (rc == LN_OK)
            rc = ln_buf_addf(tmp, "(secret %s)", s->path + sizeof folder - 1);
        from = at + s->len;
    }
    if (rc == LN_OK)
        rc = ln_buf_add(tmp, from, (size_t)(end - from));
    return rc == LN_OK ? ln_buf_span(tmp) : ln_span("", 0);
}
