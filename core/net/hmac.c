#include "net/hmac.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool ln_hmac_sha256(struct ln_span key, struct ln_span data, unsigned char out[32])
{
    unsigned len = 32;
    if (key.len > INT_MAX)
        return false;
    return HMAC(EVP_sha256(), key.ptr, (int)key.len, (const unsigned char *)data.ptr, data.len, out,
                &len) != NULL &&
           len == 32;
}
