/* merging DIR N TRIM: N messages over three channels in a store whose index blocks are small, with
 * the index merged through all its levels meanwhile; every id is looked up, in each state that a
 * merge passes through, the store is verified, also after TRIM bytes a channel are all that stays,
 * and after a restart. Says what is wrong, status 1. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/index.h"
#include "store/store.h"

static struct ln_store *store;
static long waits, wrong;

static void done(void *arg, int code, uint64_t seq)
{
    (void)arg;
    waits--;
    if (code != LN_OK) {
        printf("code %d for %llu\n", code, (unsigned long long)seq);
        wrong++;
    }
}

static void settle(void)
{
    while (waits) {
        struct pollfd p = {ln_store_fd(store), POLLIN, 0};
        poll(&p, 1, 1000);
        ln_store_dispatch(store);
    }
}

static void add(long k)
{
    char id[24], patient[24];
    uint64_t seq;
    struct ln_processed p = {.state = LN_S_DONE};
    struct ln_receipt r = {.kind = LN_R_RECEIVED, .time_us = k, .npatient = 2};
    r.control_id = ln_span(id, (size_t)snprintf(id, sizeof id, "M%ld", k));
    r.patient[0] = ln_span(patient, (size_t)snprintf(patient, sizeof patient, "P%ld", k / 5));
    r.patient[1] = r.control_id;
    r.raw = ln_span_str("0123456789");
    uint32_t chan = (uint32_t)(k % 3 + 1);
    waits += 2;
    if (ln_store_append(store, chan, &r, true, done, NULL, &seq) != LN_OK ||
        ln_store_result(store, chan, seq, &p, done, NULL) != LN_OK)
        abort();
}

static void expect(struct ln_reader *r, enum ln_index index, const char *key, bool gone_too,
                   unsigned want)
{
    struct ln_found f[16];
    unsigned n;
    int rc = ln_find(r, index, 0, ln_span_str(key), f, 16, &n);
    for (unsigned i = 1; i < n; i++) /* each once */
        for (unsigned j = 0; j < i; j++)
            rc |= f[i].chan == f[j].chan && f[i].seq == f[j].seq;
    if (rc == LN_OK && (n == want || (gone_too && n < want)))
        return;
    printf("%s: code %d, %u found, not %u\n", key, rc, n, want);
    wrong++;
}

static void look_up(long n, long step, bool gone_too)
{
    struct ln_reader *r;
    char key[24];
    if (ln_reader_of(store, &r) != LN_OK || ln_reader_begin(r) != LN_OK)
        abort();
    for (long k = 0; k < n; k += step) {
        snprintf(key, sizeof key, "M%ld", k);
        expect(r, LN_INDEX_CONTROL_ID, key, gone_too, 1);
        expect(r, LN_INDEX_PATIENT, key, gone_too, 1);
        snprintf(key, sizeof key, "P%ld", k / 5);
        expect(r, LN_INDEX_PATIENT, key, gone_too, k / 5 * 5 + 5 <= n ? 5 : (unsigned)(n % 5));
    }
    expect(r, LN_INDEX_CONTROL_ID, "none", false, 0);
    ln_reader_end(r);
    ln_reader_close(r);
}

static void found(void *arg, const char *channel, uint64_t seq, const char *what)
{
    (void)arg;
    printf("verify: %s/%llu: %s\n", channel, (unsigned long long)seq, what);
    wrong++;
}

static void verify(const char *dir)
{
    static const struct ln_verify_ops ops = {found, NULL};
    struct ln_verify v;
    struct ln_err err;
    if (ln_store_verify(dir, &ops, NULL, &v, &err) != LN_OK) {
        printf("%s\n", err.text);
        wrong++;
    }
}

int main(int argc, char **argv)
{
    struct ln_err err;
    struct ln_store_options opt = {.path = argv[1]};
    long n = argc == 4 ? atol(argv[2]) : 0;
    if (n == 0 || ln_store_open(&opt, &store, &err) != LN_OK)
        return 2;
    for (unsigned i = 1; i <= 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "c%u", i);
        ln_store_channel(store, name);
    }
    for (long k = 0; k < n; k++) {
        add(k);
        if (k % 7 == 0 || k % 98 == 97)
            settle();
        if (k % 98 == 97)
            look_up(k + 1, k / 50 + 1, false);
    }
    settle();
    look_up(n, 1, false);
    verify(argv[1]);
    for (unsigned i = 1; i <= 3; i++)
        ln_store_retain(store, i, 0, strtoull(argv[3], NULL, 10));
    for (int i = 0; i < 200; i++) { /* each commit takes a bite */
        waits++;
        if (ln_store_set_mode(store, 1, LN_MODE_RUN, done, NULL) != LN_OK)
            abort();
        settle();
        if (i % 50 == 0) {
            verify(argv[1]);
            look_up(n, 3, true);
        }
        poll(NULL, 0, 5);
    }
    ln_store_close(store);
    if (ln_store_open(&opt, &store, &err) != LN_OK)
        return 2;
    look_up(n, 1, true);
    for (long k = n; k < n + 3000; k++)
        add(k);
    settle();
    verify(argv[1]);
    ln_store_close(store);
    return wrong != 0;
}
