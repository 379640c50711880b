-- What can follow in a message, for completion: its segments, the fields of one, the components
-- below, each with its name and what stands there: { text, description, value }.
local text = require "lunate.repl.text"
local show = require "lunate.repl.show"
local printable = text.printable

local M = {}

local function short(raw)
  raw = raw or ""
  return printable(#raw > 200 and raw:sub(1, 200) or raw)
end

-- Names of the segments that are there: { name, title, how many or what }.
local function segments(session, msg)
  local order, count, first = {}, {}, {}
  for line in tostring(msg):gmatch "[^\r]+" do
    local name = line:match "^%u[%u%d][%u%d]"
    if name then
      if not count[name] then order[#order + 1], first[name] = name, line end
      count[name] = (count[name] or 0) + 1
    end
  end
  local list, version = {}, show.version_of(msg)
  for i, name in ipairs(order) do
    local s = session.core.hl7.dictionary.segment(name, version)
    list[i] = { name, s and s.title or "", count[name] > 1 and ("%d of them"):format(count[name]) or
      short(first[name]) }
  end
  return list
end

-- Fields of a segment: those that are there, or all when `all`. by: "name" or "number".
local function fields(session, seg, name, by, version, all)
  local s = session.core.hl7.dictionary.segment(name, version)
  local list = {}
  for i = 1, math.max(#seg, all and s and s.count or 0) do
    local raw = seg[i]:raw()
    local entry = s and s.fields[i]
    if (raw and raw ~= "") or all then
      if by == "number" then
        list[#list + 1] = { tostring(i), entry and entry.name or "", short(raw) }
      elseif entry then
        list[#list + 1] = { entry.name, ("%s-%d"):format(name, i), short(raw) }
      end
    end
  end
  return list
end

local function field_type(session, part, at, version)
  local d = session.core.hl7.dictionary
  local path = ("%s-%d"):format(at.name, at.field) ..
    (at.component > 0 and "." .. at.component or "")
  local e = d.field(path, version)
  local t = e and e.type
  if t and t:lower() == "varies" then
    local msg = session.env.msg
    t = show.is_message(msg) and msg[("%s[%d]-2"):format(at.name, at.n)] or nil
  end
  return t and d.type(t, version), part
end

-- Components of a field or subcomponents of a component.
local function below(session, part, at, by, version, all)
  local t = field_type(session, part, at, version)
  local list = {}
  if at.component == 0 then part = part:rep(math.max(at.repetition, 1)) end
  for i = 1, math.max(#part, all and t and t.count or 0) do
    local raw = part[i]:raw()
    local c = t and t.components[i]
    if (raw and raw ~= "") or all then
      if by == "number" then
        list[#list + 1] = { tostring(i), c and c.name or "", short(raw) }
      elseif c then
        list[#list + 1] = { c.name, "." .. i, short(raw) }
      end
    end
  end
  return list
end

M.short, M.segments, M.fields, M.below = short, segments, fields, below
return M
