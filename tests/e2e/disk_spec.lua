-- Disks as they are: full, and slow. Guards promise 1 (an AA means it is on disk) when there is no
-- room, and that the loop never waits for the disk.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"

local function message(id, size)
  return "MSH|^~\\&|EHR|HOSP|LAB|HOSP|20261123||ORU^R01|" .. id .. "|P|2.5.1\r"
    .. "PID|1||" .. id .. "^^^HOSP^MR||Muster^Anna\r"
    .. "OBX|1|ED|PDF||" .. ("A"):rep(size or 100) .. "\r"
end

local function channel(port, out)
  return ([[
return channel {
  source = mllp.listen { port = %d, host = "127.0.0.1" },
  destinations = {
    out = mllp.send { host = "127.0.0.1", port = %d, retry = { first = 0.05, max = 0.2 } },
  },
}]]):format(port, out)
end

local function sh(command)
  return os.execute(command .. " >/dev/null 2>&1") == 0
end

describe("e2e/disk", function()
  local mount
  after_each(function()
    proc.cleanup()
    if mount then sh("umount " .. mount) end
    mount = nil
    site.cleanup()
  end)

  it("answers no false AA on a full disk, and goes on when there is room", function()
    local base = tmp.dir()
    if not sh("mount -t tmpfs -o size=24m tmpfs " .. base) then
      return pending "needs root, to mount a small tmpfs"
    end
    mount = base
    local out_port, port = net.free_port(), net.free_port()
    local s = site.new({ ["channels/oru.lua"] = channel(port, out_port) }, { base = base })
    local ballast = base .. "/ballast"
    assert.is_true(sh("dd bs=1M count=12 if=/dev/zero of=" .. ballast))
    local e = s:start()
    local conn, accepted, refused = net.connect(port), {}, 0
    for n = 1, 400 do
      local id = "D" .. n
      local reply = net.exchange(conn, message(id, 60000), 10)
      if not reply then
        conn = net.connect(port)
      elseif net.field(reply, "MSA", 1) == "AA" then
        assert.equal(id, net.field(reply, "MSA", 2))
        accepted[#accepted + 1] = id
      else
        assert.equal(id, net.field(reply, "MSA", 2))
        refused = refused + 1
        if refused > 20 then break end
      end
    end
    assert.is_true(refused > 20,
      ("the disk never got full: %d accepted\n%s"):format(#accepted, e:log()))
    assert.is_true(#accepted > 20)
    assert.is_true(e:running())
    assert.matches("full", e:status().state)
    -- there is room again: accepted again, without a restart
    os.remove(ballast)
    site.wait_until(function()
      local reply = net.exchange(conn, message "AGAIN", 10)
      return reply and net.field(reply, "MSA", 1) == "AA"
    end, 10, "messages to be taken again")
    accepted[#accepted + 1] = "AGAIN"
    -- all that was acknowledged arrives, in order, and nothing else but what was not answered
    local out = net.receiver { port = out_port }
    out:run_until(function() return out:ids()[#out.frames] == "AGAIN" end, 30, "the last message")
    assert.same(accepted, out:ids())
    assert.equal(0, e:stop())
  end)

  it("answers status and connections at once on a disk that takes 500 ms per sync", function()
    local shim = tmp.dir() .. "/slowsync.so"
    assert.is_true(sh("gcc -shared -fPIC -O1 -o " .. shim .. " tests/e2e/slowsync.c -ldl"))
    local out, port = net.receiver {}, net.free_port()
    local s = site.new { ["channels/oru.lua"] = channel(port, out.port) }
    local preload = os.getenv "LD_PRELOAD"
    local e = s:start { timeout = 30, env = { SLOW_MS = "500",
      LD_PRELOAD = (preload and preload .. ":" or "") .. shim } }
    local conns, slowest_status, slowest_connect = {}, 0, 0
    for i = 1, 20 do
      local began = sys.now()
      conns[i] = net.connect(port)
      slowest_connect = math.max(slowest_connect, sys.now() - began)
      assert(conns[i]:send(net.frame(message("S" .. i))))
      out:step(0)
    end
    for _ = 1, 10 do
      local began = sys.now()
      e:status()
      slowest_status = math.max(slowest_status, sys.now() - began)
      out:run_for(0.1)
    end
    for i = 1, 20 do
      local reply = assert(conns[i]:recv_frame(30))
      assert.equal("S" .. i, net.field(reply, "MSA", 2))
      assert.equal("AA", net.field(reply, "MSA", 1))
    end
    out:run_for_frames(20, 30)
    io.stderr:write(("## 500 ms per sync: slowest status %.0f ms, slowest connect %.0f ms\n"):format(
      slowest_status * 1000, slowest_connect * 1000))
    assert.is_true(slowest_status < sys.patience(1), "status waited for the disk")
    assert.is_true(slowest_connect < sys.patience(1), "a connection waited for the disk")
    assert.equal(0, e:stop(30))
  end)
end)
