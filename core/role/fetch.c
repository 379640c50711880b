#include "role/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "ipc/wire.h"
#include "net/call.h"
#include "script/limits.h"

#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"

enum { PACKET_MAX = 2048, CONNECTED = 0, REFUSED = 2, CA_MAX = 8 << 20, DEFAULT_MS = 10000 };

static struct ln_tls *tls; /* NULL: there is nobody to trust */
static uint32_t last_id;

static void read_file(const char *path, struct ln_buf *out)
{
    char chunk[16384];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && out->len < CA_MAX && (n = read(fd, chunk, sizeof chunk)) > 0)
        if (ln_buf_add(out, chunk, (size_t)n) != LN_OK)
            break;
    if (fd >= 0)
        close(fd);
}

int ln_fetch_open(struct ln_span ca, struct ln_err *err)
{
    struct ln_buf system = {0};
    if (ca.len == 0)
        read_file(SYSTEM_CAS, &system);
    struct ln_tls_options opt = {
        .ca = {ca.len ? "allow.ca" : SYSTEM_CAS, ca.len ? ca : ln_buf_span(&system)}};
    int rc = opt.ca.text.len ? ln_tls_new(&opt, &tls, err) : LN_OK;
    ln_buf_fini(&system);
    return rc;
}

/* The descriptor that came along, or -1; all others are closed. */
static int take_fd(struct msghdr *m)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n = c->cmsg_len > CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
        for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < n; i++) {
            if (fd >= 0)
                close(fd);
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        }
    }
    return fd;
}

/* One answer: LN_EAGAIN: none yet, or that to an earlier request. */
static int take_answer(int *fd, struct ln_err *err)
{
    char packet[PACKET_MAX];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec v = {packet, sizeof packet};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    ssize_t n = recvmsg(LN_NET_FD, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return LN_EAGAIN;
    *fd = n > 0 ? take_fd(&m) : -1;
    struct ln_wire_in in = {packet, packet + (n > 0 ? n : 0), false};
    uint32_t id = ln_wire_get_u32(&in);
    uint8_t status = ln_wire_get_u8(&in);
    struct ln_span why = ln_wire_get_bytes(&in);
    if (ln_wire_done(&in) && id == last_id && status == CONNECTED && *fd >= 0)
        return LN_OK;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    if (!ln_wire_done(&in))
        return ln_err_set(err, LN_ECLOSED, "the engine connects no more");
    if (id != last_id)
        return LN_EAGAIN;
    if (status == REFUSED)
        return LN_EINVAL;
    return ln_err_set(err, LN_ECLOSED, "%.*s", (int)(why.len > 300 ? 300 : why.len), why.ptr);
}

static int connect_to(const struct ln_http_ask *ask, int64_t until_us, int *fd, struct ln_err *err)
{
    struct ln_buf b = {0};
    int64_t left = until_us - ln_mono_us();
    ln_wire_u32(&b, ++last_id);
    ln_wire_u32(&b, left > 1000 ? (uint32_t)(left / 1000) : 1);
    ln_wire_u16(&b, (uint16_t)ask->port);
    ln_wire_bytes(&b, ln_span_str(ask->host));
    bool sent = !b.failed && send(LN_NET_FD, b.data, b.len, MSG_NOSIGNAL) == (ssize_t)b.len;
    ln_buf_fini(&b);
    if (!sent)
        return ln_err_set(err, LN_ECLOSED, "the engine connects no more");
    for (;;) {
        int rc = take_answer(fd, err);
        if (rc != LN_EAGAIN)
            return rc;
        struct pollfd p = {.fd = LN_NET_FD, .events = POLLIN};
        left = until_us - ln_mono_us();
        if (left <= 0)
            return ln_err_set(err, LN_ETIMEOUT, "no connection in time");
        (void)!poll(&p, 1, (int)(left / 1000 + 1)); /* the limits' tick interrupts it */
    }
}

static int compose(const struct ln_http_ask *ask, struct ln_buf *out)
{
    bool has_body = ask->body.len > 0 || strcmp(ask->method, "POST") == 0 ||
                    strcmp(ask->method, "PUT") == 0 || strcmp(ask->method, "PATCH") == 0;
    ln_buf_addf(out, "%s ", ask->method);
    ln_buf_add_span(out, ask->target);
    ln_buf_adds(out, " HTTP/1.1\r\n");
    ln_buf_add_span(out, ask->headers);
    if (has_body)
        ln_buf_addf(out, "Content-Length: %zu\r\n", ask->body.len);
    ln_buf_adds(out, "Connection: close\r\n\r\n");
    ln_buf_add_span(out, ask->body);
    return out->failed ? LN_ENOMEM : LN_OK;
}

/* A little is left for what the script does with the answer. */
static int64_t deadline(const struct ln_http_ask *ask)
{
    int64_t left = ln_limits_left_us(), own = (int64_t)(ask->timeout_s * 1e6);
    if (own == 0)
        own = left / 10 * 9 < DEFAULT_MS * 1000ll ? left / 10 * 9 : DEFAULT_MS * 1000ll;
    return ln_mono_us() + (own < left ? own : left);
}

int ln_fetch(const struct ln_http_ask *ask, struct ln_http_told *told, struct ln_err *err)
{
    struct ln_buf request = {0};
    struct ln_called answer = {0};
    struct ln_err why = {0};
    int fd = -1;
    int64_t until_us = deadline(ask);
    if (ask->tls && !tls)
        return ln_err_set(err, LN_ETLS,
                          "no CA is known here: install ca-certificates, or name one in allow.ca");
    int rc = compose(ask, &request);
    if (rc == LN_OK)
        rc = connect_to(ask, until_us, &fd, &why);
    if (rc == LN_OK) {
        struct ln_call c = {.fd = fd,
                            .tls = ask->tls ? tls : NULL,
                            .host = ask->host,
                            .method = ask->method,
                            .request = ln_buf_span(&request),
                            .until_us = until_us,
                            .max_body = ask->max_body};
        rc = ln_call(&c, &answer, &why);
    }
    if (fd >= 0)
        close(fd);
    ln_buf_fini(&request);
    told->status = answer.status;
    told->headers = answer.headers;
    told->body = answer.body;
    if (rc == LN_OK || rc == LN_EINVAL)
        return rc;
    return ln_err_set(err, rc, strchr(ask->host, ':') ? "[%s]:%d: %s" : "%s:%d: %s", ask->host,
                      ask->port, why.text[0] ? why.text : ln_strerror(rc));
}
