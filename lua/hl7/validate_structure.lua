-- What validation says of the message as a whole: its header, and whether its segments stand where
-- its structure has them. Z segments are never wrong, wherever they stand.
local match = require "lunate.hl7.match"
local dictionary = require "lunate.dictionary"
local report = require "lunate.hl7.validate_report"
local add = report.add

local M = {}

-- Segments of batches, which belong to no structure, and those of any (chapter 2.10).
local envelopes = { FHS = true, BHS = true, BTS = true, FTS = true, ADD = true, DSC = true }

local function say(w, path, rule, severity, code, text, value)
  severity = w.severity[rule] or severity
  if severity ~= "off" then add(w, path, rule, severity, code, text, nil, value) end
end
M.say = say

-- ---- header -------------------------------------------------------------------------------------

local function check_delimiters(w)
  local second = w.msg["MSH-2"] or ""
  local seen = { [w.msg["MSH-1"] or "|"] = true }
  for c in second:gmatch "." do
    if seen[c] or c:find "[%w%s]" then
      return say(w, "MSH-2", "header", "error", "102", "a delimiter stands for two things, or is "
        .. "a letter, a digit or a blank", second)
    end
    seen[c] = true
  end
  if #second < 4 then
    return say(w, "MSH-2", "header", "warning", "102", ("%d of four delimiters: %s"):format(#second,
      "what has none cannot be cut or escaped"), second)
  end
  if #second > 5 then
    say(w, "MSH-2", "header", "warning", "102", "more than five delimiters", second)
  elseif w.msg["MSH-1"] ~= "|" or second:sub(1, 4) ~= "^~\\&" then
    say(w, "MSH-2", "header", "info", "102", "not the delimiters that everybody uses", second)
  end
end

local function check_type(w)
  local msg = w.msg
  local kind, event = msg["MSH-9.1"], msg["MSH-9.2"]
  if not kind then
    return say(w, "MSH-9", "header", "error", "200", "the message does not say what it is")
  end
  if kind:find "^Z" or (event and event:find "^Z") or kind == "ACK" then return end
  if not event then
    if kind ~= "MCF" and kind ~= "QRY" then
      say(w, "MSH-9.2", "header", "warning", "201", "no trigger event")
    end
    return
  end
  if dictionary.event(kind, event, w.version) then return end
  local known = dictionary.table("0076")
  if known and not known.codes[kind] then
    say(w, "MSH-9.1", "header", "warning", "200", "no such message type in the standard", kind)
  else
    say(w, "MSH-9.2", "header", "warning", "201", "no such trigger event of this message type",
      event)
  end
end

local function check_version(w)
  local version = w.msg["MSH-12.1"]
  if not version then
    return say(w, "MSH-12", "header", "warning", "203",
      ("no version: read as %s"):format(w.version))
  end
  for _, known in ipairs(dictionary.versions) do
    if known == version then return end
  end
  say(w, "MSH-12.1", "header", "warning", "203",
    ("no version of the standard: read as %s"):format(w.version), version)
end

--- Delimiters, MSH-9, MSH-10, MSH-11, MSH-12: what a receiver must know to answer.
function M.header(w)
  check_delimiters(w)
  check_type(w)
  check_version(w)
  if not w.msg["MSH-10"] then
    say(w, "MSH-10", "header", "error", "101", "no control id: an answer cannot be matched")
  end
  if not w.msg["MSH-11"] then
    say(w, "MSH-11", "header", "warning", "202", "no processing id: production, or a test?")
  end
end

-- ---- structure ----------------------------------------------------------------------------------

-- "PID", "OBX[3]": the path of the segment with this number.
local function nth_of(names, number)
  local nth = 0
  for i = 1, number do
    if names[i] == names[number] then nth = nth + 1 end
  end
  return nth
end

local function path(names, number)
  local nth = nth_of(names, number)
  return nth > 1 and ("%s[%d]"):format(names[number], nth) or names[number]
end

local function group_name(group, root)
  return group and group ~= root and group.name and ("the group %s"):format(group.name)
    or "the message"
end

-- Number of the first and last segment of a group; nil when it has none.
local function ends(group)
  local first, last
  for _, item in ipairs(group.items) do
    local a, b = item, item
    if type(item) == "table" then a, b = ends(item) end
    first, last = first or a, b or last
  end
  return first, last
end

-- The segment that a group cannot be without: what stands for the group when it is missing.
local function first_segment(child)
  while child.children do
    local inner = child.children[1]
    for _, c in ipairs(child.children) do
      if c.min > 0 then inner = c break end
    end
    child = inner
  end
  return child.name
end

-- Required by many structures, left out by many senders, and missed by few receivers.
local left_out = { EVN = true, PV1 = true }
-- "{[NTE]}" lost its inner brackets in some structures of the dictionary.
local never = { ANY = true, NTE = true }

local function report_missing(w, names, root, inst, child)
  local name = first_segment(child)
  if never[name] and not w.own_structure then return end
  local first, last = ends(inst)
  local nth, behind = 1, nil
  for i = 1, (first or 1) - 1 do
    if names[i] == name then nth = nth + 1 end
  end
  if last then behind = path(names, first) end
  local p = nth > 1 and ("%s[%d]"):format(name, nth) or name
  local what = child.children and child.name ~= "" and ("no %s (which begins with %s)"):format(
    child.name, name) or ("no %s segment"):format(name)
  local severity = left_out[name] and not w.own_structure and "warning" or "error"
  say(w, p, "structure", severity, "100", ("%s in %s%s, which requires it"):format(what,
    group_name(inst, root), inst ~= root and behind and " at " .. behind or ""))
end

local function report_misplaced(w, names, root, p)
  local at = path(names, p.number)
  if p.rule == "many" then
    say(w, at, "structure", "warning", "100", ("one %s too many in %s"):format(p.name,
      group_name(p.group, root)))
  elseif p.rule == "order" then
    say(w, at, "structure", "warning", "100", ("%s stands out of order in %s"):format(p.name,
      group_name(p.group, root)))
  else
    -- what answers a query holds is up to the query
    local severity = root.type.name:find "^RSP_K" and not w.own_structure and "info" or "warning"
    say(w, at, "structure", severity, "100", ("%s has no place in the structure %s"):format(p.name,
      root.type.name))
  end
end

local function check(w, names, structure, own)
  local numbers, kept = {}, {}
  for i, name in ipairs(names) do
    if not envelopes[name] and name:find "^%u[%u%d][%u%d]$" and not w.misread[i] then
      kept[#kept + 1] = name
      numbers[#numbers + 1] = i
    end
  end
  w.own_structure = own
  local root, problems = match.match(numbers, kept, structure, {})
  for _, p in ipairs(problems) do
    p.number = numbers[p.number]
    report_misplaced(w, names, root, p)
  end
  match.missing(root, function(inst, child) report_missing(w, names, root, inst, child) end)
end

--- Segment order and groups. structure: a profile's own one, or nil for that of MSH-9. Gives the
--- structure's name.
function M.check(w, names, structure)
  local why, named
  local own = structure ~= nil
  if not own then
    structure, why, named = match.structure_of(w.msg, { version = w.version })
  end
  if not structure then
    if w.msg["MSH-9.1"] then say(w, "MSH-9", "structure", "info", "200", why) end
    return nil
  end
  if named and not named:find "^Z" and named ~= structure.name then
    say(w, "MSH-9.3", "structure", "warning", "200",
      ("names another structure than the event's, %s"):format(structure.name), named)
  end
  check(w, names, structure, own)
  return structure.name
end

return M
