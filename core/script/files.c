#include "script/files.h"

#include <stdlib.h>

static char *copy(struct ln_span s)
{
    char *p = malloc(s.len + 1);
    if (!p)
        return NULL;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

static int grow(struct ln_files *f)
{
    if (f->n < f->cap)
        return LN_OK;
    size_t cap = f->cap ? f->cap * 2 : 16;
    struct ln_file *list = realloc(f->list, cap * sizeof *list);
    if (!list)
        return LN_ENOMEM;
    f->list = list;
    f->cap = cap;
    return LN_OK;
}

int ln_files_add(struct ln_files *f, struct ln_span path, struct ln_span data)
{
    if (path.len == 0 || memchr(path.ptr, '\0', path.len))
        return LN_EINVAL;
    char *p = copy(path), *d = copy(data);
    if (!p || !d || grow(f) != LN_OK) {
        free(p);
        free(d);
        return LN_ENOMEM;
    }
    struct ln_file *old = (struct ln_file *)ln_files_get(f, p);
    if (old) {
        free(old->path);
        free(old->data);
    } else {
        old = &f->list[f->n++];
    }
    *old = (struct ln_file){p, d, data.len};
    return LN_OK;
}

const struct ln_file *ln_files_get(const struct ln_files *f, const char *path)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->list[i].path, path) == 0)
            return &f->list[i];
    return NULL;
}

void ln_files_fini(struct ln_files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->list[i].path);
        free(f->list[i].data);
    }
    free(f->list);
    *f = (struct ln_files){0};
}
