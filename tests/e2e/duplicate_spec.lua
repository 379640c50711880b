-- Duplicates: what a sender sends again because it has lost an acknowledgement is not processed
-- twice; what only looks like that always is. Guards against a second order, and against a lost one.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"

local function new(mode, o)
  o = o or {}
  local out = net.receiver { answer = o.answer }
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port, { top = o.top,
    source = ('duplicates = "%s", %s'):format(mode, o.source or "") }) }
  return s, s:start(), out, port
end

local function exchange(port, id, o)
  return (traffic.exchange(net.connect(port), id, o))
end

local function show(s, seq)
  local _, text = s:run("show", "in/" .. seq)
  return text
end

-- Waits until n messages have left, and nothing more is to come.
local function delivered(e, out, n)
  out:run_until(function()
    local c = e:channel "in"
    return c.pending == 0 and c.dest.out.queued == 0 and c.dest.out.sent == n
  end, 10, n .. " delivered")
  return out:ids()
end

describe("e2e/duplicate", function()
  after_each(site.cleanup)

  it("ack: acknowledged, kept, counted, told of, and not processed again", function()
    local s, e, out, port = new "ack"
    for _ = 1, 3 do assert.equal("AA", exchange(port, "M1")) end
    assert.equal("AA", exchange(port, "M2"))
    assert.same({ "M1", "M2" }, delivered(e, out, 2))
    local c = e:channel "in"
    assert.same({ 2, 0, 4, 2 }, { c.duplicates, c.reused_ids, c.received, c.filtered })
    assert.truthy(show(s, 3):find("the same as in/1", 1, true))
    assert.truthy(show(s, 3):find("filtered: duplicate of in/1: same sender, control id and content", 1, true))
    assert.equal(0, e:stop())
  end)

  it("ack: the same id with other content, or of another sender, is always processed", function()
    local s, e, out, port = new "ack"
    local conn = net.connect(port)
    local other = (traffic.adt("M1"):gsub("|EHR|", "|RIS|"))
    assert.equal("AA", exchange(port, "M1"))
    assert.equal("AA", exchange(port, "M1", { name = "Other^Person" }))
    assert.equal("AA", net.field(assert(net.exchange(conn, other)), "MSA", 1))
    assert.same({ "M1", "M1", "M1" }, delivered(e, out, 3))
    assert.same({ 0, 1 }, { e:channel("in").duplicates, e:channel("in").reused_ids })
    assert.truthy(show(s, 2):find("control id of in/1 used again for other content", 1, true))
    assert.equal(0, e:stop())
  end)

  it("ack: copies that come before the first is on disk, and after kill -9", function()
    local s, e, out, port = new "ack"
    local conn = net.connect(port)
    conn:send(net.frame(traffic.adt "P1"):rep(5) .. net.frame(traffic.adt "P2"):rep(5))
    for _ = 1, 10 do assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1)) end
    assert.same({ "P1", "P2" }, delivered(e, out, 2))
    assert.equal(8, e:channel("in").duplicates)
    e:kill9()
    e = s:start()
    assert.equal("AA", exchange(port, "P1"))
    assert.equal("AA", exchange(port, "P3"))
    assert.same({ "P1", "P2", "P3" }, delivered(e, out, 3))
    assert.equal(0, e:stop())
  end)

  it("ack: what was received and not processed when the engine was killed is processed once", function()
    local s, e, out, port = new "ack"
    s:run("pause", "in")
    assert.equal("AA", exchange(port, "K1"))
    assert.equal("AA", exchange(port, "K1"))
    e:kill9()
    e = s:start()
    assert.equal("AA", exchange(port, "K1"))
    s:run("resume", "in")
    assert.same({ "K1" }, delivered(e, out, 1))
    assert.equal(0, e:stop())
  end)

  it("ack: a message that failed or was refused is processed when it comes again", function()
    local refuse = true
    local _, e, out, port = new("ack", { top = [[ack = "transform",
      transform = function(msg) if msg["PID-5.1"] == "Bad" and kv.mended ~= "yes" then error "bad" end
        if msg["PID-5.1"] == "Mend" then kv.mended = "yes" end end,]],
      answer = function(text)
        return net.ack(text, refuse and net.field(text, "MSH", 10) == "R1" and "AE" or "AA")
      end })
    assert.equal("AE", exchange(port, "F1", { name = "Bad" }))
    assert.equal("AA", exchange(port, "F2", { name = "Mend" }))
    assert.equal("AA", exchange(port, "F1", { name = "Bad" }))
    assert.equal("AA", exchange(port, "R1"))
    assert.same({ "F2", "F1", "R1" }, (function()
      out:run_until(function() return e:channel("in").dest.out.parked == 1 end, 10, "the refusal")
      return out:ids()
    end)())
    refuse = false
    assert.equal("AA", exchange(port, "R1"))
    assert.same({ "F2", "F1", "R1", "R1" }, delivered(e, out, 3))
    assert.equal(0, e:stop())
  end)

  it("ack: only within the window", function()
    local _, e, out, port = new("ack", { source = "duplicate_window = 1," })
    exchange(port, "W1")
    require("support.sys").sleep(1.2)
    exchange(port, "W1")
    assert.same({ "W1", "W1" }, delivered(e, out, 2))
    assert.equal(0, e:stop())
  end)

  it("flag: processed, counted and told of; process: neither", function()
    local s, e, out, port = new "flag"
    exchange(port, "M1")
    exchange(port, "M1")
    assert.same({ "M1", "M1" }, delivered(e, out, 2))
    assert.equal(1, e:channel("in").duplicates)
    assert.truthy(show(s, 2):find("duplicate of in/1", 1, true))
    assert.equal(0, e:stop())
    s, e, out, port = new "process"
    exchange(port, "M1")
    exchange(port, "M1")
    assert.same({ "M1", "M1" }, delivered(e, out, 2))
    assert.equal(0, e:channel("in").duplicates)
    assert.is_nil(show(s, 2):find("duplicate", 1, true))
    assert.equal(0, e:stop())
  end)
end)
