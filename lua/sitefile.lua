-- Checks what lunate.lua returned. Its settings stand in core/ipc/proto.h.
local schema = require "lunate.schema"
local channel = require "lunate.channel"

local function address(v)
  if type(v) == "string" then
    local host, port = v:match "^(.+):(%d+)$"
    port = tonumber(port)
    if host and schema.host(host) and port >= 1 and port <= 65535 then return v end
  end
  return nil, 'must be "address:port", for example "127.0.0.1:8661"'
end

local function default(_, text) return text end

local keys = {
  data = { check = schema.text, default = "data" },
  admin = { check = address, default = "" },
  log = { check = schema.choice("debug", "info", "warn", "error"), default = "info" },
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
