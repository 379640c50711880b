-- Globals of `lunate lua`: those of a channel script, over the whole standard library. print stays
-- the standard one. require finds the site's lib/, lookup its tables/.
local globals = require "lunate.globals"

--- tool(core, site): sets them in _G.
return function(core, site)
  function core.file(path)
    local f = io.open(site .. "/" .. path, "rb")
    if not f then return nil end
    local text = f:read "*a"
    f:close()
    return text
  end
  local print = _G.print
  for name, value in pairs(globals(core)) do _G[name] = value end
  require("lunate.hl7.core").source = function(path)
    local f = io.open(path, "rb")
    local text = f and f:read "*a"
    if f then f:close() end
    return text or core.file(path)
  end
  _G.print = print
  package.path = ("%s/lib/?.lua;%s/lib/?/init.lua;%s"):format(site, site, package.path)
end
