-- What a target is sent, and when: the cap of an hour, whose last quarter is kept for what comes later.
local wanted = { "lunate.wire", "lunate.alerts.compose" } -- for sending alone, which is ours here
for _, name in ipairs(wanted) do package.loaded[name] = {} end
local outbox = dofile "lua/alerts/outbox.lua"
for _, name in ipairs(wanted) do package.loaded[name] = nil end

local HOUR, T0 = 3600, 1795000000

describe("alerts/outbox", function()
  it("what is new is told within minutes after a flood, and no more than per_hour in an hour", function()
    local state = { outbox = {}, sent = {} }
    local settings = { per_hour = 20, targets = { duty = { kind = "mail" } } }
    local box = outbox.new(state, { site = "s" }, function() end)
    local sent, notes, now = {}, {}, T0
    outbox.launch = function(_, about)
      sent[#sent + 1], notes[#sent + 1] = now, about.note
      return {}
    end
    outbox.look = function() return true, "" end
    local longest, n, due_since = 0, 0, nil
    while now < T0 + 3 * HOUR do
      if (now - T0) % 30 == 0 then -- an alert every half a minute
        n = n + 1
        box:put { id = "a" .. n, status = "firing", at = now, since = now, to = { "duty" }, items = {}, ended = {} }
        due_since = due_since or now
      end
      local before = #sent
      box:pump(settings, now)
      if #sent > before then
        longest, due_since = math.max(longest, now - due_since), nil
      end
      if now == T0 + 700 then assert.matches("^duty: held back until %d%d:%d%d", box:why()) end
      now = now + 10
    end
    for i = 1, #sent do
      local within = 0
      for j = i, #sent do within = within + (sent[j] < sent[i] + HOUR and 1 or 0) end
      assert.truthy(within <= 20, within .. " within an hour")
    end
    assert.truthy(#sent > 40, #sent .. " in three hours")
    assert.truthy(longest <= 600, "the longest wait: " .. longest .. " s")
    assert.is_nil(notes[14])
    assert.matches("last message for now", notes[15])
  end)
end)
