-- Delivery against receivers of every kind. Guards promise 3: per destination strictly first in, first
-- out; an acknowledgement counts for its own message alone; a bad receiver holds up nobody else.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local traffic = require "support.traffic"

-- An engine with one channel `in`, and a connection to it. o as for traffic.channel.
local function begin(out_port, o)
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, out_port, o) }
  local e = s:start()
  return e, net.connect(port), s, port
end

local function out_of(e)
  return e:channel("in").dest.out
end

local function settled(e, what)
  site.wait_until(function() return out_of(e).queued == 0 end, 10, what or "an empty queue")
end

local function last_of(r)
  local f = r.frames[#r.frames]
  return f and net.field(f.text, "MSH", 10)
end

-- Takes each message once in order; a repetition of the last is a duplicate, not disorder.
local function first_times(ids)
  local seen, list = {}, {}
  for _, id in ipairs(ids) do
    if not seen[id] then list[#list + 1] = id end
    seen[id] = true
  end
  return list
end

describe("e2e/delivery: replies", function()
  after_each(site.cleanup)

  it("ignores a stale acknowledgement and takes the right one", function()
    local out = net.receiver { answer = function(text)
      return { raw = net.frame(net.ack((text:gsub("|M1|", "|OLD|")))) .. net.frame(net.ack(text)) }
    end }
    local e, conn = begin(out.port)
    traffic.send_all(conn, { "M1", "M2" })
    out:run_for_frames(2, 5)
    settled(e)
    assert.same({ "M1", "M2" }, out:ids())
    assert.truthy(e:log():find("stale_reply", 1, true))
  end)

  it("never takes a late acknowledgement for the next message", function()
    local tries = {}
    local out = net.receiver { answer = function(text)
      local id = net.field(text, "MSH", 10)
      tries[id] = (tries[id] or 0) + 1
      if id == "L1" and tries[id] == 1 then return { text = net.ack(text), after = 0.4 } end
      if id == "L2" and tries[id] == 1 then return nil end
      return net.ack(text)
    end }
    local e, conn = begin(out.port, { dest = "timeout = 0.2" })
    traffic.send_all(conn, { "L1", "L2", "L3" })
    out:run_until(function() return last_of(out) == "L3" end, 10, "the last message")
    out:run_for(0.3)
    settled(e)
    assert.same({ "L1", "L1", "L2", "L2", "L3" }, out:ids())
    assert.equal(3, out_of(e).sent)
  end)

  it("is not misled by two acknowledgements of each message", function()
    local out = net.receiver { answer = function(text)
      return { raw = net.frame(net.ack(text)) .. net.frame(net.ack(text, "AE")) }
    end }
    local e, conn = begin(out.port)
    traffic.send_all(conn, traffic.ids("T", 20))
    out:run_for_frames(20, 5)
    settled(e)
    assert.same({ 20, 0 }, { out_of(e).sent, out_of(e).parked })
    assert.same(traffic.ids("T", 20), out:ids())
  end)

  it("takes CA for done, parks on AE and CE, tries AR and CR again", function()
    local tries = {}
    local out = net.receiver { answer = function(text)
      local id = net.field(text, "MSH", 10)
      tries[id] = (tries[id] or 0) + 1
      local code = id:match "^%u%u"
      if (code == "AR" or code == "CR") and tries[id] == 3 then code = "AA" end
      return net.ack(text, code, "because")
    end }
    local e, conn, s = begin(out.port)
    traffic.send_all(conn, { "AA1", "CA2", "AE3", "CE4", "AR5", "CR6", "AA7" })
    out:run_until(function() return last_of(out) == "AA7" end, 10, "the last message")
    settled(e)
    assert.same({ "AA1", "CA2", "AE3", "CE4", "AR5", "AR5", "AR5", "CR6", "CR6", "CR6", "AA7" }, out:ids())
    assert.same({ 5, 2 }, { out_of(e).sent, out_of(e).parked })
    local shown = s:json("show", "in/3")
    local text = require "support.json"
    assert.truthy(text, shown)
    local _, doc = s:json("show", "in/3")
    assert.truthy(doc:find("answered AE", 1, true), doc)
    assert.truthy(doc:find("because", 1, true), doc) -- the reply is kept as it came
  end)

  it("does what on_reply says in place of that", function()
    local out = net.receiver { answer = function(text, _, r)
      local id = net.field(text, "MSH", 10)
      if id == "AE1" and #r.frames < 3 then return net.ack(text, "AE") end
      return net.ack(text, id == "AR2" and "AR" or "AA")
    end }
    local e, conn = begin(out.port, { dest = 'on_reply = { AE = "retry", AR = "park" }' })
    traffic.send_all(conn, { "AE1", "AR2", "AA3" })
    out:run_for_frames(5, 10)
    settled(e)
    assert.same({ "AE1", "AE1", "AE1", "AR2", "AA3" }, out:ids())
    assert.same({ 2, 1 }, { out_of(e).sent, out_of(e).parked })
  end)

  it("stops the queue on on_reply = stop until it is released", function()
    local good = false
    local out = net.receiver { answer = function(text) return net.ack(text, good and "AA" or "AE") end }
    local e, conn, s = begin(out.port, { dest = 'on_reply = { AE = "stop" }' })
    traffic.send_all(conn, { "H1", "H2" })
    out:run_for_frames(1, 5)
    site.wait_until(function() return out_of(e).state == "held" end, 5, "the hold")
    out:run_for(0.4)
    assert.equal(1, #out.frames)
    good = true
    assert.equal(0, (s:run("release", "in/out")))
    out:run_for_frames(3, 5)
    settled(e)
    assert.same({ "H1", "H1", "H2" }, out:ids())
  end)

  it("parks after `attempts` tries that were sent; a receiver that is down does not count", function()
    local port = net.free_port()
    local e, conn = begin(port, { dest = 'retry = { first = 0.05, max = 0.2, attempts = 3 }' })
    conn:send(net.frame(traffic.adt "P1"))
    site.wait_until(function() return out_of(e).retries >= 5 end, 10, "tries to connect")
    assert.equal(0, out_of(e).parked)
    local out = net.receiver { port = port, answer = function(text)
      return net.ack(text, net.field(text, "MSH", 10) == "P1" and "AR" or "AA")
    end }
    conn:send(net.frame(traffic.adt "P2"))
    out:run_until(function() return last_of(out) == "P2" end, 10, "the next message")
    settled(e)
    assert.same({ "P1", "P1", "P1", "P2" }, out:ids())
    assert.equal(1, out_of(e).parked)
  end)
end)

describe("e2e/delivery: receivers that misbehave", function()
  after_each(site.cleanup)

  -- What it does to the first two tries of each message; then it behaves.
  local kinds = {
    ["closes without a reply"] = { close = true },
    ["resets"] = { reset = true },
    ["answers garbage"] = { text = "hello world" },
    ["answers a bare 06"] = { raw = "\6" },
    ["answers an MLLP commit block"] = { raw = "\11\6\28\r" },
    ["answers an empty frame"] = { text = "" },
    ["answers a header alone"] = { text = "MSH|^~\\&|R|R|S|S|2026||ACK|1|P|2.5\r" },
    ["never answers"] = {},
    ["answers half a reply"] = { raw = "\11MSH|^~\\&|R" },
    ["answers half a reply and closes"] = { raw = "\11MSH|^~\\&|R", close = true },
    ["answers more than 1 MB"] = { raw = "\11MSH|" .. ("x"):rep(1100000) },
    ["answers for another message"] = { text = "MSH|^~\\&|R|R|S|S|2026||ACK|1|P|2.5\rMSA|AA|X\r" },
    ["answers a code nobody knows"] = { text = "MSH|^~\\&|R|R|S|S|2026||ACK|1|P|2.5\rMSA|OK|B1\r" },
  }
  for name, reply in pairs(kinds) do
    it(name .. ": tries again, in order, once through", function()
      local tries = {}
      local out = net.receiver { answer = function(text)
        local id = net.field(text, "MSH", 10)
        tries[id] = (tries[id] or 0) + 1
        return tries[id] <= 2 and reply or net.ack(text)
      end }
      local e, conn = begin(out.port, { dest = "timeout = 0.15" })
      traffic.send_all(conn, { "B1", "B2", "B3" })
      out:run_until(function() return tries.B3 == 3 end, 20, "the third try of the last")
      settled(e)
      assert.same({ "B1", "B1", "B1", "B2", "B2", "B2", "B3", "B3", "B3" }, out:ids())
      assert.same({ 3, 0, "" }, { out_of(e).sent, out_of(e).parked, out_of(e).last_error })
    end)
  end

  it("tells in last_error what is wrong while it is", function()
    local out = net.receiver { answer = function() return { text = "hello world" } end }
    local e, conn = begin(out.port, { dest = "timeout = 0.15" })
    traffic.send_all(conn, { "E1" })
    out:run_for_frames(2, 5)
    local d = out_of(e)
    assert.truthy(d.last_error:find("no acknowledgement", 1, true), d.last_error)
    assert.truthy(d.oldest_s > 0)
  end)

  it("times out a receiver that trickles", function()
    local out = net.receiver { answer = function() end }
    local e, conn = begin(out.port, { dest = "timeout = 0.5" })
    traffic.send_all(conn, { "T1" })
    out:run_for_frames(1, 5)
    local first, ack = out.frames[1].conn, net.frame(net.ack(traffic.adt "T1"))
    local at = 1
    out:run_until(function()
      if first.fd and at < 20 then
        first:send(ack:sub(at, at))
        at = at + 1
        sys.sleep(0.05)
      end
      return #out.frames >= 2
    end, 10, "another try")
    assert.same({ "T1", "T1" }, out:ids())
    assert.truthy(out_of(e).retries >= 1)
  end)

  it("goes at full speed with a receiver that closes after every reply, and loses no attempt", function()
    local out = net.receiver { answer = function(text) return { text = net.ack(text), close = true } end }
    local e, conn = begin(out.port, { dest = "retry = { first = 5, attempts = 1 }" })
    local ids = traffic.ids("C", 50)
    traffic.send_all(conn, ids)
    local began = sys.now()
    out:run_until(function() return last_of(out) == "C50" end, 30, "the last message")
    assert.truthy(sys.now() - began < sys.patience(5))
    settled(e)
    assert.same(ids, first_times(out:ids()))
    assert.same({ 50, 0 }, { out_of(e).sent, out_of(e).parked })
  end)

  it("does not spin on a receiver that accepts and closes", function()
    local l = net.listen()
    local e, conn = begin(l.port)
    traffic.send_all(conn, { "S1" })
    local n, deadline = 0, sys.now() + 1
    while sys.now() < deadline do
      local c = l:accept(0.05)
      if c then
        n = n + 1
        c:close()
      end
    end
    assert.truthy(n >= 2 and n <= 40, n .. " connections")
    assert.equal(1, out_of(e).queued)
  end)

  it("backs off while nobody listens, and comes back", function()
    local port = net.free_port()
    local e, conn = begin(port, { dest = "" })
    traffic.send_all(conn, { "R1", "R2" })
    sys.sleep(1)
    local d = out_of(e)
    assert.equal("retrying", d.state)
    assert.truthy(d.retries >= 3 and d.retries <= 15, d.retries .. " tries")
    assert.truthy(d.last_error:find("refused", 1, true), d.last_error)
    local out = net.receiver { port = port }
    out:run_for_frames(2, 5)
    settled(e)
    assert.same({ "R1", "R2" }, out:ids())
    assert.equal("", out_of(e).last_error)
  end)
end)

describe("e2e/delivery: queues", function()
  after_each(site.cleanup)

  local function two(port, a, b, more)
    return traffic.channel(port, a, { top = more, dest = ([[}, other = mllp.send {
      host = "127.0.0.1", port = %d, timeout = 0.2, retry = { first = 0.05, max = 0.2 } ]]):format(b) })
  end

  it("a destination that is down holds up nobody else", function()
    local out = net.receiver {}
    local port, down = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = two(port, out.port, down) }
    local e = s:start()
    local ids = traffic.ids("D", 300)
    traffic.send_all(net.connect(port), ids)
    out:run_for_frames(300, 10)
    assert.same(ids, out:ids())
    site.wait_until(function() return out_of(e).queued == 0 end, 5, "the queue that goes on")
    assert.equal(300, e:channel("in").dest.other.queued)
    local other = net.receiver { port = down }
    other:run_for_frames(300, 10)
    assert.same(ids, other:ids())
  end)

  it("hold, step, skip and release", function()
    local out = net.receiver {}
    local e, conn, s = begin(out.port)
    assert.equal(0, (s:run("hold", "in/out")))
    traffic.send_all(conn, traffic.ids("Q", 6))
    site.wait_until(function() return out_of(e).queued == 6 end, 5, "the queue")
    out:run_for(0.2)
    assert.equal(0, #out.frames)
    assert.equal("held", out_of(e).state)
    assert.equal(0, (s:run("step", "in/out")))
    out:run_for_frames(1, 5)
    out:run_for(0.2)
    assert.same({ "Q1" }, out:ids())
    assert.equal(0, (s:run("skip", "in/out", "--reason", "wrong ward")))
    site.wait_until(function() return out_of(e).queued == 4 end, 5, "the skip")
    assert.equal(0, (s:run("step", "in/out")))
    out:run_for_frames(2, 5)
    assert.same({ "Q1", "Q3" }, out:ids())
    assert.equal(0, e:stop()) -- a hold outlives a restart
    e = s:start()
    out:run_for(0.3)
    assert.same({ 2, "held", 3 }, { #out.frames, out_of(e).state, out_of(e).queued })
    assert.equal(0, (s:run("release", "in/out")))
    out:run_for_frames(5, 5)
    settled(e)
    assert.same({ "Q1", "Q3", "Q4", "Q5", "Q6" }, out:ids())
    assert.equal(1, out_of(e).parked)
    local _, doc = s:json("show", "in/2")
    assert.truthy(doc:find("wrong ward", 1, true))
    local status, _, err = s:run("step", "in/out")
    assert.equal(1, status)
    assert.truthy(err:find("not held", 1, true))
    status, _, err = s:run("skip", "in/out", "--reason", "x")
    assert.equal(1, status)
    assert.truthy(err:find("nothing queued", 1, true))
  end)

  it("skips a message that is on the wire; its late reply is nobody's", function()
    local out = net.receiver { answer = function(text)
      if net.field(text, "MSH", 10) == "K1" then return { text = net.ack(text), after = 0.3 } end
      return net.ack(text)
    end }
    local e, conn, s = begin(out.port)
    traffic.send_all(conn, { "K1", "K2" })
    out:run_for_frames(1, 5)
    assert.equal(0, (s:run("skip", "in/out", "--reason", "stuck")))
    out:run_for_frames(2, 5)
    out:run_for(0.4)
    settled(e)
    assert.same({ "K1", "K2" }, out:ids())
    assert.same({ 1, 1 }, { out_of(e).sent, out_of(e).parked })
  end)

  it("resend, to one destination, and through the script again", function()
    local a, b = net.receiver {}, net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = two(port, a.port, b.port,
      'transform = function(msg) msg["PID-5.1"] = "ONE" end,') }
    local e = s:start()
    local conn = net.connect(port)
    traffic.send_all(conn, { "X1", "X2" })
    a:run_for_frames(2, 5)
    b:run_for_frames(2, 5)
    assert.equal(0, (s:run("resend", "in/1")))
    a:run_for_frames(3, 5)
    b:run_for_frames(3, 5)
    assert.equal(a.frames[1].text, a.frames[3].text)
    assert.equal(0, (s:run("resend", "in/2", "--dest", "other")))
    b:run_for_frames(4, 5)
    a:run_for(0.2)
    assert.same({ "X1", "X2", "X1" }, a:ids())
    assert.same({ "X1", "X2", "X1", "X2" }, b:ids())
    s:write("channels/in.lua", (s:read("channels/in.lua"):gsub('"ONE"', '"TWO"')))
    assert.equal(0, (s:run("reload", "in")))
    assert.equal(0, (s:run("resend", "in/1")))
    a:run_for_frames(4, 5)
    assert.equal("ONE^Anna", net.field(a.frames[4].text, "PID", 5))
    assert.equal(0, (s:run("resend", "in/1", "--reprocess")))
    a:run_for_frames(5, 5)
    assert.equal("TWO^Anna", net.field(a.frames[5].text, "PID", 5))
    for _, bad in ipairs { { "in/999" }, { "in/1", "--dest", "nobody" }, { "none/1" } } do
      local status, _, err = s:run("resend", unpack(bad))
      assert.equal(1, status)
      assert.truthy(#err > 10)
    end
    site.wait_until(function() return e:channel("in").pending == 0 end, 5, "all processed")
    e:stop()
  end)

  it("refuses to resend to a destination that had no output of it", function()
    local a, b = net.receiver {}, net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, a.port, { dest = ([[}, other =
      mllp.send { host = "127.0.0.1", port = %d, filter = function() return false, "not for you" end ]])
      :format(b.port) }) }
    s:start()
    traffic.send_all(net.connect(port), { "N1" })
    a:run_for_frames(1, 5)
    local status, _, err = s:run("resend", "in/1", "--dest", "other")
    assert.equal(1, status)
    assert.truthy(err:find("--reprocess", 1, true), err)
  end)

  it("a refused output leaves the list of parked ones when it is resent and accepted", function()
    local good = false
    local out = net.receiver { answer = function(text) return net.ack(text, good and "AA" or "AE") end }
    local e, conn, s = begin(out.port)
    traffic.send_all(conn, { "K1" })
    out:run_for_frames(1, 5)
    site.wait_until(function() return out_of(e).parked == 1 end, 5, "parking")
    good = true
    assert.equal(0, (s:run("resend", "in/1")))
    out:run_for_frames(2, 5)
    site.wait_until(function() return out_of(e).sent == 1 end, 5, "delivery")
    assert.same({}, s:json_lines("messages", "in", "--state", "parked"))
    assert.equal(0, out_of(e).parked)
  end)

  it("by the name localhost; a name that nobody knows harms nobody", function()
    local out = net.receiver {}
    local port = net.free_port()
    local text = two(port, out.port, 1):gsub('host = "127.0.0.1"', 'host = "localhost"', 1)
      :gsub('host = "127.0.0.1", port = 1', 'host = "no-such-host.invalid", port = 1')
    local s = site.new { ["channels/in.lua"] = text }
    local e = s:start()
    traffic.send_all(net.connect(port), traffic.ids("N", 50))
    out:run_for_frames(50, 10)
    settled(e)
    site.wait_until(function()
      return e:channel("in").dest.other.last_error:find("no-such-host.invalid", 1, true)
    end, 30, "last_error")
    assert.equal(50, e:channel("in").dest.other.queued)
    assert.equal(0, e:stop())
  end)

  it("5,000 wait for a receiver that is down, over a restart, in bounded memory", function()
    local out_port = net.free_port()
    local e, conn, s, port = begin(out_port)
    local ids = traffic.ids("M", 5000)
    local more = ("OBX|1|TX|N^N||" .. ("x"):rep(4000) .. "\r")
    traffic.send_all(conn, ids, { more = more })
    site.wait_until(function() return out_of(e).queued == 5000 end, 30, "the queue")
    local rss = proc.proc_status(e.pid, "RssAnon") or 0
    io.stderr:write(("## hub with 5,000 messages of 4 KB queued: %d KB anonymous, %d KB resident\n")
      :format(rss, proc.proc_status(e.pid, "VmRSS")))
    if (os.getenv "MODE" or "release") == "release" then
      assert.truthy(rss < 40000, rss .. " KB") -- the messages are 20 MB, and stand in many records
    end
    assert.equal(0, e:stop())
    e = s:start()
    local out = net.receiver { port = out_port }
    out:run_for_frames(2000, 30)
    e:kill9()
    e = s:start()
    traffic.send_all(net.connect(port), { "LAST" })
    ids[5001] = "LAST"
    out:run_until(function() return last_of(out) == "LAST" end, 30, "the last")
    assert.same(ids, first_times(out:ids()))
    assert.truthy(#out.frames <= 5001 + 65, #out.frames .. " frames")
    settled(e)
    assert.equal(0, e:stop())
  end)

  it("reads on past thousands that were not for a destination", function()
    local a_port, b_port = net.free_port(), net.free_port()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, a_port, { dest = ([[}, rare =
      mllp.send { host = "127.0.0.1", port = %d, retry = { first = 0.05, max = 0.1 },
        filter = function(msg) return msg.control_id:match "000$" ~= nil, "common" end ]])
      :format(b_port) }) }
    local e = s:start()
    local conn = net.connect(port)
    -- A queue beyond what memory holds, for `rare` as well, then a long stretch without any for it.
    traffic.send_all(conn, traffic.ids("Z", 9000))
    site.wait_until(function() return e:channel("in").processed == 9000 end, 30, "the script")
    assert.equal(0, e:stop())
    e = s:start()
    local b = net.receiver { port = b_port }
    b:run_for_frames(9, 20)
    assert.same({ "Z1000", "Z2000", "Z3000", "Z4000", "Z5000", "Z6000", "Z7000", "Z8000", "Z9000" }, b:ids())
    traffic.send_all(net.connect(port), { "Y1", "Y000" })
    b:run_for_frames(10, 10)
    local a = net.receiver { port = a_port }
    a:run_for_frames(9002, 60)
    assert.equal("Y000", a:ids()[9002])
    assert.equal(0, e:channel("in").dest.rare.queued)
    assert.equal(0, e:stop())
  end)
end)
