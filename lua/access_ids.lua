-- The ids of the accounts that `access` of lunate.lua names: the hub compares numbers, and never
-- asks a directory service. Runs in the loader's trusted state.
local concat, format = table.concat, string.format

local function id_of(core, kind, name)
  if name:find "^%d+$" then return name end
  return core.account(kind:match "[^-]*$", name)
end

--- Puts ids into the grants of settings (pairs). An account that is not there gets nothing, and
-- that is a warning: somebody who has left must not keep the engine from starting.
return function(core, settings)
  for i = 1, #settings, 2 do
    if settings[i] == "access.grants" then
      local out = {}
      for kind, name, rest in settings[i + 1]:gmatch "(%S+) (%S+) ([^\n]+)" do
        local id = id_of(core, kind, name)
        if id then
          out[#out + 1] = format("%s %s %s %s", kind, id, name, rest)
        else
          core.emit_warning("", format("lunate.lua: access: there is no %s '%s' on this machine: "
            .. "it gets nothing", kind:match "[^-]*$", name), "true")
        end
      end
      settings[i + 1] = concat(out, "\n")
    end
  end
end
