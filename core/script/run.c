#include "script/run.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/clock.h"
#include "script/kv.h"
#include "script/message.h"
#include "script/returned.h"
#include "script/state.h"
#include "script/trace.h"

#define NOT_YET UINT32_MAX

#define REASON_MAX 8192

struct ln_run {
    lua_State *L;
    const struct ln_channel *ch;
    int keep; /* registry reference: table that holds the strings outputs point into */
    int nkeep;
    int step_fn, dest_fn, commit_fn; /* registry references of the C functions below */

    struct ln_span raw;
    enum ln_verdict verdict;
    struct ln_span reason;

    struct ln_output *outputs;
    uint32_t noutputs, cap_outputs;
    struct ln_kv *kv;
    uint32_t nkv, cap_kv;
    uint32_t *passed; /* per item: the output that holds it as it is, or NOT_YET */
    uint32_t cap_passed;

    int calling; /* the function of the script that was called last, LN_NO_FN = none yet */
    struct ln_buf place; /* where that begins, for a fault */
    unsigned dest; /* the destination at hand */
    bool items_list; /* the items are a list, else one value */
    bool last_use; /* nobody needs the item after this destination */
    struct ln_result result;
};

/* C's own arrays: they grow to what the largest message needed and stay. */
static void *grown(lua_State *L, void *p, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return p;
    uint32_t cap2 = *cap ? *cap * 2 : 16;
    while (cap2 < need)
        cap2 *= 2;
    void *q = realloc(p, cap2 * size);
    if (!q)
        luaL_error(L, "not enough memory");
    *cap = cap2;
    return q;
}

/* Keeps the string on top of the stack until the message is done; pops it. */
static struct ln_span keep(struct ln_run *r, lua_State *L)
{
    struct ln_span s;
    s.ptr = lua_tolstring(L, -1, &s.len);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->keep);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, ++r->nkeep);
    lua_pop(L, 2);
    return s;
}

/* Allocates nothing, so it needs no protection. */
static void forget_kept(struct ln_run *r, lua_State *L)
{
    if (r->nkeep == 0)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->keep);
    for (; r->nkeep > 0; r->nkeep--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, r->nkeep);
    }
    lua_pop(L, 1);
}

static struct ln_output *add_output(struct ln_run *r, lua_State *L, uint8_t kind)
{
    if (r->noutputs >= LN_RESULT_OUTPUTS_MAX)
        luaL_error(L, "more than %d outputs from one message", (int)LN_RESULT_OUTPUTS_MAX);
    r->outputs = grown(L, r->outputs, &r->cap_outputs, r->noutputs + 1, sizeof *r->outputs);
    struct ln_output *o = &r->outputs[r->noutputs++];
    *o = (struct ln_output){.dest = (uint16_t)r->dest, .kind = kind};
    return o;
}

/* Adds the text on top of the stack as an output, pops it; returns the number of the output that
 * holds the bytes (its own, or the earlier one it equals; an INPUT counts as holding them). */
static uint32_t add_bytes(struct ln_run *r, lua_State *L)
{
    struct ln_span s = keep(r, L);
    struct ln_output *o = add_output(r, L, LN_O_BYTES);
    uint32_t n = r->noutputs - 1;
    if (ln_span_eq(s, r->raw)) {
        o->kind = LN_O_INPUT;
        return n;
    }
    for (uint32_t i = n, back = 0; i-- > 0 && back < 16; back++) {
        /* equal strings are one string in Lua */
        if (r->outputs[i].kind == LN_O_BYTES && r->outputs[i].data.ptr == s.ptr) {
            o->kind = LN_O_SAME;
            o->same = i;
            return i;
        }
    }
    o->data = s;
    return n;
}

static void add_reference(struct ln_run *r, lua_State *L, uint32_t to)
{
    if (r->outputs[to].kind == LN_O_INPUT) {
        add_output(r, L, LN_O_INPUT);
    } else {
        struct ln_output *o = add_output(r, L, LN_O_SAME);
        o->same = to;
    }
}

/* ---- what functions return ----------------------------------------------------------------- */

static bool is_text(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TSTRING;
}

/* Makes the value on top (message or string) a string, in the destination's character set. */
static void to_wire(struct ln_run *r, lua_State *L)
{
    const struct ln_charset_policy *out = &r->ch->dest[r->dest].charset;
    struct ln_err err;
    if (out->force && is_text(L, -1)) {
        struct ln_span s;
        s.ptr = lua_tolstring(L, -1, &s.len);
        if (ln_message_push(L, s, &r->ch->charset, &err) != LN_OK)
            luaL_error(L, "this destination's charset needs a message: %s", err.text);
        lua_remove(L, -2);
    }
    if (out->force)
        ln_message_convert(L, lua_gettop(L), out);
    if (!is_text(L, -1)) {
        ln_message_push_wire(L, lua_gettop(L), NULL);
        lua_remove(L, -2);
    }
    ln_returned_check_wire(L);
}

/* Pushes a function of the script, which is then called. */
static void push_fn(lua_State *L, int fn)
{
    struct ln_run *r = ln_state_user(L, LN_SLOT_RUN);
    r->calling = fn;
    lua_rawgeti(L, LUA_REGISTRYINDEX, fn);
}

/* Where it failed. After `return f()` the caller's line is gone when f fails, and so it is when
 * what a function returned cannot be sent: then it is the line where the function begins. */
static struct ln_span where_of(struct ln_run *r, const struct ln_fault *f)
{
    lua_Debug ar;
    if (f->where.len || r->calling == LN_NO_FN)
        return ln_buf_span(&f->where);
    ln_buf_clear(&r->place, 4096);
    lua_rawgeti(r->L, LUA_REGISTRYINDEX, r->calling);
    if (lua_isfunction(r->L, -1) && lua_getinfo(r->L, ">S", &ar) && ar.source[0] == '@' &&
        ar.linedefined > 0)
        ln_buf_addf(&r->place, "%s:%d", ar.source + 1, ar.linedefined);
    return ln_buf_span(&r->place);
}

/* Calls the filter on the message at msg. False: the reason (a string) is on top. */
static bool filter_passes(lua_State *L, int filter, int msg)
{
    push_fn(L, filter);
    lua_pushvalue(L, msg);
    lua_call(L, 1, 2);
    ln_trace_returned(L, 2);
    if (lua_toboolean(L, -2)) {
        lua_pop(L, 2);
        return true;
    }
    if (!is_text(L, -1)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
    return false;
}

/* ---- destinations -------------------------------------------------------------------------- */

/* Pushes item i of the items at idx. */
static void push_item(struct ln_run *r, lua_State *L, int items, uint32_t i)
{
    if (r->items_list)
        lua_rawgeti(L, items, (int)i + 1);
    else
        lua_pushvalue(L, items);
}

/* Protected on its own, since an error here is this destination's alone. Argument: the item. */
static int dest_step(lua_State *L)
{
    struct ln_run *r = ln_state_user(L, LN_SLOT_RUN);
    const struct ln_channel_fns *fns = &r->ch->dest[r->dest].fns;
    struct ln_err err;
    bool list;
    if (is_text(L, 1)) {
        struct ln_span s;
        s.ptr = lua_tolstring(L, 1, &s.len);
        if (ln_message_push(L, s, &r->ch->charset, &err) != LN_OK)
            return luaL_error(L, "this destination's functions need a message: %s", err.text);
    } else if (r->last_use) {
        lua_pushvalue(L, 1);
    } else {
        ln_message_push_copy(L, 1);
    }
    int msg = lua_gettop(L);
    if (fns->filter != LN_NO_FN && !filter_passes(L, fns->filter, msg)) {
        struct ln_span reason = keep(r, L);
        add_output(r, L, LN_O_FILTERED)->data = reason;
        return 0;
    }
    if (fns->transform == LN_NO_FN) {
        lua_pushvalue(L, msg);
        to_wire(r, L);
        add_bytes(r, L);
        return 0;
    }
    push_fn(L, fns->transform);
    lua_pushvalue(L, msg);
    lua_call(L, 1, 1);
    ln_returned_take(L, msg, &list);
    int value = lua_gettop(L), n = list ? (int)lua_objlen(L, value) : 1;
    for (int i = 1; i <= n; i++) {
        if (list)
            lua_rawgeti(L, value, i);
        else
            lua_pushvalue(L, value);
        to_wire(r, L);
        add_bytes(r, L);
    }
    if (n == 0) {
        static const char none[] = "transform returned no messages";
        add_output(r, L, LN_O_FILTERED)->data = ln_span(none, sizeof none - 1);
    }
    return 0;
}

/* The item is on top; pops it. */
static void run_dest(struct ln_run *r, lua_State *L)
{
    uint32_t mark = r->noutputs;
    ln_kv_mark(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->dest_fn);
    lua_insert(L, -2);
    int code = ln_state_call(L, 1, 0);
    if (code == LN_OK)
        return;
    if (code == LN_ELIMIT)
        luaL_error(L, "limit reached"); /* the message's verdict; the fault is known already */
    ln_kv_back(L);
    r->noutputs = mark;
    const struct ln_fault *f = ln_state_fault(L);
    struct ln_span where = where_of(r, f);
    lua_pushlstring(L, where.ptr ? where.ptr : "", where.len);
    lua_pushstring(L, where.len ? ": " : "");
    lua_pushlstring(L, f->reason.data, f->reason.len);
    lua_concat(L, 3);
    struct ln_span reason = keep(r, L);
    add_output(r, L, LN_O_ERROR)->data = reason;
}

static bool has_fns(const struct ln_channel_dest *d)
{
    return d->fns.filter != LN_NO_FN || d->fns.transform != LN_NO_FN || d->charset.force;
}

/* The items are on top. */
static void run_dests(struct ln_run *r, lua_State *L)
{
    int items = lua_gettop(L);
    uint32_t n = r->items_list ? (uint32_t)lua_objlen(L, items) : 1;
    r->passed = grown(L, r->passed, &r->cap_passed, n, sizeof *r->passed);
    for (uint32_t i = 0; i < n; i++)
        r->passed[i] = NOT_YET;
    for (r->dest = 0; r->dest < r->ch->ndest; r->dest++) {
        r->last_use = !r->items_list && r->dest + 1 == r->ch->ndest;
        for (uint32_t i = 0; i < n; i++) {
            if (has_fns(&r->ch->dest[r->dest])) {
                push_item(r, L, items, i);
                run_dest(r, L);
            } else if (r->passed[i] != NOT_YET) {
                add_reference(r, L, r->passed[i]);
            } else {
                push_item(r, L, items, i);
                to_wire(r, L);
                r->passed[i] = add_bytes(r, L);
            }
        }
    }
}

/* ---- the message --------------------------------------------------------------------------- */

static void add_kv(void *arg, struct ln_span key, struct ln_span value)
{
    struct ln_run *r = arg;
    r->kv[r->nkv++] = (struct ln_kv){.deleted = !value.ptr, .key = key, .value = value};
}

static int step(lua_State *L)
{
    struct ln_run *r = ln_state_user(L, LN_SLOT_RUN);
    const struct ln_channel_fns *fns = &r->ch->fns;
    struct ln_err err;
    luaL_checkstack(L, 20, NULL);
    ln_kv_begin(L);
    if (ln_message_push(L, r->raw, &r->ch->charset, &err) != LN_OK)
        return luaL_error(L, "the message does not parse: %s", err.text);
    if (fns->filter != LN_NO_FN && !filter_passes(L, fns->filter, 1)) {
        r->verdict = LN_V_FILTERED;
        r->reason = keep(r, L);
        return 0;
    }
    r->items_list = false;
    if (fns->transform != LN_NO_FN) {
        push_fn(L, fns->transform);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        ln_returned_take(L, 1, &r->items_list);
    }
    run_dests(r, L);
    return 0;
}

/* kv writes of a message that is through. */
static int commit_kv(lua_State *L)
{
    struct ln_run *r = ln_state_user(L, LN_SLOT_RUN);
    r->kv = grown(L, r->kv, &r->cap_kv, ln_kv_pending(L), sizeof *r->kv);
    ln_kv_commit(L, add_kv, r);
    return 0;
}

static int call(struct ln_run *r, int fn)
{
    lua_rawgeti(r->L, LUA_REGISTRYINDEX, fn);
    return ln_state_call(r->L, 0, 0);
}

const struct ln_result *ln_run_message(struct ln_run *r, uint64_t seq, struct ln_span raw,
                                       int64_t started_us)
{
    struct ln_result *res = &r->result;
    r->raw = raw;
    r->verdict = LN_V_DONE;
    r->reason = ln_span(NULL, 0);
    r->noutputs = r->nkv = 0;
    r->calling = LN_NO_FN;
    int code = call(r, r->step_fn);
    if (code == LN_OK && ln_kv_pending(r->L))
        code = call(r, r->commit_fn);
    *res = (struct ln_result){.seq = seq, .verdict = (uint8_t)r->verdict, .reason = r->reason};
    if (code == LN_OK) {
        res->outputs = r->outputs;
        res->noutputs = r->noutputs;
        res->kv = r->kv;
        res->nkv = r->nkv;
    } else {
        const struct ln_fault *f = ln_state_fault(r->L);
        ln_kv_undo(r->L);
        res->verdict = code == LN_ELIMIT ? LN_V_LIMIT : LN_V_ERROR;
        res->reason = ln_buf_span(&f->reason);
        res->where = where_of(r, f);
        res->trace = ln_buf_span(&f->trace);
    }
    if (res->reason.len > REASON_MAX)
        res->reason.len = REASON_MAX;
    int64_t took = ln_mono_us() - started_us;
    res->duration_us = took < 0 ? 0 : took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    return res;
}

void ln_run_forget(struct ln_run *r)
{
    forget_kept(r, r->L);
}

static int make_refs(lua_State *L)
{
    struct ln_run *r = ln_state_user(L, LN_SLOT_RUN);
    lua_newtable(L);
    r->keep = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, step);
    r->step_fn = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, dest_step);
    r->dest_fn = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, commit_kv);
    r->commit_fn = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int ln_run_new(lua_State *L, const struct ln_channel *ch, struct ln_run **out)
{
    struct ln_run *r = calloc(1, sizeof *r);
    *out = r;
    if (!r)
        return LN_ENOMEM;
    r->L = L;
    r->ch = ch;
    ln_state_set_user(L, LN_SLOT_RUN, r);
    lua_pushcfunction(L, make_refs);
    if (ln_state_call(L, 0, 0) == LN_OK)
        return LN_OK;
    ln_run_free(r);
    *out = NULL;
    return LN_ENOMEM;
}

void ln_run_free(struct ln_run *r)
{
    if (!r)
        return;
    free(r->outputs);
    free(r->kv);
    free(r->passed);
    ln_buf_fini(&r->place);
    free(r);
}
