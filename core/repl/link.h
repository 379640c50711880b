/* The line editor's socket to the REPL (descriptor 3). */
#ifndef LN_REPL_LINK_H
#define LN_REPL_LINK_H

#include "base/buf.h"
#include "ipc/proto.h"

struct ln_link {
    struct ln_buf in, out;
    size_t used; /* of in: the record handed out last */
};
extern struct ln_link ln_link;

/* Begins a record in ln_link.out; its place. */
size_t ln_link_begin(uint8_t type);
/* Ends and writes it. Ends the process when the REPL is gone. */
void ln_link_send(size_t at);
/* Waits for the next record, whose payload is valid until the next call; false when the REPL is
 * gone. */
bool ln_link_next(uint8_t *type, struct ln_wire_in *in);
/* True when that would not wait: a record was read together with the last one. */
bool ln_link_waiting(void);

#endif
