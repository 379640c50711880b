-- Character sets over the wire: the policy of a source, what goes out to a destination, what is
-- answered. Guards: text is read as it was meant, nothing is sent garbled, the control id is found and
-- echoed whatever surrounds it.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"

local function begin(o)
  local port, out = net.free_port(), o.receive and net.receiver {} or nil
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, out and out.port, o) }
  local e = s:start()
  return net.connect(port), out, e
end

local function message(id, name, msh18, sender)
  return "MSH|^~\\&|" .. (sender or "A") .. "|B|C|D|2026||ADT^A01|" .. id .. "|P|2.5||||||"
    .. (msh18 or "") .. "\rPID|1||9^^^X||" .. name .. "|x\r"
end

local function through(o, text)
  o.receive = true
  local conn, out, e = begin(o)
  local reply = assert(net.exchange(conn, text))
  out:run_for_frames(1, 5)
  return out:texts()[1], reply, e
end

describe("e2e/charset", function()
  after_each(site.cleanup)

  local upper = 'transform = function(msg) msg["PID-5.2"] = msg["PID-5.1"]:gsub("ü", "Ü") end,'

  it("leaves bytes alone and writes in the message's own set", function()
    local got = through({ top = upper }, message("1", "M\252ller", "8859/1"))
    assert.equal(message("1", "M\252ller^M\220ller", "8859/1"), got)
  end)

  it("reads what names no set by the source's default, and sends the set a destination wants", function()
    local got = through({ top = upper, source = 'charset = { default = "8859/1" }',
      dest = 'charset = "UNICODE UTF-8"' }, message("1", "M\252ller"))
    assert.equal(message("1", "Müller^MÜller", "UNICODE UTF-8"), got)
  end)

  it("forces a set on what is named wrongly, and has the control id behind odd bytes", function()
    -- 0x83 0x7c in Shift JIS: a separator as second byte, in MSH-3
    local text = message("77", "\142\82\147\99", "8859/1", "\131\124")
    local got, reply = through({ source = 'charset = { force = "SHIFT_JIS" }',
      dest = 'charset = "UNICODE UTF-8"' }, text)
    assert.equal("AA", net.field(reply, "MSA", 1))
    assert.equal("77", net.field(reply, "MSA", 2))
    assert.equal(message("77", "山田", "UNICODE UTF-8", "ポ"), got)
  end)

  it("echoes the control id of a header in ISO 2022", function()
    local conn = begin {}
    local reply = assert(net.exchange(conn, message("88", "\27$B45<T\27(B", "~ISO IR87", "\27$B!|!|\27(B")))
    assert.equal("88", net.field(reply, "MSA", 2))
    assert.truthy(reply:find("\27$B!|!|\27(B", 1, true)) -- MSH-5 of the reply
  end)

  it("parks what a destination's set lacks; with a substitute it goes", function()
    local conn, out, e = begin { receive = true, dest = 'charset = "8859/1"' }
    assert.equal("AA", net.field(assert(net.exchange(conn, message("1", "€uro"))), "MSA", 1))
    site.wait_until(function() return e:channel("in").dest.out.parked + e:channel("in").errors > 0 end, 5,
      "it to be parked")
    assert.same({}, out:texts())
    assert.equal(message("1", "?uro", "8859/1"), (through({
      dest = 'charset = { force = "8859/1", substitute = "?" }' }, message("1", "€uro"))))
  end)

  it("answers a script's error in the sender's set", function()
    local conn = begin { top = 'ack = "transform", transform = function() error("Müller: €", 0) end,' }
    local reply = assert(net.exchange(conn, message("1", "M\252ller", "8859/1")))
    assert.equal("AE", net.field(reply, "MSA", 1))
    assert.is_nil(reply:find("\195\188", 1, true))
  end)

  it("refuses UTF-16 with a reason", function()
    local conn = begin {}
    local wide = message("1", "x", "UNICODE UTF-16"):gsub(".", "%0\0")
    local reply = assert(net.exchange(conn, "\255\254" .. wide))
    assert.equal("AR", net.field(reply, "MSA", 1))
    assert.truthy(reply:find("UTF-16", 1, true), reply)
  end)
end)
