-- Each kind of rule (lua/alerts/rules.lua) on status documents made by hand: fires beyond its limit,
-- not at it; groups by cause; tells nothing that a message may have in it.
local sys = { now = os.time, iso = tostring }
package.preload["lunate.sys"] = function() return sys end
for _, name in ipairs { "alerts.units", "alerts.kinds", "cli.time" } do
  package.preload["lunate." .. name] = function()
    return dofile("lua/" .. name:gsub("%.", "/") .. ".lua")
  end
end
local rules = dofile "lua/alerts/rules.lua"
local rates = dofile "lua/alerts/rates.lua"
local settings_of = dofile "lua/alerts/settings.lua"

local NOW = 1795000000

local function iso(t) return os.date("!%Y-%m-%dT%H:%M:%SZ", t) end

local function dest(o)
  local d = { name = "lab", state = "sending", queued = 0, sent = 1, parked = 0, oldest_s = 0,
    to = "10.0.0.9:2575", last_error = "" }
  for k, v in pairs(o or {}) do d[k] = v end
  return d
end

local function channel(o)
  local c = { name = "adt", state = "running", listen = "0.0.0.0:6661", listening = true,
    received = 100, rejected = 0, errors = 0, parked = 0, pending = 0, error = "",
    destinations = { dest() } }
  for k, v in pairs(o or {}) do c[k] = v end
  return c
end

-- Events of one rule; conf: its settings, as alerts.config gives them.
local function look(name, conf, channels, more)
  local all = { ["alerts.targets"] = "t", ["alerts.rules"] = name,
    ["alerts.rule." .. name .. ".kind"] = conf.kind or name }
  for k, v in pairs(conf) do all["alerts.rule." .. name .. "." .. k] = v end
  local x = { now = NOW, doc = { state = "running", store = {}, channels = channels }, rates = rates.new(),
    usual = { last_in = function() end, unusual = function() end } }
  for k, v in pairs(more or {}) do
    if k == "doc" then
      for key, value in pairs(v) do x.doc[key] = value end
    else
      x[k] = v
    end
  end
  if more and more.gone then x.doc, x.why = nil, more.gone end
  return rules.look(x, settings_of(all))
end

describe("rules", function()
  it("queue_age, queue_depth", function()
    local function age(s, queued) return { channel { destinations = { dest { oldest_s = s, queued = queued } } } } end
    assert.equal(0, #look("queue_age", { over = "600" }, age(600, 3)))
    assert.equal(0, #look("queue_age", { over = "600" }, age(9999, 0)))
    local e = look("queue_age", { over = "600" }, age(601, 3))
    assert.equal(1, #e)
    assert.equal("adt/lab: 3 queued, the oldest waits 10 min (sending)", e[1].text)
    assert.equal("rule queue_age", e[1].cause)
    assert.equal(0, #look("queue_depth", { over = "3" }, age(1, 3)))
    assert.equal(1, #look("queue_depth", { over = "2" }, age(1, 3)))
    assert.equal(1, #look("queue_depth", { over = "2" }, { channel { pending = 3 } }))
  end)

  it("only and except, with *", function()
    local list = { channel { parked = 1 }, channel { name = "adt_test", parked = 1 } }
    for _, c in ipairs(list) do c.destinations[1].parked = 1 end
    local function subjects(conf)
      conf.over = "0"
      local out = {}
      for i, e in ipairs(look("parked", conf, list)) do out[i] = e.subject end
      return table.concat(out, " ")
    end
    assert.equal("adt/lab adt_test/lab", subjects {})
    assert.equal("adt_test/lab", subjects { only = "*_test" })
    assert.equal("adt/lab", subjects { except = "adt_*" })
    assert.equal("adt/lab", subjects { only = "adt/lab\nother" })
    assert.equal("", subjects { only = "ad" })
  end)

  it("disconnected: by receiver; the reason only where the system says it", function()
    local d = dest { state = "retrying", queued = 2, retrying_since = iso(NOW - 301),
      last_error = "cannot connect to 10.0.0.9 port 2575: Connection refused" }
    local e = look("disconnected", { over = "300" }, { channel { destinations = { d } } })
    assert.equal("receiver 10.0.0.9", e[1].cause)
    assert.matches("has not taken a message for 5 min, 2 queued: cannot connect to .* refused$", e[1].text)
    d.last_error = "answered AE: patient DOE^JOHN unknown"
    e = look("disconnected", { over = "300" }, { channel { destinations = { d } } })
    assert.matches("2 queued$", e[1].text)
    d.retrying_since = iso(NOW - 299)
    assert.equal(0, #look("disconnected", { over = "300" }, { channel { destinations = { d } } }))
    d.retrying_since, d.state = iso(NOW - 999), "held"
    assert.equal(0, #look("disconnected", { over = "300" }, { channel { destinations = { d } } }))
  end)

  it("what a stopped channel or a store without room brings about goes with that", function()
    local d = dest { oldest_s = 9999, queued = 3 }
    local stopped = { channel { state = "stopped", destinations = { d } } }
    assert.equal("channel adt", look("queue_age", { over = "1" }, stopped)[1].cause)
    assert.equal("channel adt", look("channel_down", {}, stopped)[1].cause)
    local full = { doc = { state = "store full", store = { failure = "no room" } } }
    local running = { channel { destinations = { d } } }
    assert.equal("store", look("queue_age", { over = "1" }, running, full)[1].cause)
    assert.equal("store", look("store", {}, running, full)[1].cause)
    assert.matches("no room", look("store", {}, running, full)[1].text)
    assert.equal("store", look("disk_free", { under = "10%" }, running,
      { disk_free = 9, disk_size = 100 })[1].cause)
  end)

  it("channel_down: stopped, failed, without its port; not paused", function()
    for state, n in pairs { stopped = 1, failed = 1, paused = 0, running = 0, draining = 0 } do
      assert.equal(n, #look("channel_down", {}, { channel { state = state } }), state)
    end
    assert.equal(1, #look("channel_down", {}, { channel { listening = false } }))
    -- It has stopped itself: nobody has decided that.
    local text = 'message 3 failed at channels/adt.lua:2 (on_error = "stop"): mend it, then lunate resume adt'
    local e = look("channel_down", {}, { channel { state = "paused", error = text, pending = 1 } })
    assert.equal("adt: paused: " .. text, e[1] and e[1].text)
    assert.equal(0, #look("channel_down", {}, { channel { state = "paused", error = "channels/adt.lua:1: oops" } }))
    assert.equal(0, #look("channel_down", {}, { channel { listening = false, listen = "" } }))
  end)

  it("certificates: ours and the receiver's", function()
    local function with(days) return { expires = iso(NOW + days * 86400) } end
    local two_weeks = { under = "1209600" }
    assert.equal(0, #look("certificate", two_weeks, { channel { tls = with(15) } }))
    assert.matches("expires in 13 d", look("certificate", two_weeks, { channel { tls = with(13) } })[1].text)
    assert.matches("expired 2 d ago", look("certificate", two_weeks, { channel { tls = with(-2) } })[1].text)
    local tls = { expires = iso(NOW + 86400 * 400), peer_expires = iso(NOW + 86400) }
    local e = look("certificate", two_weeks, { channel { destinations = { dest { tls = tls } } } })
    assert.equal("adt/lab (receiver)", e[1].subject)
    e = look("certificate", two_weeks, {}, { doc = { admin = { tls = with(13) } } })
    assert.equal("admin: its certificate expires in 13 d", e[1] and e[1].text)
  end)

  it("disk_free: a share or a size", function()
    local function n(under, free)
      return #look("disk_free", { under = under }, {}, { disk_free = free, disk_size = 100e9 })
    end
    assert.equal(0, n("10%", 10e9))
    assert.equal(1, n("10%", 9.9e9))
    assert.equal(0, n("5000000000", 5e9))
    assert.equal(1, n("5000000000", 4.9e9))
  end)

  it("error_rate: over a window, from a least number on", function()
    local r = rates.new()
    local function at(t, received, errors)
      r:take({ channels = { channel { received = received, errors = errors } } }, NOW + t, 900)
    end
    at(0, 1000, 500)
    at(300, 1019, 519)
    local conf = { over = "10", window = "900", least = "20" }
    assert.equal(0, #look("error_rate", conf, { channel() }, { rates = r, now = NOW + 300 }))
    at(600, 1020, 502)
    assert.equal(0, #look("error_rate", conf, { channel() }, { rates = r, now = NOW + 600 }))
    at(630, 1100, 520)
    local e = look("error_rate", conf, { channel() }, { rates = r, now = NOW + 630 })
    assert.matches("20 of 100 messages %(20%%%)", e[1].text)
    at(1600, 2000, 520) -- what was before the window no longer counts
    assert.equal(0, #look("error_rate", conf, { channel() }, { rates = r, now = NOW + 1600 }))
  end)

  it("silence that people know, and what was learned", function()
    local u = { last_in = function() return NOW - 7201 end, unusual = function() return "nothing" end }
    local e = look("silence", { over = "7200" }, { channel() }, { usual = u })
    assert.equal("adt: nothing received for 2 h", e[1].text)
    assert.equal(0, #look("silence", { over = "7202" }, { channel() }, { usual = u }))
    assert.equal("adt: nothing", look("silence", { over = "learned" }, { channel() }, { usual = u })[1].text)
    assert.equal(0, #look("silence", { over = "7200" }, { channel { state = "paused" } }, { usual = u }))
    assert.equal(0, #look("silence", { over = "7200" }, { channel { listen = "" } }, { usual = u }))
  end)

  it("a damaged store, an archive that cannot be written, an engine that does not answer", function()
    local text = "message 3 cannot be read from the store (damaged): run lunate verify"
    assert.equal("store damaged", look("store", {}, { channel { error = text } })[1].cause)
    assert.equal(1, #look("store", {}, { channel { destinations = { dest { last_error = text } } } }))
    assert.equal(1, #look("store", {}, {}, { doc = { store = { archive = { failure = "no room" } } } }))
    assert.equal(0, #look("store", {}, { channel() }))
    assert.equal("engine", look("engine", {}, {}, { gone = "no answer" })[1].cause)
    assert.equal(0, #look("engine", {}, { channel() }))
    assert.equal(0, #look("parked", { over = "0" }, {}, { gone = "no answer" }))
  end)
end)
