/* Character sets of messages: which one MSH-18 means, where its characters end, and their text.
 * Chapter 2.14.9.18 and .20 (MSH-18, MSH-20), 2.7.2 (escape sequences), table 0211.
 *
 * Messages stay in the bytes they came in. Delimiters are found between characters: in GB 18030,
 * BIG-5 and Shift JIS second bytes may look like | \ ^ ~, in ISO 2022 all bytes of a character may.
 * Text is UTF-8. A byte that is no character of the set stands in the text as it is, and is written
 * as it is: what was read comes back, or writing it is an error. */
#ifndef LN_HL7_CHARSET_H
#define LN_HL7_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum ln_charset_kind {
    LN_CHARSET_UTF8, /* bytes are the text; all zero is this one */
    LN_CHARSET_ASCII, /* the same for reading; nothing else can be written */
    LN_CHARSET_SINGLE, /* one byte each: 8859/1 .. */
    LN_CHARSET_MULTI, /* several, all of them above 0x7f: KS X 1001 (EUC-KR) .. */
    LN_CHARSET_TRAIL, /* the first above 0x7f, the others anywhere: GB 18030, BIG-5, Shift JIS */
    LN_CHARSET_ISO2022, /* switched by escape sequences: ISO IR87, ISO IR159 */
};

/* Sets of ISO 2022 that MSH-18 names beside the first. */
#define LN_SET_ROMAN  1 /* ISO IR14 */
#define LN_SET_KANA   2 /* ISO IR13 */
#define LN_SET_JIS208 4 /* ISO IR87 */
#define LN_SET_JIS212 8 /* ISO IR159 */

struct ln_charset {
    uint8_t kind; /* enum ln_charset_kind */
    uint8_t
        base; /* its number in the list of names; ISO 2022: of the set of bytes above 0x7f, or 0 */
    uint8_t sets; /* LN_SET_*, ISO 2022 only */
    char escape; /* the message's escape character: \C..\ and \M..\ switch sets, too; or '\0' */
};

#define LN_CHARSET_GET 8 /* bytes of UTF-8 that one character gives at most */
#define LN_CHARSET_PUT 8 /* bytes of one character, without switches */

/* What a source says of the character set of what it sends. */
struct ln_charset_policy {
    struct ln_charset charset;
    bool given; /* messages that do not name one (that is known) are in `charset` */
    bool force; /* all messages are */
    char substitute[LN_CHARSET_GET]; /* written for what the set lacks; "" = that is an error */
};

#ifndef LN_CDEF
static inline bool ln_charset_eq(struct ln_charset a, struct ln_charset b)
{
    return a.kind == b.kind && a.base == b.base && a.sets == b.sets;
}

/* True when delimiters must be looked for character by character. */
static inline bool ln_charset_steps(const struct ln_charset *cs)
{
    return cs->kind >= LN_CHARSET_TRAIL;
}
#endif

/* One name, as in table 0211 or in a usual spelling. LN_ENOTFOUND; LN_EINVAL for UTF-16 and UTF-32,
 * which no message can be in (their bytes hold CR and NUL). */
int ln_charset_find(struct ln_span name, struct ln_charset *cs) LN_MUST;
/* The value of MSH-18: a name, or several with repetition separators between. LN_ENOTFOUND when it
 * is empty or its first name is unknown, LN_EINVAL as above. */
int ln_charset_list(struct ln_span msh18, char repetition, struct ln_charset *cs) LN_MUST;
/* A policy as it stands in settings: "trust", or "default NAMES" or "force NAMES" (several names
 * with ~ between), and behind a tab the substitute. LN_EINVAL with err. */
int ln_charset_policy_read(struct ln_span text, struct ln_charset_policy *policy,
                           struct ln_err *err) LN_MUST;
/* Name of the set of a message, as in table 0211. */
const char *ln_charset_name(const struct ln_charset *cs);

/* What MSH-18 says of a set: its name, or several, with ISO 2022. */
void ln_charset_label(const struct ln_charset *cs, char repetition, char out[64]);

/* The character set of a message whose header segment is given. high, esc: bytes above 0x7f, ESC
 * occur in the message. LN_OK, or LN_ENOTFOUND when the policy had to say it. */
int ln_charset_resolve(struct ln_span header, char field, char repetition, char escape,
                       const struct ln_charset_policy *policy, bool high, bool esc,
                       struct ln_charset *cs);

/* ---- characters --------------------------------------------------------------------------------
 */

/* Where a reader stands in ISO 2022; all zero at the start of a message, field or part. */
struct ln_charset_state {
    uint8_t g0, g1;
};

/* Bytes of the character (or switch) at p < end; *opaque: they are no delimiters, whatever they
 * look like. */
size_t ln_charset_step(const struct ln_charset *cs, struct ln_charset_state *s, const char *p,
                       const char *end, bool *opaque);
/* First byte c in [p, end) that is a character of its own, or end. p: start of a part. */
const char *ln_charset_seek(const struct ln_charset *cs, const char *p, const char *end, char c);
/* Copies whole characters of [p, end) to out, up to cap bytes (at least 16), with 0x80 for bytes
 * that are no delimiters; returns how many bytes. sep: the field separator. */
size_t ln_charset_mask(const struct ln_charset *cs, struct ln_charset_state *s, char sep,
                       const char *p, const char *end, char *out, size_t cap);

/* ---- conversion (charset_iconv.c) ---------------------------------------------------------------
 */

/* The text of one character (n bytes at p, as ln_charset_step counts them; s as before it): bytes
 * written to out; 0 when it is none. */
size_t ln_charset_get(const struct ln_charset *cs, const struct ln_charset_state *s, const char *p,
                      size_t n, char out[LN_CHARSET_GET]);
/* The bytes of one character of text above U+007F; 0 when the set has none. *g0: what ISO 2022 must
 * have switched to. What is written reads back as the same character. */
size_t ln_charset_put(const struct ln_charset *cs, const char *utf8, size_t n,
                      char out[LN_CHARSET_PUT], uint8_t *g0);

/* Values of g0. */
enum { LN_G0_ASCII, LN_G0_KANA, LN_G0_JIS208, LN_G0_JIS212 };
/* The escape sequence that switches to g0. */
const char *ln_charset_switch(uint8_t g0);

/* Name of a set for iconv, by number; NULL when it has none. For charset_iconv.c. */
const char *ln_charset_iconv(unsigned base);
#define LN_CHARSETS_MAX 48

/* Bytes of a text in UTF-16 or UTF-32 (by a byte order mark, or by the zeros around MSH): name of
 * the encoding, or NULL. */
const char *ln_charset_wide(struct ln_span bytes);

#endif
