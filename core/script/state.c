#include "script/state.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/heap.h"
#include "script/memory.h"
#include "script/module.h"

/* What belongs to a state; found from any coroutine as the allocator's context. */
struct vm {
    struct ln_memory mem; /* first: script/memory.c sees only this */
    lua_State *L;
    struct ln_heap *heap; /* NULL = LuaJIT's own */
    int handler; /* registry reference of the message handler */
    struct ln_fault fault;
    bool jit;
    bool limit_known; /* fault tells of a limit: the first place counts, not where pcall let go */
    double seconds;
    volatile bool time_over;
    volatile bool interrupted;
    void (*on_fault)(lua_State *L);
    lua_Hook hook; /* the owner's; NULL = none */
    int hook_mask;
    void *user[LN_SLOTS];
};

static struct vm *vm_of(lua_State *L)
{
    void *ud;
    lua_getallocf(L, &ud);
    return ud;
}

static void fault_clear(struct ln_fault *f)
{
    ln_buf_clear(&f->reason, 4096);
    ln_buf_clear(&f->where, 4096);
    ln_buf_clear(&f->trace, 4096);
}

void ln_state_where(lua_State *L, int level, struct ln_buf *out)
{
    lua_Debug ar;
    for (; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.source[0] != '@')
            continue;
        /* Lunate's own Lua is not what a script's author wants to be shown. */
        if (strncmp(ar.source, "@lunate/", 8) == 0)
            continue;
        ln_buf_addf(out, "%s:%d", ar.source + 1, ar.currentline);
        return;
    }
}

/* The traceback without its heading, and without the lines of C functions at its end. */
static void add_trace(lua_State *L, struct ln_buf *out)
{
    luaL_traceback(L, L, NULL, 1);
    const char *s = lua_tostring(L, -1);
    const char *line = strchr(s, '\n');
    while (line && *line) {
        line += strspn(line, "\n\t");
        size_t n = strcspn(line, "\n");
        if (n && strncmp(line, "[C]:", 4) != 0 && strncmp(line, "lunate/", 7) != 0) {
            if (out->len)
                ln_buf_addc(out, '\n');
            ln_buf_add(out, line, n);
        }
        line += n;
    }
    lua_pop(L, 1);
}

/* "file.lua:line: " at the front of an error's text: its length, or 0. */
static size_t position_len(const char *s, size_t len)
{
    const char *colon = memchr(s, ':', len);
    while (colon) {
        const char *p = colon + 1;
        while (p < s + len && *p >= '0' && *p <= '9')
            p++;
        if (p > colon + 1 && p + 1 < s + len && p[0] == ':' && p[1] == ' ')
            return colon - s > 4 && memcmp(colon - 4, ".lua", 4) == 0 ? (size_t)(p - s) + 2 : 0;
        if (colon - s > 200)
            break;
        colon = memchr(colon + 1, ':', len - (size_t)(colon + 1 - s));
    }
    return 0;
}

static void set_reason(lua_State *L, struct ln_fault *f, int idx)
{
    size_t len, skip = 0;
    const char *s = lua_tolstring(L, idx, &len);
    if (!s) {
        if (luaL_callmeta(L, idx, "__tostring") && (s = lua_tolstring(L, -1, &len))) {
            ln_buf_add(&f->reason, s, len);
            return;
        }
        ln_buf_addf(&f->reason, "(error object is a %s)", luaL_typename(L, idx));
        return;
    }
    skip = position_len(s, len);
    if (skip > 2 && memcmp(s, "lunate/", 7) != 0) {
        ln_buf_clear(&f->where, 4096);
        ln_buf_add(&f->where, s, skip - 2);
    }
    ln_buf_add(&f->reason, s + skip, len - skip);
}

static void set_time_reason(struct vm *vm)
{
    if (vm->interrupted)
        ln_buf_adds(&vm->fault.reason, "interrupted");
    else
        ln_buf_addf(&vm->fault.reason, "ran longer than limits.seconds = %g", vm->seconds);
}

static void set_memory_reason(struct vm *vm)
{
    ln_buf_addf(&vm->fault.reason, "used more than limits.memory_mb = %zu", vm->mem.limit >> 20);
}

/* An error that is a list of problems (msg:validate) says them in place of a traceback, in the form
 * of ln_ack_errors_read: the hub answers with them. */
static void add_problems(lua_State *L, struct ln_fault *f)
{
    if (!lua_istable(L, 1) || !luaL_getmetafield(L, 1, "__errors"))
        return;
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);
    if (s && len) {
        ln_buf_clear(&f->trace, 4096);
        ln_buf_add(&f->trace, s, len);
    }
    lua_settop(L, 1);
}

static int on_error(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (vm->limit_known)
        return 1;
    fault_clear(&vm->fault);
    ln_state_where(L, 1, &vm->fault.where);
    add_trace(L, &vm->fault.trace);
    set_reason(L, &vm->fault, 1);
    if (vm->on_fault)
        vm->on_fault(L);
    lua_settop(L, 1);
    add_problems(L, &vm->fault);
    return 1;
}

/* Runs at the next VM instruction once a limit asked for it, and at every one after, so that a
 * script's pcall cannot keep the error back. Memory is first given a full collection: LuaJIT has
 * none of its own when memory runs out, so much of what is used may be garbage. */
static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);
    (void)ar;
    if (!vm->time_over && !vm->mem.refused) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        if (vm->mem.used <= vm->mem.cap - vm->mem.cap / 8) {
            vm->mem.over = false;
            lua_sethook(L, vm->hook, vm->hook_mask, 0);
            if (vm->time_over) /* the signal came in between */
                ln_state_stop(L);
            return;
        }
    }
    if (!vm->limit_known) {
        fault_clear(&vm->fault);
        ln_state_where(L, 0, &vm->fault.where);
        if (vm->time_over)
            set_time_reason(vm);
        else
            set_memory_reason(vm);
        vm->limit_known = true;
        add_trace(L, &vm->fault.trace);
        if (vm->on_fault)
            vm->on_fault(L);
    }
    lua_pushliteral(L, "limit reached");
    lua_error(L);
}

/* Called from within the allocator. A request that is refused raises LuaJIT's own memory error,
 * which knows no place, so the place is taken down here (lua_getinfo for "Sl" only reads). Inside a
 * coroutine that is where it was resumed. Compiled code keeps no such record. */
static void on_memory(struct ln_memory *mem)
{
    struct vm *vm = (struct vm *)mem;
    if (!vm->L)
        return;
    if (mem->refused && !vm->limit_known && !vm->jit) {
        fault_clear(&vm->fault);
        ln_state_where(vm->L, 0, &vm->fault.where);
        set_memory_reason(vm);
        vm->limit_known = true;
    }
    lua_sethook(vm->L, on_hook, LUA_MASKCOUNT, 1);
}

void ln_state_stop(lua_State *L)
{
    vm_of(L)->time_over = true;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

void ln_state_interrupt(lua_State *L)
{
    vm_of(L)->interrupted = true;
    ln_state_stop(L);
}

void ln_state_on_fault(lua_State *L, void (*fn)(lua_State *L))
{
    vm_of(L)->on_fault = fn;
}

void ln_state_set_seconds(lua_State *L, double seconds)
{
    vm_of(L)->seconds = seconds;
}

bool ln_state_stopped(lua_State *L)
{
    struct vm *vm = vm_of(L);
    return vm->time_over || vm->limit_known || vm->mem.refused;
}

void ln_state_limit_memory(lua_State *L, size_t bytes)
{
    ln_memory_limit(&vm_of(L)->mem, bytes);
}

void ln_state_resume(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_sethook(L, vm->hook, vm->hook_mask, 0);
    vm->time_over = vm->interrupted = vm->limit_known = false;
    vm->mem.refused = vm->mem.over = false;
}

void ln_state_set_hook(lua_State *L, lua_Hook hook, int mask)
{
    struct vm *vm = vm_of(L);
    vm->hook = hook;
    vm->hook_mask = mask;
    lua_sethook(L, hook, mask, 0);
}

size_t ln_state_memory(lua_State *L)
{
    return vm_of(L)->mem.used;
}

void ln_state_set_user(lua_State *L, int slot, void *user)
{
    vm_of(L)->user[slot] = user;
}

void *ln_state_user(lua_State *L, int slot)
{
    return vm_of(L)->user[slot];
}

const struct ln_fault *ln_state_fault(lua_State *L)
{
    return &vm_of(L)->fault;
}

int ln_state_call(lua_State *L, int nargs, int nresults)
{
    struct vm *vm = vm_of(L);
    int base = lua_gettop(L) - nargs;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->handler);
    lua_insert(L, base);
    int code = lua_pcall(L, nargs, nresults, base);
    lua_remove(L, base);
    if (code == 0 && !ln_state_stopped(L))
        return LN_OK;
    lua_settop(L, base - 1);
    if (code == 0 && !vm->limit_known) { /* the time was over just when it was done */
        fault_clear(&vm->fault);
        set_time_reason(vm);
        vm->limit_known = true;
    }
    if (vm->limit_known)
        return LN_ELIMIT;
    if (code == LUA_ERRMEM) {
        fault_clear(&vm->fault);
        set_memory_reason(vm);
        vm->limit_known = true;
        return LN_ELIMIT;
    }
    if (code == LUA_ERRERR && vm->fault.reason.len == 0)
        ln_buf_adds(&vm->fault.reason, "error in error handling");
    return LN_ESCRIPT;
}

void ln_state_fault_text(lua_State *L, int code, struct ln_err *err)
{
    const struct ln_fault *f = ln_state_fault(L);
    ln_err_set(err, code, "%.*s%s%.*s", (int)f->where.len, f->where.data ? f->where.data : "",
               f->where.len ? ": " : "", (int)f->reason.len, f->reason.data ? f->reason.data : "");
}

/* luaL_loadbufferx runs in a protected call of its own, so it can't raise; memory is a status. */
int ln_state_load(lua_State *L, struct ln_span text, const char *chunk, struct ln_err *err)
{
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        text = ln_span(text.ptr + 3, text.len - 3);
    if (luaL_loadbufferx(L, text.ptr, text.len, chunk, "t") == 0)
        return LN_OK;
    const char *s = lua_tostring(L, -1);
    if (text.len && text.ptr[0] == '\x1b')
        ln_err_set(err, LN_ESCRIPT, "%s:1: this is bytecode, not Lua text", chunk + 1);
    else
        ln_err_set(err, LN_ESCRIPT, "%s", s ? s : "out of memory");
    lua_pop(L, 1);
    return LN_ESCRIPT;
}

/* ---- making and ending --------------------------------------------------------------------- */

static void open_lib(lua_State *L, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

static void open_trusted(lua_State *L)
{
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) { /* behind preload, before the disk */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, ln_module_searcher);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

static void open_bare(lua_State *L, bool jit)
{
    open_lib(L, luaopen_base, "");
    open_lib(L, luaopen_table, LUA_TABLIBNAME);
    open_lib(L, luaopen_string, LUA_STRLIBNAME);
    open_lib(L, luaopen_math, LUA_MATHLIBNAME);
    open_lib(L, luaopen_bit, LUA_BITLIBNAME);
    open_lib(L, luaopen_os, LUA_OSLIBNAME);
    open_lib(L, luaopen_io, LUA_IOLIBNAME);
    if (jit) /* it also starts the compiler */
        open_lib(L, luaopen_jit, LUA_JITLIBNAME);
    lua_pushcfunction(L, ln_module_require);
    lua_setglobal(L, "require");
}

static int open_state(lua_State *L)
{
    bool trusted = lua_toboolean(L, 1), jit = lua_toboolean(L, 2);
    if (trusted)
        open_trusted(L);
    else
        open_bare(L, jit);
    if (!jit)
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    return 0;
}

static lua_State *new_state(struct vm *vm, bool brief)
{
    vm->heap = brief ? ln_heap_new() : NULL;
    lua_State *L = vm->heap ? lua_newstate(ln_heap_alloc, vm->heap) : NULL;
    if (!L) {
        ln_heap_free(vm->heap);
        vm->heap = NULL;
        L = luaL_newstate();
    }
    return L;
}

static lua_State *make(bool trusted, bool jit, bool brief, struct ln_err *err)
{
    struct vm *vm = calloc(1, sizeof *vm);
    lua_State *L = vm ? new_state(vm, brief) : NULL;
    if (!L) {
        free(vm);
        ln_err_set(err, LN_ENOMEM, "no memory for a Lua state");
        return NULL;
    }
    vm->L = L;
    vm->jit = jit;
    vm->mem.full = on_memory;
    ln_memory_take(&vm->mem, L);
    lua_pushcfunction(L, on_error);
    vm->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, open_state);
    lua_pushboolean(L, trusted);
    lua_pushboolean(L, jit);
    int code = ln_state_call(L, 2, 0);
    if (code != LN_OK) {
        ln_state_fault_text(L, code, err);
        ln_state_free(L);
        return NULL;
    }
    return L;
}

lua_State *ln_state_new(bool trusted, bool jit, struct ln_err *err)
{
    return make(trusted, jit, false, err);
}

lua_State *ln_state_new_brief(bool trusted, bool jit, struct ln_err *err)
{
    return make(trusted, jit, true, err);
}

void ln_state_free(lua_State *L)
{
    if (!L)
        return;
    struct vm *vm = vm_of(L);
    lua_sethook(L, NULL, 0, 0);
    vm->L = NULL;
    vm->mem.cap = 0;
    ln_memory_give(&vm->mem, L);
    lua_close(L);
    ln_heap_free(vm->heap);
    ln_buf_fini(&vm->fault.reason);
    ln_buf_fini(&vm->fault.where);
    ln_buf_fini(&vm->fault.trace);
    free(vm);
}
