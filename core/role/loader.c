/* loader: evaluates a site's Lua for the hub and for `lunate check`, once, and ends. Speaks records
 * on descriptor 3 (ipc/proto.h); the work is in lua/loader.lua. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc.h"
#include "ipc/proto.h"
#include "net/tls.h"
#include "role/confine.h"
#include "role/role.h"
#include "script/evaluate.h"
#include "script/state.h"

#define FILE_MAX  (64u << 20)
#define BACKSTOP  ((size_t)4 << 30)
#define START_MAX (512u << 20)

static char site[PATH_MAX];
static struct ln_buf out;
static struct ln_buf start; /* the START record; pins point into it */
static struct ln_wire_in pins;

static void flush(void)
{
    size_t sent = 0;
    while (sent < out.len) {
        ssize_t n = send(LN_PROC_FD, out.data + sent, out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        sent += (size_t)n;
    }
    ln_buf_clear(&out, 1u << 20);
}

/* ---- what lua/loader.lua sees -------------------------------------------------------------- */

static const char *path_of(lua_State *L, int idx)
{
    const char *path = luaL_checkstring(L, idx);
    return path[0] == '/' ? path : lua_pushfstring(L, "%s/%s", site, path);
}

static const char *kind_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return NULL;
    return S_ISDIR(st.st_mode) ? "folder" : S_ISREG(st.st_mode) ? "file" : "other";
}

static int core_kind(lua_State *L)
{
    lua_pushstring(L, kind_of(path_of(L, 1)));
    return 1;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* list(folder) -> { { name, kind } ... } sorted, or nil. */
static int core_list(lua_State *L)
{
    struct dirent **list;
    const char *dir = path_of(L, 1);
    int n = scandir(dir, &list, NULL, by_name), k = 0;
    if (n < 0)
        return 0;
    lua_newtable(L);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            char path[PATH_MAX * 2];
            snprintf(path, sizeof path, "%s/%s", dir, name);
            lua_createtable(L, 0, 2);
            lua_pushstring(L, name);
            lua_setfield(L, -2, "name");
            lua_pushstring(L, kind_of(path));
            lua_setfield(L, -2, "kind");
            lua_rawseti(L, -2, ++k);
        }
        free(list[i]);
    }
    free(list);
    return 1;
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* read(path) -> text, or nil and why. */
static int core_read(lua_State *L)
{
    struct stat st;
    luaL_Buffer b;
    ssize_t n;
    int fd = open(path_of(L, 1), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(L, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        close(fd);
        return refuse(L, S_ISREG(st.st_mode) ? "larger than 64 MiB" : "not a regular file");
    }
    luaL_buffinit(L, &b);
    while ((n = read(fd, luaL_prepbuffer(&b), LUAL_BUFFERSIZE)) > 0)
        luaL_addsize(&b, (size_t)n);
    int e = errno;
    close(fd);
    luaL_pushresult(&b);
    return n < 0 ? refuse(L, strerror(e)) : 1;
}

static void add_string(lua_State *L, int idx)
{
    struct ln_span s;
    s.ptr = luaL_checklstring(L, idx, &s.len);
    ln_wire_bytes(&out, s);
}

/* A record of the n strings that are the arguments. */
static int emit(lua_State *L, uint8_t type, int n)
{
    size_t at = ln_wire_begin(&out, type);
    for (int i = 1; i <= n; i++)
        add_string(L, i);
    if (ln_wire_end(&out, at) != LN_OK)
        return luaL_error(L, "not enough memory");
    flush();
    return 0;
}

/* Pairs from the list at idx, behind what argument 1 says when idx is 2. */
static int emit_pairs(lua_State *L, uint8_t type, int idx)
{
    size_t at = ln_wire_begin(&out, type);
    if (idx == 2)
        add_string(L, 1);
    for (int i = 1; i <= (int)lua_objlen(L, idx); i++) {
        lua_rawgeti(L, idx, i);
        add_string(L, -1);
        lua_pop(L, 1);
    }
    if (ln_wire_end(&out, at) != LN_OK)
        return luaL_error(L, "not enough memory");
    flush();
    return 0;
}

static int emit_site(lua_State *L)
{
    return emit_pairs(L, LN_P_SITE, 1);
}

static int emit_settings(lua_State *L)
{
    return emit_pairs(L, LN_P_SETTINGS, 2);
}

static int emit_begin(lua_State *L)
{
    return emit(L, LN_P_BEGIN, 2);
}

static int emit_file(lua_State *L)
{
    return emit(L, LN_P_FILE, 2);
}

static int emit_shared(lua_State *L)
{
    return emit(L, LN_P_SHARED, 2);
}

static int emit_error(lua_State *L)
{
    return emit(L, LN_P_ERROR, 2);
}

static int emit_done(lua_State *L)
{
    return emit(L, LN_P_DONE, 0);
}

static int emit_tls(lua_State *L)
{
    return emit(L, LN_P_TLS, 4);
}

static int emit_warning(lua_State *L)
{
    return emit(L, LN_P_WARNING, 3);
}

/* mode(path) -> its permission bits, or nil. */
static int core_mode(lua_State *L)
{
    struct stat st;
    if (stat(path_of(L, 1), &st) != 0)
        return 0;
    lua_pushinteger(L, st.st_mode & 07777);
    return 1;
}

/* real(path) -> the path without links, and what tells that file or folder from another; nil and
 * why. */
static int core_real(lua_State *L)
{
    char real[PATH_MAX], id[64];
    struct stat st;
    if (!realpath(path_of(L, 1), real) || stat(real, &st) != 0)
        return refuse(L, strerror(errno));
    snprintf(id, sizeof id, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    lua_pushstring(L, real);
    lua_pushstring(L, id);
    return 2;
}

/* account("user" | "group", name) -> its number, or nil. */
static int core_account(lua_State *L)
{
    const char *kind = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    const struct passwd *pw = strcmp(kind, "user") == 0 ? getpwnam(name) : NULL;
    const struct group *gr = strcmp(kind, "group") == 0 ? getgrnam(name) : NULL;
    if (!pw && !gr)
        return 0;
    lua_pushfstring(L, "%f", (lua_Number)(pw ? pw->pw_uid : gr->gr_gid));
    return 1;
}

static void take_tls_file(lua_State *L, const char *name, struct ln_tls_file *f)
{
    lua_getfield(L, 1, name); /* stays in its table */
    f->text.ptr = lua_tolstring(L, -1, &f->text.len);
    lua_pop(L, 1);
    lua_getfield(L, 1, lua_pushfstring(L, "%s_path", name));
    f->path = lua_tostring(L, -1);
    lua_pop(L, 2);
}

/* check_tls { server =, cert =, cert_path =, key =, ... } -> when its certificate ends (seconds
 * since 1970, 0 without one) and its subject; nil and why it cannot be used. */
static int core_check_tls(lua_State *L)
{
    struct ln_tls_options opt = {0};
    struct ln_tls *t;
    struct ln_err err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    take_tls_file(L, "cert", &opt.cert);
    take_tls_file(L, "key", &opt.key);
    take_tls_file(L, "ca", &opt.ca);
    take_tls_file(L, "crl", &opt.crl);
    lua_getfield(L, 1, "server");
    opt.server = lua_toboolean(L, -1);
    if (ln_tls_new(&opt, &t, &err) != LN_OK)
        return refuse(L, err.text);
    lua_pushnumber(L, (lua_Number)ln_tls_not_after(t));
    lua_pushstring(L, ln_tls_subject(t));
    ln_tls_unref(t);
    return 2;
}

/* { content ... }, left on the stack: each string once, whoever has it. */
static void push_contents(lua_State *L)
{
    uint32_t n = pins.ptr < pins.end ? ln_wire_get_u32(&pins) : 0;
    lua_newtable(L);
    for (uint32_t i = 0; i < n && !pins.bad; i++) {
        struct ln_span text = ln_wire_get_bytes(&pins);
        lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* { [channel] = { { path, content } ... } }: what START has besides the folder. */
static void push_pins(lua_State *L)
{
    push_contents(L);
    uint32_t n = pins.ptr < pins.end ? ln_wire_get_u32(&pins) : 0;
    lua_newtable(L);
    for (uint32_t i = 0; i < n && !pins.bad; i++) {
        struct ln_span name = ln_wire_get_bytes(&pins);
        uint32_t files = ln_wire_get_u32(&pins);
        lua_pushlstring(L, name.ptr ? name.ptr : "", name.len);
        lua_newtable(L);
        for (uint32_t k = 0; k < files && !pins.bad; k++) {
            struct ln_span path = ln_wire_get_bytes(&pins);
            uint32_t which = ln_wire_get_u32(&pins);
            lua_createtable(L, 2, 0);
            lua_pushlstring(L, path.ptr ? path.ptr : "", path.len);
            lua_rawseti(L, -2, 1);
            lua_rawgeti(L, -5, (int)which + 1);
            lua_rawseti(L, -2, 2);
            lua_rawseti(L, -2, (int)k + 1);
        }
        lua_rawset(L, -3);
    }
    lua_remove(L, -2);
}

static int load_site(lua_State *L)
{
    static const luaL_Reg fns[] = {{"kind", core_kind},
                                   {"list", core_list},
                                   {"read", core_read},
                                   {"emit_site", emit_site},
                                   {"emit_begin", emit_begin},
                                   {"emit_file", emit_file},
                                   {"emit_settings", emit_settings},
                                   {"emit_error", emit_error},
                                   {"emit_shared", emit_shared},
                                   {"emit_done", emit_done},
                                   {"emit_tls", emit_tls},
                                   {"emit_warning", emit_warning},
                                   {"mode", core_mode},
                                   {"real", core_real},
                                   {"account", core_account},
                                   {"check_tls", core_check_tls},
                                   {NULL, NULL}};
    ln_state_push_module(L, "lunate.loader");
    ln_sandbox_push_core(L);
    luaL_setfuncs(L, fns, 0);
    ln_evaluate_push(L, site);
    lua_setfield(L, -2, "evaluate");
    push_pins(L);
    lua_setfield(L, -2, "pins");
    lua_call(L, 1, 0);
    return 0;
}

/* ---- the process --------------------------------------------------------------------------- */

/* Waits for START and takes the site folder from it; false: the other side wants nothing. */
static bool take_start(void)
{
    size_t used;
    struct ln_wire_in in;
    uint8_t type;
    for (;;) {
        int code = ln_wire_next(start.data, start.len, START_MAX, &type, &in, &used);
        if (code == LN_OK && type == LN_P_START) {
            struct ln_span s = ln_wire_get_bytes(&in);
            if (in.bad || s.len == 0 || s.len >= sizeof site || s.ptr[0] != '/')
                return false;
            memcpy(site, s.ptr, s.len);
            pins = in;
            return true;
        }
        if (code == LN_OK) { /* a HELLO: nothing to do */
            ln_buf_drop(&start, used);
            continue;
        }
        if (code != LN_EAGAIN || ln_buf_reserve(&start, 65536) != LN_OK)
            return false;
        ssize_t n = read(LN_PROC_FD, start.data + start.len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        start.len += (size_t)n;
    }
}

/* Says hello and loads the site; told: `site` holds it already, else START names it. */
static int serve(int argc, char **argv, bool told)
{
    struct ln_err err = {0};
    ln_proc_title(argc, argv, "lunate: loader");
    ln_proc_seal(LN_PROC_FD, BACKSTOP);
    size_t at = ln_wire_begin(&out, LN_P_HELLO);
    ln_wire_bytes(&out, ln_span_str(LN_PROTO_BUILD));
    if (ln_wire_end(&out, at) != LN_OK)
        return LN_EXIT_WRONG;
    flush();
    if (!told && !take_start())
        return LN_EXIT_WRONG;
    ln_confine(&(struct ln_confine){.site = NULL});
    lua_State *L = ln_state_new_brief(true, false, &err);
    if (!L)
        return LN_EXIT_WRONG;
    lua_pushcfunction(L, load_site);
    int code = ln_state_call(L, 0, 0);
    if (code != LN_OK) {
        ln_state_fault_text(L, code, &err);
        at = ln_wire_begin(&out, LN_P_ERROR);
        ln_wire_bytes(&out, ln_span_str(""));
        ln_wire_bytes(&out, ln_span_str(err.text));
        if (ln_wire_end(&out, at) == LN_OK)
            flush();
    }
    ln_state_free(L);
    return code == LN_OK ? LN_EXIT_OK : LN_EXIT_WRONG;
}

int ln_role_loader(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate loader: only the engine starts it; see lunate help check\n");
        return LN_EXIT_USAGE;
    }
    return serve(argc, argv, false);
}

int ln_role_loader_ahead(int argc, char **argv)
{
    if (!realpath(ln_role_site(), site))
        return LN_EXIT_WRONG;
    return serve(argc, argv, true);
}
