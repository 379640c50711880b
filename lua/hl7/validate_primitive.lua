-- What the text of a primitive data type may look like (chapter 2A). Each check gets text that is
-- not empty and not the explicit null, and gives nothing when it is well, or what is wrong and how
-- bad that is ("error" when left out). No text of the message is in what they say.
local find, match, sub, byte = string.find, string.match, string.sub, string.byte
local tonumber = tonumber

local M = {}

local days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- Two digits at `at` as a number.
local function two(text, at)
  local a, b = byte(text, at, at + 1)
  return (a - 48) * 10 + b - 48
end

local function wrong_date(text, n)
  if n < 4 then return "a year has four digits" end
  if n == 4 then return end
  if n < 6 then return "half a month" end
  local month = two(text, 5)
  if month < 1 or month > 12 then return "there is no such month" end
  if n == 6 then return end
  if n < 8 then return "half a day" end
  local day = two(text, 7)
  local last = days[month]
  if month == 2 and day == 29 then
    local year = tonumber(sub(text, 1, 4))
    if year % 4 ~= 0 or (year % 100 == 0 and year % 400 ~= 0) then last = 28 end
  end
  if day < 1 or day > last then return "there is no such day in that month" end
end

-- Hours, minutes, seconds in digits from..n.
local function wrong_clock(text, from, n)
  local len = n - from + 1
  if len == 1 or len == 3 or len == 5 then return "half an hour, minute or second" end
  if two(text, from) > 23 then return "there is no such hour" end
  if len > 2 and two(text, from + 2) > 59 then return "there is no such minute" end
  if len > 4 and two(text, from + 4) > 60 then return "there is no such second" end
  if len > 6 then return "too many digits" end
end

-- What follows the digits: a fraction, a zone.
local function wrong_rest(rest, seconds)
  local fraction, zone = match(rest, "^(%.?%d*)(.*)$")
  if fraction ~= "" then
    if #fraction < 2 then return "a point without a fraction" end
    if not seconds then return "a fraction without seconds" end
  end
  if zone ~= "" then
    local hours, minutes = match(zone, "^[+-](%d%d)(%d%d)$")
    if not hours or tonumber(hours) > 14 or tonumber(minutes) > 59 then
      return "its zone is not +HHMM or -HHMM"
    end
  end
  if #fraction > 5 then return "a fraction of more than four digits", "warning" end
end

local function not_digits(text)
  local inner = match(text, "^%s+(.*)$") or match(text, "^(.-)%s+$")
  if inner and find(inner, "^%d%d%d%d[%d.]*[+-]?%d*%s*$") then
    return "blanks around the date", "warning"
  end
  if find(text, "^%d%d%d%d%-%d%d?%-%d") then
    return "HL7 writes a date as YYYYMMDD, without dashes"
  end
  if find(text, "^%d%d?[/.]%d%d?[/.]%d%d") then return "HL7 writes a date as YYYYMMDD" end
  return "not a date: it is not made of digits"
end

--- DTM, and TS in its first component: YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ].
function M.DTM(text)
  local _, n = find(text, "^%d+")
  if not n or (n < #text and not find(text, "^[+.-]", n + 1)) or find(text, "^%d+%-%d%d?%-") then
    return not_digits(text)
  end
  local why = wrong_date(text, n < 8 and n or 8)
  if not why and n > 8 then why = wrong_clock(text, 9, n) end
  if why then return why end
  if n < #text then return wrong_rest(sub(text, n + 1), n == 14) end
end

--- DT: YYYY[MM[DD]].
function M.DT(text)
  local _, n = find(text, "^%d+")
  if not n or (n < #text and n < 8) then return not_digits(text) end
  local why = wrong_date(text, n < 8 and n or 8)
  if why then return why end
  if #text > 8 then
    local severity
    why, severity = M.DTM(text)
    if why then return why, severity end
    return "a date with a time: the type DT ends with the day", "warning"
  end
end

--- TM: HH[MM[SS[.S[S[S[S]]]]]][+/-ZZZZ].
function M.TM(text)
  local _, n = find(text, "^%d+")
  if not n then return "not a time: it is not made of digits" end
  if find(text, "^%d%d?:%d") then return "HL7 writes a time as HHMMSS, without colons" end
  local why = wrong_clock(text, 1, n)
  if why then return why end
  if n < #text then return wrong_rest(sub(text, n + 1), n == 6) end
end

--- NM: an optional sign, digits, an optional point.
function M.NM(text)
  if find(text, "^[+-]?%d+%.?%d*$") or find(text, "^[+-]?%.%d+$") then return end
  if find(text, "^ *[+-]?%d*%.?%d+ *$") then return "blanks around the number", "warning" end
  if find(text, "^[<>]=?%s*[+-]?%d*%.?%d+$") then
    return "not a number: a comparator belongs to the type SN"
  end
  if find(text, "^[+-]?%d+,%d+$") then return "not a number: HL7 writes a decimal point" end
  return "not a number"
end

--- SI: 0, 1, 2, ...
function M.SI(text)
  if find(text, "^%d+$") then return end
  if find(text, "^ *%d+ *$") then return "blanks around the number", "warning" end
  return "not a whole number"
end

--- SNM: digits with an optional plus.
function M.SNM(text)
  if not find(text, "^%+?%d+$") then return "not a string of digits" end
end

--- TN: [NN] [(999)]999-9999[X99999][B99999][C any text]. The world has more forms than that.
function M.TN(text)
  local number = match(text, "^(.-)C") or text
  if not find(number, "^[%d%s()+%-./XBxb]*$") or not find(text, "%d") then
    return "not a telephone number as [(999)]999-9999[X999][C text]", "info"
  end
end

-- TS is DTM with a component behind it; before 2.5 the dictionary calls its first component ST.
M.TS = M.DTM

return M
