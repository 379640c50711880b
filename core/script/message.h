/* The message object of channel scripts: userdata over core/hl7, thin bodies.
 * Contract: see docs/reference.md (paths, index chains, names, each, add, remove, copy, ack). */
#ifndef LN_SCRIPT_MESSAGE_H
#define LN_SCRIPT_MESSAGE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"
#include "hl7/charset.h"

struct lua_State;

/* Registers the metatables and pushes the `hl7` table (parse, new, null, ...). */
int ln_message_open(struct lua_State *L);
/* Pushes a message over a copy of the bytes; policy: what is known of their character set, or NULL.
 * On failure pushes nothing, returns the code, fills
 * err. */
int ln_message_push(struct lua_State *L, struct ln_span bytes,
                    const struct ln_charset_policy *policy, struct ln_err *err);
/* True when the value at idx is a message. */
bool ln_message_is(struct lua_State *L, int idx);
/* Pushes the wire form (a Lua string) of the message at idx; *changed (may be NULL) tells whether
 * it differs from the bytes it was made from. */
void ln_message_push_wire(struct lua_State *L, int idx, bool *changed);
/* Pushes a copy of the message at idx, as msg:copy() does. */
void ln_message_push_copy(struct lua_State *L, int idx);
/* Converts the message at idx to the set that `to` forces, MSH-18 with it. Raises. */
void ln_message_convert(struct lua_State *L, int idx, const struct ln_charset_policy *to);

#endif
