-- Listeners on a name: looking it up holds nobody up, and a name that is not found fails its channel
-- alone, until it is.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local traffic = require "support.traffic"
local has = site.has

describe("e2e/name", function()
  after_each(site.cleanup)

  it("not found: its channel fails alone; looked up again while others go on, and opened", function()
    if (os.getenv "MODE" or "release") ~= "release" then
      pending("the sanitizer must be preloaded first")
      return
    end
    local lib, knob = tmp.dir() .. "/slowname.so", tmp.file("none")
    assert.equal(0, (proc.run { "gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", lib,
      "tests/e2e/slowname.c", "-ldl" }))
    local free, named = net.free_port(), net.free_port()
    local s = site.new { ["channels/free.lua"] = traffic.channel(free),
      ["channels/named.lua"] = (traffic.channel(named):gsub('mllp.listen { ', '%0host = "slow.test", ', 1)) }
    has(s:read "channels/named.lua", "slow.test")
    local e = s:spawn { env = { LD_PRELOAD = lib, SLOWNAME = knob } }
    local conn = assert(net.connect_when_open(free))
    traffic.send_all(conn, { "F1" })
    assert.same({ "failed", "running" }, { e:channel("named").state, e:channel("free").state })
    assert.matches("cannot listen on slow.test", e:channel("named").error)
    tmp.write(knob, "wait")
    site.wait_until(function() return proc.run { "test", "-e", knob .. ".asked" } == 0 end, 30, "a look-up")
    traffic.send_all(conn, { "F2", "F3" })
    assert.equal("running", e:channel("free").state)
    tmp.write(knob, "127.0.0.1")
    assert(e:wait_ready(30))
    traffic.send_all(net.connect(named), { "N1" })
    assert.equal("running", e:channel("named").state)
    site.must(s, "reload")
    assert.equal("running", e:channel("named").state)
    assert.equal(0, e:stop())
  end)
end)
