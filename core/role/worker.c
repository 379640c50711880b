/* worker: runs one channel's script, in a process of its own. Its socket (descriptor 3) is its only
 * way in and out; it opens no store, no listener, no file but what io.open of the sandbox allows.
 *
 * Messages are taken pipelined; results gather in `out` and leave when the input is used up, when
 * they are 64 KiB, 1 ms after the first of them, or from the limits' tick while a script is at
 * work, so that the hub's idea of the message at hand is never older than a tick. */
#include <errno.h>
#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "ipc/proto.h"
#include "role/confine.h"
#include "role/fetch.h"
#include "role/role.h"
#include "role/worker.h"
#include "script/kv.h"
#include "script/limits.h"
#include "script/mask.h"
#include "script/run.h"
#include "script/sandbox.h"
#include "script/state.h"
#include "script/trace.h"

#define READ_CHUNK  (64u << 10)
#define KEEP_BUFFER (256u << 10)
#define OUT_FULL    (64u << 10)
#define OUT_AGE_US  1000
#define GC_EVERY    (8u << 20) /* bytes of messages between full collections */
#define LOG_TEXT    8192
#define ALLOW_MAX   1000
#define BACKSTOP    ((size_t)1 << 30) /* address space beyond twice the script's memory */

static struct {
    int argc;
    char **argv;
    struct ln_buf in;
    struct ln_buf out;
    size_t sent; /* bytes of `out` that are written; also moved by the tick */
    volatile sig_atomic_t out_safe; /* `out` holds whole records and nobody changes it */
    int64_t first_us; /* when the oldest unwritten record came into `out` */

    char *name_text, *path_text, *site;
    double seconds;
    uint32_t memory_mb;
    bool jit;
    unsigned confined; /* enum ln_confinement */
    uint8_t net; /* enum ln_allow_net */
    char *ca;
    char **read; /* what ALLOW named */
    unsigned nread;
    struct ln_files files;
    struct ln_host host;
    struct ln_buf kv; /* KV records' payloads until the state is there */

    lua_State *L;
    bool prepared; /* L and its modules were there before there was a channel */
    struct ln_channel channel;
    struct ln_run *run;
    uint8_t watch; /* enum ln_trace_mode */
    struct ln_trace *trace;
    uint64_t seq; /* at hand, for log lines; 0 while loading */
    unsigned log_lines;
    bool told_reading; /* the hub knows that a table is read for this message */
    struct ln_buf masked[2]; /* texts without the secrets they held */
    size_t since_gc;
} w;

/* From the signal handler, while a script is at work. What does not fit now goes later. */
static void tick(void)
{
    if (!w.out_safe)
        return;
    while (w.sent < w.out.len) {
        ssize_t n =
            send(LN_PROC_FD, w.out.data + w.sent, w.out.len - w.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            return;
        w.sent += (size_t)n;
    }
}

static void protect_out(bool safe)
{
    atomic_signal_fence(memory_order_seq_cst);
    w.out_safe = safe;
    atomic_signal_fence(memory_order_seq_cst);
}

/* Writes all there is; ends the process when the hub is gone. Never while out_safe. */
static void flush(void)
{
    while (w.sent < w.out.len) {
        ssize_t n = send(LN_PROC_FD, w.out.data + w.sent, w.out.len - w.sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        w.sent += (size_t)n;
    }
    w.sent = 0;
    ln_buf_clear(&w.out, KEEP_BUFFER);
}

_Noreturn static void end(int status)
{
    flush();
    exit(status);
}

static void out_of_memory(int code)
{
    if (code != LN_OK)
        end(1);
}

static void on_log(void *arg, int level, struct ln_span where, struct ln_span text)
{
    static const char dropped[] = "further log lines of this message are dropped";
    bool safe = w.out_safe;
    (void)arg;
    if (w.log_lines > LN_LOG_LINES_MAX)
        return;
    if (w.log_lines++ == LN_LOG_LINES_MAX)
        text = ln_span(dropped, sizeof dropped - 1);
    if (text.len > LOG_TEXT)
        text.len = LOG_TEXT;
    protect_out(false);
    text = ln_mask(&w.files, text, &w.masked[0]);
    size_t at = ln_wire_begin(&w.out, LN_P_LOG);
    ln_wire_u64(&w.out, w.seq);
    ln_wire_u8(&w.out, (uint8_t)level);
    ln_wire_bytes(&w.out, where);
    ln_wire_bytes(&w.out, text);
    int code = ln_wire_end(&w.out, at);
    if (code == LN_OK && w.out.len - w.sent > 16 * OUT_FULL)
        flush();
    protect_out(safe);
}

/* The hub has to know now: it kills who takes too long. */
static void on_reading(void *arg)
{
    bool safe = w.out_safe;
    (void)arg;
    if (w.host.loading || w.told_reading)
        return;
    w.told_reading = true;
    protect_out(false);
    size_t at = ln_wire_begin(&w.out, LN_P_READING);
    ln_wire_u64(&w.out, w.seq);
    out_of_memory(ln_wire_end(&w.out, at));
    flush();
    protect_out(safe);
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

/* What was asked, to whoever tries the script out. */
static void tell_http(const struct ln_http_ask *ask)
{
    size_t at = ln_wire_begin(&w.out, LN_P_HTTP);
    ln_wire_bytes(&w.out, ln_span_str(ask->method));
    ln_wire_bytes(&w.out, ln_span_str(ask->url));
    ln_wire_bytes(&w.out, ask->headers);
    ln_wire_bytes(&w.out, ask->body);
    out_of_memory(ln_wire_end(&w.out, at));
    flush();
}

/* The next record, which must be the answer: nothing else is on its way while one is waited for. */
static int take_faked(struct ln_http_told *told, struct ln_err *err)
{
    struct ln_buf b = {0};
    struct ln_wire_in in;
    uint8_t type;
    size_t used;
    int code;
    while ((code = ln_wire_next(b.data, b.len, LN_WIRE_MAX, &type, &in, &used)) == LN_EAGAIN) {
        out_of_memory(ln_buf_reserve(&b, READ_CHUNK));
        ssize_t n = read(LN_PROC_FD, b.data + b.len, READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        b.len += (size_t)n;
    }
    if (code != LN_OK || type != LN_P_HTTP_TOLD || used != b.len)
        exit(1);
    told->status = ln_wire_get_u32(&in);
    struct ln_span headers = ln_wire_get_bytes(&in), body = ln_wire_get_bytes(&in);
    if (!ln_wire_done(&in))
        exit(1);
    ln_buf_add_span(&told->headers, headers);
    for (size_t i = 0; i < told->headers.len; i++) /* "name LF value LF" each */
        if (told->headers.data[i] == '\n')
            told->headers.data[i] = '\0';
    ln_buf_add_span(&told->body, body);
    code = told->status
               ? LN_OK
               : ln_err_set(err, LN_ECLOSED, "%.*s", (int)(body.len > 400 ? 400 : body.len),
                            body.len ? body.ptr : "");
    ln_buf_fini(&b);
    return code;
}

static int on_http(void *arg, const struct ln_http_ask *ask, struct ln_http_told *told,
                   struct ln_err *err)
{
    bool safe = w.out_safe;
    (void)arg;
    if (w.net == LN_NET_ASKED)
        return ln_fetch(ask, told, err);
    protect_out(false);
    tell_http(ask);
    protect_out(safe);
    if (w.net == LN_NET_FAKED)
        return take_faked(told, err);
    return ln_err_set(err, LN_ECLOSED, "held back: only the running engine connects");
}

/* ---- the handshake ------------------------------------------------------------------------- */

static char *text_of(struct ln_span s)
{
    char *p = s.len && memchr(s.ptr, '\0', s.len) ? NULL : ln_span_dup(s);
    if (!p)
        end(1);
    return p;
}

/* The other side may say its build, too: it must be this one. */
static void take_hello(struct ln_wire_in *in)
{
    if (!ln_span_is(ln_wire_get_bytes(in), LN_PROTO_BUILD) || !ln_wire_done(in))
        end(1);
}

static void take_allow(struct ln_wire_in *in)
{
    w.net = ln_wire_get_u8(in);
    struct ln_span ca = ln_wire_get_bytes(in);
    uint32_t n = ln_wire_get_u32(in);
    if (w.net > LN_NET_FAKED || !(w.ca = ln_span_dup(ca)))
        end(1);
    if (w.name_text || w.read || in->bad || n > ALLOW_MAX ||
        !(w.read = calloc(n + 1, sizeof *w.read)))
        end(1);
    while (w.nread < n)
        w.read[w.nread++] = text_of(ln_wire_get_bytes(in));
    if (!ln_wire_done(in))
        end(1);
}

static void take_channel(struct ln_wire_in *in)
{
    struct ln_span name = ln_wire_get_bytes(in), site = ln_wire_get_bytes(in),
                   path = ln_wire_get_bytes(in);
    w.seconds = ln_wire_get_f64(in);
    w.memory_mb = ln_wire_get_u32(in);
    w.jit = ln_wire_get_u8(in) != 0;
    if (!ln_wire_done(in) || w.name_text || w.seconds <= 0)
        end(1);
    w.name_text = text_of(name);
    w.path_text = text_of(path);
    w.site = text_of(site);
    char title[128];
    snprintf(title, sizeof title, "lunate: worker %s", w.name_text);
    ln_proc_title(w.argc, w.argv, title);
    if (w.net == LN_NET_ASKED && ln_fetch_open(ln_span_str(w.ca), NULL) != LN_OK)
        end(1);
    ln_confine_user(w.site);
    ln_proc_seal(w.net == LN_NET_ASKED ? LN_NET_FD : LN_PROC_FD,
                 BACKSTOP + 2 * ((size_t)w.memory_mb << 20));
    w.confined = ln_confine(&(struct ln_confine){.site = w.site,
                                                 .jit = w.jit,
                                                 .net = w.net == LN_NET_ASKED,
                                                 .read = (const char *const *)w.read,
                                                 .nread = w.nread});
}

static void take_file(struct ln_wire_in *in)
{
    struct ln_span path = ln_wire_get_bytes(in), data = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || ln_files_add(&w.files, path, data) != LN_OK)
        end(1);
}

/* What all channels have in common is mapped, not copied: before CHANNEL, which closes
 * descriptors. */
static void take_mapped(struct ln_wire_in *in)
{
    struct ln_span path = ln_wire_get_bytes(in);
    int fd = (int)ln_wire_get_u32(in);
    size_t len = (size_t)ln_wire_get_u64(in);
    if (!ln_wire_done(in) || w.name_text)
        end(1);
    void *at = mmap(NULL, len + 1, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED || ln_files_lend(&w.files, path, ln_span(at, len)) != LN_OK)
        end(1);
}

/* Kept as they came: the state is not there yet. */
static void take_kv(struct ln_wire_in *in)
{
    out_of_memory(ln_buf_add(&w.kv, in->ptr, (size_t)(in->end - in->ptr)));
    ln_wire_get_bytes(in);
    ln_wire_get_bytes(in);
    if (!ln_wire_done(in))
        end(1);
}

static int load_kv(lua_State *L)
{
    struct ln_wire_in in = {w.kv.data, w.kv.data + w.kv.len, false};
    while (in.ptr < in.end) {
        struct ln_span key = ln_wire_get_bytes(&in), value = ln_wire_get_bytes(&in);
        ln_kv_load(L, key, value);
    }
    return 0;
}

/* The modules that ln_sandbox_open and ln_channel_eval ask for. */
static int load_modules(lua_State *L)
{
    static const char *const names[] = {"hl7", "json", "lunate.sandbox", "lunate.channel"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ln_state_push_module(L, names[i]);
        lua_pop(L, 1);
    }
    return 0;
}

void ln_worker_prepare(void)
{
    struct ln_err err;
    if (getenv("LUNATE_LUA")) /* what is being worked on is read anew each time */
        return;
    w.L = ln_state_new(false, false, &err);
    if (!w.L)
        return;
    lua_pushcfunction(w.L, load_modules);
    if (ln_state_call(w.L, 0, 0) != LN_OK) {
        ln_state_free(w.L);
        w.L = NULL;
        return;
    }
    w.prepared = true;
    lua_gc(w.L, LUA_GCCOLLECT,
           0); /* or each child would do it, and have pages of its own by that */
    ln_proc_shed();
}

/* The one that was prepared has no compiler, as most channels want it. */
static int take_state(struct ln_err *err)
{
    if (w.L && !w.jit)
        return LN_OK;
    ln_state_free(w.L);
    w.L = ln_state_new(false, w.jit, err);
    if (!w.L)
        return err->code;
    lua_pushcfunction(w.L, load_modules); /* not counted in limits.memory_mb, here as there */
    int code = ln_state_call(w.L, 0, 0);
    if (code != LN_OK)
        ln_state_fault_text(w.L, code, err);
    return code;
}

static int make_script(struct ln_err *err)
{
    w.host = (struct ln_host){.site = w.site,
                              .read = (const char *const *)w.read,
                              .nread = w.nread,
                              .loading = true,
                              .files = &w.files,
                              .log = on_log,
                              .reading = on_reading,
                              .http = w.net == LN_NET_NONE ? NULL : on_http};
    int code = take_state(err);
    if (code != LN_OK)
        return code;
    code = ln_limits_watch(w.L, w.seconds, tick);
    ln_limits_begin(ln_mono_us());
    ln_state_limit_memory(w.L, (size_t)w.memory_mb << 20);
    if (code == LN_OK && w.watch)
        code = ln_trace_new(w.L, &w.files, w.watch, &w.trace);
    if (code == LN_OK)
        code = ln_channel_load(w.L, &w.host, w.path_text, &w.channel, err);
    ln_limits_end();
    w.host.loading = false;
    if (code == LN_OK)
        code = ln_run_new(w.L, &w.channel, &w.run);
    return code;
}

static void answer_ready(void)
{
    size_t at = ln_wire_begin(&w.out, LN_P_READY);
    ln_wire_u32(&w.out, w.channel.ndest);
    for (unsigned i = 0; i < w.channel.ndest; i++)
        ln_wire_bytes(&w.out, ln_span_str(w.channel.dest[i].name));
    ln_wire_u8(&w.out, (uint8_t)w.confined);
    out_of_memory(ln_wire_end(&w.out, at));
}

static void start(void)
{
    struct ln_err err = {0};
    if (!w.name_text || w.run)
        end(1);
    int code = make_script(&err);
    if (code == LN_OK) {
        lua_pushcfunction(w.L, load_kv);
        if ((code = ln_state_call(w.L, 0, 0)) != LN_OK)
            ln_state_fault_text(w.L, code, &err);
    }
    ln_buf_fini(&w.kv);
    if (code == LN_OK) {
        if (!w.prepared)
            ln_proc_shed();
        answer_ready();
        return;
    }
    size_t at = ln_wire_begin(&w.out, LN_P_FAILED);
    struct ln_span why = ln_span_str(err.text[0] ? err.text : ln_strerror(code));
    ln_wire_bytes(&w.out, ln_mask(&w.files, why, &w.masked[0]));
    out_of_memory(ln_wire_end(&w.out, at));
    end(0);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void collect_garbage(size_t bytes)
{
    w.since_gc += bytes;
    if (w.since_gc < GC_EVERY)
        return;
    /* Messages keep their bytes outside of Lua's heap, where its collector does not see them. */
    w.since_gc = 0;
    lua_gc(w.L, LUA_GCCOLLECT, 0);
}

/* What the result says in words names no secret; what it sends may hold some. */
static int write_result(const struct ln_result *r)
{
    struct ln_result said = *r;
    said.reason = ln_mask(&w.files, r->reason, &w.masked[0]);
    said.trace = ln_mask(&w.files, r->trace, &w.masked[1]);
    struct ln_buf *masked = calloc(r->noutputs + 1u, sizeof *masked); /* all are needed at once */
    if (!masked)
        return LN_ENOMEM;
    for (uint32_t i = 0; i < r->noutputs; i++) {
        struct ln_output *o = &r->outputs[i];
        if (o->kind == LN_O_FILTERED || o->kind == LN_O_ERROR)
            o->data = ln_mask(&w.files, o->data, &masked[i]);
    }
    int rc = ln_result_write(&w.out, &said);
    for (uint32_t i = 0; i < r->noutputs; i++)
        ln_buf_fini(&masked[i]);
    free(masked);
    return rc;
}

static void take_message(struct ln_wire_in *in)
{
    w.seq = ln_wire_get_u64(in);
    ln_wire_get_u64(in); /* receipt time */
    struct ln_span raw = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || !w.run)
        end(1);
    int64_t now = ln_mono_us();
    w.log_lines = 0;
    w.told_reading = false;
    protect_out(true);
    ln_limits_begin(now);
    const struct ln_result *r = ln_run_message(w.run, w.seq, raw, now);
    ln_limits_end();
    protect_out(false);
    if (w.out.len == 0)
        w.first_us = now;
    if (w.trace && r->verdict == LN_V_LIMIT)
        out_of_memory(ln_trace_write(w.trace, &w.out));
    if (write_result(r) != LN_OK) {
        static const char large[] = "the result is too large";
        struct ln_result failed = {.seq = w.seq, .verdict = LN_V_ERROR};
        failed.reason = ln_span(large, sizeof large - 1);
        out_of_memory(ln_result_write(&w.out, &failed));
    }
    if (r->verdict == LN_V_LIMIT)
        end(0);
    now += r->duration_us;
    ln_run_forget(w.run);
    collect_garbage(raw.len);
    if (w.out.len - w.sent >= OUT_FULL || now - w.first_us >= OUT_AGE_US)
        flush();
}

static void take_clock(struct ln_wire_in *in)
{
    int64_t us = (int64_t)ln_wire_get_u64(in);
    if (!ln_wire_done(in) || us < 0)
        end(1);
    ln_now_fix(us);
}

static void take_watch(struct ln_wire_in *in)
{
    uint8_t mode = ln_wire_get_u8(in);
    if (!ln_wire_done(in) || mode > LN_TRACE_VALUES || (w.run && !w.trace))
        end(1);
    if (w.run)
        out_of_memory(ln_trace_write(w.trace, &w.out));
    else
        w.watch = mode;
}

static void take(uint8_t type, struct ln_wire_in *in)
{
    switch (type) {
    case LN_P_MESSAGE: take_message(in); break;
    case LN_P_HELLO: take_hello(in); break;
    case LN_P_ALLOW: take_allow(in); break;
    case LN_P_CHANNEL: take_channel(in); break;
    case LN_P_FILE: take_file(in); break;
    case LN_P_MAPPED: take_mapped(in); break;
    case LN_P_KV: take_kv(in); break;
    case LN_P_START: start(); break;
    case LN_P_WATCH: take_watch(in); break;
    case LN_P_CLOCK: take_clock(in); break;
    default: end(1);
    }
}

/* Works off the whole records in the buffer; returns how many bytes the next one needs, 0 =
 * unknown. */
static size_t work_off(void)
{
    struct ln_wire_in in;
    uint8_t type = 0;
    size_t used = 0, pos = 0;
    int code;
    while ((code = ln_wire_next(w.in.data + pos, w.in.len - pos, LN_WIRE_MAX, &type, &in, &used)) ==
           LN_OK) {
        take(type, &in);
        pos += used;
    }
    if (code != LN_EAGAIN)
        end(1);
    ln_buf_drop(&w.in, pos);
    if (w.in.len == 0)
        ln_buf_clear(&w.in, KEEP_BUFFER);
    return used;
}

_Noreturn static void loop(void)
{
    size_t need = 0;
    for (;;) {
        size_t more = need > w.in.len + READ_CHUNK ? need - w.in.len : READ_CHUNK;
        out_of_memory(ln_buf_reserve(&w.in, more));
        ssize_t n = read(LN_PROC_FD, w.in.data + w.in.len, w.in.cap - w.in.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0); /* the hub is gone, or wants no more */
        w.in.len += (size_t)n;
        need = work_off();
        flush();
    }
}

void ln_worker_run(int argc, char **argv)
{
    w.argc = argc;
    w.argv = argv;
    size_t at = ln_wire_begin(&w.out, LN_P_HELLO);
    ln_wire_bytes(&w.out, ln_span_str(LN_PROTO_BUILD));
    out_of_memory(ln_wire_end(&w.out, at));
    flush();
    loop();
}

int ln_role_worker(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate worker: only the engine starts workers (lunate run)\n");
        return LN_EXIT_USAGE;
    }
    ln_worker_run(argc, argv);
    return LN_EXIT_OK;
}
