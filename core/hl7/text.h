/* Text of a message's parts: escapes and character set at once. Scripts see UTF-8; the message
 * keeps its own bytes. The plain case (UTF-8) stays in escape.h, since nothing is to be converted.
 */
#ifndef LN_HL7_TEXT_H
#define LN_HL7_TEXT_H

#include "hl7/charset.h"
#include "hl7/escape.h"

/* How a message writes: what separates, in which set, and what stands for a character that the set
 * lacks ("" = that is an error). */
struct ln_text {
    struct ln_delims delims;
    struct ln_charset charset;
    char substitute[LN_CHARSET_GET];
};

#ifndef LN_CDEF
/* Room that ln_text_read may need. */
static inline size_t ln_text_room(struct ln_span leaf)
{
    return leaf.len * 3 + 8;
}
#endif

/* Writes the text of a leaf to out; returns its length. Bytes that are no character stay. */
size_t ln_text_read(const struct ln_text *t, struct ln_span leaf, char *out);

/* Text as it stands in a message of this set, escaped. out NULL: only *len is set. LN_EINVAL: the
 * set lacks a character, or MSH-2 an escape character; or the text holds bytes that are no UTF-8
 * and would not come back as they are. */
int ln_text_write(const struct ln_text *t, struct ln_span text, char *out, size_t *len,
                  struct ln_err *err) LN_MUST;

/* Raw bytes of a message (a part, or all of it) from one set to another; structure and escapes stay
 * as they are. Both have the same delimiters. LN_EINVAL: `to` lacks a character, or bytes are none
 * of `from`; then err->offset says where. */
int ln_text_convert(const struct ln_text *from, const struct ln_text *to, struct ln_span raw,
                    char *out, size_t *len, struct ln_err *err) LN_MUST;

/* First byte that is no character of the set, or bytes.len. */
size_t ln_text_check(const struct ln_charset *cs, struct ln_span bytes);

/* True when a text or raw bytes hold nothing that a set could write otherwise. */
bool ln_text_is_plain(struct ln_span s);

#endif
