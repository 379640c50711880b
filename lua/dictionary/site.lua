-- What a site adds to the dictionary (hl7.dictionary.extend), checked and brought into the form of
-- the standard's own:
--   segments   = { ZPD = { title = "Pet data", [1] = { name = "set_id", type = "SI" }, ... } }
--   types      = { ZAD = { title = "...", [1] = { name = "street", type = "ST" }, ... } }
--   tables     = { ["0001"] = { name = "Sex", codes = { F = "Female", M = "Male" } } }
--   structures = { ADT_Z01 = "MSH EVN PID [ZPD]" }
--   events     = { ADT_Z01 = "ADT_Z01" }
-- An entry: name, type, title, usage (R RE O C X B W), max (or repeats = true), length, table. A
-- segment or type of the standard keeps the fields that are not named; a table is replaced, unless
-- it says add = true.
local core = require "lunate.hl7.core"
local grammar = require "lunate.dictionary.grammar"

local M = { fields = {}, tables = {}, structures = {}, events = {} }

local entry_keys = { name = "string", type = "string", title = "string", usage = "string",
  max = "number", repeats = "boolean", length = "number", table = "string" }
local usages = { R = true, RE = true, O = true, C = true, X = true, B = true, W = true }
local kinds = { segments = true, types = true, tables = true, structures = true, events = true }

local function fail(what, ...)
  error({ what:format(...) }, 0)
end

local function check_entry(at, e)
  if type(e) ~= "table" then fail("%s: a table is expected, got a %s", at, type(e)) end
  for key, value in pairs(e) do
    local want = entry_keys[key]
    if not want then fail("%s: '%s' is not known", at, tostring(key)) end
    if type(value) ~= want then fail("%s: %s is a %s", at, key, want) end
  end
  if not e.name or not e.name:find "^%l[%l%d_]*$" then
    fail("%s: a name in snake case is needed, such as \"set_id\"", at)
  end
  if e.usage and not usages[e.usage] then fail("%s: usage is one of R RE O C X B W", at) end
end

local function entry(at, n, e)
  check_entry(at, e)
  local max = e.max or (e.repeats and math.huge) or 1
  local title = e.title or e.name:gsub("_", " "):gsub("%f[%w]%l", string.upper)
  return { number = n, name = e.name, title = title, type = e.type or "ST", usage = e.usage or "O",
    max = max, repeats = max > 1, length = e.length, table = e.table }
end

local function owner(kind, name, t)
  if type(t) ~= "table" then fail("%s: a table is expected, got a %s", name, type(t)) end
  local have = M.fields[kind .. name]
  local added = { title = t.title or (have and have.title), entries = {} }
  for n, e in pairs(have and have.entries or {}) do added.entries[n] = e end
  for n, e in pairs(t) do
    if type(n) == "number" and n >= 1 and n % 1 == 0 then
      local at = name .. (kind == "=" and "-" or ".") .. n
      added.entries[n] = entry(at, n, e)
    elseif n ~= "title" then
      fail("%s: '%s' is not known: fields are numbered", name, tostring(n))
    end
  end
  return added
end

local function code_table(id, t)
  if type(t) ~= "table" or type(t.codes) ~= "table" then
    fail("table %s: { name = ..., codes = { code = meaning } } is expected", id)
  end
  local added = { id = id, name = t.name or "", kind = "site", open = t.open == true, codes = {},
    list = {}, add = t.add == true }
  for code, meaning in pairs(t.codes) do
    if type(code) == "number" then code, meaning = meaning, "" end
    if type(code) ~= "string" then fail("table %s: codes are strings", id) end
    added.codes[code] = tostring(meaning)
    added.list[#added.list + 1] = code
  end
  table.sort(added.list)
  return added
end

--- Adds a site's codes to a table of the standard's.
function M.add_codes(t, added)
  for _, code in ipairs(added.list) do
    if not t.codes[code] then t.list[#t.list + 1] = code end
    t.codes[code] = added.codes[code]
  end
  table.sort(t.list)
  if added.name ~= "" then t.name = added.name end
  t.kind, t.open = "site", added.open
end

--- What a profile says of a segment ("=", "ZPD", { ... }), checked: { title, entries }, or nil and
--- what is wrong.
function M.entries(kind, name, t)
  local ok, made = pcall(function()
    if type(name) ~= "string" or not name:find "^%u[%u%d][%u%d]$" then
      fail("'%s' is no segment's name", tostring(name))
    end
    return owner(kind, name, t)
  end)
  if ok then return made end
  if type(made) ~= "table" then error(made, 0) end
  return nil, made[1]
end

-- Everything is checked before anything is taken.
local function prepare(added)
  local new = { fields = {}, tables = {}, structures = {}, events = {} }
  for kind in pairs(added) do
    if not kinds[kind] then fail("dictionary.extend knows no '%s'", tostring(kind)) end
  end
  for name, t in pairs(added.segments or {}) do
    if type(name) ~= "string" or not name:find "^%u[%u%d][%u%d]$" then
      fail("'%s' is no segment's name", tostring(name))
    end
    new.fields["=" .. name] = owner("=", name, t)
  end
  for name, t in pairs(added.types or {}) do
    if type(name) ~= "string" or not name:find "^%u[%u%d_]*$" then
      fail("'%s' is no data type's name", tostring(name))
    end
    new.fields[":" .. name] = owner(":", name, t)
  end
  for id, t in pairs(added.tables or {}) do
    if tonumber(id) then id = ("%04d"):format(tonumber(id)) end
    new.tables[id] = code_table(id, t)
  end
  for name, text in pairs(added.structures or {}) do
    local root, why = grammar.parse(name, text)
    if not root then fail("%s", why) end
    root.site = true
    new.structures[name] = root
  end
  for key, name in pairs(added.events or {}) do
    if type(name) ~= "string" then fail("event %s: a structure's name is expected", key) end
    new.events[key] = name
  end
  return new
end

local function names_of(added)
  local names = {}
  for n, e in pairs(added.entries) do
    names[e.name] = n
    names[n] = e.type
  end
  return names
end

--- extend(added, level): takes it, or raises an error at that level.
function M.extend(added, level)
  if type(added) ~= "table" then error("dictionary.extend takes a table", level) end
  local ok, new = pcall(prepare, added)
  if not ok then error(type(new) == "table" and new[1] or new, level) end
  for kind, list in pairs(new) do
    for key, value in pairs(list) do M[kind][key] = value end
  end
  for key, t in pairs(new.fields) do core.names(key, names_of(t)) end
end

return M
