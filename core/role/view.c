/* view: runs one verb that reads the store for somebody else than the site's owner. The hub has let
 * them in and started this; descriptor 3 is their connection, 4 says who they are and what they
 * want. What they may see is kept to in lua/cli/viewer.lua, in front of the store. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/access.h"
#include "audit/audit.h"
#include "base/proc.h"
#include "ipc/proto.h"
#include "role/cli.h"
#include "role/role.h"

enum { PARAMS = 4, PARAMS_MAX = 16 << 20 };

static struct ln_wire_in in;

/* say(stream, text): a PART; stream 1 or 2. Ends the process when nobody reads. */
static void send_record(uint8_t type, uint8_t number, struct ln_span text)
{
    struct ln_buf b = {0};
    size_t at = ln_wire_begin(&b, type), sent = 0;
    ln_wire_u8(&b, number);
    ln_wire_bytes(&b, text);
    if (ln_wire_end(&b, at) != LN_OK)
        _exit(LN_EXIT_WRONG);
    while (sent < b.len) {
        ssize_t n = send(LN_PROC_FD, b.data + sent, b.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(LN_EXIT_OK);
        sent += (size_t)n;
    }
    ln_buf_fini(&b);
}

static int view_say(lua_State *L)
{
    struct ln_span text;
    text.ptr = luaL_checklstring(L, 2, &text.len);
    send_record(LN_P_PART, (uint8_t)luaL_checkinteger(L, 1), text);
    return 0;
}

/* gone(): true when the client has closed its end. */
static int view_gone(lua_State *L)
{
    struct pollfd p = {.fd = LN_PROC_FD, .events = POLLRDHUP};
    lua_pushboolean(L, poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)));
    return 1;
}

static void set_span(lua_State *L, const char *key, struct ln_span s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
    lua_setfield(L, -2, key);
}

/* params(): { data, all = role over all channels, channels = { NAME = role }, words = { ... } };
 * roles as numbers. Says for whom entries are. */
static int view_params(lua_State *L)
{
    struct ln_audit_who who = {0};
    lua_newtable(L);
    set_span(L, "data", ln_wire_get_bytes(&in));
    int64_t uid = (int64_t)ln_wire_get_u64(&in);
    int pid = (int)ln_wire_get_u32(&in);
    struct ln_span user = ln_wire_get_bytes(&in), role = ln_wire_get_bytes(&in);
    snprintf(who.user, sizeof who.user, "%.*s", (int)user.len, user.len ? user.ptr : "");
    snprintf(who.role, sizeof who.role, "%.*s", (int)role.len, role.len ? role.ptr : "");
    ln_audit_who_peer(&who, uid, pid, "view");
    ln_cli_audit_for(&who);
    lua_pushinteger(L, ln_wire_get_u8(&in));
    lua_setfield(L, -2, "all");
    lua_newtable(L);
    for (uint32_t n = ln_wire_get_u32(&in); n > 0 && !in.bad; n--) {
        struct ln_span name = ln_wire_get_bytes(&in);
        lua_pushlstring(L, name.ptr ? name.ptr : "", name.len);
        lua_pushinteger(L, ln_wire_get_u8(&in));
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "channels");
    lua_newtable(L);
    uint32_t words = ln_wire_get_u32(&in);
    for (uint32_t i = 1; i <= words && !in.bad; i++) {
        struct ln_span word = ln_wire_get_bytes(&in);
        lua_pushlstring(L, word.ptr ? word.ptr : "", word.len);
        lua_rawseti(L, -2, (int)i);
    }
    lua_setfield(L, -2, "words");
    return ln_wire_done(&in) ? 1 : luaL_error(L, "the hub said what no hub says");
}

int ln_cli_view_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"say", view_say}, {"gone", view_gone}, {"params", view_params}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

int ln_role_view(int argc, char **argv)
{
    struct stat st;
    struct rlimit none = {0, 0};
    if (fstat(LN_PROC_FD, &st) != 0 || !S_ISSOCK(st.st_mode) || fstat(PARAMS, &st) != 0 ||
        !S_ISREG(st.st_mode) || st.st_size > PARAMS_MAX) {
        fprintf(stderr, "lunate view: only the engine starts it\n");
        return LN_EXIT_USAGE;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    ln_proc_title(argc, argv, "lunate: view");
    fcntl(LN_PROC_FD, F_SETFL, 0); /* the hub has it non-blocking */
    fcntl(LN_PROC_FD, F_SETFD, FD_CLOEXEC);
    char *text = malloc((size_t)st.st_size + 1);
    if (!text || read(PARAMS, text, (size_t)st.st_size) != st.st_size)
        return LN_EXIT_WRONG;
    close(PARAMS);
    in = (struct ln_wire_in){text, text + st.st_size, false};
    int status = ln_role_cli_module("lunate.cli.viewer");
    send_record(LN_P_REPLY, (uint8_t)status, ln_span("", 0));
    return status;
}
