/* repl-child: evaluates what is typed at the REPL, in a process of its own that the REPL survives.
 * It is set up as a worker is (sealed, sandboxed, limited, files only as they were handed over) and
 * has a channel's script in it, or none. lua/repl/inside.lua answers what it is asked.
 *
 * One thing at a time: the REPL waits for the answer. All it may send meanwhile is INTERRUPT, so
 * the tick of the limits only looks whether something came. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "ipc/proto.h"
#include "role/confine.h"
#include "role/role.h"
#include "script/inspect.h"
#include "script/kv.h"
#include "script/limits.h"
#include "script/run.h"
#include "script/sandbox.h"
#include "script/state.h"

#define READ_CHUNK (64u << 10)
#define ALLOW_MAX  1000
#define BACKSTOP   ((size_t)1 << 30) /* address space beyond twice the script's memory */
#define ASK        "lunate.repl.ask" /* registry: function(what, ...) -> texts */

static struct {
    int argc;
    char **argv;
    struct ln_buf in, out;
    char *path, *site; /* the script's; "" = none */
    double seconds;
    uint32_t memory_mb;
    bool jit;
    uint8_t net; /* enum ln_allow_net */
    char **read; /* what ALLOW named */
    unsigned nread;
    struct ln_files files;
    struct ln_buf kv; /* KV records' payloads until the state is there */
    struct ln_host host;
    lua_State *L;
    bool started; /* the script is loaded, or does not load */
    struct ln_channel channel;
    struct ln_run *run; /* NULL without a channel */
    uint64_t seq;
} c;

static void tick(void)
{
    char byte;
    if (recv(LN_PROC_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) /* 0: the REPL is gone */
        ln_state_interrupt(c.L);
}

static void flush(void)
{
    size_t at = 0;
    while (at < c.out.len) {
        ssize_t n = send(LN_PROC_FD, c.out.data + at, c.out.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        at += (size_t)n;
    }
    ln_buf_clear(&c.out, READ_CHUNK);
}

/* Ends the record that began at `at`, and writes it. */
static void finish(size_t at)
{
    if (ln_wire_end(&c.out, at) != LN_OK)
        exit(1);
    flush();
}

static void on_log(void *arg, int level, struct ln_span where, struct ln_span text)
{
    (void)arg;
    size_t at = ln_wire_begin(&c.out, LN_P_LOG);
    ln_wire_u64(&c.out, c.seq);
    ln_wire_u8(&c.out, (uint8_t)level);
    ln_wire_bytes(&c.out, where);
    ln_wire_bytes(&c.out, text);
    finish(at);
}

static void on_reading(void *arg)
{
    (void)arg;
    size_t at = ln_wire_begin(&c.out, LN_P_READING);
    ln_wire_u64(&c.out, c.seq);
    finish(at);
}

/* What only the engine does is told instead. */
static int on_http(void *arg, const struct ln_http_ask *ask, struct ln_http_told *told,
                   struct ln_err *err)
{
    (void)arg;
    (void)told;
    size_t at = ln_wire_begin(&c.out, LN_P_HTTP);
    ln_wire_bytes(&c.out, ln_span_str(ask->method));
    ln_wire_bytes(&c.out, ln_span_str(ask->url));
    ln_wire_bytes(&c.out, ask->headers);
    ln_wire_bytes(&c.out, ask->body);
    finish(at);
    return ln_err_set(err, LN_ECLOSED, "held back: only the running engine connects");
}

/* print(text), for lua/repl. */
static int print_text(lua_State *L)
{
    struct ln_span text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    size_t at = ln_wire_begin(&c.out, LN_P_PRINT);
    ln_wire_bytes(&c.out, text);
    finish(at);
    return 0;
}

/* ---- the handshake ------------------------------------------------------------------------- */

static char *text_of(struct ln_span s)
{
    char *p = s.len && memchr(s.ptr, '\0', s.len) ? NULL : ln_span_dup(s);
    if (!p)
        exit(1);
    return p;
}

static void take_allow(struct ln_wire_in *in)
{
    c.net = ln_wire_get_u8(in);
    ln_wire_get_bytes(in); /* CAs */
    uint32_t n = ln_wire_get_u32(in);
    if (c.path || c.read || in->bad || n > ALLOW_MAX || !(c.read = calloc(n + 1, sizeof *c.read)))
        exit(1);
    while (c.nread < n)
        c.read[c.nread++] = text_of(ln_wire_get_bytes(in));
    if (!ln_wire_done(in))
        exit(1);
}

static void take_channel(struct ln_wire_in *in)
{
    ln_wire_get_bytes(in); /* name */
    struct ln_span site = ln_wire_get_bytes(in), path = ln_wire_get_bytes(in);
    c.seconds = ln_wire_get_f64(in);
    c.memory_mb = ln_wire_get_u32(in);
    c.jit = ln_wire_get_u8(in) != 0;
    if (!ln_wire_done(in) || c.path || c.seconds <= 0)
        exit(1);
    c.site = text_of(site);
    c.path = text_of(path);
    ln_proc_title(c.argc, c.argv, "lunate: repl child");
    const char *folder = *c.site ? c.site : "/nonexistent";
    ln_confine_user(folder);
    ln_proc_seal(LN_PROC_FD, BACKSTOP + 2 * ((size_t)c.memory_mb << 20));
    ln_confine(&(struct ln_confine){
        .site = folder, .jit = c.jit, .read = (const char *const *)c.read, .nread = c.nread});
}

static void take_file(struct ln_wire_in *in)
{
    struct ln_span path = ln_wire_get_bytes(in), data = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || ln_files_add(&c.files, path, data) != LN_OK)
        exit(1);
}

static void take_kv(struct ln_wire_in *in)
{
    if (ln_buf_add(&c.kv, in->ptr, (size_t)(in->end - in->ptr)) != LN_OK)
        exit(1);
    ln_wire_get_bytes(in);
    ln_wire_get_bytes(in);
    if (!ln_wire_done(in))
        exit(1);
}

static void load_kv(lua_State *L)
{
    struct ln_wire_in in = {c.kv.data, c.kv.data + c.kv.len, false};
    while (in.ptr < in.end) {
        struct ln_span key = ln_wire_get_bytes(&in), value = ln_wire_get_bytes(&in);
        ln_kv_load(L, key, value);
    }
}

static void push_function(lua_State *L, int ref)
{
    if (ref == LN_NO_FN)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

static void push_functions(lua_State *L, const struct ln_channel_fns *fns)
{
    lua_newtable(L);
    push_function(L, fns->filter);
    lua_setfield(L, -2, "filter");
    push_function(L, fns->transform);
    lua_setfield(L, -2, "transform");
}

/* The prompt's chunk is on the stack: it gives its environment. Leaves the function that answers.
 */
static int open_inside(lua_State *L)
{
    ln_state_push_module(L, "lunate.repl.inside");
    ln_sandbox_push_core(L);
    ln_inspect_push(L);
    lua_setfield(L, -2, "inspect");
    lua_pushcfunction(L, print_text);
    lua_setfield(L, -2, "print");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, "prompt");
    push_functions(L, &c.channel.fns);
    for (unsigned i = 0; i < c.channel.ndest; i++) {
        push_functions(L, &c.channel.dest[i].fns);
        lua_setfield(L, -2, c.channel.dest[i].name);
    }
    lua_setfield(L, -2, "functions");
    lua_call(L, 1, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, ASK);
    load_kv(L);
    ln_kv_begin(L); /* kv lives as long as the session */
    return 0;
}

static void not_told(void *arg, struct ln_span key, struct ln_span value)
{
    (void)arg, (void)key, (void)value;
}

/* What the prompt wrote to kv is there for the message, and is none of the message's writes. */
static int keep_kv(lua_State *L)
{
    ln_kv_commit(L, not_told, NULL);
    return 0;
}

static int begin_kv(lua_State *L)
{
    ln_kv_begin(L);
    return 0;
}

static void protected(lua_CFunction f)
{
    lua_pushcfunction(c.L, f);
    if (ln_state_call(c.L, 0, 0) != LN_OK)
        exit(1);
}

static int load_script(struct ln_err *err)
{
    if (!*c.path)
        return ln_sandbox_open(c.L, &c.host, "repl.lua", err);
    int code = ln_channel_load(c.L, &c.host, c.path, &c.channel, err);
    return code == LN_OK ? ln_run_new(c.L, &c.channel, &c.run) : code;
}

static int push_modules(lua_State *L)
{
    ln_state_push_module(L, "lunate.sandbox");
    ln_state_push_module(L, "lunate.repl.inside");
    return 0;
}

/* What needs no script, while the REPL still asks for one: a state with Lunate's own Lua in it. */
static void prepare(void)
{
    struct ln_err err = {0};
    c.L = ln_state_new_brief(false, false, &err);
    if (!c.L)
        exit(1);
    protected(push_modules);
}

static int make_script(struct ln_err *err)
{
    c.host = (struct ln_host){.site = *c.site ? c.site : NULL,
                              .read = (const char *const *)c.read,
                              .nread = c.nread,
                              .loading = true,
                              .files = &c.files,
                              .log = on_log,
                              .reading = on_reading,
                              .http = c.net == LN_NET_NONE ? NULL : on_http};
    if (c.jit) {
        ln_state_free(c.L);
        c.L = ln_state_new_brief(false, true, err);
    }
    if (!c.L)
        return err->code;
    int code = ln_limits_watch(c.L, c.seconds, tick);
    if (code != LN_OK)
        return code;
    ln_limits_begin(ln_mono_us());
    ln_state_limit_memory(c.L, (size_t)c.memory_mb << 20);
    code = load_script(err);
    c.host.loading = false;
    if (code == LN_OK) {
        lua_pushcfunction(c.L, open_inside);
        code = ln_sandbox_load(c.L, ln_span("return _G", 9), "=prompt", err);
        if (code == LN_OK && (code = ln_state_call(c.L, 1, 0)) != LN_OK)
            ln_state_fault_text(c.L, code, err);
    }
    ln_limits_end();
    return code;
}

static void start(void)
{
    struct ln_err err = {0};
    if (!c.path || c.started)
        exit(1);
    c.started = true;
    int code = make_script(&err);
    size_t at = ln_wire_begin(&c.out, code == LN_OK ? LN_P_READY : LN_P_FAILED);
    if (code != LN_OK) {
        ln_wire_bytes(&c.out, ln_span_str(err.text[0] ? err.text : ln_strerror(code)));
        finish(at);
        exit(0);
    }
    ln_wire_u32(&c.out, c.channel.ndest);
    for (unsigned i = 0; i < c.channel.ndest; i++)
        ln_wire_bytes(&c.out, ln_span_str(c.channel.dest[i].name));
    finish(at);
}

/* ---- at work --------------------------------------------------------------------------------- */

/* Forgets what was run into, and collects: messages keep their bytes outside of Lua's heap. */
static void settle(void)
{
    ln_limits_end();
    ln_state_resume(c.L);
    lua_gc(c.L, LUA_GCCOLLECT, 0);
}

static void take_message(struct ln_wire_in *in)
{
    c.seq = ln_wire_get_u64(in);
    ln_wire_get_u64(in); /* receipt time */
    struct ln_span raw = ln_wire_get_bytes(in);
    if (!ln_wire_done(in) || !c.run)
        exit(1);
    int64_t now = ln_mono_us();
    ln_inspect_forget(c.L);
    protected(keep_kv);
    ln_limits_begin(now);
    const struct ln_result *r = ln_run_message(c.run, c.seq, raw, now);
    if (ln_result_write(&c.out, r) != LN_OK)
        exit(1);
    flush();
    ln_run_forget(c.run);
    settle();
    protected(begin_kv);
}

/* Arguments: the words. */
static int ask(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, ASK);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    for (int i = 1; i <= lua_gettop(L); i++)
        luaL_checkstring(L, i);
    return lua_gettop(L);
}

static void take_ask(struct ln_wire_in *in)
{
    uint32_t n = ln_wire_get_u32(in);
    lua_State *L = c.L;
    struct ln_span s;
    if (!c.started || in->bad || n > 1000 || !lua_checkstack(L, (int)n + 10))
        exit(1);
    int top = lua_gettop(L);
    lua_pushcfunction(L, ask);
    for (uint32_t i = 0; i < n; i++) {
        s = ln_wire_get_bytes(in);
        lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
    }
    ln_limits_begin(ln_mono_us());
    int code = in->bad ? LN_EPARSE : ln_state_call(L, (int)n, LUA_MULTRET);
    size_t at = ln_wire_begin(&c.out, LN_P_ANSWER);
    ln_wire_u8(&c.out, code != LN_OK);
    ln_wire_u32(&c.out, code == LN_OK ? (uint32_t)(lua_gettop(L) - top) : 1);
    if (code != LN_OK)
        ln_wire_bytes(&c.out, ln_buf_span(&ln_state_fault(L)->reason));
    for (int i = top + 1; code == LN_OK && i <= lua_gettop(L); i++) {
        s.ptr = lua_tolstring(L, i, &s.len);
        ln_wire_bytes(&c.out, s);
    }
    lua_settop(L, top);
    finish(at);
    settle();
}

static void take(uint8_t type, struct ln_wire_in *in)
{
    switch (type) {
    case LN_P_HELLO: break;
    case LN_P_ALLOW: take_allow(in); break;
    case LN_P_CHANNEL: take_channel(in); break;
    case LN_P_FILE: take_file(in); break;
    case LN_P_KV: take_kv(in); break;
    case LN_P_START: start(); break;
    case LN_P_MESSAGE: take_message(in); break;
    case LN_P_ASK: take_ask(in); break;
    case LN_P_INTERRUPT: break; /* came too late: what it was meant for is done */
    default: exit(1);
    }
}

static void loop(void)
{
    struct ln_wire_in in;
    uint8_t type;
    size_t used;
    for (;;) {
        int code = ln_wire_next(c.in.data, c.in.len, LN_WIRE_MAX, &type, &in, &used);
        if (code == LN_OK) {
            take(type, &in);
            ln_buf_drop(&c.in, used);
            continue;
        }
        if (code != LN_EAGAIN || ln_buf_reserve(&c.in, READ_CHUNK) != LN_OK)
            exit(1);
        ssize_t n = read(LN_PROC_FD, c.in.data + c.in.len, c.in.cap - c.in.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        c.in.len += (size_t)n;
    }
}

int ln_role_repl(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate repl-child: only `lunate repl` starts it\n");
        return LN_EXIT_USAGE;
    }
    c.argc = argc;
    c.argv = argv;
    size_t at = ln_wire_begin(&c.out, LN_P_HELLO);
    ln_wire_bytes(&c.out, ln_span_str(LN_PROTO_BUILD));
    finish(at);
    prepare();
    loop();
    return 0;
}
