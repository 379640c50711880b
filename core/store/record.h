/* Records as they stand in the store: encoding and decoding, no LMDB here.
 *
 * A record is {u8 version, u8 flags, body}. A version or flag that this program does not know makes
 * every reader stop with LN_EVERSION: flags are how content is encrypted, and will later be
 * compressed. Within a body: fixed integers little-endian, others LEB128, bytes with their length
 * before them. Spans that a decoder returns point into the record. */
#ifndef LN_STORE_RECORD_H
#define LN_STORE_RECORD_H

#include "base/buf.h"
#include "store/store.h"

#define LN_RECORD_VERSION 1u
#define LN_RECORD_HEAD    2u
#define LN_RECORD_CHUNKED 0x01u /* u64 length of the whole body, then only its first bytes */
#define LN_RECORD_SUMMED  0x02u /* ends with a u32, little-endian: CRC-32C of all before it */
#define LN_RECORD_SEALED  0x04u /* encrypted or authenticated: struct ln_sealed, seal.h */
#define LN_RECORD_SUM     4u

#ifndef LN_CDEF

/* Writers append to a place that is known to be large enough (see the *_bound functions). */
struct ln_enc {
    char *p;
};

struct ln_dec {
    const unsigned char *p, *end;
    bool bad; /* ran over the end: every later read gives zeros */
};

void ln_enc_head(struct ln_enc *e, uint8_t flags);
void ln_enc_u8(struct ln_enc *e, uint8_t v);
void ln_enc_u64(struct ln_enc *e, uint64_t v);
void ln_enc_num(struct ln_enc *e, uint64_t v);
void ln_enc_bytes(struct ln_enc *e, struct ln_span s);
void ln_enc_raw(struct ln_enc *e, struct ln_span s); /* without a length */

struct ln_dec ln_dec_of(struct ln_span body);
uint8_t ln_dec_u8(struct ln_dec *d);
uint64_t ln_dec_u64(struct ln_dec *d);
uint64_t ln_dec_num(struct ln_dec *d);
struct ln_span ln_dec_bytes(struct ln_dec *d);
struct ln_span ln_dec_rest(struct ln_dec *d);

/* Checks the two bytes at the front. *body is what follows them; *total the length of the whole
 * body, which is more than body->len when the rest stands in parts or is encrypted. LN_EVERSION,
 * LN_EPARSE. */
int ln_record_open(struct ln_span rec, struct ln_span *body, uint64_t *total) LN_MUST;

/* The parts of a sealed record: {head, [u64 total], u32 generation, nonce, length of the clear
 * part, clear part, encrypted rest, tag, sum}. */
struct ln_sealed {
    uint32_t gen;
    const unsigned char *nonce;
    struct ln_span head; /* all up to the end of the clear part */
    struct ln_span clear, cipher; /* of the body; cipher ends with the tag */
    uint64_t total; /* length of the whole body */
};
#define LN_SEALED_NONCE 12u
#define LN_SEALED_TAG   16u
/* Takes a sealed record apart. LN_ENOTFOUND: it is not sealed. */
int ln_record_sealed(struct ln_span rec, struct ln_sealed *s) LN_MUST;

/* Whether a record's sum is there and right. */
bool ln_record_sound(struct ln_span rec);
/* Writes the sum of `len` bytes behind them. */
void ln_record_sum(char *at, size_t len);

size_t ln_record_receipt_bound(const struct ln_receipt *r);
size_t ln_record_receipt_write(char *at, uint32_t chan, uint64_t seq, const struct ln_receipt *r);
/* body may be cut behind the fields (a chunked record's first part): raw is then cut as well. */
int ln_record_receipt_read(struct ln_span body, struct ln_receipt *r) LN_MUST;
/* Only kind, time, channel and number, which are never encrypted; how long they are in a body. */
int ln_record_receipt_head(struct ln_span body, struct ln_receipt *r) LN_MUST;
size_t ln_record_receipt_head_len(struct ln_span body);
/* Only the receipt's time. */
int ln_record_receipt_time(struct ln_span body, int64_t *time_us) LN_MUST;

/* A result as it is queued: output bytes plain, no kv. */
size_t ln_record_result_bound(const struct ln_processed *p);
size_t ln_record_result_write(char *at, const struct ln_processed *p);
/* Packs a queued result for the store: output bytes become differences from `input` where that is
 * shorter. The result is appended to out. */
int ln_record_result_pack(struct ln_span body, struct ln_span input, struct ln_buf *out) LN_MUST;

/* An item as it stands in a result: data are bytes or, when delta is set, the difference from the
 * input, from which full_len bytes come. */
struct ln_stored_item {
    struct ln_item item;
    bool delta;
    uint64_t full_len;
};

/* Head of a result; then nitems times ln_record_item_read on the same decoder. */
int ln_record_result_read(struct ln_dec *d, struct ln_processed *p) LN_MUST;
int ln_record_item_read(struct ln_dec *d, struct ln_stored_item *it) LN_MUST;

size_t ln_record_outcome_bound(const struct ln_outcome *o);
size_t ln_record_outcome_write(char *at, uint16_t dest, const struct ln_outcome *o);
int ln_record_outcome_read(struct ln_span body, uint16_t *dest, struct ln_outcome *o) LN_MUST;

size_t ln_record_event_bound(const struct ln_event *e);
size_t ln_record_event_write(char *at, const struct ln_event *e);
int ln_record_event_read(struct ln_span body, struct ln_event *e) LN_MUST;

#endif
#endif
