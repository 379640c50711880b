/* kv: a channel's durable state as its script sees it. What was written while a message is
 * processed is pending until the worker says commit (then it travels with that message's result) or
 * undo. Values are JSON text on the way; strings may hold any bytes. */
#ifndef LN_SCRIPT_KV_H
#define LN_SCRIPT_KV_H

#include <stdbool.h>

#include "base/span.h"

struct lua_State;

#define LN_KV_KEY_MAX    400u
#define LN_KV_VALUE_MAX  (1u << 20)
#define LN_KV_WRITES_MAX 10000u /* by one message */

/* Makes it and pushes the table of get, set, delete, keys. All of these raise only for lack of
 * memory. */
int ln_kv_open(struct lua_State *L);
/* A pair that is there at the start. */
void ln_kv_load(struct lua_State *L, struct ln_span key, struct ln_span value);
/* Writing is allowed between begin and commit or undo. */
void ln_kv_begin(struct lua_State *L);
/* Allocates nothing. */
void ln_kv_undo(struct lua_State *L);
/* At most so many writes are pending. */
unsigned ln_kv_pending(struct lua_State *L);
/* Gives each pending write, in no order (value.ptr NULL = deleted; valid until the next begin), and
 * takes it over. */
void ln_kv_commit(struct lua_State *L,
                  void (*each)(void *arg, struct ln_span key, struct ln_span value), void *arg);
/* A mark that ln_kv_back returns to: a destination that fails takes back its own writes only. */
void ln_kv_mark(struct lua_State *L);
void ln_kv_back(struct lua_State *L);

#endif
