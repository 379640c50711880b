/* What cli_store.c takes from cli_version.c. */
#ifndef LN_ROLE_CLI_VERSION_H
#define LN_ROLE_CLI_VERSION_H

struct lua_State;

/* Adds a reader's methods on script versions to the metatable on the stack. */
void ln_cli_version_register(struct lua_State *L);

#endif
