/* A channel script, loaded and checked (lua/channel.lua): its functions for the worker, its
 * settings for the loader. */
#ifndef LN_SCRIPT_CHANNEL_H
#define LN_SCRIPT_CHANNEL_H

#include "base/err.h"
#include "hl7/charset.h"
#include "script/sandbox.h"

struct lua_State;

struct ln_channel_fns {
    int filter, transform; /* registry references; LN_NO_FN = none */
};
#define LN_NO_FN (-2)

struct ln_channel_dest {
    char name[65];
    struct ln_channel_fns fns;
    struct ln_charset_policy charset; /* forced: messages go out in it; else as they are */
};

struct ln_channel {
    struct ln_channel_fns fns;
    struct ln_charset_policy charset; /* of what comes in */
    unsigned ndest;
    struct ln_channel_dest *dest; /* in order of names */
};

/* Loads a channel script into a fresh bare state and runs it. What lua/channel.lua made of its
 * value is left on the stack: settings, errors (a list of texts), plan. A script that does not even
 * run gives an error code and leaves nothing. defaults: stack index of a table in this state, 0 =
 * none. */
int ln_channel_eval(struct lua_State *L, const struct ln_host *host, const char *path, int defaults,
                    struct ln_err *err) LN_MUST;
/* The same, for a worker: the first error is an error; else fills *ch. */
int ln_channel_load(struct lua_State *L, const struct ln_host *host, const char *path,
                    struct ln_channel *ch, struct ln_err *err) LN_MUST;
void ln_channel_fini(struct ln_channel *ch);

#endif
