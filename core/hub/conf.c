#include "hub/conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum { CHANNELS_MAX = 20000, MISTAKES_MAX = 16 * 1024 };

struct ln_conf *ln_conf_new(void)
{
    return calloc(1, sizeof(struct ln_conf));
}

static void free_list(char **list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static void channel_fini(struct ln_conf_channel *ch)
{
    free(ch->archive);
    free(ch->script);
    free(ch->error);
    free_list(ch->allow, ch->nallow);
    free_list(ch->read, ch->nread);
    free_list(ch->reach, ch->nreach);
    free(ch->ca);
    for (unsigned i = 0; i < ch->ndest; i++)
        ln_conf_tls_fini(&ch->dest[i].tls);
    ln_conf_tls_fini(&ch->tls);
    free(ch->dest);
    ln_blob_unref(ch->settings);
    ln_conf_files_free(ch->file, ch->nfile);
    ln_conf_files_free(ch->secret, ch->nsecret);
    ln_pin_unref(ch->pin);
}

void ln_conf_channel_free(struct ln_conf_channel *ch)
{
    if (ch) {
        channel_fini(ch);
        free(ch);
    }
}

void ln_conf_admin_fini(struct ln_conf_admin *a)
{
    free_list(a->allow, a->nallow);
    ln_conf_tls_fini(&a->tls);
}

void ln_conf_free(struct ln_conf *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->nchannel; i++)
        channel_fini(&c->channel[i]);
    free(c->channel);
    ln_conf_files_free(c->shared, c->nshared);
    for (unsigned i = 0; i < c->npin; i++)
        ln_pin_unref(c->pin[i]);
    free(c->pin);
    free(c->data);
    ln_blob_unref(c->settings);
    free(c->log_level);
    free(c->key_file);
    free(c->key_command);
    ln_conf_admin_fini(&c->admin);
    ln_access_fini(&c->access);
    free(c->error);
    ln_buf_fini(&c->mistakes);
    free(c);
}

struct ln_conf_channel *ln_conf_find(struct ln_conf *c, const char *name)
{
    for (unsigned i = 0; i < c->nchannel; i++)
        if (strcmp(c->channel[i].name, name) == 0)
            return &c->channel[i];
    return NULL;
}

struct ln_conf_channel *ln_conf_take_channel(struct ln_conf *c, const char *name)
{
    struct ln_conf_channel *ch = ln_conf_find(c, name), *own = malloc(sizeof *own);
    if (!ch || !own) {
        free(own);
        return NULL;
    }
    *own = *ch;
    *ch = (struct ln_conf_channel){.name = ""};
    return own;
}

static struct ln_conf_channel *add_channel(struct ln_conf *c, struct ln_span name)
{
    if (name.len == 0 || name.len >= LN_CONF_NAME || c->nchannel >= CHANNELS_MAX)
        return NULL;
    void *p = realloc(c->channel, (c->nchannel + 1) * sizeof *c->channel);
    if (!p)
        return NULL;
    c->channel = p;
    struct ln_conf_channel *ch = &c->channel[c->nchannel++];
    *ch = (struct ln_conf_channel){.host = "127.0.0.1",
                                   .max_message = 50u << 20,
                                   .max_connections = 1000,
                                   .frame_s = 60,
                                   .seconds = 5,
                                   .memory_mb = 128,
                                   .attempts = 3};
    ln_span_copy(ch->name, sizeof ch->name, name);
    return ch;
}

static uint64_t fnv1a(uint64_t h, const char *p, const char *end)
{
    for (; p < end; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    return h;
}

static int take_settings(struct ln_conf *c, struct ln_wire_in *in, struct ln_err *err)
{
    char name[LN_CONF_NAME], key[256];
    ln_span_copy(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_conf_channel *ch = ln_conf_find(c, name);
    if (!ch)
        return ln_err_set(err, LN_EPARSE, "settings for a channel that was not announced");
    ln_blob_unref(ch->settings);
    ch->settings = ln_blob_new(ln_span(in->ptr, (size_t)(in->end - in->ptr)));
    ch->settings64 = fnv1a(14695981039346656037u ^ ch->secret64, in->ptr, in->end);
    while (!in->bad && in->ptr < in->end) {
        struct ln_span k = ln_wire_get_bytes(in), v = ln_wire_get_bytes(in);
        ln_span_copy(key, sizeof key, k);
        if (in->bad || !ln_conf_set_channel(ch, key, v))
            return ln_err_set(err, LN_EPARSE, "channel %s: setting %s has no usable value", name,
                              in->bad ? "?" : key);
    }
    return in->bad ? LN_EPARSE : LN_OK;
}

/* ---- records ------------------------------------------------------------------------------------
 */

static int take_site(struct ln_conf *c, struct ln_wire_in *in)
{
    ln_blob_unref(c->settings);
    c->settings = ln_blob_new(ln_span(in->ptr, (size_t)(in->end - in->ptr)));
    while (!in->bad && in->ptr < in->end) {
        struct ln_span k = ln_wire_get_bytes(in), v = ln_wire_get_bytes(in);
        if (in->bad || !ln_conf_set_site(c, k, v))
            return LN_EPARSE;
    }
    return in->bad ? LN_EPARSE : LN_OK;
}

static int take_error(struct ln_conf *c, struct ln_wire_in *in)
{
    char name[LN_CONF_NAME];
    ln_span_copy(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_span text = ln_wire_get_bytes(in);
    struct ln_conf_channel *ch = name[0] ? ln_conf_find(c, name) : NULL;
    if (in->bad)
        return LN_EPARSE;
    char **to = ch ? &ch->error : &c->error;
    if (!*to) /* the first one is the cause */
        *to = ln_span_dup(text);
    return LN_OK;
}

static int take_file(struct ln_conf *c, bool shared, struct ln_wire_in *in)
{
    struct ln_span path = ln_wire_get_bytes(in), content = ln_wire_get_bytes(in);
    if (in->bad || (!shared && c->nchannel == 0))
        return LN_EPARSE;
    struct ln_content *b = c->lent ? ln_content_adopt(c->lent, content) : ln_content_new(content);
    if (shared)
        return ln_conf_file_add(&c->shared, &c->nshared, path, b);
    struct ln_conf_channel *ch = &c->channel[c->nchannel - 1];
    if (path.len > 8 && memcmp(path.ptr, "secrets/", 8) == 0) {
        ch->secret64 = fnv1a(ch->secret64, path.ptr, in->end);
        return ln_conf_file_add(&ch->secret, &ch->nsecret, path, b);
    }
    return ln_conf_file_add(&ch->file, &ch->nfile, path, b);
}

/* A certificate, key or list; a renewed one counts as a change of the settings. */
static int take_tls(struct ln_conf *c, struct ln_wire_in *in)
{
    char name[LN_CONF_NAME], key[256];
    ln_span_copy(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_conf_channel *ch = ln_conf_find(c, name);
    if (!ch && name[0])
        return LN_EPARSE;
    if (ch) {
        ch->tls64 = fnv1a(ch->tls64, in->ptr, in->end);
        ch->settings64 = fnv1a(ch->settings64, in->ptr, in->end);
    }
    ln_span_copy(key, sizeof key, ln_wire_get_bytes(in));
    struct ln_span path = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    if (in->bad)
        return LN_EPARSE;
    if (!ch)
        return strncmp(key, "admin.tls", 9) == 0
                   ? ln_conf_tls_take(&c->admin.tls, key + 9, path, text)
                   : LN_EPARSE;
    if (strcmp(key, "allow.ca") == 0) {
        free(ch->ca);
        return (ch->ca = ln_span_dup(text)) ? LN_OK : LN_ENOMEM;
    }
    if (strncmp(key, "source.tls", 10) == 0)
        return ln_conf_tls_take(&ch->tls, key + 10, path, text);
    const char *dot = strncmp(key, "dest.", 5) == 0 ? strchr(key + 5, '.') : NULL;
    if (!dot || strncmp(dot, ".tls", 4) != 0)
        return LN_EPARSE;
    struct ln_conf_dest *d = ln_conf_dest_named(ch, ln_span(key + 5, (size_t)(dot - key - 5)));
    return d ? ln_conf_tls_take(&d->tls, dot + 4, path, text) : LN_EPARSE;
}

static int take_warning(struct ln_conf *c, struct ln_wire_in *in)
{
    struct ln_span name = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    struct ln_span kind = ln_wire_get_bytes(in);
    bool mistake = ln_span_is(kind, "true") || ln_span_is(kind, "soon");
    if (!in->bad && mistake && c->mistakes.len < MISTAKES_MAX) {
        size_t at = c->mistakes.len;
        ln_buf_addf(&c->mistakes, "%.*s%swarning: %.*s", (int)name.len, name.len ? name.ptr : "",
                    name.len ? ": " : "", (int)text.len, text.len ? text.ptr : "");
        for (; at < c->mistakes.len; at++)
            if ((unsigned char)c->mistakes.data[at] < 0x20) /* it is one line */
                c->mistakes.data[at] = ' ';
        ln_buf_addc(&c->mistakes, '\n');
    }
    if (!in->bad)
        ln_log(LN_WARN, "conf", "warning", "channel=%.*s text=\"%.*s\"", (int)name.len,
               name.len ? name.ptr : "", (int)text.len, text.len ? text.ptr : "");
    return in->bad ? LN_EPARSE : LN_OK;
}

int ln_conf_take(struct ln_conf *c, uint8_t type, struct ln_wire_in *in, struct ln_err *err)
{
    struct ln_conf_channel *ch;
    int rc;
    switch (type) {
    case LN_P_SITE: rc = take_site(c, in); break;
    case LN_P_BEGIN:
        ch = add_channel(c, ln_wire_get_bytes(in));
        if (ch)
            ch->script = ln_span_dup(ln_wire_get_bytes(in));
        rc = ch && !in->bad ? LN_OK : LN_EPARSE;
        break;
    case LN_P_TLS: rc = take_tls(c, in); break;
    case LN_P_WARNING: rc = take_warning(c, in); break;
    case LN_P_SETTINGS: return take_settings(c, in, err);
    case LN_P_ERROR: rc = take_error(c, in); break;
    case LN_P_FILE: rc = take_file(c, false, in); break;
    case LN_P_SHARED: rc = take_file(c, true, in); break;
    default: rc = LN_EPARSE; break;
    }
    if (rc != LN_OK)
        ln_err_set(err, rc, "record %d of the loader: %s", type, ln_strerror(rc));
    return rc;
}

static void make_tls(struct ln_conf_channel *ch)
{
    struct ln_err err = {0};
    char text[700];
    int rc = ln_conf_tls_make(&ch->tls, true, &err);
    const char *who = "source";
    for (unsigned i = 0; rc == LN_OK && i < ch->ndest; i++) {
        rc = ln_conf_tls_make(&ch->dest[i].tls, false, &err);
        who = ch->dest[i].name;
    }
    if (rc == LN_OK)
        return;
    snprintf(text, sizeof text, "%s: %s: %s", ch->script, who, err.text);
    ch->error = strdup(text);
}

/* A site runs without its admin address rather than not at all: what is wrong is kept. */
static void make_admin_tls(struct ln_conf_admin *a)
{
    struct ln_err err = {0};
    if (a->tls.on && !a->tls.file[LN_TLS_CERT].text) /* a warning has told */
        ln_err_set(&err, LN_ETLS, "its certificate or key cannot be used: lunate check says why");
    else if (ln_conf_tls_make(&a->tls, true, &err) == LN_OK)
        return;
    snprintf(a->no_tls, sizeof a->no_tls, "admin_tls: %.280s", err.text);
}

int ln_conf_pin(struct ln_conf *c, struct ln_pin *p)
{
    void *to = realloc(c->pin, (c->npin + 1) * sizeof *c->pin);
    if (!to)
        return LN_ENOMEM;
    c->pin = to;
    c->pin[c->npin++] = ln_pin_ref(p);
    return LN_OK;
}

int ln_conf_prepare(struct ln_conf *c)
{
    ln_tls_forget_system();
    make_admin_tls(&c->admin);
    for (unsigned i = 0; i < c->nchannel; i++) {
        if (!c->channel[i].error)
            make_tls(&c->channel[i]);
    }
    ln_conf_names(c);
    return ln_conf_files_prepare(c);
}

int ln_conf_finish(struct ln_conf *c)
{
    for (unsigned i = 0; i < c->nshared; i++)
        c->shared[i].content = ln_content_share(c->shared[i].content);
    for (unsigned i = 0; i < c->nchannel; i++) {
        struct ln_conf_channel *ch = &c->channel[i];
        if (ch->error)
            continue;
        if (ln_conf_files_finish(c, ch) != LN_OK)
            return LN_ENOMEM;
        for (unsigned k = 0; k < i && !ch->from_channel && !ch->error; k++) {
            struct ln_conf_channel *o = &c->channel[k];
            if (o->error || o->from_channel || o->port != ch->port ||
                strcmp(o->host, ch->host) != 0)
                continue;
            char text[300];
            snprintf(text, sizeof text, "%s: port %d is already taken by channel %s (%s)",
                     ch->script, ch->port, o->name, o->script);
            ch->error = strdup(text);
        }
    }
    return LN_OK;
}
