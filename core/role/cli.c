/* Every verb that is written in Lua: a trusted state with lua/cli in it. */
#include "role/cli.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "role/role.h"
#include "script/luajson.h"
#include "script/message.h"
#include "script/state.h"

static const struct {
    const char *name;
    lua_CFunction open;
} modules[] = {
    {"hl7", ln_message_open},
    {"json", ln_luajson_open},
    {"lunate.sys", ln_cli_sys_open},
    {"lunate.wire", ln_cli_wire_open},
    {"lunate.tools", ln_cli_tools_open},
    {"lunate.person", ln_cli_repl_open},
    {"lunate.tls_core", ln_cli_tls_open},
    {"lunate.audit_core", ln_cli_audit_open},
    {"lunate.token_core", ln_cli_token_open},
    {"lunate.view_core", ln_cli_view_open},
    {"lunate.store", ln_cli_store_open},
    {"lunate.alerter", ln_alerter_open},
    {"lunate.audit_send", ln_audit_send_open},
    {"lunate.archive_core", ln_cli_archive_open},
};

const char *ln_cli_member(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

static void preload(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushcfunction(L, modules[i].open);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_pop(L, 2);
}

/* The module is a function of the words; it returns the exit status. */
static int run_module(lua_State *L, const char *module, int argc, char **argv, struct ln_err *err)
{
    preload(L);
    if (ln_state_require(L, module, err) != LN_OK)
        return LN_EXIT_WRONG;
    lua_createtable(L, argc, 0);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    int rc = ln_state_call(L, 1, 1);
    if (rc != LN_OK) {
        ln_state_fault_text(L, rc, err);
        return LN_EXIT_WRONG;
    }
    return (int)lua_tointeger(L, -1);
}

/* Frees the state. */
static int run(lua_State *L, const char *module, int argc, char **argv, struct ln_err *err)
{
    int status = LN_EXIT_WRONG;
    if (L) {
        status = run_module(L, module, argc, argv, err);
        ln_state_free(L);
    }
    if (err->code != LN_OK)
        fprintf(stderr, "lunate: internal error: %s\n", err->text);
    return status;
}

int ln_role_cli(int argc, char **argv)
{
    struct ln_err err = {0};
    return run(ln_state_new_brief(true, false, &err), "lunate.cli.main", argc, argv, &err);
}

int ln_role_cli_module(const char *module)
{
    struct ln_err err = {0};
    return run(ln_state_new(true, false, &err), module, 0, NULL, &err);
}
