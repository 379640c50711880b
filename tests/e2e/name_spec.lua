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
    -- A dead name server holds up neither the reload nor the loop: for the admin address, too.
    tmp.write(knob, "wait")
    os.remove(knob .. ".asked")
    local late, admin = net.free_port(), net.free_port()
    s:write("channels/late.lua", (traffic.channel(late):gsub('mllp.listen { ', '%0host = "slow.test", ', 1)))
    s:write("channels/free.lua", traffic.channel(free) .. "-- changed\n")
    s:write("lunate.lua", ('return { admin = { listen = "slow.test:%d", allow = { "127.0.0.1" } } }')
      :format(admin))
    local reload = proc.spawn { site.binary(), "-C", s.path, "reload" }
    site.wait_until(function() return proc.run { "test", "-e", knob .. ".asked" } == 0 end, 30, "a look-up")
    traffic.send_all(conn, { "F4", "F5" })
    assert.equal(1, reload:wait(30))
    has(reload:err(), "late: does not listen yet: cannot listen on slow.test")
    has(reload:err(), "admin: not reloaded, the old one goes on: cannot listen on slow.test")
    traffic.send_all(conn, { "F6" })
    assert.same({ "failed", "running" }, { e:channel("late").state, e:channel("named").state })
    tmp.write(knob, "127.0.0.1")
    site.wait_until(function() return e:channel("late").state == "running" end, 60, "a listener")
    traffic.send_all(net.connect(late), { "L1" })
    site.must(s, "reload")
    assert(net.connect_when_open(admin)):close()
    assert.equal(0, e:stop())
  end)
end)
