-- Checks `audit = { ... }` of lunate.lua and gives it as settings (core/ipc/proto.h):
-- audit.syslog.*.
local schema = require "lunate.schema"
local tls = require "lunate.tls"

local function host(v)
  local text, err = schema.host(v)
  if text and (text == "*" or text == "0.0.0.0" or text == "::") then
    return nil, "is every address, not one to connect to"
  end
  return text, err
end

local keys = {
  host = { check = host, required = true },
  port = { check = schema.number(1, 65535, true), default = "6514" },
  tls = {},
}

-- Who looked at which patient's messages is nobody else's business, and must not be lost to
-- somebody who only says that they are the repository.
local function check_tls(ctx, t, name)
  local where = { "audit", "syslog", "tls" }
  if t == nil then t = true end
  if t == false and not schema.loopback(name) then
    return ctx.fail(where, "the audit log crosses no network in clear: tls = false is for "
      .. "127.0.0.1 alone (a relay on this machine can forward it)")
  elseif type(t) == "table" and t.verify == false then
    return ctx.fail(schema.extend(where, "verify"), "the audit log goes to nobody who was not "
      .. "checked: take verify out, and name the repository's CA with ca")
  end
  tls.send(ctx, t, where, "audit.syslog.")
end

return function(ctx, audit)
  if audit == nil then return end
  if type(audit) ~= "table" then
    return ctx.fail({ "audit" }, 'audit must be a table, as in audit = { syslog = { host = '
      .. '"arr.example.org" } }')
  end
  schema.check(ctx, { syslog = {} }, audit, { "audit" }, "audit", "audit.")
  local s = audit.syslog
  if s == nil or s == false then return end
  if type(s) ~= "table" then
    return ctx.fail({ "audit", "syslog" }, 'syslog must be a table, as in { host = '
      .. '"arr.example.org", tls = { ca = "tls/arr-ca.pem" } }')
  end
  schema.check(ctx, keys, s, { "audit", "syslog" }, "syslog", "audit.syslog.")
  check_tls(ctx, s.tls, s.host)
end
