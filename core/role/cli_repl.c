/* lunate.person: what a program needs that talks with somebody at a terminal: Ctrl-C as a flag,
 * files that were saved meanwhile, another program for a while. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc.h"
#include "role/cli.h"

static volatile sig_atomic_t pressed;

static void on_interrupt(int signo)
{
    (void)signo;
    pressed = 1;
}

/* catch_interrupts(): from now on Ctrl-C only sets the flag. */
static int catch_interrupts(lua_State *L)
{
    struct sigaction sa;
    (void)L;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_interrupt;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    return 0;
}

/* interrupted(): was it pressed since the last call? */
static int interrupted(lua_State *L)
{
    lua_pushboolean(L, pressed);
    pressed = 0;
    return 1;
}

/* stamp(path): text that is another one when the file was changed; nil when it is not there. */
static int stamp(lua_State *L)
{
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) < 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushfstring(L, "%f.%d %f %f", (lua_Number)st.st_mtim.tv_sec, (int)st.st_mtim.tv_nsec,
                    (lua_Number)st.st_size, (lua_Number)st.st_ino);
    return 1;
}

/* size(): columns and lines of the terminal; 80, 24 when unknown. */
static int size(lua_State *L)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row;
    lua_pushinteger(L, known ? w.ws_col : 80);
    lua_pushinteger(L, known ? w.ws_row : 24);
    return 2;
}

/* ---- the line editor ----------------------------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Beside this binary, or where `make install` puts it; LUNATE_REPL names another one. */
static bool find_editor(char *path, size_t cap)
{
    static const char *const places[] = {"lunate-repl", "../libexec/lunate/lunate-repl"};
    const char *own = getenv("LUNATE_REPL");
    char folder[PATH_MAX];
    if (own)
        return snprintf(path, cap, "%s", own) < (int)cap && is_file(path);
    ssize_t n = readlink(ln_proc_self(), folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = '\0';
    char *end = strrchr(folder, '/');
    if (!end)
        return false;
    *end = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (snprintf(path, cap, "%s/%s", folder, places[i]) < (int)cap && is_file(path))
            return true;
    return false;
}

static bool wants_editor(void)
{
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

/* editor(): the path of the line editor; nil where none is wanted; nil, why when it is missing. */
static int editor(lua_State *L)
{
    char path[PATH_MAX] = "lunate-repl";
    if (!wants_editor())
        return 0;
    if (find_editor(path, sizeof path)) {
        lua_pushstring(L, path);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s is not there", path);
    return 2;
}

bool ln_cli_repl_program(char *path, size_t cap)
{
    return wants_editor() && find_editor(path, cap);
}

int ln_cli_repl_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"catch_interrupts", catch_interrupts},
        {"interrupted", interrupted},
        {"stamp", stamp},
        {"size", size},
        {"editor", editor},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
