/* Paths: whatever is accepted, printed again, reads as the same. */
#include <stdio.h>
#include <stdlib.h>

#include "hl7/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_index(char **at, char *end, uint32_t n)
{
    if (n == LN_PATH_ALL)
        *at += snprintf(*at, (size_t)(end - *at), "[*]");
    else if (n)
        *at += snprintf(*at, (size_t)(end - *at), "[%u]", n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ln_path p, again;
    struct ln_err err = {0};
    char text[128], *at = text, *end = text + sizeof text;
    struct ln_span in = ln_span((const char *)data, size);
    if (ln_path_parse_field(in, &p, &err) == LN_OK && !p.field)
        abort();
    if (ln_path_parse(in, &p, &err)) {
        if (err.code != LN_EINVAL || err.offset > size)
            abort();
        return 0;
    }
    at += snprintf(at, (size_t)(end - at), "%s", p.name);
    print_index(&at, end, p.segment);
    if (p.field)
        at += snprintf(at, (size_t)(end - at), "-%u", p.field);
    print_index(&at, end, p.repetition);
    if (p.component)
        at += snprintf(at, (size_t)(end - at), ".%u", p.component);
    if (p.subcomponent)
        at += snprintf(at, (size_t)(end - at), ".%u", p.subcomponent);
    if (ln_path_parse(ln_span(text, (size_t)(at - text)), &again, &err) ||
        strcmp(p.name, again.name) != 0 || p.segment != again.segment || p.field != again.field ||
        p.repetition != again.repetition || p.component != again.component ||
        p.subcomponent != again.subcomponent)
        abort();
    return 0;
}
