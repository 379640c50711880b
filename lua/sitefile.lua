-- Checks what lunate.lua returned. Its settings stand in core/ipc/proto.h.
local schema = require "lunate.schema"
local channel = require "lunate.channel"

local function default(_, text) return text end

local keys = {
  data = { check = schema.text, default = "data" },
  admin = { check = schema.later },
  log = { keys = {
    level = { check = schema.choice("debug", "info", "warn", "error"), default = "info" },
  } },
  limits = { keys = channel.limit_keys(default) },
  retention = { keys = channel.retention_keys(default) },
}

--- (value, path, text) -> settings { key, value ... }, errors { "file:line: what" ... }. value nil:
--- the file returned nothing, or there is none: all defaults.
return function(value, path, text)
  local ctx = schema.context(path, text)
  if value ~= nil and type(value) ~= "table" then
    ctx.fail({}, "the file must return a table, not a %s", type(value))
  else
    schema.check(ctx, keys, value or {}, {}, "lunate.lua", "")
  end
  return ctx.settings, ctx.errors
end
