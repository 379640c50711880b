/* Dates: lua/hl7/time*.lua and zone.lua.
 * What must hold stands in date_fuzz.lua. */
#include "lua_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_lua("tests/fuzz/date_fuzz.lua", data, size);
}
