-- The settings that alerts.config gave, as tables again: { every, wait, clear, per_hour, again,
-- targets = { NAME = { ... } }, rules = { { name, kind, limit, ... } } }.
local kinds = require "lunate.alerts.kinds"

local function lines(text)
  local list = {}
  for line in (text or ""):gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- "adt*" as a Lua pattern.
local function glob(text)
  return "^" .. text:gsub("[^%w*]", "%%%0"):gsub("%*", ".*") .. "$"
end

local function globs(text)
  local list = lines(text)
  for i, v in ipairs(list) do list[i] = glob(v) end
  return #list > 0 and list or nil
end

local function under(pairs_of, prefix)
  local t = {}
  for key, value in pairs(pairs_of) do
    if key:sub(1, #prefix) == prefix then t[key:sub(#prefix + 1)] = value end
  end
  return t
end

local function rule_of(all, name)
  local t = under(all, "alerts.rule." .. name .. ".")
  local kind = kinds[t.kind]
  return { name = name, kind = t.kind, limit = kind.limit and t[kind.limit],
    after = tonumber(t.after) or 0, window = tonumber(t.window), least = tonumber(t.least),
    only = globs(t.only), except = globs(t.except), to = t.to and lines(t.to) }
end

--- settings(pairs): pairs is a table key -> value.
return function(all)
  local s = { site = all["alerts.site"], targets = {}, rules = {},
    names = lines(all["alerts.targets"]) }
  for _, key in ipairs { "every", "wait", "clear", "per_hour" } do
    s[key] = tonumber(all["alerts." .. key])
  end
  s.again = { first = tonumber(all["alerts.again.first"]), max = tonumber(all["alerts.again.max"]),
    factor = tonumber(all["alerts.again.factor"]) }
  for _, name in ipairs(s.names) do
    local t = under(all, "alerts.target." .. name .. ".")
    t.name = name
    s.targets[name] = t
  end
  for _, name in ipairs(lines(all["alerts.rules"])) do
    s.rules[#s.rules + 1] = rule_of(all, name)
  end
  return s
end
