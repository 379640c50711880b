-- tls = { ... } of mllp.listen and mllp.send: keys, defaults, what goes together. The files that
-- are named are read by the loader (lua/tls_files.lua).
local schema = require "lunate.schema"
local choice, text = schema.choice, schema.text

local M = {}

local function subject(v)
  if type(v) ~= "string" or v == "" or #v > 200 then
    return nil, 'must be a subject, as in "CN=lab" or "lab.example.org"'
  end
  return v
end

local listen_keys = {
  cert = { check = text, required = true },
  key = { check = text },
  ca = { check = text },
  crl = { check = text },
  client = { check = choice("require", "request", "none") },
  allow_subject = { check = schema.list(subject) },
  min_version = { check = choice("1.2", "1.3"), default = "1.2" },
}

local send_keys = {
  ca = { check = text },
  cert = { check = text },
  key = { check = text },
  crl = { check = text },
  server_name = { check = schema.host },
  verify = { check = schema.flag, default = "true" },
  min_version = { check = choice("1.2", "1.3"), default = "1.2" },
}

-- A certificate's file may hold its key as well.
local function default_key(ctx, t, prefix)
  if type(t.cert) == "string" and t.key == nil then ctx.set(prefix .. "tls.key", t.cert) end
end

--- Settings of a listener. A ca without more asks every client for a certificate of that CA. name:
-- what the table is called, when not tls.
function M.listen(ctx, t, where, prefix, name)
  name = name or "tls"
  if t == nil or t == false then return ctx.set(prefix .. "tls", "false") end
  if type(t) ~= "table" then
    return ctx.fail(where, "%s must be a table with cert and key, not %s", name, tostring(t))
  end
  local function at(key) return schema.extend(where, key) end
  ctx.set(prefix .. "tls", "true")
  schema.check(ctx, listen_keys, t, where, name, prefix .. "tls.")
  default_key(ctx, t, prefix)
  if t.client == nil then ctx.set(prefix .. "tls.client", t.ca and "require" or "none") end
  local client = t.client or (t.ca and "require" or "none")
  if client ~= "none" and t.ca == nil then
    ctx.fail(at "client", 'client = "%s" needs ca: the CA whose certificates may connect', client)
  elseif client == "none" and (t.crl or t.ca) then
    ctx.fail(at(t.ca and "ca" or "crl"), 'ca and crl are about certificates of clients, and client '
      .. 'is "none"')
  end
  if t.allow_subject ~= nil and client ~= "require" then
    ctx.fail(at "allow_subject", 'allow_subject needs client = "require": without a certificate '
      .. "anybody could connect")
  end
end

--- Settings of a destination; true: checked against the system's CAs.
function M.send(ctx, t, where, prefix)
  if t == nil or t == false then return ctx.set(prefix .. "tls", "false") end
  if t == true then t = {} end
  if type(t) ~= "table" then return ctx.fail(where, "tls must be true or a table") end
  ctx.set(prefix .. "tls", "true")
  schema.check(ctx, send_keys, t, where, "tls", prefix .. "tls.")
  default_key(ctx, t, prefix)
  if t.key ~= nil and t.cert == nil then
    ctx.fail(schema.extend(where, "key"), "key needs cert: the certificate that it belongs to")
  end
  if t.verify == false and (t.ca or t.crl) then
    ctx.fail(schema.extend(where, "verify"), "verify = false checks nothing: take ca and crl out, "
      .. "or verify")
  end
end

return M
