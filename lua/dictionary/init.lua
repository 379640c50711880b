-- hl7.dictionary: what the standard's versions 2.1 to 2.8.2 say of segments, data types, tables,
-- message structures and trigger events, and what a site adds to it. A line of the embedded texts
-- is read when it is first asked for, per version; nothing of it is needed to parse a message.
-- What these functions return is shared: read it, do not write to it.
local core = require "lunate.hl7.core"
local grammar = require "lunate.dictionary.grammar"
local site = require "lunate.dictionary.site"

local M = { versions = { "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1",
  "2.8", "2.8.1", "2.8.2" } }

M.state = 0 -- goes up when a site adds something: who keeps answers compares it

local read = {} -- version number -> what was read: key -> value, or false

-- ---- lines --------------------------------------------------------------------------------------

-- Is version v (a number) within "4-8,a"? Everything is within "". The answers are few: kept.
local within = setmetatable({}, { __index = function(answers, ranges)
  local set = {}
  for from, dash, to in ranges:gmatch "(%x)(%-?)(%x?)" do
    from = tonumber(from, 16)
    for v = from, dash == "-" and tonumber(to, 16) or from do set[v] = true end
  end
  if ranges == "" then
    for v = 1, #M.versions do set[v] = true end
  end
  answers[ranges] = set
  return set
end })

-- Number, name, type, versions, usage, repetitions, length, table, title of an entry; "" where it
-- says nothing.
local entry_pattern = "^(%d+)" .. ("%^?([^^]*)"):rep(8)

local function derived(name)
  return (name:gsub("_", " "):gsub("%f[%w]%l", string.upper))
end

-- Keeps what `make` returns for a key in a version; nil is kept as well.
local function once(v, key, make)
  read[v] = read[v] or {}
  local value = read[v][key]
  if value == nil then
    value = make() or false
    read[v][key] = value
  end
  return value or nil
end

local function number_of(version, level)
  if version ~= nil and type(version) ~= "string" then
    error("a version is a string, such as \"2.5.1\"", level + 1)
  end
  return core.version(version)
end

local function name_arg(name, what, level)
  if type(name) ~= "string" then
    error(("%s is a string, not a %s"):format(what, type(name)), level + 1)
  end
end

-- ---- segments and types -------------------------------------------------------------------------

-- Entries of a line in version v: number -> entry; what it says of itself, and of which versions
-- the other entries are.
local function read_line(line, v)
  local entries, titles, head, others = {}, {}, {}, {}
  for text in line:gmatch "[^|]+" do
    local number, name, type, ranges, usage, max, length, tab, title = text:match(entry_pattern)
    if number == "0" then
      head = { title = title, primitive = type == "primitive" }
    else
      if title == "" then title = titles[number .. name] or derived(name) end
      titles[number .. name] = title
      if within[ranges][v] then
        local n, repeats = tonumber(number), max == "" and 1 or tonumber(max) or math.huge
        entries[n] = { number = n, name = name, title = title, type = type ~= "-" and type or nil,
          usage = usage == "" and "O" or usage, max = repeats, repeats = repeats > 1,
          length = tonumber(length), table = tab ~= "" and tab or nil }
      else
        others[#others + 1] = ranges
      end
    end
  end
  return entries, head, others
end

local function last_number(entries)
  local n = 0
  for i in pairs(entries) do n = math.max(n, i) end
  return n
end

--- Why a line has nothing in a version.
local function not_in(what, name, others, version)
  local list = {}
  for v, text in ipairs(M.versions) do
    for _, ranges in ipairs(others) do
      if within[ranges][v] then
        list[#list + 1] = text
        break
      end
    end
  end
  if #list == 0 then return ("no %s %s in the dictionary"):format(what, name) end
  return ("no %s %s in version %s: it is in %s"):format(what, name, version,
    table.concat(list, ", "))
end

-- The reason is kept beside the nil, so that asking again costs as little.
local function owner(kind, name, v, version, what, make)
  local reason
  local value = once(v, kind .. name, function()
    local line = core.line("fields", kind .. name)
    local added = site.fields[kind .. name]
    local entries, head, others = {}, {}, {}
    if line then entries, head, others = read_line(line, v) end
    if not next(entries) and not added and not head.primitive then
      reason = not_in(what, name, others, version)
      read[v]["?" .. kind .. name] = reason
      return nil
    end
    if added then
      for n, e in pairs(added.entries) do entries[n] = e end
    end
    return make(entries, (added and added.title) or head.title or "")
  end)
  if not value then return nil, reason or read[v]["?" .. kind .. name] end
  return value
end

--- dictionary.segment(name [, version]) -> { name, title, version, count, fields = { [n] = field }}
--- or nil and why. version: 2.5.1 when left out; one that is not known means the next lower one.
--- A field: { number, name, title, type, usage, max, repeats, length, table }; usage is R, O, C, B
--- (kept for older versions) or W (withdrawn: no type); max is math.huge when it may repeat freely.
function M.segment(name, version)
  name_arg(name, "a segment's name", 2)
  local v, text = number_of(version, 2)
  return owner("=", name, v, text, "segment", function(entries, title)
    return { name = name, title = title, version = text, fields = entries,
      count = last_number(entries) }
  end)
end

--- dictionary.type(name [, version]) -> { name, title, version, primitive, count, components } or
--- nil and why. A component has what a field has.
function M.type(name, version)
  name_arg(name, "a data type's name", 2)
  local v, text = number_of(version, 2)
  return owner(":", name, v, text, "data type", function(entries, title)
    return { name = name, title = title, version = text, primitive = not next(entries),
      components = entries, count = last_number(entries) }
  end)
end

--- dictionary.field(path [, version]): the field "PID-3", the component "PID-3.4" or subcomponent
--- "PID-3.4.1"; nil and why when there is none. Repetitions and [n] in the path mean nothing.
function M.field(path, version)
  name_arg(path, "a path", 2)
  local plain = path:gsub("%[[%d*]+%]", "")
  local name, f, c, s = plain:match "^(%w+)%-(%d+)%.?(%d*)%.?(%d*)$"
  if not name then error(("wrong path \"%s\": as in PID-3 or PID-3.1"):format(path), 2) end
  local segment, why = M.segment(name, version)
  if not segment then return nil, why end
  local field = segment.fields[tonumber(f)]
  local at = name .. "-" .. f
  for _, n in ipairs { c, s } do
    if not field then break end
    if n ~= "" then
      local t = field.type and M.type(field.type, version)
      field, at = t and t.components[tonumber(n)], at .. "." .. n
    end
  end
  if not field then return nil, ("no %s in version %s"):format(at, segment.version) end
  return field
end

-- ---- tables -------------------------------------------------------------------------------------

local function read_table(id, line, v)
  local kind, open, name, codes, list = nil, nil, nil, {}, {}
  local k = 0
  for text in line:gmatch "[^|]+" do
    k = k + 1
    if k == 1 then
      kind, open = text:match "^(.)(%+?)"
    elseif k == 2 then
      name = text
    else
      local code, ranges, meaning = text:match "^([^^]*)%^?([^^]*)%^?([^^]*)"
      if not v or within[ranges][v] then
        codes[code] = meaning
        list[#list + 1] = code
      end
    end
  end
  return { id = id, name = name, kind = kind == "H" and "hl7" or "user", open = open == "+",
    codes = codes, list = list }
end

--- dictionary.table(id [, version]) -> { id, name, kind = "hl7", "user" or "site", open, codes =
--- { code = meaning }, list = codes in order } or nil and why. With a version, only its codes;
--- open: the standard says that there are more. id: "0001" or 1.
function M.table(id, version)
  if type(id) == "number" or (type(id) == "string" and id:find "^%d+$") then
    id = ("%04d"):format(tonumber(id))
  end
  name_arg(id, "a table's number", 2)
  local v = version ~= nil and number_of(version, 2) or nil
  local value = once(v or 0, "#" .. id, function()
    local line, added = core.line("tables", id), site.tables[id]
    if added and not added.add then return added end
    local t = line and read_table(id, line, v)
    if t and added then site.add_codes(t, added) end
    return t or added
  end)
  if not value then return nil, ("no table %s in the dictionary"):format(id) end
  return value
end

-- ---- structures and events ----------------------------------------------------------------------

-- The alternative of a line "versions^text|versions^text" for v, or the nearest version's (a later
-- one first); and which version that is.
local function nearest_version(line, v)
  for d = 0, #M.versions do
    for _, w in ipairs { v + d, v - d } do
      for ranges, text in (line .. "|"):gmatch "([^|^]*)^([^|]*)|" do
        if w >= 1 and w <= #M.versions and within[ranges][w] then return text, w end
      end
    end
  end
end

--- dictionary.structure(id [, version]) -> { name, version, min, max, children } or nil and why.
--- A child: { name, min, max, choice, children }; one without children is a segment. When the
--- version lacks it, the nearest one's is given: compare `version`.
function M.structure(id, version)
  name_arg(id, "a message structure", 2)
  local v = number_of(version, 2)
  local value = once(v, "/" .. id, function()
    if site.structures[id] then return site.structures[id] end
    local line = core.line("structures", id)
    if not line then return nil end
    local text, w = nearest_version(line, v)
    local root = assert(grammar.parse(id, text))
    root.version = M.versions[w]
    return root
  end)
  if not value then return nil, ("no message structure %s in the dictionary"):format(id) end
  return value
end

--- dictionary.event(type, event [, version]) -> the name of the message's structure, and the
--- version that says so (the nearest one when the asked one lacks the event); or nil and why.
function M.event(message_type, event, version)
  name_arg(message_type, "a message type", 2)
  name_arg(event, "a trigger event", 2)
  local v, text = number_of(version, 2)
  local key = message_type .. "_" .. event
  if site.events[key] then return site.events[key], text end
  local line = core.line("events", key)
  if not line then return nil, ("no event %s^%s in the dictionary"):format(message_type, event) end
  local name, w = nearest_version(line, v)
  return name, M.versions[w]
end

--- dictionary.names(what) -> sorted list of all names: "segments", "types", "tables", "structures",
--- "events", over all versions.
function M.names(what)
  local list, prefix = {}, ({ segments = "=", types = ":" })[what]
  local text = prefix and "fields" or what
  if not prefix and not site[what] then
    error("names of \"segments\", \"types\", \"tables\", \"structures\" or \"events\"", 2)
  end
  local seen = {}
  for _, key in ipairs(core.keys(text)) do seen[key] = true end
  for key in pairs(site[text]) do seen[key] = true end
  for key in pairs(seen) do
    if not prefix then
      list[#list + 1] = key
    elseif key:sub(1, 1) == prefix then
      list[#list + 1] = key:sub(2)
    end
  end
  table.sort(list)
  return list
end

--- dictionary.extend { segments, types, tables, structures, events }: what a site adds, for all
--- versions (lua/dictionary/site.lua says in which form). Raises an error when it is wrong.
function M.extend(added)
  site.extend(added, 3)
  M.state = M.state + 1
  for v in pairs(read) do read[v] = nil end
end

return M
