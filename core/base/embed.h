/* Lunate's own Lua, embedded as text (contrib/embed.sh makes the table). */
#ifndef LN_BASE_EMBED_H
#define LN_BASE_EMBED_H

#include <stddef.h>

struct ln_embedded {
    const char *name; /* module name, "lunate.cli.main"; NULL ends the table */
    const char *text;
    size_t len;
};

extern const struct ln_embedded ln_embedded[];

#endif
