-- Days and seconds of the Gregorian calendar, counted from 1970-01-01, without zones.
local floor = math.floor

local M = {}

local lengths = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

function M.is_leap(year)
  return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

function M.days_in(year, month)
  return month == 2 and M.is_leap(year) and 29 or lengths[month]
end

--- Days since 1970-01-01.
function M.day_number(year, month, day)
  local y = month <= 2 and year - 1 or year
  local m = month <= 2 and month + 9 or month - 3
  return 365 * y + floor(y / 4) - floor(y / 100) + floor(y / 400)
    + floor((153 * m + 2) / 5) + day - 1 - 719468
end

--- Year, month, day of a day number.
function M.date(number)
  local z = number + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - floor((153 * mp + 2) / 5) + 1
end

--- 0 Sunday to 6 Saturday.
function M.weekday(number)
  return (number + 4) % 7
end

return M
