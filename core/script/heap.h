/* An allocator for Lua states that live a moment: its first two megabytes are one huge page, where
 * the kernel has one to give. LuaJIT's own takes memory in pieces of 128 KB, whose pages are then
 * touched one by one: two hundred faults for a state with the command line in it, each of which
 * costs more than compiling the page's worth of Lua on a virtual machine. The REPL's prompt stands
 * 4 ms earlier with it without a site, 8 to 10 ms with one (docs/performance.md). What does not fit
 * in goes to malloc. Not for workers: a small state would hold all of it. */
#ifndef LN_SCRIPT_HEAP_H
#define LN_SCRIPT_HEAP_H

#include <stddef.h>

struct ln_heap;

struct ln_heap *ln_heap_new(void); /* NULL: no memory */
void ln_heap_free(struct ln_heap *h);
/* A lua_Alloc; ud: the heap. */
void *ln_heap_alloc(void *ud, void *ptr, size_t osize, size_t nsize);

#endif
