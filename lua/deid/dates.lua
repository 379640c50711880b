-- HL7 times, shifted by whole days per patient: precision, time of day and zone stay.
local floor = math.floor

local M = {}

-- Days since 1970-01-01 (proleptic Gregorian), and back.
local function to_days(y, m, d)
  if m <= 2 then y = y - 1 end
  local era = floor(y / 400)
  local yoe = y - era * 400
  local doy = floor((153 * (m + (m > 2 and -3 or 9)) + 2) / 5) + d - 1
  return era * 146097 + yoe * 365 + floor(yoe / 4) - floor(yoe / 100) + doy - 719468
end

local function from_days(z)
  z = z + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local m = mp + (mp < 10 and 3 or -9)
  return yoe + era * 400 + (m <= 2 and 1 or 0), m, doy - floor((153 * mp + 2) / 5) + 1
end

local lengths = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- Year, month, day (nil where the precision ends) and the rest of an HL7 time, or nil.
function M.read(text)
  local y, rest = text:match "^(%d%d%d%d)([%d.]*[+-]?%d*)$"
  if not y then return nil end
  local m, d, more = rest:match "^(%d%d)(%d%d)(.*)$"
  if not m then
    m = rest:match "^(%d%d)$"
    if not m and rest ~= "" then return nil end
    d, more = nil, ""
  end
  if #more > 0 and not (#more:match "^%d*" >= 2 or more:find "^[+-]%d%d%d%d$") then return nil end
  y, m, d = tonumber(y), tonumber(m), tonumber(d)
  if m and (m < 1 or m > 12 or d and (d < 1 or d > lengths[m])) then return nil end
  if #more > 24 then return nil end
  return y, m, d, more
end

--- days(text): days since 1970 of an HL7 time (the middle of what its precision leaves open).
function M.days(text)
  local y, m, d = M.read(text)
  return y and to_days(y, m or 7, d or (m and 15 or 1))
end

--- shift(text, x): x.days is added (less than nothing); x.o.dates = "year" leaves the year alone.
--- More than 89 years before x.today (days) becomes the year 90 years before. What is no time goes.
function M.shift(text, x)
  local y, m, d, rest = M.read(text)
  if not y then return "" end
  local at = to_days(y, m or 7, d or (m and 15 or 1))
  if x.today - at > 89.99 * 365.2425 then
    local year = from_days(x.today + (x.o.dates == "shift" and x.days or 0))
    return ("%04d"):format(year - 90)
  end
  if x.o.dates == "keep" then return text end
  if x.o.dates == "year" or not m then return ("%04d"):format(y) end
  y, m, d = from_days(at + x.days)
  if #text == 6 then return ("%04d%02d"):format(y, m) end
  return ("%04d%02d%02d"):format(y, m, d) .. rest
end

return M
