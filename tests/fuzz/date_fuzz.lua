-- What must hold of dates (date_fuzz.c). The input: lines of text; the first two are times, in HL7's
-- form or in ISO 8601, the third is a format, the rest zones, each with bytes to choose by.
local time = require "hl7".time
local units = { "year", "month", "day", "hour", "minute", "second" }
local amounts = { "years", "months", "weeks", "days", "hours", "minutes", "seconds" }

-- An error of a method is one that speaks to a script's author: text, no accident in its own code.
local function try(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then return result end
  assert(type(result) == "string", "an error that is no text")
  assert(not result:find("^lunate/"), result)
end

local function precision(t)
  return #tostring(t):match "^%d+"
end

local function check_one(t)
  local text = tostring(t)
  local again = assert(time.parse(text))
  assert(tostring(again) == text and again == t and again:compare(t) == 0, text)
  if t.hour or not t.zone then
    local iso = assert(time.parse_iso(t:iso()), t:iso())
    assert(iso == t, text)
  end
  for i, unit in ipairs(units) do
    local cut = t:truncate(unit)
    assert(precision(cut) <= precision(t) and precision(cut) <= 2 + i * 2, text)
    assert(cut:compare(t) == nil or cut == t or cut:compare(t) == 0, text)
  end
end

local function check_add(t, n)
  for i, name in ipairs(amounts) do
    local sum = try(t.add, t, { [name] = n })
    if sum then
      assert(sum.precision == t.precision and sum.zone == t.zone)
      check_one(sum)
      if i > 2 then assert(t:add { [name] = 0 } == t and sum:add { [name] = -n } == t, name) end
    end
  end
end

local function check_two(a, b)
  if (a.offset == nil) ~= (b.offset == nil) then
    assert(not pcall(a.compare, a, b))
    return
  end
  local n, m = a:compare(b), b:compare(a)
  assert(n == (m and -m), "compare")
  assert(try(function() return a < b end) == (n and n < 0) or n == nil)
  for _, unit in ipairs { "days", "hours", "minutes", "seconds" } do
    local d, e = try(a.diff, a, b, unit), try(b.diff, b, a, unit)
    assert(d == nil or unit == "days" or d == -e, unit)
  end
  try(a.diff, a, b, "years")
  try(a.diff, a, b, "months")
end

local function check_zone(t, zone)
  local known = time.zone(zone)
  local there = try(t.to, t, zone)
  if there then
    assert(known and there == t and there.precision == t.precision, zone)
    check_one(there)
    assert(there:to(t.zone) == t)
  end
  local plain = t:without_zone()
  local first = try(plain.with_zone, plain, zone, "first")
  local second = try(plain.with_zone, plain, zone, "second")
  if first then
    assert(first:without_zone() == plain and second:without_zone() == plain)
    assert(first:compare(second) ~= 1)
  end
end

local function read(text)
  local t, why = time.parse(text)
  local iso, iso_why = time.parse_iso(text)
  assert(t or type(why) == "string")
  assert(iso or type(iso_why) == "string")
  assert(not t or tostring(t) == text, text)
  time.is_time_of_day(text)
  return t or iso
end

return function(data)
  local lines = {}
  for line in data:gmatch "[^\n]*" do lines[#lines + 1] = line end
  local a, b = read(lines[1] or ""), read(lines[2] or lines[1] or "")
  if not a then return end
  check_one(a)
  local n = 0
  for i = 1, math.min(#data, 4) do n = n * 256 + data:byte(-i) end
  check_add(a, n % 2 == 0 and n or -(n % 100000))
  if b then check_two(a, b) end
  if lines[3] then
    local text = try(a.format, a, lines[3])
    assert(text == nil or type(text) == "string")
    try(time.parse, lines[1], lines[3])
  end
  for i = 4, math.min(#lines, 8) do check_zone(a, lines[i]) end
end
