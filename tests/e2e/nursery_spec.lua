-- Where workers come from: kill -9 and SIGSTOP of the nursery, and of the hub.
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local net = require "support.net"
local site = require "support.site"
local traffic = require "support.traffic"

local function title_of(pid) return tmp.read("/proc/" .. pid .. "/cmdline") or "" end

local function nursery(e)
  for _, c in ipairs(proc.children(e.pid)) do
    if c.state ~= "Z" and title_of(c.pid):find "nursery" then return c.pid end
  end
end

local function begin()
  local w = { out = net.receiver {}, port = net.free_port() }
  w.s = site.new { ["channels/c.lua"] = traffic.channel(w.port, w.out.port) }
  w.e = w.s:start()
  site.wait_until(function() return w.e:workers()[1] and nursery(w.e) end, 10, "a worker")
  return w
end

local function through(w, from, to)
  local ids = {}
  for i = from, to do ids[#ids + 1] = "N" .. i end
  traffic.send_all(net.connect(w.port), ids)
  w.out:run_for_frames(to, 20)
  assert.equal("N" .. to, w.out:ids()[to])
end

describe("e2e/nursery", function()
  after_each(site.cleanup)

  it("killed: its workers live on, and the next worker has another", function()
    local w = begin()
    through(w, 1, 20)
    local first, worker = nursery(w.e), w.e:workers()[1]
    proc.kill(first, proc.KILL)
    site.wait_until(function() return not proc.exists(first) end)
    through(w, 21, 40)
    assert.same({ worker }, w.e:workers())
    proc.kill(worker, proc.KILL)
    through(w, 41, 60)
    assert.truthy(nursery(w.e) ~= first)
    assert.truthy(w.e:log():find("error nursery lost pid=" .. first, 1, true))
    assert.equal(0, w.e:stop())
  end)

  it("stopped while a worker is to start: a stop of the channel ends it all the same", function()
    local w = begin()
    local pid, worker = nursery(w.e), w.e:workers()[1]
    proc.kill(pid, proc.STOP)
    proc.kill(worker, proc.KILL)
    site.wait_until(function() return w.e:channel "c".worker_restarts == 1 end)
    site.must(w.s, "stop", "c", "--reason", "test")
    proc.kill(pid, proc.CONT)
    sys.sleep(0.3) -- it brings forth what it was asked for, which nobody wants any more
    site.wait_until(function() return #w.e:workers() == 0 end, 5, "the end of the unwanted worker")
    site.must(w.s, "start", "c")
    through(w, 1, 20)
    assert.equal(pid, nursery(w.e))
    assert.equal(0, w.e:stop())
  end)

  it("hanging for good: it is replaced", function()
    local w = begin()
    local pid = nursery(w.e)
    proc.kill(pid, proc.STOP)
    proc.kill(w.e:workers()[1], proc.KILL)
    through(w, 1, 20)
    assert.is_false(proc.exists(pid))
    assert.truthy(nursery(w.e) ~= pid)
    assert.equal(0, w.e:stop())
  end)

  it("killed or hanging in the middle of a reload: that goes on without it", function()
    local w = begin()
    local pid = nursery(w.e)
    proc.kill(pid, proc.STOP)
    w.s:write("channels/c.lua", traffic.channel(w.port, w.out.port) .. "\n-- changed")
    local p = proc.spawn { site.binary(), "-C", w.s.path, "reload" }
    sys.sleep(0.5)
    proc.kill(pid, proc.KILL)
    assert.equal(0, p:wait(20), p:err())
    local hung = site.wait_until(function() return nursery(w.e) end)
    proc.kill(hung, proc.STOP)
    w.s:write("channels/c.lua", traffic.channel(w.port, w.out.port) .. "\n-- changed again")
    assert.equal(0, (w.s:run("reload", { timeout = 60 })))
    assert.is_false(proc.exists(hung))
    through(w, 1, 20)
    assert.equal(0, w.e:stop())
  end)

  it("killed when the new script's worker was to start: the reload is not refused for that", function()
    local w = begin()
    local pid = nursery(w.e)
    local function loader()
      for _, c in ipairs(proc.children(w.e.pid)) do
        if title_of(c.pid):find "loader" and c.state ~= "Z" then return c.pid end
      end
    end
    w.s:write("channels/c.lua", "local t = os.clock() while os.clock() < t + 0.5 do end\n"
      .. traffic.channel(w.port, w.out.port))
    local p = proc.spawn { site.binary(), "-C", w.s.path, "reload" }
    site.wait_until(loader)
    proc.kill(pid, proc.STOP)
    site.wait_until(function() return not loader() end)
    sys.sleep(0.5)
    proc.kill(pid, proc.KILL)
    assert.equal(0, p:wait(20), p:err())
    assert.equal("c: reloaded\n", p:out())
    through(w, 1, 20)
    assert.equal(0, w.e:stop())
  end)

  it("workers are the hub's own children, and have nothing open but their socket", function()
    local w = begin()
    local worker = w.e:workers()[1]
    assert.equal(w.e.pid, proc.proc_status(worker, "PPid"))
    assert.equal("lunate: worker c", (title_of(worker):gsub("%z.*", "")))
    through(w, 1, 1) -- it is ready
    local _, out = proc.run { "ls", "/proc/" .. worker .. "/fd", env = { LD_PRELOAD = false } }
    assert.equal("0 1 2 3", (out:gsub("%s+", " "):gsub(" $", "")))
    assert.equal(0, w.e:stop())
  end)

  it("the hub killed: nursery and workers end", function()
    local w = begin()
    local all = { nursery(w.e), w.e:workers()[1] }
    w.e:kill9()
    site.wait_until(function() return not proc.exists(all[1]) and not proc.exists(all[2]) end, 5, "their end")
  end)

  it("not started by hand", function()
    local status, _, err = proc.run { site.binary(), "nursery" }
    assert.equal(2, status)
    assert.truthy(err:find "only the engine starts it")
  end)
end)
