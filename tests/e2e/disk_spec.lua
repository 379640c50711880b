-- Disks that are full and disks that are slow. Guards: a positive acknowledgement is never false; the
-- engine goes on without a restart when there is room; its loop never waits for the disk.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local traffic = require "support.traffic"

local function sh(cmd)
  local ok = os.execute("(" .. cmd .. ") >/dev/null 2>&1")
  return ok == 0 or ok == true
end

describe("e2e/disk: full", function()
  local mounted = {}

  -- A tmpfs of that many MB, or nil where that is not allowed.
  local function small_disk(mb)
    local dir = tmp.dir()
    if not sh(("mount -t tmpfs -o size=%dm,mode=0700 lunate-test %s"):format(mb, tmp.quote(dir))) then
      return nil
    end
    mounted[#mounted + 1] = dir
    return dir
  end

  after_each(function()
    proc.cleanup()
    for _, dir in ipairs(mounted) do sh("umount -l " .. tmp.quote(dir)) end
    mounted = {}
    site.cleanup()
  end)

  local function begin(out, mb, more)
    local disk = small_disk(mb)
    if not disk then return nil end
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = more }),
      ["lunate.lua"] = ("return { data = %q }"):format(disk .. "/data") }
    return s:start(), port, disk
  end

  -- Sends until n refusals have come in a row; returns what was acknowledged.
  local function fill(conn, prefix, acked, n, more)
    local refused, count = 0, 0
    repeat
      count = count + 1
      local id = prefix .. count
      local ok, code = pcall(traffic.exchange, conn, id, { more = more, timeout = 10 })
      assert.truthy(ok, code)
      if code == "AA" then
        acked[#acked + 1], refused = id, 0
      else
        assert.equal("AR", code)
        refused = refused + 1
      end
    until refused == n or count > 50000
    assert.equal(n, refused, "the disk does not become full")
  end

  local function check(out, acked)
    local seen, order, last = {}, {}, 0
    for i, id in ipairs(out:ids()) do
      seen[id] = seen[id] or i
      order[#order + 1] = id
    end
    for _, id in ipairs(acked) do
      assert.truthy(seen[id], id .. " was acknowledged and is not there")
      assert.truthy(seen[id] > last, id .. " is out of order")
      last = seen[id]
    end
    assert.equal(#order, #out.frames)
  end

  it("refuses, delivers what it accepted, and goes on when there is room", function()
    local out = net.receiver {}
    local e, port, disk = begin(out, 24)
    if not e then
      pending("needs the right to mount a tmpfs")
      return
    end
    local conn, acked = net.connect(port), {}
    assert(sh(("head -c 12M /dev/zero > %s/ballast"):format(disk)))
    fill(conn, "A", acked, 5, "OBX|1|TX|N^N||" .. ("x"):rep(20000) .. "\r")
    assert.truthy(#acked > 10, #acked .. " acknowledged")
    -- what is said says what to do, and how much of it is enough
    local why = e:status().store.failure
    local mib = tonumber(why:match "in reserve: free (%d+) MiB there, or keep less %(retention in lunate.lua")
    assert.truthy(mib and mib >= 1 and mib <= 2, why)
    assert.truthy(e:log():find('not_stored[^\n]*why="[^"]*free %d+ MiB there, or keep less'), e:log():sub(-2000))
    local _, reply = traffic.exchange(conn, "A-full")
    assert.truthy(reply:find("|not stored: the receiver's disk is full, send again", 1, true), reply)
    out:run_until(function() return #out.frames >= #acked end, 20, "delivery of what was accepted")
    check(out, acked)
    local _, lines = e:log():gsub("not_stored", "")
    assert.truthy(lines <= 20, lines .. " lines in the log")
    sh("rm " .. disk .. "/ballast")
    local before = #acked
    site.wait_until(function()
      local code = traffic.exchange(conn, "B" .. sys.now())
      if code == "AA" then before = before + 1 end
      return code == "AA"
    end, 15, "going on")
    for n = 1, 50 do
      assert.equal("AA", traffic.exchange(conn, "C" .. n))
      acked[#acked + 1] = "C" .. n
    end
    out:run_until(function() return #out.frames >= before + 50 end, 20, "delivery")
    check(out, acked)
    assert.equal("", e:status().store.failure)
    assert.equal(0, e:stop())
    io.stderr:write(("## 24 MB disk: %d acknowledged, all delivered\n"):format(#acked))
  end)

  it("never says AA falsely when the disk fills up to the last byte under its feet", function()
    local port_out = net.free_port()
    local e, port, disk = begin({ port = port_out }, 32)
    if not e then
      pending("needs the right to mount a tmpfs")
      return
    end
    local s = e.site
    local conn, acked = net.connect(port), {}
    for n = 1, 50 do
      if traffic.exchange(conn, "A" .. n) == "AA" then acked[#acked + 1] = "A" .. n end
    end
    sh(("cat /dev/zero > %s/ballast"):format(disk)) -- another program takes all there is
    local refused = 0
    for n = 51, 150 do
      local code = traffic.exchange(conn, "A" .. n, { timeout = 15 })
      if code == "AA" then acked[#acked + 1] = "A" .. n else refused = refused + 1 end
    end
    assert.truthy(refused > 0)
    e:kill9() -- nothing that was only in memory counts
    sh("rm " .. disk .. "/ballast")
    local out = net.receiver { port = port_out }
    e = s:start()
    assert.equal("AA", traffic.exchange(net.connect(port), "LAST"))
    acked[#acked + 1] = "LAST"
    out:run_until(function() return out:ids()[#out.frames] == "LAST" end, 20, "delivery")
    check(out, acked)
    assert.equal(0, e:stop())
  end)

  it("drains a full queue on a full disk", function()
    local port_out = net.free_port()
    local e, port, disk = begin({ port = port_out }, 24)
    if not e then
      pending("needs the right to mount a tmpfs")
      return
    end
    local conn, acked = net.connect(port), {}
    assert(sh(("head -c 8M /dev/zero > %s/ballast"):format(disk)))
    fill(conn, "Q", acked, 5, "OBX|1|TX|N^N||" .. ("x"):rep(5000) .. "\r")
    local out = net.receiver { port = port_out }
    out:run_until(function() return #out.frames >= #acked end, 30, "delivery on the full disk")
    check(out, acked)
    site.wait_until(function() return e:channel("in").dest.out.queued == 0 end, 20, "outcomes on the disk")
    assert.equal(0, e:stop())
  end)

  it("a reload on a full disk stops nothing; its version is kept when there is room", function()
    local port_out = net.free_port()
    local e, port, disk = begin({ port = port_out }, 24)
    if not e then
      pending("needs the right to mount a tmpfs")
      return
    end
    local conn, acked, s = net.connect(port), {}, e.site
    assert(sh(("head -c 8M /dev/zero > %s/ballast"):format(disk)))
    fill(conn, "V", acked, 5, "OBX|1|TX|N^N||" .. ("x"):rep(5000) .. "\r")
    assert(sh(("mkdir %s/tables; (echo k,v; head -c 6M /dev/urandom | base64 | nl -s,) > %s/tables/t.csv")
      :format(s.path, s.path))) -- no room for that
    local status, report, err = s:run "reload"
    assert.equal(0, status, err)
    assert.matches("in: reloaded", report)
    local out = net.receiver { port = port_out }
    out:run_until(function() return #out.frames >= #acked end, 30, "delivery on the full disk")
    check(out, acked)
    site.wait_until(function() return e:channel("in").dest.out.queued == 0 end, 20, "outcomes on the disk")
    sh("rm " .. disk .. "/ballast")
    site.wait_until(function() return #s:json_lines("versions", "in") == 2 end, 40, "the version kept")
    assert.equal(0, e:stop())
  end)
end)

describe("e2e/disk: slow", function()
  after_each(site.cleanup)

  local function shim()
    local lib = tmp.dir() .. "/slowdisk.so"
    assert(sh("gcc -shared -fPIC -O1 -D_GNU_SOURCE -o " .. lib .. " tests/e2e/slowdisk.c -ldl"), "gcc")
    return lib
  end

  local function cannot_preload()
    local sanitized = (os.getenv "MODE" or "release") ~= "release"
    if sanitized then pending("the sanitizer must be preloaded first") end
    return sanitized
  end

  -- A relay on a disk that takes as many ms to sync as the file `knob` says: site, engine, port,
  -- receiver, knob.
  local function slow_relay()
    local out, port, knob = net.receiver {}, net.free_port(), tmp.file("0")
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    return s, s:start { env = { LD_PRELOAD = shim(), SLOWDISK = knob } }, port, out, knob
  end

  it("500 ms per sync: status at once, connections accepted, nothing times out, all delivered", function()
    if cannot_preload() then return end
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { dest = "timeout = 2" }),
      ["channels/other.lua"] = traffic.channel(net.free_port(), out.port) }
    local knob = tmp.file("0")
    local e = s:start { env = { LD_PRELOAD = shim(), SLOWDISK = knob } }
    local conns, ids = {}, {}
    for i = 1, 20 do conns[i] = assert(net.connect(port)) end
    tmp.write(knob, "500")
    local worst_status, worst_connect, worst_ack, statuses = 0, 0, 0, 0
    local round, sent_at = {}, sys.now()
    local function send_round()
      sent_at = sys.now()
      for i, conn in ipairs(conns) do
        local id = ("S%d-%d"):format(#ids, i)
        ids[#ids + 1] = id
        round[conn] = id
        assert(conn:send(net.frame(traffic.adt(id))))
      end
    end
    for _ = 1, 4 do
      send_round()
      while next(round) do
        for conn, id in pairs(round) do
          local reply = conn:recv_frame(0)
          if reply then
            assert.equal("AA", net.field(reply, "MSA", 1))
            assert.equal(id, net.field(reply, "MSA", 2))
            round[conn] = nil
            worst_ack = math.max(worst_ack, sys.now() - sent_at)
          end
        end
        out:step(0)
        local t = sys.now()
        assert.equal("running", e:channel("in").state)
        worst_status, statuses = math.max(worst_status, sys.now() - t), statuses + 1
        t = sys.now()
        local probe = assert(net.connect(port, { timeout = 1 }))
        worst_connect = math.max(worst_connect, sys.now() - t)
        probe:close()
        assert.truthy(sys.now() - sent_at < 10, "no acknowledgement in 10 s")
      end
    end
    out:run_for_frames(#ids, 30)
    assert.equal(0, e:channel("in").dest.out.retries)
    io.stderr:write(("## 500 ms per sync: %d status in up to %.0f ms, connect up to %.1f ms, ACK of 20 up to "
      .. "%.0f ms\n"):format(statuses, worst_status * 1000, worst_connect * 1000, worst_ack * 1000))
    assert.truthy(worst_status < 1, ("status took %.3f s"):format(worst_status))
    assert.truthy(worst_connect < 1, ("connecting took %.3f s"):format(worst_connect))
    local seen = {}
    for _, id in ipairs(out:ids()) do
      assert.is_nil(seen[id], id .. " came twice")
      seen[id] = true
    end
    local t = sys.now()
    assert.equal(0, e:stop(20)) -- and it ends in an orderly way
    assert.truthy(sys.now() - t < 12)
    e = s:start()
    assert.equal(#ids, e:channel("in").dest.out.sent)
    assert.equal(0, e:stop())
  end)

  it("hold and stop do not wait for it, recorded or not; their entries are written all the same", function()
    if cannot_preload() then return end
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()) }
    local knob = tmp.file("0")
    local e = s:start { env = { LD_PRELOAD = shim(), SLOWDISK = knob } }
    local conn = assert(net.connect(port))
    assert.equal("AA", traffic.exchange(conn, "S1"))
    tmp.write(knob, "60000") -- no sync ends before we say so
    conn:send(net.frame(traffic.adt "S2"))
    local status, said = s:run("hold", "in/out", { timeout = 20 })
    assert.equal(0, status)
    assert.matches("^in/out: held; the disk has not yet taken that", said)
    assert.equal("held", e:channel("in").dest.out.state)
    assert.equal(0, (s:run("stop", "in", "--grace", "0.5", { timeout = 20 })))
    assert.equal("stopped", e:channel("in").state)
    e:kill9()
    e = s:start()
    assert.equal(0, (s:run("release", "in/out", "--reason", "disk is well")))
    assert.equal(0, e:stop(20))
    local _, log = s:run("audit", "list")
    assert.matches("release%s+in/out", log)
    assert.equal(0, (s:run("audit", "verify")))
  end)

  -- Guards: what was on its way to the disk was no part of a drain, which said that all was delivered.
  it("drain waits for what was received and is not on disk yet", function()
    if cannot_preload() then return end
    local s, e, port, out, knob = slow_relay()
    local conns = {}
    for i = 1, 5 do conns[i] = assert(net.connect(port)) end
    traffic.send_all(conns[1], { "D0" })
    out:run_for_frames(1, 10)
    tmp.write(knob, "1500")
    for i, conn in ipairs(conns) do conn:send(net.frame(traffic.adt("D" .. i))) end
    sys.sleep(0.1) -- less than a sync
    local status, _, err = s:run("drain", "in", "--timeout", "0")
    assert.equal(1, status)
    assert.matches("in drains on: .*, %d on their way to the disk", err)
    local drain = proc.spawn { site.binary(), "-C", s.path, "drain", "in" }
    out:run_until(function() return not drain:running() end, 30, "the end of the drain")
    assert.equal(0, drain.status, drain:err())
    local c = e:channel "in"
    assert.same({ "stopped", 6, 0, 0, 6 }, { c.state, c.received, c.pending, c.dest.out.queued, c.dest.out.sent })
    for i, conn in ipairs(conns) do assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1), "D" .. i) end
    tmp.write(knob, "0")
    assert.equal(0, e:stop(20))
  end)

  -- Guards: the end waited for the committer and the audit log, however long their sync took.
  it("SIGTERM ends the engine though no sync ever ends", function()
    if cannot_preload() then return end
    local s, e, port, out, knob = slow_relay()
    local conn = assert(net.connect(port))
    traffic.send_all(conn, { "T1", "T2" })
    out:run_for_frames(2, 10)
    tmp.write(knob, "600000")
    conn:send(net.frame(traffic.adt "T3"))
    site.wait_until(function() return e:log():find "started" end, 5, "its log")
    e:signal(proc.TERM)
    site.wait_until(function() return e:log():find "draining" end, 10, "the drain")
    e:signal(proc.TERM) -- do not wait for the drain
    assert.equal(1, e.proc:wait(40))
    assert.matches("lunate: the disk of %S+ has not taken all within 15 s: cut off, as by kill %-9", e:log())
    assert.falsy(tmp.exists(s.path .. "/data/control.sock"))
    e = s:start()
    traffic.send_all(assert(net.connect(port)), { "T3" })
    out:run_until(function() return out:ids()[#out:ids()] == "T3" end, 20, "delivery")
    assert.equal(0, e:stop(20))
    assert.equal(0, (s:run "verify"))
  end)

  -- Guards: hold, release, pause, resume and skip were answered before they were on disk; an engine killed
  -- then came up without them, and sent what somebody had held.
  it("what an operator was told is done outlives kill -9", function()
    if cannot_preload() then return end
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()) }
    local env = { LD_PRELOAD = shim(), SLOWDISK = tmp.file("0") }
    local e = s:start { env = env }
    traffic.send_all(net.connect(port), { "K1", "K2" })
    local function done(verb, ...)
      tmp.write(env.SLOWDISK, "400")
      assert.equal(0, (s:run(verb, ...)))
      e:kill9()
      tmp.write(env.SLOWDISK, "0")
      e = s:start { env = env }
      return e:channel "in"
    end
    assert.equal("held", done("hold", "in/out").dest.out.state)
    local out = done("skip", "in/out", "--reason", "test").dest.out
    assert.same({ 1, 1 }, { out.parked, out.queued })
    assert.equal("paused", done("pause", "in").state)
    assert.equal("running", done("resume", "in").state)
    assert.is_not.equal("held", done("release", "in/out").dest.out.state)
    assert.equal(0, e:stop(20))
  end)

  -- Guards: both verbs have looked at the queue before the first of them has its entry in the audit log.
  it("two who skip or reprocess at once: one message, also when each waits for the disk", function()
    if cannot_preload() then return end
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()) }
    local knob = tmp.file("0")
    local e = s:start { env = { LD_PRELOAD = shim(), SLOWDISK = knob } }
    traffic.send_all(net.connect(port), traffic.ids("T", 5))
    assert.equal(0, (s:run("hold", "in/out")))
    site.wait_until(function() return e:channel("in").dest.out.queued == 5 end, 20, "all to be queued")
    local function both(...)
      local two, status = {}, {}
      tmp.write(knob, "400")
      for i = 1, 2 do two[i] = proc.spawn { site.binary(), "-C", s.path, ... } end
      for i = 1, 2 do status[i] = two[i]:wait(30) end
      tmp.write(knob, "0")
      table.sort(status)
      local d = e:channel("in").dest.out
      return { status[1], status[2], d.queued, d.parked }
    end
    assert.same({ 0, 1, 4, 1 }, both("skip", "in/out", "--reason", "it blocks"))
    for n, how in ipairs { "--reprocess", "--all" } do
      local got = both("resend", "in/3", how)
      assert.same({ 0, 1 }, { got[1], got[2] })
      site.wait_until(function() return e:channel("in").pending == 0 end, 20, "the script")
      assert.equal(4 + n, e:channel("in").dest.out.queued)
    end
    assert.equal(0, (s:run("resend", "in", "--state", "parked", "--reprocess", "--yes")))
    assert.equal(0, (s:run("resend", "in/3", "--reprocess"))) -- later it may be asked again
    site.wait_until(function() return e:channel("in").dest.out.queued == 8 end, 20, "both")
    assert.equal(0, e:stop(20))
  end)

  it("a sync that hangs for seconds: read on from where it was", function()
    if cannot_preload() then return end
    local _, e, port, out, knob = slow_relay()
    local conn = net.connect(port)
    assert.equal("AA", traffic.exchange(conn, "H0"))
    tmp.write(knob, "3000")
    conn:send(net.frame(traffic.adt "H1"))
    assert.same({ nil, "timeout" }, { (conn:recv_frame(1)), (select(2, conn:recv_frame(0))) })
    tmp.write(knob, "0")
    -- Far more than may wait in memory: reading stops, and goes on.
    local big = ("OBX|1|TX|N^N||" .. ("y"):rep(100000) .. "\r")
    local senders = {}
    for i = 1, 8 do senders[i] = net.connect(port) end
    tmp.write(knob, "700")
    local got, want, rest = 0, 0, {}
    for i, c in ipairs(senders) do
      local frames = {}
      for n = 1, 60 do frames[n] = net.frame(traffic.adt(("H%d-%d"):format(i, n), { more = big })) end
      rest[c], want = table.concat(frames), want + 60
    end
    local deadline = sys.now() + 60
    repeat
      for c, text in pairs(rest) do
        local ok, _, part = c:send(text, 0)
        rest[c] = not ok and text:sub(part + 1) or nil
      end
      for _, c in ipairs(senders) do
        local reply = c:recv_frame(0)
        if reply then
          assert.equal("AA", net.field(reply, "MSA", 1))
          got = got + 1
        end
      end
      out:step(0.001)
      if got == 100 then tmp.write(knob, "50") end
    until got == want or sys.now() > deadline
    assert.equal(want, got)
    assert.equal("H1", net.field(assert(conn:recv_frame(10)), "MSA", 2))
    out:run_for_frames(want + 2, 30)
    e:stop(20)
  end)
end)
