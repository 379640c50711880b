#include "ipc/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int ln_pass_send(int sock, const struct ln_buf *b, const int *fd, unsigned n)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * LN_PASS_MAX)];
    } control;
    struct iovec v = {b->data, b->len};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (b->failed)
        return LN_ENOMEM;
    if (n > LN_PASS_MAX)
        return LN_EINVAL;
    memset(&control, 0, sizeof control);
    if (n > 0) {
        m.msg_control = control.room;
        m.msg_controllen = CMSG_SPACE(sizeof *fd * n);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof *fd * n);
        memcpy(CMSG_DATA(c), fd, sizeof *fd * n);
    }
    return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? ln_code_from_errno(errno) : LN_OK;
}
