/* Batches: lua/hl7/batch.lua, splitting and building.
 * What must hold stands in batch_fuzz.lua. */
#include "lua_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_lua("tests/fuzz/batch_fuzz.lua", data, size);
}
