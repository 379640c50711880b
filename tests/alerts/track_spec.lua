-- Grouping, repeats, silences, resolved notes (lua/alerts/track.lua), with a clock of our own.
local track = dofile "lua/alerts/track.lua"

local settings = { names = { "duty", "page" }, targets = { duty = {}, page = {} }, wait = 15,
  clear = 60, again = { first = 1800, factor = 2, max = 28800 } }

local function event(subject, o)
  o = o or {}
  return { rule = o.rule or "disconnected", kind = o.rule or "disconnected", subject = subject,
    text = o.text or subject .. " is off", cause = o.cause or "receiver 10.0.0.9", to = o.to,
    after = o.after or 0 }
end

describe("alerts over time", function()
  local state, now
  before_each(function() state, now = track.new(), 1e9 end)

  -- Lets `seconds` pass, in steps of 10, with these events; all notices.
  local function pass(seconds, events, known)
    local all = {}
    for _ = 1, math.max(1, math.floor(seconds / 10)) do
      now = now + 10
      for _, n in ipairs(track.step(state, events, now, settings, known == nil or known)) do
        all[#all + 1] = n
      end
    end
    return all
  end

  it("ten queues of one dead receiver are one message, and one when they are over", function()
    local events = {}
    for i = 1, 10 do events[i] = event("in" .. i .. "/lab") end
    local notices = pass(300, events)
    assert.equal(1, #notices)
    assert.equal("firing", notices[1].status)
    assert.equal(10, #notices[1].items)
    assert.same({ "duty", "page" }, notices[1].to)
    notices = pass(300, {})
    assert.equal(1, #notices)
    assert.equal("resolved", notices[1].status)
    assert.equal(10, #notices[1].ended)
    assert.equal(0, #pass(3600, {}))
    assert.same({}, state.groups)
  end)

  it("repeats with back-off: after 30 min, 1 h, 2 h, 4 h, then every 8 h", function()
    local times, began = {}, now
    for _ = 1, 36 do
      for _, n in ipairs(pass(3600, { event "a/b" })) do times[#times + 1] = n.at - began end
    end
    local expected, at = { 20 }, 20
    for _, gap in ipairs { 1800, 3600, 7200, 14400, 28800, 28800, 28800 } do
      at = at + gap
      expected[#expected + 1] = at
    end
    for i, t in ipairs(times) do assert.is_true(math.abs(t - expected[i]) <= 100, i .. ": " .. t) end
    assert.equal(8, #times)
  end)

  it("what comes and goes is one alert, and what is short is none", function()
    local all = {}
    for _ = 1, 60 do
      for _, n in ipairs(pass(30, { event "a/b" })) do all[#all + 1] = n end
      for _, n in ipairs(pass(30, {})) do all[#all + 1] = n end
    end
    assert.is_true(#all <= 2, #all)
    state, now = track.new(), 1e9
    pass(50, { event("c", { after = 60 }) })
    assert.equal(0, #pass(600, {}))
  end)

  it("something new in a group is told, though not at once each time", function()
    assert.equal(1, #pass(60, { event "a/b" }))
    local notices = pass(60, { event "a/b", event "c/d" })
    assert.equal(1, #notices)
    assert.equal(2, #notices[1].items)
    local list, n = {}, 0
    for i = 1, 100 do
      list[i] = event("x" .. i)
      n = n + #pass(10, list)
    end
    assert.is_true(n <= 1000 / 60 + 1, n)
  end)

  it("silenced: nothing is sent; when it still fires at the end, it is told then", function()
    state.silences[1] = { rule = "disconnected", subject = "a", till = now + 3600, reason = "", by = "" }
    assert.equal(0, #pass(3500, { event "a/b" }))
    assert.equal("silenced", track.firing(state, now)[1].state)
    local notices = pass(300, { event "a/b" })
    assert.equal(1, #notices)
    assert.same({}, state.silences)
    -- Another subject of the same rule is not silenced.
    state, now = track.new(), 1e9
    state.silences[1] = { rule = "disconnected", subject = "a", till = now + 3600, reason = "", by = "" }
    notices = pass(600, { event "a/b", event "ab/b" })
    assert.equal(1, #notices)
    assert.equal("ab/b", notices[1].items[1].subject)
    -- Over while it was silenced: nobody was told, nobody is.
    state, now = track.new(), 1e9
    state.silences[1] = { rule = "*", subject = "", till = now + 600, reason = "", by = "" }
    pass(300, { event "a/b" })
    assert.equal(0, #pass(900, {}))
  end)

  it("acknowledged: no repeats; what is added and the end are told", function()
    pass(60, { event "a/b" })
    state.groups["receiver 10.0.0.9"].ack = { by = "me", reason = "on it" }
    assert.equal(0, #pass(7200, { event "a/b" }))
    assert.equal("acknowledged", track.firing(state, now)[1].state)
    assert.equal(1, #pass(120, { event "a/b", event "c/d" }))
    assert.equal("firing", track.firing(state, now)[1].state)
    assert.equal("resolved", pass(120, {})[1].status)
  end)

  it("without a status document nothing is said to be over", function()
    pass(60, { event "a/b" })
    assert.equal(0, #pass(600, {}, false))
    assert.equal(1, #track.firing(state, now))
    assert.equal("resolved", pass(120, {})[1].status)
  end)

  it("rules send to the targets that they name", function()
    local notices = pass(60, { event("a", { to = { "page" }, cause = "x" }), event("b", { cause = "y" }) })
    assert.equal(2, #notices)
    local to = {}
    for _, n in ipairs(notices) do to[n.cause] = n.to end
    assert.same({ x = { "page" }, y = { "duty", "page" } }, to)
  end)
end)
