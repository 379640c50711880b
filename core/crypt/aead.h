/* AES-256-GCM, HMAC-SHA256 and SHA-256, through OpenSSL.
 *
 * A context belongs to one thread. Who seals sees to it that no nonce is used twice under a key:
 * two records under the same one give away both, and the key that makes the tags. */
#ifndef LN_CRYPT_AEAD_H
#define LN_CRYPT_AEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

#define LN_AEAD_KEY   32
#define LN_AEAD_NONCE 12
#define LN_AEAD_TAG   16
#define LN_MAC_LEN    32

struct ln_aead;
struct ln_mac;

/* seal: for ln_aead_seal; else for ln_aead_open. NULL: out of memory. */
struct ln_aead *ln_aead_new(bool seal);
/* The key of what follows. LN_EIO when OpenSSL refuses it. */
int ln_aead_key(struct ln_aead *a, const unsigned char *key) LN_MUST;
/* Writes in.len + LN_AEAD_TAG bytes to out. The two spans of `with` are authenticated and stay as
 * they are; in may be empty. */
int ln_aead_seal(struct ln_aead *a, const unsigned char *nonce, const struct ln_span with[2],
                 struct ln_span in, char *out) LN_MUST;
/* Writes in.len - LN_AEAD_TAG bytes to out. LN_EPARSE: not what was sealed; out then holds
 * nothing of use. */
int ln_aead_open(struct ln_aead *a, const unsigned char *nonce, const struct ln_span with[2],
                 struct ln_span in, char *out) LN_MUST;
void ln_aead_free(struct ln_aead *a);

/* HMAC-SHA256 (RFC 2104) with a key that stays. */
struct ln_mac *ln_mac_new(const unsigned char *key, size_t len);
int ln_mac(struct ln_mac *m, const struct ln_span *parts, size_t n,
           unsigned char out[LN_MAC_LEN]) LN_MUST;
void ln_mac_free(struct ln_mac *m);

enum { LN_SHA256_LEN = 32 };
/* SHA-256 (FIPS 180-4) over the parts in a row. LN_ENOMEM. */
int ln_sha256(const struct ln_span *parts, size_t n, unsigned char out[LN_SHA256_LEN]) LN_MUST;

/* Random bytes for keys and nonces, from the system. LN_EIO. */
int ln_crypt_random(void *to, size_t len) LN_MUST;

#endif
