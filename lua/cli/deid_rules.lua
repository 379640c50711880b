-- A site's rules for `lunate deid`: a Lua file that returns a table.
local fail = require "lunate.cli.fail"
local rules = require "lunate.deid.rules"

local M = {}

local choices = { text = { "remove", "scrub" }, dates = { "shift", "year", "keep" },
  providers = { "replace", "keep" } }

local function wrong(file, text, ...)
  fail.fail(2, "%s: %s", file, text:format(...))
end

-- The inner name of a rule or a data type.
local function action(file, where, word)
  local name = type(word) == "string" and (rules.words[word] or rules.types[word] and word)
  if name then return name end
  local list = {}
  for w in pairs(rules.words) do list[#list + 1] = w end
  table.sort(list)
  wrong(file, "%s: \"%s\" is no rule (%s, or a data type such as CX)", where, tostring(word),
    table.concat(list, ", "))
end

local function place(o, file, key, word)
  local name = action(file, "fields[\"" .. tostring(key) .. "\"]", word)
  local field, component = tostring(key):match "^(%w%w%w%-%d+)%.?(%d*)$"
  if not field then wrong(file, "\"%s\" is no field, as in ZPD-2 or ZPD-2.1", tostring(key)) end
  if component == "" then
    o.fields[field] = name
  else
    o.components[field] = o.components[field] or {}
    o.components[field][tonumber(component)] = name
  end
end

--- load(file) -> options of lunate.deid.new.
function M.load(file)
  local chunk, err = loadfile(file)
  if not chunk then fail.fail(2, "%s", err) end
  local ok, given = pcall(setfenv(chunk, {}))
  if not ok then fail.fail(2, "%s", given) end
  if type(given) ~= "table" then wrong(file, "a table is expected: return { fields = { ... } }") end
  local o = { fields = {}, components = {}, segments = {}, types = {} }
  for key, value in pairs(given) do
    local allowed = choices[key]
    if allowed then
      if value ~= allowed[1] and value ~= allowed[2] and value ~= allowed[3] then
        wrong(file, "%s is one of %s", key, table.concat(allowed, ", "))
      end
      o[key] = value
    elseif key == "fields" or key == "segments" or key == "types" then
      if type(value) ~= "table" then wrong(file, "%s: a table is expected", key) end
      for at, word in pairs(value) do
        if key == "fields" then
          place(o, file, at, word)
        else
          o[key][at] = action(file, ("%s[\"%s\"]"):format(key, tostring(at)), word)
        end
      end
    else
      wrong(file, "\"%s\" is not known (fields, segments, types, text, dates, providers)",
        tostring(key))
    end
  end
  return o
end

return M
