/* Script versions in the store: what each channel ran, with the text of every file, for as long as
 * a kept message names it.
 *
 * A file is kept once, compressed, under the SHA-256 of its content, whoever uses it; a version is
 * a list of paths and hashes. A *run* is a stretch of messages that one version handled. Table
 * `ver`, keys by their first byte:
 * - 'f' hash, i u32: the file's content, compressed, in parts
 * - 'n' hash: how many versions have it, its length, its parts
 * - 'v' chan u32, id u64: a version
 * - 'r' chan u32, first seq u64: a run that has ended (the present one stands in the numbers)
 * - 'c' chan u32: what runs now, and whether somebody has rolled back to it
 *
 * A version goes when no kept message names it, it does not run, and SPARE newer such ones are
 * there. All times are microseconds since 1970. */
#ifndef LN_STORE_VERSION_H
#define LN_STORE_VERSION_H

#include "base/buf.h"
#include "store/store.h"

#define LN_VERSION_HASH 32u

struct ln_version_file {
    struct ln_span path; /* relative to the site */
    uint8_t hash[LN_VERSION_HASH]; /* SHA-256 of the content */
    struct ln_span packed; /* putting: its content, ln_version_pack'ed; NULL when the store is known
                              to have it */
    uint64_t len; /* putting: of the content */
};

struct ln_version {
    uint64_t id; /* first 8 bytes of the hash, big-endian: what results name */
    uint8_t hash[LN_VERSION_HASH];
    int64_t first_us, last_us; /* when it was put: first, last */
    char git[65]; /* commit of the site's checkout; "" = unknown */
    bool dirty; /* files of the site differed from that commit */
    uint32_t nfile;
    const struct ln_version_file *file; /* in the order that the hash goes over them */
};

struct ln_version_run {
    uint64_t id, first_seq, last_seq, messages;
    int64_t first_us, last_us;
};

struct ln_version_now {
    uint64_t id; /* what runs; 0 = unknown */
    uint64_t pin; /* rolled back to this one; 0 = not rolled back */
    uint64_t pin_from; /* which ran before that */
    int64_t pin_us;
    struct ln_span reason;
};

/* Compresses a file's content for a version. Any thread may do so. */
int ln_version_pack(struct ln_span content, struct ln_buf *out) LN_MUST;
/* Keeps a version of a channel, as what runs now. `done` gets LN_ENOTFOUND when a file without
 * content is not there: put it again with all. Of git, what is known stays: a commit that the files
 * are takes the place of none and of one that they differ from, nothing else does. */
int ln_store_version(struct ln_store *s, uint32_t chan, const struct ln_version *v,
                     ln_store_done *done, void *arg) LN_MUST;
/* Notes that the channel was rolled back (now->pin), or no longer is (0). now->id is not used. */
int ln_store_pin(struct ln_store *s, uint32_t chan, const struct ln_version_now *now,
                 ln_store_done *done, void *arg) LN_MUST;

/* LN_ENOTFOUND when there is no such thing; spans are valid until ln_reader_end. */
int ln_read_version(struct ln_reader *r, uint32_t chan, uint64_t id, struct ln_version *out);
/* In order of ids: pass *id = 0 first. */
int ln_read_next_version(struct ln_reader *r, uint32_t chan, uint64_t *id, struct ln_version *out);
/* A file's content: LN_EPARSE when a part of it is not what was put. */
int ln_read_version_file(struct ln_reader *r, const uint8_t *hash, struct ln_span *content);
bool ln_read_version_has(struct ln_reader *r, const uint8_t *hash);
/* In order: pass *seq = 0 first; sets it to where to go on. */
int ln_read_next_run(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_version_run *out);
int ln_read_version_now(struct ln_reader *r, uint32_t chan, struct ln_version_now *out);

#endif
