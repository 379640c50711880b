-- How a process beside the hub begins (the alerter, the archiver, audit-send): it says hello with
-- its build, is told where the site and its data are, then its settings.
local wire = require "lunate.wire"

--- The hub's end of the line, the site's folder, the data folder, the first settings; nil when the
-- hub is gone, or says something else.
return function()
  local hub = wire.parent()
  hub:send(wire.HELLO, wire.pack("b", wire.BUILD))
  local kind, start = hub:receive(30)
  if kind ~= wire.START then return nil end
  local _, site, data = wire.unpack("bb", start)
  local next_kind, settings = hub:receive(30)
  if next_kind ~= wire.SITE then return nil end
  return hub, site, data, settings
end
