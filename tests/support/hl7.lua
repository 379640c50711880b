-- The `hl7` table of channel scripts in the test's own Lua state; Lunate's own modules are found, too.
local open = assert(package.loadlib(assert(os.getenv "LUNATE_LIB"), "ln_message_open"))
local hl7 = open()
setmetatable(package.preload, { __index = function(_, name)
  if name == "hl7" then return function() return hl7 end end
  local tail = name:match "^lunate%.(.+)$"
  return tail and loadfile("lua/" .. tail:gsub("%.", "/") .. ".lua")
end })
return hl7
