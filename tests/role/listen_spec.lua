-- `lunate listen`: answers, prints, keeps; and against `lunate send`.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"

local adt = "MSH|^~\\&|EHR|A|LAB|B|20260105083000||ADT^A01^ADT_A01|MSG1|P|2.5.1\rPID|1||100001\r"

-- Starts listen on a free port: process, port.
local function listen(...)
  local p = proc.spawn { site.binary(), "listen", "0", ... }
  site.wait_until(function() return p:err():find "\nready\n" or not p:running() end, 5, "ready")
  return p, tonumber(p:err():match "listening on [^\n]+:(%d+)\n")
end

local function stop(p, signal)
  p:kill(signal or proc.TERM)
  return p:wait(5)
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

local function send(port, ...)
  return proc.run { site.binary(), "send", "127.0.0.1:" .. port, ... }
end

describe("lunate listen", function()
  after_each(site.cleanup)

  it("answers AA in the sender's terms and prints a line", function()
    local p, port = listen()
    local conn = net.connect(port)
    local reply = net.exchange(conn, adt)
    assert.same({ "LAB", "B", "EHR", "A", "ACK^A01^ACK", "2.5.1" }, {
      net.field(reply, "MSH", 3), net.field(reply, "MSH", 4), net.field(reply, "MSH", 5),
      net.field(reply, "MSH", 6), net.field(reply, "MSH", 9), net.field(reply, "MSH", 12) })
    assert.same({ "AA", "MSG1" }, { net.field(reply, "MSA", 1), net.field(reply, "MSA", 2) })
    site.wait_until(function() return p:out():find "\n" end, 5)
    assert.matches("^%d%d:%d%d:%d%d%.%d%d%d  127%.0%.0%.1:%d+  ADT%^A01%^ADT_A01  MSG1  " ..
      #adt .. " bytes\n$", p:out())
  end)

  it("answers AE, AR or nothing when told to", function()
    for code in ("AE AR"):gmatch "%S+" do
      local p, port = listen("--ack", code)
      assert.equal(code, net.field(net.exchange(net.connect(port), adt), "MSA", 1))
      stop(p)
    end
    local p, port = listen("--ack", "none")
    local conn = net.connect(port)
    local reply, why = net.exchange(conn, adt, 0.3)
    assert.same({ nil, "timeout" }, { reply, why })
    site.wait_until(function() return p:out():find("MSG1", 1, true) end, 5)
  end)

  it("never answers AA to what is not HL7", function()
    local _, port = listen()
    assert.equal("AR", net.field(net.exchange(net.connect(port), "hello world"), "MSA", 1))
  end)

  it("answers a batch with a batch, an acknowledgement per message", function()
    local p, port = listen("--json")
    local batch = "BHS|^~\\&|A|B|C|D\r" .. adt .. adt:gsub("MSG1", "MSG2") .. "BTS|2\r"
    local reply = net.exchange(net.connect(port), batch)
    local seen = {}
    for line in reply:gmatch "[^\r]+" do
      seen[#seen + 1] = line:match "^MSA|[^|]+|[^|]+" or line:sub(1, 3)
    end
    assert.same({ "BHS", "MSH", "MSA|AA|MSG1", "MSH", "MSA|AA|MSG2", "BTS" }, seen)
    site.wait_until(function() return #lines(p:out()) == 2 end, 5)
  end)

  it("waits --delay before each answer, and does not hold up other connections", function()
    local _, port = listen("--delay", "1000")
    local conns, began = {}, require("support.sys").now()
    for i = 1, 5 do
      conns[i] = net.connect(port)
      conns[i]:send(net.frame(adt))
    end
    for i = 1, 5 do assert.truthy(conns[i]:recv_frame(10)) end
    local took = require("support.sys").now() - began
    assert.is_true(took >= 1 and took < 4, "took " .. took)
  end)

  it("takes two frames in one write, one in pieces, and one without its last CR", function()
    local _, port = listen()
    local conn = net.connect(port)
    conn:send(net.frame(adt) .. net.frame(adt))
    assert.truthy(conn:recv_frame(2) and conn:recv_frame(2))
    for c in net.frame(adt):gmatch "." do conn:send(c) end
    assert.truthy(conn:recv_frame(2))
    conn:send("\11" .. adt .. "\28")
    assert.truthy(conn:recv_frame(2))
  end)

  it("keeps each message as it came in --out, never over another", function()
    local dir = tmp.dir() .. "/received"
    local p, port = listen("--out", dir)
    local conn = net.connect(port)
    net.exchange(conn, adt)
    net.exchange(conn, "not HL7")
    stop(p)
    assert.equal(adt, tmp.read(dir .. "/000001.hl7"))
    assert.equal("not HL7", tmp.read(dir .. "/000002.hl7"))
    p, port = listen("--out", dir)
    net.exchange(net.connect(port), "third")
    stop(p)
    assert.equal(adt, tmp.read(dir .. "/000001.hl7"))
    assert.equal("third", tmp.read(dir .. "/000003.hl7"))
  end)

  it("answers AE when a message cannot be kept", function()
    local dir = tmp.dir() .. "/received"
    local p, port = listen("--out", dir)
    assert(os.remove(dir))
    assert.equal("AE", net.field(net.exchange(net.connect(port), adt), "MSA", 1))
    assert.matches("000001%.hl7", p:err())
  end)

  it("ends after --count messages with every answer out, and sums up", function()
    local p, port = listen("--count", "3", "--json")
    local conn = net.connect(port)
    for _ = 1, 3 do assert.truthy(net.exchange(conn, adt)) end
    assert.equal(0, p:wait(5))
    local out = json.lines(p:out())
    assert.same({ 4, "MSG1", 3, #adt * 3, 1 }, { #out, out[1].control_id, out[4].summary.messages,
      out[4].summary.bytes, out[4].summary.connections })
  end)

  it("sums up at SIGINT and SIGTERM, counts what was odd, ends with 0", function()
    for _, signal in ipairs { proc.INT, proc.TERM } do
      local p, port = listen("--quiet")
      local conn = net.connect(port)
      conn:send("junk" .. net.frame(adt))
      assert.truthy(conn:recv_frame(2))
      assert.equal(0, stop(p, signal))
      assert.matches("^1 message, " .. #adt .. " bytes, 1 connection, .*junk %d+", p:out())
    end
  end)

  it("lives through connections that come and go", function()
    local p, port = listen("--quiet", "--delay", "50")
    for i = 1, 30 do
      local conn = net.connect(port)
      if i % 3 == 1 then conn:send(net.frame(adt)) end
      if i % 3 == 2 then conn:send("\11MSH|^~") end
      if i % 2 == 0 then conn:reset() else conn:close() end
    end
    assert.truthy(net.exchange(net.connect(port), adt))
    assert.is_true(p:running())
  end)

  it("takes what send sends: every message once, in order on one connection", function()
    local dir = tmp.dir()
    local p, port = listen("--out", dir, "--quiet")
    local status, out = send(port, tmp.file(adt), "--count", "200", "--unique-ids", "--json")
    assert.same({ 0, 200 }, { status, json.decode(out).AA })
    stop(p)
    for i = 1, 200 do
      local text = tmp.read(("%s/%06d.hl7"):format(dir, i))
      assert.equal("MSG1-" .. i, net.field(text, "MSH", 10))
    end
  end)

  it("takes many connections at once", function()
    local p, port = listen("--quiet", "--json")
    local status, out = send(port, tmp.file(adt), "--count", "5000", "--connections", "200",
      "--unique-ids", "--json")
    assert.same({ 0, 5000, 200 },
      { status, json.decode(out).AA, json.decode(out).connections })
    stop(p)
    assert.same({ 5000, 200 }, { json.decode(p:out()).summary.messages,
      json.decode(p:out()).summary.connections })
  end)

  it("a port in use: 1, and says so", function()
    local held = net.listen()
    local status, _, err = proc.run { site.binary(), "listen", tostring(held.port) }
    assert.equal(1, status)
    assert.matches("^lunate listen: cannot listen on 127%.0%.0%.1:%d+: Address already in use", err)
  end)

  it("usage: 2, one line with a hint", function()
    for _, words in ipairs { {}, { "x" }, { "70000" }, { "-1" }, { "1", "2" },
      { "1", "--ack", "XX" }, { "1", "--delay", "soon" }, { "1", "--akc", "AA" } } do
      local status, _, err = proc.run { site.binary(), "listen", unpack(words) }
      assert.equal(2, status)
      assert.matches("^lunate listen: [^\n]+lunate help listen[^\n]+\n$", err)
    end
  end)
end)
