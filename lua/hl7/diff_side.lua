-- One of two messages that are compared: its segments with what is to be ignored taken out, their
-- tokens, and how alike two of them are.
local align = require "lunate.hl7.align"
local parts = require "lunate.hl7.parts"

local M = {}

-- The fields that say which thing a segment is about. Segments that may repeat and are not here are
-- told apart by likeness alone.
local identity = {
  AIG = { 3 }, AIL = { 3 }, AIP = { 3 }, AIS = { 3 }, AL1 = { 3 }, DG1 = { 3 }, FT1 = { 7 },
  GT1 = { 3 }, IAM = { 3 }, IN1 = { 3, 36 }, NK1 = { 2 }, OBR = { 2, 3, 4 }, OBX = { 3, 4 },
  ORC = { 2, 3 }, PR1 = { 3 }, PRB = { 3 }, PRT = { 4, 5 }, RXA = { 5 }, RXC = { 2 }, RXE = { 2 },
  RXO = { 1 }, SPM = { 2 }, TQ1 = { 2 },
}

-- Takes what the rules name out of a segment's fields; returns the numbers of whole fields.
local function blank(seg, rules, d)
  local skip = {}
  local function in_component(text, r)
    local list = parts.split(text, d.component)
    if list[r.component] and not r.sub then list[r.component] = "" end
    if list[r.component] and r.sub and d.subcomponent then
      local subs = parts.split(list[r.component], d.subcomponent)
      if subs[r.sub] then subs[r.sub] = "" end
      while #subs > 1 and subs[#subs] == "" do subs[#subs] = nil end
      list[r.component] = table.concat(subs, d.subcomponent)
    end
    while #list > 1 and list[#list] == "" do list[#list] = nil end
    return table.concat(list, d.component or "")
  end
  for _, r in ipairs(rules) do
    local text = seg[r.field]
    if not r.repetition and not r.component then
      skip[r.field] = true
      if text then seg[r.field] = "" end
    elseif text and text ~= "" and not (seg.header and r.field <= 2) then
      local reps = parts.split(text, d.repetition)
      for n, rep in ipairs(reps) do
        if not r.repetition or r.repetition == n then
          reps[n] = r.component and in_component(rep, r) or ""
        end
      end
      seg[r.field] = table.concat(reps, d.repetition or "")
    end
  end
  return skip
end

-- The text that is compared: an ignored field at the end may be there or not.
local function text_of(fields, skip, separator)
  local n = #fields
  while n > 0 and skip[n] and fields[n] == "" do n = n - 1 end
  return fields.name .. separator .. table.concat(fields, separator, 1, n)
end

local function name_of(line, separator)
  local stop = line:find(separator, 1, true)
  return stop and line:sub(1, stop - 1) or line
end

--- new(lines, d, ignore): segments { name, n = number in the message, nth = of its name, raw,
--- text = raw without what is ignored, skip }, and counts = { name = how many }.
function M.new(lines, d, ignore)
  local side = { counts = {}, d = d }
  for n, raw in ipairs(lines) do
    local name = name_of(raw, d.field)
    local nth = (side.counts[name] or 0) + 1
    side.counts[name] = nth
    if not (ignore and ignore:segment(name, nth)) then
      local seg = { name = name, n = n, nth = nth, raw = raw, text = raw, separator = d.field }
      local rules = ignore and ignore:rules(name, nth)
      if rules then
        seg.fields = parts.fields(raw, d.field)
        seg.skip = blank(seg.fields, rules, d)
        seg.text = text_of(seg.fields, seg.skip, d.field)
      end
      side[#side + 1] = seg
    end
  end
  return side
end

--- The fields of a segment, split when they are first asked for.
function M.fields(seg)
  local list = seg.fields
  if not list then
    list = parts.fields(seg.raw, seg.separator)
    seg.fields = list
  end
  return list
end

--- Tokens for lunate.hl7.align: the whole text; name and identity; the name.
function M.whole(seg)
  return seg.text
end

function M.identity(seg)
  if seg.key ~= nil then return seg.key end
  local numbers, key = identity[seg.name], nil
  if numbers then
    local fields = M.fields(seg)
    for _, n in ipairs(numbers) do
      local v = fields[n] or ""
      key = (key or seg.name) .. "|" .. (v:match "^[^%^]*" or v)
      seg.known = seg.known or v ~= ""
    end
    if not seg.known then key = nil end
  elseif seg.alone then
    key = seg.name
  end
  seg.key = key or false
  return seg.key
end

function M.name(seg)
  return seg.name
end

-- A set id says nothing about what the segment is about.
local function first_field(seg, fields)
  local one = fields[1] or ""
  return not fields.header and (one == "" or (#one <= 4 and one:find "^%d+$")) and #seg.name == 3
    and 2 or 1
end

--- How well two segments go together, or nil.
function M.score(x, y)
  if x.name ~= y.name then return nil end
  if x.text == y.text then return 2 end
  local fx, fy = M.fields(x), M.fields(y)
  local first = first_field(x, fx) == 2 and first_field(y, fy) or 1
  local alike = align.likeness(fx, fy, first)
  local kx, ky = M.identity(x), M.identity(y)
  if kx and kx == ky then return 1 + alike end
  if kx and ky and alike < 0.4 then return nil end
  return 0.1 + alike
end

return M
