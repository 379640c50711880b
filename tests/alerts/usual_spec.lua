-- What the alerter learns of channels (lua/alerts/usual.lua): silence is told from a quiet hour, and
-- nothing is told before there is a baseline.
package.preload["lunate.alerts.units"] = function() return dofile "lua/alerts/units.lua" end
local usual = dofile "lua/alerts/usual.lua"

local MONDAY = os.time { year = 2026, month = 11, day = 2, hour = 0, min = 0, sec = 0 }

-- Feeds a channel from `from` for `days`, a look a minute; rate(t): messages in that minute.
local function live(u, from, days, rate, o)
  o = o or {}
  local c = { name = "in", received = o.received or 0, state = o.state or "running", listening = true }
  local alarms, first = 0, nil
  for t = from, from + days * 86400 - 60, 60 do
    c.received = c.received + rate(t)
    u:take({ uptime_s = t - from + (o.up or 1e6), channels = { c } }, t)
    local why = u:unusual("in", t)
    if why then
      alarms, first = alarms + 1, first or { at = t, text = why }
    end
    if o.every then u = o.every(u, t) or u end
  end
  return alarms, first, c.received, u
end

local function hour(t) return os.date("*t", t).hour end
-- By day one every two minutes, at night one an hour, none between 2 and 4.
local function hospital(t)
  local h, m = hour(t), os.date("*t", t).min
  if h >= 2 and h < 4 then return 0 end
  if h < 6 or h >= 22 then return m == 30 and 1 or 0 end
  return m % 2 == 0 and 1 or 0
end

describe("what is usual", function()
  it("never alarms before it has seen an hour twice", function()
    local u = usual.new()
    local alarms = live(u, MONDAY, 10, hospital)
    assert.equal(0, alarms)
    assert.equal(0, (live(u, MONDAY + 10 * 86400, 3, function() return 0 end)))
  end)

  it("tells an outage by day within the hour, and not a quiet night", function()
    local u = usual.new()
    local alarms, _, n = live(u, MONDAY, 21, hospital)
    assert.equal(0, alarms)
    local noon = MONDAY + 21 * 86400 + 10 * 3600
    assert.equal(0, (live(u, MONDAY + 21 * 86400, 10 / 24, hospital, { received = n })))
    local some, first = live(u, noon, 3 / 24, function() return 0 end, { received = n + 200 })
    assert.is_true(some > 60)
    assert.is_true(first.at - noon < 3600, first.at - noon)
    assert.matches("^nothing received for %d+ min, in which about %d+ messages usually come %(Mon %d%d%-%d%d h, "
      .. "learned over 3 weeks%); the longest usual pause is worth %d+$", first.text)
  end)

  it("an outage that begins in the evening is told in the morning, not before", function()
    local u = usual.new()
    local _, _, n = live(u, MONDAY, 21, hospital)
    local evening = MONDAY + 21 * 86400 + 21.9 * 3600
    live(u, MONDAY + 21 * 86400, 21.9 / 24, hospital, { received = n })
    local some, first = live(u, evening, 12 / 24, function() return 0 end, { received = n + 400 })
    assert.is_true(some > 0)
    assert.is_true(hour(first.at) >= 6 and hour(first.at) <= 7, os.date("%H:%M", first.at))
  end)

  it("a stopped channel and an engine that did not run teach nothing and alarm nobody", function()
    local u = usual.new()
    local _, _, n = live(u, MONDAY, 21, hospital)
    local from = MONDAY + 21 * 86400
    assert.equal(0, (live(u, from, 1, function() return 0 end, { received = n, state = "stopped" })))
    local known = u:known("in", from + 86400 - 60)
    assert.equal(168, known.hours)
    assert.is_true(known.mean > 0 and known.weeks == 3)
    -- Two days without anybody looking; then silence counts from the first look.
    local back = from + 3 * 86400 + 10 * 3600
    u:take({ uptime_s = 1, channels = { { name = "in", received = n, state = "running" } } }, back)
    assert.is_nil(u:unusual("in", back + 60))
  end)

  it("a bursty feed is known as one", function()
    local function bursts(t) return os.date("*t", t).min == 0 and 60 or 0 end -- all at the full hour
    local u = usual.new()
    local alarms, _, n = live(u, MONDAY, 28, bursts)
    assert.equal(0, alarms)
    local _, first = live(u, MONDAY + 28 * 86400, 1, function() return 0 end, { received = n })
    local quiet = first.at - MONDAY - 28 * 86400
    assert.is_true(quiet > 3600 and quiet < 3.5 * 3600, quiet)
  end)

  it("survives being written and read, at about 1 KB a channel; damage costs its line alone", function()
    local u = usual.new()
    local _, _, n = live(u, MONDAY, 21, hospital, { every = function(u1, t)
      if t % 86400 == 43200 then return usual.read(u1:write()) end
    end })
    assert.is_true(n > 0)
    local _, _, m, back = live(usual.new(), MONDAY, 21, hospital, { every = function(u1, t)
      if t % 7200 == 0 then return usual.read(u1:write()) end
    end })
    local text = back:write()
    assert.is_true(#text < 2000, #text)
    local again = usual.read(text)
    assert.equal(text, again:write())
    local noon = MONDAY + 21 * 86400 + 10 * 3600
    live(again, MONDAY + 21 * 86400, 10 / 24, hospital, { received = m })
    assert.is_true((live(again, noon, 3 / 24, function() return 0 end, { received = m + 200 })) > 0)
    assert.same({}, usual.read("lunate usual 1\nin 1 2 3\n").channels)
    assert.same({}, usual.read("something else").channels)
    assert.same({}, usual.read(nil).channels)
  end)
end)
