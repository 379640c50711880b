-- A script can only hurt itself (promise 2): whatever one channel's script does, another channel's
-- acknowledgements come as before, receiving on the bad channel goes on, the poison is parked with its
-- reason after `attempts`, and the good messages behind it come out in order.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local traffic = require "support.traffic"
local tmp = require "support.tmp"

local LIMITS = "limits = { seconds = 0.3, memory_mb = 24, attempts = %d },"
local PATIENCE = 0.5 -- s: how long the good channel's acknowledgement may take; it takes under 1 ms

local POISON = {
  ["an endless loop"] = "while true do end",
  ["an endless loop in pcall"] = "while true do pcall(function() while true do end end) end",
  ["a memory hog"] = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end",
  ["a backtracking string.find"] = "(('a'):rep(200000)):find(('a-'):rep(60) .. 'b')",
  ["endless recursion in a coroutine"] =
    "local function f() return coroutine.wrap(f)() + 1 end while true do pcall(f) end",
}

-- Two channels, `bad` with that poison for every message whose PID-5 is Poison, and `good`.
local function begin(body, o)
  o = o or {}
  local bad_out, good_out = net.receiver {}, net.receiver {}
  local bad_port, good_port = net.free_port(), net.free_port()
  local s = site.new {
    ["channels/bad.lua"] = traffic.channel(bad_port, bad_out.port, { top = LIMITS:format(o.attempts or 2)
      .. (o.top or "") .. ([[transform = function(msg)
        if msg["PID-5.1"] == "Poison" then %s end
      end,]]):format(body) }),
    ["channels/good.lua"] = traffic.channel(good_port, good_out.port,
      { top = 'ack = "transform", transform = function(msg) msg["PID-5.1"] = "OK" end,' }),
  }
  return { s = s, e = s:start(), bad_out = bad_out, good_out = good_out, bad_port = bad_port,
    bad = net.connect(bad_port), good = net.connect(good_port), n = 0, worst = 0 }
end

-- Traffic on the good channel until fn() is true; notes the slowest acknowledgement.
local function carry_on(w, fn, seconds, what)
  local deadline = sys.now() + sys.patience(seconds)
  local count, look = 0, 0
  while true do
    w.n = w.n + 1
    local began = sys.now()
    assert(traffic.exchange(w.good, "G" .. w.n) == "AA")
    w.worst = math.max(w.worst, sys.now() - began)
    count = count + 1
    w.good_out:step(0)
    w.bad_out:step(0)
    if sys.now() > look then
      look = sys.now() + 0.05
      if fn() then return count end
    end
    if sys.now() > deadline then error(what .. ": did not happen\n" .. w.e:log(), 2) end
  end
end

-- The bad channel's: a start is asked for, its process id comes a moment later.
local function worker_pid(e)
  local pid
  site.wait_until(function()
    pid = e:channel "bad".worker_pid
    return pid > 0
  end)
  return pid
end

local function finish(w)
  assert.truthy(w.worst < sys.patience(PATIENCE), ("the good channel waited %.3f s"):format(w.worst))
  w.good_out:run_for_frames(w.n, 10)
  assert.same(traffic.ids("G", w.n), w.good_out:ids())
  local good = w.e:channel "good"
  assert.same({ 0, 0, w.n }, { good.worker_restarts, good.parked, good.processed })
  assert.equal(0, w.e:stop())
end

describe("e2e/isolation", function()
  after_each(site.cleanup)

  for name, body in pairs(POISON) do
    it(name .. " is parked with its reason, and hurts nobody", function()
      local w = begin(body)
      traffic.send_all(w.bad, { "B1", "B2" })
      traffic.send_all(w.bad, { "P1" }, { name = "Poison" })
      traffic.send_all(w.bad, { "B3" })
      traffic.send_all(w.bad, { "P2" }, { name = "Poison" })
      local began = sys.now()
      traffic.send_all(net.connect(w.bad_port), { "B4" }) -- it receives on
      assert.truthy(sys.now() - began < sys.patience(PATIENCE))
      carry_on(w, function() return w.e:channel "bad".pending == 0 end, 30, "the poison's parking")
      w.bad_out:run_for_frames(4, 10)
      assert.same({ "B1", "B2", "B3", "B4" }, w.bad_out:ids())
      local c = w.e:channel "bad"
      assert.same({ 4, 2 }, { c.processed, c.parked })
      assert.truthy(c.worker_restarts >= 4, c.worker_restarts .. " restarts")
      local parked = w.s:json_lines("messages", "bad", "--state", "parked")
      assert.equal(2, #parked)
      for _, m in ipairs(parked) do
        local _, text = w.s:json("show", "bad/" .. m.seq)
        assert.truthy(text:find("limit", 1, true) or text:find("memory", 1, true) or
          text:find("killed", 1, true), text)
      end
      finish(w)
    end)
  end

  it("error() is parked at once with its line, and the worker goes on", function()
    local w = begin "error 'no such ward'"
    for i = 1, 20 do
      traffic.send_all(w.bad, { "B" .. i })
      traffic.send_all(w.bad, { "P" .. i }, { name = "Poison" })
    end
    carry_on(w, function() return w.e:channel "bad".pending == 0 end, 10, "the parking")
    w.bad_out:run_for_frames(20, 5)
    assert.same(traffic.ids("B", 20), w.bad_out:ids())
    local c = w.e:channel "bad"
    assert.same({ 20, 20, 0 }, { c.processed, c.parked, c.worker_restarts })
    local _, text = w.s:json("show", "bad/2")
    assert.truthy(text:find("channels/bad.lua:%d+"), text)
    assert.truthy(text:find("no such ward", 1, true), text)
    assert.is_nil(w.e:log():find("no such ward", 1, true)) -- it may be content: never in the log
    finish(w)
  end)

  it("a stopped worker is replaced, and no good message is lost by it", function()
    local w = begin "error 'x'"
    local pid = worker_pid(w.e)
    assert.truthy(proc.kill(pid, proc.STOP))
    local ids = traffic.ids("B", 100)
    traffic.send_all(w.bad, ids)
    carry_on(w, function() return w.e:channel "bad".pending == 0 end, 20, "a new worker")
    w.bad_out:run_for_frames(100, 10)
    assert.same(ids, w.bad_out:ids())
    local c = w.e:channel "bad"
    assert.same({ 100, 0 }, { c.processed, c.parked })
    assert.truthy(c.worker_restarts >= 1 and c.worker_pid ~= pid)
    assert.is_false(proc.exists(pid))
    finish(w)
  end)

  it("a worker killed again and again: all comes out, in order, once", function()
    local w = begin("error 'x'", { attempts = 1000 })
    local ids = traffic.ids("B", 600)
    traffic.send_all(w.bad, ids)
    for i = 1, 12 do
      local pid = w.e:channel "bad".worker_pid
      if pid > 0 then proc.kill(pid, proc.KILL) end
      traffic.send_all(w.bad, traffic.ids("B", 600 + i * 20, 601 + (i - 1) * 20))
      carry_on(w, function() return w.e:channel "bad".worker_pid ~= pid end, 10, "the next worker")
    end
    carry_on(w, function() return w.e:channel "bad".pending == 0 end, 30, "the last")
    w.bad_out:run_for_frames(840, 10)
    assert.same(traffic.ids("B", 840), w.bad_out:ids())
    assert.equal(0, w.e:channel "bad".parked)
    finish(w)
  end)

  it("counts the attempts of poison over a restart of the engine", function()
    local w = begin("while true do end", { attempts = 3 })
    traffic.send_all(w.bad, { "P1" }, { name = "Poison" })
    site.wait_until(function() return w.e:channel "bad".worker_restarts >= 2 end, 20, "two attempts")
    w.e:kill9()
    w.e = w.s:start()
    site.wait_until(function() return w.e:channel "bad".parked == 1 end, 20, "parking")
    assert.truthy(w.e:channel "bad".worker_restarts <= 2)
    w.e:stop()
  end)

  for name, body in pairs { ["error()"] = "error 'x'", ["an endless loop"] = "while true do end" } do
    it("on_error = stop stops at " .. name .. "; resume goes on from there", function()
      local w = begin(body, { top = 'on_error = "stop",' })
      traffic.send_all(w.bad, { "B1" })
      traffic.send_all(w.bad, { "P1" }, { name = "Poison" })
      traffic.send_all(w.bad, { "B2", "B3" })
      site.wait_until(function() return w.e:channel "bad".state == "paused" end, 20, "the stop")
      w.bad_out:run_for(0.2)
      assert.same({ "B1" }, w.bad_out:ids())
      local c = w.e:channel "bad"
      assert.same({ 3, 0 }, { c.pending, c.parked })
      assert.truthy(c.error:find("message 2", 1, true) and c.error:find("resume", 1, true), c.error)
      traffic.send_all(w.bad, { "B4" }) -- it receives on
      w.e:stop() -- and it stays stopped
      w.e = w.s:start()
      w.bad_out:run_for(0.2)
      assert.same({ "B1" }, w.bad_out:ids())
      assert.equal("paused", w.e:channel "bad".state)
      w.s:write("channels/bad.lua", (w.s:read("channels/bad.lua"):gsub('== "Poison"', '== "None"')))
      assert.equal(0, (w.s:run("reload", "bad")))
      assert.equal(0, (w.s:run("resume", "bad")))
      w.bad_out:run_for_frames(5, 10)
      assert.same({ "B1", "P1", "B2", "B3", "B4" }, w.bad_out:ids())
      assert.equal("", w.e:channel "bad".error)
      w.e:stop()
    end)
  end

  it("a script that fails for one destination alone parks that output alone", function()
    local a, b = net.receiver {}, net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, a.port, { dest = ([[}, b = mllp.send {
      host = "127.0.0.1", port = %d, transform = function(msg)
        if msg.control_id == "X2" then error "b" end
      end ]]):format(b.port) }) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "X1", "X2", "X3" })
    a:run_for_frames(3, 5)
    b:run_for_frames(2, 5)
    assert.same({ "X1", "X3" }, b:ids())
    assert.equal(1, e:channel("in").dest.b.parked)
    e:stop()
  end)

  it("what one channel may read, no other may; a reload takes it away", function()
    local out = tmp.dir()
    tmp.write(out .. "/x.csv", "a,granted\n")
    local function text(port, dest, allow)
      return traffic.channel(port, dest, { top = ([[ack = "transform", %s
        transform = function(msg)
          local f, why = io.open(%q)
          msg["PID-5.1"] = f and f:read(9) or "refused"
          msg["PID-5.2"] = select(2, pcall(lookup, %q, "a")):sub(-7)
        end,]]):format(allow and ("allow = { read = { %q } },"):format(out) or "", out .. "/x.csv",
        out .. "/x.csv") })
    end
    local ports, to = { net.free_port(), net.free_port() }, { net.receiver {}, net.receiver {} }
    local s = site.new { ["channels/may.lua"] = text(ports[1], to[1].port, true),
      ["channels/other.lua"] = text(ports[2], to[2].port) }
    local e = s:start()
    local function names(i, id)
      traffic.send_all(net.connect(ports[i]), { id })
      to[i]:run_for_frames(#to[i].frames + 1, 10)
      return to[i].frames[#to[i].frames].text:match "%^HOSP%^MR||([^|]*)|"
    end
    assert.equal("a,granted^granted", names(1, "A1"))
    assert.truthy(names(2, "B1"):find "^refused")
    s:write("channels/may.lua", text(ports[1], to[1].port))
    assert.equal(0, (s:run "reload"))
    site.wait_until(function() return names(1, "A2"):find "^refused" end, 10, "the grant's end")
    s:write("channels/may.lua", text(ports[1], to[1].port, true))
    assert.equal(0, (s:run "reload"))
    site.wait_until(function() return names(1, "A3") == "a,granted^granted" end, 10, "the grant")
    e:stop()
  end)

  it("poison in every message does not take the engine's time", function()
    local w = begin "while true do end"
    traffic.send_all(w.bad, traffic.ids("P", 200), { name = "Poison" })
    local began = sys.now()
    local count = carry_on(w, function() return sys.now() - began > 2 end, 10, "two seconds")
    io.stderr:write(("## beside a channel full of poison: %d messages/s, worst acknowledgement %.1f ms\n")
      :format(count / 2, w.worst * 1000))
    assert.equal(200, w.e:channel "bad".received)
    w.e:signal(proc.TERM)
    w.good_out:run_for_frames(w.n, 10)
    w.e:kill9()
  end)
end)
