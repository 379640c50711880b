-- An engine that hangs (SIGSTOP, a disk that does not come back). Guards: verbs that change
-- something, and some that only read, waited for it without a word and without an end.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local traffic = require "support.traffic"
local has = site.has

local function verb(s, ...)
  return proc.spawn { site.binary(), "-C", s.path, stdout = "file", stderr = "file", ... }
end

describe("e2e/hung: an engine that does not answer", function()
  after_each(site.cleanup)

  it("is waited for with a word, and not for ever; what was asked may still be done", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    local e = s:start()
    local pid = e.proc.pid
    e:signal(proc.STOP)
    local changes = { verb(s, "hold", "in/out"), verb(s, "pause", "in"), verb(s, "reload"),
      verb(s, "stop", "in", "--grace", "1") }
    local reads = { verb(s, "status"), verb(s, "metrics"), verb(s, "alerts"), verb(s, "top") }
    for _, p in ipairs(reads) do
      assert.equal(3, p:wait(30))
      has(p:err(), ("waiting for the engine (pid %d), which does not answer"):format(pid))
      has(p:err(), ("the engine of %s (pid %d) does not answer: ps -o stat"):format(s.path, pid))
      assert.falsy(p:err():find("look before you ask again", 1, true))
    end
    for _, p in ipairs(changes) do
      assert.is_true(p:running(), p:err()) -- longer than those that only read
    end
    for _, p in ipairs(changes) do
      assert.equal(3, p:wait(90))
      has(p:err(), "waiting for the engine")
      has(p:err(), "may have been done, or be done yet: look before you ask again")
    end
    e:signal(proc.CONT)
    site.wait_until(function() return e:channel("in").state == "stopped" end) -- and so it was
    assert.equal(0, e:stop())
  end)

  it("is waited for when it goes on; a long task is no hanging engine", function()
    local out = net.receiver { answer = function() return nil end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    e:signal(proc.STOP)
    local hold = verb(s, "hold", "in/out")
    site.wait_until(function() return hold:err():find("waiting for the engine", 1, true) end, 20)
    e:signal(proc.CONT)
    assert.equal(0, hold:wait(10))
    assert.equal("in/out: held\n", hold:out())
    traffic.exchange(net.connect(port), "A1")
    local status, _, err = s:run("drain", "in", "--timeout", "12")
    assert.equal(1, status)
    has(err, "drains on")
    assert.falsy(err:find("waiting for the engine", 1, true))
    assert.equal(0, e:stop())
  end)
end)
