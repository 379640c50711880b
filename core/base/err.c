#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
    [-LN_OK] = "ok",
    [-LN_ENOMEM] = "out of memory",
    [-LN_EINVAL] = "invalid argument",
    [-LN_EIO] = "input/output error",
    [-LN_EFULL] = "full",
    [-LN_ETOOBIG] = "too big",
    [-LN_EPARSE] = "malformed",
    [-LN_ENOTFOUND] = "not found",
    [-LN_EEXIST] = "already exists",
    [-LN_EBUSY] = "in use",
    [-LN_EVERSION] = "wrong version",
    [-LN_ECLOSED] = "closed",
    [-LN_EAGAIN] = "try again",
    [-LN_ETIMEOUT] = "timed out",
    [-LN_ELIMIT] = "limit reached",
    [-LN_ESCRIPT] = "script error",
    [-LN_ETLS] = "TLS failed",
    [-LN_EKEY] = "no key for it",
};

const char *ln_strerror(int code)
{
    size_t i = code <= 0 ? (size_t)-code : sizeof texts;
    return i < sizeof texts / sizeof texts[0] ? texts[i] : "unknown error";
}

int ln_err_set(struct ln_err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->code = code;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

int ln_code_from_errno(int e)
{
    switch (e) {
    case 0: return LN_OK;
    case ENOMEM: return LN_ENOMEM;
    case EINVAL: return LN_EINVAL;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE: return LN_EFULL;
    case ENOENT: return LN_ENOTFOUND;
    case EEXIST: return LN_EEXIST;
    case EBUSY:
    case EADDRINUSE: return LN_EBUSY;
    case EPIPE:
    case ECONNRESET: return LN_ECLOSED;
    case EAGAIN: return LN_EAGAIN;
    case ETIMEDOUT: return LN_ETIMEOUT;
    default: return LN_EIO;
    }
}
