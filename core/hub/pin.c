#include "hub/pin.h"

#include <stdlib.h>
#include <stdio.h>

enum { FILES_MAX = 20000 };

void ln_conf_files_free(struct ln_conf_file *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(f[i].path);
        ln_blob_unref(f[i].content);
    }
    free(f);
}

int ln_conf_file_add(struct ln_conf_file **list, unsigned *n, struct ln_span path,
                     struct ln_blob *content)
{
    void *p = *n < FILES_MAX ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
    char *name = ln_span_dup(path);
    if (p)
        *list = p;
    if (!p || !name || !content) {
        free(name);
        ln_blob_unref(content);
        return LN_ENOMEM;
    }
    (*list)[(*n)++] = (struct ln_conf_file){name, content};
    return LN_OK;
}

struct ln_pin *ln_pin_new(const char *channel)
{
    struct ln_pin *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->refs = 1;
    snprintf(p->channel, sizeof p->channel, "%s", channel);
    return p;
}

struct ln_pin *ln_pin_ref(struct ln_pin *p)
{
    p->refs++;
    return p;
}

void ln_pin_unref(struct ln_pin *p)
{
    if (!p || --p->refs > 0)
        return;
    ln_conf_files_free(p->file, p->nfile);
    free(p);
}

int ln_pin_add(struct ln_pin *p, struct ln_span path, struct ln_span content)
{
    return ln_conf_file_add(&p->file, &p->nfile, path, ln_blob_new(content));
}

struct ln_pin *ln_pin_find(const struct ln_pins *list, const char *channel)
{
    struct ln_pin *p;
    LIST_FOREACH (p, list, link)
        if (strcmp(p->channel, channel) == 0)
            return p;
    return NULL;
}

static void write_one(const struct ln_pin *p, struct ln_buf *out)
{
    ln_wire_bytes(out, ln_span_str(p->channel));
    ln_wire_u32(out, p->nfile);
    for (unsigned i = 0; i < p->nfile; i++) {
        ln_wire_bytes(out, ln_span_str(p->file[i].path));
        ln_wire_bytes(out, ln_blob_span(p->file[i].content));
    }
}

static bool is_meant(const struct ln_pin *p, const char *except)
{
    return !p->broken[0] && (!except || strcmp(p->channel, except) != 0);
}

void ln_pin_write(const struct ln_pins *list, const char *except, const struct ln_pin *instead,
                  struct ln_buf *out)
{
    const struct ln_pin *p;
    uint32_t n = instead != NULL;
    LIST_FOREACH (p, list, link)
        n += is_meant(p, except);
    ln_wire_u32(out, n);
    if (instead)
        write_one(instead, out);
    LIST_FOREACH (p, list, link)
        if (is_meant(p, except))
            write_one(p, out);
}
