-- The `hl7` table of channel scripts in the test's own Lua state.
local open = assert(package.loadlib(assert(os.getenv "LUNATE_LIB"), "ln_message_open"))
return open()
