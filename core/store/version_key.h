/* Keys and records of the table `ver`: shared by what writes, reads and checks it (version.h). */
#ifndef LN_STORE_VERSION_KEY_H
#define LN_STORE_VERSION_KEY_H

#ifndef LN_CDEF
#include "store/lmdb_env.h"
#include "store/version.h"

struct ln_version_key {
    unsigned char b[1 + LN_VERSION_HASH + 4];
    size_t len;
};

static inline struct ln_version_key ln_version_key_hash(char kind, const uint8_t *hash)
{
    struct ln_version_key k = {.len = 1 + LN_VERSION_HASH};
    k.b[0] = (unsigned char)kind;
    memcpy(k.b + 1, hash, LN_VERSION_HASH);
    return k;
}

static inline struct ln_version_key ln_version_key_part(const uint8_t *hash, uint32_t i)
{
    struct ln_version_key k = ln_version_key_hash('f', hash);
    for (int shift = 24; shift >= 0; shift -= 8)
        k.b[k.len++] = (unsigned char)(i >> shift);
    return k;
}

static inline struct ln_version_key ln_version_key_chan(char kind, uint32_t chan)
{
    struct ln_key n = ln_key_chan(chan);
    struct ln_version_key k = {.len = 1 + n.len};
    k.b[0] = (unsigned char)kind;
    memcpy(k.b + 1, n.b, n.len);
    return k;
}

static inline struct ln_version_key ln_version_key_of(char kind, uint32_t chan, uint64_t number)
{
    struct ln_key n = ln_key_msg(chan, number);
    struct ln_version_key k = {.len = 1 + n.len};
    k.b[0] = (unsigned char)kind;
    memcpy(k.b + 1, n.b, n.len);
    return k;
}

static inline MDB_val ln_version_val(struct ln_version_key *k)
{
    return (MDB_val){k->len, k->b};
}

/* Whether a key begins with these bytes and has this length. */
static inline bool ln_version_is(MDB_val key, const struct ln_version_key *prefix, size_t len)
{
    return key.mv_size == len && memcmp(key.mv_data, prefix->b, prefix->len) == 0;
}

/* What stands under 'n'. */
struct ln_version_kept {
    uint64_t refs, len, parts;
};

/* What stands in bodies, as ln_part_open gives them. LN_EPARSE. */
int ln_version_kept_read(struct ln_span body, struct ln_version_kept *out) LN_MUST;
size_t ln_version_kept_write(char *at, const struct ln_version_kept *k);
enum { LN_VERSION_KEPT_MAX = 40, LN_VERSION_RUN_MAX = 80, LN_VERSION_NOW_MAX = 80 };
/* Without the files, which stand behind in *d: path, hash; v->nfile of them. */
int ln_version_head_read(struct ln_span body, struct ln_version *v, struct ln_dec *d) LN_MUST;
int ln_version_file_read(struct ln_dec *d, struct ln_version_file *f) LN_MUST;
size_t ln_version_bound(const struct ln_version *v);
size_t ln_version_write(char *at, const struct ln_version *v);
/* A run's numbers, which also end a channel's own (numbers.h). */
void ln_version_run_put(struct ln_enc *e, const struct ln_version_run *r);
int ln_version_run_take(struct ln_dec *d, struct ln_version_run *out) LN_MUST;
int ln_version_run_read(struct ln_span body, struct ln_version_run *out) LN_MUST;
size_t ln_version_run_write(char *at, const struct ln_version_run *r);
int ln_version_now_read(struct ln_span body, struct ln_version_now *out) LN_MUST;
size_t ln_version_now_write(char *at, const struct ln_version_now *n);
#endif
#endif
