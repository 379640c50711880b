-- What a feed of messages really contains, counted: types, segments, fields, dates, codes, what is
-- wrong with them. Memory is bounded: everything that the messages could make grow has a limit, and
-- says how much was beyond it.
--
-- No text of a message is kept but what lunate.cli.feed_values lets through: codes. Names, ids,
-- addresses, dates and free text are counted, measured and described by their shape alone.
local values = require "lunate.cli.feed_values"
local kinds = require "lunate.cli.problem_kinds"
local dictionary = require "lunate.dictionary"
local json = require "lunate.cli.json"

local M = {}
local Feed = {}
Feed.__index = Feed

local SEGMENTS, FIELDS = 300, 300

-- ---- counters -----------------------------------------------------------------------------------

--- A counter of at most `limit` different words; `more` counts those of further words.
function M.counter(limit)
  return { by = {}, n = 0, limit = limit, total = 0, more = 0 }
end

local function count(c, word)
  c.total = c.total + 1
  local have = c.by[word]
  if have then
    c.by[word] = have + 1
  elseif c.n < c.limit then
    c.by[word], c.n = 1, c.n + 1
  else
    c.more = c.more + 1
  end
end

--- The words of a counter, the most frequent first: list of { word, count }.
function M.sorted(c)
  local list = {}
  for word, n in pairs(c.by) do list[#list + 1] = { word, n } end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  return list
end

--- new() -> an empty feed; feed:add(msg, bytes, where) for each message.
function M.new()
  return setmetatable({ messages = 0, bytes = 0, longest = 0, types = M.counter(500),
    versions = M.counter(50), declared = M.counter(50), encodings = M.counter(5),
    delimiters = M.counter(20), senders = M.counter(100), follows = M.counter(2000),
    segments = {}, nsegments = 0, more_segments = 0, problems = kinds.new() }, Feed)
end

-- ---- fields -------------------------------------------------------------------------------------

local function new_segment(name)
  return { name = name, messages = 0, count = 0, most = 0, first_at = 0, fields = {}, nfields = 0,
    z = name:byte() == 90 }
end

local function new_field(segment, n, entry)
  return { number = n, title = entry and entry.title, type = entry and entry.type, filled = 0,
    nulls = 0, shortest = math.huge, longest = 0, sum = 0, most = 1, repeated = 0,
    policy = values.policy(segment, n, entry) }
end

local function repetitions(text, sep)
  local n, at = 1, 1
  while true do
    at = text:find(sep, at, true)
    if not at then return n end
    n, at = n + 1, at + 1
  end
end

local function add_field(segment, n, text, w)
  local f = segment.fields[n]
  if not f then
    if n > FIELDS then return end
    local known = w.entry(segment.name)
    f = new_field(segment.name, n, known and known.fields[n])
    segment.fields[n] = f
    segment.nfields = math.max(segment.nfields, n)
  end
  if text == '""' then
    f.nulls = f.nulls + 1
    return
  end
  f.filled = f.filled + 1
  f.shortest, f.longest = math.min(f.shortest, #text), math.max(f.longest, #text)
  f.sum = f.sum + #text
  local first = text
  if w.rep and text:find(w.rep, 1, true) then
    f.repeated = f.repeated + 1
    f.most = math.max(f.most, repetitions(text, w.rep))
    first = text:sub(1, text:find(w.rep, 1, true) - 1)
  end
  if f.policy then values.take(f, first, w, count, M.counter) end
end

-- Field by field of a segment's bytes.
local function add_fields(segment, raw, header, w)
  local at, n = raw:find(w.field, 1, true), header and 1 or 0
  while at do
    local stop = raw:find(w.field, at + 1, true)
    n = n + 1
    if stop ~= at + 1 then
      local text = raw:sub(at + 1, (stop or 0) - 1)
      if text:find(w.anything) and not (header and n < 3) then
        add_field(segment, n, text, w)
      end
    end
    at = stop
  end
end

-- ---- messages -----------------------------------------------------------------------------------

local function encoding(bytes)
  if not bytes:find "[\128-\255]" then return "ASCII" end
  return json.is_text(bytes) and "UTF-8" or "other bytes"
end

local function joined(msg, a, b)
  local x, y = msg[a], msg[b]
  return x and (y and x .. "^" .. y or x) or "(none)"
end

-- MSH-7 as a day, for the first and the last one.
function Feed:day(msg)
  local day = (msg["MSH-7"] or ""):match "^%d%d%d%d%d%d%d%d"
  if not day then return end
  if not self.first_day or day < self.first_day then self.first_day = day end
  if not self.last_day or day > self.last_day then self.last_day = day end
end

function Feed:header(msg, bytes)
  count(self.types, msg["MSH-9.1"] and joined(msg, "MSH-9.1", "MSH-9.2") or "(none)")
  count(self.versions, msg["MSH-12.1"] or "(none)")
  count(self.declared, msg["MSH-18"] or "(none)")
  count(self.encodings, encoding(bytes))
  count(self.delimiters, (msg["MSH-1"] or "") .. (msg["MSH-2"] or ""))
  count(self.senders, joined(msg, "MSH-3", "MSH-4"))
  self:day(msg)
end

local function walk_of(msg)
  local d, version = msg:delimiters(), msg["MSH-12.1"]
  local set = ""
  for _, c in ipairs { d.repetition or "", d.component or "", d.subcomponent or "" } do
    set = set .. c:gsub("%W", "%%%0")
  end
  return { msg = msg, field = d.field, rep = d.repetition, comp = d.component,
    sub = d.subcomponent, anything = set ~= "" and "[^" .. set .. "]" or ".", version = version,
    entry = function(name) return (dictionary.segment(name, version)) end }
end

--- One message: the object, its bytes, and where it stands ("file: message 3").
function Feed:add(msg, bytes, where)
  self.messages, self.bytes = self.messages + 1, self.bytes + #bytes
  self.longest = math.max(self.longest, #bytes)
  self:header(msg, bytes)
  local w, seen, at, before = walk_of(msg), {}, 0, nil
  for s in msg:each() do
    local name = s.segment_name
    at = at + 1
    if name:find "^%u[%u%d][%u%d]$" then
      local segment = self.segments[name]
      if not segment and self.nsegments < SEGMENTS then
        segment = new_segment(name)
        self.segments[name], self.nsegments = segment, self.nsegments + 1
      end
      if segment then
        if not seen[name] then
          segment.messages, segment.first_at = segment.messages + 1, segment.first_at + at
        end
        seen[name] = (seen[name] or 0) + 1
        segment.count, segment.most = segment.count + 1, math.max(segment.most, seen[name])
        add_fields(segment, s:raw(), name == "MSH", w)
        if before then count(self.follows, before .. " " .. name) end
        before = name
      else
        self.more_segments = self.more_segments + 1
      end
    end
  end
  self.problems:add(msg:validate { severity = "warning", limit = 200 }, where)
end

--- The segments in the order in which they first stand, on average.
function Feed:ordered()
  local list = {}
  for _, s in pairs(self.segments) do list[#list + 1] = s end
  table.sort(list, function(a, b)
    local x, y = a.first_at / a.messages, b.first_at / b.messages
    if x ~= y then return x < y end
    return a.name < b.name
  end)
  return list
end

return M
