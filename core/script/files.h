/* The site's files as handed over: the only ones that a script's require and lookup see. */
#ifndef LN_SCRIPT_FILES_H
#define LN_SCRIPT_FILES_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

struct ln_file {
    char *path; /* relative to the site: "lib/names.lua" */
    char *data;
    size_t len;
    bool lent;
};

struct ln_files {
    struct ln_file *list; /* in the order they came */
    size_t n, cap;
};

/* Copies; a path that is there already gets the new content. */
int ln_files_add(struct ln_files *f, struct ln_span path, struct ln_span data) LN_MUST;
/* The same without a copy: data lasts, and has a NUL behind it. */
int ln_files_lend(struct ln_files *f, struct ln_span path, struct ln_span data) LN_MUST;
/* NULL when it is not there. */
const struct ln_file *ln_files_get(const struct ln_files *f, const char *path);
void ln_files_fini(struct ln_files *f);

#endif
