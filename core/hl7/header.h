/* What must be known of a frame before it may be answered and stored: the header segment's
 * delimiters and fields, and the patient ids. One cheap pass, no index, no allocation. Chapter 2
 * (control), 2.5.4 encoding characters, 2.14.9 MSH, 2.10.3 batch protocol. */
#ifndef LN_HL7_HEADER_H
#define LN_HL7_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "hl7/charset.h"

#define LN_HEADER_FIELDS   20 /* MSH-1 .. MSH-20 */
#define LN_HEADER_PATIENTS 8

struct ln_delims {
    char field; /* MSH-1 */
    char component, repetition, escape, subcomponent,
        truncation; /* MSH-2; '\0' where not declared */
};

enum ln_header_kind { LN_HEADER_NONE, LN_HEADER_MSH, LN_HEADER_BHS, LN_HEADER_FHS };

struct ln_header {
    enum ln_header_kind kind;
    size_t offset; /* where the header segment starts, behind BOM, blanks, line ends */
    struct ln_delims delims;
    struct ln_charset charset;
    struct ln_span segment; /* the header segment without its end */
    struct ln_span
        field[LN_HEADER_FIELDS + 1]; /* raw MSH-n (or BHS-n, FHS-n) in [n]; .len 0 = absent */
    unsigned npatient;
    struct ln_span
        patient[LN_HEADER_PATIENTS]; /* PID-3.1 of each repetition, raw, first PID only */
};

/* Reads the header of one frame or file. LN_EPARSE (err->offset, err->text say where and why) when
 * there is no MSH, BHS or FHS with a field separator and at least one encoding character within it;
 * what could be read stands in *h even then. Tolerates BOM, blanks and blank lines before the
 * header, CR, LF and CRLF ends, MSH-2 of 1 to 5 characters, missing fields. */
int ln_header_read(struct ln_span frame, struct ln_header *h, struct ln_err *err);
/* The same; policy: what is known of the sender's character set (NULL: nothing but MSH-18). */
int ln_header_read_as(struct ln_span frame, const struct ln_charset_policy *policy,
                      struct ln_header *h, struct ln_err *err);

/* Field n (0: the name) of a segment of any kind; empty when it is not there. Separators are looked
 * for between characters: in some sets a character may hold their bytes. */
struct ln_span ln_header_cut(const struct ln_charset *cs, struct ln_span segment, char sep, int n);

/* First component of a raw field (up to the component or subcomponent separator or repetition). */
struct ln_span ln_header_component(const struct ln_header *h, int field, int component);

/* Walks a batch (FHS BHS MSH.. BTS FTS, or several MSH one after another): *pos is 0 at first;
 * returns true and the bytes of the next message, from its MSH to before the next header or
 * trailer segment. Only segment starts count: "MSH" inside text does not split. A frame without
 * batch headers and with one MSH gives that one message. */
bool ln_batch_next(struct ln_span frame, size_t *pos, struct ln_span *message);

/* A batch of no messages, which is legal (chapter 2.10.3): headers, a trailer, nothing else; BTS-1
 * does not say that there were any. */
bool ln_batch_is_empty(struct ln_span frame);

#endif
