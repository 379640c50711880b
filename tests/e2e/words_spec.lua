-- What the engine says of itself to those who operate it: at the start, in the log, on top of status.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"
local run, has = site.must, site.has

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

  it("the engine is reached while somebody edits lunate.lua", function()
    local out = net.receiver {}
    local s = site.new { ["channels/a.lua"] = traffic.channel(net.free_port(), out.port),
      ["lunate.lua"] = 'return { data = "store" }' }
    local e = s:start()
    s:write("lunate.lua", 'return { data = "store", oops oops }')
    for _, words in ipairs { { "status" }, { "hold", "a/out" }, { "messages" } } do
      local status, _, err = s:run(unpack(words))
      assert.equal(0, status, err)
      has(err, "lunate.lua:1:")
      has(err, "the store is found all the same")
    end
    assert.equal(1, (s:run "reload"))
    s:write("lunate.lua", 'return { data = "nowhere", oops oops }') -- a store that is not there is not guessed
    local status, _, err = s:run "status"
    assert.equal(1, status)
    has(err, "lunate.lua:1:")
    e:kill9()
  end)

  it("a refused reload says first what was refused, in one line", function()
    local out = net.receiver {}
    local s = site.new {}
    for _, name in ipairs { "a", "b", "c" } do
      s:write("channels/" .. name .. ".lua", traffic.channel(net.free_port(), out.port))
    end
    local e = s:start()
    s:write("channels/c.lua", "oops(")
    s:write("channels/a.lua", traffic.channel(net.free_port(), out.port))
    local status, _, err = s:run "reload"
    assert.equal(1, status)
    local refused = "^lunate reload: c: not reloaded, the old one goes on: channels/c.lua:1: .*; a: reloaded\n$"
    assert.truthy(err:find(refused), err)
    e:kill9()
  end)

  it("status fits a narrow terminal", function()
    local out = net.receiver {}
    local s = site.new { ["channels/adt_from_the_ehr.lua"] = traffic.channel(net.free_port(), out.port) }
    local e = s:start()
    for _, columns in ipairs { 40, 60, 80, 120 } do
      local _, text = s:run("status", { env = { COLUMNS = tostring(columns) } })
      has(text, "running")
      has(text, "parked")
      for line in text:gmatch "[^\n]+" do assert.truthy(#line <= math.max(columns, 50), line) end
    end
    e:kill9()
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
