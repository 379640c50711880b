#include "hub/conf.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum { CHANNELS_MAX = 20000, DESTS_MAX = 1000, ALLOW_MAX = 1000 };

static char *dup_span(struct ln_span s)
{
    return strndup(s.ptr ? s.ptr : "", s.len);
}

static void copy_span(char *out, size_t cap, struct ln_span s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    if (n)
        memcpy(out, s.ptr, n);
    out[n] = '\0';
}

static bool to_number(struct ln_span s, double *out)
{
    char text[64], *end;
    copy_span(text, sizeof text, s);
    if (s.len == 0 || s.len >= sizeof text)
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && *out == *out;
}

struct ln_conf *ln_conf_new(void)
{
    return calloc(1, sizeof(struct ln_conf));
}

static void channel_fini(struct ln_conf_channel *ch)
{
    free(ch->archive);
    free(ch->script);
    free(ch->error);
    for (unsigned i = 0; i < ch->nallow; i++)
        free(ch->allow[i]);
    free(ch->allow);
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
    for (unsigned i = 0; i < a->nallow; i++)
        free(a->allow[i]);
    free(a->allow);
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
    copy_span(ch->name, sizeof ch->name, name);
    return ch;
}

/* ---- settings ----------------------------------------------------------------------------------
 */

static bool set_number(double *out, struct ln_span v, double least, double most)
{
    double d;
    if (!to_number(v, &d) || d < least || d > most)
        return false;
    *out = d;
    return true;
}

static bool set_unsigned(unsigned *out, struct ln_span v, double most)
{
    double d = 0;
    if (v.len && !set_number(&d, v, 0, most))
        return false;
    *out = (unsigned)d;
    return true;
}

static bool set_port(int *out, struct ln_span v)
{
    double d;
    if (!set_number(&d, v, 1, 65535))
        return false;
    *out = (int)d;
    return true;
}

static bool set_choice(int *out, struct ln_span v, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (ln_span_is(v, names[i])) {
            *out = i;
            return true;
        }
    return false;
}

static bool set_policy(enum ln_reply_policy *out, struct ln_span v)
{
    static const char *const names[] = {"park", "retry", "stop", NULL};
    int i;
    if (!set_choice(&i, v, names))
        return false;
    *out = (enum ln_reply_policy)i;
    return true;
}

static bool set_list(char ***list, unsigned *n, struct ln_span v)
{
    while (v.len > 0) {
        const char *nl = memchr(v.ptr, '\n', v.len);
        size_t len = nl ? (size_t)(nl - v.ptr) : v.len;
        void *p = *n < ALLOW_MAX ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
        if (!p)
            return false;
        *list = p;
        if (!((*list)[*n] = strndup(v.ptr, len)))
            return false;
        (*n)++;
        size_t skip = nl ? len + 1 : len;
        v = ln_span(v.ptr + skip, v.len - skip);
    }
    return true;
}

static struct ln_conf_dest *dest_named(struct ln_conf_channel *ch, struct ln_span name)
{
    if (ch->ndest && ln_span_is(name, ch->dest[ch->ndest - 1].name))
        return &ch->dest[ch->ndest - 1]; /* settings of one destination come together */
    for (unsigned i = 0; i < ch->ndest; i++)
        if (ln_span_is(name, ch->dest[i].name))
            return &ch->dest[i];
    void *p = ch->ndest < DESTS_MAX && name.len && name.len < LN_CONF_NAME
                  ? realloc(ch->dest, (ch->ndest + 1) * sizeof *ch->dest)
                  : NULL;
    if (!p)
        return NULL;
    ch->dest = p;
    struct ln_conf_dest *d = &ch->dest[ch->ndest++];
    *d = (struct ln_conf_dest){
        .timeout_s = 10,
        .retry_first_s = 1,
        .retry_factor = 2,
        .retry_max_s = 60,
        .on_reply = {LN_POLICY_PARK, LN_POLICY_RETRY, LN_POLICY_PARK, LN_POLICY_RETRY}};
    copy_span(d->name, sizeof d->name, name);
    ln_conf_try_default(d);
    return d;
}

static bool set_dest(struct ln_conf_dest *d, const char *key, struct ln_span v)
{
    static const char *const kinds[] = {"mllp", "channel", NULL};
    static const char *const codes[] = {"AE", "AR", "CE", "CR", NULL};
    int i;
    if (strcmp(key, "kind") == 0) {
        if (!set_choice(&i, v, kinds))
            return false;
        d->to_channel = i == 1;
        return true;
    }
    if (strcmp(key, "to") == 0)
        return copy_span(d->to, sizeof d->to, v), v.len < sizeof d->to;
    if (strcmp(key, "host") == 0)
        return copy_span(d->host, sizeof d->host, v), v.len > 0 && v.len < sizeof d->host;
    if (strcmp(key, "port") == 0)
        return set_port(&d->port, v);
    if (strcmp(key, "timeout") == 0)
        return set_number(&d->timeout_s, v, 0.01, 86400);
    if (strcmp(key, "retry.first") == 0)
        return set_number(&d->retry_first_s, v, 0.001, 86400);
    if (strcmp(key, "retry.factor") == 0)
        return set_number(&d->retry_factor, v, 1, 100);
    if (strcmp(key, "retry.max") == 0)
        return set_number(&d->retry_max_s, v, 0.001, 86400);
    if (strcmp(key, "retry.attempts") == 0)
        return set_unsigned(&d->attempts, v, 1e9);
    if (strncmp(key, "retry.on.", 9) == 0)
        return ln_conf_try_set(d, key + 9, v);
    if (strcmp(key, "stop_after_parks") == 0)
        return set_unsigned(&d->stop_after_parks, v, 1e9);
    if (strncmp(key, "tls", 3) == 0)
        return ln_conf_tls_set(&d->tls, key + 3, v);
    if (strncmp(key, "on_reply.", 9) == 0)
        return set_choice(&i, ln_span_str(key + 9), codes) && set_policy(&d->on_reply[i], v);
    return true; /* a key of the script side */
}

static bool set_source(struct ln_conf_channel *ch, const char *key, struct ln_span v)
{
    static const char *const kinds[] = {"mllp", "channel", NULL};
    double d;
    int i;
    if (strcmp(key, "kind") == 0) {
        if (!set_choice(&i, v, kinds))
            return false;
        ch->from_channel = i == 1;
        return true;
    }
    if (strcmp(key, "host") == 0)
        return copy_span(ch->host, sizeof ch->host, v), v.len > 0 && v.len < sizeof ch->host;
    if (strcmp(key, "port") == 0)
        return set_port(&ch->port, v);
    if (strcmp(key, "idle_timeout") == 0)
        return v.len == 0 || set_number(&ch->idle_s, v, 0, 1e9);
    if (strcmp(key, "max_message") == 0) {
        if (!set_number(&d, v, 1, 500e6))
            return false;
        ch->max_message = (uint64_t)d;
        return true;
    }
    if (strcmp(key, "duplicates") == 0) {
        static const char *const modes[] = {"process", "ack", "flag", NULL};
        if (!set_choice(&i, v, modes))
            return false;
        ch->duplicates = (enum ln_duplicates)i;
        return true;
    }
    if (strcmp(key, "duplicate_window") == 0)
        return set_number(&ch->duplicate_window_s, v, 0, 1e9);
    if (strcmp(key, "max_connections_per_address") == 0)
        return set_unsigned(&ch->max_per_address, v, 1e6);
    if (strcmp(key, "frame_timeout") == 0)
        return set_number(&ch->frame_s, v, 0.1, 86400);
    if (strcmp(key, "max_connections") == 0)
        return set_unsigned(&ch->max_connections, v, 1e6);
    if (strncmp(key, "tls", 3) == 0)
        return ln_conf_tls_set(&ch->tls, key + 3, v);
    if (strcmp(key, "allow") == 0)
        return set_list(&ch->allow, &ch->nallow, v);
    if (strcmp(key, "charset") == 0)
        return ln_charset_policy_read(v, &ch->charset, NULL) == LN_OK;
    return true;
}

static bool set_channel(struct ln_conf_channel *ch, const char *key, struct ln_span v)
{
    static const char *const acks[] = {"commit", "transform", "delivery", "none", NULL};
    static const char *const errors[] = {"park", "stop", NULL};
    double d;
    int i;
    if (strncmp(key, "source.", 7) == 0)
        return set_source(ch, key + 7, v);
    if (strncmp(key, "dest.", 5) == 0) {
        const char *dot = strchr(key + 5, '.');
        struct ln_conf_dest *dest =
            dot ? dest_named(ch, ln_span(key + 5, (size_t)(dot - key - 5))) : NULL;
        return dest && set_dest(dest, dot + 1, v);
    }
    if (strcmp(key, "ack") == 0) {
        if (!set_choice(&i, v, acks))
            return false;
        ch->ack = (enum ln_ack_mode)i;
        return true;
    }
    if (strcmp(key, "on_error") == 0) {
        if (!set_choice(&i, v, errors))
            return false;
        ch->stop_on_error = i == 1;
        return true;
    }
    if (strcmp(key, "jit") == 0)
        return ch->jit = ln_span_is(v, "true"), true;
    if (strcmp(key, "limits.seconds") == 0)
        return set_number(&ch->seconds, v, 0.01, 86400);
    if (strcmp(key, "limits.memory_mb") == 0)
        return set_unsigned(&ch->memory_mb, v, 1e6);
    if (strcmp(key, "limits.attempts") == 0)
        return set_unsigned(&ch->attempts, v, 1000);
    if (strcmp(key, "archive") == 0) {
        free(ch->archive);
        ch->archive = v.len ? dup_span(v) : NULL;
        return v.len == 0 || ch->archive;
    }
    if (strcmp(key, "retention.days") == 0)
        return v.len == 0 || set_number(&ch->retain_days, v, 0, 1e6);
    if (strcmp(key, "retention.mb") == 0) {
        if (v.len && !set_number(&d, v, 0, 1e12))
            return false;
        ch->retain_mb = v.len ? (uint64_t)d : 0;
        return true;
    }
    return true;
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
    copy_span(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_conf_channel *ch = ln_conf_find(c, name);
    if (!ch)
        return ln_err_set(err, LN_EPARSE, "settings for a channel that was not announced");
    ln_blob_unref(ch->settings);
    ch->settings = ln_blob_new(ln_span(in->ptr, (size_t)(in->end - in->ptr)));
    ch->settings64 = fnv1a(14695981039346656037u ^ ch->secret64, in->ptr, in->end);
    while (!in->bad && in->ptr < in->end) {
        struct ln_span k = ln_wire_get_bytes(in), v = ln_wire_get_bytes(in);
        copy_span(key, sizeof key, k);
        if (in->bad || !set_channel(ch, key, v))
            return ln_err_set(err, LN_EPARSE, "channel %s: setting %s has no usable value", name,
                              in->bad ? "?" : key);
    }
    return in->bad ? LN_EPARSE : LN_OK;
}

/* ---- records ------------------------------------------------------------------------------------
 */

static bool set_admin(struct ln_conf_admin *a, struct ln_span key, struct ln_span v)
{
    if (ln_span_is(key, "admin.host"))
        return copy_span(a->host, sizeof a->host, v), v.len > 0 && v.len < sizeof a->host;
    if (ln_span_is(key, "admin.port"))
        return set_port(&a->port, v);
    return !ln_span_is(key, "admin.allow") || set_list(&a->allow, &a->nallow, v);
}

static bool set_access(struct ln_access *a, struct ln_span key, struct ln_span v)
{
    if (ln_span_is(key, "access.grants")) {
        while (v.len > 0) {
            const char *nl = memchr(v.ptr, '\n', v.len);
            size_t len = nl ? (size_t)(nl - v.ptr) : v.len;
            if (len && ln_access_add(a, ln_span(v.ptr, len)) != LN_OK)
                return false;
            len += nl != NULL;
            v = ln_span(v.ptr + len, v.len - len);
        }
        return true;
    }
    if (ln_span_is(key, "access.glass_role"))
        return (a->glass_role = ln_role_of(v)) != LN_ROLE_NONE;
    if (ln_span_is(key, "access.glass_minutes"))
        return set_unsigned(&a->glass_minutes, v, 1440);
    if (ln_span_is(key, "access.http_token"))
        return a->http_token = ln_span_is(v, "true"), true;
    if (ln_span_is(key, "access.socket")) {
        free(a->socket);
        a->socket = v.len ? dup_span(v) : NULL;
    }
    return true;
}

static int take_site(struct ln_conf *c, struct ln_wire_in *in)
{
    ln_blob_unref(c->settings);
    c->settings = ln_blob_new(ln_span(in->ptr, (size_t)(in->end - in->ptr)));
    while (!in->bad && in->ptr < in->end) {
        struct ln_span k = ln_wire_get_bytes(in), v = ln_wire_get_bytes(in);
        if (k.len > 6 && memcmp(k.ptr, "admin.", 6) == 0 && !set_admin(&c->admin, k, v))
            return LN_EPARSE;
        if (k.len > 7 && memcmp(k.ptr, "access.", 7) == 0 && !set_access(&c->access, k, v))
            return LN_EPARSE;
        char **to = ln_span_is(k, "data")                     ? &c->data
                    : ln_span_is(k, "log.level")              ? &c->log_level
                    : ln_span_is(k, "encryption.key_file")    ? &c->key_file
                    : ln_span_is(k, "encryption.key_command") ? &c->key_command
                                                              : NULL;
        if (to) {
            free(*to);
            *to = dup_span(v);
        }
        if (ln_span_is(k, "reload_tests"))
            c->reload_tests = ln_span_is(v, "true");
        else if (ln_span_is(k, "watch"))
            c->watch = ln_span_is(v, "true");
    }
    return in->bad ? LN_EPARSE : LN_OK;
}

static int take_error(struct ln_conf *c, struct ln_wire_in *in)
{
    char name[LN_CONF_NAME];
    copy_span(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_span text = ln_wire_get_bytes(in);
    struct ln_conf_channel *ch = name[0] ? ln_conf_find(c, name) : NULL;
    if (in->bad)
        return LN_EPARSE;
    char **to = ch ? &ch->error : &c->error;
    if (!*to) /* the first one is the cause */
        *to = dup_span(text);
    return LN_OK;
}

static int take_file(struct ln_conf *c, bool shared, struct ln_wire_in *in)
{
    struct ln_span path = ln_wire_get_bytes(in), content = ln_wire_get_bytes(in);
    if (in->bad || (!shared && c->nchannel == 0))
        return LN_EPARSE;
    struct ln_blob *b = ln_blob_new(content);
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
    copy_span(name, sizeof name, ln_wire_get_bytes(in));
    struct ln_conf_channel *ch = ln_conf_find(c, name);
    if (!ch)
        return LN_EPARSE;
    ch->tls64 = fnv1a(ch->tls64, in->ptr, in->end);
    ch->settings64 = fnv1a(ch->settings64, in->ptr, in->end);
    copy_span(key, sizeof key, ln_wire_get_bytes(in));
    struct ln_span path = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    if (in->bad)
        return LN_EPARSE;
    if (strncmp(key, "source.tls", 10) == 0)
        return ln_conf_tls_take(&ch->tls, key + 10, path, text);
    const char *dot = strncmp(key, "dest.", 5) == 0 ? strchr(key + 5, '.') : NULL;
    if (!dot || strncmp(dot, ".tls", 4) != 0)
        return LN_EPARSE;
    struct ln_conf_dest *d = dest_named(ch, ln_span(key + 5, (size_t)(dot - key - 5)));
    return d ? ln_conf_tls_take(&d->tls, dot + 4, path, text) : LN_EPARSE;
}

static int take_warning(struct ln_wire_in *in)
{
    struct ln_span name = ln_wire_get_bytes(in), text = ln_wire_get_bytes(in);
    (void)ln_wire_get_bytes(in);
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
            ch->script = dup_span(ln_wire_get_bytes(in));
        rc = ch && !in->bad ? LN_OK : LN_EPARSE;
        break;
    case LN_P_TLS: rc = take_tls(c, in); break;
    case LN_P_WARNING: rc = take_warning(in); break;
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

static int version_of(struct ln_conf_channel *ch)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (unsigned i = 0; ok && i < ch->nfile; i++) {
        const struct ln_conf_file *f = &ch->file[i];
        uint64_t len = f->content->len;
        ok = EVP_DigestUpdate(ctx, f->path, strlen(f->path) + 1) &&
             EVP_DigestUpdate(ctx, &len, sizeof len) &&
             EVP_DigestUpdate(ctx, f->content->data, len);
    }
    ok = ok && EVP_DigestFinal_ex(ctx, md, &n) && n == 32;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return LN_EIO;
    ch->version64 = 0;
    for (unsigned i = 0; i < 8; i++)
        ch->version64 = ch->version64 << 8 | md[i];
    for (unsigned i = 0; i < 32; i++)
        snprintf(ch->version + 2 * i, 3, "%02x", md[i]);
    return LN_OK;
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

int ln_conf_pin(struct ln_conf *c, struct ln_pin *p)
{
    void *to = realloc(c->pin, (c->npin + 1) * sizeof *c->pin);
    if (!to)
        return LN_ENOMEM;
    c->pin = to;
    c->pin[c->npin++] = ln_pin_ref(p);
    return LN_OK;
}

static struct ln_pin *pin_of(const struct ln_conf *c, const char *name)
{
    for (unsigned i = 0; i < c->npin; i++)
        if (strcmp(c->pin[i]->channel, name) == 0)
            return c->pin[i];
    return NULL;
}

/* What the loader read from disk gives way to what the pin has, unless it is the same. */
static int take_pin(struct ln_conf_channel *ch, struct ln_pin *p)
{
    if (ch->version64 == p->id)
        return LN_OK;
    struct ln_conf_file *file = NULL;
    unsigned n = 0;
    int rc = LN_OK;
    for (unsigned i = 0; i < p->nfile && rc == LN_OK; i++)
        rc = ln_conf_file_add(&file, &n, ln_span_str(p->file[i].path),
                              ln_blob_ref(p->file[i].content));
    ln_conf_files_free(ch->file, ch->nfile);
    ch->file = file;
    ch->nfile = n;
    ch->pin = ln_pin_ref(p);
    snprintf(ch->disk, sizeof ch->disk, "%s", ch->version);
    return rc == LN_OK ? version_of(ch) : rc;
}

static int finish_files(struct ln_conf *c, struct ln_conf_channel *ch)
{
    struct ln_pin *p = pin_of(c, ch->name);
    char text[700];
    int rc = LN_OK;
    for (unsigned k = 0; k < c->nshared && rc == LN_OK; k++) {
        const struct ln_conf_file *f = &c->shared[k];
        rc = ln_conf_file_add(&ch->file, &ch->nfile, ln_span_str(f->path), ln_blob_ref(f->content));
    }
    if (rc == LN_OK)
        rc = version_of(ch);
    if (rc == LN_OK && p && !p->broken[0])
        rc = take_pin(ch, p);
    if (rc != LN_OK || !p || ch->version64 == p->id)
        return rc;
    snprintf(text, sizeof text,
             "it was rolled back to %.6s, which cannot be read from the store (%s): lunate reload "
             "%s runs the files on disk",
             p->version, p->broken[0] ? p->broken : "other bytes than were put", ch->name);
    ch->error = strdup(text);
    return LN_OK;
}

int ln_conf_finish(struct ln_conf *c)
{
    ln_tls_forget_system();
    for (unsigned i = 0; i < c->nchannel; i++) {
        struct ln_conf_channel *ch = &c->channel[i];
        if (ch->error)
            continue;
        if (finish_files(c, ch) != LN_OK)
            return LN_ENOMEM;
        make_tls(ch);
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
