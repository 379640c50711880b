#include "script/memory.h"

#include <lua.h>

static void *counted(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct ln_memory *m = ud;
    if (m->cap && nsize > osize && m->used + (nsize - osize) > m->cap) {
        if (nsize - osize > m->limit || m->used + (nsize - osize) > m->cap + m->limit) {
            m->refused = true;
            m->full(m);
            return NULL;
        }
        if (!m->over) {
            m->over = true;
            m->full(m);
        }
    }
    void *p = m->alloc(m->ud, ptr, osize, nsize);
    if (p || nsize == 0)
        m->used += nsize - osize;
    return p;
}

void ln_memory_take(struct ln_memory *m, lua_State *L)
{
    m->alloc = lua_getallocf(L, &m->ud);
    m->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    lua_setallocf(L, counted, m);
}

void ln_memory_give(struct ln_memory *m, lua_State *L)
{
    lua_setallocf(L, m->alloc, m->ud);
}

void ln_memory_limit(struct ln_memory *m, size_t bytes)
{
    m->limit = bytes;
    m->cap = bytes ? m->used + bytes : 0;
}
