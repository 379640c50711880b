/* `lunate listen PORT`: an MLLP receiver for tests: answers, prints, keeps. A line per message and
 * the summary on stdout; `ready` and errors on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "role/option.h"
#include "role/receiver.h"
#include "role/role.h"
#include "role/tls_files.h"

struct listen {
    struct ln_receiver_options receiver;
    const char *out;
    struct ln_tls_files tls;
    bool json, quiet;
    uint64_t file; /* number of the last file written */
    struct ln_buf line;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    stopped = sig;
}

static void on_ready(void *arg, const char *host, unsigned port)
{
    (void)arg;
    fprintf(stderr, "listening on %s:%u\nready\n", host, port);
}

/* Writes the frame into the next free NNNNNN.hl7, never over another; false when it can't. */
static bool keep(struct listen *l, struct ln_span frame, char *name, size_t cap)
{
    int fd;
    do {
        snprintf(name, cap, "%s/%06llu.hl7", l->out, (unsigned long long)++l->file);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EEXIST);
    bool ok = fd >= 0;
    while (ok && frame.len) {
        ssize_t n = write(fd, frame.ptr, frame.len);
        ok = n > 0;
        frame = ok ? ln_span(frame.ptr + n, frame.len - (size_t)n) : frame;
    }
    if (!ok)
        fprintf(stderr, "lunate listen: %s: %s\n", name, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

static struct ln_span type_of(const struct ln_header *h)
{
    return h->kind == LN_HEADER_MSH ? h->field[9] : ln_span("", 0);
}

static void print_json(struct listen *l, const struct ln_received *r, const char *file)
{
    char when[40];
    struct ln_buf *b = &l->line;
    ln_buf_clear(b, 4096);
    ln_json_open(b, '{');
    ln_json_key(b, "n");
    ln_json_int(b, (int64_t)r->number);
    ln_json_key(b, "time");
    ln_json_str(b, ln_span(when, ln_iso_time(r->time_us, when, sizeof when)));
    ln_json_key(b, "peer");
    ln_json_cstr(b, r->peer);
    ln_json_key(b, "type");
    ln_json_str(b, type_of(r->header));
    ln_json_key(b, "control_id");
    ln_json_str(b, r->header->kind == LN_HEADER_MSH ? r->header->field[10] : ln_span("", 0));
    ln_json_key(b, "length");
    ln_json_int(b, (int64_t)r->frame.len);
    if (*file) {
        ln_json_key(b, "file");
        ln_json_cstr(b, file);
    }
    ln_json_close(b, '}');
    ln_buf_addc(b, '\n');
    fwrite(b->data, 1, b->len, stdout);
}

/* A field of the message for a terminal: control characters become blanks. */
static void put_field(struct ln_span s)
{
    for (size_t i = 0; i < s.len; i++)
        putchar((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? ' ' : s.ptr[i]);
}

static void print_text(const struct ln_received *r, const char *file)
{
    char when[40];
    ln_iso_time(r->time_us, when, sizeof when);
    printf("%.12s  %s  ", when + 11, r->peer);
    if (r->header->kind == LN_HEADER_MSH) {
        put_field(type_of(r->header));
        fputs("  ", stdout);
        put_field(r->header->field[10]);
    } else {
        fputs("not an HL7 message", stdout);
    }
    printf("  %zu bytes%s%s\n", r->frame.len, *file ? "  " : "", file);
}

static bool on_message(void *arg, const struct ln_received *r)
{
    struct listen *l = arg;
    char file[4096] = "";
    if (l->out && !keep(l, r->frame, file, sizeof file))
        return false;
    if (l->quiet)
        return true;
    if (l->json)
        print_json(l, r, file);
    else
        print_text(r, file);
    return true;
}

static void on_refused(void *arg, const char *peer, const char *why)
{
    (void)arg;
    fprintf(stderr, "lunate listen: no TLS with %s: %s\n", peer, why);
}

static void on_idle(void *arg)
{
    (void)arg;
    fflush(stdout);
}

static void summary(struct listen *l, const struct ln_receiver_totals *t)
{
    double seconds = (double)(t->last_us - t->first_us) / 1e6;
    double rate = seconds > 0 ? (double)(t->messages - 1) / seconds : 0;
    struct ln_buf *b = &l->line;
    if (!l->json) {
        printf("%llu message%s, %llu bytes, %llu connection%s", (unsigned long long)t->messages,
               t->messages == 1 ? "" : "s", (unsigned long long)t->bytes,
               (unsigned long long)t->connections, t->connections == 1 ? "" : "s");
        if (rate > 0)
            printf(", %.0f/s over %.3f s", rate, seconds);
        for (int i = 0; i < LN_MLLP_DEVIATIONS; i++)
            if (t->deviations[i])
                printf(", %s %llu", ln_mllp_deviation_name((enum ln_mllp_deviation)i),
                       (unsigned long long)t->deviations[i]);
        putchar('\n');
        return;
    }
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {{"messages", t->messages},
                  {"unreadable", t->unreadable},
                  {"bytes", t->bytes},
                  {"connections", t->connections}};
    ln_buf_clear(b, 4096);
    ln_json_open(b, '{');
    ln_json_key(b, "summary");
    ln_json_open(b, '{');
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ln_json_key(b, counts[i].name);
        ln_json_int(b, (int64_t)counts[i].value);
    }
    ln_json_key(b, "seconds");
    ln_json_num(b, seconds, 6);
    ln_json_key(b, "rate");
    ln_json_num(b, rate, 1);
    ln_json_key(b, "deviations");
    ln_json_open(b, '{');
    for (int i = 0; i < LN_MLLP_DEVIATIONS; i++) {
        ln_json_key(b, ln_mllp_deviation_name((enum ln_mllp_deviation)i));
        ln_json_int(b, (int64_t)t->deviations[i]);
    }
    ln_json_close(b, '}');
    ln_json_close(b, '}');
    ln_json_close(b, '}');
    printf("%.*s\n", (int)b->len, b->data);
}

/* Reads words and options into l; returns an exit status, or -1 to go on. */
static int prepare(struct listen *l, int argc, char **argv)
{
    static const char *const codes[] = {"AA", "AE", "AR"};
    const char *ack = "AA", *host = "127.0.0.1";
    double delay = 0;
    const struct ln_option options[] = {
        {"host", LN_OPTION_WORD, &host},
        {"ack", LN_OPTION_WORD, &ack},
        {"delay", LN_OPTION_NUMBER, &delay},
        {"out", LN_OPTION_WORD, &l->out},
        {"count", LN_OPTION_COUNT, &l->receiver.count},
        {"json", LN_OPTION_FLAG, &l->json},
        {"quiet", LN_OPTION_FLAG, &l->quiet},
        {"tls-cert", LN_OPTION_WORD, &l->tls.cert},
        {"tls-key", LN_OPTION_WORD, &l->tls.key},
        {"client-ca", LN_OPTION_WORD, &l->tls.ca},
        {NULL, LN_OPTION_FLAG, NULL},
    };
    char *end;
    int words = ln_option_parse(argc, argv, options);
    if (words < 0)
        return LN_EXIT_USAGE;
    if (words != 1)
        return ln_option_usage("listen", words ? "one PORT only" : "which PORT?");
    unsigned long port = strtoul(argv[2], &end, 10);
    if (!*argv[2] || *end || argv[2][0] == '-' || port > 65535)
        return ln_option_usage("listen", "\"%s\" is not a port (0 = any free one)", argv[2]);
    l->receiver.port = (unsigned)port;
    l->receiver.host = host;
    l->receiver.delay_us = (int64_t)(delay * 1000);
    l->receiver.answer = strcmp(ack, "none") != 0;
    for (int i = 0; i < 3; i++)
        if (strcmp(ack, codes[i]) == 0) {
            l->receiver.code = (enum ln_ack_code)i;
            ack = NULL;
            break;
        }
    if (ack && l->receiver.answer)
        return ln_option_usage("listen", "--ack is AA, AE, AR or none, not \"%s\"", ack);
    struct ln_err err = {0};
    if ((l->tls.key || l->tls.ca) && !l->tls.cert)
        return ln_option_usage("listen", "--tls-key and --client-ca go with --tls-cert");
    if (l->tls.cert && ln_tls_from_files(&l->tls, true, &l->receiver.tls, &err) != LN_OK) {
        fprintf(stderr, "lunate listen: %s\n", err.text);
        return LN_EXIT_WRONG;
    }
    if (l->out && mkdir(l->out, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "lunate listen: cannot create %s: %s\n", l->out, strerror(errno));
        return LN_EXIT_WRONG;
    }
    return -1;
}

int ln_role_listen(int argc, char **argv)
{
    struct listen l = {0};
    struct ln_receiver_totals totals;
    struct ln_err err = {0};
    int status = prepare(&l, argc, argv);
    if (status >= 0)
        return status;
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    l.receiver.on_ready = on_ready;
    l.receiver.on_message = on_message;
    l.receiver.on_idle = on_idle;
    l.receiver.on_refused = on_refused;
    l.receiver.arg = &l;
    l.receiver.stop = &stopped;
    status = LN_EXIT_OK;
    if (ln_receiver_run(&l.receiver, &totals, &err) == LN_OK) {
        summary(&l, &totals);
    } else {
        fprintf(stderr, "lunate listen: %s\n", err.text);
        status = LN_EXIT_WRONG;
    }
    ln_tls_unref(l.receiver.tls);
    ln_buf_fini(&l.line);
    return status;
}
