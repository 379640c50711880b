/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash. Without the key nobody can
 * choose inputs that collide, nor tell from a hash which identifier it stands for. */
#ifndef LN_BASE_HASH_H
#define LN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define LN_HASH_KEY_LEN 16

uint64_t ln_hash_sip(const uint8_t key[LN_HASH_KEY_LEN], const void *data, size_t len);

#endif
