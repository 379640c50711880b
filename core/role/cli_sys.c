/* lunate.sys: what the command line needs of the system and Lua's library doesn't have. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "role/cli.h"
#include "role/payload.h"
#include "role/role.h"

static int failed(lua_State *L)
{
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
}

/* site(): the folder that -C gave. */
static int site(lua_State *L)
{
    lua_pushstring(L, ln_role_site());
    return 1;
}

/* version(): text. */
static int version(lua_State *L)
{
    lua_pushstring(L, LN_VERSION);
    return 1;
}

/* isatty(fd): boolean. */
static int is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* width(): columns of the terminal, 80 when unknown. */
static int width(lua_State *L)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    int n = columns ? atoi(columns) : 0;
    if (n <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
        n = w.ws_col;
    lua_pushinteger(L, n > 0 ? n : 80);
    return 1;
}

/* height(): lines of the terminal, 24 when unknown. */
static int height(lua_State *L)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0;
    lua_pushinteger(L, known ? w.ws_row : 24);
    return 1;
}

/* now(): seconds since 1970 with microseconds. */
static int now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)ln_now_us() / 1e6);
    return 1;
}

/* iso(us): "2026-11-23T23:19:22.123Z". */
static int iso(lua_State *L)
{
    char text[40];
    lua_pushlstring(L, text, ln_iso_time((int64_t)luaL_checknumber(L, 1), text, sizeof text));
    return 1;
}

/* realpath(path): absolute, without links; nil, why. */
static int real_path(lua_State *L)
{
    char *path = realpath(luaL_checkstring(L, 1), NULL);
    if (!path)
        return failed(L);
    lua_pushstring(L, path);
    free(path);
    return 1;
}

/* kind(path): "file", "folder" or "other"; nil, why when there is none. */
static int kind(lua_State *L)
{
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) < 0)
        return failed(L);
    lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "folder" : "other");
    return 1;
}

/* mkdir(path): true also when the folder is there already; nil, why. */
static int make_folder(lua_State *L)
{
    struct stat st;
    const char *path = luaL_checkstring(L, 1);
    if (mkdir(path, 0777) < 0) {
        int e = errno;
        if (e != EEXIST || stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
            errno = e;
            return failed(L);
        }
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* list(folder): names in it, sorted, without those that begin with a dot; nil, why. */
static int list(lua_State *L)
{
    struct dirent **names;
    int n = scandir(luaL_checkstring(L, 1), &names, NULL, alphasort);
    if (n < 0)
        return failed(L);
    lua_createtable(L, n, 0);
    for (int i = 0, at = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            lua_pushstring(L, names[i]->d_name);
            lua_rawseti(L, -2, ++at);
        }
        free(names[i]);
    }
    free(names);
    return 1;
}

/* create(path, text): writes a new file; nil, why; never over another. */
static int create(lua_State *L)
{
    size_t len;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return failed(L);
    ssize_t n = 0;
    while (len > 0 && (n = write(fd, text, len)) > 0) {
        text += n;
        len -= (size_t)n;
    }
    int e = errno;
    close(fd);
    if (len > 0) {
        unlink(path);
        errno = e;
        return failed(L);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* quote(text): as a JSON string, bytes that are not UTF-8 as U+FFFD. */
static int quote(lua_State *L)
{
    struct ln_buf b = {0};
    struct ln_span s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    ln_json_str(&b, s);
    if (b.failed) {
        ln_buf_fini(&b);
        return luaL_error(L, "not enough memory");
    }
    lua_pushlstring(L, b.data, b.len);
    ln_buf_fini(&b);
    return 1;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* base64(bytes): text. */
static int base64(lua_State *L)
{
    size_t len;
    const unsigned char *s = (const unsigned char *)luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned v = (unsigned)s[i] << 16 | (left > 1 ? (unsigned)s[i + 1] << 8 : 0) |
                     (left > 2 ? s[i + 2] : 0);
        luaL_addchar(&b, alphabet[v >> 18]);
        luaL_addchar(&b, alphabet[v >> 12 & 63]);
        luaL_addchar(&b, left > 1 ? alphabet[v >> 6 & 63] : '=');
        luaL_addchar(&b, left > 2 ? alphabet[v & 63] : '=');
    }
    luaL_pushresult(&b);
    return 1;
}

/* messages(bytes): list of the messages in a file's bytes: one, several one after another, a batch,
 * or MLLP frames. */
static int messages(lua_State *L)
{
    struct ln_payload p = {.raw_bytes = true};
    struct ln_span bytes;
    bytes.ptr = luaL_checklstring(L, 1, &bytes.len);
    lua_newtable(L);
    int rc = ln_payload_add_bytes(&p, bytes);
    for (size_t i = 0; i < p.n; i++) {
        lua_pushlstring(L, p.message[i].frame + 1, p.message[i].len - 3);
        lua_rawseti(L, -2, (int)i + 1);
    }
    ln_payload_fini(&p);
    return rc == LN_ENOMEM ? luaL_error(L, "not enough memory") : 1;
}

/* modified(path): when it was changed last, in seconds since 1970; nil when it is not there. */
static int modified(lua_State *L)
{
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) != 0)
        return failed(L);
    lua_pushnumber(L, (lua_Number)st.st_mtim.tv_sec + (lua_Number)st.st_mtim.tv_nsec / 1e9);
    return 1;
}

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupts = 1;
}

/* interrupted(): true when somebody pressed Ctrl-C (or asked the process to end) since the first
 * call, which takes these signals over. */
static int interrupted(lua_State *L)
{
    static bool ours;
    struct sigaction sa = {.sa_handler = on_interrupt};
    if (!ours) {
        ours = true;
        sigaction(SIGINT, &sa, NULL); /* no SA_RESTART: sleep() and reads end */
        sigaction(SIGTERM, &sa, NULL);
    }
    lua_pushboolean(L, interrupts);
    return 1;
}

/* sleep(seconds): ends early with a signal. */
static int pause_for(lua_State *L)
{
    lua_Number s = luaL_checknumber(L, 1);
    struct timespec ts = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    fflush(stdout);
    nanosleep(&ts, NULL);
    return 0;
}

/* keys(on): the terminal gives keys as they are pressed, and shows none; false puts it back. True
 * when stdin is one. Ctrl-C stays what it is. */
static int keys(lua_State *L)
{
    static struct termios before;
    static bool on;
    struct termios t;
    bool ok = true;
    if (lua_toboolean(L, 1) && !on) {
        ok = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
        t = before;
        t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        t.c_cc[VMIN] = t.c_cc[VTIME] = 0;
        on = ok = ok && tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
    } else if (!lua_toboolean(L, 1) && on) {
        (void)!tcsetattr(STDIN_FILENO, TCSANOW, &before);
        on = false;
    }
    lua_pushboolean(L, ok);
    return 1;
}

/* key(seconds): the bytes of a key, "" when none was pressed; nil when there are no more. */
static int key(lua_State *L)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char text[16];
    fflush(stdout);
    if (poll(&p, 1, (int)(luaL_checknumber(L, 1) * 1000)) <= 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    ssize_t n = read(STDIN_FILENO, text, sizeof text);
    if (n <= 0)
        return 0;
    lua_pushlstring(L, text, (size_t)n);
    return 1;
}

int ln_cli_sys_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"modified", modified},
        {"site", site},
        {"version", version},
        {"isatty", is_terminal},
        {"width", width},
        {"now", now},
        {"iso", iso},
        {"realpath", real_path},
        {"kind", kind},
        {"mkdir", make_folder},
        {"list", list},
        {"create", create},
        {"quote", quote},
        {"base64", base64},
        {"messages", messages},
        {"interrupted", interrupted},
        {"sleep", pause_for},
        {"height", height},
        {"keys", keys},
        {"key", key},
        {"unresolved", ln_cli_unresolved},
        {"foreign", ln_cli_foreign},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
