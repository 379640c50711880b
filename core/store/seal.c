#include "store/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum {
    HEAD = LN_RECORD_HEAD + 4 + LN_AEAD_NONCE, /* without total and the clear part's length */
    AROUND = LN_AEAD_TAG + LN_RECORD_SUM,
};

/* A generation seals no more records than this: far below where GCM gets weak (2^32 records of a
 * random nonce), and a counter would have room for more. */
#define RECORDS ((uint64_t)1 << 31)

struct ln_seal *ln_seal_new(struct ln_env *e)
{
    struct ln_seal *s = calloc(1, sizeof *s);
    if (s)
        s->env = e;
    return s;
}

void ln_seal_free(struct ln_seal *s)
{
    if (!s)
        return;
    ln_aead_free(s->in);
    ln_aead_free(s->out);
    ln_mac_free(s->mac);
    free(s);
}

int ln_seal_use(struct ln_seal *s, uint32_t gen)
{
    unsigned char key[LN_AEAD_KEY];
    if (!s->out && !(s->out = ln_aead_new(true)))
        return LN_ENOMEM;
    int rc = ln_vault_get(s->env->vault, gen, key);
    if (rc == LN_OK)
        rc = ln_aead_key(s->out, key);
    ln_secret_wipe(key, sizeof key);
    s->out_gen = rc == LN_OK ? gen : 0;
    s->limit = s->count + RECORDS;
    return rc == LN_OK ? ln_seal_renew(s) : rc;
}

int ln_seal_renew(struct ln_seal *s)
{
    return ln_crypt_random(&s->salt, sizeof s->salt);
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* How much at the front of a body stays readable. */
static size_t clear_of(enum ln_db db, struct ln_span body)
{
    switch (db) {
    case LN_DB_LOG: return ln_record_receipt_head_len(body);
    case LN_DB_RES:
    case LN_DB_OUT:
    case LN_DB_EV:
    case LN_DB_PART:
    case LN_DB_KV: return 0;
    default: return body.len;
    }
}

static size_t num_len(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static struct ln_span body_of(struct ln_span rec)
{
    return ln_span(rec.ptr + LN_RECORD_HEAD, rec.len - LN_RECORD_HEAD);
}

size_t ln_seal_size(enum ln_db db, struct ln_span rec)
{
    struct ln_span body = body_of(rec);
    return HEAD + num_len(clear_of(db, body)) + body.len + AROUND;
}

size_t ln_seal_first(enum ln_db db, struct ln_span rec)
{
    return LN_CHUNK - HEAD - 8 - num_len(clear_of(db, body_of(rec))) - AROUND;
}

/* The table and key that a record is bound to. */
struct place {
    char b[64];
    size_t len;
};

static struct place place_of(enum ln_db db, struct ln_span key)
{
    struct place p = {.len = 1 + key.len};
    if (p.len > sizeof p.b)
        p.len = sizeof p.b; /* none is that long */
    p.b[0] = (char)db;
    memcpy(p.b + 1, key.ptr, p.len - 1);
    return p;
}

static void put_u32(unsigned char *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++, v >>= 8)
        p[i] = (unsigned char)(v & 0xff);
}

static void make_nonce(uint64_t count, uint32_t salt, unsigned char nonce[LN_AEAD_NONCE])
{
    put_u32(nonce, (uint32_t)count);
    put_u32(nonce + 4, (uint32_t)(count >> 32));
    put_u32(nonce + 8, salt);
}

/* That of part i behind the nonce of its record. */
static void part_nonce(const unsigned char *first, uint32_t i, unsigned char nonce[LN_AEAD_NONCE])
{
    uint64_t count = 0;
    for (unsigned b = 8; b-- > 0;)
        count = count << 8 | first[b];
    memcpy(nonce + 8, first + 8, 4);
    count += (uint64_t)i + 1;
    put_u32(nonce, (uint32_t)count);
    put_u32(nonce + 4, (uint32_t)(count >> 32));
}

/* ---- sealing ------------------------------------------------------------------------------- */

int ln_seal_write(struct ln_seal *s, enum ln_db db, struct ln_span key, struct ln_span rec,
                  size_t first, unsigned parts, char *to)
{
    struct ln_span body = body_of(rec);
    struct ln_enc e = {to};
    struct place place = place_of(db, key);
    bool chunked = first < body.len;
    size_t clear = clear_of(db, body);
    if (s->out_gen == 0 || clear > first)
        return LN_EKEY;
    ln_enc_u8(&e, (uint8_t)rec.ptr[0]);
    ln_enc_u8(&e, (uint8_t)rec.ptr[1] | LN_RECORD_SUMMED | LN_RECORD_SEALED |
                      (chunked ? LN_RECORD_CHUNKED : 0));
    if (chunked)
        ln_enc_u64(&e, body.len);
    put_u32((unsigned char *)e.p, s->out_gen);
    e.p += 4;
    make_nonce(s->count, s->salt, s->nonce);
    s->count += 1 + (uint64_t)parts;
    ln_enc_raw(&e, ln_span((const char *)s->nonce, LN_AEAD_NONCE));
    ln_enc_num(&e, clear);
    ln_enc_raw(&e, ln_span(body.ptr, clear));
    struct ln_span with[2] = {ln_span(place.b, place.len), ln_span(to, (size_t)(e.p - to))};
    int rc = ln_aead_seal(s->out, s->nonce, with, ln_span(body.ptr + clear, first - clear), e.p);
    ln_record_sum(to, (size_t)(e.p - to) + first - clear + LN_AEAD_TAG);
    return rc;
}

int ln_seal_part(struct ln_seal *s, uint32_t i, struct ln_span key, struct ln_span part, char *to)
{
    unsigned char nonce[LN_AEAD_NONCE];
    struct place place = place_of(LN_DB_PART, key);
    struct ln_span with[2] = {ln_span(place.b, place.len), ln_span("", 0)};
    part_nonce(s->nonce, i, nonce);
    int rc = ln_aead_seal(s->out, nonce, with, part, to);
    ln_record_sum(to, part.len + LN_AEAD_TAG);
    return rc;
}

/* ---- opening ------------------------------------------------------------------------------- */

static int get_key(struct ln_seal *s, MDB_txn *txn, uint32_t gen, unsigned char key[LN_AEAD_KEY])
{
    struct ln_env *e = s->env;
    int rc = ln_vault_get(e->vault, gen, key);
    if (rc == LN_ENOTFOUND) { /* the engine has gone on to another since we looked */
        if (ln_vault_load(e, txn, e->db[LN_DB_META], NULL) == LN_OK)
            rc = ln_vault_get(e->vault, gen, key);
        if (rc != LN_OK)
            rc = LN_EKEY;
    }
    return rc;
}

static int use_key(struct ln_seal *s, MDB_txn *txn, uint32_t gen)
{
    unsigned char key[LN_AEAD_KEY];
    if (gen == s->in_gen && gen)
        return LN_OK;
    if (gen == 0)
        return LN_EPARSE;
    s->in_gen = 0;
    if (!s->in && !(s->in = ln_aead_new(false)))
        return LN_ENOMEM;
    int rc = get_key(s, txn, gen, key);
    if (rc == LN_OK)
        rc = ln_aead_key(s->in, key);
    ln_secret_wipe(key, sizeof key);
    if (rc == LN_OK)
        s->in_gen = gen;
    return rc;
}

int ln_seal_open(struct ln_seal *s, MDB_txn *txn, enum ln_db db, struct ln_span key,
                 const struct ln_sealed *rec, char *to, size_t *len)
{
    struct place place = place_of(db, key);
    const struct ln_span with[2] = {ln_span(place.b, place.len), rec->head};
    int rc = s ? use_key(s, txn, rec->gen) : LN_EKEY;
    if (rc != LN_OK)
        return rc;
    if (rec->clear.len)
        memcpy(to, rec->clear.ptr, rec->clear.len);
    *len = rec->clear.len + rec->cipher.len - LN_AEAD_TAG;
    return ln_aead_open(s->in, rec->nonce, with, rec->cipher, to + rec->clear.len);
}

int ln_seal_open_part(struct ln_seal *s, MDB_txn *txn, const struct ln_sealed *first, uint32_t i,
                      struct ln_span key, struct ln_span part, char *to)
{
    unsigned char nonce[LN_AEAD_NONCE];
    struct place place = place_of(LN_DB_PART, key);
    const struct ln_span with[2] = {ln_span(place.b, place.len), ln_span("", 0)};
    int rc = s ? use_key(s, txn, first->gen) : LN_EKEY;
    part_nonce(first->nonce, i, nonce);
    return rc == LN_OK ? ln_aead_open(s->in, nonce, with, part, to) : rc;
}

/* ---- hashes -------------------------------------------------------------------------------- */

static int mac(struct ln_seal *s, MDB_txn *txn, const struct ln_span *parts, size_t n,
               unsigned char out[LN_MAC_LEN])
{
    unsigned char key[LN_AEAD_KEY];
    if (!s)
        return LN_EKEY;
    if (!s->mac) {
        int rc = get_key(s, txn, 0, key);
        if (rc == LN_OK && !(s->mac = ln_mac_new(key, sizeof key)))
            rc = LN_ENOMEM;
        ln_secret_wipe(key, sizeof key);
        if (rc != LN_OK)
            return rc;
    }
    return ln_mac(s->mac, parts, n, out);
}

int ln_seal_hash(struct ln_seal *s, MDB_txn *txn, unsigned kind, struct ln_span id, uint64_t *hash)
{
    unsigned char out[LN_MAC_LEN];
    char what = (char)kind;
    const struct ln_span parts[] = {ln_span(&what, 1), id};
    int rc = mac(s, txn, parts, 2, out);
    *hash = rc == LN_OK ? ln_get_u64(out) : 0;
    return rc;
}

int ln_seal_name(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name,
                 struct ln_key *key)
{
    unsigned char out[LN_MAC_LEN];
    struct ln_key c = ln_key_chan(chan);
    const struct ln_span parts[] = {ln_span("k", 1), ln_span((const char *)c.b, c.len), name};
    int rc = mac(s, txn, parts, 3, out);
    *key = ln_key_chan(chan | LN_KV_SEALED);
    memcpy(key->b + key->len, out, 16);
    key->len += 16;
    return rc;
}

int ln_seal_put_kv(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name,
                   struct ln_span rec, struct ln_buf *scratch)
{
    struct ln_key k;
    if (ln_seal_name(s, txn, chan, name, &k) != LN_OK)
        return EIO;
    MDB_val key = ln_key_val(&k);
    scratch->len = 0;
    if (ln_buf_reserve(scratch, rec.len + name.len + 10) != LN_OK)
        return ENOMEM;
    struct ln_enc e = {scratch->data};
    ln_enc_raw(&e, ln_span(rec.ptr, LN_RECORD_HEAD));
    ln_enc_bytes(&e, name);
    ln_enc_raw(&e, ln_span(rec.ptr + LN_RECORD_HEAD, rec.len - LN_RECORD_HEAD));
    scratch->len = (size_t)(e.p - scratch->data);
    return ln_part_seal(s->env, txn, LN_DB_KV, &key, ln_buf_span(scratch), 0);
}

int ln_seal_del_kv(struct ln_seal *s, MDB_txn *txn, uint32_t chan, struct ln_span name)
{
    struct ln_key k;
    if (ln_seal_name(s, txn, chan, name, &k) != LN_OK)
        return EIO;
    MDB_val key = ln_key_val(&k);
    return mdb_del(txn, s->env->db[LN_DB_KV], &key, NULL);
}
