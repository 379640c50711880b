/* Encryption at rest: which keys a store has, and how a record is sealed with them.
 *
 * Generations. Whenever an engine starts (and when an operator rotates), it makes a data key at
 * random, the next generation, which is wrapped with the operator's key and put into meta with the
 * first transaction that uses it. So whatever a crash, an aborted transaction, a restored backup or
 * a copied folder made of the past: no two engines' lives ever seal with the same key. Within a
 * life nonces are a counter that never goes back, also when a transaction is done again, with 32
 * random bits that every transaction draws (for a machine that is cloned while it runs). Generation
 * 0 seals nothing: ids in the index and names in kv are hashed with it (HMAC-SHA256).
 *
 * What is sealed. Receipts (but for kind, time, channel and number, which trimming and checking
 * need), results, outcomes, events, kv with its names: AES-256-GCM. Numbers, maps, the index,
 * script versions and the notes of what is parked hold nothing of a patient: they stay readable and
 * are authenticated, which readers of versions and verify look at. Authenticated with each record
 * are its table and key, its flags, length and clear part: it opens at its place alone. The CRC-32C
 * stands around all that: damage is found without a key.
 *
 * meta: "key" and u32 generation: {u64 first place it may be used at, wrapped key, CRC-32C} */
#ifndef LN_STORE_SEAL_H
#define LN_STORE_SEAL_H

#ifndef LN_CDEF
#include "crypt/keys.h"
#include "store/lmdb_env.h"

/* A generation's key. `from`: places before were given out before it. */
struct ln_generation {
    uint32_t gen;
    uint64_t from;
    bool stale; /* wrapped with another key than the present one */
};

/* The data keys of an environment, for all of its threads. */
struct ln_vault {
    pthread_mutex_t lock;
    struct ln_keys *keys; /* the operator's; NULL: none were given */
    struct ln_generation *gen; /* in order; gen[0] is generation 0 */
    unsigned n, cap;
    unsigned char (*secret)[LN_AEAD_KEY]; /* beside them, in locked memory */
};

/* What one thread seals or opens with. */
struct ln_seal {
    struct ln_env *env;
    struct ln_aead *in, *out;
    uint32_t in_gen, out_gen; /* 0: no key yet */
    uint64_t count, limit; /* nonces given out; when the next generation is due */
    uint32_t salt;
    unsigned char nonce[LN_AEAD_NONCE]; /* of the record that was written last */
    struct ln_mac *mac;
};

/* ---- vault.c ------------------------------------------------------------------------------- */

struct ln_vault *ln_vault_new(struct ln_keys *keys);
void ln_vault_free(struct ln_vault *v);
/* The operator's keys of this process, as ln_store_keys was told; NULL = none. To be unref'd. */
struct ln_keys *ln_vault_keys(void);
/* Takes over the generations in meta that are not known yet. LN_EKEY: none of our keys opens one.
 */
int ln_vault_load(const struct ln_env *e, MDB_txn *txn, MDB_dbi meta, struct ln_err *err) LN_MUST;
bool ln_vault_any(MDB_txn *txn, MDB_dbi meta); /* whether meta holds a generation */
/* Copies a generation's key. LN_ENOTFOUND. */
int ln_vault_get(struct ln_vault *v, uint32_t gen, unsigned char key[LN_AEAD_KEY]) LN_MUST;
/* Makes a generation with a key of its own: it must be put before it is used. */
int ln_vault_add(struct ln_vault *v, uint64_t from, uint32_t *gen) LN_MUST;
/* Puts all generations, wrapped with the present key. LMDB's codes. */
int ln_vault_put(const struct ln_env *e, MDB_txn *txn);
/* Whether the store is (to be) encrypted, and something has to be put for that. */
bool ln_vault_stale(struct ln_vault *v);
/* After the commit. */
void ln_vault_settled(struct ln_vault *v);
/* Whether there are keys to open with. */
bool ln_vault_open(struct ln_vault *v);
/* Whether a generation's value in meta is whole. */
bool ln_vault_sound(MDB_val val);
/* The first place that is sealed; UINT64_MAX: none is. */
uint64_t ln_vault_from(struct ln_vault *v);
/* Takes the operator's keys' place: all generations are then stale. */
void ln_vault_rekey(struct ln_vault *v, struct ln_keys *keys);

/* ---- seal.c -------------------------------------------------------------------------------- */

struct ln_seal *ln_seal_new(struct ln_env *e);
void ln_seal_free(struct ln_seal *s);
/* Seals with that generation from now on. Lunate's codes. */
int ln_seal_use(struct ln_seal *s, uint32_t gen) LN_MUST;
/* For every transaction: new random bits. */
int ln_seal_renew(struct ln_seal *s) LN_MUST;

/* Bytes that a sealed record takes in one value, its sum included, and the most of a body that the
 * first value of a chunked one holds. */
size_t ln_seal_size(enum ln_db db, struct ln_span rec);
size_t ln_seal_first(enum ln_db db, struct ln_span rec);
/* Writes a record, as it was encoded, to `to`; of a chunked one the first `first` bytes of its
 * body (first = all: not chunked). The nonces of `parts` parts are kept for them. */
int ln_seal_write(struct ln_seal *s, enum ln_db db, struct ln_span key, struct ln_span rec,
                  size_t first, unsigned parts, char *to) LN_MUST;
/* Part i (from 0) of the record that was written last. */
int ln_seal_part(struct ln_seal *s, uint32_t i, struct ln_span key, struct ln_span part,
                 char *to) LN_MUST;

/* Opens what stands in one value to `to`, which has room for the whole of it; *len: what it came
 * to. LN_EPARSE: not what was written there. LN_EKEY: no key for it. */
int ln_seal_open(struct ln_seal *s, MDB_txn *txn, enum ln_db db, struct ln_span key,
                 const struct ln_sealed *rec, char *to, size_t *len) LN_MUST;
int ln_seal_open_part(struct ln_seal *s, MDB_txn *txn, const struct ln_sealed *first, uint32_t i,
                      struct ln_span key, struct ln_span part, char *to) LN_MUST;

/* Keyed hashes: of an id in the index (kind: enum ln_index), of a name in kv. */
int ln_seal_hash(struct ln_seal *s, MDB_txn *txn, unsigned kind, struct ln_span id,
                 uint64_t *hash) LN_MUST;
int ln_seal_name(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name,
                 struct ln_key *key) LN_MUST;
/* kv of an encrypted store: the name stands with the value, the key is its hash. rec: the value as
 * a record. LMDB's codes. */
int ln_seal_put_kv(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name,
                   struct ln_span rec, struct ln_buf *scratch);
int ln_seal_del_kv(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name);
#endif
#endif
