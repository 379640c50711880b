/* A Lua state of Lunate: LuaJIT with the JIT off unless asked for, counted memory, Lunate's
 * embedded modules, protected calls that say file:line.
 *
 * Two flavours. Trusted (command line, loader): the whole standard library; `require` finds the
 * public modules ("hl7", "json") and the embedded ones ("lunate.x.y", "argparse") as well, or
 * DIR/x/y.lua when the environment has LUNATE_LUA=DIR (development). Bare (channel scripts): base,
 * table, string, math, bit, os and io only, no package, debug, jit or ffi; script/sandbox.h makes
 * the sandbox in it.
 *
 * Nothing here is thread-safe; a state belongs to one thread. */
#ifndef LN_SCRIPT_STATE_H
#define LN_SCRIPT_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct lua_State;
struct lua_Debug;

/* What went wrong in a script. `reason` may hold message content: never log it. */
struct ln_fault {
    struct ln_buf reason; /* the error's text without its position */
    struct ln_buf where; /* "channels/adt.lua:12", or empty */
    struct ln_buf trace; /* function names and lines, one a line, or empty; for error(problems) the
                            problems, as ln_ack_errors_read takes them */
};

/* A new state, or NULL (err says why). */
struct lua_State *ln_state_new(bool trusted, bool jit, struct ln_err *err);
/* The same over script/heap.h: for a process that a person waits for, or a state that is soon freed
 * again. */
struct lua_State *ln_state_new_brief(bool trusted, bool jit, struct ln_err *err);
void ln_state_free(struct lua_State *L);

/* Memory beyond what is used now: a script that holds more than `bytes` after a full collection is
 * ended with an error that names its line; twice that is never given. 0 = no limit. */
void ln_state_limit_memory(struct lua_State *L, size_t bytes);
/* Bytes in use. */
size_t ln_state_memory(struct lua_State *L);

/* As lua_pcall (function and nargs arguments on the stack). On failure nothing is left of them on
 * the stack and ln_state_fault tells more: LN_ESCRIPT, or LN_ELIMIT for time and memory limits
 * (which a script's own pcall cannot keep back). */
int ln_state_call(struct lua_State *L, int nargs, int nresults);
/* The last failure of ln_state_call on this state; valid until the next one. */
const struct ln_fault *ln_state_fault(struct lua_State *L);
/* The same as one line "file:line: reason" in err->text. */
void ln_state_fault_text(struct lua_State *L, int code, struct ln_err *err);

/* Compiles text (never bytecode) and pushes the function. chunk: "@channels/x.lua". Pushes nothing
 * on failure; err->text is "file:line: what". */
int ln_state_load(struct lua_State *L, struct ln_span text, const char *chunk, struct ln_err *err);
/* Pushes a public or embedded module's value, running it when it is the first time. Raises on
 * failure: call it inside ln_state_call, or use ln_state_require. */
void ln_state_push_module(struct lua_State *L, const char *name);
int ln_state_require(struct lua_State *L, const char *name, struct ln_err *err) LN_MUST;

/* "file:line" of the innermost Lua function from `level` on, "" when there is none. */
void ln_state_where(struct lua_State *L, int level, struct ln_buf *out);

/* One pointer of the owner's, e.g. what a C function called from Lua needs. */
void ln_state_set_user(struct lua_State *L, int slot, void *user);
void *ln_state_user(struct lua_State *L, int slot);
enum ln_state_slot { LN_SLOT_HOST, LN_SLOT_RUN, LN_SLOT_TRACE, LN_SLOTS };

/* A hook of the trusted side's (script/trace.c), in place unless a limit needs the hook; NULL:
 * none.
 */
void ln_state_set_hook(struct lua_State *L, void (*hook)(struct lua_State *, struct lua_Debug *),
                       int mask);

/* For script/limits.c: asks for the hook (callable from a signal handler and from the allocator);
 * time_s is told in the error. */
void ln_state_stop(struct lua_State *L);
void ln_state_set_seconds(struct lua_State *L, double seconds);
/* True from the moment a limit has been reached until ln_state_resume. */
bool ln_state_stopped(struct lua_State *L);
/* As ln_state_stop, but the error says that a person interrupted it. */
void ln_state_interrupt(struct lua_State *L);
/* Forgets a limit that was reached (for a REPL; a worker ends instead). */
void ln_state_resume(struct lua_State *L);
/* Called where a script failed, before its stack is gone: for a REPL, which shows the variables. It
 * must not raise. NULL = nobody. */
void ln_state_on_fault(struct lua_State *L, void (*fn)(struct lua_State *L));

#endif
