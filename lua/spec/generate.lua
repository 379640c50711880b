-- Messages made at random for property tests: segments in the order of their structure, fields by
-- the dictionary, values that real feeds have and scripts forget: absent, empty, null, repeated,
-- long, with delimiters, in other alphabets. The same seed gives the same messages.
local dictionary = require("hl7").dictionary

local M = {}

--- random(seed) -> next(n): whole numbers from 1 to n, the same ones for the same seed everywhere.
function M.random(seed)
  local state = seed % 2147483647
  if state == 0 then state = 1 end
  return function(n)
    state = (state * 16807) % 2147483647 -- below 2^53: exact
    return math.floor(state / 2147483647 * n) + 1
  end
end

local function one_of(random, list)
  return list[random(#list)]
end

local words = { "Sample", "Test", "A", "van der Berg", "O'Neil", "Jürgen", "山田", "x y  z", "0",
  "  padded ", "UPPER", "lower-case", ("long "):rep(60), "\\T\\ and \\F\\", "\\.br\\", "1.0" }

local function digits(random, n)
  local out = {}
  for i = 1, n do out[i] = random(10) - 1 end
  return table.concat(out)
end

local function time(random)
  local t = ("%04d%02d%02d%02d%02d%02d"):format(1900 + random(150), random(12), random(28),
    random(24) - 1, random(60) - 1, random(60) - 1)
  return t:sub(1, one_of(random, { 4, 6, 8, 8, 8, 12, 14, 14 }))
    .. one_of(random, { "", "", "", "+0100", "-0500" })
end

local makers = {
  NM = function(r)
    return one_of(r, { "", "-", "" }) .. digits(r, r(5)) .. one_of(r, { "", ".5" })
  end,
  SI = function(r) return tostring(r(9)) end,
  DT = function(r) return time(r):sub(1, 8) end,
  TM = function(r) return ("%02d%02d"):format(r(24) - 1, r(60) - 1) end,
  DTM = time, TS = time,
}

local function code(random, field, version)
  local t = field.table and dictionary.table(field.table, version)
  if t and #t.list > 0 and random(8) > 1 then return one_of(random, t.list) end
end

local value

local function composite(random, type, version, depth)
  local out, last = {}, 0
  local separator = depth == 1 and "^" or "&"
  for i, c in ipairs(type.components) do
    out[i] = ""
    if i == 1 or random(3) == 1 then out[i] = value(random, c, version, depth + 1) end
    if out[i] ~= "" then last = i end
  end
  return table.concat(out, separator, 1, last)
end

-- A value of a field (depth 1), component (2) or subcomponent (3).
function value(random, field, version, depth)
  if random(20) == 1 then return "" end
  local type = field.type and field.type ~= "varies" and dictionary.type(field.type, version)
  if type and not type.primitive and depth < 3 then
    return composite(random, type, version, depth)
  end
  local make = makers[field.type or ""]
  return code(random, field, version) or make and make(random) or one_of(random, words)
end

local function field_text(random, field, version)
  local required = field.usage == "R"
  if not required and random(3) > 1 then return "" end
  if not required and random(15) == 1 then return '""' end
  local n = field.repeats and random(4) == 1 and random(3) or 1
  local list = {}
  for i = 1, n do list[i] = value(random, field, version, 1) end
  return table.concat(list, "~")
end

local function segment(random, name, version)
  local s = dictionary.segment(name, version)
  local out, last = { name }, 1
  for n = 1, s and s.count or 0 do
    local field = s.fields[n]
    out[n + 1] = field and field.type and field_text(random, field, version) or ""
    if out[n + 1] ~= "" then last = n + 1 end
  end
  return { unpack(out, 1, last) }
end

local function header(random, o, id)
  return { "MSH", "^~\\&", one_of(random, { "EHR", "LAB", "RIS" }), "SITE", "LUNATE", "SITE",
    "20260105083000", "", o.structure and ("%s^%s^%s"):format(o.type, o.event, o.structure)
      or o.type .. (o.event and "^" .. o.event or ""), "GEN" .. id, "P", o.version }
end

-- Segments of a node of the structure, as often as it may stand there.
local function add(random, list, node, o)
  local times = node.min or 1
  if times == 0 then times = random(2) - 1 end
  if (node.max or 1) > 1 and random(3) == 1 then times = times + random(2) end
  for _ = 1, times do
    if #list >= 60 then return end
    if node.children and node.choice then
      add(random, list, one_of(random, node.children), o)
    elseif node.children then
      for _, child in ipairs(node.children) do add(random, list, child, o) end
    elseif node.name ~= "MSH" and node.name:match "^%u[%u%d][%u%d]$" then
      list[#list + 1] = segment(random, node.name, o.version)
    end
  end
end

local function known(o, key)
  return ({ type = true, event = true, version = true, structure = true, with = true })[key]
    or error(("messages knows no '%s': type, event, version, with"):format(tostring(key)), 3) and o
end

--- messages { type = "ADT", event = "A01", version = "2.5.1", with = { "NK1" } } -> a generator for
-- for_all. Without an event, one of those that the dictionary has for the type; with: segments that
-- are always there.
function M.messages(o)
  o = o or {}
  for key in pairs(o) do known(o, key) end
  local version, events = o.version or "2.5.1", {}
  for _, name in ipairs(o.event and {} or dictionary.names "events") do
    local t, e = name:match "^(%w+)[%^_](%w+)$"
    if t == (o.type or "ADT") and dictionary.event(t, e, version) then events[#events + 1] = e end
  end
  return function(random, n)
    local made = { type = o.type or "ADT", version = version,
      event = o.event or events[1] and one_of(random, events) }
    made.structure = made.event and dictionary.event(made.type, made.event, version) or nil
    local list = { header(random, made, n) }
    local structure = made.structure and dictionary.structure(made.structure, version)
    for _, child in ipairs(structure and structure.children or {}) do
      add(random, list, child, made)
    end
    for _, name in ipairs(o.with or {}) do list[#list + 1] = segment(random, name, version) end
    return list, o.with
  end
end

--- The bytes of a list of segments, each a list of raw fields.
function M.bytes(list)
  local out = {}
  for i, fields in ipairs(list) do out[i] = table.concat(fields, "|") .. "\r" end
  return table.concat(out)
end

return M
