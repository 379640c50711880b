/* A small engine for specs that kill it, cut its power, or look for races.
 *
 *   child open DIR           opens as an engine and closes; says why not
 *   child read DIR           opens as a reader, begins, says so, waits to be killed
 *   child run DIR N [F]      N messages (0 = for ever), F in flight: append, result, outcome; every
 *                            eighth a group that forwards to the second channel
 * run says on stdout what is durable, a line each: "A chan seq", "R chan seq", "O chan seq", and "E
 * code" for a refused append. It also reads back what it was told is durable. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypt/keys.h"
#include "store/store.h"

struct flight {
    uint64_t seq, number;
    char at; /* A, R, O */
};

static struct ln_store *store;
static struct ln_reader *reader;
static uint32_t chan, second;
static uint16_t dest;
static long todo = -1, going;
static uint64_t number;
static char body[3000];

static void fail(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, ln_strerror(code));
    _exit(3);
}

/* One write a line, so that nothing said is lost with the process. */
static void say(char what, uint32_t ch, uint64_t n)
{
    char line[64];
    int len = snprintf(line, sizeof line, "%c %u %llu\n", what, ch, (unsigned long long)n);
    if (write(1, line, (size_t)len) != len)
        _exit(4);
}

static size_t content(uint64_t n, char *to, size_t cap)
{
    size_t len = (size_t)snprintf(to, cap, "MSH|^~\\&|A|B|||||ADT^A01|N%llu|P|2.5\rPID|1||%llu\r",
                                  (unsigned long long)n, (unsigned long long)n);
    size_t more = (size_t)(n * 37 % 1500);
    memset(to + len, 'x', more);
    return len + more;
}

static void done(void *arg, int code, uint64_t seq);

static void append(struct flight *f)
{
    char id[32];
    struct ln_receipt r = {.kind = LN_R_RECEIVED, .time_us = ln_now_us()};
    if (todo == 0)
        return;
    if (todo > 0)
        todo--;
    going++;
    f->number = ++number;
    f->at = 'A';
    r.control_id =
        ln_span(id, (size_t)snprintf(id, sizeof id, "N%llu", (unsigned long long)number));
    r.npatient = 1;
    r.patient[0] = ln_span(id + 1, r.control_id.len - 1);
    r.raw = ln_span(body, content(number, body, sizeof body));
    int rc = ln_store_append(store, chan, &r, false, done, f, &f->seq);
    if (rc == LN_EFULL) {
        going--;
        usleep(1000);
    } else if (rc != LN_OK)
        fail("append", rc);
}

static void result(struct flight *f)
{
    struct ln_processed p = {.state = LN_S_DONE, .time_us = ln_now_us()};
    struct ln_item items[2] = {{.dest = dest, .kind = LN_I_BYTES}, {.kind = LN_I_FORWARDED}};
    size_t len = content(f->number, body, sizeof body);
    memcpy(body, "msh", 3);
    items[0].data = ln_span(body, len);
    p.items = items;
    p.nitems = 1;
    bool forward = f->seq % 8 == 0;
    ln_store_begin(store);
    if (forward) {
        struct ln_receipt r = {.kind = LN_R_FORWARDED, .origin_chan = chan, .origin_seq = f->seq};
        r.raw = ln_span_str("forwarded");
        int rc = ln_store_append(store, second, &r, true, NULL, NULL, &items[1].to_seq);
        if (rc != LN_OK)
            fail("forward", rc);
        items[1].to_chan = second;
        p.nitems = 2;
    }
    int rc = ln_store_result(store, chan, f->seq, &p, done, f);
    ln_store_end(store);
    if (rc != LN_OK)
        fail("result", rc);
}

/* What we were told is durable must be there to be read. */
static void look(struct flight *f)
{
    struct ln_span out;
    struct ln_receipt r;
    int rc = ln_reader_begin(reader);
    if (rc == LN_EAGAIN || rc == LN_EIO)
        return; /* while the store is opened again after a failure */
    if (rc != LN_OK)
        fail("begin", rc);
    if ((rc = ln_read_output(reader, chan, f->seq, 0, &out)) != LN_OK ||
        (rc = ln_read_receipt(reader, chan, f->seq, &r)) != LN_OK)
        fail("read", rc);
    if (out.len != r.raw.len || memcmp(out.ptr + 3, r.raw.ptr + 3, out.len - 3) != 0)
        fail("content", LN_EPARSE);
    ln_reader_end(reader);
}

static void done(void *arg, int code, uint64_t seq)
{
    struct flight *f = arg;
    if (code != LN_OK && f->at != 'A')
        fail("done", code);
    if (code != LN_OK) {
        say('E', chan, (uint64_t)-code);
        going--;
        append(f);
        return;
    }
    say(f->at, chan, seq);
    if (f->at == 'A') {
        f->at = 'R';
        result(f);
    } else if (f->at == 'R') {
        struct ln_outcome o = {
            .state = LN_OUT_SENT, .tries = 1, .reply = ln_span_str("MSA|AA|1\r")};
        if (seq % 4 == 0)
            look(f);
        f->at = 'O';
        int rc = ln_store_outcome(store, chan, dest, (struct ln_pos){f->seq, 0}, &o, done, f);
        if (rc != LN_OK)
            fail("outcome", rc);
    } else {
        going--;
        append(f);
    }
}

/* What an earlier life has left undone comes first. */
static void resume(void)
{
    struct ln_channel_state st;
    struct ln_receipt r;
    struct ln_processed p = {.state = LN_S_DONE};
    struct ln_pos pos = {0, 0};
    struct ln_span bytes;
    int64_t t;
    if (ln_store_channel_state(store, chan, &st) != LN_OK || ln_reader_begin(reader) != LN_OK)
        fail("resume", LN_EIO);
    struct ln_item item = {.dest = dest, .kind = LN_I_INPUT};
    struct ln_outcome o = {.state = LN_OUT_SENT};
    p.items = &item;
    p.nitems = 1;
    if (st.ndest)
        pos = st.dest[0].cursor;
    for (int rc; (rc = ln_read_next_output(reader, chan, dest, &pos, &bytes, &t)) != LN_ENOTFOUND;)
        if (rc == LN_OK) {
            if (ln_store_outcome(store, chan, dest, pos, &o, NULL, NULL) != LN_OK)
                fail("resumed outcome", LN_EINVAL);
            pos.n++;
        }
    for (uint64_t seq = st.cursor; ln_read_receipt_from(reader, chan, &seq, &r) == LN_OK; seq++) {
        if (ln_store_result(store, chan, seq, &p, NULL, NULL) != LN_OK ||
            ln_store_outcome(store, chan, dest, (struct ln_pos){seq, 0}, &o, NULL, NULL) != LN_OK)
            fail("resumed result", LN_EINVAL);
    }
    ln_reader_end(reader);
    number = st.next_seq;
}

static void open_store(const char *dir)
{
    struct ln_err err;
    struct ln_store_options opt = {.path = dir, .reserve = 1};
    if (ln_store_open(&opt, &store, &err) != LN_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

static int run(const char *dir, unsigned in_flight)
{
    struct flight *f = calloc(in_flight, sizeof *f);
    open_store(dir);
    chan = ln_store_channel(store, "first");
    second = ln_store_channel(store, "second");
    dest = ln_store_dest(store, chan, "lab");
    if (ln_reader_of(store, &reader) != LN_OK)
        return 1;
    resume();
    for (unsigned i = 0; i < in_flight; i++)
        append(&f[i]);
    while (going > 0) {
        struct pollfd p = {.fd = ln_store_fd(store), .events = POLLIN};
        poll(&p, 1, 1000);
        ln_store_dispatch(store);
    }
    ln_reader_close(reader);
    ln_store_close(store);
    free(f);
    return 0;
}

static void take_keys(void)
{
    const char *text = getenv("LUNATE_TEST_KEYS");
    struct ln_keys *keys;
    struct ln_err err;
    if (!text || !*text)
        return;
    if (ln_keys_parse(ln_span_str(text), "LUNATE_TEST_KEYS", &keys, &err) != LN_OK)
        fail(err.text, err.code);
    ln_store_keys(keys);
}

int main(int argc, char **argv)
{
    take_keys();
    if (argc >= 4 && strcmp(argv[1], "run") == 0) {
        todo = atol(argv[3]) ? atol(argv[3]) : -1;
        return run(argv[2], argc > 4 ? (unsigned)atoi(argv[4]) : 64);
    }
    if (argc == 3 && strcmp(argv[1], "open") == 0) {
        open_store(argv[2]);
        ln_store_close(store);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "read") == 0) {
        struct ln_err err;
        if (ln_reader_open(argv[2], &reader, &err) != LN_OK || ln_reader_begin(reader) != LN_OK)
            return 1;
        say('r', 0, 0);
        pause();
    }
    return 2;
}
