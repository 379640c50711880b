-- What changes a time: arithmetic, differences, zones.
local calendar = require "lunate.hl7.calendar"
local value = require "lunate.hl7.time_value"
local zones = require "lunate.hl7.zone"
local floor = math.floor
local units, rank, has, make, copy = value.units, value.rank, value.has, value.make, value.copy
local bounds, clock_of, zone_text = value.bounds, value.clock_of, value.zone_text
local methods = value.methods

local M = {}

--- t:truncate(unit): without what is more precise. "year", "month", "day", "hour", "minute",
--- "second".
function methods:truncate(unit)
  if not rank[unit] then error(("truncate: '%s' is no unit"):format(tostring(unit)), 2) end
  local new = copy(self)
  for i = rank[unit] + 1, #units do new[units[i]] = nil end
  return make(new)
end

local steps = { years = "year", months = "month", weeks = "day", days = "day", hours = "hour",
  minutes = "minute", seconds = "second" }
local seconds_of = { hours = 3600, minutes = 60, seconds = 1 }

local function check_amount(t, amount, level)
  if type(amount) ~= "table" then
    error("add takes a table: { days = 1, hours = -2 }", level + 1)
  end
  for name, n in pairs(amount) do
    local unit = steps[name]
    if not unit then
      error(("add: '%s' is not known: years, months, weeks, days, hours, minutes, seconds"):format(
        tostring(name)), level + 1)
    end
    if type(n) ~= "number" or n ~= floor(n) then
      error(("add: %s must be a whole number"):format(name), level + 1)
    end
    if not has(t, unit) then
      error(("%s has no %ss: adding %s would invent them"):format(tostring(t), unit, name),
        level + 1)
    end
  end
end

--- t:add { years, months, weeks, days, hours, minutes, seconds }: whole numbers, may be negative.
--- Years and months first; a day that the new month lacks becomes its last one (31 January and a
--- month is 28 or 29 February). Then days, then the rest. The offset stays what it was.
function methods:add(amount)
  check_amount(self, amount, 2)
  local new = copy(self)
  if amount.years or amount.months then
    local m = new.year * 12 + (new.month or 1) - 1 + (amount.years or 0) * 12
      + (amount.months or 0)
    new.year = floor(m / 12)
    if new.month then new.month = m % 12 + 1 end
    if new.day then new.day = math.min(new.day, calendar.days_in(new.year, new.month)) end
  end
  local days = (amount.days or 0) + (amount.weeks or 0) * 7
  local s = 0
  for name, length in pairs(seconds_of) do s = s + (amount[name] or 0) * length end
  if days ~= 0 or s ~= 0 then
    local clock = clock_of(new) + days * 86400 + s
    local day = floor(clock / 86400)
    local rest = clock - day * 86400
    new.year, new.month, new.day = calendar.date(day)
    if new.hour then new.hour = floor(rest / 3600) end
    if new.minute then new.minute = floor(rest / 60) % 60 end
    if new.second then new.second = rest % 60 end
  end
  if new.year < 1 or new.year > 9999 then error("add: the year leaves 1 to 9999", 2) end
  return make(new)
end

-- The clock of `t` in the zone of `like`, as numbers that can be compared unit by unit.
local function in_zone_of(t, like)
  if not t.offset or t.offset == like.offset or not t.hour then return t end
  return t:to(like.zone)
end

local function completed_months(a, b)
  local n = (a.year - b.year) * 12 + (a.month or 1) - (b.month or 1)
  local function rest(t)
    local s = 0
    for i = 3, 6 do
      if not (a[units[i]] and b[units[i]]) then break end
      s = s * 100 + t[units[i]]
    end
    return s
  end
  if n > 0 and rest(a) < rest(b) then n = n - 1 end
  if n < 0 and rest(a) > rest(b) then n = n + 1 end
  return n
end

--- t:diff(u [, unit]): t minus u. "years" and "months": completed ones (an age); "days": dates
--- apart; "hours", "minutes", "seconds" (when left out): exact, with a fraction. Both need it.
function methods:diff(other, unit)
  unit = unit or "seconds"
  value.same_kind(self, other, 2)
  local need = steps[unit]
  if not need or unit == "weeks" then
    error(("diff: '%s' is not known: years, months, days, hours, minutes, seconds"):format(
      tostring(unit)), 2)
  end
  for _, t in ipairs { self, other } do
    if not has(t, need) then
      error(("diff: %s has no %ss"):format(tostring(t), need), 2)
    end
  end
  local b = in_zone_of(other, self)
  if unit == "years" or unit == "months" then
    if unit == "years" and not (self.month and b.month) then return self.year - b.year end
    local n = completed_months(self, b)
    return unit == "months" and n or (n < 0 and -floor(-n / 12) or floor(n / 12))
  elseif unit == "days" then
    return calendar.day_number(self.year, self.month, self.day)
      - calendar.day_number(b.year, b.month, b.day)
  end
  local x, y = bounds(self), bounds(other)
  return (x - y) / seconds_of[unit]
end

--- Minutes of a zone that is an offset; or nil and the zone, which is loaded. Raises an error at
--- that level when there is none.
function M.zone_arg(zone, level)
  if type(zone) ~= "string" then
    error("a zone is a string: \"+0100\", \"UTC\" or \"Europe/Berlin\"", level + 1)
  end
  local offset = value.offset_of(zone)
  if offset then return offset end
  local z, why = zones.load(zone)
  if not z then error(why, level + 1) end
  return nil, z
end

-- The same moment by another offset (minutes).
local function shifted(t, offset, level)
  local by = offset - t.offset
  if by % 60 ~= 0 and not t.minute then
    error(("%s has no minutes: in that zone it would need them"):format(tostring(t)), level + 1)
  end
  local new = copy(t)
  new.offset, new.zone = offset, zone_text(offset)
  local clock = clock_of(t) + by * 60
  local day = floor(clock / 86400)
  local rest = clock - day * 86400
  new.year, new.month, new.day = calendar.date(day)
  new.hour = floor(rest / 3600)
  if new.minute then new.minute = floor(rest / 60) % 60 end
  return make(new)
end

--- t:to(zone): the same moment in another zone: "+0100", "UTC", "Europe/Berlin", "local". Needs
--- hours and a zone.
function methods:to(zone)
  local offset, z = M.zone_arg(zone, 2)
  if not self.hour then
    error(("%s has no hours: a date is not the same in another zone"):format(tostring(self)), 2)
  end
  if not self.offset then
    error(("%s has no zone: say which one with with_zone first"):format(tostring(self)), 2)
  end
  local t = shifted(self, offset or floor(zones.offset(z, (bounds(self))) / 60), 2)
  return t
end

--- t:with_zone(zone [, which]): a time without zone as the local time of that zone. An hour that
--- comes twice in autumn needs which = "first" or "second"; one that is left out in spring is an
--- error.
function methods:with_zone(zone, which)
  local offset, z = M.zone_arg(zone, 2)
  if self.offset then error(("%s has a zone: use to"):format(tostring(self)), 2) end
  if z then
    if not self.hour then
      error(("%s has no hours: only an offset can be its zone"):format(tostring(self)), 2)
    end
    local list = zones.offsets_at(z, clock_of(self))
    if #list == 0 then
      error(("%s does not exist in %s: the clock is put forward then"):format(tostring(self),
        zone), 2)
    end
    if #list > 1 and which ~= "first" and which ~= "second" then
      error(("%s comes twice in %s: say \"first\" or \"second\""):format(tostring(self), zone), 2)
    end
    offset = floor((which == "second" and list[2] or list[1]) / 60)
  end
  local new = copy(self)
  new.offset, new.zone = offset, zone_text(offset)
  return make(new)
end

--- t:without_zone(): as its own clock shows it.
function methods:without_zone()
  local new = copy(self)
  new.offset, new.zone = nil, nil
  return make(new)
end

return M
