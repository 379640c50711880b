#include "script/files.h"

#include <stdint.h>
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

static void drop(struct ln_file *file)
{
    free(file->path);
    if (!file->lent)
        free(file->data);
}

/* Takes d, unless it is lent. */
static int add(struct ln_files *f, struct ln_span path, char *d, size_t len, bool lent)
{
    bool bad = path.len == 0 || memchr(path.ptr, '\0', path.len);
    struct ln_file file = {bad ? NULL : copy(path), d, len, lent};
    if (!file.path || !d || grow(f) != LN_OK) {
        drop(&file);
        return bad ? LN_EINVAL : LN_ENOMEM;
    }
    struct ln_file *old = (struct ln_file *)ln_files_get(f, file.path);
    if (old)
        drop(old);
    else
        old = &f->list[f->n++];
    *old = file;
    return LN_OK;
}

int ln_files_add(struct ln_files *f, struct ln_span path, struct ln_span data)
{
    return add(f, path, copy(data), data.len, false);
}

int ln_files_lend(struct ln_files *f, struct ln_span path, struct ln_span data)
{
    return add(f, path, (char *)(uintptr_t)data.ptr, data.len, true);
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
    for (size_t i = 0; i < f->n; i++)
        drop(&f->list[i]);
    free(f->list);
    *f = (struct ln_files){0};
}
