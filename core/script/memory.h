/* Counted memory of a Lua state. LuaJIT's own allocator, or script/heap.h, stays
 * behind it. */
#ifndef LN_SCRIPT_MEMORY_H
#define LN_SCRIPT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

struct ln_memory {
    void *(*alloc)(void *ud, void *ptr, size_t osize, size_t nsize);
    void *ud;
    size_t used;
    size_t limit; /* as configured, for the error */
    size_t cap; /* used may pass it for a moment; 0 = none */
    bool over; /* passed, and `full` was told */
    bool refused; /* a request beyond twice the limit was refused */
    void (*full)(struct ln_memory *); /* called from within the allocator: may only arm a hook */
};

/* Puts itself before the allocator of L, or takes itself out again (before lua_close, which frees
 * LuaJIT's arena only when it finds its own allocator). */
void ln_memory_take(struct ln_memory *m, struct lua_State *L);
void ln_memory_give(struct ln_memory *m, struct lua_State *L);
void ln_memory_limit(struct ln_memory *m, size_t bytes);

#endif
