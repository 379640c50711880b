/* Messages that came before: same sender (MSH-3, MSH-4), same control id (MSH-10), same bytes. A
 * sender that has lost an acknowledgement sends again; that must not become a second order.
 *
 * A duplicate is received as any message: stored, acknowledged after the sync, in its place in the
 * order. With duplicates = "ack" its receipt names the original, and no script sees it. That is
 * decided twice: here, by what is known when it comes, and again when its turn is (ln_duplicate_of
 * from result.c), by what the store holds: an original that was not kept after all, that failed,
 * or that is parked, makes it an ordinary message. The same id with other content always is one. */
#include "hub/hub.h"

#include <stdio.h>

enum { FOUND_MAX = 16, RECENT_MAX = 4096 };

static uint64_t fold(uint64_t h, struct ln_span s)
{
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u; /* FNV-1a: only a hint, see above */
    return (h ^ 0xff) * 1099511628211u;
}

static uint64_t key_of(const struct ln_header *h)
{
    return fold(fold(fold(14695981039346656037u, h->field[3]), h->field[4]), h->field[10]);
}

/* ---- on their way to the disk ---------------------------------------------------------------- */

/* Those that are committed are found in the store. */
static void forget_committed(struct ln_recent *r, uint64_t committed_end)
{
    size_t n = 0;
    while (n < r->count && r->entry[n].seq < committed_end)
        n++;
    if (n == 0)
        return;
    r->count -= n;
    memmove(r->entry, r->entry + n, r->count * sizeof *r->entry);
}

void ln_duplicate_remember(struct ln_channel *c, const struct ln_header *h, struct ln_span raw,
                           uint64_t seq)
{
    struct ln_recent *r = &c->recent;
    forget_committed(r, c->work.committed_end);
    if (r->count >= RECENT_MAX)
        return; /* processed if it comes again: the safe side */
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        void *p = realloc(r->entry, cap * sizeof *r->entry);
        if (!p)
            return;
        r->entry = p;
        r->cap = cap;
    }
    r->entry[r->count++] = (struct ln_recent_entry){key_of(h), fold(0, raw), seq};
}

static enum ln_duplicate look_recent(struct ln_channel *c, const struct ln_header *h,
                                     struct ln_span raw, uint64_t *origin)
{
    struct ln_recent *r = &c->recent;
    enum ln_duplicate found = LN_DUPLICATE_NO;
    uint64_t key = key_of(h), content = fold(0, raw);
    forget_committed(r, c->work.committed_end);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entry[i].key != key)
            continue;
        *origin = r->entry[i].seq;
        if (r->entry[i].content == content)
            return LN_DUPLICATE_SAME;
        found = LN_DUPLICATE_OTHER;
    }
    return found;
}

/* ---- in the store ---------------------------------------------------------------------------- */

static bool same_sender(const struct ln_header *a, const struct ln_header *b)
{
    return ln_span_eq(a->field[3], b->field[3]) && ln_span_eq(a->field[4], b->field[4]);
}

static enum ln_duplicate look_stored(struct ln_channel *c, const struct ln_header *h,
                                     struct ln_span raw, int64_t since_us, uint64_t *origin)
{
    struct ln_reader *rd = c->hub->reader;
    struct ln_found found[FOUND_MAX];
    struct ln_receipt r;
    struct ln_header before;
    enum ln_duplicate verdict = LN_DUPLICATE_NO;
    unsigned n = 0;
    if (ln_reader_begin(rd) != LN_OK)
        return LN_DUPLICATE_NO;
    if (ln_find(rd, LN_INDEX_CONTROL_ID, c->id, h->field[10], found, FOUND_MAX, &n) != LN_OK)
        n = 0;
    for (unsigned i = 0; i < n && verdict != LN_DUPLICATE_SAME; i++) {
        if (ln_read_receipt(rd, c->id, found[i].seq, &r) != LN_OK || r.kind != LN_R_RECEIVED ||
            r.time_us < since_us || ln_header_read(r.raw, &before, NULL) != LN_OK ||
            !same_sender(h, &before))
            continue;
        if (ln_span_eq(r.raw, raw))
            verdict = LN_DUPLICATE_SAME;
        else if (verdict == LN_DUPLICATE_NO)
            verdict = LN_DUPLICATE_OTHER;
        else
            continue; /* the newest other one is named */
        *origin = found[i].seq;
    }
    ln_reader_end(rd);
    return verdict;
}

enum ln_duplicate ln_duplicate_look(struct ln_channel *c, const struct ln_header *h,
                                    struct ln_span raw, int64_t now_us, uint64_t *origin)
{
    if (h->field[10].len == 0)
        return LN_DUPLICATE_NO;
    enum ln_duplicate recent = look_recent(c, h, raw, origin);
    if (recent == LN_DUPLICATE_SAME)
        return recent;
    uint64_t stored_origin;
    int64_t since = now_us - (int64_t)(c->conf->duplicate_window_s * 1e6);
    enum ln_duplicate stored = look_stored(c, h, raw, since, &stored_origin);
    if (stored == LN_DUPLICATE_SAME || recent == LN_DUPLICATE_NO) {
        *origin = stored_origin;
        return stored;
    }
    return recent;
}

/* True when what is to be filtered as a duplicate of `origin` has had its effect: the original is
 * there with the same bytes, was processed, and nothing of it is parked. */
static bool had_effect(struct ln_channel *c, uint64_t origin, struct ln_span raw)
{
    struct ln_reader *rd = c->hub->reader;
    struct ln_receipt r;
    struct ln_processed p;
    struct ln_outcome o;
    if (ln_read_receipt(rd, c->id, origin, &r) != LN_OK || !ln_span_eq(r.raw, raw) ||
        ln_read_result(rd, c->id, origin, &p) != LN_OK ||
        (p.state != LN_S_DONE && p.state != LN_S_FILTERED))
        return false;
    for (uint32_t i = 0; i < p.nitems; i++)
        if (p.items[i].kind == LN_I_PARKED ||
            (ln_read_outcome(rd, c->id, origin, i, &o) == LN_OK && o.state == LN_OUT_PARKED))
            return false;
    return true;
}

int ln_duplicate_of(struct ln_channel *c, uint64_t seq, struct ln_span raw, uint64_t *origin)
{
    struct ln_receipt r;
    int rc = ln_reader_begin(c->hub->reader);
    if (rc != LN_OK)
        return rc;
    rc = ln_read_receipt(c->hub->reader, c->id, seq, &r);
    *origin = rc == LN_OK ? r.origin_seq : 0;
    if (rc == LN_OK && !had_effect(c, *origin, raw))
        rc = LN_ENOTFOUND;
    ln_reader_end(c->hub->reader);
    return rc;
}
