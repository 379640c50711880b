/* What the command line's Lua (lua/cli) gets from C: modules of thin functions, each registered as
 * a preloaded module of the trusted state. Expected failure is `nil, text`. */
#ifndef LN_ROLE_CLI_H
#define LN_ROLE_CLI_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;
struct ln_audit_who;

int ln_cli_sys_open(struct lua_State *L); /* "lunate.sys": files, terminal, text */
int ln_cli_wire_open(struct lua_State *L); /* "lunate.wire": records of ipc/proto.h, to the control
                                              socket and to children of our own */
int ln_cli_repl_open(struct lua_State *L); /* "lunate.person": Ctrl-C, changed files */
/* Where the line editor of `lunate repl` is; false when it is not there, or no terminal is. */
bool ln_cli_repl_program(char *path, size_t cap);
int ln_cli_tools_open(struct lua_State *L); /* "lunate.tools": files of messages, keyed hash */
int ln_cli_tls_open(struct lua_State *L); /* "lunate.tls_core": certificates, handshakes */
int ln_cli_audit_open(struct lua_State *L); /* "lunate.audit_core": the audit log */
int ln_cli_token_open(struct lua_State *L); /* "lunate.token_core": tokens */
int ln_cli_view_open(struct lua_State *L); /* "lunate.view_core": see view.c */
int ln_cli_store_open(struct lua_State *L); /* "lunate.store": the store, read-only */

/* unresolved(hosts, seconds), of lunate.sys: a table host -> why it has no address. Names that are
 * not in it have one. Takes `seconds` at most. */
int ln_cli_unresolved(struct lua_State *L);
/* foreign(address), of lunate.sys: why nothing on this machine can listen on it, nil when it can or
 * when it is a name. Binds a socket to it, without a port that anybody needs. */
int ln_cli_foreign(struct lua_State *L);

/* A text of the table that is a function's first argument; it stays in the table. NULL: not there.
 */
const char *ln_cli_member(struct lua_State *L, const char *name);

/* Entries of this process name somebody else: the engine started it for that user. */
void ln_cli_audit_for(const struct ln_audit_who *w);

int ln_cli_archive_open(struct lua_State *L); /* "lunate.archive_core": zstd, appending */
int ln_audit_send_open(struct lua_State *L); /* "lunate.audit_send": the log, a connection */
int ln_alerter_open(struct lua_State *L); /* "lunate.alerter": durable files, disk space */

/* Runs a Lua module that returns a function, in such a state; returns that function's exit status.
 */
int ln_role_cli_module(const char *module);

#endif
