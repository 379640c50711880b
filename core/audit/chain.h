/* Within core/audit: lines, hashes, keys, and the files of the log's folder. */
#ifndef LN_AUDIT_CHAIN_H
#define LN_AUDIT_CHAIN_H

#include "audit/audit.h"
#include "base/buf.h"

#ifndef LN_CDEF
#include <openssl/evp.h>

enum {
    AUDIT_LINE_MAX = 256 << 10,
    AUDIT_SLOT = 512, /* bytes of each of the two heads in `head` */
    AUDIT_NAME = 32,
};

/* ---- entry.c ---- */
/* Appends one line to b; *hash becomes its hash. */
void ln_audit_line(struct ln_buf *b, const struct ln_audit_entry *e, uint64_t seq,
                   unsigned char hash[32]);
/* Reads what the chain needs of a line (without its LF). False: it is not one of ours. */
struct ln_audit_link {
    uint64_t seq;
    unsigned char prev[32], hash[32];
    bool intact; /* its hash is the hash of its bytes */
};
bool ln_audit_read_line(struct ln_span line, struct ln_audit_link *out);
/* The text of a member of a line as it stands (escapes not undone); "" without. */
struct ln_span ln_audit_member(struct ln_span line, const char *key);

/* ---- key.c ---- */
bool ln_audit_sha256(const void *data, size_t len, unsigned char out[32]);
void ln_audit_hex(const unsigned char hash[32], char out[LN_AUDIT_HEX]);
bool ln_audit_unhex(const char *hex, unsigned char out[32]);
/* The signing key below dir; makes it when there is none (*made). */
int ln_audit_key_load(int dir, bool *made, EVP_PKEY **out, struct ln_err *err) LN_MUST;
/* A public key of a PEM file; dir AT_FDCWD or the log's folder. */
int ln_audit_public_load(int dir, const char *path, EVP_PKEY **out, struct ln_err *err) LN_MUST;
/* A slot: one JSON line, padded with blanks, LF at its end. */
bool ln_audit_slot_write(EVP_PKEY *key, uint64_t seq, const unsigned char hash[32],
                         char out[AUDIT_SLOT]);
bool ln_audit_slot_read(EVP_PKEY *key, const char in[AUDIT_SLOT], uint64_t *seq,
                        unsigned char hash[32]);

/* ---- files.c ---- */
/* Names of the log's files in order; NULL and n = 0 when there are none. Freed by the caller, one
 * block. */
char (*ln_audit_files(int dir, size_t *n))[AUDIT_NAME];
/* A file below dir that belongs to whom the folder belongs to, also when root makes it. */
int ln_audit_file(int dir, const char *name, int flags);
bool ln_audit_write_all(int fd, const char *data, size_t len);
/* Reads a small file whole: its length, or -1. */
long ln_audit_read_small(int dir, const char *name, char *out, size_t cap);
#endif

#endif
