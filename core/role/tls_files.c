#include "role/tls_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum { FILE_MAX = 16 << 20 };

static int read_file(const char *path, struct ln_buf *b, struct ln_err *err)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "re");
    if (!f)
        return ln_err_set(err, ln_code_from_errno(errno), "%s: %s", path, strerror(errno));
    while ((n = fread(part, 1, sizeof part, f)) > 0 && b->len < FILE_MAX)
        ln_buf_add(b, part, n);
    bool bad = ferror(f) || b->failed || n > 0;
    fclose(f);
    return bad ? ln_err_set(err, LN_EIO, "%s: cannot be read", path) : LN_OK;
}

int ln_tls_from_files(const struct ln_tls_files *f, bool server, struct ln_tls **out,
                      struct ln_err *err)
{
    struct ln_tls_options opt = {.server = server,
                                 .insecure = f->insecure,
                                 .tls13 = f->tls13,
                                 .server_name = f->server_name,
                                 .client = f->ca ? LN_TLS_CLIENT_REQUIRE : LN_TLS_CLIENT_NONE};
    const char *paths[] = {f->cert, f->cert && !f->key ? f->cert : f->key, f->ca, f->crl};
    struct ln_tls_file *const files[] = {&opt.cert, &opt.key, &opt.ca, &opt.crl};
    struct ln_buf text[4] = {0};
    int rc = LN_OK;
    for (int i = 0; i < 4 && rc == LN_OK; i++) {
        if (!paths[i])
            continue;
        rc = read_file(paths[i], &text[i], err);
        *files[i] =
            (struct ln_tls_file){paths[i], ln_span(text[i].data ? text[i].data : "", text[i].len)};
    }
    if (rc == LN_OK)
        rc = ln_tls_new(&opt, out, err);
    for (int i = 0; i < 4; i++) {
        if (text[i].data)
            explicit_bzero(text[i].data, text[i].len);
        ln_buf_fini(&text[i]);
    }
    return rc;
}
