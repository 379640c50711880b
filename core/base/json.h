/* Writes JSON into a buffer; commas are put in by itself. Bytes that are not UTF-8 are written as
 * U+FFFD (the wire form of a message is given elsewhere, byte for byte). */
#ifndef LN_BASE_JSON_H
#define LN_BASE_JSON_H

#include "base/buf.h"

/* One of '{', '}', '[', ']'. */
void ln_json_open(struct ln_buf *b, char c);
void ln_json_close(struct ln_buf *b, char c);
void ln_json_key(struct ln_buf *b, const char *key);
void ln_json_str(struct ln_buf *b, struct ln_span s);
void ln_json_cstr(struct ln_buf *b, const char *s);
void ln_json_int(struct ln_buf *b, int64_t v);
void ln_json_num(struct ln_buf *b, double v, int decimals);
void ln_json_bool(struct ln_buf *b, bool v);
void ln_json_null(struct ln_buf *b);

#endif
