-- readable(msg): the wire form of a message for people, in UTF-8 but for what MSH-18 says of it.
-- What is no character in its set is taken as ISO 8859-1.
local text = require "lunate.repl.text"

return function(msg)
  local wire = tostring(msg)
  if not wire:find "[\128-\255\27]" then return wire end
  local copy, name = msg:copy(), msg:raw "MSH-18"
  if pcall(copy.convert, copy, "UNICODE UTF-8") then
    pcall(copy.set_raw, copy, "MSH-18", name or "")
    wire = tostring(copy)
    local added = 18 - #msg.MSH -- fields of a header that ended before MSH-18
    if added > 0 then
      local stop = wire:find("\r", 1, true) or #wire + 1
      wire = wire:sub(1, stop - 1 - added) .. wire:sub(stop)
    end
  end
  return (wire:gsub("[\128-\255]+", text.utf8))
end
