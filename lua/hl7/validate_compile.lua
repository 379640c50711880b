-- What validation walks by: the dictionary's segments and types as nodes, with a profile's rules
-- over them. A node:
--   number, title, usage, severity   of the field, component or subcomponent
--   type       its data type's name
--   max, min   repetitions (fields)
--   length, table, codes (set), open (the table is not all there is)
--   wrong      the check of its primitive type
--   parts, count, required     of a composite: nodes by number, the list of those that are required
--   varies     number of the field that names its type (OBX-5)
--   rule       what a profile says of it, and own = { aspect = true }: what is the profile's
-- Without a profile nodes are shared by all that have the type, and kept per version.
local dictionary = require "lunate.dictionary"
local primitive = require "lunate.hl7.validate_primitive"

local M = {}

-- Any code may stand in these: coding systems and universal id types are made up everywhere.
local open_tables = { ["0396"] = true, ["0301"] = true, ["0300"] = true, ["0361"] = true,
  ["0362"] = true, ["0363"] = true, ["0399"] = true, ["0125"] = true }

-- Codes that the standard's text has and the dictionary's sources lack.
local more_codes = { ["0211"] = { "ASCII" } }
local coded = { CE = true, CWE = true, CNE = true, CF = true }
-- Fields whose table is in doubt: 0287 in 2.7 and 0206 later, say the sources; senders of 2.8 write
-- the codes of 0287.
local doubtful = { PRT = { [2] = true } }

local function is_open(t)
  if t.kind == "site" then return t.open end
  if t.open or open_tables[t.id] or #t.list == 0 then return true end
  for _, code in ipairs(t.list) do -- "A1...A9", "99zzz", "No suggested values"
    if code:find("…", 1, true) or code:find("..", 1, true) or code:find "nnnn" or code:find "zzz"
      or code:find "^%d+%-%d+$" then
      return true
    end
  end
  return false
end

-- Codes of a table: all the versions', so that a code of another one is told apart.
local function take_table(node, id, version, tables)
  local own = tables and tables[id]
  if own then
    node.table, node.codes, node.kind, node.open = id, own.codes, "profile", own.open
    return
  end
  local all = dictionary.table(id)
  if not all or #all.list == 0 then return end
  node.table, node.kind, node.open = id, all.kind, is_open(all)
  node.all = all.codes
  node.codes = all.kind == "site" and all.codes or dictionary.table(id, version).codes
  if not next(node.codes) then node.codes = all.codes end
  if more_codes[id] then
    local codes = {}
    for code, meaning in pairs(node.codes) do codes[code] = meaning end
    for _, code in ipairs(more_codes[id]) do codes[code] = code end
    node.codes = codes
  end
end

-- An entry of the dictionary as a node without its type.
local function plain(entry, version, tables)
  local node = { number = entry.number, title = entry.title, usage = entry.usage, max = entry.max,
    length = entry.length, type = entry.type }
  if entry.table then take_table(node, entry.table, version, tables) end
  return node
end

local function over(node, rule, version, tables)
  if not rule then return end
  node.rule, node.own = rule, rule.own
  for _, key in ipairs { "usage", "max", "min", "length", "title", "type" } do
    if rule[key] ~= nil then node[key] = rule[key] end
  end
  if rule.table then take_table(node, rule.table, version, tables) end
end

local function needs(node)
  local usage = node.usage
  if usage == "R" then return true end
  return node.rule ~= nil and node.rule.when ~= nil
end

local Compiler = {}
Compiler.__index = Compiler

-- Components of a type: list by number, how many, which are required. Kept unless a rule is below.
function Compiler:parts(name, rules, level)
  local cached = not rules and level == 1 and self.types[name]
  if cached then return cached end
  local t = name and dictionary.type(name, self.version)
  if not t or t.primitive then
    if not rules then return nil end
    t = { count = 0, components = {} } -- of what a profile says alone
  end
  local made = { count = t.count, required = {} }
  if not rules and level == 1 then self.types[name] = made end
  for n = 1, t.count do
    local entry, rule = t.components[n], rules and rules[n]
    if entry or rule then
      local node = plain(entry or { number = n, usage = "O", max = 1 }, self.version, self.tables)
      over(node, rule, self.version, self.tables)
      self:type_of(node, rule and rule.parts, level + 1, name)
      -- "71020&IMP": the suffixes of observation identifiers (chapter 7)
      node.suffix = n == 1 and (name == "CE" or name == "CWE")
      node.lift = n == 1 and name == "TS"
      made[n] = node
      if needs(node) then made.required[#made.required + 1] = n end
    end
  end
  for n, rule in pairs(rules or {}) do
    if n > t.count then
      made[n] = { number = n, usage = rule.usage, max = 1, rule = rule, own = rule.own }
      over(made[n], rule, self.version, self.tables)
      self:type_of(made[n], rule.parts, level + 1, name)
      if needs(made[n]) then made.required[#made.required + 1] = n end
    end
  end
  if t.count == 0 then made.count = math.huge end
  return made
end

-- Gives a node its type. level 1: of a field; 2: of a component; 3: of a subcomponent.
function Compiler:type_of(node, rules, level, owner)
  local name = node.type
  if not name then
    if level <= 2 then node.parts = self:parts(nil, rules, level) end
    return
  end
  if owner == "TS" and node.number == 1 then name = "DTM" end
  node.wrong = primitive[name]
  if name == "varies" or name == "*" then
    node.any = true
    return
  end
  if level <= 2 then
    node.parts = self:parts(name, rules, level)
    if node.parts then node.wrong = nil end
  end
  -- A table at a coded field is that of its first component; at other composites (the kind of
  -- identifier at a CX, the units at a CQ) nobody knows of which one.
  if node.parts and node.codes then
    node.coded = coded[name] or false
    if not coded[name] then node.codes = nil end
  end
end

--- The node for a field whose type is named in the message (OBX-5): nil when there is none.
function Compiler:of_type(field, name)
  local kept = self.varying[field] or {}
  self.varying[field] = kept
  local node = kept[name]
  if node == nil then
    local t = name:find "^%u[%u%d_]*$" and dictionary.type(name, self.version)
    node = false
    if t then
      node = setmetatable({ type = name, any = false }, { __index = field })
      self:type_of(node, field.rule and field.rule.parts, 1)
    end
    kept[name] = node
  end
  return node or nil
end

-- Their last field goes on in successive ones.
local endless = { QPD = true, RDT = true }

local varying = { OBX = { [5] = 2 } }

local function segment_entries(self, name)
  local own = self.profile and self.profile.segments[name]
  local segment, why = dictionary.segment(name, self.version)
  local other
  if not segment and not own and not self.bare then
    for i = #dictionary.versions, 1, -1 do
      segment = dictionary.segment(name, dictionary.versions[i])
      if segment and segment.count > 0 then other = dictionary.versions[i] break end
      segment = nil
    end
  end
  if self.bare and not own then segment = nil end
  if not segment and not own then return nil, why end
  local entries, count = {}, segment and segment.count or 0
  for n, e in pairs(segment and segment.fields or {}) do entries[n] = e end
  for n, e in pairs(own and own.entries or {}) do
    entries[n] = e
    if n > count then count = n end
  end
  return entries, count, other
end

--- The segment's node: { name, fields, count, required, other (the version it is taken from),
--- known }; known is false for one that neither dictionary nor profile have.
function Compiler:segment(name)
  local made = self.segments[name]
  if made then return made end
  local rules = self.profile and self.profile.tree[name]
  local entries, count, other = segment_entries(self, name)
  made = { name = name, fields = {}, count = count or 0, required = {}, other = other,
    known = entries ~= nil, rule = rules and rules.rule }
  if endless[name] then made.count = math.huge end
  if type(entries) == "table" then
    for n, entry in pairs(entries) do
      local node = plain(entry, self.version, self.tables)
      if doubtful[name] and doubtful[name][n] then node.codes = nil end
      if endless[name] then node.max = math.huge end
      made.fields[n] = node
    end
  end
  for n, rule in pairs(rules and rules.parts or {}) do
    made.fields[n] = made.fields[n] or { number = n, usage = "O", max = math.huge }
    over(made.fields[n], rule, self.version, self.tables)
    if n > made.count then made.count = n end
  end
  for n, node in pairs(made.fields) do
    local rule = rules and rules.parts[n]
    self:type_of(node, rule and rule.parts, 1)
    if varying[name] then node.varies = varying[name][n] end
    if needs(node) or (node.min or 0) > 0 then made.required[#made.required + 1] = n end
  end
  table.sort(made.required)
  if made.known or rules then self.segments[name] = made end -- names come from messages: are many
  return made
end

--- Does any version have this data type?
function M.is_type(name)
  for _, version in ipairs(dictionary.versions) do
    if dictionary.type(name, version) then return true end
  end
  return false
end

local standard = {} -- version -> compiler

--- The compiler for a version of the standard, or for a profile in it. Both keep what they made.
function M.new(version, profile)
  local kept = profile and profile.compiled or standard
  if profile then
    -- a site may have added to the dictionary since
    kept.state = kept.state or dictionary.state
    if kept.state ~= dictionary.state then
      for key in pairs(kept) do kept[key] = nil end
      kept.state = dictionary.state
    end
  elseif M.state ~= dictionary.state then
    standard, M.state = {}, dictionary.state
    kept = standard
  end
  local c = kept[version]
  if not c then
    c = setmetatable({ version = version, profile = profile, bare = profile and profile.bare,
      tables = profile and profile.tables, types = {}, segments = {},
      varying = setmetatable({}, { __mode = "k" }) }, Compiler)
    kept[version] = c
  end
  return c
end

return M
