-- Times as text: HL7's form, ISO 8601, and as strftime has it.
local calendar = require "lunate.hl7.calendar"
local value = require "lunate.hl7.time_value"
local units, methods, Time = value.units, value.methods, value.meta

--- tostring(t): HL7's form, with the precision and zone that it has.
function Time:__tostring()
  local text = ("%04d"):format(self.year)
  for i = 2, 6 do
    local n = self[units[i]]
    if not n then break end
    text = text .. ("%02d"):format(n)
  end
  if self.fraction then text = text .. "." .. self.fraction end
  return text .. (self.zone or "")
end

function Time.__concat(a, b) return tostring(a) .. tostring(b) end

--- t:iso(): ISO 8601, with the precision and zone that it has.
function methods:iso()
  local text = ("%04d"):format(self.year)
  local marks = { nil, "-", "-", "T", ":", ":" }
  for i = 2, 6 do
    local n = self[units[i]]
    if not n then break end
    text = text .. marks[i] .. ("%02d"):format(n)
  end
  if self.fraction then text = text .. "." .. self.fraction end
  if self.zone and self.hour then text = text .. (self.zone:gsub("(%d%d)$", ":%1")) end
  return text
end

local weekdays = { [0] = "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
  "Saturday" }
local months = { "January", "February", "March", "April", "May", "June", "July", "August",
  "September", "October", "November", "December" }

local function weekday(t)
  return weekdays[calendar.weekday(calendar.day_number(t.year, t.month, t.day))]
end

-- Letter -> unit that it needs, and what it writes.
local letters = {
  Y = { "year", function(t) return ("%04d"):format(t.year) end },
  y = { "year", function(t) return ("%02d"):format(t.year % 100) end },
  m = { "month", function(t) return ("%02d"):format(t.month) end },
  b = { "month", function(t) return months[t.month]:sub(1, 3) end },
  B = { "month", function(t) return months[t.month] end },
  d = { "day", function(t) return ("%02d"):format(t.day) end },
  e = { "day", function(t) return ("%2d"):format(t.day) end },
  a = { "day", function(t) return weekday(t):sub(1, 3) end },
  A = { "day", weekday },
  j = { "day", function(t)
    return ("%03d"):format(calendar.day_number(t.year, t.month, t.day)
      - calendar.day_number(t.year, 1, 1) + 1)
  end },
  F = { "day", function(t) return ("%04d-%02d-%02d"):format(t.year, t.month, t.day) end },
  H = { "hour", function(t) return ("%02d"):format(t.hour) end },
  I = { "hour", function(t) return ("%02d"):format((t.hour + 11) % 12 + 1) end },
  p = { "hour", function(t) return t.hour < 12 and "AM" or "PM" end },
  M = { "minute", function(t) return ("%02d"):format(t.minute) end },
  R = { "minute", function(t) return ("%02d:%02d"):format(t.hour, t.minute) end },
  S = { "second", function(t) return ("%02d"):format(t.second) end },
  T = { "second", function(t) return ("%02d:%02d:%02d"):format(t.hour, t.minute, t.second) end },
  f = { "fraction", function(t) return t.fraction end },
  z = { "year", function(t) return t.zone or "" end },
}

--- t:format(text): as strftime: %Y %y %m %b %B %d %e %a %A %j %F %H %I %p %M %R %S %T %z %%, and %f
--- for the digits of the fraction. A letter that needs more than the time has is an error.
function methods:format(text)
  if type(text) ~= "string" then error("a format is a string", 2) end
  return (text:gsub("%%(.?)", function(c)
    if c == "%" then return "%" end
    local letter = letters[c]
    if not letter then error(("format: %%%s is not known"):format(c), 4) end
    if not value.has(self, letter[1]) then
      error(("format: %%%s needs %ss, and %s has none"):format(c, letter[1], tostring(self)), 4)
    end
    return letter[2](self)
  end))
end
