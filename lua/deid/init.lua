-- Takes what identifies a patient out of messages: by data type and field, with pseudonyms from a
-- key. Nothing stays that no rule keeps. First what a field's rule says; then what was found to
-- identify (names, ids, phones) is sought in all that was kept, and taken out there, too.
local hl7 = require "hl7"
local dates = require "lunate.deid.dates"
local dictionary = require "lunate.dictionary"
local keyed = require "lunate.deid.keyed"
local parts = require "lunate.hl7.parts"
local plans = require "lunate.deid.plan"
local rules = require "lunate.deid.rules"
local values = require "lunate.deid.values"
local find, sub, concat = string.find, string.sub, table.concat

local M = {}
local Run = {}
Run.__index = Run

--- new(key, o): o.text "remove" (default) or "scrub"; o.dates "shift" (default), "year" or "keep";
--- o.providers "replace" (default) or "keep"; o.fields, o.components, o.segments, o.types: rules.
function M.new(key, o)
  local options = { text = o.text or "remove", dates = o.dates or "shift",
    providers = o.providers or "replace", fields = o.fields or {}, components = o.components or {},
    segments = o.segments or {}, types = o.types or {} }
  return setmetatable({ keyed = keyed.new(key), o = options, plans = plans.new(options),
    counts = {}, messages = 0 }, Run)
end

-- ---- what was found to identify -----------------------------------------------------------------

--- Is it a code of the entry's table?
function Run.known_code(_, entry, text)
  local t = entry and entry.table and dictionary.table(entry.table)
  return t ~= nil and t.codes[text] ~= nil
end

-- Remembers a value that was replaced, to find it elsewhere.
function Run:found(rule, text)
  if self.scrubbing or not rules.identifying[rule] then return end
  local least = (rule == "family" or rule == "given") and 2 or 4
  if #text < least or not find(text, "[%w\128-\255]") then return end
  local word = text:lower()
  if self.words[word] then return end
  self.words[word] = true
  self.words[#self.words + 1] = word
  if least == 2 and find(word, "[ -]") then -- each part of a double name
    for piece in word:gmatch "[^ -]+" do
      if #piece > 2 then self:found(rule, piece) end
    end
  end
end

local function is_word(text, at)
  local c = sub(text, at, at)
  return c ~= "" and find(c, "[%w\128-\255]") ~= nil
end

local run_of = "[%w\128-\255]+"

-- The words by what they begin with: so a text is gone through once, however many there are.
local function by_start(words)
  local index = {}
  for _, word in ipairs(words) do
    local start = word:match(run_of)
    index[start] = index[start] or {}
    table.insert(index[start], word)
  end
  return index
end

local function has_one(low, index)
  for at, start in low:gmatch("()(" .. run_of .. ")") do
    for _, word in ipairs(index[start] or {}) do
      local from = at - find(word, run_of) + 1
      if from > 0 and sub(low, from, from + #word - 1) == word then return true end
    end
  end
  return false
end

-- Takes each of the words out of a text, where it stands as a word; the longest first, so that a
-- whole name goes before its parts.
local function without(text, index)
  local here, seen = {}, {}
  for start in text:lower():gmatch(run_of) do
    for _, word in ipairs(not seen[start] and index[start] or {}) do here[#here + 1] = word end
    seen[start] = true
  end
  table.sort(here, function(a, b) return #a > #b end)
  for _, word in ipairs(here) do
    local low, from = text:lower(), 1
    while true do
      local at, to = find(low, word, from, true)
      if not at then break end
      if is_word(low, at - 1) or is_word(low, to + 1) then
        from = at + 1
      else
        text = sub(text, 1, at - 1) .. values.marker .. sub(text, to + 1)
        low, from = text:lower(), at + #values.marker
      end
    end
  end
  return text
end

--- Without what was found; free: also without what looks like a number, date or address of mail.
function Run:scrub(text, free)
  if free then
    text = text:gsub("[%w._%%+-]+@[%w.-]+", values.marker)
    text = text:gsub("%f[%w]%+?%(?%d[%d ()/.:+-]+%d", function(s)
      if select(2, s:gsub("%d", "")) >= 5 then return values.marker end
    end)
  end
  if self.index then text = without(text, self.index) end
  return text
end

-- ---- values -------------------------------------------------------------------------------------

function Run:count(path, rule)
  local key = path .. "\0" .. rule
  self.tally[key] = (self.tally[key] or 0) + 1
end

function Run:leaf(plan, raw, path)
  if raw == "" or raw == '""' then return raw end
  local rule, d = plan.rule, self.d
  if rule == "as_is" then return raw end
  local text = d.escape and find(raw, d.escape, 1, true) and hl7.unescape(raw, self.msg) or raw
  local new = values[rule](self, text, plan.entry)
  if rule ~= "keep" and rule ~= "code" then self:found(rule, text) end
  if new == text then return raw end
  self:count(path, rule)
  local ok, again = pcall(hl7.escape, new, self.msg)
  return ok and again or "" -- delimiters without an escape character: better nothing
end

local spread = { keep = true, as_is = true, code = true, number = true, date = true }

-- A value of a level (1: repetition, 2: component) by its plan.
function Run:value(plan, raw, level, path)
  if raw == "" or raw == '""' or plan.rule == "as_is" then return raw end
  local d = self.d
  local separator = level == 1 and d.component or level == 2 and d.subcomponent or nil
  local other = level == 1 and d.subcomponent or nil
  if not separator or not find(raw, separator, 1, true) then
    if plan.parts then return self:value(plan.parts(1), raw, level + 1, path) end
    if not other or not find(raw, other, 1, true) then return self:leaf(plan, raw, path) end
    separator = other
  end
  local rule = plan.rule
  if rule == "text" or rule == "blank" then return self:leaf(plan, raw, path) end
  local list = parts.split(raw, separator)
  for i, piece in ipairs(list) do
    local part = plan.parts and plan.parts(i) or (i == 1 or spread[rule]) and plan or plans.REMOVE
    list[i] = self:value(part, piece, separator == other and 3 or level + 1, path)
  end
  return concat(list, separator)
end

function Run:field(fields, n, raw)
  local name, d = fields.name, self.d
  if fields.header and n <= 2 then return raw end
  if raw == "" or raw == '""' then return raw end
  local value_type = name == "OBX" and n == 5 and (fields.value_type or "") or nil
  local plan = self.plans:field(name, n, self.version, value_type)
  if plan.rule == "as_is" then return raw end
  local path = (find(name, "^%u[%u%d][%u%d]$") and name or "(other)") .. "-" .. n
  if not d.repetition or not find(raw, d.repetition, 1, true) then
    return self:value(plan, raw, 1, path)
  end
  local reps = parts.split(raw, d.repetition)
  for r, rep in ipairs(reps) do reps[r] = self:value(plan, rep, 1, path) end
  return concat(reps, d.repetition)
end

-- The value of an observation of an age: over 89 is 90.
local ages = { ["30525-0"] = true, ["29553-5"] = true, ["21612-7"] = true, ["35659-2"] = true,
  ["63900-5"] = true, ["AGE"] = true }

local function clip_age(fields, d)
  local code = parts.split(fields[3] or "", d.component)[1]:upper()
  local n = tonumber(fields[5])
  if ages[code] and n and n > 89 then fields[5] = "90" end
end

-- ---- messages -----------------------------------------------------------------------------------

-- Whose record the following segments are: decides how far dates are shifted, and which names.
function Run:patient(fields)
  local d = self.d
  local reps, chosen = parts.split(fields[3] or "", d.repetition), nil
  for _, rep in ipairs(reps) do
    if parts.split(rep, d.component)[5] == "MR" then chosen = chosen or rep end
  end
  chosen = chosen or (reps[1] ~= "" and reps[1]) or fields[2] or fields[18] or ""
  local cx = parts.split(chosen, d.component)
  self.days = -1 - self.keyed:number("days", cx[1] .. "\0" .. (cx[4] or ""), 364)
  self.sex = fields[8]
end

function Run:segment(line)
  local fields = parts.fields(line, self.d.field)
  local name = fields.name
  if name == "PID" then self:patient(fields) end
  if name == "OBX" then
    fields.value_type = fields[2]
    if fields.value_type == "NM" then clip_age(fields, self.d) end
  end
  -- A name that is none may be text that got there by mistake.
  if not find(name, "^%w%w%w$") then fields.name = "ZZZ" end
  for n, raw in ipairs(fields) do fields[n] = self:field(fields, n, raw) end
  return parts.line(fields, self.d.field)
end

function Run:pass(lines)
  self.tally = {}
  local out = {}
  for i, line in ipairs(lines) do out[i] = self:segment(line) end
  out[#out + 1] = ""
  return concat(out, "\r")
end

local function first_patient(run, lines)
  run.days, run.sex = -1 - run.keyed:number("days", "", 364), nil
  for _, line in ipairs(lines) do
    if sub(line, 1, 3) == "PID" then return run:patient(parts.fields(line, run.d.field)) end
  end
end

--- The message without what identifies, in the wire form.
function Run:message(msg)
  self.msg, self.d, self.version = msg, msg:delimiters(), msg.version or ""
  local sent = msg:raw "MSH-7"
  self.today = sent and dates.days(sent:match "^[^%^]*") or math.floor(os.time() / 86400)
  self.words, self.index, self.scrubbing = {}, nil, false
  local lines = parts.lines(tostring(msg))
  first_patient(self, lines)
  local days, sex = self.days, self.sex
  local out = self:pass(lines)
  local index = by_start(self.words)
  if has_one(out:lower(), index) then
    self.index, self.scrubbing, self.days, self.sex = index, true, days, sex
    out = self:pass(lines)
  end
  for key, n in pairs(self.tally) do self.counts[key] = (self.counts[key] or 0) + n end
  self.messages = self.messages + 1
  return out
end

--- A segment around messages (FHS, BHS, BTS, FTS), in the delimiters of `head` or its own.
function Run:envelope(line, head)
  local own = parts.is_header(sub(line, 1, 3)) and line .. "\r" or head
  local msg = own and hl7.parse(own) or hl7.parse "MSH|^~\\&\r"
  self.msg, self.d, self.version = msg, msg:delimiters(), "2.5.1"
  self.words, self.index, self.scrubbing, self.tally = {}, nil, false, {}
  self.days, self.today = -1 - self.keyed:number("days", "", 364), math.floor(os.time() / 86400)
  local out = self:segment(line)
  for key, n in pairs(self.tally) do self.counts[key] = (self.counts[key] or 0) + n end
  return out .. "\r"
end

--- What was changed: a sorted list of { path, rule, count }.
function Run:report()
  local list = {}
  for key, n in pairs(self.counts) do
    local path, rule = key:match "^(.-)%z(.*)$"
    list[#list + 1] = { path = path, rule = rule, count = n }
  end
  table.sort(list, function(a, b)
    local sa, na = a.path:match "^(.-)%-(%d+)$"
    local sb, nb = b.path:match "^(.-)%-(%d+)$"
    if sa ~= sb then return sa < sb end
    if na ~= nb then return tonumber(na) < tonumber(nb) end
    return a.rule < b.rule
  end)
  return list
end

return M
