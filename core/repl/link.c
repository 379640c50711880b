#include "repl/link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/proc.h"
#include "repl/editor.h"

struct ln_link ln_link;

size_t ln_link_begin(uint8_t type)
{
    return ln_wire_begin(&ln_link.out, type);
}

static _Noreturn void gone(void)
{
    ln_editor_restore();
    exit(0);
}

void ln_link_send(size_t at)
{
    struct ln_buf *b = &ln_link.out;
    if (ln_wire_end(b, at) != LN_OK)
        gone();
    for (size_t sent = 0; sent < b->len;) {
        ssize_t n = send(LN_PROC_FD, b->data + sent, b->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            gone();
        sent += (size_t)n;
    }
    ln_buf_clear(b, 65536);
}

bool ln_link_next(uint8_t *type, struct ln_wire_in *in)
{
    struct ln_buf *b = &ln_link.in;
    ln_buf_drop(b, ln_link.used);
    for (;;) {
        int code = ln_wire_next(b->data, b->len, LN_WIRE_MAX, type, in, &ln_link.used);
        if (code == LN_OK)
            return true;
        ln_link.used = 0;
        if (code != LN_EAGAIN || ln_buf_reserve(b, 65536) != LN_OK)
            return false;
        ssize_t n = read(LN_PROC_FD, b->data + b->len, b->cap - b->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b->len += (size_t)n;
    }
}

bool ln_link_waiting(void)
{
    struct ln_buf *b = &ln_link.in;
    struct ln_wire_in in;
    uint8_t type;
    size_t used;
    return b->len > ln_link.used && ln_wire_next(b->data + ln_link.used, b->len - ln_link.used,
                                                 LN_WIRE_MAX, &type, &in, &used) == LN_OK;
}
