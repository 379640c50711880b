-- Segments for people: one field a line with its number, the dictionary's name, the value with its
-- separators, and what a code means. Gives lines of text; prints nothing.
local hl7 = require "hl7"
local dictionary = require "lunate.dictionary"
local parts = require "lunate.hl7.parts"
local readable_wire = require "lunate.repl.readable"
local term = require "lunate.cli.term"
local wrap = require "lunate.cli.wrap"
local find, sub = string.find, string.sub

local M = {}
local Render = {}
Render.__index = Render

local LONG = 4000 -- bytes of a value that are shown, unless all are asked for

-- Columns of the name for a width of the screen; 0: the name stands on a line of its own.
local function name_columns(columns)
  if not columns or columns >= 100 then return 30 end
  return columns >= 72 and 24 or columns >= 48 and 16 or 0
end

--- The message as it is shown: in UTF-8, whatever its set, but for what MSH-18 says.
function M.readable(msg)
  local wire = tostring(msg)
  local text = readable_wire(msg)
  return text == wire and msg or hl7.parse(text, { charset = { force = "UNICODE UTF-8" } }) or msg
end

--- new(msg, o): renders segments of this message. o.columns: of the screen (nil: lines of any
--- length); o.all: empty fields, too; o.deep: a line per component; o.full: values of any length.
function M.new(msg, o)
  local d = msg:delimiters()
  local set = ""
  for _, name in ipairs { "component", "repetition", "subcomponent", "escape" } do
    local c = d[name] or ""
    set = set .. (find(c, "%p") and "%" .. c or c)
  end
  return setmetatable({ msg = msg, d = d, version = msg.version, o = o, counts = {}, seen = {},
    special = "[%c\128-\255" .. set .. "]", stops = "[%c" .. set .. "]",
    coloured = term.coloured(), name_width = name_columns(o.columns) }, Render)
end

-- ---- values -------------------------------------------------------------------------------------

-- What an escape sequence stands for, and its colour. Delimiters are decoded only where colour
-- tells them from real ones.
function Render:escape(sequence)
  local inner = sub(sequence, 2, -2)
  if inner == ".br" then return "↵", "yellow" end
  local text = hl7.unescape(sequence, self.msg)
  if text == sequence or find(text, "%c") then return term.printable(sequence), "yellow" end
  if #text == 1 and find("FSTREP", inner, 1, true) and not self.coloured then
    return sequence, "yellow"
  end
  return term.printable(text), "yellow"
end

-- A value as pieces: text, colour, text, colour, ...
function Render:pieces(raw)
  local d, list, n, at = self.d, {}, 0, 1
  local function put(text, colour)
    list[n + 1], list[n + 2] = text, colour or false
    n = n + 2
  end
  local function separator(c)
    return c == d.component or c == d.subcomponent or c == d.repetition
  end
  while at <= #raw do
    local stop = find(raw, self.stops, at) or #raw + 1
    if stop > at then put(term.printable(sub(raw, at, stop - 1))) end
    local c = sub(raw, stop, stop)
    local close = c == d.escape and c ~= "" and find(raw, c, stop + 1, true)
    at = stop + 1
    if close and close - stop < 80 then -- as long as a sequence can be
      put(self:escape(sub(raw, stop, close)))
      at = close + 1
    elseif separator(c) then
      put(c, "cyan")
    elseif c ~= "" then
      put(term.printable(c))
    end
  end
  return list
end

function Render:value(raw, meaning)
  if raw == '""' then return { '""', false, " (null: delete)", "dim" } end
  local more
  if #raw > LONG and not self.o.full then
    more = (" … (%s in all)"):format(term.bytes(#raw))
    raw = sub(raw, 1, LONG):gsub("[\192-\255][\128-\191]*$", "")
  end
  local list = find(raw, self.special) and self:pieces(raw) or { raw, false }
  if more then list[#list + 1], list[#list + 2] = more, "dim" end
  if meaning then list[#list + 1], list[#list + 2] = "  (" .. meaning .. ")", "green" end
  return list
end

-- ---- meaning of codes ---------------------------------------------------------------------------

local coded = { ID = true, IS = true }
local with_text = { CE = true, CWE = true, CNE = true, CF = true }

-- What the code at the start of a value means in the entry's table.
function Render:meaning(entry, raw)
  local id = entry and entry.table
  if not id or raw == "" or raw == '""' then return nil end
  local d = self.d
  local list = parts.split(raw, d.component)
  if with_text[entry.type] and (list[2] or "") ~= "" then return nil end
  if not coded[entry.type] and not with_text[entry.type] and #list > 1 then return nil end
  local t = dictionary.table(id, self.version)
  local text = t and t.codes[list[1]]
  return text ~= "" and text ~= list[1] and text or nil
end

-- ---- lines --------------------------------------------------------------------------------------

function Render:line(out, number, entry, pieces)
  local o, name = self.o, entry and entry.title or ""
  local columns = self.name_width
  local label = ("%5s "):format(number)
  if columns == 0 then
    if name ~= "" then
      out[#out + 1] = label .. term.paint("dim", (term.fit(name, o.columns - 7):gsub(" +$", "")))
      label = "      "
    end
  else
    local title = term.fit(name, columns)
    label = label .. (name ~= "" and term.paint("dim", title) or title) .. "  "
  end
  local indent = 6 + (columns > 0 and columns + 2 or 0)
  local over = math.max(0, #number - 5) -- a long number pushes its first line to the right
  wrap.add(out, label, indent, pieces, o.columns, over)
end

-- Which data type the components of a field are of.
local function type_of(name, n, entry, fields)
  if name == "OBX" and n == 5 then return fields[2] end
  return entry and entry.type
end

-- One repetition, component by component.
function Render:deep(out, number, raw, type_name, level)
  local separator = level == 2 and self.d.component or self.d.subcomponent
  local t = type_name and dictionary.type(type_name, self.version)
  for i, piece in ipairs(parts.split(raw, separator)) do
    local entry = t and t.components[i]
    local at = number .. "." .. i
    if piece ~= "" or self.o.all then
      if level == 2 and self.d.subcomponent and find(piece, self.d.subcomponent, 1, true) then
        self:deep(out, at, piece, entry and entry.type, 3)
      else
        self:line(out, at, entry, self:value(piece, self:meaning(entry, piece)))
      end
    end
  end
end

function Render:field(out, name, n, raw, fields)
  local info = self.info
  local entry = info and info.fields[n]
  if fields.header and n <= 2 then return self:line(out, tostring(n), entry, { raw, false }) end
  local reps = raw == '""' and { raw } or parts.split(raw, self.d.repetition)
  local d = self.d
  for r, rep in ipairs(reps) do
    local number = #reps > 1 and ("%d[%d]"):format(n, r) or tostring(n)
    local composite = d.component and find(rep, d.component, 1, true)
      or d.subcomponent and find(rep, d.subcomponent, 1, true)
    if self.o.deep and composite then
      self:line(out, number, entry, {})
      self:deep(out, number, rep, type_of(name, n, entry, fields), 2)
    else
      local meaning = self:meaning(entry, rep)
      self:line(out, number, r == 1 and entry or nil, self:value(rep, meaning))
    end
  end
end

--- Counts the segments of each name first, so that OBX[1] is told from a single OBX.
function Render:count(lines)
  for _, line in ipairs(lines) do
    local name = line:match("^[^%" .. self.d.field .. "]*")
    self.counts[name] = (self.counts[name] or 0) + 1
  end
end

--- The lines of one segment (its raw text).
function Render:segment(line)
  local fields, out = parts.fields(line, self.d.field), {}
  local name = fields.name
  local nth = (self.seen[name] or 0) + 1
  self.seen[name] = nth
  self.info = find(name, "^%u[%u%d][%u%d]$") and dictionary.segment(name, self.version)
  local shown = term.printable(#name > 12 and sub(name, 1, 12) .. "…" or name)
  if (self.counts[name] or 1) > 1 then shown = ("%s[%d]"):format(shown, nth) end
  local title = self.info and self.info.title or ""
  local columns = self.o.columns
  if columns then title = term.fit(title, math.max(0, columns - #shown - 2)):gsub(" +$", "") end
  out[1] = term.paint("bold", shown) .. (title ~= "" and "  " .. title or "")
  local last = self.o.all and self.info and math.max(#fields, self.info.count) or #fields
  for n = 1, last do
    local raw = fields[n] or ""
    if raw ~= "" then
      self:field(out, name, n, raw, fields)
    elseif self.o.all then
      self:line(out, tostring(n), self.info and self.info.fields[n], {})
    end
  end
  return out
end

return M
