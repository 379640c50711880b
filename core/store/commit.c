/* The committer thread: takes what has gathered, makes it one transaction, tells the loop.
 *
 * When a transaction fails, appends that may be refused are, and the rest is tried again, at once
 * without them and then every RETRY_US with whatever has gathered since. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/engine.h"
#include "store/recent.h"
#include "store/seal.h"

enum {
    RETRY_US = 100 * 1000,
    SPACE_US = 200 * 1000,
    READERS_US = 5 * 1000 * 1000, /* how often dead readers' slots are freed */
    FULL = 16, /* operations in a batch that is followed by a pause */
    PAUSE_US = 4000,
    TRIM_US = 2000 * 1000, /* between looks when idle */
    TRIM_BUSY_US = 200 * 1000,
    TRIM_IDLE = 200, /* messages in a bite when there is nothing else to do */
    TRIM_BUSY = 32, /* within a commit, and three times what it appended: it keeps up */
};

#define NEVER INT64_MAX

/* ---- one transaction ----------------------------------------------------------------------- */

/* Whether the transaction whose commit failed is in after all decides what becomes of its
 * operations: they are done, or tried again. */
static void settle(struct ln_committer *c, bool is_in)
{
    c->mark = is_in && c->pending_txn;
    c->pending_txn = 0;
    for (struct ln_op *op = c->work ? c->work->first : NULL; op; op = op->next) {
        op->settled |= op->in_doubt && is_in;
        op->in_doubt = false;
    }
}

/* Opens the environment again when LMDB has given it up. A meta page whose write failed may have
 * reached the file all the same. */
static int revive(struct ln_committer *c)
{
    struct ln_err err = {0};
    MDB_envinfo info;
    c->loaded = false;
    if (ln_env_reopen(c->env, &err) != LN_OK) {
        ln_log(LN_ERROR, "store", "reopen", "error=\"%s\"", err.text);
        return EIO;
    }
    int rc = mdb_env_info(c->env->mdb, &info);
    if (!rc)
        settle(c, c->pending_txn && info.me_last_txnid >= c->pending_txn);
    return rc;
}

/* A transaction that was found to be in is final when a later one is: so that one must not be
 * empty. */
static int mark(struct ln_committer *c)
{
    char now[8] = {0};
    size_t id = mdb_txn_id(c->txn);
    MDB_val key = ln_span_val(ln_span_str("settled")), val = {sizeof now, now};
    memcpy(now, &id, sizeof id);
    return mdb_put(c->txn, c->env->db[LN_DB_META], &key, &val, 0);
}

static int fill(struct ln_committer *c, int64_t now, bool trim, bool *more)
{
    int rc = c->loaded ? 0 : ln_write_load(c);
    c->appended = 0;
    c->keys_put = false;
    *more = false;
    if (!rc && ln_seal_renew(c->seal) != LN_OK)
        rc = EIO;
    if (!rc)
        rc = ln_write_keys(c);
    if (!rc && c->work)
        rc = ln_write_apply(c, c->work);
    if (!rc && trim)
        rc = ln_trim_bite(c, c->work ? TRIM_BUSY + 3 * c->appended : TRIM_IDLE, ln_now_us(), more);
    if (!rc)
        rc = ln_write_numbers(c);
    if (trim)
        c->trim_at_us = *more ? now : now + (c->work ? TRIM_BUSY_US : TRIM_US);
    return rc;
}

/* Applies and commits c->work (if any), with a bite of trimming when that is due. LMDB's codes. */
static int attempt(struct ln_committer *c, int64_t now, bool trim)
{
    bool more;
    int rc = c->env->mdb ? mdb_txn_begin(c->env->mdb, NULL, 0, &c->txn) : MDB_PANIC;
    if (rc == MDB_PANIC && (rc = revive(c)) == 0)
        rc = mdb_txn_begin(c->env->mdb, NULL, 0, &c->txn);
    if (rc)
        return rc;
    memset(c->cur, 0, sizeof c->cur);
    if (c->pending_txn)
        settle(c, false); /* it failed before its meta page was written */
    rc = fill(c, now, trim, &more);
    if (!rc && c->mark)
        rc = mark(c);
    if (rc) {
        mdb_txn_abort(c->txn);
        c->loaded = false;
        return rc;
    }
    size_t id = mdb_txn_id(c->txn);
    if ((rc = mdb_txn_commit(c->txn)) == 0) {
        c->mark = false;
        if (c->keys_put)
            ln_vault_settled(c->env->vault);
        ln_recent_take(c->env->recent, &c->tail, c->indexed, c->next_pos);
        return 0;
    }
    c->loaded = false;
    c->pending_txn = id;
    for (struct ln_op *op = c->work ? c->work->first : NULL; op; op = op->next)
        op->in_doubt = !op->settled;
    return rc;
}

/* Finds out what became of the transaction whose commit failed, and writes nothing. */
static void resolve(struct ln_committer *c)
{
    int rc = c->env->mdb ? mdb_txn_begin(c->env->mdb, NULL, 0, &c->txn) : MDB_PANIC;
    if (rc == MDB_PANIC) {
        (void)!revive(c);
    } else if (!rc) {
        settle(c, false); /* it failed before its meta page was written */
        mdb_txn_abort(c->txn);
    }
}

/* ---- telling ------------------------------------------------------------------------------- */

/* Copies of the numbers that changed go to the loop with the batch. */
static void copy_numbers(struct ln_committer *c, struct ln_batch *b)
{
    for (unsigned i = 0; i < c->nchans; i++) {
        struct ln_numbers *n = &c->chans[i];
        if (!n->unpublished)
            continue;
        if (b->nnumbers == b->numbers_cap) {
            unsigned cap = b->numbers_cap ? b->numbers_cap * 2 : 8;
            struct ln_numbers *p = realloc(b->numbers, cap * sizeof *p);
            if (!p)
                return; /* they stay unpublished: with the next commit */
            memset(p + b->numbers_cap, 0, (cap - b->numbers_cap) * sizeof *p);
            b->numbers = p;
            b->numbers_cap = cap;
        }
        struct ln_numbers *to = &b->numbers[b->nnumbers];
        struct ln_dest_state *dest = to->dest;
        if (to->dest_cap < n->s.ndest) {
            if (!(dest = realloc(dest, n->s.ndest * sizeof *dest)))
                return;
            to->dest = dest;
            to->dest_cap = n->s.ndest;
        }
        unsigned dest_cap = to->dest_cap;
        if (n->s.ndest)
            memcpy(dest, n->dest, n->s.ndest * sizeof *dest);
        *to = *n;
        to->s.dest = to->dest = dest;
        to->dest_cap = dest_cap;
        b->nnumbers++;
        n->unpublished = false;
    }
}

static void count_commit(struct ln_store *s, int64_t took, const struct ln_batch *b)
{
    struct ln_committer *c = &s->c;
    uint64_t used = 0, freed, messages = 0;
    MDB_stat st;
    for (unsigned i = 0; i < c->nchans; i++)
        messages += c->chans[i].kept;
    if (mdb_env_stat(c->env->mdb, &st) == 0 && ln_env_pages(c->env, &used, &freed, false) == LN_OK)
        s->stat.bytes = used * st.ms_psize;
    s->stat.messages = messages;
    s->stat.sealed = c->env->out != NULL;
    s->stat.commits++;
    s->stat.commit_us_total += (uint64_t)took;
    if ((uint64_t)took > s->stat.commit_us_max)
        s->stat.commit_us_max = (uint64_t)took;
    s->stat.operations += b ? b->count : 0;
}

static bool has_news(const struct ln_committer *c)
{
    for (unsigned i = 0; i < c->nchans; i++)
        if (c->chans[i].unpublished)
            return true;
    return false;
}

static void succeeded(struct ln_store *s, int64_t took)
{
    struct ln_committer *c = &s->c;
    bool was_failing = c->failing;
    pthread_mutex_lock(&s->lock);
    struct ln_batch *b = c->work || !has_news(c) ? c->work : ln_batch_new(s);
    c->work = NULL;
    if (b) {
        count_commit(s, took, b);
        copy_numbers(c, b);
        ln_batch_publish(s, b);
    }
    s->stat.failing = c->failing = false;
    if (!atomic_load(&s->full))
        s->stat.failure[0] = 0;
    pthread_mutex_unlock(&s->lock);
    if (was_failing)
        ln_log(LN_INFO, "store", "recovered", "path=\"%s\"", c->env->path);
}

/* Refuses the appends of the batch. Returns whether there were any. */
static bool refuse(struct ln_store *s, int code)
{
    struct ln_committer *c = &s->c;
    pthread_mutex_lock(&s->lock);
    struct ln_batch *r = c->work ? ln_batch_refuse(s, c->work, code) : NULL;
    if (r)
        ln_batch_publish(s, r);
    if (c->work && !c->work->first) {
        ln_batch_recycle(s, c->work);
        c->work = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return r != NULL;
}

static void failed(struct ln_store *s, int rc)
{
    struct ln_committer *c = &s->c;
    /* LMDB calls a write that was cut short EIO: nobody is to look for a broken disk then. */
    const char *why = rc == EIO && ln_space_gone(c) ? "No space left on device" : mdb_strerror(rc);
    pthread_mutex_lock(&s->lock);
    s->stat.failing = true;
    snprintf(
        s->stat.failure, sizeof s->stat.failure,
        "cannot write to %.200s: %.60s; tried again and again: look after the disk (df, dmesg)",
        c->env->path, why);
    pthread_mutex_unlock(&s->lock);
    if (!c->failing)
        ln_log(LN_ERROR, "store", "failing", "path=\"%s\" error=\"%s\"", c->env->path, why);
    c->failing = true;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void check_space(struct ln_store *s, int64_t now)
{
    struct ln_committer *c = &s->c;
    char why[sizeof s->stat.failure] = "";
    /* Often enough that the reserve cannot be used up between two looks. */
    if (now < c->space_at_us && c->unlooked < c->look_every)
        return;
    c->space_at_us = now + SPACE_US;
    c->unlooked = 0;
    bool low = ln_space_low(c, why, sizeof why);
    if (low == atomic_load(&s->full))
        return;
    atomic_store(&s->full, low);
    pthread_mutex_lock(&s->lock);
    s->stat.full = low;
    snprintf(s->stat.failure, sizeof s->stat.failure, "%s", why);
    pthread_mutex_unlock(&s->lock);
    if (low)
        ln_log(LN_ERROR, "store", "full", "messages are refused: %s", why);
    else
        ln_log(LN_INFO, "store", "room", "messages are taken again: path=\"%s\"", c->env->path);
}

/* A commit is followed by a pause, so that what it set off (a sender's next message, a script's
 * result) gathers in one batch and does not wait for a commit of its own. Under load as long as the
 * commit took: each message costs less (64 connections on 8 channels: 63 -> 48 us of processor,
 * 0.49 -> 0.29 worker wake-ups a message, p99 lower). A few messages at a time: a third of it,
 * about a sender's round trip. Who comes to an idle store never waits. */
static void pace(struct ln_committer *c, unsigned operations, int64_t now, int64_t took)
{
    int64_t pause = operations < FULL ? took / 3 : took;
    c->pause_until_us = now + (pause < PAUSE_US ? pause : PAUSE_US);
}

static void cycle(struct ln_store *s, bool trim)
{
    struct ln_committer *c = &s->c;
    int64_t start = ln_mono_us();
    unsigned operations = c->work ? c->work->count : 0;
    c->unlooked += c->work ? c->work->bytes : 0;
    check_space(s, start);
    if (atomic_load(&s->full))
        refuse(s, LN_EFULL);
    if (!c->work && !trim)
        return;
    if (c->work && c->trim_at_us > start + TRIM_BUSY_US)
        c->trim_at_us = start + TRIM_BUSY_US; /* set when idle */
    if (start >= c->readers_at_us && c->env->mdb) {
        int dead;
        c->readers_at_us = start + READERS_US;
        mdb_reader_check(c->env->mdb, &dead);
    }
    int rc = attempt(c, start, trim);
    if (rc) {
        failed(s, rc);
        if (c->pending_txn) /* find out whether it is in before anybody is told */
            rc = attempt(c, start, false);
    }
    if (rc) {
        if (c->pending_txn) /* what is in doubt cannot be refused */
            resolve(c);
        c->space_at_us = 0;
        check_space(s, start);
        bool full = ln_code_from_mdb(rc) == LN_EFULL || ln_space_gone(c);
        if (refuse(s, full ? LN_EFULL : LN_EIO) && c->work)
            rc = attempt(c, start, false);
    }
    if (rc) {
        failed(s, rc);
        c->retry_at_us = ln_mono_us() + RETRY_US;
    } else {
        int64_t now = ln_mono_us();
        c->retry_at_us = 0;
        pace(c, operations, now, now - start);
        succeeded(s, now - start);
    }
}

static bool retains(const struct ln_committer *c)
{
    for (unsigned i = 0; i < c->nchans; i++)
        if (c->chans[i].max_age_s || c->chans[i].max_bytes)
            return true;
    return false;
}

/* Waits until something is due; idle: or until an operation is queued. Lock held. */
static void wait_until(struct ln_store *s, int64_t when, bool idle)
{
    s->idle = idle;
    if (when == NEVER) {
        pthread_cond_wait(&s->wake, &s->lock);
    } else {
        struct timespec ts = {when / 1000000, when % 1000000 * 1000};
        pthread_cond_timedwait(&s->wake, &s->lock, &ts);
    }
    s->idle = false;
}

/* Takes work when there is some. false: time to end. *trim = trimming is due. */
static bool next_work(struct ln_store *s, bool *trim)
{
    struct ln_committer *c = &s->c;
    bool go_on = true;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        int64_t now = ln_mono_us(), due = NEVER;
        if (now < c->pause_until_us && !s->stop && !c->work) {
            wait_until(s, c->pause_until_us, false);
            continue;
        }
        bool paused = now < c->retry_at_us;
        if (!paused && (!s->in_group || s->stop))
            ln_batch_take(s, &c->work);
        *trim = !paused && !s->stop && retains(c) && now >= c->trim_at_us;
        if (s->stop && now >= s->stop_by_us)
            ln_batch_take(s, &c->work);
        if (s->stop && (now >= s->stop_by_us || (!c->work && !(s->gather && s->gather->first)))) {
            go_on = false;
            break;
        }
        if (!paused && (c->work || *trim || (atomic_load(&s->full) && now >= c->space_at_us)))
            break;
        if (paused)
            due = c->retry_at_us;
        else if (atomic_load(&s->full))
            due = c->space_at_us;
        if (!paused && retains(c) && c->trim_at_us < due)
            due = c->trim_at_us;
        wait_until(s, due, !c->work);
    }
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

/* Time is up: what could not be committed is told so. */
static void give_up(struct ln_store *s)
{
    struct ln_batch *b = s->c.work;
    if (!b)
        return;
    for (struct ln_op *op = b->first; op; op = op->next)
        if (!op->settled)
            op->code = LN_ECLOSED;
    ln_log(LN_ERROR, "store", "lost", "operations=%u: could not be committed before the end",
           b->count);
    pthread_mutex_lock(&s->lock);
    ln_batch_publish(s, b);
    s->c.work = NULL;
    pthread_mutex_unlock(&s->lock);
}

void *ln_commit_thread(void *store)
{
    struct ln_store *s = store;
    bool trim;
    prctl(PR_SET_TIMERSLACK, 1000UL); /* ns, of this thread alone: its pauses are short */
    while (next_work(s, &trim))
        cycle(s, trim);
    give_up(s);
    return NULL;
}
