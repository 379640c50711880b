/* JSON for scripts: json.encode, json.decode, json.null, json.array, json.number.
 *
 * Numbers: a decimal that a double cannot give back (12345678901234567890, 0.1234567890123456789)
 * becomes a json.number, which keeps the text as written; so does 1.10 when decoded with
 * exact = true. Objects are written with sorted keys, so that the same value always gives the same
 * bytes. Its own parser, since json-c cuts integers off at 64 bits and its tree of C objects would
 * leak whenever Lua raises.
 *
 * Values go straight between the Lua stack and text; depth is limited. */
#ifndef LN_SCRIPT_LUAJSON_H
#define LN_SCRIPT_LUAJSON_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct lua_State;

#define LN_LUAJSON_DEPTH 100

enum ln_luajson_flags {
    LN_LUAJSON_RAW = 1, /* strings may hold any bytes (kv): not JSON for the outside */
    LN_LUAJSON_EXACT = 2, /* decode: keep every number's text that encode would not give back */
};

/* Pushes the json table. Once per state. */
int ln_luajson_open(struct lua_State *L);
/* Encodes the value at idx. Raises on what has no JSON form. The text is the state's scratch
 * buffer, valid until the next call of either function. indent: blanks a level, 0 = one line. */
struct ln_span ln_luajson_encode(struct lua_State *L, int idx, int flags, int indent);
/* Pushes the value of text. LN_EPARSE (nothing pushed): err->offset and err->text say where and
 * why. */
int ln_luajson_decode(struct lua_State *L, struct ln_span text, int flags, struct ln_err *err);

/* Shared by the two halves. */
#define LN_LUAJSON_ARRAY  "lunate.json.array" /* metatables in the registry */
#define LN_LUAJSON_NUMBER "lunate.json.number"
#define LN_LUAJSON_NULL   "lunate.json.null" /* the null value in the registry */
struct ln_buf *ln_luajson_scratch(struct lua_State *L);
void ln_luajson_push_number(struct lua_State *L, struct ln_span text);
/* Writes the shortest decimal that reads back as d; returns its length. d must be finite. */
size_t ln_luajson_format(double d, char out[32]);

#endif
