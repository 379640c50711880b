/* The writing store as the loop sees it: opens, checks and queues operations. */
#include "store/store.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/engine.h"
#include "store/recent.h"
#include "store/seal.h"

enum {
    BACKLOG_MAX = 64 << 20,
    CLOSE_US = 10 * 1000 * 1000,
    KV_KEY_MAX = 400,
};

/* ---- life ---------------------------------------------------------------------------------- */

static bool grow_dests(struct ln_channel *ch, unsigned n)
{
    if (n <= ch->ndest)
        return true;
    struct ln_pos *pos = realloc(ch->dest_pos, n * sizeof *pos);
    if (pos)
        ch->dest_pos = pos;
    char(*names)[LN_NAME_MAX + 1] = realloc(ch->dest_name, n * sizeof *names);
    if (names)
        ch->dest_name = names;
    struct ln_dest_state *seen = realloc(ch->seen.dest, n * sizeof *seen);
    if (seen)
        ch->seen.s.dest = ch->seen.dest = seen;
    if (!pos || !names || !seen)
        return false;
    memset(pos + ch->ndest, 0, (n - ch->ndest) * sizeof *pos);
    ch->ndest = n;
    return true;
}

static struct ln_channel *add_channel(struct ln_store *s, const char *name)
{
    if (s->nchans == s->chans_cap) {
        unsigned cap = s->chans_cap ? s->chans_cap * 2 : 16;
        struct ln_channel *p = realloc(s->chans, cap * sizeof *p);
        if (!p)
            return NULL;
        s->chans = p;
        s->chans_cap = cap;
    }
    struct ln_channel *ch = &s->chans[s->nchans];
    *ch = (struct ln_channel){.next_seq = 1, .cursor = 1};
    ch->seen.s =
        (struct ln_channel_state){.id = ++s->nchans, .first_seq = 1, .next_seq = 1, .cursor = 1};
    memcpy(ch->name, name, strlen(name) + 1);
    memcpy(ch->seen.s.name, name, strlen(name) + 1);
    return ch;
}

/* The loop's view begins as what the committer has loaded. */
static int see_all(struct ln_store *s)
{
    for (unsigned i = 0; i < s->c.nchans; i++) {
        const struct ln_numbers *n = &s->c.chans[i];
        struct ln_channel *ch = add_channel(s, n->s.name);
        if (!ch || !grow_dests(ch, n->s.ndest))
            return LN_ENOMEM;
        struct ln_dest_state *dest = ch->seen.dest;
        ch->seen = *n;
        ch->seen.s.dest = ch->seen.dest = dest;
        ch->next_seq = n->s.next_seq;
        ch->cursor = n->s.cursor;
        for (unsigned d = 0; d < n->s.ndest; d++) {
            dest[d] = n->dest[d];
            ch->dest_pos[d] = dest[d].cursor;
            memcpy(ch->dest_name[d], dest[d].name, sizeof dest[d].name);
        }
        s->stat.messages += n->kept;
    }
    MDB_stat st;
    uint64_t used, freed;
    if (mdb_env_stat(s->env->mdb, &st) == 0 && ln_env_pages(s->env, &used, &freed, false) == LN_OK)
        s->stat.bytes = used * st.ms_psize;
    return LN_OK;
}

static int load(struct ln_store *s, struct ln_err *err)
{
    struct ln_committer *c = &s->c;
    int rc = mdb_txn_begin(s->env->mdb, NULL, MDB_RDONLY, &c->txn);
    if (!rc) {
        rc = ln_write_load(c);
        mdb_txn_abort(c->txn);
    }
    if (rc == MDB_CORRUPTED)
        return ln_err_set(err, LN_EPARSE, "%s/data.mdb: a channel's numbers cannot be read",
                          s->env->path);
    if (rc)
        return ln_err_set(err, ln_code_from_mdb(rc), "cannot read %s/data.mdb: %s", s->env->path,
                          mdb_strerror(rc));
    ln_recent_take(s->env->recent, &c->tail, c->indexed, c->next_pos);
    return see_all(s) == LN_OK ? LN_OK : ln_err_set(err, LN_ENOMEM, "out of memory");
}

static int start_thread(struct ln_store *s)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&s->thread, NULL, ln_commit_thread, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static void store_free(struct ln_store *s)
{
    ln_batch_fini(s);
    if (s->c.work)
        ln_batch_free(s->c.work);
    for (unsigned i = 0; i < s->c.chans_cap; i++)
        free(s->c.chans[i].dest);
    for (unsigned i = 0; i < s->c.chans_cap; i++)
        ln_map_fini(&s->c.maps[i]);
    free(s->c.chans);
    free(s->c.maps);
    ln_index_fini(&s->c.tail);
    ln_buf_fini(&s->c.scratch);
    ln_buf_fini(&s->c.input);
    ln_buf_fini(&s->c.opened);
    if (s->env) {
        s->env->out = NULL;
        ln_recent_free(s->env->recent);
        s->env->recent = NULL;
    }
    ln_seal_free(s->c.seal);
    for (unsigned i = 0; i < s->nchans; i++) {
        free(s->chans[i].seen.dest);
        free(s->chans[i].dest_pos);
        free(s->chans[i].dest_name);
    }
    free(s->chans);
    if (s->event_fd >= 0)
        close(s->event_fd);
    if (s->env)
        ln_env_close(s->env);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* What is opened stays until the next is. */
static char *room(void *committer, size_t len)
{
    struct ln_committer *c = committer;
    c->opened.len = 0;
    return ln_buf_reserve(&c->opened, len) == LN_OK ? c->opened.data : NULL;
}

int ln_store_open(const struct ln_store_options *opt, struct ln_store **out, struct ln_err *err)
{
    pthread_condattr_t attr;
    struct ln_store *s = calloc(1, sizeof *s);
    if (!s)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->done_last = &s->done;
    s->c.reserve = opt->reserve;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = s->event_fd < 0 ? ln_err_set(err, ln_code_from_errno(errno),
                                          "cannot open an eventfd: %s", strerror(errno))
                             : LN_OK;
    uint64_t map_size = opt->map_size ? opt->map_size : (uint64_t)1 << 40;
    if (rc == LN_OK)
        rc = ln_env_open(opt->path, LN_ENV_WRITE, map_size, &s->env, err);
    s->c.env = s->env;
    if (rc == LN_OK && (!(s->c.seal = ln_seal_new(s->env)) || !(s->env->recent = ln_recent_new())))
        rc = ln_err_set(err, LN_ENOMEM, "out of memory");
    s->c.plain = (struct ln_plain){s->c.seal, room, &s->c};
    if (rc == LN_OK)
        rc = load(s, err);
    if (rc == LN_OK && start_thread(s))
        rc = ln_err_set(err, LN_EIO, "cannot start the committer thread");
    if (rc != LN_OK)
        store_free(s);
    else
        *out = s;
    return rc;
}

void ln_store_close(struct ln_store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    s->stop_by_us = ln_mono_us() + CLOSE_US;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    ln_store_dispatch(s);
    store_free(s);
}

/* ---- names --------------------------------------------------------------------------------- */

static struct ln_channel *channel_of(struct ln_store *s, uint32_t id)
{
    return id && id <= s->nchans ? &s->chans[id - 1] : NULL;
}

static struct ln_op *name_op(struct ln_store *s, enum ln_op_kind kind, const char *name)
{
    struct ln_op *op = ln_batch_op(s, kind, strlen(name));
    if (op)
        memcpy(op->data, name, op->len);
    return op;
}

uint32_t ln_store_channel(struct ln_store *s, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < s->nchans; i++)
        if (strcmp(s->chans[i].name, name) == 0)
            return i + 1;
    if (!len || len > LN_NAME_MAX || !add_channel(s, name))
        return 0;
    struct ln_op *op = name_op(s, LN_OP_CHANNEL, name);
    if (!op) {
        s->nchans--;
        return 0;
    }
    op->chan = s->nchans;
    ln_batch_push(s, op);
    return s->nchans;
}

uint16_t ln_store_dest(struct ln_store *s, uint32_t chan, const char *name)
{
    struct ln_channel *ch = channel_of(s, chan);
    size_t len = strlen(name);
    for (unsigned i = 0; ch && i < ch->ndest; i++)
        if (strcmp(ch->dest_name[i], name) == 0)
            return (uint16_t)(i + 1);
    if (!ch || !len || len > LN_NAME_MAX || ch->ndest >= UINT16_MAX)
        return 0;
    struct ln_op *op = name_op(s, LN_OP_DEST, name);
    if (!op)
        return 0;
    if (!grow_dests(ch, ch->ndest + 1)) {
        pthread_mutex_unlock(&s->lock);
        return 0;
    }
    memcpy(ch->dest_name[ch->ndest - 1], name, len + 1);
    op->chan = chan;
    op->dest = (uint16_t)ch->ndest;
    ln_batch_push(s, op);
    return (uint16_t)ch->ndest;
}

/* ---- operations ---------------------------------------------------------------------------- */

static void address(struct ln_op *op, uint32_t chan, uint64_t seq, ln_store_done *done, void *arg)
{
    op->chan = chan;
    op->seq = seq;
    op->done = done;
    op->arg = arg;
}

int ln_store_append(struct ln_store *s, uint32_t chan, const struct ln_receipt *r, bool must,
                    ln_store_done *done, void *arg, uint64_t *seq)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch || r->npatient > LN_PATIENTS_MAX)
        return LN_EINVAL;
    size_t cap = ln_record_receipt_bound(r);
    uint64_t waits = atomic_load(&s->backlog);
    /* The first one always gets in, whatever its size. */
    if (!must && (atomic_load(&s->full) || (waits && waits + cap > BACKLOG_MAX)))
        return LN_EFULL;
    struct ln_op *op = ln_batch_op(s, LN_OP_APPEND, cap);
    if (!op)
        return LN_ENOMEM;
    address(op, chan, ch->next_seq, done, arg);
    op->must = must;
    op->len = ln_record_receipt_write(op->data, chan, op->seq, r);
    ln_batch_push(s, op);
    *seq = ch->next_seq++;
    return LN_OK;
}

static bool items_ok(const struct ln_channel *ch, const struct ln_processed *p)
{
    for (uint32_t i = 0; i < p->nitems; i++) {
        const struct ln_item *it = &p->items[i];
        bool delivers = it->kind == LN_I_BYTES || it->kind == LN_I_INPUT || it->kind == LN_I_SAME;
        if (it->kind < LN_I_BYTES || it->kind > LN_I_FORWARDED || it->dest > ch->ndest)
            return false;
        if (delivers && it->dest == 0)
            return false;
        if (it->kind == LN_I_SAME && (it->same >= i || p->items[it->same].kind != LN_I_BYTES))
            return false;
    }
    return true;
}

static void write_kv(struct ln_enc *e, const struct ln_kv_write *w)
{
    char head[LN_RECORD_HEAD];
    struct ln_enc h = {head};
    ln_enc_head(&h, 0);
    ln_enc_u8(e, w->deleted);
    ln_enc_bytes(e, w->key);
    ln_enc_num(e, sizeof head + w->value.len);
    ln_enc_raw(e, ln_span(head, sizeof head));
    ln_enc_raw(e, w->value);
}

int ln_store_result(struct ln_store *s, uint32_t chan, uint64_t seq, const struct ln_processed *p,
                    ln_store_done *done, void *arg)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch || seq < ch->cursor || seq >= ch->next_seq || p->state < LN_S_DONE ||
        p->state > LN_S_REJECTED || !items_ok(ch, p))
        return LN_EINVAL;
    size_t cap = ln_record_result_bound(p);
    for (uint32_t i = 0; i < p->nkv; i++) {
        if (p->kv[i].key.len == 0 || p->kv[i].key.len > KV_KEY_MAX)
            return LN_ETOOBIG;
        cap += 24 + p->kv[i].key.len + p->kv[i].value.len;
    }
    struct ln_op *op = ln_batch_op(s, LN_OP_RESULT, cap);
    if (!op)
        return LN_ENOMEM;
    address(op, chan, seq, done, arg);
    op->data_len = ln_record_result_write(op->data, p);
    struct ln_enc e = {op->data + op->data_len};
    for (uint32_t i = 0; i < p->nkv; i++)
        write_kv(&e, &p->kv[i]);
    op->len = (size_t)(e.p - op->data);
    ln_batch_push(s, op);
    ch->cursor = seq + 1;
    return LN_OK;
}

int ln_store_outcome(struct ln_store *s, uint32_t chan, uint16_t dest, struct ln_pos pos,
                     const struct ln_outcome *o, ln_store_done *done, void *arg)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch || !dest || dest > ch->ndest || o->state < LN_OUT_SENT || o->state > LN_OUT_SKIPPED)
        return LN_EINVAL;
    struct ln_pos *at = &ch->dest_pos[dest - 1];
    if (pos.seq >= ch->cursor || pos.seq < at->seq || (pos.seq == at->seq && pos.n < at->n))
        return LN_EINVAL;
    struct ln_op *op = ln_batch_op(s, LN_OP_OUTCOME, ln_record_outcome_bound(o));
    if (!op)
        return LN_ENOMEM;
    address(op, chan, pos.seq, done, arg);
    op->dest = dest;
    op->n = pos.n;
    op->len = ln_record_outcome_write(op->data, dest, o);
    ln_batch_push(s, op);
    *at = (struct ln_pos){pos.seq, pos.n + 1};
    return LN_OK;
}

int ln_store_event(struct ln_store *s, uint32_t chan, uint64_t seq, const struct ln_event *e,
                   ln_store_done *done, void *arg)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch || seq >= ch->next_seq)
        return LN_EINVAL;
    struct ln_op *op = ln_batch_op(s, LN_OP_EVENT, ln_record_event_bound(e));
    if (!op)
        return LN_ENOMEM;
    address(op, chan, seq, done, arg);
    op->len = ln_record_event_write(op->data, e);
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_unpark(struct ln_store *s, uint32_t chan, uint64_t seq, uint32_t n,
                    ln_store_done *done, void *arg)
{
    struct ln_op *op = channel_of(s, chan) ? ln_batch_op(s, LN_OP_UNPARK, 0) : NULL;
    if (!op)
        return channel_of(s, chan) ? LN_ENOMEM : LN_EINVAL;
    address(op, chan, seq, done, arg);
    op->n = n;
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_set_mode(struct ln_store *s, uint32_t chan, uint8_t mode, ln_store_done *done,
                      void *arg)
{
    if (!channel_of(s, chan) || mode > LN_MODE_STOPPED)
        return LN_EINVAL;
    struct ln_op *op = ln_batch_op(s, LN_OP_MODE, 0);
    if (!op)
        return LN_ENOMEM;
    address(op, chan, 0, done, arg);
    op->n = mode;
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_set_held(struct ln_store *s, uint32_t chan, uint16_t dest, bool held,
                      ln_store_done *done, void *arg)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch || !dest || dest > ch->ndest)
        return LN_EINVAL;
    struct ln_op *op = ln_batch_op(s, LN_OP_HELD, 0);
    if (!op)
        return LN_ENOMEM;
    address(op, chan, 0, done, arg);
    op->dest = dest;
    op->n = held;
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_fence(struct ln_store *s, ln_store_done *done, void *arg)
{
    struct ln_op *op = ln_batch_op(s, LN_OP_FENCE, 0);
    if (!op)
        return LN_ENOMEM;
    address(op, 0, 0, done, arg);
    ln_batch_push(s, op);
    return LN_OK;
}

int ln_store_move_back(struct ln_store *s, uint32_t chan, uint16_t dest, struct ln_pos from,
                       struct ln_pos to, uint64_t outputs, ln_store_done *done, void *arg)
{
    struct ln_channel *ch = channel_of(s, chan);
    struct ln_move m = {from, to, outputs};
    if (!ch || !dest || dest > ch->ndest || to.seq > from.seq ||
        (to.seq == from.seq && to.n >= from.n))
        return LN_EINVAL;
    struct ln_op *op = ln_batch_op(s, LN_OP_MOVE, sizeof m);
    if (!op)
        return LN_ENOMEM;
    memcpy(op->data, &m, sizeof m);
    op->len = sizeof m;
    address(op, chan, to.seq, done, arg);
    op->dest = dest;
    ln_batch_push(s, op);
    ch->dest_pos[dest - 1] = to;
    return LN_OK;
}

int ln_store_rekey(struct ln_store *s, struct ln_keys *keys, ln_store_done *done, void *arg)
{
    struct ln_op *op = ln_batch_op(s, LN_OP_KEYS, sizeof keys);
    if (!op) {
        ln_keys_unref(keys);
        return LN_ENOMEM;
    }
    memcpy(op->data, &keys, sizeof keys);
    op->len = sizeof keys;
    address(op, 0, 0, done, arg);
    op->n = 0;
    ln_batch_push(s, op);
    return LN_OK;
}

void ln_store_retain(struct ln_store *s, uint32_t chan, uint64_t max_age_s, uint64_t max_bytes)
{
    uint64_t limits[2] = {max_age_s, max_bytes};
    struct ln_op *op = channel_of(s, chan) ? ln_batch_op(s, LN_OP_RETAIN, sizeof limits) : NULL;
    if (!op)
        return;
    memcpy(op->data, limits, sizeof limits);
    address(op, chan, 0, NULL, NULL);
    ln_batch_push(s, op);
}

void ln_store_archived(struct ln_store *s, uint32_t chan, uint64_t below)
{
    struct ln_op *op = channel_of(s, chan) ? ln_batch_op(s, LN_OP_ARCHIVED, sizeof below) : NULL;
    if (!op)
        return;
    memcpy(op->data, &below, sizeof below);
    address(op, chan, 0, NULL, NULL);
    ln_batch_push(s, op);
}

/* ---- numbers ------------------------------------------------------------------------------- */

int ln_store_channel_state(struct ln_store *s, uint32_t chan, struct ln_channel_state *out)
{
    struct ln_channel *ch = channel_of(s, chan);
    if (!ch)
        return LN_ENOTFOUND;
    *out = ch->seen.s;
    return LN_OK;
}

void ln_store_stat(struct ln_store *s, struct ln_store_stat *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stat;
    pthread_mutex_unlock(&s->lock);
}
