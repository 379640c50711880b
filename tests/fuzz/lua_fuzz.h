/* For targets whose code is Lua: tests/fuzz/NAME_fuzz.lua runs in a state of Lunate's own and
 * returns a function of the input. libFuzzer sees which lines ran through extra counters, one per
 * line by a hook, and the C below (core/script, core/hl7) as in every target. An error in the
 * function is a finding. */
#ifndef LN_LUA_FUZZ_H
#define LN_LUA_FUZZ_H

#include <lauxlib.h>
#include <lua.h>

#include "fuzz.h"
#include "script/state.h"

#define FUZZ_LINES 16384 /* a power of two */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t fuzz_lines[FUZZ_LINES];

/* What a state holds is known to its own memory alone, which the leak check does not look into. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static void fuzz_line(struct lua_State *L, struct lua_Debug *ar)
{
    uint32_t h = 2166136261u;
    lua_getinfo(L, "S", ar);
    for (const char *p = ar->short_src; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    uint8_t *n = &fuzz_lines[(h + (uint32_t)ar->currentline * 7u) % FUZZ_LINES];
    if (*n < 255)
        ++*n;
}

static void fuzz_check(struct lua_State *L, int code)
{
    if (code == LN_OK)
        return;
    struct ln_err err = {0};
    ln_state_fault_text(L, code, &err);
    fprintf(stderr, "%s\n%.*s\n", err.text, (int)ln_state_fault(L)->trace.len,
            ln_state_fault(L)->trace.len ? ln_state_fault(L)->trace.data : "");
    abort();
}

/* Runs the function of a file over one input. */
static int fuzz_lua(const char *file, const uint8_t *data, size_t size)
{
    static struct lua_State *L;
    if (!L) {
        struct ln_err err = {0};
        L = ln_state_new(true, false, &err);
        CHECK(L);
        if (luaL_loadfile(L, file) != 0) {
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
            abort();
        }
        fuzz_check(L, ln_state_call(L, 0, 1));
        CHECK(lua_isfunction(L, -1));
        ln_state_set_hook(L, fuzz_line, LUA_MASKLINE);
    }
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    fuzz_check(L, ln_state_call(L, 1, 0));
    CHECK(lua_gettop(L) == 1);
    return 0;
}

#endif
