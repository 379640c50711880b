-- Checks `alerts = { ... }` of lunate.lua and gives it as settings (core/ipc/proto.h): alerts.*,
-- alerts.target.NAME.*, alerts.rule.NAME.*. Defaults are filled in here.
local schema = require "lunate.schema"
local nearest = require "lunate.nearest"
local units = require "lunate.alerts.units"
local kinds = require "lunate.alerts.kinds"
local span = units.check
local extend, sorted, format = schema.extend, schema.sorted, string.format

local function address(v)
  if type(v) ~= "string" or not v:find "^[^%s<>,;@]+@[^%s<>,;@]+$" then
    return nil, 'must be a mail address, as in "oncall@hospital.example"'
  end
  return v
end

local function header(v)
  if type(v) ~= "string" or not v:find "^[%w-]+:%s?[^%c]+$" then
    return nil, 'must be a header, as in "X-Key: " .. env "KEY"'
  end
  return v
end

-- Text that may be of several lines is not: a setting's lines are a list.
local function word(v)
  if type(v) ~= "string" or v:find "[%z\n]" then return nil, "must be text on one line" end
  return v
end

local function is_here(host)
  return schema.loopback(host) or host == "[::1]"
end

local function smtp(v)
  local text = tostring(v)
  if not text:find "^smtps?://[^/@:%s]+:?%d*$" and not text:find "^smtps?://%[[%x:]+%]:?%d*$" then
    return nil, 'must be a mail server, as in "smtp://mail.hospital.example:587" (STARTTLS) or '
      .. '"smtps://mail.hospital.example"'
  end
  return v
end

local function url(v)
  local scheme, host = tostring(v):match "^(https?)://([^/@:%s]+)[^%s]*$"
  if not scheme then scheme, host = tostring(v):match "^(https?)://(%[[%x:]+%])[^%s]*$" end
  if not host or tostring(v):find "%c" then
    return nil, "must be an address that begins with https://, without user and password in it"
  end
  if scheme == "http" and not is_here(host) then
    return nil, "must begin with https:// (http:// is for this machine alone)"
  end
  return v
end

local common = { timeout = { check = span, default = "30" } }
local targets = {
  mail = { smtp = { check = smtp, required = true }, from = { check = address, required = true },
    to = { check = schema.list(address), required = true }, user = { check = word },
    password = { check = word }, password_file = { check = schema.text },
    tls = { check = schema.choice("require", "none"), default = "require" },
    ca = { check = schema.text }, timeout = common.timeout },
  webhook = { url = { check = url, required = true }, token = { check = word },
    secret_headers = { check = schema.list(header) }, ca = { check = schema.text },
    timeout = common.timeout },
  command = { command = { check = schema.list(word), required = true },
    timeout = common.timeout },
}

-- "headers" for people; its settings have a name that is never shown (hub/plan.c).
local function renamed(t)
  local out = {}
  for k, v in pairs(t) do out[k == "headers" and "secret_headers" or k] = v end
  return out
end

local function check_mail(ctx, name, t, where)
  local host = type(t.smtp) == "string" and t.smtp:match "^smtps?://(%b[])"
    or type(t.smtp) == "string" and t.smtp:match "^smtps?://([^:/]+)" or ""
  if t.user and not t.password and not t.password_file then
    ctx.fail(extend(where, "user"), "target %s has a user but no password: password = env "
      .. '"NAME" (is it set?), or password_file = "PATH"', name)
  elseif (t.password or t.password_file) and not t.user then
    ctx.fail(where, "target %s has a password but no user", name)
  elseif t.user and t.tls == "none" and not is_here(host) then
    ctx.fail(extend(where, "tls"), "target %s: the password would cross the network in clear", name)
  end
end

local function check_target(ctx, name, t, text)
  local where = { "alerts", "targets", name }
  if not name:find "^[%w_-]+$" or #name > 64 then
    return ctx.fail(where, "a target's name has up to 64 letters, digits, _ and -")
  end
  if type(t) ~= "table" then return ctx.fail(where, "target %s must be a table", name) end
  local kind = t.smtp ~= nil and "mail" or t.url ~= nil and "webhook"
    or t.command ~= nil and "command"
  if not kind then
    return ctx.fail(where, "target %s needs smtp (mail), url (webhook) or command", name)
  end
  local prefix = format("alerts.target.%s.", name)
  ctx.set(prefix .. "kind", kind)
  schema.check(ctx, targets[kind], renamed(t), where, "target " .. name, prefix)
  if kind == "mail" then check_mail(ctx, name, t, where) end
  for _, key in ipairs { "password", "token" } do
    if text:find("%f[%w_]" .. key .. "%s*=%s*[\"'%[]") then
      ctx.fail(extend(where, key), '%s must not stand in the file: %s = secret "NAME"%s', key, key,
        key == "password" and ', or password_file = "PATH"' or "")
    end
  end
end

-- Names of channels and destinations, with * for any text.
local function pattern(v)
  if type(v) ~= "string" or not v:find "^[%w_*-]+/?[%w_.*-]*$" then
    return nil, 'must be CHANNEL or CHANNEL/DEST, with * for any text'
  end
  return v
end

local function check_rule(ctx, name, v, names)
  local where = { "alerts", "rules", name }
  if v == false then return false end
  local t = type(v) == "table" and v or {}
  local kind = t.kind or name
  if not name:find "^[%w_-]+$" or #name > 64 then
    return ctx.fail(where, "a rule's name has up to 64 letters, digits, _ and -")
  elseif not kinds[kind] then
    local near = nearest(tostring(kind), kinds)
    return ctx.fail(where, "'%s' is no kind of rule%s; a rule of another name says what it is, as "
      .. 'in %s = { kind = "queue_age", over = "5m" }', tostring(kind),
      near and format(" (did you mean '%s'?)", near) or "", name)
  end
  local k = kinds[kind]
  if type(v) ~= "table" and v ~= true then
    if not k.limit then return ctx.fail(where, "%s takes true, false or a table", name) end
    t = { [k.limit] = v }
  end
  local spec = { kind = { check = word }, only = { check = schema.list(pattern) },
    except = { check = schema.list(pattern) },
    to = { check = schema.list(schema.choice(unpack(names))) },
    after = { check = span, default = ("%d"):format(k.after) } }
  if k.limit then spec[k.limit] = { check = k.check, default = k.default } end
  for key, rule in pairs(k.more or {}) do spec[key] = rule end
  local prefix = format("alerts.rule.%s.", name)
  if not t.kind then ctx.set(prefix .. "kind", kind) end
  schema.check(ctx, spec, t, where, "rule " .. name, prefix)
  return true
end

local function check_again(ctx, v)
  local spec = { first = { check = span, default = "1800" },
    factor = { check = schema.number(1, 10), default = "2" },
    max = { check = span, default = "28800" } }
  if v ~= nil and type(v) ~= "table" then
    return ctx.fail({ "alerts", "again" },
      'again must be a table, as in { first = "30m", max = "8h" }')
  end
  schema.check(ctx, spec, v or {}, { "alerts", "again" }, "again", "alerts.again.")
end

local top = {
  targets = {}, rules = {}, again = {},
  site = { check = word }, -- how the site is called in alerts
  every = { check = span, default = "10" },
  wait = { check = span, default = "15" },
  clear = { check = span, default = "60" },
  per_hour = { check = schema.number(1, 1000, true), default = "20" },
}

-- Without rules all kinds apply with their defaults; with rules those that are named change that.
local function check_rules(ctx, rules, names)
  local list = {}
  for _, name in ipairs(sorted(rules)) do
    if type(name) ~= "string" then
      ctx.fail({ "alerts", "rules" }, 'rules takes names, as in rules = { queue_age = "10m" }')
    elseif check_rule(ctx, name, rules[name], names) then
      list[#list + 1] = name
    end
  end
  for _, kind in ipairs(sorted(kinds)) do
    if rules[kind] == nil then
      check_rule(ctx, kind, true, names)
      list[#list + 1] = kind
    end
  end
  ctx.set("alerts.rules", table.concat(list, "\n"))
end

--- check(ctx, alerts, text): text is the file's.
return function(ctx, alerts, text)
  if alerts == nil or alerts == false then return end
  if type(alerts) ~= "table" then
    return ctx.fail({ "alerts" }, "alerts must be a table, not a %s", type(alerts))
  end
  schema.check(ctx, top, alerts, { "alerts" }, "alerts", "alerts.")
  check_again(ctx, alerts.again)
  local t, r = alerts.targets, alerts.rules
  if type(t) ~= "table" or next(t) == nil then
    return ctx.fail({ "alerts" }, "alerts needs targets, as in targets = { duty = { smtp = "
      .. '"smtp://mail.hospital.example:587", from = "...", to = "..." } }')
  end
  local names = {}
  for _, name in ipairs(sorted(t)) do
    if type(name) == "string" then
      names[#names + 1] = name
      check_target(ctx, name, t[name], text or "")
    else
      ctx.fail({ "alerts", "targets" }, "targets takes names, as in targets = { duty = { ... } }")
    end
  end
  if #names == 0 then return end
  ctx.set("alerts.targets", table.concat(names, "\n"))
  if r ~= nil and type(r) ~= "table" then
    return ctx.fail({ "alerts", "rules" }, "rules must be a table, not a %s", type(r))
  end
  check_rules(ctx, r or {}, names)
end
