-- Paths that a comparison leaves out: "MSH-7", "OBX-14", "OBX[2]-5", "PID-3[*].4", "ZPD". Without
-- [n] every segment of the name is meant, without [r] every repetition.
local M = {}
local Ignore = {}
Ignore.__index = Ignore

local function number(text)
  if text == nil or text == "" or text == "*" then return nil end
  return tonumber(text)
end

local function rule(path)
  local name, rest = path:match "^(%u[%u%d][%u%d])(.*)$"
  local r = { name = name }
  if not name then return nil end
  local n, after = rest:match "^%[(%d*%*?)%](.*)$"
  if n then r.segment, rest = number(n), after end
  if rest == "" then return r end
  local field, more = rest:match "^%-(%d+)(.*)$"
  if not field then return nil end
  r.field, rest = tonumber(field), more
  n, after = rest:match "^%[(%d*%*?)%](.*)$"
  if n then r.repetition, rest = number(n), after end
  local c, s = rest:match "^%.(%d+)%.?(%d*)$"
  if rest ~= "" and (not c or rest:sub(-1) == ".") then return nil end
  r.component, r.sub = number(c), number(s)
  return r
end

--- new(paths): a list of paths, or one text with commas between them. nil and why when one is none.
function M.new(paths)
  if type(paths) == "string" then
    local list = {}
    for path in paths:gmatch "[^,%s]+" do list[#list + 1] = path end
    paths = list
  end
  local by_name = {}
  for _, path in ipairs(paths or {}) do
    local r = type(path) == "string" and rule(path)
    if not r then
      return nil, ("\"%s\" is not a path to ignore, as in MSH-7 or OBX[*]-14"):format(
        tostring(path))
    end
    by_name[r.name] = by_name[r.name] or {}
    table.insert(by_name[r.name], r)
  end
  return setmetatable({ by_name = by_name }, Ignore)
end

--- True when the rules of the nth segment of a name leave out all of it.
function Ignore:segment(name, n)
  for _, r in ipairs(self.by_name[name] or {}) do
    if not r.field and (not r.segment or r.segment == n) then return true end
  end
  return false
end

--- The rules for fields of the nth segment of a name, or nil when there are none.
function Ignore:rules(name, n)
  local list
  for _, r in ipairs(self.by_name[name] or {}) do
    if r.field and (not r.segment or r.segment == n) then
      list = list or {}
      list[#list + 1] = r
    end
  end
  return list
end

return M
