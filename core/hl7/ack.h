/* Acknowledgements, original and enhanced mode (HL7 v2 chapters 2.9.2 and 2.9.3; MSA 2.14.8, ERR
 * 2.14.5, tables 0008 and 0155). The one place that knows what an acknowledgement looks like and
 * when one is wanted. */
#ifndef LN_HL7_ACK_H
#define LN_HL7_ACK_H

#include "base/buf.h"
#include "hl7/header.h"

/* Application acknowledgements, then accept acknowledgements in the same order. */
enum ln_ack_code { LN_ACK_AA, LN_ACK_AE, LN_ACK_AR, LN_ACK_CA, LN_ACK_CE, LN_ACK_CR };

/* Table 0155: when an acknowledgement is wanted. */
enum ln_ack_when { LN_ACK_ALWAYS, LN_ACK_NEVER, LN_ACK_ON_ERROR, LN_ACK_ON_SUCCESS };

/* What a sender wants. Original mode: MSH-15 and MSH-16 are both empty. In enhanced mode an empty
 * one means NE; a value that is unknown means AL, since too many answers hurt less than none. */
struct ln_ack_wish {
    bool enhanced;
    enum ln_ack_when accept, application; /* original mode: NEVER and ALWAYS */
};

struct ln_ack_wish ln_ack_wish_read(const struct ln_header *h);
/* True when an acknowledgement with this code (its kind does not matter) is wanted. */
bool ln_ack_is_due(enum ln_ack_when when, enum ln_ack_code code);
/* The accept acknowledgement that says what an application code says: AA CA, AE and AR CE: CR would
 * blame MSH-9, MSH-11 or MSH-12, which nobody here rejects. */
enum ln_ack_code ln_ack_accept(enum ln_ack_code code);
/* A code by its name ("CA"); false when it is none. */
bool ln_ack_code_read(struct ln_span name, enum ln_ack_code *code);

/* What is wrong in one place: an ERR segment from 2.5 on, a repetition of ERR-1 before. */
struct ln_ack_error {
    struct ln_span location; /* as a path "OBX[2]-5.1", or empty */
    struct ln_span code; /* table 0357; empty: 207 */
    struct ln_span text; /* ERR-8; never message content */
    char severity; /* ERR-4, table 0516: E, W or I */
};

struct ln_ack {
    enum ln_ack_code code;
    struct ln_span text; /* MSA-3 up to 2.6 / ERR-8; may be empty; never message content */
    struct ln_span error_code; /* table 0357 code for ERR, e.g. "207"; empty: by ack code */
    struct ln_span location; /* ERR location as a path "PID-5.1", or empty */
    struct ln_span control_id; /* own MSH-10, unique */
    int64_t time_us; /* MSH-7 */
    const struct ln_ack_error *errors; /* in place of error_code and location, when nerrors > 0. Up
                                          to 2.4 they are written for AE and AR only, those of
                                          severity E when there is one: ERR-1 has no severity */
    size_t nerrors;
};

/* Appends the acknowledgement of the message whose header is h, CR after each segment, in the
 * sender's delimiters and version: MSH-3/4 and 5/6 swapped, MSH-9 ACK^event^ACK (from 2.3.1 on with
 * the structure; before that ACK^event; plain ACK without event), MSH-11, 12, 18 copied, MSA-2 =
 * MSH-10 byte for byte, ERR in the version's form for AE and AR. Fields made only of delimiters, or
 * missing, never hinder it: they are left out, but for MSH-11 (P) and MSH-12 (2.3), which every
 * reader wants. With h->kind NONE: a generic AR|AE in |^~\& with an empty MSA-2. With BHS or FHS:
 * MSA-2 is the batch's own id (BHS-11, FHS-11). AA is refused with LN_EINVAL for what
 * ln_header_read refused: never an AA built from garbage. Bytes that would end the MLLP frame are
 * not echoed, except in MSA-2, where they can't. */
int ln_ack_write(struct ln_buf *out, const struct ln_header *h, const struct ln_ack *ack) LN_MUST;

/* The same errors as text, a line each: "E 102 PID-7: no such month". Nothing else reads like that,
 * least of all a line of a traceback. */
#define LN_ACK_ERRORS_MAX 100
/* Reads such lines: how many; 0 when the first one is none. The spans borrow from the text. */
size_t ln_ack_errors_read(struct ln_span text, struct ln_ack_error out[LN_ACK_ERRORS_MAX]);

/* What a reply says. */
struct ln_reply {
    char code[3]; /* "AA", "CE", ... ; "" when there is no readable MSA-1 */
    struct ln_span control_id; /* MSA-2 */
    struct ln_span text; /* MSA-3, or ERR-8 when MSA-3 is empty */
};

/* Reads an acknowledgement (hl7/reply.c). LN_EPARSE when it holds no MSA segment with a known code.
 */
int ln_reply_read(struct ln_span frame, struct ln_reply *r, struct ln_err *err);

/* Batch reply: the header (BHS, in an FHS when the request had one) and trailer around ACKs. */
int ln_ack_batch_begin(struct ln_buf *out, const struct ln_header *h, const struct ln_ack *ack,
                       bool file) LN_MUST;
int ln_ack_batch_end(struct ln_buf *out, const struct ln_header *h, unsigned count,
                     bool file) LN_MUST;

#endif
