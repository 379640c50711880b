/* audit-send: carries the audit log to an audit record repository over syslog with TLS
 * (lua/audit/main.lua), in a process of its own that the hub starts when lunate.lua has
 * audit.syslog. It reads the log's files and keeps its mark among them (core/audit/follow.h), over
 * a descriptor that is open before it confines itself: from then on it can write no other file and
 * start no program. Descriptor 3 is the hub; its end is the only order to stop. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/follow.h"
#include "base/proc.h"
#include "net/link.h"
#include "role/cli.h"
#include "role/confine.h"
#include "role/role.h"
#include "role/tls_files.h"

static struct ln_audit_follow *follow;
static struct ln_link *link_open;

static int failed(lua_State *L, const struct ln_err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->text[0] ? err->text : ln_strerror(err->code));
    return 2;
}

static int done(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- the log ---- */

/* open(data): true; false while there is no log yet; nil, why. */
static int log_open(lua_State *L)
{
    struct ln_err err = {0};
    ln_audit_follow_close(follow);
    follow = NULL;
    int rc = ln_audit_follow_open(luaL_checkstring(L, 1), &follow, &err);
    if (rc != LN_OK && rc != LN_ENOTFOUND)
        return failed(L, &err);
    lua_pushboolean(L, rc == LN_OK);
    return 1;
}

/* next(): the entry's line, its file, what is wrong there ("" when nothing is); false when there is
 * none for now; nil, why. */
static int log_next(lua_State *L)
{
    struct ln_audit_followed e;
    struct ln_err err = {0};
    int rc = ln_audit_follow_next(follow, &e, &err);
    if (rc == LN_EAGAIN) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (rc != LN_OK) {
        err.code = rc;
        return failed(L, &err);
    }
    lua_pushlstring(L, e.line.ptr, e.line.len);
    lua_pushstring(L, e.file);
    lua_pushstring(L, e.note);
    return 3;
}

static int log_rewind(lua_State *L)
{
    (void)L;
    ln_audit_follow_rewind(follow);
    return 0;
}

/* mark(): what was given has arrived: true when that is on disk; nil, why. */
static int log_mark(lua_State *L)
{
    struct ln_err err = {0};
    return ln_audit_follow_mark(follow, &err) == LN_OK ? done(L) : failed(L, &err);
}

/* state(): numbers of the mark and of the signed head. */
static int log_state(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)ln_audit_follow_marked(follow));
    lua_pushnumber(L, (lua_Number)ln_audit_follow_head(follow));
    return 2;
}

/* head(): the signed head, when the entry given last is its; else "". */
static int log_head(lua_State *L)
{
    char text[300];
    lua_pushstring(L, ln_audit_follow_head_text(follow, text, sizeof text));
    return 1;
}

/* ---- the connection ---- */

static int link_close(lua_State *L)
{
    (void)L;
    ln_link_close(link_open);
    link_open = NULL;
    return 0;
}

/* connect { host, port, timeout (s), tls = "true" | "false", ca, cert, key, crl, server_name,
 * min_version }: true; nil, why. Files are read anew each time, those of the system, too. */
static int link_connect(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_tls *tls = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *host = ln_cli_member(L, "host"), *port = ln_cli_member(L, "port"),
               *min = ln_cli_member(L, "min_version"), *in_clear = ln_cli_member(L, "tls");
    struct ln_tls_files files = {.ca = ln_cli_member(L, "ca"),
                                 .cert = ln_cli_member(L, "cert"),
                                 .key = ln_cli_member(L, "key"),
                                 .crl = ln_cli_member(L, "crl"),
                                 .server_name = ln_cli_member(L, "server_name"),
                                 .tls13 = min && strcmp(min, "1.3") == 0};
    luaL_argcheck(L, host && port, 1, "host and port");
    lua_getfield(L, 1, "timeout");
    int timeout_ms = (int)(luaL_checknumber(L, -1) * 1000), rc = LN_OK;
    link_close(L);
    ln_tls_forget_system();
    if (!in_clear || strcmp(in_clear, "false") != 0) /* in clear only when that is what is said */
        rc = ln_tls_from_files(&files, false, &tls, &err);
    if (rc == LN_OK)
        rc = ln_link_open(host, port, tls, timeout_ms, &link_open, &err);
    ln_tls_unref(tls);
    return rc == LN_OK ? done(L) : failed(L, &err);
}

/* send(text, timeout): true; nil, why. */
static int link_send(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_span text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    int ms = (int)(luaL_checknumber(L, 2) * 1000);
    return ln_link_send(link_open, text, ms, &err) == LN_OK ? done(L) : failed(L, &err);
}

static int link_look(lua_State *L)
{
    struct ln_err err = {0};
    return ln_link_look(link_open, &err) == LN_OK ? done(L) : failed(L, &err);
}

/* finish(timeout): true when the peer has read all; nil, why. Closes either way. */
static int link_finish(lua_State *L)
{
    struct ln_err err = {0};
    int rc = ln_link_finish(link_open, (int)(luaL_checknumber(L, 1) * 1000), &err);
    link_close(L);
    return rc == LN_OK ? done(L) : failed(L, &err);
}

static int pid(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)getpid());
    return 1;
}

static int confine(lua_State *L)
{
    (void)L;
    ln_confine_sender();
    return 0;
}

int ln_audit_send_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", log_open},
                                         {"next", log_next},
                                         {"rewind", log_rewind},
                                         {"mark", log_mark},
                                         {"state", log_state},
                                         {"head", log_head},
                                         {"connect", link_connect},
                                         {"send", link_send},
                                         {"look", link_look},
                                         {"finish", link_finish},
                                         {"close", link_close},
                                         {"confine", confine},
                                         {"pid", pid},
                                         {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

int ln_role_audit_send(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate audit-send: only the engine starts it; see docs/security.md\n");
        return LN_EXIT_USAGE;
    }
    ln_proc_title(argc, argv, "lunate: audit-send");
    ln_proc_seal_writer(LN_PROC_FD);
    umask(077);
    return ln_role_cli_module("lunate.audit.main");
}
