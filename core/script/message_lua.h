/* What the files of the message object share. Private to core/script/message*.c.
 *
 * A message is one userdata: struct ln_lmessage, behind it the arena's first block and (for small
 * messages) the bytes. Further blocks are userdata too, kept in a table that is the message's
 * environment; so is a large input string, which is not copied. All memory thus belongs to the Lua
 * state: its limit and its collector see it, nothing needs __gc, and an error raised anywhere leaks
 * nothing.
 *
 * A handle (segment, field, component) is a userdata of its own with the same environment table,
 * which keeps the message alive; it holds the slot and numbers, never a pointer into the message.
 */
#ifndef LN_SCRIPT_MESSAGE_LUA_H
#define LN_SCRIPT_MESSAGE_LUA_H

#ifndef LN_CDEF /* nothing here is for FFI, and lua.h is not for its parser */

#include <lua.h>

#include "hl7/field.h"
#include "hl7/message.h"
#include "hl7/path.h"
#include "hl7/text.h"
#include "script/message.h"

#define LN_MT_MESSAGE "lunate.message"

#define LN_ENV_MESSAGE 1 /* environment table: the message itself; then blocks and input */

struct ln_lmessage {
    struct ln_message m;
    lua_State *L; /* for the arena: the state and stack index of the call that is running */
    int idx;
    bool env; /* has an environment table of its own */
    bool changed; /* it is a copy of a changed message */
    char substitute[LN_CHARSET_GET]; /* for characters that its set lacks */
};

enum ln_kind { LN_SEGMENT = 1, LN_FIELD, LN_COMPONENT };

struct ln_lhandle {
    struct ln_lmessage *msg;
    enum ln_kind kind;
    uint32_t slot;
    struct ln_part part; /* field 0: the segment */
};

/* ---- message.c ---- */

/* The message at idx, made ready for calls that may take memory. Raises. */
struct ln_lmessage *ln_lmessage_check(lua_State *L, int idx);
/* Gives the message (at u->idx) its environment table and pushes it. */
void ln_lmessage_push_env(lua_State *L, struct ln_lmessage *u);
/* Memory that is collected when nobody needs it; pushes it. */
char *ln_lmessage_scratch(lua_State *L, size_t len);
/* Raises err->text, or what code means, at the caller's line. */
int ln_lmessage_raise(lua_State *L, int code, const struct ln_err *err);
/* Pushes a message over the string at idx; 0, or a code with err filled and nothing pushed. policy
 * may be NULL. */
int ln_lmessage_parse(lua_State *L, int idx, const struct ln_charset_policy *policy,
                      struct ln_err *err);

/* ---- message_charset.c ---- */

/* How the message reads and writes text. */
struct ln_text ln_lmessage_text(const struct ln_lmessage *u);
/* The policy that makes a message of its bytes what this one is. */
struct ln_charset_policy ln_lmessage_policy(const struct ln_lmessage *u);
/* The policy that the value at idx says: nil (trust), "trust", { default = } or { force = }, with
 * substitute. Raises. */
struct ln_charset_policy ln_lmessage_policy_arg(lua_State *L, int idx);
/* Converts the message (at u->idx) to another set; MSH-18 stays as it is. Raises, and then nothing
 * is changed. */
void ln_lmessage_convert(lua_State *L, struct ln_lmessage *u, const struct ln_text *to);
/* MSH-18 was set: the message goes to the set that it names now. old: its raw value before. */
void ln_lmessage_renamed(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_span old);
int ln_lmessage_charset(lua_State *L); /* msg:charset() */
int ln_lmessage_l_convert(lua_State *L); /* msg:convert(name, options) */
/* Pushes a UTF-16 or UTF-32 text as UTF-8 and returns true; false when the string at idx is none.
 */
bool ln_lmessage_push_wide(lua_State *L, int idx);

/* ---- message_path.c, message_write.c: values by path ---- */

/* The path at idx. Raises when it is none. */
void ln_lmessage_path_arg(lua_State *L, int idx, struct ln_path *path);
/* The name of the path's segment. */
struct ln_span ln_lmessage_path_name(const struct ln_path *path);
/* How many repetitions a field has. */
uint32_t ln_lmessage_repetitions(struct ln_lmessage *u, uint32_t slot, uint32_t field);

/* Pushes the text of a leaf: nil when empty. */
void ln_lmessage_push_leaf(lua_State *L, struct ln_lmessage *u, struct ln_span leaf);
/* Sets the part (repetition 0 = the first one) to the Lua value at idx, as msg[path] = v does. */
void ln_lmessage_assign(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                        int idx);
void ln_lmessage_assign_raw(lua_State *L, struct ln_lmessage *u, uint32_t slot, struct ln_part part,
                            int idx);
/* The part that a path names, for reading raw bytes or writing. */
struct ln_part ln_lmessage_part(const struct ln_path *path);
/* Of a segment that is not there: its name must be one that could be, or it is a slip of the pen. A
 * message with such names itself can be asked for them. Raises. */
void ln_lmessage_check_name(lua_State *L, const struct ln_path *path);
/* msg[path], msg[path] = v: the key at 2, the value at 3. */
int ln_lmessage_get(lua_State *L, struct ln_lmessage *u);
int ln_lmessage_set(lua_State *L, struct ln_lmessage *u);
/* Methods of a message: raw, set_raw, all. */
int ln_lmessage_raw(lua_State *L);
/* Pushes a segment as it stands, without its end. */
void ln_lmessage_push_segment(lua_State *L, struct ln_lmessage *u, uint32_t slot);
int ln_lmessage_set_raw(lua_State *L);
int ln_lmessage_all(lua_State *L);

/* ---- message_handle.c, message_part.c: handles ---- */

/* Makes the handles' metatables. */
void ln_lhandle_open(lua_State *L);
/* Makes the table on top the metatable of a kind of handle. */
void ln_lhandle_register(lua_State *L, enum ln_kind kind);
void ln_lhandle_push_metatable(lua_State *L, enum ln_kind kind);
/* Pushes a handle; the message stands at u->idx. */
void ln_lhandle_push(lua_State *L, struct ln_lmessage *u, enum ln_kind kind, uint32_t slot,
                     struct ln_part part);
/* The handle at idx when it is one (any kind), with its message pushed and made ready; else NULL.
 * Raises when its segment was removed. */
struct ln_lhandle *ln_lhandle_test(lua_State *L, int idx);
/* The same; raises when it is no handle of this kind. */
struct ln_lhandle *ln_lhandle_check(lua_State *L, int idx, enum ln_kind kind);
/* The number at idx, which must be whole and from 1 to max; what: what is counted. Raises. */
uint32_t ln_lhandle_number(lua_State *L, int idx, const char *what, lua_Number max);
/* The part below h that the key at idx (a number or a dictionary name) names. Raises. */
struct ln_part ln_lhandle_below(lua_State *L, struct ln_lhandle *h, int idx);
/* True when the key at idx is a path within a segment: seg["5.1"]. Raises. */
bool ln_lhandle_path(lua_State *L, int idx, struct ln_path *path);
/* Pushes the text of a part's first leaf, or nil. */
void ln_lhandle_push_value(lua_State *L, struct ln_lhandle *h, const struct ln_part *part);
/* The raw bytes of a field or component. */
struct ln_span ln_lhandle_raw(lua_State *L, struct ln_lhandle *h);
/* Number of what is right below: fields, repetitions, components or subcomponents. */
uint32_t ln_lhandle_count(lua_State *L, struct ln_lhandle *h);

/* ---- message_names.c: the dictionary ---- */

/* Number of the field (kind '=', owner "PID") or component (kind ':', owner "XPN") with the name at
 * idx, in the message's version or the nearest. Raises with a suggestion. */
uint32_t ln_lnames_number(lua_State *L, struct ln_lmessage *u, char kind, const char *owner,
                          int idx);
/* Takes the names of an owner ("=ZPD" at index 1) from the table at index 2, for all versions: the
 * site's own come before the dictionary's. */
void ln_lnames_extend(lua_State *L);
/* Pushes the data type of field or component n (a string), or nil. */
void ln_lnames_type(lua_State *L, struct ln_lmessage *u, char kind, const char *owner, uint32_t n);

/* ---- message_segment.c: structure ---- */

int ln_lmessage_each(lua_State *L); /* msg:each, seg:each */
int ln_lmessage_add(lua_State *L); /* msg:add(name or segment, after) */
int ln_lmessage_remove(lua_State *L); /* msg:remove(seg) */
int ln_lmessage_move(lua_State *L); /* msg:move(seg, after) */

/* ---- message_new.c, message_ack.c ---- */

int ln_lmessage_new(lua_State *L); /* hl7.new */
int ln_lmessage_ack(lua_State *L); /* msg:ack */
/* A control id that no other call gave, in this process or another one of this machine; at most 20
 * bytes with the end. */
void ln_lmessage_control_id(char out[20]);

#endif
#endif
