-- LuaCATS classes of segments and data types, out of the dictionary: what makes
-- msg.PID.patient_name.family_name complete in an editor. Names of all versions, the newest first.
local dictionary = require("hl7").dictionary

local M = {}

local function newest_first()
  local list = {}
  for i = #dictionary.versions, 1, -1 do list[#list + 1] = dictionary.versions[i] end
  return list
end

local function type_of(field, known)
  local t = field.type
  if t and known[t] then return ("lunate.%s|string"):format(t) end
  return "lunate.Part|string"
end

-- One line a field; the same name in two versions stands once.
local function add_fields(out, owner, list, seen, known, prefix)
  for n, f in pairs(list) do
    if type(n) == "number" and f.name and f.type and not seen[f.name]
      and f.name:match "^[%a_][%w_]*$" then
      seen[f.name] = { n = n, text = ("---@field %s %s %s%s%d %s"):format(f.name,
        type_of(f, known), owner, prefix, n, (f.title or ""):gsub("%s+", " ")) }
      out[#out + 1] = seen[f.name]
    end
  end
end

local function class(name, base, lists, owner, known, prefix)
  local fields, seen = {}, {}
  for _, list in ipairs(lists) do add_fields(fields, owner, list, seen, known, prefix) end
  table.sort(fields, function(a, b)
    if a.n ~= b.n then return a.n < b.n end
    return a.text < b.text
  end)
  local out = { ("---@class lunate.%s: %s"):format(name, base) }
  for _, f in ipairs(fields) do out[#out + 1] = f.text end
  return table.concat(out, "\n")
end

-- What get(name, version) gives in all versions: lists under `key`.
local function all_versions(get, name, key)
  local lists, title = {}, nil
  for _, version in ipairs(newest_first()) do
    local x = get(name, version)
    if x and x[key] then
      lists[#lists + 1] = x[key]
      title = title or x.title
    end
  end
  return lists, title
end

local function composites()
  local known = {}
  for _, name in ipairs(dictionary.names "types") do
    local lists = all_versions(dictionary.type, name, "components")
    local primitive = (dictionary.type(name) or {}).primitive
    if name:match "^%u[%u%d_]*$" and #lists > 0 and not primitive then known[name] = lists end
  end
  return known
end

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

--- types() -> text with a class for each data type that has components.
function M.types()
  local known, out = composites(), { "---@meta _" }
  for _, name in ipairs(sorted(known)) do
    out[#out + 1] = class(name, "lunate.Part", known[name], name, known, ".")
  end
  return table.concat(out, "\n\n") .. "\n"
end

--- segments() -> text with a class for each segment, and the message that has them.
function M.segments()
  local known, out, message = composites(), { "---@meta _" }, {}
  for _, name in ipairs(dictionary.names "segments") do
    local lists, title = all_versions(dictionary.segment, name, "fields")
    if name:match "^%u[%u%d][%u%d]$" and #lists > 0 then
      out[#out + 1] = class("segment." .. name, "lunate.Segment", lists, name, known, "-")
      message[#message + 1] = ("---@field %s lunate.segment.%s? %s"):format(name, name, title or "")
    end
  end
  out[#out + 1] = "---@class lunate.Message: lunate.MessageBase\n" .. table.concat(message, "\n")
  return table.concat(out, "\n\n") .. "\n"
end

return M
