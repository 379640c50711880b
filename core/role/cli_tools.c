/* lunate.tools: what the verbs over files of messages need: cutting a file into its messages with
 * their places; a keyed hash. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/span.h"
#include "hl7/header.h"
#include "hl7/mllp.h"
#include "net/hmac.h"
#include "role/cli.h"

/* The list at index 4 being filled: offset, text, offset, text, ... */
struct pieces {
    lua_State *L;
    int n;
};

static void add_piece(struct pieces *p, size_t offset, struct ln_span text)
{
    lua_pushnumber(p->L, (lua_Number)offset);
    lua_rawseti(p->L, 4, ++p->n);
    lua_pushlstring(p->L, text.ptr, text.len);
    lua_rawseti(p->L, 4, ++p->n);
}

/* The messages of text, which stands at `offset`; the last one only when it is known to be whole.
 * Returns how many bytes need not be seen again. */
static size_t add_text(struct pieces *p, size_t offset, struct ln_span text, bool whole)
{
    struct ln_span message, last = {0};
    size_t pos = 0;
    while (ln_batch_next(text, &pos, &message)) {
        if (last.ptr)
            add_piece(p, offset + (size_t)(last.ptr - text.ptr), last);
        last = message;
    }
    if (whole && last.ptr)
        add_piece(p, offset + (size_t)(last.ptr - text.ptr), last);
    return whole ? text.len : last.ptr ? (size_t)(last.ptr - text.ptr) : 0;
}

/* The reader holds memory of its own only for an unfinished frame, and Lua may raise for lack of
 * memory: so frames are noted first (index 5: a userdata), pieces made when the reader is gone. */
struct frame {
    size_t offset;
    struct ln_span text;
};

static size_t find_frames(struct ln_span bytes, bool whole, struct frame *out, size_t *n)
{
    struct ln_mllp reader;
    struct ln_span frame;
    size_t at = 0, done = 0, used;
    *n = 0;
    ln_mllp_init(&reader, 0);
    for (;;) {
        enum ln_mllp_event e = ln_mllp_feed(&reader, bytes.ptr + at, bytes.len - at, &used, &frame);
        bool inside = e == LN_MLLP_FRAME && frame.len && frame.ptr >= bytes.ptr &&
                      frame.ptr + frame.len <= bytes.ptr + bytes.len;
        at += used;
        if (e != LN_MLLP_FRAME)
            break;
        done = at;
        if (inside) {
            out[*n].offset = (size_t)(frame.ptr - bytes.ptr);
            out[(*n)++].text = frame;
        }
    }
    /* FS as the file's very last byte: its frame is what follows the last VT. */
    if (whole && ln_mllp_pending_end(&reader) && bytes.len > done) {
        const char *vt = memchr(bytes.ptr + done, LN_MLLP_VT, bytes.len - done);
        const char *end = memrchr(bytes.ptr + done, LN_MLLP_FS, bytes.len - done);
        if (vt && end > vt) {
            out[*n].offset = (size_t)(vt + 1 - bytes.ptr);
            out[(*n)++].text = ln_span(vt + 1, (size_t)(end - vt - 1));
            done = bytes.len;
        }
    }
    ln_mllp_fini(&reader);
    return done;
}

static size_t count_byte(struct ln_span s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == c;
    return n;
}

/* split(bytes, framed, whole): the messages of bytes, as MLLP frames when framed: a list of offset,
 * text, offset, text, ...; and how many bytes were dealt with. Not whole: more will follow, and
 * what may go on is left for the next call. */
static int split(lua_State *L)
{
    struct ln_span bytes;
    bytes.ptr = luaL_checklstring(L, 1, &bytes.len);
    bool framed = lua_toboolean(L, 2), whole = lua_toboolean(L, 3);
    struct pieces p = {.L = L};
    size_t used = 0, n = 0;
    lua_settop(L, 3);
    lua_newtable(L);
    if (!framed) {
        used = add_text(&p, 0, bytes, whole);
    } else {
        size_t room = count_byte(bytes, LN_MLLP_FS) + 1;
        struct frame *frames = lua_newuserdata(L, room * sizeof *frames);
        used = find_frames(bytes, whole, frames, &n);
        for (size_t i = 0; i < n; i++)
            add_text(&p, frames[i].offset, frames[i].text, true);
        lua_pop(L, 1);
    }
    lua_pushnumber(L, (lua_Number)used);
    return 2;
}

/* hmac(key, data): 32 bytes, HMAC-SHA256. */
static int hmac(lua_State *L)
{
    unsigned char out[32];
    struct ln_span key, data;
    key.ptr = luaL_checklstring(L, 1, &key.len);
    data.ptr = luaL_checklstring(L, 2, &data.len);
    if (!ln_hmac_sha256(key, data, out))
        return luaL_error(L, "OpenSSL has no HMAC-SHA256");
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 1;
}

int ln_cli_tools_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"split", split}, {"hmac", hmac}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
