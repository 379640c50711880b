/* For lua/loader.lua: evaluates one file of the site in a sandboxed state of its own, with a limit
 * on time and memory, and gives back plain strings. */
#ifndef LN_SCRIPT_EVALUATE_H
#define LN_SCRIPT_EVALUATE_H

#include "script/sandbox.h"

struct lua_State;

/* Pushes evaluate(kind, path, files, defaults) -> settings { key, value ... }, errors { text ... },
 * MB that the state holds then. kind: "channel" or "site"; path: the file among files { path =
 * content }; defaults { key = value
 * }. */
void ln_evaluate_push(struct lua_State *L, const char *site);

#endif
