-- Checks tables that people write: known keys, types, ranges, defaults. Errors name the line.
local nearest = require "lunate.nearest"
local locate = require "lunate.locate"
local type, tostring, tonumber, pairs, ipairs = type, tostring, tonumber, pairs, ipairs
local format, concat, sort, floor = string.format, table.concat, table.sort, math.floor

local M = {}

--- A number as a string of its digits is taken, too: env "PORT" gives strings.
function M.number(min, max, whole)
  return function(v)
    local n = type(v) == "string" and tonumber(v) or v
    if type(n) ~= "number" or n ~= n then return nil, "must be a number, not a " .. type(v) end
    if whole and n ~= floor(n) then return nil, "must be a whole number" end
    if n < min or n > max then
      return nil, format("must be from %s to %s", tostring(min), tostring(max))
    end
    return n == floor(n) and format("%.0f", n) or format("%.14g", n)
  end
end

function M.choice(...)
  local words = { ... }
  local quoted = '"' .. concat(words, '", "') .. '"'
  return function(v)
    for _, word in ipairs(words) do
      if v == word then return word end
    end
    local near = type(v) == "string" and nearest(v, words)
    local hint = near and format(' (did you mean "%s"?)', near) or ""
    return nil, "must be one of " .. quoted .. hint
  end
end

function M.flag(v)
  if type(v) ~= "boolean" then return nil, "must be true or false, not a " .. type(v) end
  return tostring(v)
end

--- For functions: the setting only says that there is one.
function M.func(v)
  if type(v) ~= "function" then return nil, "must be a function, not a " .. type(v) end
  return "true"
end

function M.host(v)
  if type(v) ~= "string" then return nil, "must be a host name or an address, not a " .. type(v) end
  if not v:find "^[%w_.:%%*-]+$" or #v > 253 then return nil, "is not a host name or an address" end
  return v
end

--- Whether a host is this machine for sure: an address or the name that stands for it everywhere.
function M.loopback(v)
  return type(v) == "string"
    and (v:find "^127%.%d+%.%d+%.%d+$" or v == "localhost" or v == "::1") and true or false
end

function M.text(v)
  if type(v) ~= "string" or v == "" or v:find "[%z\n]" then return nil, "must be text" end
  return v
end

--- One string or a list of them, each checked by item; given as lines.
function M.list(item)
  return function(v)
    if type(v) == "string" then v = { v } end
    if type(v) ~= "table" then return nil, "must be a list, not a " .. type(v) end
    local out, n = {}, 0
    for k, e in pairs(v) do
      n = n + 1
      if type(k) ~= "number" then return nil, "must be a list without names" end
      local text, err = item(e)
      if not text then return nil, format("item %s %s", tostring(k), err) end
      out[k] = text
    end
    if n ~= #out then return nil, "must be a list without holes" end
    if n == 0 then return nil, "must not be empty" end
    return concat(out, "\n")
  end
end

--- A key that is known, but that this version cannot honour: never passed over in silence.
function M.later()
  return nil, "is not available in this version"
end

--- context(path, text, line) collects errors and settings of one file.
function M.context(path, text, line)
  local ctx = { path = path, errors = {}, settings = {}, line = line or 1 }
  local find = locate(text)

  function ctx.at(keys)
    return format("%s:%d", path, find(keys, ctx.line) or ctx.line)
  end
  function ctx.fail(keys, fmt, ...)
    local errors = ctx.errors
    errors[#errors + 1] = format("%s: ", ctx.at(keys)) .. format(fmt, ...)
  end
  function ctx.set(key, value)
    local s = ctx.settings
    s[#s + 1] = key
    s[#s + 1] = value
  end
  return ctx
end

local function extend(keys, key)
  local out = {}
  for i = 1, #keys do out[i] = keys[i] end
  out[#out + 1] = key
  return out
end
M.extend = extend

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  sort(list, function(a, b) return tostring(a) < tostring(b) end)
  return list
end
M.sorted = sorted

--- Checks table t against spec { key = { check = f, default = text, required = bool, keys = spec of
--- a nested table } }; where: the keys that lead to it; what: its name for people; prefix: of the
--- settings. Wrong things go to ctx.errors, every setting of the spec to ctx.settings.
function M.check(ctx, spec, t, where, what, prefix)
  for _, key in ipairs(sorted(t)) do
    if type(key) ~= "string" then
      ctx.fail(where, "%s takes names, not list items", what)
    elseif not spec[key] then
      local near = nearest(key, spec)
      ctx.fail(extend(where, key), "unknown key '%s' in %s%s", key, what,
        near and format(" (did you mean '%s'?)", near) or "")
    end
  end
  for _, key in ipairs(sorted(spec)) do
    local rule, value = spec[key], t[key]
    if rule.keys then
      if value ~= nil and type(value) ~= "table" then
        ctx.fail(extend(where, key), "%s must be a table, not a %s", key, type(value))
        value = nil
      end
      M.check(ctx, rule.keys, value or {}, extend(where, key), key, prefix .. key .. ".")
    elseif value == nil then
      if rule.required then
        ctx.fail(where, "%s needs a %s", what, key)
      elseif rule.default then
        ctx.set(prefix .. key, rule.default)
      end
    elseif rule.check then
      local text, err = rule.check(value)
      if text then
        ctx.set(prefix .. key, text)
      else
        ctx.fail(extend(where, key), "%s %s", key, err)
      end
    end
  end
end

return M
