-- What `lunate profile` may show of a field's text. Codes: yes, when they are in the dictionary's
-- table, or look like codes and stand in three messages at least. Dates: their form. Identifiers:
-- their shape, 9 for a digit and A for a letter. Everything else, and all of a Z segment: nothing.
--
-- Codes of people's own fields (PID and the like) are shown only when they are in the table: a name
-- that was put into a coded field stays out.
local dictionary = require "lunate.dictionary"
local primitive = require "lunate.hl7.validate_primitive"

local M = {}

local VALUES, SHAPES = 200, 60
local AT_LEAST = 3

local dates = { DT = "DT", TM = "TM", TS = "DTM", DTM = "DTM" }
local coded = { ID = true, IS = true, CE = true, CWE = true, CNE = true, CF = true }
local ids = { CX = true, EI = true, CK = true }
-- Segments about people: only codes of the table are shown.
local people = { PID = true, PD1 = true, NK1 = true, GT1 = true, IN1 = true, IN2 = true,
  IN3 = true, MRG = true, STF = true, PRD = true, CTD = true, ROL = true, PRT = true }
-- Codes without a table of their own that say what the feed is about.
local subjects = { ["OBX-3"] = true, ["OBX-6"] = true, ["OBR-4"] = true, ["RXA-5"] = true,
  ["RXE-2"] = true, ["RXO-1"] = true, ["RXD-2"] = true, ["AL1-3"] = true, ["DG1-3"] = true,
  ["PR1-3"] = true, ["TXA-2"] = true, ["SPM-4"] = true, ["AIS-3"] = true, ["OBR-24"] = true }

--- What is done with a field: { kind = "code" | "date" | "id", ... }, or nil: nothing is kept.
function M.policy(segment, n, entry)
  if not entry or not entry.type or segment:byte() == 90 then return nil end
  local path = segment .. "-" .. n
  if dates[entry.type] then return { kind = "date", wrong = primitive[dates[entry.type]] } end
  if coded[entry.type] then
    local t = entry.table and dictionary.table(entry.table)
    if t and #t.list == 0 then t = nil end
    if not t and not subjects[path] then return nil end
    return { kind = "code", table = t, strict = people[segment], subject = subjects[path] }
  end
  if ids[entry.type] then return { kind = "id" } end
end

-- Looks like a code: no blanks, not long; a long number could be somebody's.
local function is_code(text, subject)
  if #text > 20 or text:find "[^%w._/+%-*%%%[%]{}()<>]" then return false end
  return subject or not text:find "%d%d%d%d%d%d"
end

-- The first part of a repetition.
local function first_part(text, w)
  for _, sep in ipairs { w.comp or "", w.sub or "" } do
    local stop = sep ~= "" and text:find(sep, 1, true)
    if stop then text = text:sub(1, stop - 1) end
  end
  return text
end

local forms = { [4] = "YYYY", [6] = "YYYYMM", [8] = "YYYYMMDD", [10] = "YYYYMMDDHH",
  [12] = "YYYYMMDDHHMM", [14] = "YYYYMMDDHHMMSS" }
local clock = { [2] = "HH", [4] = "HHMM", [6] = "HHMMSS" }

--- 9 for a digit, A for a letter, x for what is beyond ASCII; cut at 30.
function M.shape(text)
  return (text:sub(1, 30):gsub("%a", "A"):gsub("%d", "9"):gsub("[\128-\255%c]", "x"))
end

local function date_form(text, policy)
  local why, severity = policy.wrong(text)
  if why and severity ~= "warning" then return "not a date: " .. M.shape(text) end
  local digits, fraction, zone = text:match "^%s*(%d+)(%.?%d*)([+-]?%d*)%s*$"
  if not digits then return "other: " .. M.shape(text) end
  local form = (policy.wrong == primitive.TM and clock or forms)[#digits] or M.shape(digits)
  if fraction ~= "" then form = form .. "." .. ("S"):rep(#fraction - 1) end
  return form .. (zone ~= "" and "+ZZZZ" or "")
end

--- Takes what may be taken of the first repetition of a field.
function M.take(f, text, w, count, counter)
  local policy, part = f.policy, first_part(text, w)
  if part == "" then return end
  if policy.kind == "date" then
    f.forms = f.forms or counter(SHAPES)
    count(f.forms, date_form(part, policy))
  elseif policy.kind == "id" then
    f.shapes = f.shapes or counter(SHAPES)
    count(f.shapes, M.shape(part))
  else
    f.values = f.values or counter(VALUES)
    local listed = policy.table and policy.table.codes[part]
    if listed or (not policy.strict and is_code(part, policy.subject)) then
      count(f.values, part)
    else
      f.values.total, f.hidden = f.values.total + 1, (f.hidden or 0) + 1
    end
  end
end

--- The codes of a field that may be shown: list of { code, count, meaning }, and how many messages
--- have others.
function M.shown(f)
  local list, rest = {}, (f.hidden or 0) + (f.values and f.values.more or 0)
  if not f.values then return list, rest end
  local codes = f.policy.table and f.policy.table.codes or {}
  for code, n in pairs(f.values.by) do
    if codes[code] or n >= AT_LEAST then
      list[#list + 1] = { code, n, codes[code] ~= "" and codes[code] or nil }
    else
      rest = rest + n
    end
  end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  return list, rest
end

return M
