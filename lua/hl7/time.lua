-- hl7.time: HL7's timestamps, YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ], as values that know
-- how precise they are and in which zone. Nothing here invents what was not given: what would need
-- hours of a day, or the zone of a time without one, is an error that says so. Values never change;
-- what changes one gives a new one.
local calendar = require "lunate.hl7.calendar"
local value = require "lunate.hl7.time_value"
local zones = require "lunate.hl7.zone"
require "lunate.hl7.time_format"
local change = require "lunate.hl7.time_change"
local floor, type = math.floor, type
local units, rank, make, bounds = value.units, value.rank, value.make, value.bounds
local offset_of, zone_text, zone_arg = value.offset_of, value.zone_text, change.zone_arg
local methods, Time = value.methods, value.meta

local M = {}

-- ---- making -------------------------------------------------------------------------------

local ranges = { month = { 1, 12 }, hour = { 0, 23 }, minute = { 0, 59 }, second = { 0, 59 } }

-- Makes a time of digits (4 to 14), a fraction and a zone; nil and why.
local function build(digits, fraction, zone)
  local t, at = {}, 1
  for i = 1, 6 do
    local len = i == 1 and 4 or 2
    if at > #digits then break end
    if at + len - 1 > #digits then return nil, "it has half a " .. units[i] end
    t[units[i]] = tonumber(digits:sub(at, at + len - 1))
    at = at + len
  end
  if at <= #digits then return nil, "it has too many digits" end
  for unit, r in pairs(ranges) do
    if t[unit] and (t[unit] < r[1] or t[unit] > r[2]) then
      return nil, ("there is no such %s"):format(unit)
    end
  end
  if t.day and (t.day < 1 or t.day > calendar.days_in(t.year, t.month)) then
    return nil, "there is no such day in that month"
  end
  if fraction ~= "" then
    if not t.second then return nil, "it has a fraction without seconds" end
    t.fraction = fraction
  end
  if zone ~= "" then
    t.offset = offset_of(zone)
    if not t.offset then return nil, "its zone is not +HHMM or -HHMM" end
    t.zone = zone:gsub(":", "")
  end
  return make(t)
end

local function text_arg(text)
  if type(text) ~= "string" then
    error(("a time is a string, not a %s"):format(text == nil and "nil" or type(text)), 3)
  end
end

local degrees = { Y = "year", L = "month", D = "day", H = "hour", M = "minute", S = "second" }

--- hl7.time.parse(text [, degree]) -> time, or nil and what is wrong. degree: the second component
--- of the old type TS (Y L D H M S), which says how much of the text counts.
function M.parse(text, degree)
  text_arg(text)
  local digits, fraction, zone = text:match "^(%d+)(%.?%d*)([+-]?%d*)$"
  if not digits then return nil, "not a time: it is not made of digits" end
  if fraction ~= "" and not fraction:find "^%.%d%d?%d?%d?$" then
    return nil, "not a time: a fraction has 1 to 4 digits"
  end
  local t, why = build(digits, fraction:sub(2), zone)
  if not t then return nil, "not a time: " .. why end
  local cut = degree and degrees[degree]
  if cut and rank[cut] < rank[t.precision] then return t:truncate(cut) end
  return t
end

--- hl7.time.parse_iso(text) -> time, or nil and what is wrong: 2026-11-23T15:30:00.5+01:00, or less
--- of it; Z for the zone, and a blank for the T.
function M.parse_iso(text)
  text_arg(text)
  local date, rest = text:match "^(%d%d%d%d[%d-]*)(.*)$"
  if not date or not (date:find "^%d+$" or date:find "^%d%d%d%d%-%d%d$"
      or date:find "^%d%d%d%d%-%d%d%-%d%d$") then
    return nil, "not an ISO 8601 date"
  end
  local clock, fraction, zone = "", "", ""
  if rest ~= "" then
    clock, fraction, zone = rest:match "^[T ]([%d:]+)[.,]?(%d*)(.*)$"
    if not clock or #fraction > 4 and fraction:sub(5):find "[^0]" then
      return nil, "not an ISO 8601 time"
    end
  end
  local digits = (date .. clock):gsub("[-:]", "")
  local t, why = build(digits, fraction:sub(1, 4), zone == "Z" and "+0000" or zone)
  if not t then return nil, "not an ISO 8601 time: " .. why end
  return t
end

local function from_seconds(t, offset)
  local clock = t + offset * 60
  local day = floor(clock / 86400)
  local s = clock - day * 86400
  local year, month, date = calendar.date(day)
  return make { year = year, month = month, day = date, hour = floor(s / 3600),
    minute = floor(s / 60) % 60, second = s % 60, offset = offset, zone = zone_text(offset) }
end

--- hl7.time.from_epoch(seconds [, zone]): whole seconds since 1970, in that zone ("UTC").
function M.from_epoch(seconds, zone)
  if type(seconds) ~= "number" or seconds ~= floor(seconds) then
    error("from_epoch takes whole seconds", 2)
  end
  local offset, z = zone_arg(zone or "UTC", 2)
  return from_seconds(seconds, offset or floor(zones.offset(z, seconds) / 60))
end

--- hl7.time.now([zone]): now, to the second, in a zone ("local").
function M.now(zone)
  local offset, z = zone_arg(zone or "local", 2)
  local t = os.time()
  return from_seconds(t, offset or floor(zones.offset(z, t) / 60))
end

--- hl7.time.zone(name) -> true, or nil and why not: reads a zone, so that using it later needs no
--- file. Call it where a script is loaded.
function M.zone(name)
  text_arg(name)
  if offset_of(name) then return true end
  local z, why = zones.load(name)
  return z and true or nil, why
end

--- hl7.time.is_time_of_day(text): HH[MM[SS[.S[S[S[S]]]]]][+/-ZZZZ], the data type TM. True, or nil
--- and what is wrong.
function M.is_time_of_day(text)
  text_arg(text)
  local t, why = M.parse("20000101" .. text)
  if not t then return nil, (why:gsub("^not a time", "not a time of day")) end
  if not t.hour then return nil, "not a time of day: it has no hours" end
  return true
end

-- ---- comparing ----------------------------------------------------------------------------

--- t:compare(u) -> -1, 0 or 1; nil when the less precise one holds the other, so that nobody can
--- tell. Times of which only one has a zone are an error.
function methods:compare(other)
  value.same_kind(self, other, 2)
  local a, a_end = bounds(self)
  local b, b_end = bounds(other)
  if self.precision == other.precision and a == b and a_end == b_end then return 0 end
  if a_end <= b then return -1 end
  if b_end <= a then return 1 end
  return nil
end

local function decided(a, b)
  value.same_kind(a, b, 3)
  local n = a:compare(b)
  if n == nil then
    error("these times cannot be compared: one is less precise and holds the other; use truncate",
      3)
  end
  return n
end

function Time.__lt(a, b) return decided(a, b) < 0 end
function Time.__le(a, b) return decided(a, b) <= 0 end
--- The same moment with the same precision, whatever the zone.
function Time.__eq(a, b)
  return a.precision == b.precision and #(a.fraction or "") == #(b.fraction or "")
    and (a.offset == nil) == (b.offset == nil) and bounds(a) == bounds(b)
end

--- t:epoch(): seconds since 1970. Needs seconds and a zone.
function methods:epoch()
  if not self.second then
    error(("epoch needs seconds, and %s has none"):format(tostring(self)), 2)
  end
  if not self.offset then error("epoch needs a zone: use with_zone first", 2) end
  return (bounds(self))
end

return M
