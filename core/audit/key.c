/* Hashes, and the key that signs heads: Ed25519, `key.pem` (0600) and `public.pem`. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/chain.h"
#include "base/clock.h"

enum { PEM_MAX = 4096, SIG_LEN = 64, SIG_TEXT = 89 };

bool ln_audit_sha256(const void *data, size_t len, unsigned char out[32])
{
    unsigned n = 0;
    return EVP_Digest(data, len, out, &n, EVP_sha256(), NULL) == 1 && n == 32;
}

void ln_audit_hex(const unsigned char hash[32], char out[LN_AUDIT_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[64] = '\0';
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ln_audit_unhex(const char *hex, unsigned char out[32])
{
    for (int i = 0; i < 32; i++) {
        int hi = digit(hex[2 * i]), lo = hi < 0 ? -1 : digit(hex[2 * i + 1]);
        if (lo < 0)
            return false;
        out[i] = (unsigned char)(hi << 4 | lo);
    }
    return true;
}

/* ---- key files ---- */

static EVP_PKEY *parse(const char *pem, long len, bool secret)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = NULL;
    if (bio)
        key = secret ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
                     : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key && EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

/* Writes a file that is whole or not there. */
static bool keep(int dir, const char *name, BIO *bio)
{
    char tmp[64], *data;
    long len = BIO_get_mem_data(bio, &data);
    snprintf(tmp, sizeof tmp, "%s.new", name);
    unlinkat(dir, tmp, 0);
    int fd = ln_audit_file(dir, tmp, O_RDWR);
    bool ok = fd >= 0 && ln_audit_write_all(fd, data, (size_t)len) && fsync(fd) == 0;
    int e = errno;
    if (fd >= 0)
        close(fd);
    ok = ok && renameat(dir, tmp, dir, name) == 0 && fsync(dir) == 0;
    errno = ok ? 0 : e ? e : errno;
    return ok;
}

static EVP_PKEY *make(int dir)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *secret = BIO_new(BIO_s_mem()), *open = BIO_new(BIO_s_mem());
    bool ok = key && secret && open && PEM_write_bio_PUBKEY(open, key) &&
              PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) &&
              keep(dir, "public.pem", open) && keep(dir, "key.pem", secret);
    int e = errno;
    BIO_free(secret);
    BIO_free(open);
    if (!ok) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    errno = e;
    return key;
}

int ln_audit_key_load(int dir, bool *made, EVP_PKEY **out, struct ln_err *err)
{
    char pem[PEM_MAX];
    long n = ln_audit_read_small(dir, "key.pem", pem, sizeof pem);
    *made = n < 0 && errno == ENOENT;
    if (n < 0 && !*made)
        return ln_err_set(err, ln_code_from_errno(errno), "audit/key.pem: %s", strerror(errno));
    *out = *made ? make(dir) : parse(pem, n, true);
    OPENSSL_cleanse(pem, sizeof pem);
    if (*out)
        return LN_OK;
    if (*made)
        return ln_err_set(err, ln_code_from_errno(errno), "audit/key.pem cannot be made: %s",
                          strerror(errno));
    return ln_err_set(err, LN_EINVAL,
                      "audit/key.pem is not an Ed25519 key: put the right one back, or move it "
                      "away (a new one is made, and that is recorded)");
}

int ln_audit_public_load(int dir, const char *path, EVP_PKEY **out, struct ln_err *err)
{
    char pem[PEM_MAX];
    long n = ln_audit_read_small(dir, path, pem, sizeof pem);
    if (n < 0)
        return ln_err_set(err, ln_code_from_errno(errno), "public key %s: %s", path,
                          strerror(errno));
    *out = parse(pem, n, false);
    return *out ? LN_OK
                : ln_err_set(err, LN_EINVAL, "%s is not an Ed25519 public key in PEM", path);
}

/* ---- signed heads ---- */

static int statement(char *out, size_t cap, unsigned long long seq, const char *hex,
                     const char *when)
{
    return snprintf(out, cap, "lunate audit head 1\n%llu\n%s\n%s\n", seq, hex, when);
}

bool ln_audit_slot_write(EVP_PKEY *key, uint64_t seq, const unsigned char hash[32],
                         char out[AUDIT_SLOT])
{
    char hex[LN_AUDIT_HEX], when[40], text[256], sig64[SIG_TEXT];
    unsigned char sig[SIG_LEN];
    size_t len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ln_audit_hex(hash, hex);
    ln_iso_time(ln_now_us(), when, sizeof when);
    int n = statement(text, sizeof text, seq, hex, when);
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(ctx, sig, &len, (unsigned char *)text, (size_t)n) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return false;
    EVP_EncodeBlock((unsigned char *)sig64, sig, SIG_LEN);
    n = snprintf(out, AUDIT_SLOT, "{\"seq\":%llu,\"hash\":\"%s\",\"time\":\"%s\",\"sig\":\"%s\"}",
                 (unsigned long long)seq, hex, when, sig64);
    memset(out + n, ' ', AUDIT_SLOT - (size_t)n);
    out[AUDIT_SLOT - 1] = '\n';
    return true;
}

bool ln_audit_slot_read(EVP_PKEY *key, const char in[AUDIT_SLOT], uint64_t *seq,
                        unsigned char hash[32])
{
    char line[AUDIT_SLOT + 1], hex[LN_AUDIT_HEX] = "", when[40] = "", sig64[SIG_TEXT] = "",
                               text[256];
    unsigned char sig[SIG_LEN + 3];
    unsigned long long n = 0;
    memcpy(line, in, AUDIT_SLOT);
    line[AUDIT_SLOT] = '\0';
    if (sscanf(
            line,
            "{\"seq\":%18llu,\"hash\":\"%64[0-9a-f]\",\"time\":\"%39[^\"]\",\"sig\":\"%88[^\"]\"}",
            &n, hex, when, sig64) != 4 ||
        !ln_audit_unhex(hex, hash) || strlen(sig64) != 88 ||
        EVP_DecodeBlock(sig, (unsigned char *)sig64, 88) < SIG_LEN)
        return false;
    *seq = n;
    int len = statement(text, sizeof text, n, hex, when);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, sig, SIG_LEN, (unsigned char *)text, (size_t)len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

void ln_audit_head_read(int dir, EVP_PKEY *key, uint64_t *newest, unsigned char hash[32])
{
    char slots[2 * AUDIT_SLOT];
    unsigned char of[32];
    uint64_t seq;
    long n = ln_audit_read_small(dir, "head", slots, sizeof slots);
    *newest = 0;
    for (long i = 0; (i + 1) * AUDIT_SLOT <= n; i++)
        if (ln_audit_slot_read(key, slots + i * AUDIT_SLOT, &seq, of) && seq > *newest) {
            *newest = seq;
            memcpy(hash, of, 32);
        }
}
