/* alerter: weighs the site's alert rules and has alerts sent (lua/alerts), in a process of its own
 * that the hub starts and watches. It reads status over the control socket like any other client;
 * its settings, and what people ask of it, come over descriptor 3, whose end is its only order to
 * stop. What it must not forget stands in the store's folder: alerts.json, alerts-usual.txt. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/proc.h"
#include "role/cli.h"
#include "role/role.h"

static int failed(lua_State *L)
{
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
}

static int write_synced(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text += n;
        len -= (size_t)n;
    }
    int bad = len > 0 || fsync(fd) != 0, e = errno;
    close(fd);
    errno = e;
    return bad ? -1 : 0;
}

/* replace(folder, name, text): the file has all of the text, or what it had, also after a crash;
 * true, or nil and why. */
static int replace(lua_State *L)
{
    size_t len;
    const char *folder = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    const char *text = luaL_checklstring(L, 3, &len);
    const char *path = lua_pushfstring(L, "%s/%s", folder, name);
    const char *fresh = lua_pushfstring(L, "%s.new", path);
    if (write_synced(fresh, text, len) != 0 || rename(fresh, path) != 0) {
        int e = errno;
        unlink(fresh);
        errno = e;
        return failed(L);
    }
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir);
        close(dir);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* disk(folder): bytes free for us, bytes in all; nil, why. */
static int disk(lua_State *L)
{
    struct statvfs v;
    if (statvfs(luaL_checkstring(L, 1), &v) != 0)
        return failed(L);
    lua_pushnumber(L, (lua_Number)v.f_bavail * (lua_Number)v.f_frsize);
    lua_pushnumber(L, (lua_Number)v.f_blocks * (lua_Number)v.f_frsize);
    return 2;
}

/* hostname(): text. */
static int hostname(lua_State *L)
{
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0)
        return failed(L);
    lua_pushstring(L, name);
    return 1;
}

int ln_alerter_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"replace", replace}, {"disk", disk}, {"hostname", hostname}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

int ln_role_alerter(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate alerter: only the engine starts it; see lunate help alerts\n");
        return LN_EXIT_USAGE;
    }
    ln_proc_title(argc, argv, "lunate: alerter");
    ln_proc_seal_writer(LN_PROC_FD);
    umask(077);
    return ln_role_cli_module("lunate.alerts.main");
}
