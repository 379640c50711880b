/* UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LN_BASE_UTF8_H
#define LN_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length (1-4) of the sequence at s, of which `left` bytes (at least 1) may be read; 0 when it is
 * not one. */
size_t ln_utf8_len(const unsigned char *s, size_t left);
/* Writes the code point (not checked) to out; returns how many bytes. */
size_t ln_utf8_put(uint32_t code, char out[4]);

#endif
