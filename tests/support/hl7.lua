-- The `hl7` table of channel scripts in the test's own Lua state; Lunate's own modules are found, too.
local open = assert(package.loadlib(assert(os.getenv "LUNATE_LIB"), "ln_message_open"))
local hl7 = open()
setmetatable(package.preload, { __index = function(_, name)
  if name == "hl7" then return function() return hl7 end end
  local tail = name:match "^lunate%.(.+)$"
  local path = tail and "lua/" .. tail:gsub("%.", "/")
  return path and (loadfile(path .. ".lua") or loadfile(path .. "/init.lua"))
end })
return hl7
