/* Fields of a segment and what is in them: reading parts, and the one edit there is (replacing a
 * part), from which all others are made. */
#ifndef LN_HL7_FIELD_H
#define LN_HL7_FIELD_H

#include "hl7/message.h"

/* Where a part stands. 0 in repetition, component, subcomponent: the whole of the level above. */
struct ln_part {
    uint32_t field, repetition, component, subcomponent;
};

/* Number of fields, MSH-1 counted. LN_ENOMEM is possible, since the segment may have to be indexed.
 */
int ln_field_count(struct ln_message *m, uint32_t slot, uint32_t *n) LN_MUST;

/* The raw bytes of a part; out->ptr is NULL when the segment or field does not reach so far. Valid
 * until the message is changed. MSH-1 and MSH-2 (BHS, FHS too) have no parts. LN_ENOMEM. */
int ln_field_get(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                 struct ln_span *out) LN_MUST;

/* The first leaf below a part: what reading at an upper level gives. */
int ln_field_leaf(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                  struct ln_span *out) LN_MUST;

/* The nth piece (from 1) of text cut at c; ptr NULL when there are fewer. */
struct ln_span ln_field_piece(const struct ln_charset *cs, struct ln_span text, char c, uint32_t n);
/* Number of pieces; 0 for empty text. */
uint32_t ln_field_pieces(const struct ln_charset *cs, struct ln_span text, char c);

/* Replaces a part. What is missing up to it is created; an empty value creates nothing. escape: the
 * value is text; else raw bytes, which must not hold separators of the part's own or a higher
 * level, nor CR. The value must not point into the message. LN_EINVAL, LN_ENOMEM, LN_ETOOBIG. */
/* Writes the whole of field `field` as it is, unchecked: what is made from the message's own bytes.
 */
int ln_field_put(struct ln_message *m, uint32_t slot, uint32_t field, struct ln_span raw) LN_MUST;

int ln_field_set(struct ln_message *m, uint32_t slot, const struct ln_part *part,
                 struct ln_span value, bool escape, struct ln_err *err) LN_MUST;

#endif
