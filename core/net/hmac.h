/* HMAC-SHA256 (RFC 2104) through OpenSSL. */
#ifndef LN_NET_HMAC_H
#define LN_NET_HMAC_H

#include <stdbool.h>

#include "base/span.h"

/* Writes the 32 bytes of HMAC-SHA256(key, data) to out; false when OpenSSL fails. */
bool ln_hmac_sha256(struct ln_span key, struct ln_span data, unsigned char out[32]);

#endif
