/* lunate-repl: the line editor of `lunate repl`, over GNU readline. A program of its own because of
 * readline's licence (GPL 3 or later): it shares no code of Lunate but buffers and records, knows
 * nothing of messages, and is told by records (ipc/proto.h) on descriptor 3 what to read; what can
 * be completed, it asks. The terminal is in its hands only while it reads a line. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/proc.h"
#include "repl/editor.h"
#include "repl/link.h"

static void take(uint8_t type, struct ln_wire_in *in)
{
    struct ln_span a = ln_wire_get_bytes(in), b;
    switch (type) {
    case LN_P_READ:
        b = ln_wire_get_bytes(in);
        ln_editor_read(a, b);
        break;
    case LN_P_REMEMBER: ln_editor_remember(a); break;
    case LN_P_HISTORY: ln_editor_history(a); break;
    default: break;
    }
}

int main(void)
{
    struct stat st;
    struct ln_wire_in in;
    uint8_t type;
    if (fstat(LN_PROC_FD, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        fprintf(stderr, "lunate-repl: the line editor of `lunate repl`, which starts it\n");
        return 2;
    }
    ln_editor_init();
    size_t at = ln_link_begin(LN_P_HELLO);
    ln_wire_bytes(&ln_link.out, ln_span_str(LN_PROTO_BUILD));
    ln_link_send(at);
    while (ln_link_next(&type, &in))
        take(type, &in);
    return 0;
}
