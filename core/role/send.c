/* `lunate send HOST:PORT[,HOST:PORT...] FILE...`: an MLLP client that says what was answered, and a
 * load generator that says how fast. Results on stdout, progress and failures on stderr. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "role/client.h"
#include "role/option.h"
#include "role/role.h"
#include "role/tls_files.h"

#define FAILURES_SHOWN 10
#define REPLIES_KEPT   100
#define TARGETS_MAX    1000

struct send {
    struct ln_payload payload;
    struct ln_client_options client;
    struct ln_client_target *targets;
    char *address; /* what they point into */
    struct ln_tls_files tls;
    bool secure;
    bool json, show, each; /* each: a line per reply, instead of figures alone */
    bool bar, bar_drawn;
    uint64_t failures;
    struct ln_buf replies; /* JSON array elements */
    uint64_t kept;
    int64_t started_us;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    stopped = sig;
}

static const char *end_text(const struct ln_client_result *r)
{
    switch (r->end) {
    case LN_CLIENT_REPLY: return r->reply.code;
    case LN_CLIENT_UNREADABLE: return "unreadable reply";
    case LN_CLIENT_TIMEOUT: return "no reply in time";
    case LN_CLIENT_UNASKED: return "--";
    default: return "connection closed before the reply";
    }
}

/* Bytes that came from the other side, for a terminal: control characters become blanks. */
static void put_text(FILE *f, struct ln_span s)
{
    for (size_t i = 0; i < s.len; i++)
        fputc((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? ' ' : s.ptr[i], f);
}

static void put_segments(FILE *f, struct ln_span s)
{
    size_t from = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.ptr[i] != '\r' && s.ptr[i] != '\n')
            continue;
        if (i > from) {
            fputs("    ", f);
            put_text(f, ln_span(s.ptr + from, i - from));
            fputc('\n', f);
        }
        from = i + 1;
    }
}

static void clear_bar(struct send *s)
{
    if (s->bar_drawn)
        fputs("\r\033[K", stderr);
    s->bar_drawn = false;
}

static void describe(FILE *f, const struct ln_client_result *r)
{
    fprintf(f, "%-2s  ", end_text(r));
    put_text(f, ln_span(r->control_id, r->control_id_len));
    fputs("  ", f);
    put_text(f, r->message->type);
    if (r->frame.len)
        fprintf(f, "  %.1f ms", (double)r->latency_us / 1000);
    if (r->reply.text.len) {
        fputs("  ", f);
        put_text(f, r->reply.text);
    }
    if (r->end == LN_CLIENT_UNASKED)
        fputs("  wants no answer (MSH-15, MSH-16), and none came", f);
    fputc('\n', f);
}

static void keep_json(struct send *s, const struct ln_client_result *r)
{
    struct ln_buf *b = &s->replies;
    if (s->kept++ >= REPLIES_KEPT)
        return;
    ln_json_open(b, '{');
    ln_json_key(b, "control_id");
    ln_json_str(b, ln_span(r->control_id, r->control_id_len));
    ln_json_key(b, "result");
    ln_json_cstr(b, r->end == LN_CLIENT_REPLY        ? r->reply.code
                    : r->end == LN_CLIENT_UNREADABLE ? "unreadable"
                    : r->end == LN_CLIENT_TIMEOUT    ? "timeout"
                    : r->end == LN_CLIENT_UNASKED    ? "unasked"
                                                     : "closed");
    ln_json_key(b, "text");
    ln_json_str(b, r->reply.text);
    ln_json_key(b, "ms");
    ln_json_num(b, (double)r->latency_us / 1000, 3);
    ln_json_close(b, '}');
}

static void on_result(void *arg, const struct ln_client_result *r)
{
    struct send *s = arg;
    if (s->json && (s->each || !r->accepted))
        keep_json(s, r);
    if (s->each && !s->json) {
        describe(stdout, r);
        if (s->show)
            put_segments(stdout, r->frame);
        fflush(stdout);
    }
    if (r->accepted || (s->each && !s->json))
        return;
    if (s->failures++ < FAILURES_SHOWN) {
        clear_bar(s);
        fputs("not accepted: ", stderr);
        describe(stderr, r);
    }
}

static void on_tick(void *arg, const struct ln_client_totals *t)
{
    struct send *s = arg;
    uint64_t done = t->accepted + t->ae + t->ar + t->unreadable + t->timeouts + t->closed;
    double seconds = (double)t->elapsed_us / 1e6;
    if (!s->bar || seconds < 0.3)
        return;
    double rate = (double)done / seconds, part = (double)done / (double)s->client.count;
    char bar[31];
    for (int i = 0; i < 30; i++)
        bar[i] = i < (int)(part * 30) ? '#' : '.';
    bar[30] = '\0';
    fprintf(stderr, "\r%s %3.0f %%  %llu of %llu  %.0f/s  %.0f s left\033[K", bar, part * 100,
            (unsigned long long)done, (unsigned long long)s->client.count, rate,
            rate > 0 ? (double)(s->client.count - done) / rate : 0);
    s->bar_drawn = true;
}

static void report_json(struct send *s, const struct ln_client_totals *t)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"messages", s->client.count},
        {"connections", s->client.connections},
        {"sent", t->sent},
        {"accepted", t->accepted},
        {"AA", t->aa},
        {"AE", t->ae},
        {"AR", t->ar},
        {"other", t->other},
        {"unreadable", t->unreadable},
        {"timeouts", t->timeouts},
        {"unasked", t->unasked},
        {"mismatched", t->mismatched},
        {"closed", t->closed},
        {"reconnects", t->reconnects},
        {"bytes", t->bytes},
    };
    static const struct {
        const char *name;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}};
    struct ln_buf b = {0};
    double seconds = (double)t->elapsed_us / 1e6;
    ln_json_open(&b, '{');
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ln_json_key(&b, counts[i].name);
        ln_json_int(&b, (int64_t)counts[i].value);
    }
    ln_json_key(&b, "seconds");
    ln_json_num(&b, seconds, 6);
    ln_json_key(&b, "rate");
    ln_json_num(&b, seconds > 0 ? (double)(t->latency.n + t->unasked) / seconds : 0, 1);
    ln_json_key(&b, "latency_ms");
    ln_json_open(&b, '{');
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++) {
        ln_json_key(&b, percentiles[i].name);
        ln_json_num(&b, (double)ln_histogram_percentile(&t->latency, percentiles[i].percent) / 1e3,
                    3);
    }
    ln_json_key(&b, "max");
    ln_json_num(&b, (double)t->latency.max / 1e3, 3);
    ln_json_key(&b, "mean");
    ln_json_num(&b, ln_histogram_mean(&t->latency) / 1e3, 3);
    ln_json_close(&b, '}');
    ln_json_key(&b, s->each ? "replies" : "failures");
    ln_json_open(&b, '[');
    ln_buf_add_span(&b, ln_buf_span(&s->replies));
    ln_json_close(&b, ']');
    ln_json_close(&b, '}');
    printf("%.*s\n", (int)b.len, b.data);
    ln_buf_fini(&b);
}

static void report_text(struct send *s, const struct ln_client_totals *t)
{
    const struct ln_histogram *h = &t->latency;
    double seconds = (double)t->elapsed_us / 1e6;
    const struct {
        const char *name;
        uint64_t value;
    } more[] = {{"AA", t->aa},
                {"AE", t->ae},
                {"AR", t->ar},
                {"other codes", t->other},
                {"unreadable", t->unreadable},
                {"timeouts", t->timeouts},
                {"wanted no answer", t->unasked},
                {"closed", t->closed},
                {"mismatched MSA-2", t->mismatched},
                {"reconnects", t->reconnects}};
    printf("%llu message%s over %u connection%s in %.3f s: %.0f/s\n", (unsigned long long)t->sent,
           t->sent == 1 ? "" : "s", s->client.connections, s->client.connections == 1 ? "" : "s",
           seconds, seconds > 0 ? (double)(h->n + t->unasked) / seconds : 0);
    printf("accepted %llu", (unsigned long long)t->accepted);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (more[i].value)
            printf("   %s %llu", more[i].name, (unsigned long long)more[i].value);
    if (h->n)
        printf("\nlatency p50 %.2f ms   p90 %.2f ms   p99 %.2f ms   max %.2f ms",
               (double)ln_histogram_percentile(h, 50) / 1e3,
               (double)ln_histogram_percentile(h, 90) / 1e3,
               (double)ln_histogram_percentile(h, 99) / 1e3, (double)h->max / 1e3);
    putchar('\n');
}

static int finish(struct send *s, const struct ln_client_totals *t, int rc,
                  const struct ln_err *err)
{
    clear_bar(s);
    if (s->failures > FAILURES_SHOWN)
        fprintf(stderr, "not accepted: %llu more\n",
                (unsigned long long)(s->failures - FAILURES_SHOWN));
    if (rc == LN_OK || t->sent > 0) {
        if (s->json)
            report_json(s, t);
        else if (!s->each)
            report_text(s, t);
    }
    if (rc != LN_OK) {
        fprintf(stderr, "lunate send: %s%s\n", err->text,
                t->sent || err->code == LN_ETLS ? "" : " (is it running, and is this its port?)");
        return LN_EXIT_NO_ENGINE;
    }
    if (t->interrupted)
        return 128 + stopped;
    if (t->accepted == s->client.count)
        return LN_EXIT_OK;
    fprintf(stderr, "lunate send: %llu of %llu not accepted\n",
            (unsigned long long)(s->client.count - t->accepted),
            (unsigned long long)s->client.count);
    return LN_EXIT_WRONG;
}

/* "HOST:PORT", or several with commas between. */
static bool take_targets(struct send *s, const char *text)
{
    unsigned n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    size_t room = strlen(text) + 1 + 8;
    s->address = n <= TARGETS_MAX ? calloc(n, 2 * room) : NULL;
    s->targets = calloc(n, sizeof *s->targets);
    char *copy = strdup(text), *rest = copy, *word;
    bool ok = s->address && s->targets && copy;
    for (unsigned i = 0; ok && (word = strsep(&rest, ",")); i++) {
        char *host = s->address + 2 * i * room, *port = host + room;
        ok = ln_option_address(word, host, room, port, room);
        s->targets[i] = (struct ln_client_target){host, port};
    }
    free(copy);
    s->client.targets = s->targets;
    s->client.ntargets = n;
    return ok;
}

/* Reads words and options into s; returns an exit status, or -1 to go on. */
static int prepare(struct send *s, int argc, char **argv)
{
    uint64_t count = 0, connections = 0;
    double timeout = 10, rate = -1; /* none */
    const char *min_version = NULL;
    const struct ln_option options[] = {
        {"count", LN_OPTION_COUNT, &count},
        {"connections", LN_OPTION_COUNT, &connections},
        {"rate", LN_OPTION_NUMBER, &rate},
        {"timeout", LN_OPTION_NUMBER, &timeout},
        {"unique-ids", LN_OPTION_FLAG, &s->client.unique_ids},
        {"raw-bytes", LN_OPTION_FLAG, &s->payload.raw_bytes},
        {"whole", LN_OPTION_FLAG, &s->payload.whole},
        {"show", LN_OPTION_FLAG, &s->show},
        {"json", LN_OPTION_FLAG, &s->json},
        {"tls", LN_OPTION_FLAG, &s->secure},
        {"ca", LN_OPTION_WORD, &s->tls.ca},
        {"cert", LN_OPTION_WORD, &s->tls.cert},
        {"key", LN_OPTION_WORD, &s->tls.key},
        {"crl", LN_OPTION_WORD, &s->tls.crl},
        {"min-version", LN_OPTION_WORD, &min_version},
        {"server-name", LN_OPTION_WORD, &s->tls.server_name},
        {"insecure", LN_OPTION_FLAG, &s->tls.insecure},
        {NULL, LN_OPTION_FLAG, NULL},
    };
    int words = ln_option_parse(argc, argv, options);
    if (words < 0)
        return LN_EXIT_USAGE;
    bool more = s->tls.ca || s->tls.cert || s->tls.key || s->tls.crl || s->tls.server_name ||
                s->tls.insecure || min_version;
    if (more && !s->secure)
        return ln_option_usage("send", "--ca, --cert, --key, --crl, --server-name, --min-version "
                                       "and --insecure go with --tls");
    if (min_version && strcmp(min_version, "1.2") != 0 && strcmp(min_version, "1.3") != 0)
        return ln_option_usage("send", "--min-version is 1.2 or 1.3");
    s->tls.tls13 = min_version && strcmp(min_version, "1.3") == 0;
    if (s->tls.key && !s->tls.cert)
        return ln_option_usage("send", "--key goes with --cert");
    if (words < 1)
        return ln_option_usage("send", "where to? Give HOST:PORT and the files to send");
    if (!take_targets(s, argv[2]))
        return ln_option_usage("send", "\"%s\" is not HOST:PORT, as in 127.0.0.1:6661", argv[2]);
    if (words < 2)
        return ln_option_usage("send", "which file? Give one or more after %s", argv[2]);
    if (timeout <= 0 || timeout > 86400)
        return ln_option_usage("send", "--timeout is in seconds, above 0, at most a day");
    if (rate == 0)
        return ln_option_usage("send", "--rate is in messages a second, above 0; without it there "
                                       "is no limit");
    s->client.rate = rate > 0 ? rate : 0;
    if (connections > 60000)
        return ln_option_usage("send", "--connections is at most 60000");
    struct ln_err tls_err = {0};
    if (s->secure && ln_tls_from_files(&s->tls, false, &s->client.tls, &tls_err) != LN_OK) {
        fprintf(stderr, "lunate send: %s\n", tls_err.text);
        return LN_EXIT_WRONG;
    }
    s->payload.need_id = s->client.unique_ids;
    for (int i = 0; i < words - 1; i++) {
        struct ln_err err = {0};
        if (ln_payload_add_file(&s->payload, argv[3 + i], &err) != LN_OK) {
            fprintf(stderr, "lunate send: %s\n", err.text);
            return LN_EXIT_WRONG;
        }
    }
    s->each = count == 0 && connections == 0 && s->client.rate == 0;
    s->client.count = count ? count : s->payload.n;
    s->client.connections = connections ? (unsigned)connections : 1;
    if (s->client.connections > s->client.count)
        s->client.connections = (unsigned)s->client.count;
    s->client.timeout_us = (int64_t)(timeout * 1e6);
    return -1;
}

int ln_role_send(int argc, char **argv)
{
    struct send s = {0};
    struct ln_client_totals totals = {0};
    struct ln_err err = {0};
    int status = prepare(&s, argc, argv);
    if (status < 0) {
        struct sigaction sa = {.sa_handler = on_signal};
        sigaction(SIGINT, &sa, NULL);
        sigaction(SIGTERM, &sa, NULL);
        const char *term = getenv("TERM");
        s.bar = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0) && !s.each;
        s.client.payload = &s.payload;
        s.client.on_result = on_result;
        s.client.on_tick = on_tick;
        s.client.arg = &s;
        s.client.stop = &stopped;
        int rc = ln_client_run(&s.client, &totals, &err);
        status = finish(&s, &totals, rc, &err);
    }
    ln_tls_unref(s.client.tls);
    ln_payload_fini(&s.payload);
    ln_buf_fini(&s.replies);
    free(s.targets);
    free(s.address);
    return status;
}
