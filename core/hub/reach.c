#include "hub/reach.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/pass.h"
#include "ipc/wire.h"
#include "net/dial.h"
#include "net/grant.h"

enum { PACKET_MAX = 1024, CONNECTED = 0, FAILED = 1, REFUSED = 2 };

struct ln_reach {
    struct ln_channel *channel;
    int fd;
    struct event ev, timer;
    struct ln_dial *dial; /* NULL: nothing is under way */
    uint32_t id;
    char host[256];
    int port;
    bool told; /* that it wanted what is not granted */
};

static void idle(struct ln_reach *r)
{
    ln_dial_cancel(r->dial);
    r->dial = NULL;
    evtimer_del(&r->timer);
}

/* The worker takes one answer a request: its socket has room, or it is ending. */
static void answer(struct ln_reach *r, uint8_t status, int fd, const char *why)
{
    struct ln_buf b = {0};
    ln_wire_u32(&b, r->id);
    ln_wire_u8(&b, status);
    ln_wire_bytes(&b, ln_span_str(why));
    (void)!ln_pass_send(r->fd, &b, &fd, fd >= 0); /* a worker that does not read waits in vain */
    ln_buf_fini(&b);
}

static void on_dialled(void *owner, int fd, int code, const char *why)
{
    struct ln_reach *r = owner;
    (void)code;
    r->dial = NULL;
    evtimer_del(&r->timer);
    answer(r, fd >= 0 ? CONNECTED : FAILED, fd, fd >= 0 ? "" : why);
    if (fd >= 0)
        close(fd);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct ln_reach *r = arg;
    (void)fd;
    (void)what;
    idle(r);
    answer(r, FAILED, -1, "no connection in time");
}

static bool admit(void *owner, const struct sockaddr *a)
{
    struct ln_reach *r = owner;
    const struct ln_conf_channel *conf = r->channel->conf;
    return ln_grant_address((const char *const *)conf->reach, conf->nreach, r->host, r->port, a);
}

static void refuse(struct ln_reach *r)
{
    if (!r->told) /* what it wanted may be content */
        ln_log(LN_WARN, "reach", "not_granted", "channel=%s", r->channel->name);
    r->told = true;
    answer(r, REFUSED, -1, "");
}

static bool take(struct ln_reach *r, struct ln_wire_in *in)
{
    const struct ln_conf_channel *conf = r->channel->conf;
    r->id = ln_wire_get_u32(in);
    uint32_t ms = ln_wire_get_u32(in);
    r->port = ln_wire_get_u16(in);
    struct ln_span host = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || host.len == 0 || host.len >= sizeof r->host ||
        memchr(host.ptr, '\0', host.len))
        return false;
    ln_span_copy(r->host, sizeof r->host, host);
    if (!ln_grant_host((const char *const *)conf->reach, conf->nreach, r->host, r->port)) {
        refuse(r);
        return true;
    }
    if (ms == 0 || ms > conf->seconds * 1000)
        ms = (uint32_t)(conf->seconds * 1000);
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    struct ln_hub *h = r->channel->hub;
    r->dial = ln_dial(h->base, h->dns, r->host, r->port, (int)ms, on_dialled, r);
    if (!r->dial) {
        answer(r, FAILED, -1, "out of memory");
        return true;
    }
    ln_dial_admit(r->dial, admit,
                  "it is at an address of this machine, of its link or its keeper, which "
                  "allow.net grants by the address only");
    evtimer_add(&r->timer, &tv);
    return true;
}

static void on_packet(evutil_socket_t fd, short what, void *arg)
{
    struct ln_reach *r = arg;
    char packet[PACKET_MAX];
    (void)what;
    ssize_t n = recv(fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    idle(r);
    struct ln_wire_in in = {packet, packet + (n > 0 ? n : 0), false};
    if (n > 0 && n <= (ssize_t)sizeof packet && take(r, &in))
        return;
    if (n > 0)
        ln_log(LN_WARN, "reach", "shut", "channel=%s bytes=%zd", r->channel->name, n);
    event_del(&r->ev); /* it is gone, or says what no worker says: it gets nothing any more */
    shutdown(fd, SHUT_RDWR);
}

int ln_reach_new(struct ln_channel *c, struct ln_reach **out, int *theirs)
{
    int pair[2];
    struct ln_reach *r = calloc(1, sizeof *r);
    if (!r)
        return LN_ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(r);
        return ln_code_from_errno(errno);
    }
    r->channel = c;
    r->fd = pair[0];
    event_assign(&r->ev, c->hub->base, r->fd, EV_READ | EV_PERSIST, on_packet, r);
    evtimer_assign(&r->timer, c->hub->base, on_late, r);
    event_add(&r->ev, NULL);
    *out = r;
    *theirs = pair[1];
    return LN_OK;
}

void ln_reach_free(struct ln_reach *r)
{
    if (!r)
        return;
    idle(r);
    event_del(&r->ev);
    close(r->fd);
    free(r);
}
