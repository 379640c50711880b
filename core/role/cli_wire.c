/* lunate.wire: the records of ipc/proto.h for Lua. A stream is either a connection to the engine's
 * control socket or a socketpair to a child of our own (loader, worker); pack and unpack make and
 * read payloads. Formats: b bytes, 1 u8, 2 u16, 4 u32, 8 u64, d f64. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "ipc/proto.h"
#include "ipc/wire.h"
#include "role/ahead.h"
#include "role/cli.h"

#define STREAM "lunate.stream"

struct stream {
    int fd;
    int child; /* 0 = none */
    struct ln_buf in;
    size_t taken; /* of in: the record handed out last */
};

static int failed(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static struct stream *new_stream(lua_State *L)
{
    struct stream *s = lua_newuserdata(L, sizeof *s);
    *s = (struct stream){.fd = -1};
    luaL_getmetatable(L, STREAM);
    lua_setmetatable(L, -2);
    return s;
}

/* stream:close(): ends the child, too. */
static int stream_close(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    if (s->child > 0)
        ln_proc_kill(s->child);
    s->child = 0;
    ln_buf_fini(&s->in);
    s->in = (struct ln_buf){0};
    return 0;
}

enum { CONNECT_S = 5 }; /* an engine that hangs takes none when many wait */

/* connect(folder, name): a stream to the socket `name` in the folder; nil, why, true when nobody
 * listens there. The folder is opened first, since its path may be longer than a socket's address
 * can be. */
static int wire_connect(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval tv = {CONNECT_S, 0};
    struct stream *s = new_stream(L);
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int e = dir < 0 ? errno : 0;
    if (e == 0) {
        int n = snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", dir, name);
        s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (s->fd < 0 || n >= (int)sizeof a.sun_path)
            e = s->fd < 0 ? errno : ENAMETOOLONG;
        else if (setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0 ||
                 connect(s->fd, (struct sockaddr *)&a, sizeof a) < 0)
            e = errno;
        close(dir);
    }
    if (e == 0)
        return 1;
    failed(L, e == EAGAIN ? "it does not answer, and too many wait for it" : strerror(e));
    lua_pushboolean(L, e == ENOENT || e == ECONNREFUSED || e == ENOTDIR);
    return 3; /* nil, why, true when nobody listens there */
}

/* spawn(role [, exe]): a stream to a child of the same binary, or of the one given, in that role,
 * and true when it was started ahead (role/ahead.h); nil, why. A binary that is not there shows as
 * a stream that is closed. */
static int wire_spawn(lua_State *L)
{
    struct ln_err err = {0};
    const char *argv[] = {"lunate", luaL_checkstring(L, 1), NULL};
    const char *exe = luaL_optstring(L, 2, ln_proc_self());
    struct stream *s = new_stream(L);
    int pid = 0;
    fflush(NULL);
    if (ln_ahead_take(argv[1], &s->fd, &s->child)) {
        lua_pushboolean(L, 1);
        return 2;
    }
    if (ln_proc_spawn(exe, argv, &s->fd, &pid, &err) != LN_OK)
        return failed(L, err.text);
    s->child = pid;
    return 1;
}

/* parent(): the stream on descriptor 3, to whoever started this process. */
static int wire_parent(lua_State *L)
{
    new_stream(L)->fd = LN_PROC_FD;
    return 1;
}

/* Waits until the socket takes more, and meanwhile reads what the other side writes: it may be
 * waiting for that. Returns NULL, or why not. */
static const char *wait_to_send(struct stream *s, int64_t deadline)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN | POLLOUT};
    int64_t left = deadline - ln_mono_us();
    int ready = deadline && left <= 0 ? 0 : poll(&p, 1, deadline ? (int)(left / 1000) + 1 : -1);
    if (ready < 0)
        return errno == EINTR ? NULL : strerror(errno);
    if (ready == 0)
        return "timeout";
    if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
        return NULL;
    if (ln_buf_reserve(&s->in, 65536) != LN_OK)
        return "not enough memory";
    ssize_t n = recv(s->fd, s->in.data + s->in.len, s->in.cap - s->in.len, MSG_DONTWAIT);
    if (n > 0)
        s->in.len += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        return "closed";
    return NULL;
}

/* stream:send(type, payload [, seconds]): true; nil, "timeout" | why. */
static int stream_send(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    struct ln_buf b = {0};
    struct ln_span payload;
    double seconds = luaL_optnumber(L, 4, 0);
    int64_t deadline = seconds > 0 ? ln_mono_us() + (int64_t)(seconds * 1e6) : 0;
    size_t start = ln_wire_begin(&b, (uint8_t)luaL_checkinteger(L, 2)), at = 0;
    payload.ptr = luaL_optlstring(L, 3, "", &payload.len);
    ln_buf_add_span(&b, payload);
    const char *why = ln_wire_end(&b, start) == LN_OK ? NULL : "too big";
    while (!why && at < b.len) {
        ssize_t n = send(s->fd, b.data + at, b.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        else if (errno == EAGAIN)
            why = wait_to_send(s, deadline);
        else if (errno != EINTR)
            why = strerror(errno);
    }
    ln_buf_fini(&b);
    if (why)
        return failed(L, why);
    lua_pushboolean(L, 1);
    return 1;
}

/* stream:receive(seconds): type, payload; nil, "closed" | "timeout" | why. */
static int stream_receive(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    int64_t deadline = ln_mono_us() + (int64_t)(luaL_checknumber(L, 2) * 1e6);
    ln_buf_drop(&s->in, s->taken);
    s->taken = 0;
    for (;;) {
        struct ln_wire_in in;
        uint8_t type;
        size_t used;
        int rc = ln_wire_next(s->in.data, s->in.len, LN_WIRE_MAX, &type, &in, &used);
        if (rc == LN_OK) {
            s->taken = used;
            lua_pushinteger(L, type);
            lua_pushlstring(L, in.ptr, (size_t)(in.end - in.ptr));
            return 2;
        }
        if (rc != LN_EAGAIN || ln_buf_reserve(&s->in, 65536) != LN_OK)
            return failed(L, rc != LN_EAGAIN ? "not a record" : "not enough memory");
        int64_t left = deadline - ln_mono_us();
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (left <= 0 || poll(&p, 1, (int)((left + 999) / 1000)) == 0)
            return failed(L, "timeout");
        ssize_t n = recv(s->fd, s->in.data + s->in.len, s->in.cap - s->in.len, MSG_DONTWAIT);
        if (n > 0)
            s->in.len += (size_t)n;
        else if (n == 0 || errno == ECONNRESET)
            return failed(L, "closed");
        else if (errno != EAGAIN && errno != EINTR)
            return failed(L, strerror(errno));
    }
}

/* stream:peer(): the process that listens, or nil when it cannot be told. */
static int stream_peer(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    struct ucred who = {0};
    socklen_t len = sizeof who;
    if (s->fd < 0 || getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.pid <= 0)
        return 0;
    lua_pushinteger(L, who.pid);
    return 1;
}

/* pack(format, ...): payload. */
static int wire_pack(lua_State *L)
{
    const char *format = luaL_checkstring(L, 1);
    struct ln_buf b = {0};
    luaL_checkstack(L, 2, "too many values");
    for (int i = 0; format[i]; i++) /* checked first: nothing may raise while b holds memory */
        if (format[i] == 'b' ? !luaL_checkstring(L, i + 2) : luaL_checknumber(L, i + 2) < 0)
            return luaL_argerror(L, i + 2, "below 0");
    for (int i = 0; format[i]; i++) {
        struct ln_span s;
        lua_Number v = format[i] == 'b' ? 0 : lua_tonumber(L, i + 2);
        switch (format[i]) {
        case 'b':
            s.ptr = lua_tolstring(L, i + 2, &s.len);
            ln_wire_bytes(&b, s);
            break;
        case '1': ln_wire_u8(&b, (uint8_t)v); break;
        case '2': ln_wire_u16(&b, (uint16_t)v); break;
        case '4': ln_wire_u32(&b, (uint32_t)v); break;
        case '8': ln_wire_u64(&b, (uint64_t)v); break;
        default: ln_wire_f64(&b, v);
        }
    }
    if (b.failed) {
        ln_buf_fini(&b);
        return luaL_error(L, "not enough memory");
    }
    lua_pushlstring(L, b.data ? b.data : "", b.len);
    ln_buf_fini(&b);
    return 1;
}

/* unpack(format, payload, at): the place behind what was read, then the values; nil when the
 * payload is too short. `at` counts from 1. */
static int wire_unpack(lua_State *L)
{
    size_t len, n = 0;
    const char *format = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &len);
    size_t at = (size_t)luaL_optinteger(L, 3, 1) - 1;
    if (at > len)
        return failed(L, "too short");
    struct ln_wire_in in = {p + at, p + len, false};
    luaL_checkstack(L, (int)n + 2, "too many values");
    lua_pushnil(L);
    int place = lua_gettop(L);
    for (int i = 0; format[i]; i++) {
        struct ln_span s;
        switch (format[i]) {
        case 'b':
            s = ln_wire_get_bytes(&in);
            lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
            break;
        case '1': lua_pushinteger(L, ln_wire_get_u8(&in)); break;
        case '2': lua_pushinteger(L, ln_wire_get_u16(&in)); break;
        case '4': lua_pushnumber(L, ln_wire_get_u32(&in)); break;
        case '8': lua_pushnumber(L, (lua_Number)ln_wire_get_u64(&in)); break;
        default: lua_pushnumber(L, ln_wire_get_f64(&in));
        }
    }
    if (in.bad)
        return failed(L, "too short");
    lua_pushinteger(L, (lua_Integer)(in.ptr - p) + 1);
    lua_replace(L, place);
    return lua_gettop(L) - place + 1;
}

static const struct {
    const char *name;
    int value;
} constants[] = {
    {"HELLO", LN_P_HELLO},
    {"CHANNEL", LN_P_CHANNEL},
    {"FILE", LN_P_FILE},
    {"KV", LN_P_KV},
    {"START", LN_P_START},
    {"MESSAGE", LN_P_MESSAGE},
    {"READY", LN_P_READY},
    {"FAILED", LN_P_FAILED},
    {"RESULT", LN_P_RESULT},
    {"LOG", LN_P_LOG},
    {"READING", LN_P_READING},
    {"READING_S", LN_READING_S},
    {"SITE", LN_P_SITE},
    {"BEGIN", LN_P_BEGIN},
    {"SETTINGS", LN_P_SETTINGS},
    {"ERROR", LN_P_ERROR},
    {"SHARED", LN_P_SHARED},
    {"DONE", LN_P_DONE},
    {"REQUEST", LN_P_REQUEST},
    {"PART", LN_P_PART},
    {"REPLY", LN_P_REPLY},
    {"CONTEXT", LN_P_CONTEXT},
    {"CLOCK", LN_P_CLOCK},
    {"ALLOW", LN_P_ALLOW},
    {"HTTP", LN_P_HTTP},
    {"HTTP_TOLD", LN_P_HTTP_TOLD},
    {"ASK", LN_P_ASK},
    {"ANSWER", LN_P_ANSWER},
    {"PRINT", LN_P_PRINT},
    {"READ", LN_P_READ},
    {"LINE", LN_P_LINE},
    {"COMPLETE", LN_P_COMPLETE},
    {"MATCHES", LN_P_MATCHES},
    {"REMEMBER", LN_P_REMEMBER},
    {"HISTORY", LN_P_HISTORY},
    {"NEWS", LN_P_NEWS},
    {"INTERRUPT", LN_P_INTERRUPT},
    {"WATCH", LN_P_WATCH},
    {"TRACE", LN_P_TRACE},
    {"WARNING", LN_P_WARNING},
    {"ALERTS", LN_P_ALERTS},
    {"ARCHIVED", LN_P_ARCHIVED},
    {"ARCHIVE_STATE", LN_P_ARCHIVE_STATE},
    {"AUDIT_STATE", LN_P_AUDIT_STATE},
    {"ALERTS_ASK", LN_P_ALERTS_ASK},
    {"ALERTS_ANSWER", LN_P_ALERTS_ANSWER},
};

int ln_cli_wire_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"connect", wire_connect}, {"spawn", wire_spawn},
                                         {"parent", wire_parent},   {"pack", wire_pack},
                                         {"unpack", wire_unpack},   {NULL, NULL}};
    static const luaL_Reg methods[] = {{"send", stream_send},  {"receive", stream_receive},
                                       {"peer", stream_peer},  {"close", stream_close},
                                       {"__gc", stream_close}, {NULL, NULL}};
    luaL_newmetatable(L, STREAM);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        lua_pushinteger(L, constants[i].value);
        lua_setfield(L, -2, constants[i].name);
    }
    lua_pushstring(L, LN_PROTO_BUILD);
    lua_setfield(L, -2, "BUILD");
    return 1;
}
