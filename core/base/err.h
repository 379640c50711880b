/* Errors: one integer domain for all of Lunate.
 *
 * Calls return LN_OK (0) or one of the negative codes below. The file that called errno, LMDB or
 * OpenSSL translates. Calls whose failure a person will read also fill a struct ln_err, once, where
 * the failure happened: what, where, what to do. Never message content. */
#ifndef LN_BASE_ERR_H
#define LN_BASE_ERR_H

#include <stddef.h>

enum ln_code {
    LN_OK = 0,
    LN_ENOMEM = -1,
    LN_EINVAL = -2, /* wrong argument or configuration */
    LN_EIO = -3, /* the system failed */
    LN_EFULL = -4, /* disk, map or limit full; may pass */
    LN_ETOOBIG = -5, /* over a size limit */
    LN_EPARSE = -6, /* bytes that do not read as what they should be */
    LN_ENOTFOUND = -7, /* no such thing */
    LN_EEXIST = -8, /* is there already */
    LN_EBUSY = -9, /* in use by somebody else */
    LN_EVERSION = -10, /* made by another version */
    LN_ECLOSED = -11, /* the other side is gone */
    LN_EAGAIN = -12, /* not now */
    LN_ETIMEOUT = -13, /* took too long */
    LN_ELIMIT = -14, /* a script's limit was reached */
    LN_ESCRIPT = -15, /* a script's error */
    LN_ETLS = -16, /* no secure connection with this peer */
    LN_EKEY = -17, /* encrypted, and there is no key for it */
};

struct ln_err {
    int code;
    size_t offset; /* byte offset in the input, where that makes sense */
    char text[512]; /* one line for a person */
};

#ifndef LN_CDEF
#define LN_MUST         __attribute__((warn_unused_result))
#define LN_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define LN_MUST
#define LN_PRINTF(a, b)
#endif

/* Short text for a code, never NULL. */
const char *ln_strerror(int code);

/* Fills *err (when it is not NULL) and returns code. */
int ln_err_set(struct ln_err *err, int code, const char *fmt, ...) LN_PRINTF(3, 4);

/* Translates errno. */
int ln_code_from_errno(int e);

#endif
