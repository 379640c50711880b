-- Small and quick (promise 6): memory with idle connections and with a few channels, time to ready.
local ffi = require "ffi"
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local traffic = require "support.traffic"

local release = (os.getenv "MODE" or "release") == "release"

if not pcall(function() return ffi.C.setrlimit end) then
  ffi.cdef "struct sys_rlimit { unsigned long soft, hard; }; int setrlimit(int, const void *);"
end

local function rss(pid) return proc.proc_status(pid, "VmRSS") end

describe("e2e/idle", function()
  after_each(site.cleanup)

  it("answers beside 1,000 idle connections, in little memory", function()
    ffi.C.setrlimit(7, ffi.new("struct sys_rlimit", { 4096, 4096 }))
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil,
      { source = "max_connections = 2000" }) }
    local e = s:start()
    local busy = net.connect(port)
    traffic.send_all(busy, traffic.ids("W", 200))
    local before = rss(e.pid)
    local idle = {}
    for i = 1, 1000 do idle[i] = assert(net.connect(port)) end
    site.wait_until(function() return e:channel("in").connections == 1001 end, 10, "all connections")
    local after = rss(e.pid)
    local worst = 0
    for n = 1, 500 do
      local began = sys.now()
      assert.equal("AA", traffic.exchange(busy, "B" .. n))
      worst = math.max(worst, sys.now() - began)
    end
    for i = 1, 1000, 100 do assert.equal("AA", traffic.exchange(idle[i], "I" .. i)) end
    io.stderr:write(("## 1,000 idle connections: hub %d -> %d KB, %.2f KB each; worst ACK %.1f ms\n"):format(
      before, after, (after - before) / 1000, worst * 1000))
    if release then assert.truthy(after - before < 4000, (after - before) .. " KB") end
    assert.truthy(worst < sys.patience(1))
    for _, c in ipairs(idle) do c:close() end
    site.wait_until(function() return e:channel("in").connections == 1 end, 10, "their end")
    assert.equal(0, e:stop())
  end)

  it("a site of three channels: hub, workers, time to ready", function()
    local out = net.receiver {}
    local files, ports = {}, {}
    for i = 1, 3 do
      ports[i] = net.free_port()
      files["channels/c" .. i .. ".lua"] = traffic.channel(ports[i], out.port, { top =
        'filter = function(msg) return msg.type == "ADT" end,' ..
        'transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,' })
    end
    local s = site.new(files)
    local best
    for _ = 1, 5 do
      local e = s:start()
      best = math.min(best or 1e9, e.ready_s)
      e:stop()
    end
    local e = s:start()
    for i = 1, 3 do
      local ids = traffic.ids("R" .. i .. "-", 100)
      traffic.send_all(net.connect(ports[i]), ids)
    end
    out:run_for_frames(300, 10)
    site.wait_until(function() return e:channel("c1").dest.out.queued == 0 end, 5, "the queues")
    local hub, worst = rss(e.pid), 0
    for _, pid in ipairs(e:workers()) do worst = math.max(worst, rss(pid)) end
    io.stderr:write(("## three channels: ready in %.0f ms, hub %d KB, worker %d KB\n"):format(best * 1000,
      hub, worst))
    if release then
      assert.truthy(hub < 15 * 1024, hub .. " KB")
      assert.truthy(worst < 6 * 1024, worst .. " KB")
    end
    assert.equal(0, e:stop())
  end)

  it("does nothing when there is nothing to do", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()) }
    local e = s:start()
    local function ticks()
      local stat = require("support.tmp").read("/proc/" .. e.pid .. "/stat"):match "%) (.*)"
      local f = {}
      for w in stat:gmatch "%S+" do f[#f + 1] = w end
      return tonumber(f[12]) + tonumber(f[13])
    end
    sys.sleep(0.5)
    local before = ticks()
    sys.sleep(2)
    assert.truthy(ticks() - before <= 2, (ticks() - before) .. " ticks of 10 ms in 2 s")
    e:stop()
  end)
end)
