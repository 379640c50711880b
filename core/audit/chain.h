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

/* How the end of the log and the signed head go together. */
enum ln_audit_end {
    AUDIT_AS_SIGNED,
    AUDIT_UNSIGNED, /* entries stand behind the signed one: their writer was ended before it signed
                     */
    AUDIT_CUT, /* what was signed is not there, or is not what was signed */
    AUDIT_NO_HEAD, /* there are entries, and no valid head */
};

struct ln_audit {
    int dir, lock, fd, head;
    uint64_t file_max, size, reserved; /* of the file at fd */
    uint64_t seq; /* of the last entry; 0: none */
    unsigned char hash[32], hash_key[32];
    EVP_PKEY *key;
    bool made_key; /* to be recorded */
    uint64_t torn; /* bytes behind the last entry that are none; 0: none */
    char torn_hash[LN_AUDIT_HEX];
    bool open_line; /* the last entry lacks the end of its line */
    enum ln_audit_end end; /* to be recorded, unless it is as signed */
    uint64_t head_seq; /* as it was signed last; 0: none */
    unsigned char head_hash[32];
    char path[4096];
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
/* The newest valid head below dir; *seq 0: there is none. */
void ln_audit_head_read(int dir, EVP_PKEY *key, uint64_t *seq, unsigned char hash[32]);

/* ---- tail.c ---- */
/* Sets err to why the log cannot be `what` ("read"), after errno. */
int ln_audit_failed(struct ln_audit *a, struct ln_err *err, const char *what) LN_MUST;
/* Goes on in the file at fd, which it owns from here on; -1: none. */
void ln_audit_use(struct ln_audit *a, int fd, uint64_t size);
/* Under the lock: true state of the end. Cheap when nobody else has written. */
int ln_audit_catch_up(struct ln_audit *a, struct ln_err *err) LN_MUST;

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
