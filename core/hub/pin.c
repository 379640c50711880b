#include "hub/pin.h"

#include <stdlib.h>
#include <stdio.h>

enum { FILES_MAX = 20000 };
/* Of pinned files, each content once: a record has LN_WIRE_MAX, and the loader holds them all. */
static const size_t ROOM = (size_t)480 << 20;

void ln_conf_files_free(struct ln_conf_file *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(f[i].path);
        ln_content_unref(f[i].content);
    }
    free(f);
}

int ln_conf_file_add(struct ln_conf_file **list, unsigned *n, struct ln_span path,
                     struct ln_content *content)
{
    void *p = *n < FILES_MAX ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
    char *name = ln_span_dup(path);
    if (p)
        *list = p;
    if (!p || !name || !content) {
        free(name);
        ln_content_unref(content);
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

int ln_pin_add(struct ln_pin *p, struct ln_span path, struct ln_content *content)
{
    return ln_conf_file_add(&p->file, &p->nfile, path, content);
}

struct ln_pin *ln_pin_find(const struct ln_pins *list, const char *channel)
{
    struct ln_pin *p;
    LIST_FOREACH (p, list, link)
        if (strcmp(p->channel, channel) == 0)
            return p;
    return NULL;
}

/* ---- for the loader ------------------------------------------------------------------------ */

static bool is_meant(const struct ln_pin *p, const char *except)
{
    return !p->broken[0] && (!except || strcmp(p->channel, except) != 0);
}

/* What p adds to the bytes that others have marked already. */
static size_t adds(const struct ln_pin *p)
{
    size_t n = 0;
    for (unsigned i = 0; i < p->nfile; i++)
        if (!p->file[i].content->mark)
            n += p->file[i].content->len + 4;
    return n;
}

static void set_marks(const struct ln_pin *p, uint32_t mark)
{
    for (unsigned i = 0; i < p->nfile; i++)
        p->file[i].content->mark = mark;
}

static void fit(struct ln_pin *p, size_t *used)
{
    size_t more = adds(p);
    p->left_out = more > ROOM - *used;
    if (p->left_out)
        return;
    *used += more;
    set_marks(p, 1);
}

void ln_pin_fit(const struct ln_pins *list, const char *except, struct ln_pin *instead)
{
    struct ln_pin *p;
    size_t used = 0;
    LIST_FOREACH (p, list, link)
        set_marks(p, 0);
    if (instead) {
        set_marks(instead, 0);
        fit(instead, &used);
    }
    LIST_FOREACH (p, list, link)
        if (is_meant(p, except))
            fit(p, &used);
}

/* The contents that no pin before has had, numbered from 1 by their marks. */
static void write_contents(const struct ln_pin *p, uint32_t *n, struct ln_buf *out)
{
    for (unsigned i = 0; i < p->nfile; i++) {
        struct ln_content *c = p->file[i].content;
        if (c->mark)
            continue;
        c->mark = ++*n;
        ln_wire_bytes(out, ln_content_span(c));
    }
}

static void write_names(const struct ln_pin *p, struct ln_buf *out)
{
    ln_wire_bytes(out, ln_span_str(p->channel));
    ln_wire_u32(out, p->nfile);
    for (unsigned i = 0; i < p->nfile; i++) {
        ln_wire_bytes(out, ln_span_str(p->file[i].path));
        ln_wire_u32(out, p->file[i].content->mark - 1);
    }
}

static void put_u32(struct ln_buf *out, size_t at, uint32_t v)
{
    for (int i = 0; i < 4 && !out->failed; i++)
        out->data[at + (size_t)i] = (char)(v >> (8 * i));
}

void ln_pin_write(const struct ln_pins *list, const char *except, const struct ln_pin *instead,
                  struct ln_buf *out)
{
    const struct ln_pin *p;
    uint32_t n = 0, pins = 0;
    size_t at = out->len;
    ln_wire_u32(out, 0);
    LIST_FOREACH (p, list, link)
        set_marks(p, 0);
    if (instead)
        set_marks(instead, 0);
    if (instead && !instead->left_out) {
        write_contents(instead, &n, out);
        pins++;
    }
    LIST_FOREACH (p, list, link)
        if (is_meant(p, except) && !p->left_out) {
            write_contents(p, &n, out);
            pins++;
        }
    put_u32(out, at, n);
    ln_wire_u32(out, pins);
    if (instead && !instead->left_out)
        write_names(instead, out);
    LIST_FOREACH (p, list, link)
        if (is_meant(p, except) && !p->left_out)
            write_names(p, out);
}
