-- `access` of lunate.lua: who may do what. Checked here; the loader puts in the ids of accounts
-- (lunate.access_ids), the hub decides by them (core/audit/access.h).
local schema = require "lunate.schema"
local type, ipairs, pairs, tostring = type, ipairs, pairs, tostring
local format, concat = string.format, table.concat


local role_of = schema.choice("observer", "viewer", "operator", "developer", "admin")

local function patterns_of(ctx, where, value, groups)
  local list, out = type(value) == "string" and { value } or value, {}
  if type(list) ~= "table" then
    return ctx.fail(where, "channels are a name, or a list of names")
  end
  for _, word in ipairs(list) do
    if type(word) ~= "string" or not word:find "^[%w_*-]+$" then
      return ctx.fail(where, "'%s' is no channel: a name, one with * in it, or a group of "
        .. "access.channels", tostring(word))
    end
    for _, pattern in ipairs(groups[word] or { word }) do out[#out + 1] = pattern end
  end
  if #out == 0 then return ctx.fail(where, "no channel is named: \"*\" is all of them") end
  return concat(out, ",")
end

local function check_groups(ctx, channels)
  local groups = {}
  if type(channels) ~= "table" then
    if channels ~= nil then
      ctx.fail({ "access", "channels" }, "access.channels must be a table")
    end
    return groups
  end
  for name, list in pairs(channels) do
    local where = { "access", "channels", name }
    local text = type(name) == "string" and patterns_of(ctx, where, list, {})
    if text then
      groups[name] = {}
      for word in text:gmatch "[^,]+" do table.insert(groups[name], word) end
    elseif type(name) ~= "string" then
      ctx.fail(where, "access.channels takes names, not list items")
    end
  end
  return groups
end

local function is_account(name)
  return type(name) == "number" and name >= 0 and name % 1 == 0
    or type(name) == "string" and name:find "^[%w_.@][%w_.@$-]*$"
end

-- users or groups: { name = "role" } or { name = { role = channels } }.
local function check_accounts(ctx, kind, accounts, groups, lines)
  local key = kind .. "s"
  if accounts == nil then return end
  if type(accounts) ~= "table" then
    return ctx.fail({ "access", key }, "access.%s must be a table", key)
  end
  for _, name in ipairs(schema.sorted(accounts)) do
    local where, value = { "access", key, name }, accounts[name]
    if type(value) == "string" then value = { [value] = "*" } end
    if not is_account(name) then
      ctx.fail(where, "'%s' is no name of a %s", tostring(name), kind)
    elseif type(value) ~= "table" then
      ctx.fail(where, "%s: give a role, or { role = channels }", tostring(name))
    else
      for _, role in ipairs(schema.sorted(value)) do
        local known, err = role_of(role)
        local channels = known and patterns_of(ctx, where, value[role], groups)
        if not known then ctx.fail(where, "role %s", err) end
        if channels then lines[#lines + 1] = format("%s %s %s %s", kind, name, role, channels) end
      end
    end
  end
end

-- Checks keys of one table into a plain table.
local function take(ctx, spec, t, where, what)
  local out = {}
  schema.check({ errors = ctx.errors, fail = ctx.fail, at = ctx.at,
    set = function(key, value) out[key] = value end }, spec, t, where, what, "")
  return out
end

-- Whoever may break the glass: lines of grants that count only then.
local function check_glass(ctx, glass, lines)
  local where = { "access", "break_glass" }
  if glass ~= nil and type(glass) ~= "table" then
    ctx.fail(where, "access.break_glass must be a table")
    glass = nil
  end
  local g = take(ctx, { role = { check = role_of, default = "operator" },
    minutes = { check = schema.number(1, 1440, true), default = "15" },
    users = { check = schema.list(schema.text) }, groups = { check = schema.list(schema.text) } },
    glass or {}, where, "break_glass")
  for _, kind in ipairs { "user", "group" } do
    for name in (g[kind .. "s"] or ""):gmatch "[^\n]+" do
      if is_account(name) then
        lines[#lines + 1] = format("glass-%s %s observer *", kind, name)
      else
        ctx.fail(where, "'%s' is no name of a %s", name, kind)
      end
    end
  end
  ctx.set("access.glass_role", g.role)
  ctx.set("access.glass_minutes", g.minutes)
end

--- Checks `access` and sets access.*; nil: nobody but the owner and root gets in.
return function(ctx, access)
  if access == nil then return end
  if type(access) ~= "table" then
    return ctx.fail({ "access" }, "access must be a table, not a %s", type(access))
  end
  local any = take(ctx, {
    channels = {}, users = {}, groups = {}, break_glass = {},
    http = { check = schema.choice("open", "token"), default = "open" },
    socket = { check = schema.text, default = "run" },
  }, access, { "access" }, "access")
  local lines = {}
  local groups = check_groups(ctx, access.channels)
  check_accounts(ctx, "user", access.users, groups, lines)
  check_accounts(ctx, "group", access.groups, groups, lines)
  check_glass(ctx, access.break_glass, lines)
  ctx.set("access.grants", concat(lines, "\n"))
  ctx.set("access.http_token", tostring(any.http == "token"))
  ctx.set("access.socket", any.socket)
end
