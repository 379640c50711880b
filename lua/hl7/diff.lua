-- hl7.diff(a, b): how two messages differ, by segment, field, component (docs/message.md).
-- Nothing in here prints or reads files: the verbs, replay and tests stand on it.
local hl7 = require "hl7"
local align = require "lunate.hl7.align"
local ignored = require "lunate.hl7.ignore"
local parts = require "lunate.hl7.parts"
local side = require "lunate.hl7.diff_side"
local values = require "lunate.hl7.diff_values"

local M = {}

-- ---- which segment stands for which -------------------------------------------------------------

-- match: pairs in order, from a to b; moved: pairs that changed places.
local function pair(a, b)
  for _, s in ipairs { a, b } do
    for _, seg in ipairs(s) do
      seg.alone = a.counts[seg.name] == 1 and b.counts[seg.name] == 1
    end
  end
  local match = align.match(a, b, { tokens = { side.whole, side.identity, side.name },
    score = side.score })
  local moved = align.moves(a, b, match, { side.whole, side.identity })
  return match, moved
end

-- ---- the differences ----------------------------------------------------------------------------

local List = {}
List.__index = List

--- A value as it is shown: (absent), (empty), "" for HL7's null, else the bytes.
function M.shown(value)
  if value == nil then return "(absent)" end
  if value == "" then return "(empty)" end
  return value
end

--- One difference as one line of text.
function M.line(d)
  local at = d.path .. (d.last and " to " .. d.last or "")
  if d.kind == "moved" then return ("%s moved from %s: %s"):format(at, d.from_path, d.to) end
  if d.kind == "added" then return ("%s added: %s"):format(at, d.to) end
  if d.kind == "removed" then return ("%s removed: %s"):format(at, d.from) end
  return ("%s changed: %s -> %s"):format(at, M.shown(d.from), M.shown(d.to))
end

--- All of them, a line each: what a failing test wants to print.
function List.__tostring(list)
  local out = {}
  for i, d in ipairs(list) do out[i] = M.line(d) end
  return table.concat(out, "\n")
end

local function path_of(seg, a, b)
  if (a.counts[seg.name] or 0) < 2 and (b.counts[seg.name] or 0) < 2 then return seg.name end
  return ("%s[%d]"):format(seg.name, seg.nth)
end

-- The fields of two segments that stand for one another.
local function inside(list, x, y, a, b, o)
  local path, from = path_of(y, a, b), path_of(x, a, b)
  local function put(kind, at, before, after, last, from_at)
    if o.ignore_empty and kind == "changed" and (before or "") == "" and (after or "") == "" then
      return
    end
    local origin = from_at or at
    if from ~= path then origin = from .. origin:sub(#path + 1) end
    list[#list + 1] = { kind = kind, path = at, from = before, to = after, segment = y.name,
      last = last, from_path = origin ~= at and origin or nil, from_at = x.n, to_at = y.n }
  end
  values.fields(side.fields(x), side.fields(y), path, a.d, y.skip, put)
end

local function removed(list, a, b, from, to, match, moved)
  for i = from, to do
    if not match[i] and not moved[i] then
      list[#list + 1] = { kind = "removed", path = path_of(a[i], a, b), from = a[i].raw,
        segment = a[i].name, from_at = a[i].n }
    end
  end
end

local function collect(a, b, match, moved, o)
  local list, back, next_a = setmetatable({}, List), {}, 1
  local stops = values.stops(match, #a, #b)
  for i, j in pairs(match) do back[j] = i end
  for i, j in pairs(moved) do back[j] = i end
  for j, y in ipairs(b) do
    local i = back[j]
    local x = a[i]
    removed(list, a, b, next_a, stops[j] - 1, match, moved)
    next_a = math.max(next_a, stops[j])
    if x and match[i] then next_a = i + 1 end
    if not x then
      list[#list + 1] = { kind = "added", path = path_of(y, a, b), to = y.raw, segment = y.name,
        to_at = y.n }
    else
      if moved[i] then
        list[#list + 1] = { kind = "moved", path = path_of(y, a, b), from = x.raw, to = y.raw,
          segment = y.name, from_path = path_of(x, a, b), from_at = x.n, to_at = y.n }
      end
      if x.text ~= y.text then inside(list, x, y, a, b, o) end
    end
  end
  removed(list, a, b, next_a, #a, match, moved)
  return list
end

-- ---- two messages -------------------------------------------------------------------------------

local function same_delimiters(x, y)
  for _, name in ipairs { "field", "component", "repetition", "escape", "subcomponent" } do
    if x[name] ~= y[name] then return false end
  end
  return true
end

-- The segments of b in a's delimiters; its header keeps its own MSH-1 and MSH-2 for show.
local function translated(a, b, da)
  local scratch, lines = hl7.parse(parts.lines(tostring(a))[1] .. "\r"), {}
  local head
  for segment in b:each() do
    if not head then
      head = parts.fields(segment:raw(), b:delimiters().field)
      local copy = scratch:add "ZZZ"
      for n = 3, #head do
        if head[n] ~= "" then copy[n] = segment[n] end
      end
      local again = parts.fields(copy:raw(), da.field)
      for n = 3, #head do head[n] = again[n] or "" end
      lines[1] = parts.line(head, da.field)
      head.skip = nil
    else
      lines[#lines + 1] = scratch:add(segment):raw()
    end
  end
  return lines, head
end

local function message(v, which)
  if type(v) == "string" then
    local msg, err = hl7.parse(v)
    if not msg then error(("the %s message: %s"):format(which, err), 3) end
    return msg
  end
  if type(v) ~= "userdata" then
    error(("the %s message: a message or its bytes are expected, not a %s"):format(which,
      type(v)), 3)
  end
  return v
end

--- hl7.diff(a, b [, o]) -> list of differences in the order of b; empty when there are none. a, b:
--- messages, or their bytes. o.ignore: paths to leave out, a list or a text with commas;
--- o.ignore_empty: absent and empty are the same. A difference: { kind = "changed", "added",
--- "removed" or "moved", path, from, to, segment, last, from_path, from_at, to_at }.
function M.diff(a, b, o)
  o = o or {}
  a, b = message(a, "first"), message(b, "second")
  local ignore, why = ignored.new(o.ignore)
  if not ignore then error(why, 2) end
  local da, db, wa, wb = a:delimiters(), b:delimiters(), tostring(a), tostring(b)
  if wa == wb then return setmetatable({}, List) end
  local same = same_delimiters(da, db)
  local la = parts.lines(wa)
  local lb, head
  if same then lb = parts.lines(wb) else lb, head = translated(a, b, da) end
  local sa, sb = side.new(la, da, ignore), side.new(lb, da, ignore)
  if head and sb[1] and not sb[1].fields then sb[1].fields = head end
  local match, moved = pair(sa, sb)
  return collect(sa, sb, match, moved, o)
end

--- lines(before, after): any two texts, segment by segment: "  SEG" (in both), "- SEG" (before),
--- "+ SEG" (after), as `eval --diff` and `show` print them.
function M.lines(before, after)
  local function segments(text)
    local list = {}
    for line in text:gmatch "[^\r\n]+" do list[#list + 1] = line end
    return list
  end
  local d = { field = before:match "^[MBF][SH][HS](.)" or "|" }
  local a, b, out = side.new(segments(before), d), side.new(segments(after), d), {}
  local match, next_b = pair(a, b), 1
  local function added(to)
    for j = next_b, to do out[#out + 1] = "+ " .. b[j].raw end
    next_b = to + 1
  end
  for i, x in ipairs(a) do
    local j = match[i]
    if j then added(j - 1) end
    if j and x.raw == b[j].raw then
      out[#out + 1] = "  " .. x.raw
    else
      out[#out + 1] = "- " .. x.raw
      if j then out[#out + 1] = "+ " .. b[j].raw end
    end
    if j then next_b = j + 1 end
  end
  added(#b)
  return out
end

return M
