/* The message object as a script may misuse it: core/script/message*.c, lua/hl7/groups.lua.
 * What must hold stands in object_fuzz.lua. */
#include "lua_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_lua("tests/fuzz/object_fuzz.lua", data, size);
}
