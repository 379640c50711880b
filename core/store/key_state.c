/* What a store's keys are, for people. */
#include "store/reader.h"
#include "store/seal.h"

/* Which keys the data keys are wrapped with; the first place that is encrypted. */
static int look_at_keys(struct ln_reader *r, struct ln_key_state *out, uint64_t *from)
{
    MDB_cursor *c;
    MDB_val key = ln_span_val(ln_span_str("key")), val;
    int rc = ln_reader_cursor(r, LN_DB_META, &c);
    char id[LN_KEYS_ID_TEXT];
    unsigned n = 0, same = 0;
    *from = UINT64_MAX;
    int m = rc == LN_OK ? mdb_cursor_get(c, &key, &val, MDB_SET_RANGE) : MDB_NOTFOUND;
    for (; !m && key.mv_size == 7 && memcmp(key.mv_data, "key", 3) == 0;
         m = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        if (!ln_vault_sound(val))
            return LN_EPARSE;
        ln_keys_wrapped_id(ln_span((const char *)val.mv_data + 8, LN_WRAPPED), id);
        same = strcmp(id, out->key) == 0 ? same + 1 : 1;
        memcpy(out->key, id, sizeof id);
        if (n++ == 0)
            *from = ln_get_u64(val.mv_data);
    }
    out->generations = n ? n - 1 : 0;
    out->other = n - same;
    return m && m != MDB_NOTFOUND ? ln_code_from_mdb(m) : rc;
}

int ln_read_key_state(struct ln_reader *r, struct ln_key_state *out)
{
    struct ln_channel_state s;
    uint64_t from;
    *out = (struct ln_key_state){.sealed = ln_env_sealed(r->env, r->txn)};
    int rc = look_at_keys(r, out, &from);
    for (uint32_t id = 0; rc == LN_OK && (rc = ln_read_next_channel(r, id, &s)) == LN_OK;
         id = s.id) {
        MDB_cursor *map;
        struct ln_span runs;
        out->messages += r->numbers.kept;
        rc = ln_reader_runs(r, s.id, &map, &runs);
        if (rc == LN_OK)
            rc = ln_map_before(map, s.id, runs, from, &out->clear);
    }
    return rc == LN_ENOTFOUND ? LN_OK : rc;
}
