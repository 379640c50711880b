/* Sealed streams: content that leaves the store (archives, exports) under the operator's keys.
 *
 * {"LNSEAL1\n", wrapped data key} then chunks {u32 length, little-endian, highest bit set: the
 * last; the bytes, encrypted; tag}. Every stream has a data key of its own, made at random: its
 * nonces just count the chunks, and a chunk that is missing, moved, or another stream's does not
 * open; nor does a stream without its last one. `label` says what the stream is ("archive adt/17"):
 * it opens under that label alone. */
#ifndef LN_CRYPT_SEALED_H
#define LN_CRYPT_SEALED_H

#include "base/buf.h"
#include "crypt/keys.h"

#define LN_SEALED_MAGIC "LNSEAL1\n"
#define LN_SEALED_HEAD  (8u + LN_WRAPPED)
#define LN_SEALED_CHUNK (1u << 20) /* bytes of content in a chunk, at most */

struct ln_sealer;
struct ln_unsealer;

/* Begins a stream: its head is appended to `to`. */
int ln_sealer_new(const struct ln_keys *k, struct ln_span label, struct ln_sealer **out,
                  struct ln_buf *to) LN_MUST;
/* Appends content as chunks to `to`; last: nothing follows (data may be empty). */
int ln_sealer_add(struct ln_sealer *s, struct ln_span data, bool last, struct ln_buf *to) LN_MUST;
void ln_sealer_free(struct ln_sealer *s);

/* head: the first LN_SEALED_HEAD bytes. LN_EPARSE: no such stream, or for another label;
 * LN_ENOTFOUND: none of the keys is its. */
int ln_unsealer_new(const struct ln_keys *k, struct ln_span label, struct ln_span head,
                    struct ln_unsealer **out, struct ln_err *err) LN_MUST;
/* Takes whole chunks from the front of `in`, appends what was in them to `to`; *used says how much
 * of `in` they were. LN_EPARSE: this is not what was written. */
int ln_unsealer_add(struct ln_unsealer *u, struct ln_span in, size_t *used,
                    struct ln_buf *to) LN_MUST;
/* Whether the last chunk has come: without it the stream was cut off. */
bool ln_unsealer_done(const struct ln_unsealer *u);
void ln_unsealer_free(struct ln_unsealer *u);

#endif
