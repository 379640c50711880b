-- dictionary.lua DIR [OUT]: writes HL7's dictionary, versions 2.1 to 2.8.2, as the texts that are
-- embedded in the binary: OUT/fields.lua, tables.lua, structures.lua, events.lua (OUT is
-- lua/dictionary when left out), from the facts in DIR: segments.csv, segment_names.csv,
-- datatypes.csv, tables.csv, structures.json, events.csv. Each text's head says how to read it.
--   lunate lua contrib/dictionary.lua DIR
local dir = assert(arg[1], "usage: lunate lua contrib/dictionary.lua DIR [OUT]")
local out_dir = arg[2] or "lua/dictionary"
local versions = { "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1",
  "2.8", "2.8.1", "2.8.2" }
local number_of = {}
for i, v in ipairs(versions) do number_of[v] = i end

-- ---- reading ------------------------------------------------------------------------------------

local function read_file(name)
  local f = assert(io.open(dir .. "/" .. name))
  local text = f:read "*a"
  f:close()
  return text
end

--- Rows of a CSV file, without its heading; quotes may enclose commas and line ends.
local function rows(file)
  local text, at, heading = read_file(file):gsub("\r\n", "\n"), 1, true
  local function cell()
    if text:sub(at, at) ~= '"' then
      local stop = text:find("[,\n]", at) or #text + 1
      local value = text:sub(at, stop - 1)
      at = stop
      return value
    end
    local value = ""
    at = at + 1
    while true do
      local quote = assert(text:find('"', at, true))
      value = value .. text:sub(at, quote - 1)
      at = quote + 1
      if text:sub(at, at) ~= '"' then return value end
      value, at = value .. '"', at + 1
    end
  end
  local function row()
    if at > #text then return nil end
    local list = { cell() }
    while text:sub(at, at) == "," do
      at = at + 1
      list[#list + 1] = cell()
    end
    at = at + 1
    return list
  end
  return function()
    if heading then
      heading = false
      row()
    end
    return row()
  end
end

-- ---- texts --------------------------------------------------------------------------------------

local plain = { ["\226\128\152"] = "'", ["\226\128\153"] = "'", ["\226\128\156"] = '"',
  ["\226\128\157"] = '"', ["\226\128\147"] = "-", ["\226\128\148"] = "-", ["\194\180"] = "'",
  ["\194\160"] = " ", ["\226\137\164"] = "<=", ["\226\137\165"] = ">=" }

--- Text for people: ASCII quotes and dashes, no separators of ours.
local function title(text)
  text = text:gsub("\195\130", "") -- what a no-break space becomes when encoded twice
  text = text:gsub("\194[\160-\191]", plain):gsub("\226[\128-\191][\128-\191]", plain)
  return (text:gsub("[|^]", "/"):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

--- "Mother's Maiden Name (e.g., X)" -> "mothers_maiden_name"
local function snake(name)
  name = title(name):gsub("%s*%(e%.?g%.?[^)]*%)", ""):lower()
  name = name:gsub("'s%f[^%w]", "s"):gsub("'", ""):gsub("[^a-z0-9]+", "_")
  name = name:gsub("^_+", ""):gsub("_+$", ""):gsub("(%a)_s_", "%1s_")
  return (name:gsub("^(%d)", "n%1"))
end

--- The title that a reader makes of the snake-case name when none is given.
local function derived(name)
  return (name:gsub("_", " "):gsub("%f[%w]%l", string.upper))
end

--- { [3] = true, [4] = true, [7] = true } -> "3-4,7", numbers as hexadecimal digits; all: "".
local function ranges(set)
  local list, i = {}, 1
  while i <= #versions do
    if set[i] then
      local from = i
      while set[i + 1] do i = i + 1 end
      list[#list + 1] = from == i and ("%x"):format(i) or ("%x-%x"):format(from, i)
    end
    i = i + 1
  end
  local text = table.concat(list, ",")
  return text == ("1-%x"):format(#versions) and "" or text
end

--- Parts joined with ^, without those empty ones that end it.
local function item(...)
  return (table.concat({ ... }, "^"):gsub("%^+$", ""))
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function write(name, about, lines)
  local f = assert(io.open(out_dir .. "/" .. name .. ".lua", "w"))
  f:write("-- luacheck: no max line length\n-- Written by contrib/dictionary.lua. ", about, "\n",
    "-- Versions are counted in hexadecimal: 1 = ", table.concat(versions, ", "),
    (" = %x.\n"):format(#versions), "return [=[\n", table.concat(lines, "\n"), "\n]=]\n")
  f:close()
end

-- ---- fields and components ----------------------------------------------------------------------

local function owner_of(owners, key)
  owners[key] = owners[key] or { entries = {}, index = {}, title = "" }
  return owners[key]
end

--- One version of a field. What stands the same in several versions is one entry; the title of a
--- name is that of its latest version.
local function add(owner, version, e)
  e.key = item(e.seq, e.name, e.type, e.usage, e.max, e.length, e.table)
  if not owner.index[e.key] then
    owner.index[e.key] = e
    e.versions = {}
    table.insert(owner.entries, e)
  end
  owner.index[e.key].versions[version] = true
  owner[e.seq .. e.name] = e.title
end

local function read_fields(owners)
  for r in rows "segments.csv" do
    local name = snake(r[4])
    if name ~= "" then
      add(owner_of(owners, "=" .. r[2]), number_of[r[1]], { seq = tonumber(r[3]), name = name,
        title = title(r[4]), type = r[5], usage = r[6] == "O" and "" or r[6],
        max = r[7] == "1" and "" or r[7], length = r[8], table = r[9] })
    end
  end
  for r in rows "segment_names.csv" do owner_of(owners, "=" .. r[1]).title = title(r[2]) end
end

local function read_types(owners)
  for r in rows "datatypes.csv" do
    local owner, name = owner_of(owners, ":" .. r[2]), snake(r[4])
    if r[3] == "0" then
      owner.kind = r[5]
      if r[4] ~= "" then owner.title = title(r[4]) end
    elseif name ~= "" then
      add(owner, number_of[r[1]], { seq = tonumber(r[3]), name = name, title = title(r[4]),
        type = r[5], usage = r[6] == "O" and "" or r[6], max = "", length = r[7], table = r[8] })
    end
  end
end

local function write_fields()
  local owners, lines = {}, {}
  read_fields(owners)
  read_types(owners)
  for _, key in ipairs(sorted_keys(owners)) do
    local owner = owners[key]
    table.sort(owner.entries, function(a, b)
      if a.seq ~= b.seq then return a.seq < b.seq end
      return ranges(a.versions) < ranges(b.versions)
    end)
    local head = item("0", "", owner.kind or "", "", "", "", "", "", owner.title)
    local list, given = { key, head }, {}
    for _, e in ipairs(owner.entries) do
      local text, id = owner[e.seq .. e.name], e.seq .. e.name
      if given[id] or text == derived(e.name) then text = "" end
      given[id] = true
      list[#list + 1] = item(e.seq, e.name, e.type, ranges(e.versions), e.usage, e.max, e.length,
        e.table, text)
    end
    lines[#lines + 1] = table.concat(list, "|")
  end
  write("fields", "A line per segment (=PID) and per data type (:XPN), entries\n"
    .. "-- between |, in an entry between ^: number, name, type, versions (all when empty), usage\n"
    .. "-- (R C B W; O when empty), repetitions (1 when empty), length, table, title (that of an\n"
    .. "-- entry before with the same name, or the name with capitals, when empty). Entry 0 is\n"
    .. "-- the segment or type itself.", lines)
end

-- ---- tables -------------------------------------------------------------------------------------

local function write_tables()
  local tables, lines = {}, {}
  for r in rows "tables.csv" do
    local t = tables[r[1]] or { name = title(r[2]), codes = {}, open = "",
      kind = r[3] == "hl7" and "H" or "U" }
    tables[r[1]] = t
    local code = r[4]
    -- "...", "12 ... 16", "Q<integer>J<day#>": the codes are not all listed. Slips of the sources
    -- ("An identifier for a provider a") are none.
    if code:find("...", 1, true) or code:find "[<|^]" then
      t.open = "+"
    elseif code ~= "" and not code:find "^An [Ii]dentifier" then
      local set = {}
      for v in r[6]:gmatch "%S+" do set[assert(number_of[v])] = true end
      local meaning = title(r[5])
      t.codes[#t.codes + 1] = item(title(code), ranges(set), meaning)
    end
  end
  for _, id in ipairs(sorted_keys(tables)) do
    local t = tables[id]
    table.sort(t.codes)
    lines[#lines + 1] = id .. "|" .. t.kind .. t.open .. "|" .. t.name
      .. (#t.codes > 0 and "|" or "") .. table.concat(t.codes, "|")
  end
  write("tables", "A line per table, parts between |: number, H (HL7's) or\n"
    .. "-- U (user's), + when not all codes are listed; name; then codes, in each between ^:\n"
    .. "-- code, versions (all when empty), meaning.", lines)
end

-- ---- message structures -------------------------------------------------------------------------

local grammar

-- Groups that the sources write as a choice though the standard has a sequence of them.
local function is_sequence(name)
  return name:find "^QUERY" or name:find "^INVOICE" or name:find "^AUTHORIZATION"
    or name:find "^REASSESSMENT" or name:find "^PAYMENT" or name:find "^ANTI_MICROBIAL"
end

-- A group of nothing stands for segments that the sender chooses (query by example).
local function is_any(node)
  return node[1] == "ANYHL7SEGMENT" or (node[4] ~= nil and #node[5] == 0)
end

local function element(node)
  local name, min, max, kind, children = node[1], node[2], node[3], node[4], node[5]
  if not name:find "," then name = name:upper():gsub("[^A-Z0-9_]", "_") end
  local text = name
  if is_any(node) then
    text, min, max = "ANY", 0, -1
  elseif kind == "choice" and not is_sequence(name) then
    text = name .. "<" .. grammar(children, "/") .. ">"
    for _, child in ipairs(children) do
      if is_any(child) then min = 0 end
    end
  elseif kind then
    text = name .. "(" .. grammar(children, " ") .. ")"
  end
  if max ~= 1 then text = "{" .. text .. "}" end
  return min == 0 and "[" .. text .. "]" or text
end

--- [["MSH",1,1],["NTE",0,-1],["PATIENT",0,1,"seq",[...]]] -> "MSH [{NTE}] [PATIENT(...)]"
grammar = function(nodes, separator)
  local list = {}
  for i, node in ipairs(nodes) do list[i] = element(node) end
  return table.concat(list, separator)
end

local function write_structures()
  local structures, lines = {}, {}
  for version, list in pairs(json.decode(read_file "structures.json")) do
    for name, nodes in pairs(list) do
      local text = grammar(nodes, " ")
      -- Choices whose names were lost: the nearest version's structure stands in for it.
      if not text:find(",", 1, true) then
        structures[name] = structures[name] or {}
        structures[name][text] = structures[name][text] or {}
        structures[name][text][assert(number_of[version])] = true
      end
    end
  end
  for _, name in ipairs(sorted_keys(structures)) do
    local list = {}
    for text, set in pairs(structures[name]) do list[#list + 1] = ranges(set) .. "^" .. text end
    table.sort(list)
    lines[#lines + 1] = name .. "|" .. table.concat(list, "|")
  end
  write("structures", "A line per message structure: name, then between |:\n"
    .. "-- versions^grammar. [X] is optional, {X} repeats, NAME(...) is a group, NAME<A/B> a\n"
    .. "-- choice, ANY any segment.",
    lines)
end

local function write_events()
  local events, lines = {}, {}
  for r in rows "events.csv" do
    events[r[2]] = events[r[2]] or {}
    events[r[2]][r[3]] = events[r[2]][r[3]] or {}
    events[r[2]][r[3]][number_of[r[1]]] = true
  end
  for _, event in ipairs(sorted_keys(events)) do
    local list = {}
    for structure, set in pairs(events[event]) do list[#list + 1] = item(ranges(set), structure) end
    table.sort(list)
    lines[#lines + 1] = event .. "|" .. table.concat(list, "|")
  end
  write("events", "A line per trigger event: TYPE_EVENT, then between |:\n"
    .. "-- versions^structure.", lines)
end

write_fields()
write_tables()
write_structures()
write_events()
