/* What `send` sends: the messages of the given files as MLLP frames, made ready once, so that
 * sending one is a single system call without a copy. */
#ifndef LN_ROLE_PAYLOAD_H
#define LN_ROLE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

struct ln_payload_message {
    char *frame; /* owned: VT, message, FS, CR */
    size_t len;
    size_t id_end; /* where MSH-10 ends in frame: a counter goes in here; 0 = has no header */
    struct ln_span id; /* MSH-10, raw; within frame */
    struct ln_span type; /* MSH-9.1^MSH-9.2, raw; within frame */
    bool unasked; /* MSH-15 and MSH-16 want no answer when it is accepted ... */
    bool never; /* ... nor when it is not */
};

struct ln_payload {
    struct ln_payload_message *message;
    size_t n, cap;
    bool raw_bytes; /* keep line ends as they are */
    bool whole; /* a file (or an MLLP frame in it) goes out as one frame, whatever it holds */
    bool need_id; /* give a header that ends before MSH-10 the separators up to it */
};

/* Adds the messages of a file ("-" is standard input): one message, several one after another, a
 * batch, or MLLP frames. Without raw_bytes LF and CR LF become CR (an LF in a message whose
 * segments end in CR is data and stays) and the last segment gets its CR. err names the file. */
int ln_payload_add_file(struct ln_payload *p, const char *path, struct ln_err *err) LN_MUST;
/* The same for bytes at hand; no message in them is no error here. LN_ENOMEM, or LN_EPARSE when
 * they end inside an MLLP frame. */
int ln_payload_add_bytes(struct ln_payload *p, struct ln_span bytes) LN_MUST;
void ln_payload_fini(struct ln_payload *p);

#endif
