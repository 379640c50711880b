-- What goes out that no answer names, or that asks for none; and what of it is counted as an error.
-- Guards: nothing of this holds up a queue for ever or is sent again and again, nothing is lost.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
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

local function settled(e)
  site.wait_until(function() return out_of(e).queued == 0 end, 10, "an empty queue")
end

local function last_of(r)
  local f = r.frames[#r.frames]
  return f and net.field(f.text, "MSH", 10)
end

describe("e2e/unasked: what has no answer of its own", function()
  after_each(site.cleanup)

  -- Guards: "" went out as an empty frame, which receivers do not answer: the queue stood still.
  it("an empty string from a transform parks the message, and the queue goes on", function()
    local out = net.receiver()
    local e, conn, s = begin(out.port, { top = [[transform = function(msg)
      if msg.control_id == "S1" then return "" end
      if msg.control_id == "S2" then return { "", msg } end
    end,]] })
    traffic.send_all(conn, { "S1", "S2", "S3" })
    out:run_for_frames(1, 5)
    settled(e)
    assert.same({ "S3" }, out:ids())
    local c = e:channel "in"
    assert.same({ 2, 2, 1 }, { c.errors, c.parked, c.processed })
    site.has(site.must(s, "show", "in/1"), "returned an empty string: return nil to send the message as it is")
  end)

  -- Guards: a receiver that answers a message without MSH-10 with an id of its own was not believed.
  it("a message without a control id takes the answer that comes, not the former message's second one", function()
    local out = net.receiver { answer = function(text)
      if text:find("|U0|", 1, true) then
        return { raw = net.frame(net.ack(text)) .. net.frame(net.ack(text, "AE")) }
      end
      return net.ack((text:gsub("||P|", "|1|P|"))) -- MSA-2 is 1
    end }
    local e, conn = begin(out.port, { top = [[transform = function(msg)
      if msg.control_id ~= "U0" then msg["MSH-10"] = nil end
    end,]], dest = "timeout = 1" })
    traffic.send_all(conn, { "U0", "U1", "U2" })
    out:run_for_frames(3, 5)
    settled(e)
    assert.same({ 3, 0, 0 }, { out_of(e).sent, out_of(e).parked, out_of(e).retries })
    assert.equal(3, #out.frames)
  end)

  local enhanced = 'ack_mode = "enhanced"'

  local function unasked(id, accept, application)
    return net.frame((traffic.adt(id):gsub("|P|2.5.1", "|P|2.5.1|||" .. accept .. "|" .. application)))
  end

  -- Guards: a receiver that hangs, and answers else, lost what was counted as sent.
  it("a message that asks for no answer is sent again until one comes, in original mode", function()
    local n = 0
    local out = net.receiver { answer = function(text)
      n = n + 1
      if n > 2 then return net.ack(text) end
    end }
    local e, conn = begin(out.port, { dest = "timeout = 0.3" })
    assert(conn:send(unasked("N1", "NE", "NE") .. unasked("N2", "NE", "")))
    out:run_until(function() return last_of(out) == "N2" end, 10, "the second")
    settled(e)
    assert.same({ "N1", "N1", "N1", "N2" }, out:ids())
    assert.same({ 2, 2 }, { out_of(e).sent, out_of(e).retries })
  end)

  -- Guards: the answer to an error was waited for as little as one that nobody gives.
  it("the late answer of an error counts, in enhanced mode, and another's does not hurt the next", function()
    local waiting = {}
    local out = net.receiver { answer = function(text, conn)
      local id = net.field(text, "MSH", 10)
      if id == "E2" then waiting[#waiting + 1] = { conn = conn, raw = net.frame(net.ack(text, "AE")) } end
      if id == "L1" then waiting[#waiting + 1] = { conn = conn, raw = net.frame(net.ack(text)) } end
    end }
    local e, conn = begin(out.port, { dest = 'timeout = 1, ack_mode = "enhanced"' })
    assert(conn:send(unasked("E1", "ER", "NE") .. unasked("E2", "ER", "NE")))
    out:run_until(function() return #waiting == 1 end, 10, "the second")
    local later = sys.now() + 0.4
    out:run_until(function() return sys.now() > later end)
    out.frames[#out.frames].conn:send(waiting[1].raw)
    out:run_until(function() return out_of(e).parked == 1 end, 5, "the error")
    assert.same({ 1, 1, 0 }, { out_of(e).sent, out_of(e).parked, out_of(e).retries })
    assert(conn:send(unasked("L1", "NE", "NE") .. unasked("L2", "NE", "NE")))
    out:run_until(function() return last_of(out) == "L2" end, 5, "the last")
    out.frames[#out.frames].conn:send(waiting[2].raw) -- of the one before
    settled(e)
    assert.same({ "E1", "E2", "L1", "L2" }, out:ids())
    assert.same({ 3, 0 }, { out_of(e).sent, out_of(e).retries })
  end)

  -- Guards: a receiver that gives no answer where none is asked for got the message for ever.
  it("a message that asks for no answer (MSH-15, MSH-16) is sent when none comes", function()
    local out = net.receiver { answer = function(text)
      if text:find("|END|", 1, true) then return net.ack(text) end
    end }
    local e, conn, s = begin(out.port, { source = enhanced, dest = enhanced .. ", timeout = 0.5" })
    for i = 1, 5 do assert(conn:send(unasked("N" .. i, "NE", "NE"))) end
    assert(conn:send(unasked("E1", "ER", "NE")))
    traffic.send_all(conn, { "END" })
    out:run_until(function() return last_of(out) == "END" end, 20, "the last message")
    settled(e)
    assert.same({ "N1", "N2", "N3", "N4", "N5", "E1", "END" }, out:ids())
    assert.same({ 7, 0, 0 }, { out_of(e).sent, out_of(e).parked, out_of(e).retries })
    site.has(site.must(s, "show", "in/1"), "MSH-15 and MSH-16 ask for none")
    assert.equal(1, out.accepted)
  end)

  it("... but not when the connection ends first, or where one is asked for", function()
    local tries = {}
    local out = net.receiver { answer = function(text)
      local id = net.field(text, "MSH", 10)
      tries[id] = (tries[id] or 0) + 1
      if tries[id] > 1 then return net.ack(text) end
      return id == "N1" and { close = true } or nil
    end }
    local e, conn = begin(out.port, { source = enhanced, dest = enhanced .. ", timeout = 0.3" })
    assert(conn:send(unasked("N1", "NE", "NE") .. unasked("N2", "AL", "NE") .. unasked("N3", "NE", "SU")))
    out:run_until(function() return last_of(out) == "N3" and tries.N3 == 2 end, 10, "second tries")
    settled(e)
    assert.same({ "N1", "N1", "N2", "N2", "N3", "N3" }, out:ids())
    assert.equal(3, out_of(e).sent)
  end)
end)

describe("e2e/unasked: numbers", function()
  after_each(site.cleanup)

  -- Guards: numbers of messages were strings in what step, skip, resend and settle answer.
  it("verbs answer with numbers of messages as messages and show have them", function()
    local code = "AE"
    local out = net.receiver { answer = function(text) return net.ack(text, code) end }
    local e, conn, s = begin(out.port)
    traffic.send_all(conn, { "V1" })
    out:run_for_frames(1, 5)
    site.wait_until(function() return out_of(e).parked == 1 end, 5, "parked")
    site.must(s, "hold", "in/out")
    assert.equal(2, s:json("resend", "in/1").seq)
    site.wait_until(function() return out_of(e).queued == 1 end, 5, "queued")
    local skipped = s:json("skip", "in/out", "--reason", "test")
    assert.same({ 2, "in/2" }, { skipped.skipped, skipped.message })
    assert.same({ ok = true, settled = 2 }, s:json("settle", "in/2", "--reason", "test"))
    code = "AA"
    traffic.send_all(conn, { "V3" })
    site.wait_until(function() return out_of(e).queued == 1 end, 5, "queued")
    local p = require("support.proc").spawn { (site.binary()), "-C", s.path, "step", "in/out", "--json" }
    out:run_until(function() return not p:running() end, 10, "the end of step")
    site.has(p:out(), '"seq":3,')
  end)

  -- Guards: what a destination's own function failed at was counted as processed, and answered AE.
  it("a message that failed for a destination is an error, once, and is sent to the others", function()
    local out = net.receiver()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = ([[
return channel {
  source = mllp.listen { port = %d },
  ack = "transform",
  filter = function(msg) return msg.control_id ~= "F1", "no" end,
  transform = function(msg) if msg.control_id == "T1" then error "no" end end,
  destinations = {
    a = mllp.send { host = "127.0.0.1", port = %d },
    b = mllp.send { host = "127.0.0.1", port = %d, transform = function(msg)
      if msg.control_id:find "^D" then error "no" end
    end },
    c = mllp.send { host = "127.0.0.1", port = %d, filter = function(msg)
      return msg.control_id:find "^D" and error "no"
    end },
  },
}]]):format(port, out.port, out.port, out.port) }
    local e = s:start()
    local conn = net.connect(port)
    for _, id in ipairs { "F1", "T1", "D1", "D2", "G1" } do
      local want = (id == "F1" or id == "G1") and "AA" or "AE"
      assert.equal(want, (traffic.exchange(conn, id)), id)
    end
    out:run_for_frames(4, 5)
    local function row()
      local c = e:channel "in"
      return { c.received, c.filtered, c.processed, c.errors, c.pending, c.parked, c.dest.a.sent,
        c.dest.b.parked, c.dest.c.parked }
    end
    site.wait_until(function() return e:channel("in").dest.a.sent == 3 end, 5, "three to be sent")
    assert.same({ 5, 1, 1, 3, 0, 1, 3, 2, 2 }, row())
    e:kill9()
    e = s:start()
    assert.same({ 5, 1, 1, 3, 0, 1, 3, 2, 2 }, row())
    site.has(site.must(s, "metrics"), 'lunate_messages_errored_total{channel="in"} 3')
    e:stop()
    site.must(s, "verify")
  end)
end)
