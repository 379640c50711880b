-- Acknowledgements on the wire, against a running engine: what is answered when, and to what. Guards:
-- never silence on a readable frame, never an AA built from garbage, replies in order, and every odd
-- thing that senders are known to do.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local traffic = require "support.traffic"

local VT, FS, CR = "\11", "\28", "\r"

-- An engine with one channel `in` on a free port and a connection to it. o as for traffic.channel,
-- and out: a receiver's port.
local function begin(o)
  o = o or {}
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, o.out, o) }
  local e = s:start()
  return e, net.connect(port), port, s
end

local function ask(conn, text, timeout)
  local reply, why = net.exchange(conn, text, timeout)
  return assert(reply, why)
end

local function msa(reply)
  return net.field(reply, "MSA", 1), net.field(reply, "MSA", 2)
end

local function deviations(e)
  return e:channel("in").peers[1].deviations
end

describe("e2e/ack: what an acknowledgement says", function()
  after_each(site.cleanup)

  it("swaps the parties, keeps processing id and version, and has an id of its own", function()
    local _, conn = begin()
    local reply = ask(conn, traffic.adt "A1")
    local want = { [3] = "LAB", [4] = "CITY", [5] = "EHR", [6] = "HOSP", [9] = "ACK^A01^ACK",
      [11] = "P", [12] = "2.5.1" }
    for n, v in pairs(want) do assert.equal(v, net.field(reply, "MSH", n), "MSH-" .. n) end
    assert.same({ "AA", "A1" }, { msa(reply) })
    assert.truthy(net.field(reply, "MSH", 7):match "^%d%d%d%d%d%d%d%d%d%d%d%d%d%d")
    assert.not_equal("A1", net.field(reply, "MSH", 10))
  end)

  it("never uses a control id twice, not over a restart either", function()
    local e, conn, port, s = begin()
    local seen = {}
    for round = 1, 2 do
      for n = 1, 200 do
        local id = net.field(ask(conn, traffic.adt("U" .. n)), "MSH", 10)
        assert.is_nil(seen[id], id)
        assert.truthy(id:match "^%w+$" and #id <= 20, id)
        seen[id] = true
      end
      if round == 1 then
        assert.equal(0, e:stop())
        e = s:start()
        conn = net.connect(port)
      end
    end
    e:stop()
  end)

  it("echoes MSH-10 byte for byte, delimiters, escapes and odd bytes too", function()
    local _, conn = begin()
    for _, id in ipairs { "a^b&c~d", "x\\F\\y", "\195\164\252", " lead", ("9"):rep(300), '""' } do
      local reply = ask(conn, "MSH|^~\\&|A|B|C|D|2026||ADT^A01|" .. id .. "|P|2.3\rPID|1\r")
      assert.same({ "AA", id }, { msa(reply) })
    end
  end)

  it("answers in the sender's delimiters", function()
    local _, conn = begin()
    local reply = ask(conn, "MSH^~|\\&^VISTA^ALB^LAB^X^2026^^ADT~A01^V1^P^2.3\rPID^1\r")
    assert.equal("MSH^~|\\&^", reply:sub(1, 9))
    assert.equal("V1", net.field(reply, "MSA", 2))
    assert.equal("ACK~A01", net.field(reply, "MSH", 9):sub(1, 7))
  end)

  it("takes MSH-2 of 1 to 5 characters", function()
    local _, conn = begin()
    for i, enc in ipairs { "^", "^~", "^~\\", "^~\\&", "^~\\&#" } do
      local reply = ask(conn, "MSH|" .. enc .. "|A|B|C|D|2026||ADT^A01|E" .. i .. "|P|2.5\rPID|1\r")
      assert.same({ "AA", "E" .. i }, { msa(reply) }, enc)
      assert.equal(enc, net.field(reply, "MSH", 2))
    end
  end)

  it("takes CR, LF and CRLF at the ends of segments", function()
    local e, conn = begin()
    for i, nl in ipairs { "\r", "\n", "\r\n" } do
      local reply = ask(conn, (traffic.adt("N" .. i):gsub("\r", nl)))
      assert.same({ "AA", "N" .. i }, { msa(reply) })
      assert.is_nil(reply:find("\n", 1, true))
    end
    site.wait_until(function() return e:channel("in").processed == 3 end, 5, "all processed")
  end)

  it("answers header fields that hold only separators", function()
    local e, conn = begin()
    for i, n in ipairs { 3, 4, 5, 6, 7, 8, 11, 12 } do
      local f = { "MSH", "^~\\&", "A", "B", "C", "D", "2026", "", "ADT^A01", "S" .. i, "P", "2.5" }
      f[n] = "^^"
      local reply = ask(conn, table.concat(f, "|") .. "\rPID|1\r")
      assert.same({ "AA", "S" .. i }, { msa(reply) }, "MSH-" .. n)
    end
    local reply = ask(conn, "MSH|^~\\&|A|B|C|D|2026||ADT^A01|^^|P|2.5\r")
    assert.same({ "AA", "^^" }, { msa(reply) })
    site.wait_until(function() return e:channel("in").processed == 9 end, 5, "all processed")
  end)

  it("answers without MSH-10, MSH-9 or MSH-12", function()
    local _, conn = begin()
    local reply = ask(conn, "MSH|^~\\&|A|B|C|D|2026||ADT^A01||P|2.5\rPID|1\r")
    assert.equal("AA", (msa(reply)))
    assert.truthy((net.field(reply, "MSA", 2) or "") == "")
    reply = ask(conn, "MSH|^~\\&|A|B|C|D|2026|||X1|P|2.5\r")
    assert.same({ "AA", "X1" }, { msa(reply) })
    assert.equal("ACK", net.field(reply, "MSH", 9))
    assert.same({ "AA", "X2" }, { msa(ask(conn, "MSH|^~\\&|A|B|C|D|2026||ADT^A01|X2\r")) })
    assert.equal("AA", (msa(ask(conn, "MSH|^~\\&\r"))))
    assert.equal("AA", (msa(ask(conn, "MSH|^~\\&|"))))
  end)

  it("says AR to what is not HL7, keeps it, and goes on", function()
    local e, conn, _, s = begin()
    local junk = { "hello world", "MSH", "MSH|", "", "<xml/>", "PID|1||X", ("x"):rep(100000), "\0\1\2" }
    for i, text in ipairs(junk) do
      local reply = ask(conn, text)
      local code, id = msa(reply)
      assert.equal("AR", code, text:sub(1, 20))
      assert.truthy(id == nil or id == "")
      assert.equal("MSH|^~\\&|", reply:sub(1, 9))
      assert.equal("AA", (msa(ask(conn, traffic.adt("J" .. i)))))
    end
    site.wait_until(function() return e:channel("in").rejected == #junk end, 5, "the counts")
    local list = s:json_lines("messages", "in", "--state", "rejected")
    assert.equal(#junk, #list)
    local by_seq = {}
    for _, m in ipairs(list) do by_seq[m.seq] = m end
    for i, text in ipairs(junk) do
      local seq = 2 * i - 1
      assert.truthy(by_seq[seq], seq)
      local shown = s:json("show", "in/" .. seq)
      assert.equal("rejected", shown.state)
      if #text < 100 and text ~= "\0\1\2" then assert.equal(text, shown.raw) end
    end
    assert.equal(#junk, e:channel("in").processed)
    assert.equal(0, e:channel("in").parked)
  end)

  it("answers a batch in one frame with a batch", function()
    local e, conn = begin()
    local one = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|%s|P|2.5\rPID|1\r"
    local reply = ask(conn, "BHS|^~\\&|A|B|C|D|2026||||BATCH7\r" .. one:format "B1" .. one:format "B2" ..
      "BTS|2\r")
    assert.equal("BHS|", reply:sub(1, 4))
    local ids = {}
    for code, id in reply:gmatch "\rMSA|(%u%u)|([^|\r]*)" do ids[#ids + 1] = code .. " " .. id end
    assert.same({ "AA B1", "AA B2" }, ids)
    assert.truthy(reply:match "\rBTS|2")
    reply = ask(conn, "FHS|^~\\&|A\rBHS|^~\\&|A\r" .. one:format "B3" .. "BTS|1\rFTS|1\r")
    assert.equal("FHS|", reply:sub(1, 4))
    assert.truthy(reply:match "\rMSA|AA|B3")
    site.wait_until(function() return e:channel("in").processed == 3 end, 5, "each on its own")
    -- Messages one after another without a batch header: each has its acknowledgement too.
    reply = ask(conn, one:format "B4" .. one:format "B5")
    assert.truthy(reply:match "\rMSA|AA|B4" and reply:match "\rMSA|AA|B5")
  end)

  it("takes a batch without messages, which is legal; refuses one whose messages are missing", function()
    local e, conn = begin()
    for _, text in ipairs { "BHS|^~\\&|A|B|C|D|2026||||EMPTY\rBTS|0\r",
      "FHS|^~\\&|A|B|C|D|2026||||EMPTY\rBHS|^~\\&\rBTS|0\rFTS|1\r" } do
      assert.same({ "AA", "EMPTY" }, { msa(ask(conn, text)) })
    end
    for _, text in ipairs { "BHS|^~\\&|A|B|C|D|2026||||CUT\rBTS|2\r", "BHS|^~\\&|A|B|C|D|2026||||CUT\r",
      "BHS|^~\\&|A|B|C|D|2026||||CUT\rPID|1\rBTS|0\r" } do
      assert.same({ "AR", "CUT" }, { msa(ask(conn, text)) })
    end
    site.wait_until(function() return e:channel("in").rejected == 3 end, 5, "the count")
    local c = e:channel "in"
    assert.same({ 5, 2, 0 }, { c.received, c.filtered, c.pending })
    local _, shown = e.site:run("show", "in/1")
    assert.truthy(shown:find "filtered: a batch without messages", shown)
    assert.is_nil(shown:find("not HL7", 1, true), shown)
    assert.truthy(select(2, e.site:run("show", "in/3")):find ", not HL7\n")
  end)
end)

describe("e2e/ack: when it is sent", function()
  after_each(site.cleanup)

  local failing = [[transform = function(msg)
    if msg["PID-5.1"] == "Bad" then error "no such ward" end
  end,]]

  it("commit: AA whatever the script says", function()
    local e, conn = begin { top = failing }
    assert.equal("AA", traffic.exchange(conn, "C1", { name = "Bad" }))
    site.wait_until(function() return e:channel("in").parked == 1 end, 5, "parking")
  end)

  it("transform: AE with ERR for a script error, AA for the rest and for what is filtered", function()
    local e, conn, _, s = begin { top = 'ack = "transform",' .. failing ..
      'filter = function(msg) return msg["PID-5.1"] ~= "Nobody", "nobody" end,' }
    assert.equal("AA", traffic.exchange(conn, "T1"))
    local code, reply = traffic.exchange(conn, "T2", { name = "Bad" })
    assert.equal("AE", code)
    assert.equal("E", net.field(reply, "ERR", 4))
    assert.truthy(reply:find("channels/in.lua", 1, true), reply)
    assert.is_nil(reply:find("no such ward", 1, true)) -- an error's text may hold content
    assert.equal("AA", traffic.exchange(conn, "T3", { name = "Nobody" }))
    code, reply = traffic.exchange(conn, "T4", { name = "Bad", version = "2.3" })
    assert.equal("AE", code)
    assert.truthy(net.field(reply, "ERR", 1))
    local c = e:channel "in"
    assert.same({ 4, 1, 1, 2 }, { c.received, c.processed, c.filtered, c.errors })
    assert.equal("AE", s:json("show", "in/2").result.ack)
  end)

  it("transform: a script that never ends is answered AE in the end", function()
    local _, conn = begin { top = [[ack = "transform", limits = { seconds = 0.2, attempts = 2 },
      transform = function(msg) while msg["PID-5.1"] == "Bad" do end end,]] }
    assert.equal("AE", traffic.exchange(conn, "L1", { name = "Bad", timeout = sys.patience(10) }))
    assert.equal("AA", traffic.exchange(conn, "L2"))
  end)

  it("transform: halts with an AE under on_error = stop", function()
    local e, conn = begin { top = 'ack = "transform", on_error = "stop",' .. failing }
    assert.equal("AE", traffic.exchange(conn, "S1", { name = "Bad" }))
    assert.equal("paused", e:channel("in").state)
  end)

  it("delivery: waits for the receiver, AE when it refuses", function()
    local out = net.receiver { answer = function(text)
      return net.ack(text, net.field(text, "MSH", 10) == "D2" and "AE" or "AA")
    end }
    local e, conn = begin { out = out.port, top = 'ack = "delivery",' }
    for id, code in pairs { D1 = "AA", D2 = "AE", D3 = "AA" } do
      conn:send(net.frame(traffic.adt(id)))
      local before = #out.frames
      assert.is_nil((conn:recv_frame(0.1)))
      out:run_for_frames(before + 1, 5)
      assert.same({ code, id }, { msa(assert(conn:recv_frame(5))) })
    end
    assert.equal(1, e:channel("in").dest.out.parked)
  end)

  it("delivery: two destinations, answered after the last", function()
    local a, b = net.receiver {}, net.receiver {}
    local e, conn = begin { out = a.port, top = 'ack = "delivery",',
      dest = ([[},  second = mllp.send { port = %d, host = "127.0.0.1" ]]):format(b.port) }
    conn:send(net.frame(traffic.adt "D1"))
    a:run_for_frames(1, 5)
    assert.is_nil((conn:recv_frame(0.1)))
    b:run_for_frames(1, 5)
    assert.same({ "AA", "D1" }, { msa(assert(conn:recv_frame(5))) })
    e:stop()
  end)

  -- It was AA, under ack = "delivery" even when nothing at all had been delivered.
  it("transform, delivery: AE when a destination's own functions fail", function()
    for _, ack in ipairs { "transform", "delivery" } do
      local a, b = net.receiver {}, net.receiver {}
      local e, conn = begin { out = a.port, top = ('ack = "%s",'):format(ack),
        dest = ([[filter = function(msg) if msg["PID-5.1"] == "Bad" then error "no such ward" end return true end },
        second = mllp.send { port = %d, host = "127.0.0.1",
          transform = function(msg) if msg["PID-5.1"] ~= "Good" then error "no such bed" end end]]):format(b.port) }
      local one = function(id, name)
        conn:send(net.frame(traffic.adt(id, { name = name })))
        if name ~= "Bad" then a:run_for_frames(#a.frames + 1, 5) end
        if name == "Good" then b:run_for_frames(#b.frames + 1, 5) end
        return assert(conn:recv_frame(5))
      end
      assert.same({ "AA", "P1" }, { msa(one("P1", "Good")) })
      local reply = one("P2", "Half")
      assert.same({ "AE", "P2" }, { msa(reply) })
      assert.equal("message 2 of in is parked for destination second", net.field(reply, "MSA", 3))
      assert.is_nil(reply:find("no such", 1, true))
      assert.equal("E", net.field(reply, "ERR", 4))
      assert.same({ "AE", "P3" }, { msa(one("P3", "Bad")) })
      local d = e:channel("in").dest
      assert.same({ 2, 1, 1, 2 }, { d.out.sent, d.out.parked, d.second.sent, d.second.parked })
      assert.equal(0, e:stop())
    end
  end)

  it("none: no reply, and all is kept", function()
    local e, conn = begin { top = 'ack = "none",' }
    for n = 1, 5 do conn:send(net.frame(traffic.adt("Q" .. n))) end
    site.wait_until(function() return e:channel("in").processed == 5 end, 5, "all processed")
    assert.same({ nil, "timeout" }, { (conn:recv_frame(0.1)), (select(2, conn:recv_frame(0))) })
  end)

  it("keeps the order of pipelined frames, whatever takes longest", function()
    local _, conn = begin { top = [[ack = "transform", transform = function(msg)
      if msg.control_id:match "0$" then local t = os.clock() + 0.02 repeat until os.clock() > t end
    end,]] }
    traffic.send_all(conn, traffic.ids("P", 200))
  end)

  it("keeps the order of refusals among acceptances", function()
    local _, conn = begin()
    local parts = {}
    for n = 1, 20 do
      parts[#parts + 1] = net.frame(traffic.adt("R" .. n)) .. net.frame "rubbish"
    end
    conn:send(table.concat(parts))
    for n = 1, 20 do
      assert.same({ "AA", "R" .. n }, { msa(assert(conn:recv_frame(5))) })
      assert.equal("AR", (msa(assert(conn:recv_frame(5)))))
    end
  end)
end)

describe("e2e/ack: framing", function()
  after_each(site.cleanup)

  it("takes one frame byte by byte", function()
    local _, conn = begin()
    for c in net.frame(traffic.adt "SLOW"):gmatch "." do assert(conn:send(c)) end
    assert.same({ "AA", "SLOW" }, { msa(assert(conn:recv_frame(5))) })
  end)

  it("takes two frames in one write, and one and a half", function()
    local _, conn = begin()
    local half = net.frame(traffic.adt "W3")
    conn:send(net.frame(traffic.adt "W1") .. net.frame(traffic.adt "W2") .. half:sub(1, 40))
    assert.equal("W1", net.field(assert(conn:recv_frame(5)), "MSA", 2))
    assert.equal("W2", net.field(assert(conn:recv_frame(5)), "MSA", 2))
    conn:send(half:sub(41))
    assert.equal("W3", net.field(assert(conn:recv_frame(5)), "MSA", 2))
  end)

  it("takes FS without CR: after a moment, before the next frame, at the end", function()
    local e, conn, port = begin()
    conn:send(VT .. traffic.adt "F1" .. FS)
    assert.equal("F1", net.field(assert(conn:recv_frame(5)), "MSA", 2))
    conn:send(VT .. traffic.adt "F2" .. FS .. VT .. traffic.adt "F3" .. FS .. CR)
    assert.equal("F2", net.field(assert(conn:recv_frame(5)), "MSA", 2))
    assert.equal("F3", net.field(assert(conn:recv_frame(5)), "MSA", 2))
    local other = net.connect(port)
    other:send(VT .. traffic.adt "F4" .. FS)
    other:shutdown()
    assert.equal("F4", net.field(assert(other:recv_frame(5)), "MSA", 2))
    assert.truthy(deviations(e).no_cr >= 3)
  end)

  it("takes FS and a second VT inside a frame, and bytes between frames", function()
    local e, conn = begin()
    conn:send("garbage\r\n" .. net.frame(traffic.adt("I1", { name = "A" .. FS .. "B" })))
    assert.same({ "AA", "I1" }, { msa(assert(conn:recv_frame(5))) })
    conn:send(net.frame(traffic.adt("I2", { name = "A" .. VT .. "B" })) .. "\r\n\0")
    assert.same({ "AA", "I2" }, { msa(assert(conn:recv_frame(5))) })
    local d = deviations(e)
    assert.truthy(d.fs_inside and d.vt_inside and d.junk)
    assert.truthy(e:log():find("deviation=vt_inside", 1, true))
    site.wait_until(function() return e:channel("in").processed == 2 end, 10, "both to be processed")
  end)

  it("answers a client that half-closes and waits", function()
    local _, conn = begin { top = [[ack = "transform", transform = function()
      local t = os.clock() + 0.2 repeat until os.clock() > t end,]] }
    conn:send(net.frame(traffic.adt "H1") .. net.frame(traffic.adt "H2"))
    conn:shutdown()
    assert.same({ "AA", "H1" }, { msa(assert(conn:recv_frame(5))) })
    assert.same({ "AA", "H2" }, { msa(assert(conn:recv_frame(5))) })
    assert.same({ "", "closed" }, { conn:recv_all(5) })
  end)

  it("does not keep connections of senders that went away without their reply", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port(),
      { top = 'ack = "delivery",', source = "max_connections = 3" }) }
    local e = s:start()
    for n = 1, 10 do -- the receiver is down: each gives up, closes, and comes again
      local conn = net.connect(port)
      conn:send(net.frame(traffic.adt("G" .. n)))
      site.wait_until(function() return e:channel("in").received == n end, 5, "receipt")
      assert.is_nil((conn:recv_frame(0)))
      conn:close()
    end
    assert.equal(10, e:channel("in").received)
    assert.truthy(e:channel("in").connections <= 3)
  end)

  it("does not call connect-and-close an error", function()
    local e, _, port = begin()
    for n = 1, 50 do
      local probe = net.connect(port)
      if n % 2 == 0 then probe:close() else probe:reset() end
    end
    site.wait_until(function() return e:channel("in").connections == 1 end, 5, "the probes' end")
    assert.is_nil(e:log():find("level=error", 1, true))
    assert.is_nil(e:log():find("level=warn", 1, true))
    assert.equal(0, e:channel("in").received)
  end)

  it("keeps nothing of a frame that is cut off", function()
    local e, _, port = begin()
    local cut = net.connect(port)
    cut:send(VT .. traffic.adt "CUT")
    cut:close()
    site.wait_until(function() return e:log():find("event=cut_off", 1, true) or
      e:log():find("cut_off", 1, true) end, 5, "the line in the log")
    assert.equal(0, e:channel("in").received)
  end)

  it("answers AR to an oversized frame and closes, and the reply arrives", function()
    local e, _, port = begin { source = "max_message = 10000" }
    for n = 1, 5 do
      local conn = net.connect(port)
      -- All of it is sent, as simple clients do, before the reply is read.
      local ok, why = conn:send(net.frame(traffic.adt("BIG" .. n, { more = ("Z"):rep(2000000) })), 5)
      assert.truthy(ok, why)
      local reply = assert(conn:recv_frame(5))
      assert.same({ "AR", "BIG" .. n }, { msa(reply) })
      assert.same({ "", "closed" }, { conn:recv_all(5) })
    end
    assert.equal(0, e:channel("in").received)
    site.wait_until(function() return e:channel("in").connections == 1 end, 5, "their end")
  end)

  it("answers and logs connections over the limit, and takes one when there is room", function()
    local e, first, port = begin { source = "max_connections = 2" }
    local second = net.connect(port)
    assert.equal("AA", traffic.exchange(second, "L1"))
    for n = 1, 5 do
      local third = net.connect(port)
      third:send(net.frame(traffic.adt("L2" .. n)))
      local reply = assert(third:recv_frame(5))
      assert.equal("AR", (msa(reply)))
      assert.truthy(reply:find("too many connections", 1, true))
      assert.same({ "", "closed" }, { third:recv_all(5) })
    end
    assert.truthy(e:log():find("too_many_connections", 1, true))
    second:close()
    site.wait_until(function()
      local c = net.connect(port)
      local reply = net.exchange(c, traffic.adt "L3", 1)
      c:close()
      return reply and msa(reply) == "AA"
    end, 5, "room for another")
    assert.equal("AA", traffic.exchange(first, "L4"))
  end)

  it("takes only peers of the allow list", function()
    local e, conn, port = begin { source = 'host = "127.0.0.1", allow = { "127.0.0.2/32" }' }
    assert.same({ "", "closed" }, { conn:recv_all(5) })
    local friend = net.connect(port, { from = "127.0.0.2" })
    assert.equal("AA", traffic.exchange(friend, "OK"))
    assert.truthy(e:log():find("peer_not_allowed", 1, true))
  end)

  it("closes idle connections, not those that wait for their reply", function()
    local e, conn, port = begin { source = "idle_timeout = 1", top = [[ack = "transform",
      limits = { seconds = 10 }, transform = function(msg)
        if msg.control_id == "SLOW" then local t = os.clock() + 1.8 repeat until os.clock() > t end
      end,]] }
    local slow = net.connect(port)
    slow:send(net.frame(traffic.adt "SLOW"))
    assert.same({ "", "closed" }, { conn:recv_all(5) })
    assert.same({ "AA", "SLOW" }, { msa(assert(slow:recv_frame(10))) })
    sys.sleep(0.6) -- its second of idleness begins with the reply
    assert.equal("AA", traffic.exchange(slow, "NEXT"))
    assert.same({ "", "closed" }, { slow:recv_all(5) })
    assert.truthy(e:running())
  end)

  it("works over IPv6 and by the name localhost", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil, { source = 'host = "*"' }) }
    s:start()
    local six = net.connect(port, { host = "::1" })
    if six then assert.equal("AA", traffic.exchange(six, "SIX")) end
    assert.equal("AA", traffic.exchange(net.connect(port), "FOUR"))
  end)

  it("serves a client that sends on without reading", function()
    local e, conn = begin()
    local frame = net.frame(traffic.adt "FLOOD")
    local block = frame:rep(200)
    local sent = 0
    for _ = 1, 30 do
      local ok, _, part = conn:send(block, 1)
      sent = sent + (ok and #block or part)
      if not ok then break end
    end
    local replies, last = 0, sys.now()
    while replies < math.floor(sent / #frame) and sys.now() - last < 5 do
      if conn:recv_frame(1) then replies, last = replies + 1, sys.now() end
    end
    assert.equal(math.floor(sent / #frame), replies)
    assert.equal(replies, e:channel("in").received)
  end)
end)
