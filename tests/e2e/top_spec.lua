-- What people watch an engine with: `status` and `top`, with many channels whose names are long.
local site = require "support.site"
local net = require "support.net"
local terminal = require "support.terminal"
local traffic = require "support.traffic"

local NAMES = "clinic_department_feed_%02d"

local function many(n)
  local files = {}
  local ports = {}
  for i = 1, n do
    ports[i] = net.free_port()
    files[("channels/" .. NAMES .. ".lua"):format(i)] = traffic.channel(ports[i], net.free_port())
  end
  return site.new(files), ports
end

describe("e2e/top: many channels", function()
  after_each(function()
    terminal.cleanup()
    site.cleanup()
  end)

  -- Guards: names were cut at their end, and 25 channels had one name.
  it("status tells long names apart", function()
    local s = many(3)
    local e = s:start()
    local text = site.must(s, "status")
    local seen, n = {}, 0
    for line in text:gmatch "[^\n]+" do
      local name = line:match "^(clinic_%S+)"
      if name then
        assert.falsy(seen[name], text)
        seen[name], n = true, n + 1
      end
    end
    assert.equal(3, n)
    assert.equal(0, e:stop())
  end)

  -- Guards: the rates stood below the screen, and nothing could be scrolled.
  it("top folds them into a screen with their rates, and scrolls", function()
    local s, ports = many(25)
    local e = s:start()
    local t = terminal.open(("%s -C %s top --interval 0.5"):format(site.binary(), s.path),
      { env = { TERM = "xterm" } })
    local first = t:wait "up, down, page up, page down"
    assert.truthy(first:find("in/s +out/s"), first)
    assert.truthy(first:find(NAMES:format(1) .. " +running +0 +0"), first)
    assert.falsy(first:find(NAMES:format(25), 1, true), first)
    t:press "NPage"
    local last = t:wait(NAMES:format(25))
    assert.falsy(last:find(NAMES:format(1) .. " ", 1, true), last)
    t:press "Home"
    t:wait(NAMES:format(1))
    traffic.exchange(net.connect(ports[25]), "A1") -- its receiver is down: it comes to the top
    local urgent = t:wait("-> out")
    assert.truthy(urgent:find(NAMES:format(25) .. " +running"), urgent)
    t:press "q"
    t:wait "ended 0"
    assert.equal(0, e:stop())
  end)
end)
