-- One message, then many, through all six steps: received, stored, acknowledged, transformed,
-- stored, delivered. Guards promises 1, 3 and 5.
local site = require "support.site"
local net = require "support.net"

local function adt(id, name)
  return table.concat({
    "MSH|^~\\&|EHR|HOSP|LAB|HOSP|20261123120000||ADT^A01^ADT_A01|" .. id .. "|P|2.5.1",
    "EVN|A01|20261123120000",
    "PID|1||" .. id .. "9^^^HOSP^MR||" .. (name or "Muster^Anna") .. "||19700101|F",
    "PV1|1|I|WARD^1^2",
  }, "\r") .. "\r"
end

local function channel(port, out, more)
  return ([[
return channel {
  source = mllp.listen { port = %d },
  %s
  transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,
  destinations = {
    out = mllp.send { port = %d, host = "127.0.0.1", retry = { first = 0.05, max = 0.2 } },
  },
}]]):format(port, more or "", out)
end

describe("e2e/relay", function()
  after_each(site.cleanup)

  it("carries one message through and tells what happened", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = channel(port, out.port) }
    local e = s:start()
    local conn = net.connect(port)
    local reply = assert(net.exchange(conn, adt "M1"))
    assert.equal("AA", net.field(reply, "MSA", 1))
    assert.equal("M1", net.field(reply, "MSA", 2))
    assert.equal("ACK^A01^ACK", net.field(reply, "MSH", 9))
    out:run_for_frames(1, 5)
    assert.equal((adt("M1", "MUSTER^Anna")), out:texts()[1])
    site.wait_until(function() return e:channel "adt".dest.out.sent == 1 end, 5, "the count")
    local c = e:channel "adt"
    assert.same({ 1, 1, 0, 0, 0 },
      { c.received, c.processed, c.filtered, c.pending, c.dest.out.queued })
    assert.equal(0, e:stop())
  end)

  it("keeps the order of many messages over many connections and loses none", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = channel(port, out.port) }
    local e = s:start()
    local conns, want = {}, {}
    for i = 1, 8 do conns[i] = net.connect(port) end
    for n = 1, 50 do
      for i = 1, 8 do
        local id = ("C%d-%03d"):format(i, n)
        want[#want + 1] = id
        assert.equal("AA", net.field(assert(net.exchange(conns[i], adt(id))), "MSA", 1))
        out:step(0)
      end
    end
    out:run_for_frames(#want, 10)
    assert.same(want, out:ids())
    assert.equal(0, e:stop())
  end)

  it("delivers what was queued before a kill -9, in order, after the next start", function()
    local out_port = net.free_port()
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = channel(port, out_port) }
    local e = s:start()
    local conn, want = net.connect(port), {}
    for n = 1, 100 do
      want[n] = "K" .. n
      assert.equal("AA", net.field(assert(net.exchange(conn, adt(want[n]))), "MSA", 1))
    end
    e:kill9()
    local out = net.receiver { port = out_port }
    e = s:start()
    out:run_for_frames(100, 10)
    assert.same(want, out:ids())
    assert.equal(0, e:stop())
  end)

  it("answers filtered messages AA and says why later", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = channel(port, out.port,
      'filter = function(msg) return msg["PID-5.1"] ~= "Nobody", "nobody there" end,') }
    local e = s:start()
    local conn = net.connect(port)
    assert.equal("AA", net.field(assert(net.exchange(conn, adt("F1", "Nobody"))), "MSA", 1))
    site.wait_until(function() return e:channel "adt".filtered == 1 end, 5, "the filter")
    local shown = s:json("show", "adt/1")
    assert.equal("F1", shown.control_id)
    assert.equal(0, e:channel "adt".dest.out.queued)
    e:stop()
  end)

  it("hands over from channel to channel in one transaction", function()
    local port = net.free_port()
    local s = site.new {
      ["channels/first.lua"] = ([[
return channel {
  source = mllp.listen { port = %d },
  destinations = { copy = channel.to "second" },
}]]):format(port),
      ["channels/second.lua"] = [[return channel { source = channel.from "first" }]],
    }
    local e = s:start()
    local conn = net.connect(port)
    for n = 1, 20 do assert(net.exchange(conn, adt("H" .. n))) end
    site.wait_until(function() return e:channel "second".processed == 20 end, 5, "the hand-over")
    e:kill9()
    e = s:start()
    assert.equal(20, e:channel "second".received)
    e:stop()
  end)
end)
