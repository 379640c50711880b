/* Escape sequences of chapter 2.7, with the message's own delimiters.
 *
 * Decoded when reading: \F\ \S\ \T\ \R\ \E\ (delimiters), \P\ (truncation character, when MSH-2 has
 * one), \Xhh..\ (bytes), \.br\ (line feed). Everything else stays as it is: \H\ \N\ \.sp 2\ \Cxxyy\
 * \Zxx\, unknown ones, and an escape character without its partner.
 * Written: what would be read as a delimiter, an escape or (as last byte) a truncation; line feed
 * as
 * \.br\; CR, CR LF, VT and FS as \X..\, since they end segments and frames. Unescaping what was
 * escaped gives the same bytes, always. */
#ifndef LN_HL7_ESCAPE_H
#define LN_HL7_ESCAPE_H

#include "base/err.h"
#include "base/span.h"
#include "hl7/header.h"

/* Writes the text of `raw` to out (at least raw.len bytes); returns its length, never more. */
size_t ln_unescape(const struct ln_delims *d, struct ln_span raw, char *out);

/* Length of the sequence at p that means the same in every message, its two escape characters
 * included: \H\ \N\ \.br\ \.sp n\ \X..\ \C..\ \M..\ \Z..\. 0: it is none. p[0] is the escape
 * character. */
size_t ln_escape_command(const struct ln_delims *d, const char *p, size_t len);

/* Length of text when escaped. LN_EINVAL: it holds what cannot be written, since MSH-2 declares no
 * escape character. */
int ln_escape_len(const struct ln_delims *d, struct ln_span text, size_t *len, struct ln_err *err);
/* Writes the escaped text: ln_escape_len bytes. */
void ln_escape(const struct ln_delims *d, struct ln_span text, char *out);

/* How the byte at text[i] is written: its sequence without the escape characters (NULL: as it is),
 * and in *used how many bytes of text it stands for. */
const char *ln_escape_at(const struct ln_delims *d, struct ln_span text, size_t i, size_t *used);

/* Separators that a part may hold. */
enum ln_depth { LN_DEPTH_FIELD, LN_DEPTH_REPETITION, LN_DEPTH_COMPONENT, LN_DEPTH_SUBCOMPONENT };

/* True when c separates at a level at which a part of this level must not be cut. */
bool ln_depth_cuts(const struct ln_delims *d, enum ln_depth level, char c);

/* A raw part of a message with delimiters `from`, written with those of `to`: structure and escapes
 * are kept, and what is plain in one and special in the other is escaped. out may be NULL: *len is
 * set to the length that is needed. LN_EINVAL when `to` has no such delimiter. */
int ln_reencode(const struct ln_delims *from, const struct ln_delims *to, struct ln_span raw,
                char *out, size_t *len, struct ln_err *err) LN_MUST;

#endif
