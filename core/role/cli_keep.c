/* lunate.store's functions on a store as a whole: check, copy, put back. */
#include "role/cli_keep.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt/keys.h"
#include "store/store.h"

enum { TELL_MAX = 1000 }; /* problems that are told one by one */

/* ---- the child that looks ------------------------------------------------------------------ */

static void say_found(void *arg, const char *channel, uint64_t seq, const char *what)
{
    fprintf(arg, "F\t%llu\t%s\t%s\n", (unsigned long long)seq, channel, what);
}

static void say_progress(void *arg, uint64_t done, uint64_t of)
{
    fprintf(arg, "P\t%llu\t%llu\n", (unsigned long long)done, (unsigned long long)of);
    fflush(arg);
}

/* In a process of its own: a page that leads astray ends it, not us. */
static void look(const char *folder, int fd)
{
    static const struct ln_verify_ops ops = {say_found, say_progress};
    struct rlimit none = {0, 0};
    struct ln_verify v;
    struct ln_err err = {0};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FILE *out = fdopen(fd, "w");
    setrlimit(RLIMIT_CORE, &none);
    if (!out || null < 0 || dup2(null, 2) < 0) /* LMDB says there why it gives up */
        _exit(1);
    int rc = ln_store_verify(folder, &ops, out, &v, &err);
    if (rc != LN_OK)
        fprintf(out, "%c\t%s\n", v.channels || v.messages ? 'E' : 'O', err.text);
    fprintf(out, "D\t%llu\t%llu\t%llu\t%llu\t%llu\t%u\t%llu\t%u\n", (unsigned long long)v.channels,
            (unsigned long long)v.messages, (unsigned long long)v.records,
            (unsigned long long)v.bytes, (unsigned long long)v.problems, v.unchecked,
            (unsigned long long)v.sealed, (unsigned)v.blind);
    _exit(fflush(out) ? 1 : 0);
}

/* ---- who listens --------------------------------------------------------------------------- */

static void add_problem(lua_State *L, int list, const char *channel, double seq, const char *what)
{
    lua_newtable(L);
    lua_pushstring(L, channel);
    lua_setfield(L, -2, "channel");
    lua_pushnumber(L, seq);
    lua_setfield(L, -2, "seq");
    lua_pushstring(L, what);
    lua_setfield(L, -2, "what");
    lua_rawseti(L, list, (int)lua_objlen(L, list) + 1);
}

static void take_numbers(lua_State *L, int result, char *rest)
{
    static const char *const names[] = {"channels", "messages",  "records", "bytes",
                                        "found",    "unchecked", "sealed",  "blind"};
    for (size_t i = 0; i < sizeof names / sizeof *names && rest; i++) {
        lua_pushnumber(L, (lua_Number)strtoull(rest, &rest, 10));
        lua_setfield(L, result, names[i]);
    }
}

/* One line of the child. */
static void take_line(lua_State *L, int result, int list, char *line)
{
    line[strcspn(line, "\n")] = 0;
    char *save = NULL, *rest = line + 2;
    if (line[0] == 'F' && lua_objlen(L, list) < TELL_MAX) {
        double seq = (double)strtoull(rest, &rest, 10);
        char *tab = *rest ? strchr(rest + 1, '\t') : NULL;
        if (tab) {
            *tab = 0;
            add_problem(L, list, rest + 1, seq, tab + 1);
        }
    } else if (line[0] == 'O') {
        lua_pushstring(L, rest);
        lua_setfield(L, result, "why");
    } else if (line[0] == 'E') {
        add_problem(L, list, "", 0, rest);
    } else if (line[0] == 'D') {
        take_numbers(L, result, rest);
    } else if (line[0] == 'P' && lua_isfunction(L, 2)) {
        const char *done = strtok_r(rest, "\t", &save), *of = strtok_r(NULL, "\t", &save);
        lua_pushvalue(L, 2);
        lua_pushnumber(L, done ? strtod(done, NULL) : 0);
        lua_pushnumber(L, of ? strtod(of, NULL) : 0);
        lua_call(L, 2, 0);
    }
}

/* verify(folder, progress): { channels, messages, records, bytes, unchecked, found, problems =
 * { { channel, seq, what } } }; nil, why. progress (may be nil) is called with how far of what. */
static int store_verify(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    int pair[2], status = 0;
    char *line = NULL;
    size_t cap = 0;
    fflush(NULL);
    pid_t pid = pipe2(pair, O_CLOEXEC) ? -1 : fork();
    if (pid == 0)
        look(folder, pair[1]);
    FILE *in = pid > 0 ? fdopen(pair[0], "r") : NULL;
    if (!in)
        return luaL_error(L, "cannot start a process");
    close(pair[1]);
    lua_newtable(L);
    int result = lua_gettop(L);
    lua_newtable(L);
    while (getline(&line, &cap, in) > 0)
        take_line(L, result, result + 1, line);
    free(line);
    fclose(in);
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        add_problem(L, result + 1, "", 0,
                    "it cannot be read to its end: data.mdb is damaged or cut off");
    lua_setfield(L, result, "problems");
    lua_getfield(L, result, "why");
    if (lua_isnil(L, -1)) {
        lua_settop(L, result);
        return 1;
    }
    lua_pushnil(L); /* no store that can be opened */
    lua_insert(L, -2);
    return 2;
}

/* ---- copies -------------------------------------------------------------------------------- */

static int answer(lua_State *L, int rc, const struct ln_err *err, const char *value)
{
    if (rc == LN_OK) {
        lua_pushstring(L, value);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

/* backup(folder, to): true-like; nil, why. */
static int store_backup(lua_State *L)
{
    struct ln_err err = {0};
    const char *to = luaL_checkstring(L, 2);
    return answer(L, ln_store_backup(luaL_checkstring(L, 1), to, &err), &err, to);
}

/* restore(from, folder, force): the file that the store before is kept as, "" = there was none;
 * nil, why, whether an engine has it. */
static int store_restore(lua_State *L)
{
    struct ln_err err = {0};
    char aside[4096];
    int rc = ln_store_restore(luaL_checkstring(L, 1), luaL_checkstring(L, 2), lua_toboolean(L, 3),
                              aside, sizeof aside, &err);
    return answer(L, rc, &err, aside);
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* keys(site, file, command): stores are opened with these from now on; neither: with none. true;
 * nil, why. */
static int store_keys(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_keys *keys = NULL;
    const char *site = luaL_checkstring(L, 1), *file = lua_tostring(L, 2);
    const char *command = lua_tostring(L, 3);
    struct rlimit none = {0, 0};
    if (file || command) {
        setrlimit(RLIMIT_CORE, &none);
        prctl(PR_SET_DUMPABLE, 0);
        int rc = ln_keys_get(site, file, command, &keys, &err);
        if (rc != LN_OK)
            return answer(L, rc, &err, "");
    }
    ln_store_keys(keys);
    lua_pushboolean(L, true);
    return 1;
}

/* new_key(path, add): the id of the key that was made; nil, why. */
static int store_new_key(lua_State *L)
{
    struct ln_err err = {0};
    char id[LN_KEYS_ID_TEXT];
    int rc = ln_keys_make(luaL_checkstring(L, 1), lua_toboolean(L, 2), id, &err);
    return answer(L, rc, &err, id);
}

/* key_ids(site, file, command): list of ids, the present one first; nil, why. */
static int store_key_ids(lua_State *L)
{
    struct ln_err err = {0};
    struct ln_keys *keys;
    char id[LN_KEYS_ID_TEXT];
    int rc =
        ln_keys_get(luaL_checkstring(L, 1), lua_tostring(L, 2), lua_tostring(L, 3), &keys, &err);
    if (rc != LN_OK)
        return answer(L, rc, &err, "");
    lua_newtable(L);
    for (unsigned i = 0; i < ln_keys_count(keys); i++) {
        ln_keys_id(keys, i, id);
        lua_pushstring(L, id);
        lua_rawseti(L, -2, (int)i + 1);
    }
    ln_keys_unref(keys);
    return 1;
}

static void say_rewritten(void *arg, uint64_t done, uint64_t of)
{
    lua_State *L = arg;
    if (!lua_isfunction(L, 2))
        return;
    lua_pushvalue(L, 2);
    lua_pushnumber(L, (lua_Number)done);
    lua_pushnumber(L, (lua_Number)of);
    lua_call(L, 2, 0);
}

/* encrypt(folder, progress): messages that were rewritten; nil, why. */
static int store_encrypt(lua_State *L)
{
    struct ln_err err = {0};
    uint64_t n = 0;
    int rc = ln_store_encrypt(luaL_checkstring(L, 1), say_rewritten, L, &n, &err);
    if (rc != LN_OK)
        return answer(L, rc, &err, "");
    lua_pushnumber(L, (lua_Number)n);
    return 1;
}

void ln_cli_keep_register(lua_State *L)
{
    static const luaL_Reg functions[] = {{"verify", store_verify},   {"backup", store_backup},
                                         {"restore", store_restore}, {"keys", store_keys},
                                         {"new_key", store_new_key}, {"key_ids", store_key_ids},
                                         {"encrypt", store_encrypt}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
