-- Walks the fields of one segment by its node (lunate.hl7.validate_compile) and adds what is wrong
-- to the list. Text is cut here, from the segment's bytes: one pass, a string per part.
--
-- How bad it is: what would be misread (a date that is none) is an error; what a reader has to know
-- of (codes that are not in HL7's tables, repetitions of fields that have none) is a warning; what
-- the standard itself calls advice, or leaves to the user (lengths, user tables, parts that a later
-- version may have added) is info. What a profile says is an error unless it says otherwise.
local compile = require "lunate.hl7.validate_compile"
local report = require "lunate.hl7.validate_report"
local add, characters = report.add, report.characters
local find, sub, byte = string.find, string.sub, string.byte

local M = {}

-- The path of where the walk is: w.name, nth, field, rep, comp, sub.
local function path_of(w, level)
  local p = w.name
  if w.nth > 1 then p = p .. "[" .. w.nth .. "]" end
  p = p .. "-" .. w.field
  if level == 1 then return p end
  if w.rep > 1 then p = p .. "[" .. w.rep .. "]" end
  if level > 2 then p = p .. "." .. w.comp end
  if level > 3 then p = p .. "." .. w.sub end
  return p
end

-- Fields longer than that are documents and pictures: not cut into parts, whose copies would take
-- more memory than a script may have.
local LARGE = 262144
-- Fields without which nobody knows whose or what the rest is.
local vital = { ["PID-3"] = true, ["OBR-4"] = true, ["OBX-3"] = true, ["MSA-1"] = true,
  ["MSA-2"] = true, ["RXA-5"] = true }
-- Conditional in the standard's text, required in the tables that the dictionary is made from; or
-- said better by the check of the header.
local not_required = { ["OBX-4"] = true, ["OBR-27"] = true, ["ORC-7"] = true, ["MSH-9"] = true,
  ["MSH-10"] = true, ["MSH-11"] = true, ["MSH-12"] = true }

-- level 1: the field, 2: a repetition, 3: a component, 4: a subcomponent. aspect: what of the node
-- is broken; a profile that set it makes it its own.
local function wrong(w, node, level, rule, aspect, severity, code, text, value)
  local of = node.rule
  if node.own and node.own[aspect] then
    severity = of.severity or "error"
    text = of.text or text
  else
    severity = w.severity[rule] or severity
  end
  if severity ~= "off" then
    local title = node.title
    if node.lift and level > 2 then -- PID-7, though TS.1 is its only part
      level = level - 1
      title = level == 2 and w.field_title or w.comp_title
    end
    add(w, path_of(w, level), rule, severity, code, text, title, value)
  end
end

-- Is there anything but delimiters in it?
local function valued(w, text)
  return text ~= "" and (not w.delimiter[byte(text)] or find(text, w.anything) ~= nil)
end

-- ---- leaves -------------------------------------------------------------------------------------

local function check_table(w, node, level, text)
  local value = text
  if w.escape and find(text, w.escape, 1, true) then value = w.unescape(text, w.msg) end
  if node.codes[value] then return end
  -- what may stand in MSH-9 is the header's and the structure's business: there are Z events
  if w.name == "MSH" and w.field == 9 and not (node.own and node.own.table) then return end
  if node.kind == "profile" or node.kind == "site" or (node.own and node.own.table) then
    if node.open then return end
    return wrong(w, node, level, "table", "table", node.kind == "hl7" and "warning" or "error",
      "103", ("the code is not in table %s"):format(node.table), text)
  end
  if node.open then return end
  if node.all and node.all[value] then
    return wrong(w, node, level, "table", "table", "info", "103",
      ("the code is in table %s of another version only"):format(node.table), text)
  end
  wrong(w, node, level, "table", "table", node.kind == "hl7" and "warning" or "info", "103",
    ("the code is not in %s table %s"):format(node.kind == "hl7" and "HL7's" or "the user-defined",
      node.table), text)
end

local function check_length(w, node, level, text)
  local plain = text
  if w.escape and find(text, w.escape, 1, true) then plain = w.unescape(text, w.msg) end
  local n = characters(plain)
  if n <= node.length then return end
  wrong(w, node, level, "length", "length", "info", w.code_length,
    ("%d characters: longer than %d"):format(n, node.length), text)
end

local function check_rule(w, node, level, text)
  local rule = node.rule
  local value = w.unescape(text, w.msg)
  if rule.values and not rule.values[value] then
    wrong(w, node, level, "value", "values", "error", "103",
      rule.value and "not the value that is expected" or "none of the values that are expected",
      text)
  end
  if rule.pattern and not find(value, rule.pattern) then
    wrong(w, node, level, "pattern", "pattern", "error", "102", "not of the expected form", text)
  end
  if rule.check then
    local ok, why = rule.check(value, w.segment, w.msg)
    if not ok then
      wrong(w, node, level, "check", "check", "error", "102",
        type(why) == "string" and why or "the profile's check says no", text)
    end
  end
end

local function leaf(w, node, level, text)
  if text == '""' then return end
  if node.wrong then
    local why, severity = node.wrong(text)
    if why then wrong(w, node, level, "type", "type", severity or "error", "102", why, text) end
  end
  if node.codes and not node.coded then check_table(w, node, level, text) end
  if node.length and #text > node.length then check_length(w, node, level, text) end
  if node.rule then check_rule(w, node, level, text) end
end

-- A rule for a composite is about what reading it gives: its first leaf.
local function check_first(w, node, level, text)
  local stop = find(text, w.first_leaf)
  text = stop and sub(text, 1, stop - 1) or text
  if text ~= "" and text ~= '""' then check_rule(w, node, level, text) end
end

-- ---- composites ---------------------------------------------------------------------------------

-- A part that is there although it has no place, or must not be there.
local function forbidden(w, node, level, text)
  if node.usage == "X" then
    wrong(w, node, level, "usage", "usage", "error", "102", "must be empty here", text)
  elseif node.usage == "W" then
    wrong(w, node, level, "usage", "usage", "info", "102",
      "withdrawn: this version has no such field any more", text)
  end
end

-- Required, or its condition says so: true, or false and whether it must be empty then.
local function required(w, node)
  local rule = node.rule
  if not (rule and rule.when) then return node.usage == "R" end
  local holds = rule.when(w.segment, w.msg)
  local usage = holds and rule.if_true or rule.if_false
  return usage == "R", usage == "X"
end

local function missing(w, node, level)
  local severity = level == 1 and "warning" or "info"
  if level == 1 and not node.rule then
    local path = w.name .. "-" .. node.number
    if not_required[path] then return end
    if vital[path] then severity = "error" end
  end
  wrong(w, node, level, "required", "usage", severity, "101",
    node.rule and node.rule.when and "required under this condition, but empty"
    or "required, but empty")
end

-- After the parts of a composite: those that are required. has: what was there, by number.
local function check_required(w, made, level, has)
  for i = 1, #made.required do
    local n = made.required[i]
    local node = made[n]
    if level == 3 then w.comp = n else w.sub = n end
    local must, empty = required(w, node)
    if must and not has[n] then
      missing(w, node, level)
    elseif empty and has[n] then
      wrong(w, node, level, "usage", "usage", "error", "102",
        "must be empty under this condition", nil)
    end
  end
end

local function extra(w, node, level, text, what)
  local free = node.type == "ST" or node.type == "TX" or node.type == "FT"
  wrong(w, node, level, "extra", "extra", free and level > 1 and "warning" or "info", "102",
    ("%s in the type %s, which has none%s"):format(what, node.type,
      free and ": a delimiter that is not escaped?" or ""), text)
end

local subcomponents

local function component(w, node, text)
  w.comp_title = node.title
  forbidden(w, node, 3, text)
  local sep = w.sub_sep
  if node.parts then
    subcomponents(w, node, text)
  elseif sep and node.type and not node.any and not node.suffix and find(text, sep, 1, true) then
    extra(w, node, 3, text, "subcomponents")
  else
    leaf(w, node, 3, text)
  end
end

-- Cuts text at sep and calls visit for what is valued. Returns what was there, or nil when nobody
-- needs to know.
local function cut(w, made, text, sep, level, visit)
  local has = made.required[1] and {} or nil
  local n, at = 0, 1
  while at do
    local stop = sep and find(text, sep, at, true)
    n = n + 1
    local part = stop ~= at and sub(text, at, (stop or 0) - 1) or ""
    if part ~= "" and valued(w, part) then
      if has then has[n] = true end
      if level == 3 then w.comp = n else w.sub = n end
      local node = made[n]
      if node then
        visit(w, node, part)
      elseif n > made.count then
        w.more = w.more or n
      end
    end
    at = stop and stop + 1
  end
  return has
end

local function subcomponent(w, node, text)
  forbidden(w, node, 4, text)
  leaf(w, node, 4, text)
end

local function too_many(w, node, level)
  if not w.more then return end
  w.comp, w.sub, w.more = level == 3 and w.more or w.comp, w.more, nil
  wrong(w, node, level, "extra", "extra", "info", "102",
    ("more parts than the type %s has"):format(node.type))
end

function subcomponents(w, node, text)
  local more = w.more
  w.more = nil
  local has = cut(w, node.parts, text, w.sub_sep, 4, subcomponent)
  too_many(w, node, 4)
  if has then check_required(w, node.parts, 4, has) end
  if node.rule then check_first(w, node, 3, text) end
  w.more = more
end

-- A coded value: its first component is of the table, unless it names another coding system.
local function check_coded(w, node, text)
  local sep = w.comp_sep
  local stop = sep and find(text, sep, 1, true)
  local code = stop and sub(text, 1, stop - 1) or text
  if code == "" or code == '""' then return end
  if stop then
    local second = find(text, sep, stop + 1, true)
    local third = second and find(text, sep, second + 1, true)
    local system = second and sub(text, second + 1, (third or 0) - 1) or ""
    if system ~= "" and system ~= "HL7" .. node.table and system ~= node.table then return end
  end
  w.comp = 1
  check_table(w, node, 3, code)
end

-- ---- fields -------------------------------------------------------------------------------------

local function repetition(w, node, text)
  if text == '""' then return end
  if node.any then return end
  if node.parts then
    local has = cut(w, node.parts, text, w.comp_sep, 3, component)
    too_many(w, node, 3)
    if has then check_required(w, node.parts, 3, has) end
    if node.coded then check_coded(w, node, text) end
    if node.rule then check_first(w, node, 2, text) end
    if node.length and node.own and node.own.length and #text > node.length then
      check_length(w, node, 2, text) -- the standard's lengths of composites mean nothing
    end
    return
  end
  local sep, subs = w.comp_sep, w.sub_sep
  if node.type and sep and find(text, sep, 1, true) then
    extra(w, node, 2, text, "components")
  elseif node.type and subs and find(text, subs, 1, true) then
    w.comp = 1
    extra(w, node, 3, text, "subcomponents")
  else
    leaf(w, node, 2, text)
  end
end

local function repetitions(w, node, text)
  local sep, at, n = w.rep_sep, 1, 0
  while at do
    local stop = find(text, sep, at, true)
    n = n + 1
    local one = sub(text, at, (stop or 0) - 1)
    w.rep = n
    if one ~= "" and valued(w, one) then repetition(w, node, one) end
    at = stop and stop + 1
  end
  if node.max and n > node.max then
    wrong(w, node, 1, "repeat", "max", "warning", "102", ("%d repetitions: %s"):format(n,
      node.max == 1 and "this field has none" or ("at most %d"):format(node.max)))
  end
  return n
end

-- What the type of OBX-5 and the like is: the text of another field of the segment.
local function varied(w, node)
  local name = w.types[node.varies]
  if not name then
    wrong(w, node, 1, "required", "usage", "warning", "101",
      ("%s-%d does not say of which type it is"):format(w.name, node.varies))
    return node
  end
  local made = w.compiler:of_type(node, name)
  if made then return made end
  w.field = node.varies
  local other = find(name, "^%u[%u%d]*$") and compile.is_type(name)
  wrong(w, { own = nil, title = nil }, 1, "table", "table", other and "info" or "warning", "103",
    other and "a data type of another version" or "no such data type", name)
  w.field = node.number
  return node
end

local function field(w, node, text)
  w.rep, w.comp, w.sub, w.field_title = 1, 1, 1, node.title
  if node.usage == "X" or node.usage == "W" then forbidden(w, node, 1, text) end
  if node.varies then node = varied(w, node) end
  local n = 1
  if w.rep_sep and find(text, w.rep_sep, 1, true) then
    n = repetitions(w, node, text)
  else
    repetition(w, node, text)
  end
  if node.min and n < node.min then
    wrong(w, node, 1, "repeat", "min", "error", "102",
      ("%d of at least %d repetitions"):format(n, node.min))
  end
end

local function check_fields(w, made, has)
  for i = 1, #made.required do
    local n = made.required[i]
    local node = made.fields[n]
    w.field = n
    local must, empty = required(w, node)
    if (must or (node.min or 0) > 0) and not has[n] then
      missing(w, node, 1)
    elseif empty and has[n] then
      wrong(w, node, 1, "usage", "usage", "error", "102", "must be empty under this condition")
    end
  end
end

--- One segment: raw its bytes, made its node; header: its first two fields are delimiters.
function M.segment(w, made, raw, header)
  local sep = w.field_sep
  local at, n, has = find(raw, sep, 1, true), header and 1 or 0, {}
  local fields = made.fields
  w.types = made.name == "OBX" and {} or nil
  if header then has[1], has[2] = true, true end
  while at do
    local stop = find(raw, sep, at + 1, true)
    n = n + 1
    -- an empty field, which most are, is no string
    local text, large = "", (stop or #raw + 1) - at > LARGE
    if large then has[n] = true end
    if stop ~= at + 1 and not large then text = sub(raw, at + 1, (stop or 0) - 1) end
    if text ~= "" and not (header and n == 2) and valued(w, text) then
      has[n], w.field = true, n
      if w.types and n == 2 then w.types[2] = text end
      local node = fields[n]
      if node then
        field(w, node, text)
      elseif made.known and n > made.count then
        w.extra = w.extra or n
      end
    end
    at = stop
  end
  if w.extra then
    w.field, w.extra = w.extra, nil
    wrong(w, { title = nil }, 1, "extra", "extra", "info", "102",
      ("%s has %d fields in this version"):format(made.name, made.count))
  end
  check_fields(w, made, has)
end

return M
