-- Writes JSON with members in a fixed order, so that two runs can be compared line by line:
-- json.object("name", value, "name", value, ...), json.list { value, ... }.
local sys = require "lunate.sys"

local M = { null = {} }
local Raw = {}

--- Text that is JSON already.
function M.raw(text)
  return setmetatable({ text }, Raw)
end

--- One value as JSON: strings, numbers, booleans, null, and what object, list and raw give.
function M.encode(v)
  local t = type(v)
  if v == nil or v == M.null then return "null" end
  if t == "string" then return sys.quote(v) end
  if t == "boolean" then return tostring(v) end
  if t == "number" then return ("%.14g"):format(v) end
  return (assert(getmetatable(v) == Raw and v[1], "not a JSON value"))
end

--- Members whose value is nil are left out.
function M.object(...)
  local parts = {}
  for i = 1, select("#", ...), 2 do
    local name, value = select(i, ...)
    if value ~= nil then parts[#parts + 1] = sys.quote(name) .. ":" .. M.encode(value) end
  end
  return M.raw("{" .. table.concat(parts, ",") .. "}")
end

function M.list(values)
  local parts = {}
  for i, v in ipairs(values) do parts[i] = M.encode(v) end
  return M.raw("[" .. table.concat(parts, ",") .. "]")
end

--- True when the bytes are valid UTF-8 (and so survive as a JSON string).
function M.is_text(bytes)
  return not sys.quote(bytes):find("\239\191\189", 1, true) or
    bytes:find("\239\191\189", 1, true) ~= nil
end

return M
