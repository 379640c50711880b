-- Channels and queues under an operator's hands: a stop that really stops, drain, parked messages
-- resent and settled in bulk, the queue that stops itself. Nothing is lost by any of it.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local traffic = require "support.traffic"
local run = site.must

local function verb(s, ...)
  return proc.spawn { site.binary(), "-C", s.path, ... }
end

local function ids(s, ...)
  local list = {}
  for i, m in ipairs(s:json_lines("messages", ...)) do list[i] = m.control_id end
  return list
end

describe("e2e/queue", function()
  after_each(site.cleanup)

  it("stop ends within its grace period, whatever hangs, and outlives kill -9; nothing is lost", function()
    local out = net.receiver { answer = function() end } -- takes messages, never answers
    local port, other = net.free_port(), net.free_port()
    local s = site.new { ["channels/silent.lua"] = traffic.channel(port, out.port, { dest = "timeout = 60" }),
      ["channels/loop.lua"] = traffic.channel(other, out.port, { top =
        'limits = { seconds = 60 }, transform = function(msg) while msg["PID-3"] == "L1" do end end,' }) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "A1", "A2" })
    traffic.send_all(net.connect(other), { "L1", "L2" })
    out:run_for_frames(1, 10)
    site.wait_until(function() return e:log():find "worker ready channel=loop" end, 10, "the looping worker")
    out:run_for(0.3)
    for name, why in pairs { silent = "out had not answered", loop = "the script was still at message 1" } do
      local before = sys.now()
      local text = run(s, "stop", name, "--grace", "0.5")
      assert.truthy(text:find("stopped at the end of the grace period: " .. why, 1, true), text)
      assert.truthy(sys.now() - before < sys.patience(10))
      assert.equal("stopped", e:channel(name).state)
    end
    assert.same({ nil, "refused" }, { net.connect(port) })
    assert.equal(0, #e:workers())
    e:kill9()
    out:close()
    s:write("channels/loop.lua", traffic.channel(other, out.port))
    e = s:start()
    assert.same({ "stopped", "stopped" }, { e:channel("silent").state, e:channel("loop").state })
    out = net.receiver { port = out.port }
    run(s, "start", "silent")
    run(s, "start", "loop")
    out:run_for_frames(4, 20)
    local got = out:ids()
    table.sort(got)
    assert.same({ "A1", "A2", "L1", "L2" }, got)
    assert.equal(0, e:stop())
  end)

  it("stop lets what is in hand end: no message is sent twice", function()
    local out = net.receiver { answer = function(text) return { text = net.ack(text), after = 0.3 } end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = 'ack = "delivery",' }) }
    local e = s:start()
    local conn = net.connect(port)
    conn:send(net.frame(traffic.adt "M1"))
    out:run_for_frames(1, 10)
    local stop = verb(s, "stop", "in")
    out:run_until(function() return not stop:running() end, 10, "the stop")
    assert.same({ 0, "in: stopped\n" }, { stop.status, stop:out() })
    assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1)) -- the reply that was owed
    run(s, "start", "in")
    out:run_for(0.3)
    assert.same({ "M1" }, out:ids())
    assert.equal(0, e:stop())
  end)

  it("drain takes nothing new and stops when all is delivered; a start ends it", function()
    local out = net.receiver { answer = function(text) return { text = net.ack(text), after = 0.02 } end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), traffic.ids("D", 30))
    local status, _, err = s:run("drain", "in", "--timeout", "0.2")
    assert.equal(1, status)
    assert.truthy(err:find("30 to deliver", 1, true), err)
    assert.equal("draining", e:channel("in").state)
    assert.same({ nil, "refused" }, { net.connect(port) })
    run(s, "start", "in")
    assert.equal("running", e:channel("in").state)
    traffic.send_all(net.connect(port), { "D31" })
    local drain = verb(s, "drain", "in")
    site.wait_until(function() return e:channel("in").state == "draining" end, 5, "draining")
    run(s, "release", "in/out")
    out:run_until(function() return not drain:running() end, 20, "the end of the drain")
    assert.equal(0, drain.status, drain:err())
    assert.same(traffic.ids("D", 31), out:ids())
    assert.equal("stopped", e:channel("in").state)
    assert.equal(0, e:stop())
  end)

  -- Guards: the second verb made the halt's timer anew while it was running, and the hub's loop hung.
  it("a drain that hangs is ended by stop, or by another drain", function()
    local out = net.receiver { answer = function() end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { dest = "timeout = 60" }) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "A1", "A2" })
    for _ = 1, 2 do assert.equal(1, (s:run("drain", "in", "--timeout", "0.2"))) end
    run(s, "stop", "in", "--grace", "0.3")
    assert.equal("stopped", e:channel("in").state)
    run(s, "stop", "in")
    run(s, "start", "in")
    assert.equal("running", e:channel("in").state)
    e:kill9()
  end)

  -- Guards: the step of a connection that was closed stayed, and the held queue went on by itself.
  it("a held queue stays held when a stop cuts a step off", function()
    local out = net.receiver { answer = function() end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { dest = "timeout = 60" }) }
    local e = s:start()
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), { "H1", "H2" })
    local step = verb(s, "step", "in/out")
    out:run_for_frames(1, 10)
    run(s, "stop", "in", "--grace", "0.3")
    out:run_until(function() return not step:running() end, 10, "the step's answer")
    run(s, "start", "in")
    out:run_for(0.5)
    assert.same({ "H1" }, out:ids())
    assert.same({ "held", 2 }, { e:channel("in").dest.out.state, e:channel("in").dest.out.queued })
    e:kill9()
  end)

  -- Guards: --dest was passed over with --reprocess, and the other receivers got the message twice.
  it("resend --reprocess --dest goes to that destination alone", function()
    local a, b, c = net.receiver {}, net.receiver {}, net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = ([[return channel {
      source = mllp.listen { port = %d },
      transform = function(msg) msg["PID-5.1"] = "X" end,
      destinations = {
        a = mllp.send { host = "127.0.0.1", port = %d }, b = mllp.send { host = "127.0.0.1", port = %d },
        c = mllp.send { host = "127.0.0.1", port = %d } } }]]):format(port, a.port, b.port, c.port) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "R1" })
    for _, r in ipairs { a, b, c } do r:run_for_frames(1, 10) end
    run(s, "resend", "in/1", "--reprocess", "--dest", "b")
    b:run_for_frames(2, 10)
    run(s, "resend", "in/1", "--reprocess", "--dest", "c")
    c:run_for_frames(2, 10)
    for _, r in ipairs { a, b, c } do r:run_for(0.2) end
    assert.same({ 1, 2, 2 }, { #a.frames, #b.frames, #c.frames })
    assert.equal(c.frames[1].text, c.frames[2].text)
    assert.truthy(run(s, "show", "in/2"):find("processed again for b alone", 1, true))
    run(s, "resend", "in/1", "--reprocess")
    for _, r in ipairs { a, b, c } do r:run_for_frames(r == a and 2 or 3, 10) end
    assert.equal(0, e:stop())
  end)

  -- A channel whose queue has FIRST, one that is damaged on disk, LAST; held. what: "receipt", "result".
  local function damaged(what)
    local out = net.receiver {}
    local port = net.free_port()
    local top = [[transform = function(msg)
      if msg.control_id:find "DAMAGED" then msg["PID-5.2"] = "SPOILT" .. ("x"):rep(99) end
    end,]]
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = top }) }
    local e = s:start()
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), { "FIRST", "DAMAGEDONE", "LAST" })
    site.wait_until(function() return e:channel("in").dest.out.queued == 3 end, 5, "the queue")
    assert.equal(0, e:stop())
    local f = assert(io.open(s.path .. "/data/data.mdb", "r+b"))
    local bytes = f:read "*a"
    for at in bytes:gmatch(what == "receipt" and "()DAMAGEDONE" or "()SPOILT") do
      f:seek("set", at - 1)
      f:write "X"
    end
    f:close()
    return s, s:start(), out
  end

  -- Guards: the queue stood without a word, and was polled a hundred times a second.
  for _, what in ipairs { "receipt", "result" } do
    it("a damaged " .. what .. " is never sent, and named in status and log; skip passes over it", function()
      local s, e, out = damaged(what)
      run(s, "release", "in/out")
      out:run_until(function() return e:log():find "dest unreadable" end, 10, "a line in the log")
      out:run_for(0.3)
      assert.same({ "FIRST" }, out:ids())
      assert.truthy(e:channel("in").dest.out.last_error:find("run lunate verify", 1, true))
      assert.truthy(run(s, "status"):find("lunate skip in/out 2 --reason", 1, true))
      assert.equal(1, (s:run "verify"))
      local _, count = e:log():gsub("dest unreadable", "")
      assert.equal(1, count)
      assert.truthy(run(s, "skip", "in/out", "--reason", "bad disk"):find("in/2", 1, true))
      out:run_for_frames(2, 5)
      assert.same({ "FIRST", "LAST" }, out:ids())
      site.wait_until(function() return e:channel("in").dest.out.queued == 0 end, 5, "an empty queue")
      assert.equal("", e:channel("in").dest.out.last_error)
      e:kill9()
      local _, text = s:run "verify" -- what is behind it was counted anew, in the same commit
      for line in text:gmatch "[^\n]+" do assert.truthy(line:find "^in/2: " or line:find "wrong$", text) end
      e = s:start()
      assert.equal(0, e:channel("in").dest.out.queued)
      assert.equal(0, e:stop())
    end)

    -- Guards: one damaged message, and every verb that met it ended in a traceback.
    it("a damaged " .. what .. " is named by the verbs that look for messages; they go on behind it", function()
      local s, e = damaged(what)
      local receipt = what == "receipt"
      for _, words in ipairs { { "messages" }, { "messages", "in", "--since", "1h" }, { "tail", "in" },
        { "messages", "--type", "ADT" }, { "messages", "--text", "PID" } } do
        local status, text, err = s:run(unpack(words))
        assert.equal(0, status, err)
        assert.matches("LAST", text)
        assert.matches("FIRST", text)
        if receipt then
          assert.equal("1 message is left out: damaged on disk, lunate verify says what: in/2\n", err)
        else
          assert.matches("damaged +ADT%^A01 +in/2", text)
        end
      end
      for _, words in ipairs { { "show", "in/2" }, { "trace", "in/2" }, { "resend", "in/2" },
        { "resend", "in", "--since", "1h" }, { "replay", "-c", "in" }, { "profile", "-c", "in" } } do
        local _, text, err = s:run(unpack(words))
        assert.is_nil((text .. err):find("internal error", 1, true), table.concat(words, " ") .. err)
        assert.is_nil((text .. err):find("traceback", 1, true))
      end
      if receipt then
        local status, _, err = s:run("show", "in/2")
        assert.equal(1, status)
        assert.matches("lunate show: in/2 is damaged on disk: lunate verify says what", err)
      end
      assert.equal(0, e:stop())
    end)

    -- Guards: this never came back.
    it("reposition to the end passes over a damaged " .. what, function()
      local s, e, out = damaged(what)
      run(s, "reposition", "in/out", "--to", "end", "--reason", "bad disk", "--yes")
      site.wait_until(function() return e:channel("in").dest.out.queued == 0 end, 5, "an empty queue")
      run(s, "release", "in/out")
      out:run_for(0.2)
      assert.same({}, out:ids())
      local _, count = e:log():gsub(" error dest ", "")
      assert.truthy(count <= 1, "one line, not one per output:\n" .. e:log())
      assert.equal(0, e:stop())
    end)
  end

  it("a message damaged before the script has seen it is named, and skip CHANNEL passes over it", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    run(s, "pause", "in")
    traffic.send_all(net.connect(port), { "FIRST", "DAMAGEDONE", "LAST" })
    assert.equal(0, e:stop())
    local f = assert(io.open(s.path .. "/data/data.mdb", "r+b"))
    for at in f:read "*a":gmatch "()DAMAGEDONE" do
      f:seek("set", at - 1)
      f:write "X"
    end
    f:close()
    e = s:start()
    run(s, "resume", "in")
    out:run_for_frames(1, 5)
    site.wait_until(function() return e:channel("in").error:find("cannot be read", 1, true) end, 5, "its error")
    assert.truthy(run(s, "status"):find("lunate skip in --reason", 1, true))
    assert.truthy(run(s, "skip", "in", "--reason", "bad disk"):find("in/2: passed over", 1, true))
    out:run_for_frames(2, 5)
    assert.same({ "FIRST", "LAST" }, out:ids())
    assert.same({ "", 0 }, { e:channel("in").error, e:channel("in").pending })
    local status, _, err = s:run("skip", "in", "--reason", "again")
    assert.equal(1, status)
    assert.truthy(err:find("no damaged message", 1, true))
    e:kill9()
    e = s:start()
    assert.equal(0, e:channel("in").pending)
    assert.equal(0, e:stop())
  end)

  -- Guards: the receivers that had taken it got it twice.
  it("resend of a message that is parked at one destination goes there alone, with --all to all", function()
    local refuse = true
    local out = net.receiver { answer = function(text) return net.ack(text, refuse and "AE" or "AA") end }
    local copy = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = "" }):gsub("destinations = {",
      ('destinations = { copy = mllp.send { host = "127.0.0.1", port = %d },'):format(copy.port)) }
    local e = s:start()
    traffic.exchange(net.connect(port), "M1")
    out:run_for_frames(1, 5)
    copy:run_for_frames(1, 5)
    site.wait_until(function() return e:channel("in").dest.out.parked == 1 end, 5, "parked")
    refuse = false
    assert.truthy(run(s, "resend", "in/1"):find("to out", 1, true))
    out:run_for_frames(2, 5)
    copy:run_for(0.3)
    assert.same({ "M1" }, copy:ids())
    site.wait_until(function() return e:channel("in").dest.out.parked == 0 end, 5, "not parked")
    run(s, "resend", "in/1", "--all")
    out:run_for_frames(3, 5)
    copy:run_for_frames(2, 5)
    assert.equal(2, (s:run("resend", "in/1", "--all", "--dest", "out")))
    assert.equal(0, e:stop())
  end)

  -- Guards: outcomes were counted, not outputs: an output that a queue put back delivered twice stood for two.
  it("ack = \"delivery\" waits for each output, also when one has two ends", function()
    local one, two = net.receiver {}, net.receiver { answer = function() end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, one.port, { top = 'ack = "delivery",' })
      :gsub("destinations = {", ('destinations = { two = mllp.send { host = "127.0.0.1", port = %d, timeout = 60 },')
        :format(two.port)) }
    local e = s:start()
    local conn = net.connect(port)
    assert(conn:send(net.frame(traffic.adt "M1")))
    one:run_for_frames(1, 5)
    two:run_for_frames(1, 5)
    site.wait_until(function() return e:channel("in").dest.out.sent == 1 end, 5, "the first end")
    run(s, "hold", "in/out")
    run(s, "reposition", "in/out", "--to", "1", "--reason", "lost", "--yes")
    run(s, "release", "in/out")
    one:run_for_frames(2, 5)
    site.wait_until(function() return e:channel("in").dest.out.sent == 2 end, 5, "the second end")
    assert.equal("timeout", (select(2, conn:recv_frame(0.3))))
    two.conns[1]:send(net.frame(net.ack(two.frames[1].text)))
    assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1))
    assert.equal(0, e:stop())
  end)

  it("an engine killed while a channel drains has lost nothing", function()
    local port = net.free_port()
    local out = net.receiver {}
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), traffic.ids("K", 20))
    s:run("drain", "in", "--timeout", "0.1")
    e:kill9()
    e = s:start()
    assert.same({ "running", "held" }, { e:channel("in").state, e:channel("in").dest.out.state })
    run(s, "release", "in/out")
    out:run_for_frames(20, 10)
    assert.same(traffic.ids("K", 20), out:ids())
    assert.equal(0, e:stop())
  end)

  it("parked messages are resent in bulk to where they are parked, in order, or settled with a reason", function()
    local refuse = true
    local out = net.receiver { answer = function(text) return net.ack(text, refuse and "AE" or "AA") end }
    local copy = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = (traffic.channel(port, out.port):gsub("destinations = {",
      ('destinations = { copy = mllp.send { host = "127.0.0.1", port = %d },'):format(copy.port))) }
    local e = s:start()
    traffic.send_all(net.connect(port), traffic.ids("P", 6))
    out:run_until(function() copy:step(0) return e:channel("in").dest.out.parked == 6 and
      e:channel("in").dest.copy.queued == 0 end, 10, "all parked")
    assert.equal(6, #copy:ids())
    run(s, "settle", "in/6", "--reason", "entered by hand")
    assert.truthy(run(s, "show", "in/6"):find("settled: entered by hand", 1, true))
    local status, _, err = s:run("settle", "in/6", "--reason", "again")
    assert.equal(1, status)
    assert.truthy(err:find("in/6 is not parked", 1, true), err)
    refuse = false
    local text
    status, text = s:run("resend", "in", "--state", "parked")
    assert.equal(1, status)
    assert.truthy(text:find("5 messages of in to resend, from in/1 to in/5", 1, true), text)
    assert.equal(5, #ids(s, "--state", "parked"))
    run(s, "resend", "in", "--state", "parked", "--since", "1h", "--yes")
    out:run_until(function() copy:step(0) return e:channel("in").dest.out.sent == 5 end, 10, "all sent")
    local last = {}
    for i = 7, #out:ids() do last[#last + 1] = out:ids()[i] end
    assert.same(traffic.ids("P", 5), last)
    assert.equal(6, #copy:ids()) -- it has had them
    assert.same({}, ids(s, "--state", "parked"))
    assert.equal(2, (s:run("resend", "in")))
    e:kill9()
    e = s:start()
    assert.equal(0, e:channel("in").dest.out.parked)
    assert.equal(0, e:stop())
  end)

  it("two who resend the same parked messages at once send each once", function()
    local refuse = true
    local out = net.receiver { answer = function(text) return net.ack(text, refuse and "AE" or "AA") end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    traffic.send_all(net.connect(port), traffic.ids("D", 8))
    out:run_until(function() return e:channel("in").dest.out.parked == 8 end, 10, "all parked")
    refuse = false
    run(s, "hold", "in/out")
    local two = {}
    for i = 1, 2 do two[i] = verb(s, "resend", "in", "--state", "parked", "--yes") end
    for i = 1, 2 do two[i]:wait(30) end
    assert.equal(8, e:channel("in").dest.out.queued)
    run(s, "release", "in/out")
    out:run_until(function() return e:channel("in").dest.out.sent == 8 end, 10, "all sent")
    assert.equal(16, #out:ids())
    assert.equal(0, e:stop())
  end)

  -- Guards: two who skip (or step) what both have seen first must not act on two messages.
  it("of two who skip or step the first of a queue at once, one does; the other is told", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), traffic.ids("F", 6))
    site.wait_until(function() return e:channel("in").dest.out.queued == 6 end, 10, "a queue")
    -- both have looked at in/1 before either acts
    run(s, "skip", "in/out", "1", "--reason", "one")
    local status, _, err = s:run("skip", "in/out", "1", "--reason", "two")
    assert.equal(1, status)
    assert.matches("in/out: nothing is done, the first is in/2 and not in/1: .*lunate show in/1", err)
    status, _, err = s:run("step", "in/out", "1")
    assert.equal(1, status)
    assert.matches("the first is in/2 and not in/1", err)
    local d = e:channel("in").dest.out
    assert.same({ 5, 1 }, { d.queued, d.parked })
    local step = verb(s, "step", "in/out", "2")
    out:run_for_frames(1, 10)
    assert.same({ 0, { "F2" } }, { step:wait(10), out:ids() })
    for _ = 1, 3 do run(s, "skip", "in/out", "--reason", "no number: whatever is the first") end
    run(s, "skip", "in/out", "6", "--reason", "the last")
    status, _, err = s:run("skip", "in/out", "6", "--reason", "again")
    assert.equal(1, status)
    assert.matches("in/6 is no longer queued, nor is any other", err)
    assert.equal(2, (s:run("skip", "in/out", "F6", "--reason", "x")))
    assert.equal(0, e:stop())
  end)

  it("reposition: back sends again in order before what is queued; forward passes over; kill -9 in between", function()
    local refuse = {}
    local out = net.receiver { answer = function(text)
      return net.ack(text, refuse[net.field(text, "MSH", 10)] and "AE" or "AA")
    end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    refuse.Q4 = true
    traffic.send_all(net.connect(port), traffic.ids("Q", 6))
    local function rest() return e:channel("in").dest.out end
    out:run_until(function() local d = rest() return d.sent == 5 and d.parked == 1 end, 10, "deliveries")
    local function move(to, ...) return s:run("reposition", "in/out", "--to", to, "--reason", "lab restored", ...) end
    local status, _, err = move("3", "--yes")
    assert.equal(1, status)
    assert.truthy(err:find("lunate hold in/out first", 1, true), err)
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), { "Q7", "Q8" })
    site.wait_until(function() return rest().queued == 2 end, 10, "two more")
    local text
    status, text = move "3"
    assert.equal(1, status)
    assert.truthy(text:find("4 outputs, from in/3 on, would go to out again, before what is queued now (2)", 1, true),
      text)
    assert.equal(0, (move("3", "--yes")))
    assert.same({ 6, 0 }, { rest().queued, rest().parked })
    assert.same({ "Q8", "Q7", "Q6", "Q5", "Q4", "Q3" }, ids(s, "--state", "queued"))
    assert.truthy(run(s, "show", "in/3"):find("out put back to here: lab restored", 1, true))
    e:kill9()
    run(s, "verify") -- a queue that was put back is nothing wrong
    e = s:start()
    assert.same({ 6, "held" }, { rest().queued, rest().state })
    local _, would = move "5"
    assert.truthy(would:find("2 outputs for out, from before in/5, would be passed over", 1, true), would)
    assert.equal(0, (move("5", "--yes"))) -- Q3 and Q4 are passed over
    assert.equal(4, rest().queued)
    refuse.Q4 = nil
    run(s, "release", "in/out")
    out:run_until(function() return rest().queued == 0 end, 10, "the rest")
    assert.same({ "Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q5", "Q6", "Q7", "Q8" }, out:ids())
    assert.equal("settled", s:json("show", "in/3").state)
    assert.truthy(run(s, "show", "in/3"):find("out: before: sent .* after 1 try, answered AA"))
    assert.truthy(run(s, "show", "in/3"):find("out: skipped: passed over: lab restored", 1, true))
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), { "Q9", "Q10" })
    site.wait_until(function() return rest().queued == 2 end, 10, "two at the end")
    assert.equal(0, (move("end", "--yes")))
    assert.equal(0, rest().queued)
    run(s, "release", "in/out")
    traffic.send_all(net.connect(port), { "Q11" })
    out:run_until(function() return out:ids()[11] end, 10, "what came after")
    assert.equal("Q11", out:ids()[11])
    assert.equal(0, e:stop())
    run(s, "verify") -- the outcomes that were replaced are counted no more
  end)

  it("stop_after_parks holds a queue whose receiver refuses one after the other", function()
    local out = net.receiver { answer = function(text) return net.ack(text, "AE") end }
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { dest = "stop_after_parks = 3" }) }
    local e = s:start()
    traffic.send_all(net.connect(port), traffic.ids("R", 6))
    out:run_until(function() return e:channel("in").dest.out.state == "held" end, 10, "the hold")
    local d = e:channel("in").dest.out
    assert.same({ 3, 3 }, { d.parked, d.queued })
    assert.matches("3 in a row were parked", d.last_error)
    e:kill9()
    e = s:start()
    assert.equal("held", e:channel("in").dest.out.state)
    assert.equal(0, e:stop())
  end)

  it("resend --edit sends what the editor left, and names where it came from", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "E1" })
    out:run_for_frames(1, 10)
    local status, _, err = s:run("resend", "in/1", "--edit", { env = { EDITOR = "true" } })
    assert.equal(1, status)
    assert.matches("unchanged", err)
    status, _, err = s:run("resend", "in/1", "--edit", { env = { EDITOR = "false" } })
    assert.equal(1, status)
    assert.matches("nothing is sent", err)
    local text
    status, text = s:run("resend", "in/1", "--edit", { env = { EDITOR = "sed -i s/Muster/Master/" } })
    assert.equal(0, status)
    assert.matches("%+ PID.*Master.*in/1, edited, as in/2", text)
    out:run_for_frames(2, 10)
    assert.equal("Master^Anna", net.field(out.frames[2].text, "PID", 5))
    assert.equal("in/1", s:json("show", "in/2").origin)
    assert.truthy(run(s, "show", "in/1"):find("edited and processed again as in/2", 1, true))
    -- Guards: resend with filters sent a message, and what resend had made of it before, too.
    run(s, "resend", "in/1")
    run(s, "resend", "in/1", "--reprocess")
    status, text, err = s:run("resend", "in", "--since", "1h")
    assert.same({ 1, "1 message made by resend from others of these: left out\n" }, { status, err })
    assert.matches("^3 messages of in to resend, from in/1 to in/4;", text)
    status, text, err = s:run("resend", "in", "--since", "1h", "--reprocess")
    assert.same({ 1, "2 messages made by resend from others of these: left out\n" }, { status, err })
    assert.matches("^2 messages of in to resend, from in/1 to in/2;", text)
    assert.equal(0, e:stop())
  end)

  -- Guards: --dest was ignored, and the edited message went to all.
  it("resend --edit --dest goes there alone", function()
    local out, other = net.receiver {}, net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = ([[return channel { source = mllp.listen { port = %d },
      destinations = { out = mllp.send { host = "127.0.0.1", port = %d },
        other = mllp.send { host = "127.0.0.1", port = %d } } }]]):format(port, out.port, other.port) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "E1" })
    out:run_for_frames(1, 10)
    other:run_for_frames(1, 10)
    local env = { EDITOR = "sed -i s/Muster/Master/" }
    local status, _, err = s:run("resend", "in/1", "--edit", "--dest", "nosuch", { env = env })
    assert.equal(1, status)
    assert.matches("no destination named nosuch", err)
    local text
    status, text = s:run("resend", "in/1", "--edit", "--dest", "other", { env = env })
    assert.equal(0, status)
    assert.matches("in/1, edited, as in/2 to other", text)
    other:run_for_frames(2, 10)
    out:run_for(0.3)
    assert.equal(1, #out.frames)
    assert.equal("Master^Anna", net.field(other.frames[2].text, "PID", 5))
    assert.equal(0, e:stop())
  end)
end)
