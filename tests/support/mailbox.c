/* A receiver for alerts: mailbox KIND FOLDER [CERT KEY [USER:PASSWORD-IN-BASE64]]. KIND: smtp,
 * smtps, starttls, http, https, hang (takes connections, says nothing). Listens on a free port of
 * 127.0.0.1, prints it, and writes each message that it takes to FOLDER/N, N from 1. A file
 * FOLDER/refuse makes it refuse; its text is the reason. Fourth parameter: what AUTH PLAIN must
 * give. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *folder, *auth;
static int count;
static struct {
    int fd;
    SSL *ssl;
    char in[65536];
    size_t len;
} k;
static SSL_CTX *ctx;

static long get(char *to, size_t n)
{
    return k.ssl ? SSL_read(k.ssl, to, (int)n) : read(k.fd, to, n);
}

static void say(const char *fmt, ...)
{
    char text[2000];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (k.ssl)
        SSL_write(k.ssl, text, n);
    else if (write(k.fd, text, (size_t)n) < 0)
        return;
}

/* One line, without its end; false: the other side is gone. */
static int line(char *to, size_t cap)
{
    for (;;) {
        char *nl = memchr(k.in, '\n', k.len);
        if (nl) {
            size_t n = (size_t)(nl - k.in) + 1, keep = n < cap ? n : cap - 1;
            memcpy(to, k.in, keep);
            to[keep] = '\0';
            to[strcspn(to, "\r\n")] = '\0';
            memmove(k.in, k.in + n, k.len -= n);
            return 1;
        }
        long got = k.len < sizeof k.in ? get(k.in + k.len, sizeof k.in - k.len) : 0;
        if (got <= 0)
            return 0;
        k.len += (size_t)got;
    }
}

static int secure(void)
{
    k.ssl = SSL_new(ctx);
    SSL_set_fd(k.ssl, k.fd);
    if (SSL_accept(k.ssl) == 1)
        return 1;
    SSL_free(k.ssl);
    k.ssl = NULL;
    return 0;
}

static void reason(char *to, size_t cap)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/refuse", folder);
    FILE *f = fopen(path, "r");
    *to = '\0';
    if (!f)
        return;
    to[fread(to, 1, cap - 1, f)] = '\0';
    fclose(f);
}

static void keep(const char *text)
{
    char path[4096], fresh[4096];
    snprintf(path, sizeof path, "%s/%d", folder, ++count);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    fputs(text, f);
    fclose(f);
    rename(fresh, path);
}

static void smtp(int starttls)
{
    static char text[1 << 20], one[65536];
    char why[200];
    text[0] = '\0';
    say("220 mailbox ESMTP\r\n");
    while (line(one, sizeof one)) {
        reason(why, sizeof why);
        if (strncasecmp(one, "EHLO", 4) == 0) {
            say("250-mailbox\r\n");
            if (starttls && !k.ssl)
                say("250-STARTTLS\r\n");
            if (auth && (k.ssl || !starttls))
                say("250-AUTH PLAIN\r\n");
            say("250 8BITMIME\r\n");
        } else if (strcasecmp(one, "STARTTLS") == 0) {
            say("220 go\r\n");
            if (!secure())
                return;
        } else if (strncasecmp(one, "AUTH PLAIN", 10) == 0) {
            if (!one[10]) {
                say("334 \r\n");
                line(one + 11, sizeof one - 11);
            }
            int good = auth && strcmp(one + 11, auth) == 0;
            if (!good)
                say("535 5.7.8 wrong user or password\r\n");
            else
                say("235 welcome\r\n");
        } else if (strncasecmp(one, "MAIL", 4) == 0 && *why) {
            say("550 %s\r\n", why);
        } else if (strncasecmp(one, "MAIL", 4) == 0 || strncasecmp(one, "RCPT", 4) == 0) {
            strcat(strcat(text, one), "\n");
            say("250 ok\r\n");
        } else if (strcasecmp(one, "DATA") == 0) {
            strcat(text, k.ssl ? "(TLS)\n" : "(clear)\n");
            say("354 go\r\n");
            while (line(one, sizeof one) && strcmp(one, ".") != 0)
                strcat(strcat(text, one), "\n");
            keep(text);
            say("250 taken\r\n");
        } else if (strcasecmp(one, "QUIT") == 0) {
            say("221 bye\r\n");
            return;
        } else {
            say("250 ok\r\n");
        }
    }
}

static void http(void)
{
    static char text[1 << 20], one[65536];
    char why[200];
    size_t len = 0;
    text[0] = '\0';
    while (line(one, sizeof one) && *one) {
        strcat(strcat(text, one), "\n");
        if (strncasecmp(one, "content-length:", 15) == 0)
            len = (size_t)atol(one + 15);
    }
    strcat(text, "\n");
    while (k.len < len) {
        long got = get(k.in + k.len, sizeof k.in - k.len);
        if (got <= 0)
            return;
        k.len += (size_t)got;
    }
    strncat(text, k.in, len);
    reason(why, sizeof why);
    if (!*why)
        keep(text);
    say("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
        *why ? "500 no" : "204 taken", (int)strlen(why), why);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {60, 0};
    socklen_t len = sizeof at;
    const char *kind = argv[1];
    signal(SIGPIPE, SIG_IGN);
    folder = argv[2];
    auth = argc > 5 ? argv[5] : NULL;
    if (argc > 4 && argv[3][0]) {
        ctx = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(ctx, argv[3]) != 1 ||
            SSL_CTX_use_PrivateKey_file(ctx, argv[4], SSL_FILETYPE_PEM) != 1)
            return 1;
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 64) != 0)
        return 1;
    getsockname(fd, (struct sockaddr *)&at, &len);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        k.fd = accept(fd, NULL, NULL);
        if (k.fd < 0)
            continue;
        if (strcmp(kind, "hang") == 0)
            continue;
        setsockopt(k.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        k.len = 0;
        if ((strcmp(kind, "smtps") == 0 || strcmp(kind, "https") == 0) && !secure()) {
            close(k.fd);
            continue;
        }
        if (strncmp(kind, "http", 4) == 0)
            http();
        else
            smtp(strcmp(kind, "starttls") == 0);
        if (k.ssl) {
            SSL_shutdown(k.ssl);
            SSL_free(k.ssl);
            k.ssl = NULL;
        }
        close(k.fd);
    }
}
