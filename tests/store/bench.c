/* bench [-n messages] [-f in flight] [-s size] [-c channels] [-d data folder] [-r retain bytes]
 *       [-o stage] [-q look-ups] [-k key]
 *
 * -k: the store is encrypted with this key (64 hexadecimal digits).
 * -o 3, 2 or 1: only that stage, which also fills a store (`-o 3 -n 10000000 -f 8000`). -q: no
 * messages; look-ups by control id and patient id of what a store holds.
 *
 * What the store costs: messages per second and CPU microseconds per message, of the whole process,
 * for appends alone, with a result each, and with a result and an outcome each. One loop thread
 * keeps `in flight` messages on their way, as the hub does. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypt/keys.h"
#include "store/store.h"

enum stage { APPEND, RESULT, OUTCOME };

static struct ln_store *store;
static enum stage last;
static unsigned size = 1024, channels = 1;
static long todo, finished;
static char *input, *output;
static uint16_t dests[1024];

struct flight {
    uint32_t chan;
    uint64_t seq;
    enum stage at;
};

static void done(void *arg, int code, uint64_t seq);

static void append(struct flight *f)
{
    static unsigned long n;
    char id[24];
    struct ln_receipt r = {.kind = LN_R_RECEIVED, .time_us = ln_now_us()};
    if (todo == 0)
        return;
    todo--;
    f->at = APPEND;
    f->chan = (uint32_t)(n % channels + 1);
    r.control_id = ln_span(id, (size_t)snprintf(id, sizeof id, "MSG%08lu", ++n));
    r.type = ln_span_str("ADT^A01");
    r.peer = ln_span_str("127.0.0.1:50000");
    r.npatient = 1;
    r.patient[0] = ln_span(id + 3, r.control_id.len - 3);
    r.raw = ln_span(input, size);
    if (ln_store_append(store, f->chan, &r, false, done, f, &f->seq) != LN_OK)
        abort();
}

static void done(void *arg, int code, uint64_t seq)
{
    struct flight *f = arg;
    if (code != LN_OK) {
        fprintf(stderr, "code %d at stage %d of %lu\n", code, f->at, (unsigned long)seq);
        exit(1);
    }
    if (f->at == last) {
        finished++;
        append(f);
    } else if (++f->at == RESULT) {
        struct ln_item item = {.dest = dests[f->chan - 1], .kind = LN_I_BYTES};
        struct ln_processed p = {.state = LN_S_DONE, .time_us = ln_now_us(), .duration_us = 10};
        item.data = ln_span(output, size);
        p.script = 0x1234567890;
        p.nitems = 1;
        p.items = &item;
        if (ln_store_result(store, f->chan, f->seq, &p, done, f) != LN_OK)
            abort();
    } else {
        struct ln_outcome o = {.state = LN_OUT_SENT, .tries = 1};
        o.first_us = o.time_us = ln_now_us();
        o.reply = ln_span_str("MSH|^~\\&|LAB|LAB|LUNATE|H|20260101||ACK^A01^ACK|1|P|2.5\r"
                              "MSA|AA|MSG00000001\r");
        if (ln_store_outcome(store, f->chan, dests[f->chan - 1], (struct ln_pos){f->seq, 0}, &o,
                             done, f) != LN_OK)
            abort();
    }
}

static double cpu_us(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void run(const char *what, enum stage upto, long n, unsigned in_flight)
{
    struct flight *f = calloc(in_flight, sizeof *f);
    struct ln_store_stat a, b;
    int64_t start = ln_mono_us();
    double cpu = cpu_us(RUSAGE_SELF), loop = cpu_us(RUSAGE_THREAD);
    ln_store_stat(store, &a);
    last = upto;
    todo = n;
    finished = 0;
    for (unsigned i = 0; i < in_flight; i++)
        append(&f[i]);
    while (finished < n) {
        struct pollfd p = {.fd = ln_store_fd(store), .events = POLLIN};
        poll(&p, 1, -1);
        ln_store_dispatch(store);
    }
    double took = (double)(ln_mono_us() - start);
    ln_store_stat(store, &b);
    cpu = cpu_us(RUSAGE_SELF) - cpu;
    loop = cpu_us(RUSAGE_THREAD) - loop;
    printf("%-24s %4u in flight: %8.0f messages/s, %5.2f us CPU each (%.2f loop), %.0f a commit of "
           "%.0f us, file %.0f bytes each\n",
           what, in_flight, (double)n * 1e6 / took, cpu / (double)n, loop / (double)n,
           (double)n * (upto + 1) / (double)(b.commits - a.commits),
           (double)(b.commit_us_total - a.commit_us_total) / (double)(b.commits - a.commits),
           ((double)b.bytes - (double)a.bytes) / (double)n);
    free(f);
}

static void look_up(enum ln_index index, const char *prefix, unsigned long held, long n)
{
    struct ln_reader *r;
    struct ln_found f[16];
    int64_t worst = 0;
    unsigned long hits = 0;
    double cpu = 0;
    if (ln_reader_of(store, &r) != LN_OK)
        abort();
    for (long i = 0; i < n; i++) {
        char key[32];
        unsigned got;
        unsigned long k = (unsigned long)random() % held + 1;
        int len = snprintf(key, sizeof key, "%s%08lu", prefix, k);
        int64_t start = ln_mono_us();
        double before = cpu_us(RUSAGE_THREAD);
        if (ln_reader_begin(r) != LN_OK ||
            ln_find(r, index, 0, ln_span(key, (size_t)len), f, 16, &got) != LN_OK)
            abort();
        ln_reader_end(r);
        cpu += cpu_us(RUSAGE_THREAD) - before;
        int64_t took = ln_mono_us() - start;
        worst = took > worst ? took : worst;
        hits += got;
    }
    ln_reader_close(r);
    printf("%s of %lu: %.0f us CPU a look-up, the slowest took %.1f ms, %.2f found each\n",
           index == LN_INDEX_PATIENT ? "patient ids" : "control ids", held, cpu / (double)n,
           (double)worst / 1e3, (double)hits / (double)n);
}

static void fill(void)
{
    static const char *const segments[] = {
        "MSH|^~\\&|EHR|HOSP|LUNATE|LAB|20260101120000||ADT^A01^ADT_A01|MSG00000001|P|2.5.1\r",
        "EVN|A01|20260101120000\r",
        "PID|1||123456^^^HOSP^MR||Miller^Anna^B||19700101|F|||1 Main St^^Town^ST^12345\r",
        "PV1|1|I|W^389^1^HOSP||||1234^Doctor^Adam|||SUR\r"};
    input = calloc(1, size + 256);
    output = calloc(1, size + 256);
    size_t n = 0;
    for (unsigned i = 0; n < size; i++) {
        const char *s = i < 4 ? segments[i] : "OBX|1|NM|GLU^Glucose||105|mg/dL|70-110|N|||F\r";
        memcpy(input + n, s, strlen(s));
        n += strlen(s);
    }
    memcpy(output, input, size);
    char *name = strstr(output, "Miller");
    if (name)
        memcpy(name, "MILLER^ANNA", 11);
    char *app = strstr(output, "EHR");
    if (app)
        memcpy(app, "XYZ", 3);
}

static void take_key(const char *text)
{
    struct ln_keys *keys;
    struct ln_err err;
    if (ln_keys_parse(ln_span_str(text), "-k", &keys, &err) != LN_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    ln_store_keys(keys);
}

int main(int argc, char **argv)
{
    long n = 100000;
    unsigned in_flight = 64, only = 0;
    const char *dir = "bench-data";
    uint64_t retain = 0;
    long queries = 0;
    for (int o; (o = getopt(argc, argv, "n:f:s:c:d:r:o:q:k:")) > 0;)
        switch (o) {
        case 'n': n = atol(optarg); break;
        case 'f': in_flight = (unsigned)atoi(optarg); break;
        case 's': size = (unsigned)atoi(optarg); break;
        case 'c': channels = (unsigned)atoi(optarg); break;
        case 'd': dir = optarg; break;
        case 'r': retain = strtoull(optarg, NULL, 10); break;
        case 'q': queries = atol(optarg); break;
        case 'k': take_key(optarg); break;
        case 'o': only = (unsigned)atoi(optarg); break;
        default: return 2;
        }
    struct ln_err err;
    struct ln_store_options opt = {.path = dir};
    if (channels > 1024 || ln_store_open(&opt, &store, &err) != LN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (queries) {
        struct ln_store_stat st;
        ln_store_stat(store, &st);
        if (st.messages == 0)
            return 1;
        look_up(LN_INDEX_CONTROL_ID, "MSG", st.messages, queries);
        look_up(LN_INDEX_PATIENT, "", st.messages, queries);
        ln_store_close(store);
        return 0;
    }
    fill();
    for (unsigned i = 0; i < channels; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", i + 1);
        dests[i] = ln_store_dest(store, ln_store_channel(store, name), "lab");
        ln_store_retain(store, i + 1, 0, retain);
    }
    if (!only || only == 3)
        run("append, result, outcome", OUTCOME, n, in_flight);
    if (only != 3 && only != 1)
        run("append, result", RESULT, n, in_flight);
    if (!only || only == 1)
        run("append", APPEND, n, in_flight);
    ln_store_close(store);
    free(input);
    free(output);
    return 0;
}
