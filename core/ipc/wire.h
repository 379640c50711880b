/* Hub <-> worker, hub <-> loader and hub <-> control client speak in records over a stream socket:
 * u32 length of what follows, u8 type, payload. Numbers are little-endian. Every length is checked;
 * the other side is taken to be hostile. Reading is sticky: after the first short or wrong field
 * all later ones read as zero, and `bad` stays set. */
#ifndef LN_IPC_WIRE_H
#define LN_IPC_WIRE_H

#include "base/buf.h"

#define LN_WIRE_HEADER 5
#define LN_WIRE_MAX                                                                                \
    (512u << 20) /* a record's largest length; a message may be 50 MB and fan out                  \
                  */

struct ln_wire_in {
    const char *ptr, *end;
    bool bad;
};

/* Starts a record; returns its place for ln_wire_end. */
size_t ln_wire_begin(struct ln_buf *b, uint8_t type);
/* Puts in the length. LN_ENOMEM when any write of this record failed (the record is then taken
 * out). */
int ln_wire_end(struct ln_buf *b, size_t start);

/* Or, when the payload of `len` bytes follows from elsewhere: nothing needs to be ended then. */
void ln_wire_head(struct ln_buf *b, uint8_t type, size_t len);

void ln_wire_u8(struct ln_buf *b, uint8_t v);
void ln_wire_u16(struct ln_buf *b, uint16_t v);
void ln_wire_u32(struct ln_buf *b, uint32_t v);
void ln_wire_u64(struct ln_buf *b, uint64_t v);
void ln_wire_f64(struct ln_buf *b, double v);
void ln_wire_bytes(struct ln_buf *b, struct ln_span s); /* u32 length, bytes */

/* Takes the next whole record off data[0..len): its type and payload, *used bytes. LN_EAGAIN when
 * it is not whole yet (*used is then how many bytes the record needs, 0 when unknown); LN_EPARSE
 * when the length is over max or zero. */
int ln_wire_next(const char *data, size_t len, size_t max, uint8_t *type, struct ln_wire_in *in,
                 size_t *used) LN_MUST;

uint8_t ln_wire_get_u8(struct ln_wire_in *in);
uint16_t ln_wire_get_u16(struct ln_wire_in *in);
uint32_t ln_wire_get_u32(struct ln_wire_in *in);
uint64_t ln_wire_get_u64(struct ln_wire_in *in);
double ln_wire_get_f64(struct ln_wire_in *in);
struct ln_span ln_wire_get_bytes(struct ln_wire_in *in); /* borrowed from the input */
/* True when everything was read, nothing is left over and nothing was bad. */
bool ln_wire_done(const struct ln_wire_in *in);

#endif
