-- hl7.time by its properties, on some thousand times of a seeded generator: what is read is written
-- as it was, sums can be undone, order and differences agree with seconds since 1970, no input raises.
local hl7 = require "support.hl7"
local time = hl7.time

local state
local function random(n) -- 0 .. n-1
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n
end

local days = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
local zones = { "", "+0000", "-0500", "+0530", "+1400", "-0930" }

-- A valid time; units: 1 (year) to 6 (second), 7 with a fraction.
local function some(units, zone)
  local year, month = 1900 + random(200), 1 + random(12)
  local leap = month == 2 and (year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0) and 1 or 0
  local t = ("%04d%02d%02d%02d%02d%02d"):format(year, month, 1 + random(days[month] + leap), random(24),
    random(60), random(60)):sub(1, units == 1 and 4 or math.min(units, 6) * 2 + 2)
  if units == 7 then t = t .. "." .. ("%04d"):format(random(10000)):sub(1, 1 + random(4)) end
  return t .. (zone or zones[1 + random(#zones)])
end

describe("script/time", function()
  before_each(function() state = 20261125 end)

  it("writes what it reads, in HL7's form and in ISO 8601", function()
    for i = 1, 3000 do
      local text = some(1 + i % 7)
      local t = assert(time.parse(text))
      assert.equal(text, tostring(t))
      assert.is_true(t == time.parse(text))
      if i % 7 >= 3 or not text:find "[+-]" then -- ISO 8601 has no zone of a day
        local iso = assert(time.parse_iso(t:iso()), t:iso())
        assert.is_true(iso == t, t:iso())
      end
    end
  end)

  it("undoes what it adds, and never changes precision", function()
    for i = 1, 1500 do
      local t = assert(time.parse(some(6)))
      local n, unit = random(2000) - 1000, ({ "weeks", "days", "hours", "minutes", "seconds" })[1 + i % 5]
      local sum = t:add { [unit] = n }
      assert.equal(tostring(t), tostring(sum:add { [unit] = -n }))
      local seconds = ({ weeks = 604800, days = 86400, hours = 3600, minutes = 60, seconds = 1 })[unit]
      assert.equal(n * seconds, sum:diff(t))
      for units = 1, 3 do
        local short = time.parse(some(units, ""))
        assert.equal(#tostring(short), #tostring(short:add { years = n % 7 }))
        if units < 3 then assert.is_false(pcall(short.add, short, { days = 1 })) end
        assert.is_false(pcall(short.add, short, { hours = 1 }))
      end
    end
  end)

  it("orders as seconds since 1970 do, over all zones", function()
    local last
    for _ = 1, 1500 do
      local t = assert(time.parse(some(6, zones[2 + random(#zones - 1)])))
      if last then
        local a, b = last:epoch(), t:epoch()
        assert.equal(a < b and -1 or a > b and 1 or 0, last:compare(t))
        assert.equal(b - a, t:diff(last))
        assert.equal(a < b, last < t)
      end
      assert.is_true(time.from_epoch(t:epoch()) == t)
      for _, zone in ipairs { "UTC", "+0530", "Europe/Berlin", "America/New_York" } do
        assert.equal(t:epoch(), t:to(zone):epoch())
      end
      last = t
    end
  end)

  it("cannot tell which of two is first when one holds the other", function()
    for i = 1, 500 do
      local t = assert(time.parse(some(6, "")))
      local held = t:truncate(({ "year", "month", "day", "hour", "minute" })[1 + i % 5])
      assert.is_nil(t:compare(held))
      assert.is_false(pcall(function() return t < held end))
      assert.equal(tostring(t):sub(1, #tostring(held)), tostring(held))
    end
  end)

  it("refuses what is no time, and never raises", function()
    local letters = "0123456789+-.: TZ\0\255"
    for _ = 1, 20000 do
      local text = some(1 + random(7))
      for _ = 1, 1 + random(3) do
        local at, c = 1 + random(#text), 1 + random(#letters)
        text = text:sub(1, at - 1) .. letters:sub(c, c) .. text:sub(at + random(3))
        if text == "" then text = "0" end
      end
      local t, why = time.parse(text)
      if t then assert.equal(text, tostring(t)) else assert.equal("string", type(why)) end
      local iso = time.parse_iso(text)
      if iso then assert.equal("string", type(tostring(iso))) end
    end
    for _, text in ipairs { "", "2026023", "20260230", "20261301", "2026022824", "202602281260", "20260228+2400",
      "20260228.5", "2026-02-28", "20260228120000.12345", " 2026", "2026 " } do
      assert.is_nil(time.parse(text), text)
    end
  end)
end)
