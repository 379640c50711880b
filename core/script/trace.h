/* What a script does, line by line, for verbs that try scripts out (eval --annotate, --coverage): a
 * line hook of the trusted side. The script sees nothing of it: its state has no debug library.
 *
 * Kept per line of the site's own Lua: how often it ran, and, in mode LN_TRACE_VALUES, what it read
 * and wrote the first three times and the last time. So memory does not grow with the loops. */
#ifndef LN_SCRIPT_TRACE_H
#define LN_SCRIPT_TRACE_H

#include "base/buf.h"
#include "base/err.h"
#include "script/files.h"

struct lua_State;
struct ln_trace;

enum ln_trace_mode { LN_TRACE_OFF, LN_TRACE_LINES, LN_TRACE_VALUES };

/* Starts to watch a state whose JIT is off. files: the site's own, as the chunks are named. */
int ln_trace_new(struct lua_State *L, const struct ln_files *files, enum ln_trace_mode mode,
                 struct ln_trace **out) LN_MUST;
void ln_trace_free(struct ln_trace *t);
/* Appends an LN_P_TRACE record with what there is, and forgets it. */
int ln_trace_write(struct ln_trace *t, struct ln_buf *b) LN_MUST;

/* The n values on top are what the script's function that ended last returned. Nothing when the
 * state is not watched. */
void ln_trace_returned(struct lua_State *L, int n);

/* ---- for script/trace_message.c ---- */

enum ln_trace_kind { LN_TRACE_READ = 'r', LN_TRACE_WRITE = 'w', LN_TRACE_NEXT = 'n' };

/* Notes that the innermost line of the site's own Lua read or wrote something. idx: stack index of
 * the value, 0 = none. */
void ln_trace_note(struct lua_State *L, enum ln_trace_kind kind, const char *name, int idx);
/* Puts the watch on reads and writes of messages. */
void ln_trace_messages(struct lua_State *L);

/* A Lua value as short text: strings quoted, tables to a depth of one. */
void ln_trace_value(struct lua_State *L, int idx, struct ln_buf *out);

#endif
