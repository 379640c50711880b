/* lua FILE [ARG...]: runs a Lua file with the globals of a channel script, the whole standard
 * library and the site's lib/ and tables/. For conversions and checks. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "role/option.h"
#include "role/role.h"
#include "script/kv.h"
#include "script/sandbox.h"
#include "script/state.h"

static void log_line(void *arg, int level, struct ln_span where, struct ln_span text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    (void)arg;
    fprintf(stderr, "%s %.*s: %.*s\n", names[level & 3], (int)where.len, where.ptr ? where.ptr : "",
            (int)text.len, text.ptr);
}

/* Arguments: the site folder. */
static int set_up(lua_State *L)
{
    ln_state_push_module(L, "lunate.tool");
    ln_sandbox_push_core(L);
    lua_pushvalue(L, 1);
    lua_call(L, 2, 0);
    ln_kv_begin(L); /* kv lives as long as the run */
    return 0;
}

static void set_arg(lua_State *L, int argc, char **argv)
{
    lua_newtable(L);
    for (int i = 2; i < argc; i++) { /* arg[0] is the file */
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 2);
    }
    lua_setglobal(L, "arg");
}

static int read_file(const char *path, struct ln_buf *text, struct ln_err *err)
{
    char chunk[65536];
    size_t n;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!f)
        return ln_err_set(err, LN_ENOTFOUND, "%s: %m", path);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        if (ln_buf_add(text, chunk, n) != LN_OK)
            break;
    int bad = ferror(f);
    if (f != stdin)
        fclose(f);
    if (bad || text->failed)
        return ln_err_set(err, LN_EIO, "%s: cannot be read", path);
    if (text->len &&
        text->data[0] == '#') { /* #!/usr/bin/env lunate: the line stays, as a comment */
        text->data[0] = '-';
        if (text->len > 1)
            text->data[1] = '-';
    }
    return LN_OK;
}

static int run(lua_State *L, int argc, char **argv, struct ln_err *err)
{
    struct ln_buf text = {0};
    char chunk[4096];
    lua_pushcfunction(L, set_up);
    lua_pushstring(L, ln_role_site());
    int code = ln_state_call(L, 1, 0);
    if (code != LN_OK) {
        ln_state_fault_text(L, code, err);
        return code;
    }
    set_arg(L, argc, argv);
    snprintf(chunk, sizeof chunk, "@%s", argv[2]);
    code = read_file(argv[2], &text, err);
    if (code == LN_OK)
        code = ln_state_load(L, ln_buf_span(&text), chunk, err);
    ln_buf_fini(&text);
    if (code != LN_OK)
        return code;
    for (int i = 3; i < argc; i++)
        lua_pushstring(L, argv[i]);
    if ((code = ln_state_call(L, argc - 3, 0)) != LN_OK)
        ln_state_fault_text(L, code, err);
    return code;
}

int ln_role_lua(int argc, char **argv)
{
    static const char *const all[] = {"/"};
    struct ln_host host = {.log = log_line, .read = all, .nread = 1, .site = ln_role_site()};
    struct ln_err err = {0};
    if (argc < 3)
        return ln_option_usage("lua", "which file? lunate [-C SITE] lua FILE [ARG...]");
    if (argv[2][0] == '-' && argv[2][1])
        return ln_option_usage("lua", "unknown option %s: FILE comes first, its options behind it",
                               argv[2]);
    lua_State *L = ln_state_new_brief(true, false, &err);
    int code = L ? LN_OK : err.code;
    if (L) {
        ln_state_set_user(L, LN_SLOT_HOST, &host);
        code = run(L, argc, argv, &err);
        fflush(stdout);
        ln_state_free(L);
    }
    if (code != LN_OK)
        fprintf(stderr, "lunate lua: %s\n", err.text);
    return code == LN_OK ? LN_EXIT_OK : LN_EXIT_WRONG;
}
