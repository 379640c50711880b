-- Two segments of one name, field by field down to what differs. Works on lists of raw fields in
-- the same delimiters; what is found goes to put(kind, path, from, to, last, from_path).
local align = require "lunate.hl7.align"
local parts = require "lunate.hl7.parts"
local split = parts.split
local find = string.find

local M = {}

--- stops(match, n, m) -> for each j of m: the i of the next pair at or behind it. What is gone
--- before that i is told before j.
function M.stops(match, n, m)
  local back, list, stop = {}, {}, n + 1
  for i, j in pairs(match) do back[j] = i end
  for j = m, 1, -1 do
    stop = back[j] or stop
    list[j] = stop
  end
  return list
end

local function nothing(v)
  return v == nil or v == ""
end

local function kind_of(x, y)
  if nothing(x) and not nothing(y) then return "added" end
  if nothing(y) and not nothing(x) then return "removed" end
  return "changed" -- of one value to another, or of absent to empty
end

-- Lists of pieces in order, each compared by `inner`. A run that is absent on one side and empty on
-- the other (trailing separators) is one difference, from path(i) to path(last).
local function in_order(x, y, from, skip, path, put, inner)
  local nx, ny, i = #x, #y, from
  local n = nx > ny and nx or ny
  while i <= n do
    local p, q = x[i], y[i]
    if p == q or (skip and skip[i]) then
      i = i + 1
    elseif not nothing(p) and not nothing(q) then
      inner(i, p, q)
      i = i + 1
    elseif nothing(p) and nothing(q) then
      local last = i
      while last < n and x[last + 1] ~= y[last + 1] and nothing(x[last + 1])
        and nothing(y[last + 1]) and not (skip and skip[last + 1]) do
        last = last + 1
      end
      -- Empty places in front of a value that came or went are no difference of their own.
      if last == n then put("changed", path(i), p, q, last > i and path(last) or nil) end
      i = last + 1
    else
      put(kind_of(p, q), path(i), p, q)
      i = i + 1
    end
  end
end

local function has(text, separator)
  return separator and find(text, separator, 1, true) ~= nil
end

-- One value below a field: level 2 are components, 3 subcomponents.
local function piece(x, y, path, level, d, put)
  local separator = level == 2 and d.component or level == 3 and d.subcomponent
  if not (separator and (has(x, separator) or has(y, separator))) then
    return put("changed", path, x, y)
  end
  local function at(i) return path .. "." .. i end
  in_order(split(x, separator), split(y, separator), 1, nil, at, put, function(i, p, q)
    if level == 3 then return put("changed", at(i), p, q) end
    piece(p, q, at(i), 3, d, put)
  end)
end

-- Subcomponents of a field without components: PID-5 "A&B" is PID-5.1.1 and 5.1.2.
local function repetition(x, y, path, d, put)
  local sub = d.subcomponent
  if not has(x, d.component) and not has(y, d.component) and (has(x, sub) or has(y, sub)) then
    return piece(x, y, path .. ".1", 3, d, put)
  end
  piece(x, y, path, 2, d, put)
end

-- Repetitions: those that are the same are brought into line first, then those of the same first
-- component, then similar ones.
local function repetitions(x, y, path, d, put)
  local function first(text)
    local stop = d.component and find(text, d.component, 1, true)
    local id = stop and text:sub(1, stop - 1) or text
    return id ~= "" and id or nil
  end
  local function whole(text) return text end
  local a, b = split(x, d.repetition), split(y, d.repetition)
  local match = align.match(a, b, { tokens = { whole, first }, score = function(p, q)
    return 0.1 + align.likeness(split(p, d.component), split(q, d.component))
  end })
  local moved = align.moves(a, b, match, { function(t) return t ~= "" and t or nil end })
  local back = {}
  for i, j in pairs(match) do back[j] = i end
  for i, j in pairs(moved) do back[j] = i end
  local function at(n) return ("%s[%d]"):format(path, n) end
  local function gone(from, to)
    for i = from, to do
      if not match[i] and not moved[i] then put("removed", at(i), a[i], nil) end
    end
  end
  local next_a, stops = 1, M.stops(match, #a, #b)
  for j = 1, #b do
    local i = back[j]
    gone(next_a, stops[j] - 1)
    next_a = math.max(next_a, stops[j])
    if not i then
      put("added", at(j), nil, b[j])
    else
      if match[i] then next_a = i + 1 end
      local from = i ~= j and at(i) or nil
      if moved[i] then put("moved", at(j), a[i], b[j], nil, at(i)) end
      if a[i] ~= b[j] then
        repetition(a[i], b[j], at(j), d, function(kind, p, f, t, last)
          put(kind, p, f, t, last, from and from .. p:sub(#at(j) + 1))
        end)
      end
    end
  end
  gone(next_a, #a)
end

--- fields(x, y, path, d, skip, put): compares the fields of two segments (lists of raw fields);
--- path: as in "OBX[3]"; skip: numbers of fields that are left out.
function M.fields(x, y, path, d, skip, put)
  local function at(i) return path .. "-" .. i end
  in_order(x, y, 1, skip, at, put, function(i, p, q)
    if p == '""' or q == '""' or (x.header and i <= 2) then return put("changed", at(i), p, q) end
    if has(p, d.repetition) or has(q, d.repetition) then
      return repetitions(p, q, at(i), d, put)
    end
    repetition(p, q, at(i), d, put)
  end)
end

return M
