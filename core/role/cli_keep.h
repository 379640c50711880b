/* What cli_store.c takes from cli_keep.c. */
#ifndef LN_ROLE_CLI_KEEP_H
#define LN_ROLE_CLI_KEEP_H

struct lua_State;

/* Adds verify, backup and restore to the table on the stack. */
void ln_cli_keep_register(struct lua_State *L);

#endif
