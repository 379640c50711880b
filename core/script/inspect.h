/* What a REPL may see of scripts and a script may not: the variables where one failed, a channel's
 * own functions and globals, the place of a message's part. The table that ln_inspect_push makes is
 * for Lunate's own Lua (lua/repl); it never gets into a sandbox. */
#ifndef LN_SCRIPT_INSPECT_H
#define LN_SCRIPT_INSPECT_H

struct lua_State;

/* Pushes a table of:
 *   call(f, ...)   in protection and under the limits: true, values; or false, "error" or "limit",
 *                  reason, where, trace
 *   frame()        variables where the last call failed: a list of { name, value, level }, level
 *                  1 the innermost function; and that function's name or nil
 *   owned(f)       f's environment, and a list of { name, value } of what it refers to
 *   where(f)       "file:line" where f begins; nil when it is not a script's
 *   place(part)    of a segment, field or component: kind, segment's name, number of the segment,
 *                  field, repetition, component, subcomponent (0 = none)
 * and begins to note the variables where a call fails (ln_state_on_fault). */
void ln_inspect_push(struct lua_State *L);
/* Forgets a noted failure. Allocates nothing. */
void ln_inspect_forget(struct lua_State *L);

#endif
