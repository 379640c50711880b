/* lunate.tls_core: what `lunate tls` needs: making certificates, and one handshake with a server.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/link.h"
#include "net/tls_make.h"
#include "role/cli.h"

enum { NAMES_MAX = 100, PATIENCE_MS = 10000, VERDICT_MS = 300 };

static int failed(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* make(subject, names, days [, ca certificate, its key]): certificate, key; nil, why. */
static int tls_make(lua_State *L)
{
    const char *names[NAMES_MAX];
    struct ln_tls_request r = {.subject = luaL_checkstring(L, 1), .names = names};
    struct ln_buf cert = {0}, key = {0};
    struct ln_err err = {0};
    luaL_checktype(L, 2, LUA_TTABLE);
    r.days = (unsigned)luaL_checkinteger(L, 3);
    r.ca_cert.ptr = luaL_optlstring(L, 4, "", &r.ca_cert.len);
    r.ca_key.ptr = luaL_optlstring(L, 5, "", &r.ca_key.len);
    for (size_t i = 1; i <= lua_objlen(L, 2) && r.nnames < NAMES_MAX; i++) {
        lua_rawgeti(L, 2, (int)i); /* stays in its table */
        names[r.nnames++] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    int rc = ln_tls_make(&r, &cert, &key, &err);
    if (rc == LN_OK) {
        lua_pushlstring(L, cert.data, cert.len);
        lua_pushlstring(L, key.data, key.len);
    }
    ln_buf_fini(&cert);
    ln_buf_fini(&key);
    return rc == LN_OK ? 2 : failed(L, err.text);
}

/* With TLS 1.3 a server says only after the handshake what it thinks of our certificate, or that it
 * wants one. Pushes why it refused, or nil. */
static void push_verdict(lua_State *L, struct ln_tls_session *s, int fd)
{
    int64_t until_us = ln_mono_us() + VERDICT_MS * 1000;
    char data[256];
    long n = LN_EAGAIN;
    while (n == LN_EAGAIN && ln_link_wait(fd, POLLIN, until_us))
        n = ln_tls_read(s, data, sizeof data);
    if (n == LN_ETLS)
        lua_pushstring(L, ln_tls_why(s));
    else
        lua_pushnil(L);
}

/* Pushes what a handshake showed: session, subject, seconds since 1970 when its certificate ends,
 * and why the server refused us after it. */
static int shake(lua_State *L, struct ln_tls *t, int fd, const char *host, int64_t until_us)
{
    char session[120], subject[300], why[800];
    struct ln_tls_session *s = ln_tls_open(t, fd, host);
    int code = s ? LN_EAGAIN : LN_ENOMEM;
    while (code == LN_EAGAIN) {
        code = ln_tls_handshake(s);
        if (code == LN_EAGAIN &&
            !ln_link_wait(fd, ln_tls_wants_write(s) ? POLLOUT : POLLIN, until_us))
            code = LN_ETIMEOUT;
    }
    if (code != LN_OK) {
        snprintf(why, sizeof why, "%s",
                 code == LN_ETIMEOUT ? "no handshake within 10 s: does it speak TLS?"
                 : s                 ? ln_tls_why(s)
                                     : "out of memory");
        ln_tls_close(s);
        return failed(L, why);
    }
    int64_t ends = ln_tls_peer(s, subject, sizeof subject);
    lua_pushstring(L, ln_tls_describe(s, session, sizeof session));
    lua_pushstring(L, subject);
    lua_pushnumber(L, (lua_Number)ends);
    push_verdict(L, s, fd);
    ln_tls_close(s);
    return 4;
}

/* shake(host, port, { ca, ca_path, cert, cert_path, key, key_path, server_name, insecure }):
 * session, subject, end, why it refused us all the same; nil, why, and true when nothing listens
 * there. */
static int tls_shake(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1), *port = luaL_checkstring(L, 2), *why = "";
    struct ln_tls_options opt = {0};
    struct ln_err err = {0};
    struct ln_tls *t;
    luaL_checktype(L, 3, LUA_TTABLE);
    struct {
        const char *name, *path;
        struct ln_tls_file *file;
    } files[] = {{"ca", "ca_path", &opt.ca},
                 {"cert", "cert_path", &opt.cert},
                 {"key", "key_path", &opt.key}};
    for (int i = 0; i < 3; i++) { /* strings stay in their table */
        lua_getfield(L, 3, files[i].name);
        files[i].file->text.ptr = lua_tolstring(L, -1, &files[i].file->text.len);
        lua_getfield(L, 3, files[i].path);
        files[i].file->path = lua_tostring(L, -1);
        lua_pop(L, 2);
    }
    lua_getfield(L, 3, "server_name");
    opt.server_name = lua_tostring(L, -1);
    lua_getfield(L, 3, "insecure");
    opt.insecure = lua_toboolean(L, -1);
    if (ln_tls_new(&opt, &t, &err) != LN_OK)
        return failed(L, err.text);
    int64_t until_us = ln_mono_us() + PATIENCE_MS * 1000;
    int fd = ln_link_dial(host, port, until_us, &why);
    int n = fd < 0 ? failed(L, why) : shake(L, t, fd, host, until_us);
    if (fd < 0) {
        lua_pushboolean(L, 1);
        n++;
    } else {
        close(fd);
    }
    ln_tls_unref(t);
    return n;
}

/* keep(path, text, secret): writes a new file, never over another: true; nil, why. */
static int tls_keep(lua_State *L)
{
    size_t len, done = 0;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, lua_toboolean(L, 3) ? 0600 : 0644);
    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, text + done, len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (done < len)
        return failed(L, strerror(e));
    lua_pushboolean(L, 1);
    return 1;
}

int ln_cli_tls_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"make", tls_make}, {"shake", tls_shake}, {"keep", tls_keep}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
