/* Modules of a state: the public ones in C ("hl7", "json") and the embedded Lua ("lunate.x.y",
 * "argparse"). What scripts get stands in script/state.h; these two are for a state's set-up. */
#ifndef LN_SCRIPT_MODULE_H
#define LN_SCRIPT_MODULE_H

struct lua_State;

/* require for a bare state. */
int ln_module_require(struct lua_State *L);
/* For package.loaders of a trusted state. */
int ln_module_searcher(struct lua_State *L);

#endif
