/* MLLP framing (HL7 transport specification: Minimal Lower Layer Protocol, release 1).
 *
 * A block is <VT 0x0b> data <FS 0x1c> <CR 0x0d>. The reader is tolerant and counts each deviation;
 * the writer is strict. Pure: no I/O, no clock. One reader belongs to one connection. */
#ifndef LN_HL7_MLLP_H
#define LN_HL7_MLLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define LN_MLLP_VT 0x0b
#define LN_MLLP_FS 0x1c
#define LN_MLLP_CR 0x0d

enum ln_mllp_deviation {
    LN_MLLP_JUNK, /* bytes between frames (blank line ends and NULs included) */
    LN_MLLP_NO_CR, /* FS or FS LF that ended a frame without CR: VT or silence behind it */
    LN_MLLP_FS_INSIDE, /* FS inside a frame, kept as data */
    LN_MLLP_VT_INSIDE, /* VT inside a frame, kept as data */
    LN_MLLP_RESTART, /* VT + header inside a frame: the unfinished one before it was dropped */
    LN_MLLP_NO_VT, /* a header segment (MSH, BHS, FHS) up to FS without VT before it */
    LN_MLLP_EMPTY, /* VT FS CR with nothing inside */
    LN_MLLP_DEVIATIONS, /* how many kinds there are */
};

/* Short name of a deviation, as in the log and in status: "junk", "no_cr", ... */
const char *ln_mllp_deviation_name(enum ln_mllp_deviation d);

enum ln_mllp_event {
    LN_MLLP_MORE, /* all input taken, no whole frame yet */
    LN_MLLP_FRAME, /* *frame is one message; valid until the next call on this reader or the
                      input buffer changes. Length 0 when it is empty: to be answered too */
    LN_MLLP_TOO_BIG, /* the frame passes max_frame: the reader is in a failed state; answer, close.
                      *frame is the frame's first 4 KiB, so that its header can be read */
    LN_MLLP_NO_MEMORY, /* likewise, for lack of memory */
};

struct ln_mllp {
    size_t max_frame; /* bytes of data in a frame, without VT FS CR; 0 = no limit */
    uint64_t deviations[LN_MLLP_DEVIATIONS];
    /* private */
    struct ln_buf part; /* the unfinished frame, kept only between calls */
    int state;
};

void ln_mllp_init(struct ln_mllp *m, size_t max_frame);
void ln_mllp_fini(struct ln_mllp *m);

/* Reads from data[0..len). Sets *used to what was taken (the caller calls again with the rest while
 * a FRAME comes back). Frames that lie whole inside data are returned in place, without a copy.
 * Linear in the bytes fed, however they are cut. */
enum ln_mllp_event ln_mllp_feed(struct ln_mllp *m, const char *data, size_t len, size_t *used,
                                struct ln_span *frame);

/* True when FS (or FS LF) was last seen: the frame is whole unless its next byte says otherwise.
 * The caller waits a moment (100 ms) or for the end of the stream, then calls ln_mllp_finish. */
bool ln_mllp_pending_end(const struct ln_mllp *m);
/* Ends the frame that ln_mllp_pending_end told of: FRAME, or MORE when there is none. */
enum ln_mllp_event ln_mllp_finish(struct ln_mllp *m, struct ln_span *frame);

/* Bytes held of an unfinished frame (0 between frames): for memory bounds and the idle timer. */
size_t ln_mllp_held(const struct ln_mllp *m);
/* Inside a frame, between VT and FS CR. */
bool ln_mllp_inside(const struct ln_mllp *m);

/* Appends VT data FS CR. Data holding VT or FS is written as it is (the peer's reader is warned by
 * nobody: MLLP has no escape). */
int ln_mllp_write(struct ln_buf *out, struct ln_span data);

#endif
