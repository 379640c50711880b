-- Checks what lunate.lua returned. Its settings stand in core/ipc/proto.h.
local schema = require "lunate.schema"
local channel = require "lunate.channel"
local check_alerts = require "lunate.alerts.config"
local access = require "lunate.access"
local check_audit = require "lunate.audit.config"
local tls = require "lunate.tls"

local function default(_, text) return text end

local keys = {
  data = { check = schema.text, default = "data" },
  admin = {},
  admin_tls = {},
  alerts = {},
  access = {},
  audit = {},
  encryption = { keys = {
    key_file = { check = schema.text },
    key_command = { check = schema.text },
  } },
  reload_tests = { check = schema.flag, default = "false" },
  watch = { check = schema.flag, default = "false" },
  log = { keys = {
    level = { check = schema.choice("debug", "info", "warn", "error"), default = "info" },
  } },
  limits = { keys = channel.limit_keys(default) },
  retention = { keys = channel.retention_keys(default) },
  archive = { check = channel.archive, default = "" },
}

-- "HOST:PORT" or "[v6]:PORT".
local function split_address(v)
  if type(v) ~= "string" then return nil end
  local host, port = v:match "^%[([%x:.%%%w]+)%]:(%d+)$"
  if not host then host, port = v:match "^([^:%s]+):(%d+)$" end
  port = tonumber(port)
  if not host or not schema.host(host) or port < 1 or port > 65535 then return nil end
  return host, ("%d"):format(port)
end

-- admin = "127.0.0.1:8661", or { listen = "192.0.2.1:8661", allow = { "192.0.2.0/24" } }. Beyond
-- this machine only for addresses that are named.
local function check_admin(ctx, admin)
  local where = { "admin" }
  if admin == nil or admin == false then return end
  if type(admin) == "table" then
    where = { "admin", "listen" }
    schema.check(ctx, { listen = {}, allow = { check = channel.listen_keys.allow.check } }, admin,
      { "admin" }, "admin", "admin.")
  else
    admin = { listen = admin }
  end
  local host, port = split_address(admin.listen)
  if not host then
    return ctx.fail(where, 'admin must be "HOST:PORT", as in "127.0.0.1:8661"')
  end
  if not schema.loopback(host) and admin.allow == nil then
    return ctx.fail(where, 'admin on %s can be reached from other machines: say which may, as in '
      .. 'admin = { listen = "%s", allow = { "192.0.2.0/24" } }', host, admin.listen)
  end
  ctx.set("admin.host", host)
  ctx.set("admin.port", port)
end

-- admin_tls = { cert = ..., key = ... }, as tls of mllp.listen.
local function check_admin_tls(ctx, value)
  if value.admin_tls == nil or value.admin_tls == false then return end
  if value.admin == nil or value.admin == false then
    return ctx.fail({ "admin_tls" }, 'admin_tls encrypts the admin address, and there is none: '
      .. 'give it, as in admin = "127.0.0.1:8661"')
  end
  tls.listen(ctx, value.admin_tls, { "admin_tls" }, "admin.", "admin_tls")
end

-- encryption = { key_file = "..." } or { key_command = "..." }.
local function check_encryption(ctx, encryption)
  if encryption == nil then return end
  if type(encryption) ~= "table" then return end -- said already
  if (encryption.key_file == nil) == (encryption.key_command == nil) then
    ctx.fail({ "encryption" }, 'encryption needs key_file = "..." or key_command = "..." '
      .. "(one of them; `lunate key new FILE` makes a key)")
  end
end

--- (value, path, text) -> settings { key, value ... }, errors { "file:line: what" ... }. value nil:
--- the file returned nothing, or there is none: all defaults.
return function(value, path, text)
  local ctx = schema.context(path, text)
  if value ~= nil and type(value) ~= "table" then
    ctx.fail({}, "the file must return a table, not a %s", type(value))
  else
    schema.check(ctx, keys, value or {}, {}, "lunate.lua", "")
    check_admin(ctx, (value or {}).admin)
    check_admin_tls(ctx, value or {})
    check_alerts(ctx, (value or {}).alerts, text)
    access(ctx, (value or {}).access)
    check_audit(ctx, (value or {}).audit)
    check_encryption(ctx, (value or {}).encryption)
  end
  return ctx.settings, ctx.errors
end
