/* alert-send: sends one alert and ends: by mail or HTTPS with libcurl, or to a command. A process
 * per alert, so that a mail server that hangs holds up nothing, libcurl (and what it brings along)
 * is loaded here alone, and what talks to the network holds nothing but the one alert: it may read
 * files, but write none and start no program (ln_confine_sender). The alerter ends it when it takes
 * too long.
 *
 * Descriptor 3: REQUEST (pairs of name and value) in, REPLY out: status 0, or 1 and what failed. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/proc.h"
#include "ipc/proto.h"
#include "role/alert_send.h"
#include "role/confine.h"
#include "role/role.h"

enum { REQUEST_MAX = 1 << 20, FILE_MAX = 1 << 20 };

static struct {
    CURLcode (*global_init)(long);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_perform)(CURL *);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    const char *(*easy_strerror)(CURLcode);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
} c;

/* What the far end said last, and where reading of the mail is. */
static struct {
    char said[300], error[CURL_ERROR_SIZE];
    size_t answered; /* bytes; what they say may be of patients, and status shows it */
    const char *mail;
    size_t left;
} t;

const char *ln_alert_nth(const struct ln_alert *a, const char *name, unsigned nth)
{
    for (unsigned i = 0; i < a->n; i++)
        if (strcmp(a->name[i], name) == 0 && nth-- == 0)
            return a->value[i];
    return NULL;
}

const char *ln_alert_get(const struct ln_alert *a, const char *name)
{
    return ln_alert_nth(a, name, 0);
}

long ln_alert_timeout_s(const struct ln_alert *a)
{
    const char *text = ln_alert_get(a, "timeout");
    long s = text ? strtol(text, NULL, 10) : 0;
    return s > 0 && s < 3600 ? s : 30;
}

static int load_curl(struct ln_err *err)
{
    void *lib = dlopen("libcurl.so.4", RTLD_NOW);
    if (!lib)
        return ln_err_set(err, LN_ENOTFOUND,
                          "libcurl is not installed (Debian: apt install libcurl4): %.200s",
                          dlerror());
    *(void **)&c.global_init = dlsym(lib, "curl_global_init");
    *(void **)&c.easy_init = dlsym(lib, "curl_easy_init");
    *(void **)&c.easy_setopt = dlsym(lib, "curl_easy_setopt");
    *(void **)&c.easy_perform = dlsym(lib, "curl_easy_perform");
    *(void **)&c.easy_getinfo = dlsym(lib, "curl_easy_getinfo");
    *(void **)&c.easy_strerror = dlsym(lib, "curl_easy_strerror");
    *(void **)&c.slist_append = dlsym(lib, "curl_slist_append");
    if (!c.global_init || !c.easy_init || !c.easy_setopt || !c.easy_perform || !c.easy_getinfo ||
        !c.easy_strerror || !c.slist_append || c.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ln_err_set(err, LN_EVERSION, "libcurl.so.4 cannot be used");
    return LN_OK;
}

/* ---- callbacks --------------------------------------------------------------------------- */

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    size_t len = size * n < t.left ? size * n : t.left;
    (void)arg;
    memcpy(to, t.mail, len);
    t.mail += len;
    t.left -= len;
    return len;
}

static size_t on_write(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    (void)arg;
    t.answered += size * n;
    return size * n;
}

/* The server's lines; ours may hold the password and are not kept. */
static int on_debug(CURL *curl, curl_infotype kind, char *data, size_t len, void *arg)
{
    (void)curl;
    (void)arg;
    if (kind == CURLINFO_HEADER_IN && len > 3 && strncasecmp(data, "date:", 5) != 0)
        snprintf(t.said, sizeof t.said, "%.*s", (int)(len > 250 ? 250 : len), data);
    return 0;
}

/* ---- requests ---------------------------------------------------------------------------- */

static void lines(const char *text, struct curl_slist **list)
{
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        char *line = strndup(text, n);
        if (line)
            *list = c.slist_append(*list, line);
        free(line);
        text += n + (text[n] == '\n');
    }
}

static void set_common(CURL *curl, const struct ln_alert *a)
{
    struct curl_blob ca = {(void *)(uintptr_t)a->ca.data, a->ca.len, CURL_BLOB_COPY};
    c.easy_setopt(curl, CURLOPT_ERRORBUFFER, t.error);
    c.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    c.easy_setopt(curl, CURLOPT_TIMEOUT, ln_alert_timeout_s(a));
    c.easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    c.easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    c.easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_debug);
    c.easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    c.easy_setopt(curl, CURLOPT_URL, ln_alert_get(a, "url"));
    c.easy_setopt(curl, CURLOPT_USERAGENT, "lunate/" LN_VERSION);
    c.easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (ca.len)
        c.easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
}

static void set_mail(CURL *curl, const struct ln_alert *a)
{
    struct curl_slist *to = NULL;
    const char *tls = ln_alert_get(a, "tls"), *user = ln_alert_get(a, "user"),
               *password = ln_alert_get(a, "password");
    if (a->password.len)
        password = a->password.data;
    lines(ln_alert_get(a, "to"), &to);
    c.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    c.easy_setopt(curl, CURLOPT_USE_SSL,
                  tls && strcmp(tls, "none") == 0 ? (long)CURLUSESSL_NONE : (long)CURLUSESSL_ALL);
    c.easy_setopt(curl, CURLOPT_MAIL_FROM, ln_alert_get(a, "from"));
    c.easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    if (user)
        c.easy_setopt(curl, CURLOPT_USERNAME, user);
    if (password)
        c.easy_setopt(curl, CURLOPT_PASSWORD, password);
    t.mail = ln_alert_get(a, "body");
    t.left = strlen(t.mail);
    c.easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    c.easy_setopt(curl, CURLOPT_UPLOAD, 1L);
}

static void set_hook(CURL *curl, const struct ln_alert *a)
{
    struct curl_slist *headers = c.slist_append(NULL, "Content-Type: application/json");
    headers = c.slist_append(headers, "Expect:");
    lines(ln_alert_get(a, "headers"), &headers);
    c.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    c.easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    c.easy_setopt(curl, CURLOPT_POSTFIELDS, ln_alert_get(a, "body"));
}

static int transfer(const struct ln_alert *a, bool mail, struct ln_err *err)
{
    long code = 0;
    CURL *curl = c.easy_init();
    if (!curl)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    set_common(curl, a);
    if (mail)
        set_mail(curl, a);
    else
        set_hook(curl, a);
    CURLcode rc = c.easy_perform(curl);
    t.said[strcspn(t.said, "\r\n")] = '\0';
    const char *said = mail ? t.said : "";
    if (rc != CURLE_OK)
        return ln_err_set(err, LN_EIO, "%.250s%s%s%s", t.error[0] ? t.error : c.easy_strerror(rc),
                          *said ? " (the server said: " : "", said, *said ? ")" : "");
    c.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    if (!mail && (code < 200 || code > 299))
        return ln_err_set(err, LN_EIO, "answered with HTTP status %ld (and %zu bytes, not shown)",
                          code, t.answered);
    return LN_OK;
}

/* ---- the process ------------------------------------------------------------------------- */

/* A file's text, without the line end of a password; "" when a names none. */
static int read_file(const struct ln_alert *a, const char *name, struct ln_buf *out,
                     struct ln_err *err)
{
    const char *path = ln_alert_get(a, name);
    char chunk[4096];
    ssize_t n;
    if (!path)
        return LN_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ln_err_set(err, LN_ENOTFOUND, "%s %.200s: %s", name, path, strerror(errno));
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && out->len < FILE_MAX)
        if (ln_buf_add(out, chunk, (size_t)n) != LN_OK)
            break;
    close(fd);
    while (strcmp(name, "ca") != 0 && out->len && (unsigned char)out->data[out->len - 1] <= ' ')
        out->len--;
    if (n < 0 || out->len == 0)
        return ln_err_set(err, LN_EIO, "%s %.200s: empty, or it cannot be read", name, path);
    ln_buf_addc(out, '\0');
    out->len--;
    return LN_OK;
}

static int read_request(struct ln_alert *a, struct ln_buf *in)
{
    char chunk[16384];
    struct ln_wire_in w;
    uint8_t type;
    size_t used;
    int rc;
    while ((rc = ln_wire_next(in->data, in->len, REQUEST_MAX, &type, &w, &used)) == LN_EAGAIN) {
        ssize_t n = read(LN_PROC_FD, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || ln_buf_add(in, chunk, (size_t)n) != LN_OK)
            return LN_ECLOSED;
    }
    uint32_t n = rc == LN_OK && type == LN_P_REQUEST ? ln_wire_get_u32(&w) : 0;
    if (n == 0 || n % 2 || n / 2 > LN_ALERT_PAIRS)
        return LN_EPARSE;
    for (; a->n < n / 2; a->n++) {
        struct ln_span name = ln_wire_get_bytes(&w), value = ln_wire_get_bytes(&w);
        a->name[a->n] = ln_span_dup(name);
        a->value[a->n] = ln_span_dup(value);
        if (!a->name[a->n] || !a->value[a->n])
            return LN_ENOMEM;
    }
    return ln_wire_done(&w) ? LN_OK : LN_EPARSE;
}

static int send_it(struct ln_alert *a, struct ln_err *err)
{
    const char *kind = ln_alert_get(a, "kind"), *site = ln_alert_get(a, "site");
    int rc;
    if (kind && strcmp(kind, "command") == 0)
        return ln_alert_command(a, err);
    if (!kind || !ln_alert_get(a, "url") || !ln_alert_get(a, "body"))
        return ln_err_set(err, LN_EINVAL, "the request is not whole");
    if ((rc = read_file(a, "password_file", &a->password, err)) != LN_OK ||
        (rc = read_file(a, "ca", &a->ca, err)) != LN_OK || (rc = load_curl(err)) != LN_OK)
        return rc;
    ln_confine_user(site ? site : "/");
    ln_confine_sender();
    return transfer(a, strcmp(kind, "mail") == 0, err);
}

int ln_role_alert_send(int argc, char **argv)
{
    static struct ln_alert a;
    struct ln_buf in = {0}, out = {0};
    struct ln_err err = {0};
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate alert-send: only the engine starts it; see lunate help alerts\n");
        return LN_EXIT_USAGE;
    }
    ln_proc_title(argc, argv, "lunate: alert");
    ln_proc_seal_writer(LN_PROC_FD);
    int rc = read_request(&a, &in);
    if (rc == LN_OK)
        rc = send_it(&a, &err);
    size_t at = ln_wire_begin(&out, LN_P_REPLY);
    ln_wire_u8(&out, rc != LN_OK);
    ln_wire_bytes(&out, ln_span_str(rc == LN_OK ? "" : err.text[0] ? err.text : ln_strerror(rc)));
    if (ln_wire_end(&out, at) == LN_OK)
        (void)!send(LN_PROC_FD, out.data, out.len, MSG_NOSIGNAL);
    return rc == LN_OK ? LN_EXIT_OK : LN_EXIT_WRONG;
}
