-- `messages`, `show`, `resend` and the queue verbs on a real engine and its store, also when the
-- engine is gone.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local json = require "support.json"

local function adt(id, patient, event)
  return ("MSH|^~\\&|EHR|A|LAB|B|20260105||ADT^%s|%s|P|2.5.1\rPID|1||%s^^^A||Sample^P\r"):format(
    event or "A01", id, patient or "100001")
end

local script = [[
return channel {
  source = mllp.listen { port = %d, host = "127.0.0.1" },
  filter = function(msg) return msg.event ~= "A02", "no transfers" end,
  transform = function(msg)
    if msg["PID-3"] == "bad" then error "no such patient" end
    if msg["PID-3"] ~= "same" then msg["PID-5.1"] = msg["PID-5.1"]:upper() end
  end,
  destinations = { lab = mllp.send { host = "127.0.0.1", port = %d, timeout = 2 } },
}]]

describe("messages of an engine", function()
  local s, engine, receiver, conn, refuse
  before_each(function()
    refuse = nil
    receiver = net.receiver { answer = function(t) return net.ack(t, refuse or "AA", refuse) end }
    local port = net.free_port()
    s = site.new { ["channels/adt.lua"] = script:format(port, receiver.port) }
    engine = s:start()
    conn = net.connect_when_open(port)
  end)
  after_each(site.cleanup)

  local function send(...)
    for _, text in ipairs { ... } do
      assert.equal("AA", net.field(assert(net.exchange(conn, text)), "MSA", 1))
    end
  end

  -- Runs the receiver until the message's state is that.
  local function wait_for(seq, state)
    receiver:run_until(function()
      local ok, doc = pcall(s.json, s, "show", "adt/" .. seq)
      return ok and doc.state == state
    end, 10, ("message %d %s"):format(seq, state))
  end

  local function ids(...)
    local list = {}
    for i, m in ipairs(s:json_lines("messages", ...)) do list[i] = m.control_id end
    return list
  end

  it("are found by state, id, patient, time, newest first, with and without the engine", function()
    send(adt "M1", adt("M2", "200002"), adt("M3", "100001", "A02"), adt("M4", "bad"))
    wait_for(1, "sent")
    wait_for(2, "sent")
    wait_for(3, "filtered")
    wait_for(4, "parked")
    for _ = 1, 2 do
      assert.same({ "M4", "M3", "M2", "M1" }, ids())
      assert.same({ "M4", "M3", "M2", "M1" }, ids("adt"))
      assert.same({ "M4", "M3" }, ids("--limit", "2"))
      assert.same({ "M2", "M1" }, ids("--state", "sent"))
      assert.same({ "M2", "M1" }, ids("--state", "done"))
      assert.same({ "M3" }, ids("--state", "filtered"))
      assert.same({ "M4" }, ids("--state", "parked"))
      assert.same({ "M2" }, ids("--control-id", "M2"))
      assert.same({ "M3", "M1" }, ids("--patient", "100001"))
      assert.same({ "M3" }, ids("--patient", "100001", "--state", "filtered"))
      assert.same({ "M4", "M3", "M2", "M1" }, ids("--since", "10m"))
      assert.same({ "M4", "M3", "M2", "M1" }, ids("--since", os.date("!%Y-%m-%dT00:00:00Z")))
      assert.same({}, ids("--since", os.date("!%Y%m%d%H%M%S+0000", os.time() + 60)))
      assert.same({}, ids("--control-id", "NONE"))
      engine:kill9()
    end
    assert.equal(2, (s:run("messages", "--since", "yesterday")))
    assert.equal(2, (s:run("messages", "--state", "odd")))
    assert.equal(2, (s:run("messages", "--limit", "0")))
    assert.equal(1, (s:run("messages", "nosuch")))
  end)

  it("have a line each for people", function()
    send(adt "M1")
    wait_for(1, "sent")
    local status, out = s:run "messages"
    assert.equal(0, status)
    assert.matches("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d  sent      ADT%^A01  adt/1 +M1\n$", out)
  end)

  it("explain themselves: raw, script, decisions, what was sent and answered", function()
    send(adt "M1", adt("M2", "same"))
    wait_for(1, "sent")
    wait_for(2, "sent")
    local m = s:json("show", "adt/1")
    assert.same({ "adt", 1, "M1", "ADT^A01", adt "M1", "sent" },
      { m.channel, m.seq, m.control_id, m.type, m.raw, m.state })
    assert.matches("^%x+$", m.result.script)
    assert.same({ "lab", "sent", true }, { m.outputs[1].destination, m.outputs[1].state,
      m.outputs[1].changed })
    assert.equal(receiver:texts()[1], m.outputs[1].raw)
    assert.equal(net.ack(receiver:texts()[1]), m.outputs[1].reply)
    assert.is_false(s:json("show", "adt/2").outputs[1].changed)
    local before = ""
    for _, d in ipairs(m.decisions) do
      assert.is_true(before <= d.time)
      before = d.time
    end
    local _, text = s:run("show", "adt/1")
    assert.truthy(text:find("- PID|1||100001^^^A||Sample^P", 1, true))
    assert.truthy(text:find("+ PID|1||100001^^^A||SAMPLE^P", 1, true))
    assert.truthy(text:find("MSA|AA|M1", 1, true))
    _, text = s:run("show", "adt/2")
    assert.truthy(text:find("as received", 1, true))
  end)

  it("that a script failed on say where", function()
    send(adt("M1", "bad"))
    wait_for(1, "parked")
    local m = s:json("show", "adt/1")
    assert.equal("channels/adt.lua:5", m.result.where)
    assert.matches("no such patient", m.result.reason)
    local _, text = s:run("show", "adt/1")
    assert.matches("parked by script %x+ in [%d.]+ ms at channels/adt%.lua:5: no such patient",
      text)
  end)

  it("are kept byte for byte, also when they are not UTF-8", function()
    local raw = adt("M1", "same"):gsub("Sample", "J\xfcrgen")
    send(raw)
    wait_for(1, "sent")
    local doc, text = s:json("show", "adt/1")
    assert.matches("J\239\191\189rgen", doc.raw)
    assert.matches('"raw_base64":"[%w+/]+=*"', text)
    assert.equal(raw, receiver:texts()[1])
  end)

  it("1 for a message that is not there", function()
    send(adt "M1")
    local status, _, err = s:run("show", "adt/99")
    assert.equal(1, status)
    assert.matches("no message adt/99 %(the store has 1 to 1%)", err)
    assert.equal(1, (s:run("resend", "adt/99")))
    assert.equal(1, (s:run("stop", "nosuch")))
  end)

  it("can be sent again, as a new entry that names its origin", function()
    send(adt "M1")
    wait_for(1, "sent")
    local status, out = s:run("resend", "adt/1")
    assert.same({ 0, "adt/1 again as adt/2\n" }, { status, out })
    wait_for(2, "sent")
    assert.equal(receiver:texts()[1], receiver:texts()[2])
    local m = s:json("show", "adt/2")
    assert.same({ "resent", "adt/1" }, { m.kind, m.origin })
    local _, text = s:run("show", "adt/1")
    assert.truthy(text:find("resent as adt/2", 1, true))
  end)

  it("wait while a destination is held; step, skip and release do what they say", function()
    assert.equal(0, (s:run("hold", "adt/lab")))
    send(adt "M1", adt "M2", adt "M3")
    wait_for(3, "queued")
    assert.same({ "M3", "M2", "M1" }, ids("--state", "queued"))
    local _, text = s:run "status"
    assert.truthy(text:find("adt/lab: held, 3 waiting", 1, true))
    local step = proc.spawn { site.binary(), "-C", s.path, "step", "adt/lab" }
    receiver:run_until(function() return not step:running() end, 10, "the step's outcome")
    assert.same({ 0, "adt/1 to lab: sent\n" }, { step.status, step:out() })
    assert.equal("sent", s:json("show", "adt/1").state)
    local status, out = s:run("skip", "adt/lab", "--reason", "wrong visit")
    assert.equal(0, status)
    assert.matches("^adt/2 to lab: parked", out)
    wait_for(2, "parked")
    _, text = s:run("messages", "--state", "parked")
    assert.truthy(text:find("lab: skipped: wrong visit", 1, true), text)
    assert.equal("lab: skipped: wrong visit", s:json_lines("messages", "--state", "parked")[1].reason)
    _, text = s:run("show", "adt/2")
    assert.truthy(text:find("lab: parked: skipped: wrong visit", 1, true), text)
    assert.equal(0, (s:run("release", "adt/lab")))
    wait_for(3, "sent")
    assert.same({ "M1", "M3" }, receiver:ids())
  end)

  it("step says why a message was not sent, and that it stays the first", function()
    s:run("hold", "adt/lab")
    send(adt "M1")
    wait_for(1, "queued")
    refuse = "AR" -- retried, as a rule; here it is one try
    local step = proc.spawn { site.binary(), "-C", s.path, "step", "adt/lab" }
    receiver:run_until(function() return not step:running() end, 10, "the step's outcome")
    assert.same({ 1, "lunate step: adt/1 to lab: not sent, it stays the first: answered AR\n" },
      { step.status, step:err() })
    assert.equal("held", s:json("status").channels[1].destinations[1].state)
    assert.same({ "M1" }, ids("--state", "queued"))
  end)

  it("are found by type, by values of any segment and repetition, and by text", function()
    send(adt "M1", adt("M2", "200002", "A03"), adt("M3", "300003~400004"))
    wait_for(3, "sent")
    assert.same({ "M2" }, ids("--type", "ADT^A03"))
    assert.same({ "M3", "M2", "M1" }, ids("--type", "ADT"))
    assert.same({ "M3" }, ids("--where", "PID-3.1 = 400004"))
    assert.same({ "M3" }, ids("--where", "PID-3[2] = 400004"))
    assert.same({}, ids("--where", "PID-3[1].1 = 400004"))
    assert.same({ "M3", "M1" }, ids("--where", "PID-3.1 != 200002"))
    assert.same({ "M2" }, ids("--where", "PID-5~amp", "--where", "MSH-9.2=A03"))
    assert.same({ "M2" }, ids("--text", "sAMPLE^p", "--limit", "5", "--type", "ADT^A03"))
    local status, _, err = s:run("messages", "--where", "PID-5 like x")
    assert.equal(2, status)
    assert.matches("is no condition", err)
  end)

  it("are traced through channels, destinations and resends, by number and by control id", function()
    s:write("channels/adt.lua", (s:read("channels/adt.lua"):gsub("destinations = {",
      'destinations = { onward = channel.to "next",')))
    s:write("channels/next.lua", [[return channel { source = channel.from "adt",
      filter = function() return false, "not wanted" end }]])
    assert.equal(0, (s:run "reload"))
    send(adt "T1")
    wait_for(1, "sent")
    assert.equal(0, (s:run("resend", "adt/1", "--dest", "lab")))
    wait_for(2, "sent")
    for _, id in ipairs { "adt/1", "adt/2", "next/1", "T1" } do
      local _, text = s:run("trace", id)
      for _, part in ipairs { "^adt/1  ADT%^A01  control id T1", "lab: sent", "onward: handed over, next/1",
        "filtered: not wanted", "resent, adt/2 %(sent%)" } do
        assert.truthy(text:find(part), part .. " in\n" .. text)
      end
    end
    local tree = s:json("trace", "T1")
    assert.same({ "adt", 1, "sent" }, { tree.channel, tree.seq, tree.state })
    assert.equal(1, (s:run("trace", "nothing")))
  end)

  it("are counted a second by top, in a pipe and in 80 columns", function()
    send(adt "M1")
    wait_for(1, "sent")
    local status, text = s:run("top", "--count", "3", "--interval", "0.1")
    assert.equal(0, status)
    assert.is_nil(text:find("\27", 1, true))
    assert.equal(3, select(2, text:gsub("in/s", "")))
    local _, wide = text:gsub("[^\n]+", function(line)
      if #(line:gsub("[\128-\191]", "")) > 80 then error(line) end
    end)
    assert.truthy(wide > 0)
  end)

  it("are followed by tail, which ends with Ctrl-C", function()
    send(adt "M1", adt "M2")
    wait_for(2, "sent")
    local _, text = s:run("tail", "--limit", "1")
    assert.is_nil(text:find("M1", 1, true))
    assert.matches("adt/2 .*M2", text)
    local tail = proc.spawn { site.binary(), "-C", s.path, "tail", "-f", "adt" }
    receiver:run_until(function() return tail:out():find("M2", 1, true) end, 10, "what was there")
    send(adt "M3")
    receiver:run_until(function() return tail:out():find("M3", 1, true) end, 10, "what came")
    tail:kill(2)
    assert.equal(0, tail:wait(10))
  end)

  it("that are refused are parked with the reply, and settled by a resend", function()
    refuse = "AE"
    send(adt "M1")
    wait_for(1, "parked")
    local m = s:json("show", "adt/1")
    assert.matches("MSA|AE|M1", m.outputs[1].reply, 1, true)
    local _, text = s:run "status"
    assert.truthy(text:find("lunate messages adt --state parked", 1, true))
    refuse = nil
    assert.equal(0, (s:run("resend", "adt/1")))
    wait_for(2, "sent")
  end)

  it("reload says what it did, or why not", function()
    local status, out = s:run "reload"
    assert.equal(0, status)
    assert.matches("adt: unchanged", out)
    s:write("channels/adt.lua", "return channel {\n  source = = 1\n}\n")
    local err
    status, out, err = s:run "reload"
    assert.same({ 1, "" }, { status, out })
    assert.matches("channels/adt%.lua:2:", err)
    send(adt "M1")
    wait_for(1, "sent")
  end)

  it("status and metrics come from the engine", function()
    send(adt "M1")
    wait_for(1, "sent")
    local status, out = s:run "status"
    assert.equal(0, status)
    assert.matches("1 channel, 1 message kept", out)
    status, out = s:run "metrics"
    assert.equal(0, status)
    assert.matches("lunate_build_info", out)
    assert.equal(1, json.decode((select(2, s:run("status", "--json")))).channels[1].received)
  end)
end)
