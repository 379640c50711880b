/* What a transform may return, and what can go out as one message. Runs in a worker, under a
 * protected call: what is wrong is raised as an error of the script. */
#ifndef LN_SCRIPT_RETURNED_H
#define LN_SCRIPT_RETURNED_H

#include <stdbool.h>

struct lua_State;

/* The value on top is what a transform returned, the message it was given is at msg. Leaves on top
 * either one message or string, or a list of them (*list), none of them an empty string. */
void ln_returned_take(struct lua_State *L, int msg, bool *list);

/* The string on top is to leave as one MLLP block: raises when it is empty, or when a receiver
 * would see another number of blocks. MLLP has no escape for its own bytes. */
void ln_returned_check_wire(struct lua_State *L);

#endif
