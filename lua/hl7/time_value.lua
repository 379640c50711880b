-- What a time of hl7.time is: a table with year, month, day, hour, minute, second (numbers, as far
-- as they were given), fraction (its digits), precision (the last unit that was given), offset
-- (minutes) and zone (as it was written) when it has one.
local calendar = require "lunate.hl7.calendar"
local floor = math.floor

local M = { methods = {}, rank = {},
  units = { "year", "month", "day", "hour", "minute", "second", "fraction" } }
local Time = { __index = M.methods, __metatable = "time" }
M.meta = Time
local units, rank = M.units, M.rank
for i, unit in ipairs(units) do rank[unit] = i end

function Time.__newindex()
  error("a time does not change: add, to and the like give a new one", 2)
end

--- Is the time as precise as the unit?
function M.has(t, unit) return rank[t.precision] >= rank[unit] end

--- A time of its units.
function M.make(t)
  for i = #units, 1, -1 do
    if t[units[i]] then
      t.precision = units[i]
      break
    end
  end
  return setmetatable(t, Time)
end

--- Minutes of "+0130", or nil.
function M.offset_of(zone)
  local sign, h, m = zone:match "^([+-])(%d%d):?(%d%d)$"
  if not h or tonumber(h) > 23 or tonumber(m) > 59 then return nil end
  local n = tonumber(h) * 60 + tonumber(m)
  return sign == "-" and -n or n
end

function M.zone_text(minutes)
  local n = math.abs(minutes)
  return ("%s%02d%02d"):format(minutes < 0 and "-" or "+", floor(n / 60), n % 60)
end

--- A table of the same units, to be changed and given to make.
function M.copy(t)
  local new = { offset = t.offset, zone = t.zone }
  for _, unit in ipairs(units) do new[unit] = t[unit] end
  return new
end

--- Seconds since 1970 by its own clock, of its first moment.
function M.clock_of(t)
  return calendar.day_number(t.year, t.month or 1, t.day or 1) * 86400
    + (t.hour or 0) * 3600 + (t.minute or 0) * 60 + (t.second or 0)
end

local function fraction_of(t)
  return t.fraction and tonumber("0." .. t.fraction) or 0
end

--- First moment and the one behind its last.
function M.bounds(t)
  local from = M.clock_of(t) + fraction_of(t)
  local length
  if t.fraction then
    length = 10 ^ -#t.fraction
  elseif t.day then
    length = t.second and 1 or t.minute and 60 or t.hour and 3600 or 86400
  elseif t.month then
    length = calendar.days_in(t.year, t.month) * 86400
  else
    length = calendar.is_leap(t.year) and 366 * 86400 or 365 * 86400
  end
  from = from - (t.offset or 0) * 60
  return from, from + length
end

--- Is it a time?
function M.is_time(t) return getmetatable(t) == "time" end

local function check_time(t, level)
  if not M.is_time(t) then
    error(("a time is expected, got a %s"):format(type(t)), level + 1)
  end
end

--- Raises an error unless both are times, and both or none have a zone.
function M.same_kind(a, b, level)
  check_time(a, level + 1)
  check_time(b, level + 1)
  if (a.offset == nil) ~= (b.offset == nil) then
    error("one of the times has a zone and the other has none: use with_zone first", level + 1)
  end
end

return M
