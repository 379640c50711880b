#include "hub/conf_tls.h"

#include <openssl/crypto.h>
#include <stdio.h>

enum { ALLOW_MAX = 1000 };
static const char *const file_keys[LN_TLS_FILES] = {".cert", ".key", ".ca", ".crl"};

bool ln_conf_tls_set(struct ln_conf_tls *t, const char *key, struct ln_span v)
{
    static const char *const clients[] = {"none", "request", "require"};
    if (!*key)
        return t->on = ln_span_is(v, "true"), true;
    if (strcmp(key, ".min_version") == 0)
        return t->tls13 = ln_span_is(v, "1.3"), true;
    if (strcmp(key, ".verify") == 0)
        return t->insecure = ln_span_is(v, "false"), true;
    if (strcmp(key, ".server_name") == 0) {
        snprintf(t->server_name, sizeof t->server_name, "%.*s", (int)v.len, v.len ? v.ptr : "");
        return v.len < sizeof t->server_name;
    }
    if (strcmp(key, ".allow_subject") == 0) {
        free(t->allow);
        t->allow = ln_span_dup(v);
        return t->allow != NULL;
    }
    for (int i = 0; strcmp(key, ".client") == 0; i++) {
        if (i == 3)
            return false;
        if (ln_span_is(v, clients[i]))
            return t->client = (enum ln_tls_client)i, true;
    }
    return true; /* paths come with their files */
}

int ln_conf_tls_take(struct ln_conf_tls *t, const char *key, struct ln_span path,
                     struct ln_span text)
{
    for (int i = 0; i < LN_TLS_FILES; i++) {
        if (strcmp(key, file_keys[i]) != 0)
            continue;
        if (t->file[i].path)
            return LN_EPARSE;
        t->file[i].path = ln_span_dup(path);
        t->file[i].text = ln_content_new(text);
        return t->file[i].path && t->file[i].text ? LN_OK : LN_ENOMEM;
    }
    return LN_EPARSE;
}

static void drop_files(struct ln_conf_tls *t)
{
    for (int i = 0; i < LN_TLS_FILES; i++) {
        struct ln_content *b = t->file[i].text;
        if (b)
            OPENSSL_cleanse(b->data, b->len);
        ln_content_unref(b);
        free(t->file[i].path);
        t->file[i].text = NULL;
        t->file[i].path = NULL;
    }
}

static unsigned split(char *lines, const char **list)
{
    unsigned n = 0;
    for (char *word = strtok(lines, "\n"); word && n < ALLOW_MAX; word = strtok(NULL, "\n"))
        list[n++] = word;
    return n;
}

int ln_conf_tls_make(struct ln_conf_tls *t, bool server, struct ln_err *err)
{
    static const char *allow[ALLOW_MAX];
    struct ln_tls_options opt = {.server = server,
                                 .client = t->client,
                                 .tls13 = t->tls13,
                                 .insecure = t->insecure,
                                 .server_name = t->server_name};
    struct ln_tls_file *const files[LN_TLS_FILES] = {&opt.cert, &opt.key, &opt.ca, &opt.crl};
    if (!t->on)
        return LN_OK;
    for (int i = 0; i < LN_TLS_FILES; i++)
        if (t->file[i].text)
            *files[i] = (struct ln_tls_file){t->file[i].path, ln_content_span(t->file[i].text)};
    if (t->allow)
        opt.nallow = split(t->allow, allow);
    opt.allow = allow;
    if (server && !opt.cert.text.ptr) /* a listener in clear must never come of it */
        return ln_err_set(err, LN_EINVAL, "tls without a certificate");
    int rc = ln_tls_new(&opt, &t->made, err);
    drop_files(t);
    return rc;
}

void ln_conf_tls_fini(struct ln_conf_tls *t)
{
    drop_files(t);
    free(t->allow);
    ln_tls_unref(t->made);
    *t = (struct ln_conf_tls){0};
}
