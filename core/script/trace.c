#include "script/trace.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/proto.h"
#include "script/state.h"
#include "script/trace_source.h"

#define FIRST     3 /* times that a line's values are kept from the start */
#define RUN_MAX   2048 /* bytes of one time */
#define DEPTH     64 /* calls whose locals are followed */
#define LOCALS    200 /* of one function: LuaJIT's own limit */
#define VALUE_MAX 96

struct line {
    uint32_t hits;
    struct ln_buf first[FIRST], last;
    struct ln_buf *open; /* of the time that is running */
};

struct file {
    const char
        *source; /* LuaJIT's own string: equal pointers are equal names as long as it lives */
    char *name;
    const struct ln_file *text;
    uint32_t nlines;
    struct line *lines; /* from 1 */
};

/* A call of a function of the site. `at` is the place of its frame on the Lua stack: LuaJIT keeps
 * it in lua_Debug.i_ci (lj_debug.c), and it is all that tells one call from another. */
struct frame {
    int at;
    struct file *file; /* NULL: not one of the site's */
    int line; /* that is running; 0: none yet */
    int nlocals;
    const char *names[LOCALS];
};

struct ln_trace {
    lua_State *L;
    const struct ln_files *files;
    enum ln_trace_mode mode;
    struct file *file;
    unsigned nfile;
    struct frame *frames;
    int depth;
    int values; /* registry reference: locals as last seen, at depth * LOCALS + n */
    struct line *returned; /* the line that returned last */
    bool failed; /* out of memory: what is there is not the whole */
};

static struct ln_trace *trace_of(lua_State *L)
{
    return ln_state_user(L, LN_SLOT_TRACE);
}

/* ---- files and lines ----------------------------------------------------------------------- */

static struct file *add_file(struct ln_trace *t, const char *source)
{
    struct file *list = realloc(t->file, (t->nfile + 1) * sizeof *list);
    if (!list) {
        t->failed = true;
        return NULL;
    }
    t->file = list;
    struct file *f = &list[t->nfile++];
    *f = (struct file){.source = source, .name = strdup(source)};
    if (!f->name) {
        t->failed = true;
        t->nfile--;
        return NULL;
    }
    f->text = source[0] == '@' ? ln_files_get(t->files, source + 1) : NULL;
    if (!f->text)
        return f;
    f->nlines = ln_trace_count_lines(f->text) + 1;
    f->lines = calloc(f->nlines + 1, sizeof *f->lines);
    t->failed = t->failed || !f->lines;
    if (!f->lines)
        f->text = NULL;
    return f;
}

/* The file of that chunk when it is the site's, else NULL. Frames are no more when files move. */
static struct file *file_of(struct ln_trace *t, const char *source)
{
    unsigned i = 0;
    while (i < t->nfile && (t->file[i].source != source || strcmp(t->file[i].name, source) != 0))
        i++;
    struct file *f = i < t->nfile ? &t->file[i] : NULL;
    if (!f) {
        t->depth = 0;
        t->returned = NULL;
        f = add_file(t, source);
    }
    return f && f->text ? f : NULL;
}

static struct line *line_of(struct file *f, int n)
{
    return f && n > 0 && (uint32_t)n <= f->nlines ? &f->lines[n] : NULL;
}

static void open_run(struct line *line)
{
    if (!line)
        return;
    if (line->hits++ < FIRST) {
        line->open = &line->first[line->hits - 1];
    } else {
        line->open = &line->last;
        ln_buf_clear(line->open, RUN_MAX);
    }
}

/* ---- notes --------------------------------------------------------------------------------- */

static void note(lua_State *L, struct line *line, char kind, const char *name, size_t len, int idx)
{
    struct ln_buf value = {0};
    if (!line || !line->open || line->open->len > RUN_MAX)
        return;
    if (idx)
        ln_trace_value(L, idx, &value);
    ln_wire_u8(line->open, (uint8_t)kind);
    ln_wire_bytes(line->open, ln_span(name, len));
    ln_wire_bytes(line->open, ln_buf_span(&value));
    ln_buf_fini(&value);
}

void ln_trace_note(lua_State *L, enum ln_trace_kind kind, const char *name, int idx)
{
    struct ln_trace *t = trace_of(L);
    lua_Debug ar;
    for (int level = 0; t && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        struct file *f = ar.currentline > 0 ? file_of(t, ar.source) : NULL;
        if (f) {
            note(L, line_of(f, ar.currentline), (char)kind, name, strlen(name), idx);
            return;
        }
    }
}

void ln_trace_returned(lua_State *L, int n)
{
    struct ln_trace *t = trace_of(L);
    int top = lua_gettop(L);
    if (!t || t->mode != LN_TRACE_VALUES || !t->returned)
        return;
    for (int i = top - n + 1; i <= top; i++)
        if (i == top - n + 1 || !lua_isnil(L, i))
            note(L, t->returned, 't', "", 0, i);
    t->returned = NULL;
}

/* ---- locals -------------------------------------------------------------------------------- */

static int slot_of(const struct ln_trace *t, int local)
{
    return (t->depth - 1) * LOCALS + local;
}

/* Compares the locals of the frame on top with what they were; what changed was written by the line
 * that was running. */
static void follow_locals(struct ln_trace *t, lua_State *L, lua_Debug *ar)
{
    struct frame *fr = &t->frames[t->depth - 1];
    struct line *line = fr->line ? line_of(fr->file, fr->line) : NULL;
    const char *name;
    int n = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->values);
    int values = lua_gettop(L);
    while (n < LOCALS - 1 && (name = lua_getlocal(L, ar, n + 1))) {
        n++;
        bool known = n <= fr->nlocals && fr->names[n] == name;
        lua_rawgeti(L, values, slot_of(t, n));
        if (!known || !lua_rawequal(L, -1, -2)) {
            if (line && name[0] != '(')
                note(L, line, LN_TRACE_WRITE, name, strlen(name), values + 1);
            fr->names[n] = name;
            lua_pushvalue(L, values + 1);
            lua_rawseti(L, values, slot_of(t, n));
        }
        lua_settop(L, values);
    }
    fr->nlocals = n;
    lua_settop(L, values - 1);
}

static bool is_plain(int type)
{
    return type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING;
}

/* Pushes the value of a local or upvalue of that name; false when there is none. */
static bool push_named(struct ln_trace *t, lua_State *L, lua_Debug *ar, const char *name,
                       size_t len)
{
    struct frame *fr = &t->frames[t->depth - 1];
    const char *up;
    for (int i = fr->nlocals; i >= 1; i--)
        if (strlen(fr->names[i]) == len && memcmp(fr->names[i], name, len) == 0) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, t->values);
            lua_rawgeti(L, -1, slot_of(t, i));
            lua_remove(L, -2);
            return true;
        }
    lua_getinfo(L, "f", ar);
    for (int i = 1; (up = lua_getupvalue(L, -1, i)); i++) {
        if (strlen(up) == len && memcmp(up, name, len) == 0) {
            lua_remove(L, -2);
            return true;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return false;
}

/* The plain values behind the names on the line that begins. */
static void note_reads(struct ln_trace *t, lua_State *L, lua_Debug *ar, struct line *line)
{
    struct frame *fr = &t->frames[t->depth - 1];
    struct ln_trace_word word = {0};
    struct ln_span text = ln_trace_line(fr->file->text, fr->line);
    while (ln_trace_next_word(text, &word)) {
        if (word.target || word.again || !push_named(t, L, ar, word.name.ptr, word.name.len))
            continue;
        if (is_plain(lua_type(L, -1)))
            note(L, line, LN_TRACE_READ, word.name.ptr, word.name.len, lua_gettop(L));
        lua_pop(L, 1);
    }
}

/* ---- the hook ------------------------------------------------------------------------------ */

static int place_of(const lua_Debug *ar)
{
    return ar->i_ci & 0xffff;
}

static void push_frame(struct ln_trace *t, int at, struct file *f)
{
    while (t->depth > 0 && t->frames[t->depth - 1].at >= at)
        t->depth--;
    if (t->depth >= DEPTH)
        return;
    struct frame *fr = &t->frames[t->depth++];
    fr->at = at;
    fr->file = f;
    fr->line = fr->nlocals = 0;
}

/* True when the frame on top is the one at that place; frames above it are gone. */
static bool on_top(struct ln_trace *t, int at)
{
    while (t->depth > 0 && t->frames[t->depth - 1].at > at)
        t->depth--;
    return t->depth > 0 && t->frames[t->depth - 1].at == at;
}

/* LuaJIT tells a line anew when a call within it comes back: that is no new time. (A loop that
 * stands on one line thus counts once.) */
static void begin_line(struct ln_trace *t, lua_State *L, lua_Debug *ar, struct file *f)
{
    struct line *line = line_of(f, ar->currentline);
    int at = place_of(ar);
    if (!on_top(t, at))
        push_frame(t, at, f);
    if (!on_top(t, at)) { /* too deep */
        open_run(line);
        return;
    }
    struct frame *fr = &t->frames[t->depth - 1];
    bool values = t->mode == LN_TRACE_VALUES;
    if (fr->line == ar->currentline)
        return;
    if (values)
        follow_locals(t, L, ar);
    if (values && fr->line) {
        char next[16];
        int len = snprintf(next, sizeof next, "%d", ar->currentline);
        note(L, line_of(f, fr->line), LN_TRACE_NEXT, next, (size_t)len, 0);
    }
    open_run(line);
    fr->file = f;
    fr->line = ar->currentline;
    if (values)
        note_reads(t, L, ar, line);
}

static void end_call(struct ln_trace *t, lua_State *L, lua_Debug *ar)
{
    if (!on_top(t, place_of(ar)))
        return;
    struct frame *fr = &t->frames[t->depth - 1];
    if (t->mode == LN_TRACE_VALUES)
        follow_locals(t, L, ar);
    t->returned = line_of(fr->file, fr->line);
    t->depth--;
}

static void on_event(lua_State *L, lua_Debug *ar)
{
    struct ln_trace *t = trace_of(L);
    if (!t || !lua_getinfo(L, "Sl", ar))
        return;
    if (L != t->L) { /* a coroutine: its lines alone */
        if (ar->event == LUA_HOOKLINE)
            open_run(line_of(file_of(t, ar->source), ar->currentline));
        return;
    }
    struct file *f = *ar->what == 'C' ? NULL : file_of(t, ar->source);
    luaL_checkstack(L, 8, "trace");
    if (ar->event == LUA_HOOKCALL)
        push_frame(t, place_of(ar), f);
    else if (ar->event == LUA_HOOKLINE && f)
        begin_line(t, L, ar, f);
    else if (ar->event == LUA_HOOKRET && f)
        end_call(t, L, ar);
}

/* ---- making, telling ----------------------------------------------------------------------- */

static int make_values(lua_State *L)
{
    struct ln_trace *t = trace_of(L);
    lua_newtable(L);
    t->values = luaL_ref(L, LUA_REGISTRYINDEX);
    if (t->mode != LN_TRACE_VALUES)
        return 0;
    ln_state_push_module(L, "hl7"); /* makes the metatables */
    ln_trace_messages(L);
    return 0;
}

int ln_trace_new(lua_State *L, const struct ln_files *files, enum ln_trace_mode mode,
                 struct ln_trace **out)
{
    struct ln_trace *t = *out = calloc(1, sizeof *t);
    if (!t || !(t->frames = calloc(DEPTH, sizeof *t->frames)))
        return LN_ENOMEM;
    t->L = L;
    t->files = files;
    t->mode = mode;
    ln_state_set_user(L, LN_SLOT_TRACE, t);
    lua_pushcfunction(L, make_values);
    int code = ln_state_call(L, 0, 0);
    if (code != LN_OK)
        return code;
    ln_state_set_hook(L, on_event, LUA_MASKLINE | LUA_MASKCALL | LUA_MASKRET);
    return LN_OK;
}

static void write_line(struct ln_buf *b, uint32_t n, struct line *line)
{
    uint8_t runs = (uint8_t)(line->hits < FIRST ? line->hits : FIRST);
    ln_wire_u32(b, n);
    ln_wire_u32(b, line->hits);
    ln_wire_u8(b, (uint8_t)(runs + (line->hits > FIRST)));
    for (uint8_t i = 0; i < runs; i++)
        ln_wire_bytes(b, ln_buf_span(&line->first[i]));
    if (line->hits > FIRST)
        ln_wire_bytes(b, ln_buf_span(&line->last));
}

static void forget_line(struct line *line)
{
    for (int i = 0; i < FIRST; i++)
        ln_buf_clear(&line->first[i], RUN_MAX);
    ln_buf_clear(&line->last, RUN_MAX);
    line->hits = 0;
    line->open = NULL;
}

int ln_trace_write(struct ln_trace *t, struct ln_buf *b)
{
    size_t at = ln_wire_begin(b, LN_P_TRACE);
    t->depth = 0;
    t->returned = NULL;
    for (unsigned i = 0; i < t->nfile; i++) {
        struct file *f = &t->file[i];
        uint32_t n = 0;
        for (uint32_t k = 1; f->text && k <= f->nlines; k++)
            n += f->lines[k].hits > 0;
        if (!n)
            continue;
        ln_wire_bytes(b, ln_span_str(f->name + 1));
        ln_wire_u32(b, n);
        for (uint32_t k = 1; k <= f->nlines; k++) {
            if (f->lines[k].hits)
                write_line(b, k, &f->lines[k]);
            forget_line(&f->lines[k]);
        }
    }
    return ln_wire_end(b, at);
}

void ln_trace_free(struct ln_trace *t)
{
    if (!t)
        return;
    ln_state_set_hook(t->L, NULL, 0);
    ln_state_set_user(t->L, LN_SLOT_TRACE, NULL);
    for (unsigned i = 0; i < t->nfile; i++) {
        for (uint32_t k = 0; t->file[i].lines && k <= t->file[i].nlines; k++) {
            struct line *line = &t->file[i].lines[k];
            for (int r = 0; r < FIRST; r++)
                ln_buf_fini(&line->first[r]);
            ln_buf_fini(&line->last);
        }
        free(t->file[i].lines);
        free(t->file[i].name);
    }
    free(t->file);
    free(t->frames);
    free(t);
}
