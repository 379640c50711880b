-- The engine as operators handle it: numbers, modes, reloads under load, bad configurations, the end.
-- Guards promise 4: changes are safe, and nothing is lost by them.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local tmp = require "support.tmp"
local traffic = require "support.traffic"
local load_ = require "crash.load"
local run = site.must

local UPPER = 'transform = function(msg) msg["PID-5.1"] = "%s" end,'

local function channel(e, name)
  return e:channel(name or "in")
end

local function idle(e, name, receiver)
  site.wait_until(function()
    if receiver then receiver:step(0) end
    local c = channel(e, name)
    for _, d in pairs(c.dest) do if d.queued > 0 then return false end end
    return c.pending == 0
  end, 10, "all done")
end

-- Runs a verb that must succeed.
-- The log's lines of an event.
local function events(e, name)
  local n = 0
  for _ in e:log():gmatch("%f[%w_]" .. name .. "%f[^%w_]") do n = n + 1 end
  return n
end

describe("e2e/control: numbers and modes", function()
  after_each(site.cleanup)

  it("counts exactly", function()
    local out = net.receiver { answer = function(text)
      return net.ack(text, net.field(text, "MSH", 10):match "^REF" and "AE" or "AA")
    end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = [[
      filter = function(msg) return not msg.control_id:match "^FIL", "filtered" end,
      transform = function(msg) if msg.control_id:match "^ERR" then error "no" end end,]] }) }
    local e = s:start()
    local conn = net.connect(port)
    for i = 1, 10 do
      traffic.send_all(conn, { "GOOD" .. i, "FIL" .. i })
      if i <= 3 then traffic.send_all(conn, { "ERR" .. i }) end
      if i <= 4 then traffic.send_all(conn, { "REF" .. i }) end
      if i <= 2 then assert.truthy(net.exchange(conn, "rubbish")) end
    end
    out:run_for_frames(14, 10)
    idle(e)
    local function check(c)
      local d = c.dest.out
      assert.same({ 29, 14, 10, 3, 3, 2, 0 },
        { c.received, c.processed, c.filtered, c.errors, c.parked, c.rejected, c.pending })
      assert.same({ 10, 4, 0 }, { d.sent, d.parked, d.queued })
    end
    check(channel(e))
    assert.equal(1, channel(e).connections)
    assert.equal(29, e:status().store.messages)
    local function last()
      local c = channel(e)
      return { c.last_in:sub(1, 19), c.dest.out.last_sent:sub(1, 19) }
    end
    local before = last()
    assert.equal(0, e:stop())
    e = s:start()
    check(channel(e))
    assert.same(before, last())
    local text = run(s, "metrics")
    assert.truthy(text:find('lunate_messages_received_total{channel="in"} 29', 1, true))
    assert.truthy(text:find('lunate_messages_sent_total{channel="in",destination="out"} 10', 1, true))
  end)

  it("pause receives and does not process, stop refuses, both outlive a restart", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    local conn = net.connect(port)
    run(s, "pause", "in")
    traffic.send_all(conn, { "P1", "P2" })
    out:run_for(0.2)
    local c = channel(e)
    assert.same({ "paused", 2, 2, 0 }, { c.state, c.received, c.pending, #out.frames })
    e:stop()
    e = s:start()
    assert.equal("paused", channel(e).state)
    traffic.send_all(net.connect(port), { "P3" })
    run(s, "resume", "in")
    out:run_for_frames(3, 5)
    assert.same({ "P1", "P2", "P3" }, out:ids())
    run(s, "stop", "in")
    assert.equal("stopped", channel(e).state)
    assert.same({ nil, "refused" }, { net.connect(port) })
    assert.same({}, e:workers())
    e:stop()
    e = s:start()
    assert.equal("stopped", channel(e).state)
    assert.same({ nil, "refused" }, { net.connect(port) })
    local refused, _, why = s:run("resume", "in")
    assert.same({ 1, "lunate resume: in is stopped, not paused: lunate start in opens it again\n" }, { refused, why })
    -- Guards: pause opened the port of a channel that somebody had stopped.
    refused, _, why = s:run("pause", "in")
    assert.same({ 1, "lunate pause: in is stopped, not running: lunate start in opens it again\n" }, { refused, why })
    assert.same({ nil, "refused" }, { net.connect(port) })
    assert.equal("stopped", channel(e).state)
    run(s, "start", "in")
    traffic.send_all(net.connect(port), { "P4" })
    out:run_for_frames(4, 5)
    idle(e)
    assert.same({ "P1", "P2", "P3", "P4" }, out:ids())
    for _, verb in ipairs { "pause", "resume", "start", "stop", "reload" } do
      local status, _, err = s:run(verb, "nobody")
      assert.equal(1, status)
      assert.truthy(err:find("nobody", 1, true), err)
    end
    assert.equal(0, e:stop())
  end)

  it("stop and start in the midst of messages lose none", function()
    local port = net.free_port()
    local load = load_.new(port, 4)
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, load.receiver.port) }
    local e = s:start()
    for _ = 1, 5 do
      load:run(0.15)
      run(s, "stop", "in")
      load:run(0.05)
      run(s, "start", "in")
      load:run(0.05)
      run(s, "pause", "in")
      load:run(0.05)
      run(s, "resume", "in")
    end
    assert.same({}, load:settle(10))
    assert.same({}, load.disorder)
    assert.truthy(#load.acked > 100)
    idle(e, "in", load.receiver)
    assert.equal(0, channel(e).parked)
    assert.equal(0, e:stop())
    load.receiver:close()
  end)
end)

describe("e2e/control: reload", function()
  after_each(site.cleanup)

  it("under load, by verb and SIGHUP: no connection closed, none lost, order kept", function()
    local port = net.free_port()
    local load = load_.new(port, 8)
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, load.receiver.port,
      { top = UPPER:format "V0" }) }
    local e = s:start()
    load:run(0.2)
    local first, conns = channel(e).script, {}
    for i, sender in ipairs(load.senders) do conns[i] = sender.conn end
    for n = 1, 10 do
      s:write("channels/in.lua", traffic.channel(port, load.receiver.port, { top = UPPER:format("V" .. n) }))
      if n % 2 == 0 then run(s, "reload") else e:signal(proc.HUP) end
      load:run(0.1)
      site.wait_until(function()
        load:run(0.005)
        return events(e, "switched") == n
      end, 5, "the switch")
      load:run(0.05)
    end
    for i, sender in ipairs(load.senders) do assert.equal(conns[i], sender.conn, "connection " .. i) end
    assert.equal(0, load.nacked)
    assert.same({}, load:settle(10))
    assert.same({}, load.disorder)
    assert.equal(0, load.dups)
    -- Versions only go up from message to message, and the last one is in force.
    local last = -1
    for _, f in ipairs(load.receiver.frames) do
      local v = tonumber(net.field(f.text, "PID", 5):match "V(%d+)")
      assert.truthy(v >= last, ("V%d after V%d"):format(v, last))
      last = v
    end
    assert.equal(10, last)
    assert.not_equal(first, channel(e).script)
    assert.equal(0, channel(e).worker_restarts)
    assert.equal(0, e:stop())
    load.receiver:close()
  end)

  it("refuses a broken script with file and line, and the old one goes on", function()
    local out = net.receiver {}
    local port = net.free_port()
    local good = traffic.channel(port, out.port, { top = UPPER:format "OLD" })
    local s = site.new { ["channels/in.lua"] = good }
    local e = s:start()
    local conn = net.connect(port)
    local before = channel(e).script
    local bad = { good .. "\n)", "\n\nerror 'at load'", (good:gsub("transform", "transfrom")),
      (good:gsub("port = %d+, ", "port = 'x',", 1)) }
    for i, text in ipairs(bad) do
      s:write("channels/in.lua", text)
      local status, _, err = s:run("reload")
      assert.equal(1, status, text)
      assert.truthy(err:find("channels/in.lua:%d"), err)
      traffic.send_all(conn, { "B" .. i })
      out:run_for_frames(i, 5)
      assert.equal("OLD^Anna", net.field(out.frames[i].text, "PID", 5))
      local c = channel(e)
      assert.same({ "running", before }, { c.state, c.script })
      assert.truthy(c.error:find("channels/in.lua", 1, true), c.error)
    end
    local _, _, err = s:run("reload", "in")
    assert.truthy(#err > 0)
    s:write("channels/in.lua", good)
    run(s, "reload")
    assert.equal("", channel(e).error)
  end)

  it("a script that loads in the loader but not in its worker is taken back, listener and all", function()
    local out = net.receiver {}
    local port, other = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = UPPER:format "OLD" }) }
    local e = s:start()
    local conn = net.connect(port)
    local before = channel(e).script
    traffic.send_all(conn, { "R0" })
    out:run_for_frames(1, 5)
    -- A worker has the channel's own limit of memory, the loader has more.
    s:write("channels/in.lua", "keep = ('x'):rep(1e7) .. 'y'\n" .. traffic.channel(other, out.port,
      { top = "limits = { memory_mb = 8 }," .. UPPER:format "NEW" }))
    s:run("reload")
    site.wait_until(function() return channel(e).script == before and
      (events(e, "reverted") == 1 or events(e, "reload_refused") == 1) end, 5,
      function() return "the way back\n" .. e:log() end)
    site.wait_until(function() return net.connect(port) end, 5, "the old listener")
    traffic.send_all(net.connect(port), { "R1" })
    out:run_for_frames(2, 5)
    assert.equal("OLD^Anna", net.field(out.frames[2].text, "PID", 5))
    assert.same({ nil, "refused" }, { net.connect(other) })
    assert.truthy(conn.fd)
  end)

  it("moves a channel to another port; replies that are owed still come", function()
    local out = net.receiver { answer = function(text) return { text = net.ack(text), after = 0.3 } end }
    local a, b = net.free_port(), net.free_port()
    local o = { top = 'ack = "delivery",' }
    local s = site.new { ["channels/in.lua"] = traffic.channel(a, out.port, o) }
    local e = s:start()
    local conn = net.connect(a)
    conn:send(net.frame(traffic.adt "M1"))
    out:run_for_frames(1, 5)
    s:write("channels/in.lua", traffic.channel(b, out.port, o))
    run(s, "reload")
    assert.same({ nil, "refused" }, { net.connect(a) })
    local new = net.connect(b)
    out:run_for(0.5)
    assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1))
    assert.same({ "", "closed" }, { conn:recv_all(5) })
    new:send(net.frame(traffic.adt "M2"))
    out:run_for_frames(2, 5)
    out:run_for(0.5)
    assert.equal("AA", net.field(assert(new:recv_frame(5)), "MSA", 1))
    assert.equal("127.0.0.1:" .. b, channel(e).listen)
    -- There and back again before the switch.
    s:write("channels/in.lua", traffic.channel(a, out.port, o))
    run(s, "reload")
    s:write("channels/in.lua", traffic.channel(b, out.port, o))
    run(s, "reload")
    assert.truthy(net.connect(b))
    assert.same({ nil, "refused" }, { net.connect(a) })
  end)

  it("goes back to a port before the first move has come into force", function()
    local out = net.receiver { answer = function() end } -- never answers
    local a, b = net.free_port(), net.free_port()
    local slow = { top = [[limits = { seconds = 30 }, transform = function(msg)
      local t = os.clock() + 0.7 repeat until os.clock() > t end,]] }
    local s = site.new { ["channels/in.lua"] = traffic.channel(a, out.port, slow) }
    s:start()
    local conn = net.connect(a)
    traffic.send_all(conn, { "S1", "S2" }) -- the script is at it while the reloads come
    s:write("channels/in.lua", traffic.channel(b, out.port, slow))
    run(s, "reload")
    s:write("channels/in.lua", traffic.channel(a, out.port, slow))
    run(s, "reload")
    assert.truthy(net.connect(a), "listens where the site says")
    assert.same({ nil, "refused" }, { net.connect(b) })
  end)

  it("renames a channel and swaps ports", function()
    local a, b = net.free_port(), net.free_port()
    local s = site.new { ["channels/one.lua"] = traffic.channel(a), ["channels/two.lua"] = traffic.channel(b) }
    local e = s:start()
    s:write("channels/one.lua", traffic.channel(b))
    s:write("channels/two.lua", traffic.channel(a))
    run(s, "reload")
    assert.equal("127.0.0.1:" .. b, channel(e, "one").listen)
    traffic.send_all(net.connect(b), { "W1" })
    site.wait_until(function() return channel(e, "one").received == 1 end, 5, "receipt by the other")
    os.remove(s.path .. "/channels/one.lua")
    s:write("channels/three.lua", traffic.channel(b))
    run(s, "reload")
    traffic.send_all(net.connect(b), { "W2" })
    site.wait_until(function() return channel(e, "three").received == 1 end, 5, "receipt by the new name")
    assert.equal(0, e:stop())
  end)

  it("adds and removes channels; a removed one's messages wait for its return", function()
    local out = net.receiver {}
    local a, b = net.free_port(), net.free_port()
    local s = site.new { ["channels/one.lua"] = traffic.channel(a, out.port) }
    local e = s:start()
    local two = traffic.channel(b, out.port)
    s:write("channels/two.lua", two)
    run(s, "reload")
    local conn = net.connect(b)
    traffic.send_all(conn, { "N1" })
    out:run_for_frames(1, 5)
    run(s, "hold", "two/out")
    traffic.send_all(conn, { "N2", "N3" })
    idle(e, "one")
    os.remove(s.path .. "/channels/two.lua")
    run(s, "reload")
    assert.same({ "", "closed" }, { conn:recv_all(5) })
    assert.same({ nil, "refused" }, { net.connect(b) })
    assert.is_false((pcall(channel, e, "two")))
    assert.equal(1, #e:workers())
    s:write("channels/two.lua", two)
    run(s, "reload")
    assert.same({ 3, 2 }, { channel(e, "two").received, channel(e, "two").dest.out.queued })
    run(s, "release", "two/out")
    out:run_for_frames(3, 5)
    assert.same({ "N1", "N2", "N3" }, out:ids())
    assert.equal(0, e:stop())
  end)

  it("a channel removed while results and outcomes are on their way does no harm", function()
    local port = net.free_port()
    local load = load_.new(port, 8)
    local text = traffic.channel(port, load.receiver.port, { top = UPPER:format "X" })
    local s = site.new { ["channels/in.lua"] = text, ["channels/stay.lua"] = traffic.channel(net.free_port()) }
    local e = s:start()
    for _ = 1, 6 do
      load:run(0.1)
      os.remove(s.path .. "/channels/in.lua")
      run(s, "reload")
      load:run(0.05)
      s:write("channels/in.lua", text)
      run(s, "reload")
    end
    load:run(0.2)
    assert.same({}, load:settle(10))
    assert.same({}, load.disorder)
    idle(e, "in", load.receiver)
    assert.equal(0, e:stop())
    load.receiver:close()
  end)

  it("adds and removes destinations; a removed one's queue is kept, told of, and goes on later", function()
    local a, b = net.receiver {}, net.receiver {}
    local port = net.free_port()
    local both = traffic.channel(port, a.port, { dest = ([[}, b = mllp.send {
      host = "127.0.0.1", port = %d ]]):format(b.port) })
    local s = site.new { ["channels/in.lua"] = both }
    local e = s:start()
    local conn = net.connect(port)
    run(s, "hold", "in/b")
    traffic.send_all(conn, { "D1", "D2" })
    a:run_for_frames(2, 5)
    s:write("channels/in.lua", traffic.channel(port, a.port))
    run(s, "reload")
    site.wait_until(function() return channel(e).dest.b.state == "removed" end, 5, "the removal")
    assert.equal(2, channel(e).dest.b.queued)
    traffic.send_all(conn, { "D3" })
    a:run_for_frames(3, 5)
    s:write("channels/in.lua", both)
    run(s, "reload")
    traffic.send_all(conn, { "D4" })
    run(s, "release", "in/b")
    b:run_for_frames(3, 5)
    a:run_for_frames(4, 5)
    assert.same({ "D1", "D2", "D4" }, b:ids())
    assert.same({ "D1", "D2", "D3", "D4" }, a:ids())
    assert.equal(0, e:stop())
  end)

  it("takes a SIGHUP that comes while another reload is under way", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil, { top = UPPER:format "A" }) }
    local e = s:start()
    -- A channel that takes its time to load keeps the first reload busy.
    s:write("channels/slow.lua", "local t = os.clock() + 0.6 repeat until os.clock() > t\n"
      .. traffic.channel(net.free_port()))
    local verb = proc.spawn { site.binary(), "-C", s.path, "reload" }
    sys.sleep(0.3)
    s:write("channels/in.lua", traffic.channel(port, nil, { top = UPPER:format "B" }))
    local before = channel(e).script
    e:signal(proc.HUP)
    assert.equal(0, verb:wait(20))
    site.wait_until(function() return channel(e).script ~= before end, 10, "the second reload")
  end)
end)

describe("e2e/control: start and end", function()
  after_each(site.cleanup)

  -- Runs an engine that must not start: its stderr, one line each.
  local function refused(s, o)
    local e = s:spawn(o)
    local status = e.proc:wait(10)
    if not status then error("the engine runs:\n" .. e:log(), 2) end
    assert.equal(1, status)
    assert.is_nil(("\n" .. e:log()):find "\nready\n")
    return e:log()
  end

  it("SIGTERM drains: what was received is processed, delivered, answered", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = [[ack = "delivery",
      transform = function(msg) local t = os.clock() + 0.01 repeat until os.clock() > t end,]] }) }
    local e = s:start()
    local conn = net.connect(port)
    local frames = {}
    for i, id in ipairs(traffic.ids("T", 30)) do frames[i] = net.frame(traffic.adt(id)) end
    conn:send(table.concat(frames))
    site.wait_until(function() return channel(e).received == 30 end, 5, "receipt")
    e:signal(proc.TERM)
    out:run_for_frames(30, 10)
    out:run_until(function() return not e:running() end, 15, "the end")
    assert.equal(0, e.proc.status)
    for i = 1, 30 do
      local reply = assert(conn:recv_frame(1), "reply " .. i)
      assert.same({ "AA", "T" .. i }, { net.field(reply, "MSA", 1), net.field(reply, "MSA", 2) })
    end
    assert.same(traffic.ids("T", 30), out:ids())
    e = s:start()
    out:run_for(0.3)
    assert.equal(30, #out.frames)
    assert.equal(0, e:stop())
  end)

  it("SIGTERM does not wait for a receiver that is down, a hung script or a peer that does not read", function()
    local port, hung = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()),
      ["channels/hung.lua"] = traffic.channel(hung, nil, { top =
        "limits = { seconds = 60 }, transform = function() while true do end end," }) }
    local e = s:start()
    local conn = net.connect(port)
    traffic.send_all(conn, traffic.ids("S", 5))
    local began = sys.now()
    assert.equal(0, e:stop())
    assert.truthy(sys.now() - began < sys.patience(3))
    e = s:start()
    traffic.send_all(net.connect(hung), { "H1" })
    began = sys.now()
    assert.equal(0, e:stop(sys.patience(20)))
    assert.truthy(sys.now() - began < sys.patience(15))
  end)

  it("opens no listener again while it drains, whatever is asked", function()
    local port, hung = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port),
      ["channels/hung.lua"] = traffic.channel(hung, nil, { top =
        "limits = { seconds = 60 }, transform = function() while true do end end," }) }
    local e = s:start()
    traffic.send_all(net.connect(hung), { "H1" })
    e:signal(proc.TERM)
    site.wait_until(function() return not net.connect(port) end, 5, "the closing of the listener")
    s:run("resume", "in")
    s:run("stop", "in")
    s:run("start", "in")
    s:write("channels/in.lua", traffic.channel(port, nil, { top = UPPER:format "NEW" }))
    s:run("reload")
    e:signal(proc.HUP)
    sys.sleep(0.3)
    assert.same({ nil, "refused" }, { net.connect(port) })
    e:signal(proc.TERM) -- the second time at once
    assert.equal(0, e.proc:wait(3))
  end)

  it("leaves no process behind, however it ends", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil, { top =
      "transform = function() while true do end end," }) }
    for _, how in ipairs { "stop", "kill9" } do
      local e = s:start()
      local conn = net.connect(port)
      conn:send(net.frame(traffic.adt "W1"))
      site.wait_until(function() return channel(e).received > 0 end, 5, "receipt")
      local workers = e:workers()
      assert.equal(1, #workers)
      e[how](e)
      site.wait_until(function() return not proc.exists(workers[1]) end, 8, "the worker's end after " .. how)
    end
  end)

  it("refuses a second engine on the same data folder, which leaves the first unharmed", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port) }
    local e = s:start()
    local text = refused(s)
    assert.truthy(text:find("data", 1, true) and text:find("engine", 1, true), text)
    assert.equal("running", channel(e).state) -- its control socket is still there
    traffic.send_all(net.connect(port), { "O1" })
    assert.equal(0, e:stop())
  end)

  it("refuses a port in use, two channels on one port, an unknown key, each with its line", function()
    local l = net.listen()
    local text = refused(site.new { ["channels/in.lua"] = traffic.channel(l.port) })
    assert.truthy(text:find("port " .. l.port, 1, true) and text:find("in use", 1, true), text)
    local port = net.free_port()
    local s = site.new { ["channels/a.lua"] = traffic.channel(port), ["channels/b.lua"] = traffic.channel(port) }
    local status, _, err = s:run "check"
    assert.equal(1, status)
    assert.truthy(err:find("channels/b.lua:%d+") and err:find("channel a", 1, true), err)
    local e = s:start() -- the first of them runs: it is right
    assert.same({ "running", "failed" }, { channel(e, "a").state, channel(e, "b").state })
    e:stop()
    text = refused(site.new { ["channels/in.lua"] = (traffic.channel(port):gsub("port =", "prot =")) })
    assert.truthy(text:find("channels/in.lua:%d+") and text:find("port", 1, true), text)
  end)

  it("runs the channels that load beside one that does not, and starts that when it is mended", function()
    local a, b = net.free_port(), net.free_port()
    local s = site.new { ["channels/good.lua"] = traffic.channel(a), ["channels/bad.lua"] = "return channel {" }
    local e = s:start()
    traffic.send_all(net.connect(a), { "G1" })
    local c = channel(e, "bad")
    assert.equal("failed", c.state)
    assert.truthy(c.error:find("channels/bad.lua:%d"), c.error)
    local status = s:run("start", "bad")
    assert.equal(1, status)
    s:write("channels/bad.lua", traffic.channel(b))
    run(s, "reload")
    traffic.send_all(net.connect(b), { "G2" })
    assert.equal(0, e:stop())
  end)

  it("refuses a data folder that cannot be written and a store of a newer format", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()),
      ["lunate.lua"] = 'return { data = "/proc/self/nothing" }' }
    local text = refused(s)
    assert.truthy(text:find("/proc/self/nothing", 1, true), text)
    tmp.write(s.path .. "/plain", "a file")
    s:write("lunate.lua", 'return { data = "plain" }')
    text = refused(s)
    assert.truthy(text:find("plain", 1, true), text)
    s:write("lunate.lua", 'return { data = "full" ')
    text = refused(s)
    assert.truthy(text:find("lunate.lua:%d"), text)
  end)

  it("an engine stopped by an empty or missing site says so", function()
    local s = site.new {}
    local e = s:spawn()
    site.wait_until(function() return e:log() ~= "" or not e:running() end, 5, "a word")
    local status, _, err = proc.run { site.binary(), "-C", s.path .. "/none", "run" }
    assert.truthy(status == 1 or status == 2)
    assert.truthy(#err > 10)
  end)
end)
