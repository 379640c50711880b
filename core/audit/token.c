#include "audit/token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/chain.h"
#include "base/clock.h"

enum { SALT = 16, HASH = 32, SECRET = 32, LINE = 1024 };

static int failed(struct ln_err *err, const char *data, const char *what)
{
    return ln_err_set(err, ln_code_from_errno(errno), "%s/tokens cannot be %s: %s", data, what,
                      strerror(errno));
}

/* ---- a line: id role channels made ends salt hash name ---- */

static void to_hex(const unsigned char *in, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", in[i]);
}

static bool from_hex(const char *in, size_t n, unsigned char *out)
{
    for (size_t i = 0; i < n; i++)
        if (sscanf(in + 2 * i, "%2hhx", &out[i]) != 1)
            return false;
    return strlen(in) == 2 * n;
}

struct kept {
    struct ln_token t;
    unsigned char salt[SALT], hash[HASH];
};

static bool read_line(const char *line, struct kept *k)
{
    char role[16], salt[2 * SALT + 1], hash[2 * HASH + 1];
    long long made, ends;
    if (sscanf(line, "%16s %15s %511s %lld %lld %32s %64s %64s", k->t.id, role, k->t.channels,
               &made, &ends, salt, hash, k->t.name) != 8)
        return false;
    k->t.role = ln_role_of(ln_span(role, strlen(role)));
    k->t.made_us = made;
    k->t.ends_us = ends;
    return k->t.role && from_hex(salt, SALT, k->salt) && from_hex(hash, HASH, k->hash);
}

static void write_line(struct ln_buf *b, const struct kept *k)
{
    char salt[2 * SALT + 1], hash[2 * HASH + 1];
    to_hex(k->salt, SALT, salt);
    to_hex(k->hash, HASH, hash);
    ln_buf_addf(b, "%s %s %s %lld %lld %s %s %s\n", k->t.id, ln_role_name(k->t.role), k->t.channels,
                (long long)k->t.made_us, (long long)k->t.ends_us, salt, hash, k->t.name);
}

/* N = 2^14, r = 8, p = 1: 16 MB and some 50 ms. */
static bool derive(const char *secret, const unsigned char salt[SALT], unsigned char out[HASH])
{
    return EVP_PBE_scrypt(secret, strlen(secret), salt, SALT, 16384, 8, 1, 64u << 20, out, HASH) ==
           1;
}

/* ---- the file ---- */

static FILE *open_file(const char *data)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tokens", data);
    return fopen(path, "re");
}

int ln_token_each(const char *data, void (*take)(void *arg, const struct ln_token *t), void *arg,
                  struct ln_err *err)
{
    char line[LINE];
    struct kept k;
    FILE *f = open_file(data);
    if (!f)
        return errno == ENOENT ? LN_OK : failed(err, data, "read");
    while (fgets(line, sizeof line, f))
        if (read_line(line, &k))
            take(arg, &k.t);
    fclose(f);
    return LN_OK;
}

/* All lines but that of `drop`; *found: it was there. False: not all could be read, see errno. */
static bool read_others(const char *data, const char *drop, struct ln_buf *b, bool *found)
{
    char line[LINE];
    struct kept k;
    FILE *f = open_file(data);
    if (!f)
        return errno == ENOENT;
    while (fgets(line, sizeof line, f)) {
        bool is = drop && read_line(line, &k) && strcmp(k.t.id, drop) == 0;
        *found |= is;
        if (!is)
            ln_buf_adds(b, line);
    }
    bool whole = !ferror(f);
    fclose(f);
    return whole;
}

/* The whole file anew: without `drop`, with `add`. *found: drop was there. */
static int rewrite(const char *data, const char *drop, const struct kept *add, bool *found,
                   struct ln_err *err)
{
    struct ln_buf b = {0};
    int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int lock = dir < 0 ? -1 : ln_audit_file(dir, "tokens.lock", O_RDWR);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        int rc = failed(err, data, "changed");
        if (lock >= 0)
            close(lock);
        if (dir >= 0)
            close(dir);
        return rc;
    }
    int fd = -1, rc = LN_OK;
    if (read_others(data, drop, &b, found)) { /* else they would be lost */
        if (add)
            write_line(&b, add);
        unlinkat(dir, "tokens.new", 0);
        fd = ln_audit_file(dir, "tokens.new", O_RDWR);
    }
    if (fd < 0 || b.failed || !ln_audit_write_all(fd, b.data, b.len) || fsync(fd) != 0 ||
        renameat(dir, "tokens.new", dir, "tokens") != 0 || fsync(dir) != 0)
        rc = failed(err, data, "written");
    if (fd >= 0)
        close(fd);
    ln_buf_fini(&b);
    close(lock);
    close(dir);
    return rc;
}

static bool is_word(const char *s, size_t max)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f)
            return false;
    return n > 0 && n <= max;
}

int ln_token_new(const char *data, const struct ln_token *want, struct ln_token *made,
                 char text[LN_TOKEN_TEXT], struct ln_err *err)
{
    struct kept k = {.t = *want};
    unsigned char id[8], secret[SECRET];
    char hex[2 * SECRET + 1];
    bool found = false;
    if (!is_word(want->channels, sizeof want->channels - 1) || !is_word(want->name, 64) ||
        want->role == LN_ROLE_NONE)
        return ln_err_set(err, LN_EINVAL, "a token needs a role, channels and a name of one word");
    if (RAND_bytes(id, sizeof id) != 1 || RAND_bytes(secret, sizeof secret) != 1 ||
        RAND_bytes(k.salt, sizeof k.salt) != 1)
        return ln_err_set(err, LN_EIO, "no random numbers");
    to_hex(id, sizeof id, k.t.id);
    to_hex(secret, sizeof secret, hex);
    k.t.made_us = ln_now_us();
    if (!derive(hex, k.salt, k.hash))
        return ln_err_set(err, LN_EIO, "scrypt failed");
    int rc = rewrite(data, NULL, &k, &found, err);
    if (rc == LN_OK) {
        snprintf(text, LN_TOKEN_TEXT, "lnt_%s_%s", k.t.id, hex);
        *made = k.t;
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(hex, sizeof hex);
    return rc;
}

int ln_token_revoke(const char *data, const char *id, struct ln_err *err)
{
    bool found = false;
    int rc = rewrite(data, id, NULL, &found, err);
    if (rc == LN_OK && !found)
        return ln_err_set(err, LN_ENOTFOUND, "there is no token %.32s (lunate token list)", id);
    return rc;
}

int ln_token_check(const char *data, const char *text, int64_t now_us, struct ln_token *out,
                   struct ln_err *err)
{
    char line[LINE], id[LN_TOKEN_ID], secret[2 * SECRET + 1];
    unsigned char hash[HASH];
    struct kept k;
    int rc = ln_err_set(err, LN_ENOTFOUND, "no such token (revoked, or mistyped)");
    FILE *f = NULL;
    if (strlen(text) == 4 + 16 + 1 + 2 * SECRET &&
        sscanf(text, "lnt_%16[0-9a-f]_%64[0-9a-f]", id, secret) == 2 && (f = open_file(data))) {
        while (fgets(line, sizeof line, f)) {
            if (!read_line(line, &k) || strcmp(k.t.id, id) != 0)
                continue;
            if (derive(secret, k.salt, hash) && CRYPTO_memcmp(hash, k.hash, HASH) == 0)
                rc = k.t.ends_us > now_us
                         ? LN_OK
                         : ln_err_set(err, LN_ETIMEOUT, "token %s has expired", k.t.id);
            *out = k.t;
            break;
        }
        fclose(f);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    if (rc == LN_OK && err)
        err->code = LN_OK;
    return rc;
}

uint64_t ln_token_stamp(const char *data)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/tokens", data);
    if (stat(path, &st) != 0)
        return 0;
    return (uint64_t)st.st_ino * 1000003u ^ (uint64_t)st.st_mtim.tv_sec * 1000000000u ^
           (uint64_t)st.st_mtim.tv_nsec;
}
