-- Policies of a queue: what a failed try of each class means, when the next one comes, what stops the queue.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"
local run, has = site.must, site.has

describe("e2e/policy", function()
  after_each(site.cleanup)

  -- A channel with one destination; dest: Lua text of its table, `%d` is its port.
  local function start(dest, out_port)
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = ([[return channel { source = mllp.listen { port = %d },
      destinations = { out = mllp.send { host = "127.0.0.1", port = %d, %s } } }]]):format(port, out_port, dest) }
    return s, s:start(), net.connect(port)
  end

  it("no reply in time may be counted by itself, and parks then", function()
    local out = net.receiver { answer = function(text)
      return net.field(text, "MSH", 10) ~= "M1" and net.ack(text) or nil
    end }
    local s, e, conn = start("timeout = 0.2, retry = { first = 0.02, on = { timeout = { attempts = 2 } } }", out.port)
    traffic.send_all(conn, { "M1", "M2" })
    out:run_for_frames(3, 10)
    assert.same({ "M1", "M1", "M2" }, out:ids())
    site.wait_until(function() return e:channel("in").dest.out.parked == 1 end, 5, "parked")
    has(run(s, "show", "in/1"), "no acknowledgement within 0.2 s")
    assert.equal(0, e:stop())
  end)

  -- Each time-out was appended to the text of the one before, also to that of another cause.
  it("the reason of a try says what went wrong with that one", function()
    local answer = {}
    local out = net.receiver { answer = function(text)
      local m = net.field(text, "MSH", 10)
      answer[m] = (answer[m] or 0) + 1
      if answer[m] == 1 then return net.ack((text:gsub("|" .. m .. "|", "|other|"))) end
      if answer[m] == 2 then return "MSH|^~\\&|A|B|C|D|2026||ACK|1|P|2.5\r" end
      return answer[m] > 4 and net.ack(text) or nil
    end }
    local s, e, conn = start("timeout = 0.2, retry = { first = 0.02, max = 0.02 }", out.port)
    traffic.send_all(conn, { "M1" })
    out:run_until(function() return answer.M1 == 5 and e:channel("in").dest.out.sent == 1 end, 10, "sent")
    local why = {}
    for _, d in ipairs(s:json("show", "in/1").decisions) do
      if d.what == "retry" then why[#why + 1] = d.text:match "no acknowledgement.*" end
    end
    assert.same({ "no acknowledgement within 0.2 s; a reply is for another control id (MSA-2)",
      "no acknowledgement within 0.2 s; a reply is no acknowledgement: reply without an MSA segment",
      "no acknowledgement within 0.2 s", "no acknowledgement within 0.2 s" }, why)
    assert.equal(0, e:stop())
  end)

  it("\"stop\" holds the queue with the message first, and says why everywhere", function()
    local answer = false
    local out = net.receiver { answer = function(text) return answer and net.ack(text) or nil end }
    local s, e, conn = start('timeout = 0.2, retry = { on = { timeout = "stop" } }', out.port)
    traffic.send_all(conn, { "M1", "M2" })
    out:run_until(function() return e:channel("in").dest.out.state == "held" end, 10, "held")
    local d = e:channel("in").dest.out
    assert.same({ 2, 0, "timeout" }, { d.queued, d.parked, d.failing })
    local why = 'stopped by retry.on.timeout = "stop"'
    has(d.last_error, why)
    has(run(s, "status"), why)
    has(run(s, "show", "in/1"), why)
    has(e:log(), "dest stopped channel=in dest=out seq=1")
    answer = true
    run(s, "release", "in/out")
    out:run_for_frames(3, 10)
    assert.same({ "M1", "M1", "M2" }, out:ids())
    assert.equal(0, e:stop())
  end)

  it("a receiver that closes without a reply parks at once where that is wanted", function()
    local out = net.receiver { answer = function(text, conn)
      if net.field(text, "MSH", 10) == "M1" then conn:close() return nil end
      return net.ack(text)
    end }
    local _, e, conn = start('retry = { first = 0.02, on = { closed = "park" } }', out.port)
    traffic.send_all(conn, { "M1", "M2" })
    out:run_until(function() return e:channel("in").dest.out.sent == 1 end, 10, "the second")
    assert.equal(1, e:channel("in").dest.out.parked)
    assert.equal(0, e:stop())
  end)

  it("no connection has times of its own, and parks nothing", function()
    local out_port = net.free_port()
    local _, e, conn = start("retry = { first = 60, attempts = 1, on = { connect = { first = 0.02, max = 0.05 } } }",
      out_port)
    traffic.send_all(conn, { "M1" })
    site.wait_until(function() return e:channel("in").dest.out.retries > 3 end, 10, "tries")
    assert.same({ 0, "connect" }, { e:channel("in").dest.out.parked, e:channel("in").dest.out.failing })
    local out = net.receiver { port = out_port }
    out:run_for_frames(1, 10)
    site.wait_until(function() return e:channel("in").dest.out.sent == 1 end, 5, "sent")
    assert.equal("", e:channel("in").dest.out.failing)
    assert.equal(0, e:stop())
  end)

  it("a refusal that is retried has its own times; stop_after_parks says why with the message", function()
    local code = "AR"
    local out = net.receiver { answer = function(text) return net.ack(text, code) end }
    local s, e, conn = start("stop_after_parks = 2, retry = { first = 60, "
      .. "on = { AR = { first = 0.02, attempts = 3 } } }", out.port)
    traffic.send_all(conn, { "M1", "M2", "M3" })
    out:run_until(function() return e:channel("in").dest.out.state == "held" end, 10, "held")
    assert.same({ 2, 1 }, { e:channel("in").dest.out.parked, e:channel("in").dest.out.queued })
    assert.equal(6, #out:ids())
    has(run(s, "show", "in/2"), "2 in a row were parked (stop_after_parks)")
    assert.equal(0, e:stop())
  end)

  it("check says what a policy cannot be, with the line", function()
    local function wrong(dest, part)
      local s = site.new { ["channels/in.lua"] = "return channel {\n source = mllp.listen { port = 1234 },\n"
        .. ' destinations = { out = mllp.send { host = "h", port = 1,\n retry = { on = { ' .. dest .. " } } } } }" }
      local status, out, err = s:run "check"
      assert.equal(1, status)
      has(out .. err, "channels/in.lua:4: ")
      has(out .. err, part)
    end
    wrong('connect = "park"', "must not park a queue")
    wrong("connect = { attempts = 3 }", "must not park a queue")
    wrong('timeout = "prak"', 'did you mean "park"')
    wrong("AE = \"stop\"", "on_reply says")
    wrong("closed = { frist = 1 }", "takes no frist")
    wrong("refused = {}", "unknown key 'refused'")
  end)
end)
