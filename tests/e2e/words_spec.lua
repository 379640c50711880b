-- What the engine says of itself to those who operate it: at the start, in the log, on top of status.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"

local function run(s, ...)
  local status, out, err = s:run(...)
  if status ~= 0 then error(("lunate %s: %s %s"):format(table.concat({ ... }, " "), status, err), 2) end
  return out
end

local function has(text, part)
  assert.truthy(text:find(part, 1, true), ("%q in:\n%s"):format(part, text))
end

describe("e2e/words", function()
  after_each(site.cleanup)

  -- Guards: it stayed silently stopped.
  it("a channel that is stopped or paused says so at the next start", function()
    local out = net.receiver {}
    local s = site.new { ["channels/a.lua"] = traffic.channel(net.free_port(), out.port),
      ["channels/b.lua"] = traffic.channel(net.free_port(), out.port),
      ["channels/c.lua"] = traffic.channel(net.free_port(), out.port) }
    local e = s:start()
    run(s, "stop", "a")
    run(s, "pause", "b")
    assert.equal(0, e:stop())
    e = s:start()
    has(e:log(), "channel a: still stopped, as it was before: lunate start a")
    has(e:log(), "channel b: still paused, as it was before: lunate resume b")
    has(e:log(), "hub stopped channel=a")
    has(run(s, "status"), "lunate start a")
    assert.equal(0, e:stop())
  end)

  -- Guards: it said failed=0.
  it("a port that cannot be had counts as failed at the start", function()
    local out, taken = net.receiver {}, net.listen {}
    local s = site.new { ["channels/a.lua"] = traffic.channel(taken.port, out.port),
      ["channels/b.lua"] = traffic.channel(net.free_port(), out.port) }
    local e = s:spawn()
    site.wait_until(function() return e:log():find "hub started" end, 10, "a start")
    has(e:log(), "channels=2 failed=1")
    e:signal(15)
    site.wait_until(function() return not e:running() end, 15, "its end")
  end)

  -- Guards: why="..." had quotes within quotes, which no reader of logs can take apart.
  it("quotes within a value of the log are escaped", function()
    local out = net.receiver {}
    local s = site.new { ["channels/a.lua"] = 'return channel { source = "nonsense" }',
      ["channels/b.lua"] = traffic.channel(net.free_port(), out.port) }
    local e = s:start()
    local line = e:log():match "[^\n]*channel not_loaded[^\n]*"
    local why = assert(line:match 'why="(.*)"$', line)
    assert.falsy(why:gsub('\\"', ""):find '"', line)
    has(why, '\\"')
    assert.equal(0, e:stop())
  end)

  it("status advises what helps: against a receiver that is not there, and a spec that fails", function()
    local nobody = net.free_port()
    local port = net.free_port()
    local s = site.new { ["channels/a.lua"] = traffic.channel(port, nobody),
      ["lunate.lua"] = "return { reload_tests = true }",
      ["spec/a_spec.lua"] = 'describe("a", function() it("fails", function() assert.equal(1, 2) end) end)' }
    local e = s:start()
    traffic.exchange(net.connect(port), "M1")
    site.wait_until(function() return e:channel("a").dest.out.last_error:find "cannot connect" end, 5, "a try")
    has(run(s, "status"), "nc -vz 127.0.0.1 " .. nobody)
    assert.equal(1, (s:run "reload"))
    has(run(s, "status"), "lunate test spec/a_spec.lua")
    e:kill9()
  end)
end)
