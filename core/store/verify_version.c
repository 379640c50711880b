/* The check of a store: script versions. What names a file must find it, and no file be kept that
 * nothing names. */
#include <stdio.h>
#include <stdlib.h>

#include "store/verify.h"
#include "store/version_key.h"

struct seen { /* a file, and how many versions name it */
    uint8_t hash[LN_VERSION_HASH];
    uint64_t refs;
};

struct walk {
    struct ln_verify_walk *w;
    struct seen *at;
    size_t n, cap;
};

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, LN_VERSION_HASH);
}

static int note(struct walk *k, const uint8_t *hash)
{
    if (k->n == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 64;
        struct seen *p = realloc(k->at, cap * sizeof *p);
        if (!p)
            return LN_ENOMEM;
        k->at = p;
        k->cap = cap;
    }
    k->at[k->n].refs = 1;
    memcpy(k->at[k->n++].hash, hash, LN_VERSION_HASH);
    return LN_OK;
}

/* Calls fn for each record of a kind that is what was put there. */
static int each(struct walk *k, char kind, const char *what,
                int (*fn)(struct walk *, MDB_val key, struct ln_span body))
{
    MDB_cursor *cur;
    MDB_val key = {1, &kind}, val;
    int rc = ln_reader_cursor(k->w->r, LN_DB_VER, &cur);
    if (rc != LN_OK)
        return rc;
    int m = mdb_cursor_get(cur, &key, &val, MDB_SET_RANGE);
    for (; !m && rc == LN_OK && *(char *)key.mv_data == kind;
         m = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
        struct ln_span body;
        const char *why;
        uint64_t total;
        bool has_chan = key.mv_size == 5 || key.mv_size == 13;
        k->w->out->records++;
        if (ln_record_open(ln_val_span(val), &body, &total) != LN_OK)
            body = ln_span("", 0); /* fn says that it is damaged */
        if (!ln_verify_sound(k->w, LN_DB_VER, key, val, &why))
            ln_verify_say(k->w, has_chan ? ln_get_u32((char *)key.mv_data + 1) : 0, 0, "%s %s",
                          what, why);
        else if (fn)
            rc = fn(k, key, body);
        ln_reader_forget(k->w->r);
    }
    return rc == LN_OK && m && m != MDB_NOTFOUND ? ln_code_from_mdb(m) : rc;
}

static int look_at_version(struct walk *k, MDB_val key, struct ln_span body)
{
    struct ln_version v;
    struct ln_version_file f;
    struct ln_dec d;
    uint32_t chan = key.mv_size == 13 ? ln_get_u32((char *)key.mv_data + 1) : 0;
    int rc = LN_OK;
    if (!chan || ln_version_head_read(body, &v, &d) != LN_OK) {
        ln_verify_say(k->w, chan, 0, "a script version is damaged");
        return LN_OK;
    }
    for (uint32_t i = 0; i < v.nfile && rc == LN_OK; i++) {
        struct ln_span content;
        if (ln_version_file_read(&d, &f) != LN_OK) {
            ln_verify_say(k->w, chan, 0, "script version %016llx is damaged",
                          (unsigned long long)v.id);
            break;
        }
        rc = note(k, f.hash);
        if (rc == LN_OK && !k->w->blind && ln_read_version_file(k->w->r, f.hash, &content) != LN_OK)
            ln_verify_say(k->w, chan, 0, "script version %016llx: file %.*s cannot be read",
                          (unsigned long long)v.id, (int)f.path.len, f.path.ptr);
    }
    return rc;
}

/* Sorts what was seen, and counts the same files together. */
static void gather(struct walk *k)
{
    size_t n = 0;
    if (k->n)
        qsort(k->at, k->n, sizeof *k->at, by_hash);
    for (size_t i = 0; i < k->n; i++)
        if (n && by_hash(&k->at[n - 1], &k->at[i]) == 0)
            k->at[n - 1].refs++;
        else
            k->at[n++] = k->at[i];
    k->n = n;
}

static int look_at_file(struct walk *k, MDB_val key, struct ln_span body)
{
    struct ln_version_kept kept;
    if (key.mv_size != 1 + LN_VERSION_HASH || ln_version_kept_read(body, &kept) != LN_OK) {
        ln_verify_say(k->w, 0, 0, "the count of a script's file is damaged");
        return LN_OK;
    }
    const struct seen *s =
        k->n ? bsearch((char *)key.mv_data + 1, k->at, k->n, sizeof *k->at, by_hash) : NULL;
    uint64_t refs = s ? s->refs : 0;
    if (refs != kept.refs)
        ln_verify_say(k->w, 0, 0, "a script's file: %llu versions are counted, %llu have it",
                      (unsigned long long)kept.refs, (unsigned long long)refs);
    return LN_OK;
}

static int look_at_run(struct walk *k, MDB_val key, struct ln_span body)
{
    struct ln_version_run r;
    uint32_t chan = key.mv_size == 13 ? ln_get_u32((char *)key.mv_data + 1) : 0;
    if (!chan || ln_version_run_read(body, &r) != LN_OK)
        ln_verify_say(k->w, chan, 0, "the note of when a script version ran is damaged");
    return LN_OK;
}

static int look_at_now(struct walk *k, MDB_val key, struct ln_span body)
{
    struct ln_version_now now;
    uint32_t chan = key.mv_size == 5 ? ln_get_u32((char *)key.mv_data + 1) : 0;
    if (!chan || ln_version_now_read(body, &now) != LN_OK)
        ln_verify_say(k->w, chan, 0, "the note of which script version runs is damaged");
    return LN_OK;
}

int ln_verify_versions(struct ln_verify_walk *w)
{
    struct walk k = {.w = w};
    if (w->r->env->db[LN_DB_VER] == LN_DB_NONE)
        return LN_OK;
    int rc = each(&k, 'v', "a script version", look_at_version);
    gather(&k);
    if (rc == LN_OK)
        rc = each(&k, 'n', "the count of a script's file", look_at_file);
    if (rc == LN_OK)
        rc = each(&k, 'r', "the note of when a script version ran", look_at_run);
    if (rc == LN_OK)
        rc = each(&k, 'c', "the note of which script version runs", look_at_now);
    if (rc == LN_OK)
        rc = each(&k, 'f', "a script's file", NULL);
    free(k.at);
    return rc;
}
