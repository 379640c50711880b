-- Peers that mean ill, or that are broken in a way that looks like it: what they cost, in numbers.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local traffic = require "support.traffic"

local function start(source)
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil, { source = source }) }
  return s:start(), port
end

local function rss(e) return proc.proc_status(e.pid, "VmRSS") end

local function gone(c, seconds)
  local _, how = c:recv_all(sys.patience(seconds or 5))
  return how == "closed" or how == "reset"
end

-- The median of n exchanges, in ms.
local function median_ms(conn, prefix, n)
  local list = {}
  for i = 1, n do
    local began = sys.now()
    assert.equal("AA", traffic.exchange(conn, prefix .. i, { timeout = 30 }))
    list[i] = (sys.now() - began) * 1000
  end
  table.sort(list)
  return list[math.ceil(n / 2)]
end

describe("hostile peers", function()
  after_each(site.cleanup)

  it("a message that trickles in is ended by frame_timeout; a slow but steady one is not", function()
    local e, port = start "frame_timeout = 1,"
    local slow, steady = {}, net.connect(port)
    for i = 1, 20 do
      slow[i] = net.connect(port)
      slow[i]:send "\11MSH|^~\\&|A|"
    end
    local text = net.frame(traffic.adt("S1", { more = "NTE|1||" .. ("x"):rep(60000) .. "\r" }))
    local at, began = 1, sys.now()
    while at <= #text do -- 60 KB in 3 s and more: well above a KB a second
      steady:send(text:sub(at, at + 1999))
      at = at + 2000
      for _, c in ipairs(slow) do c:send "x" end
      sys.sleep(0.1)
    end
    local reply = steady:recv_frame(10)
    assert.equal("AA", net.field(reply, "MSA", 1))
    for _, c in ipairs(slow) do assert.truthy(gone(c)) end
    assert.truthy(e:log():find("slow_frame channel=in", 1, true))
    print(("## 20 trickling frames ended, one of 60 KB taken over %.1f s"):format(sys.now() - began))
    assert.equal(1, e:channel("in").received)
  end)

  it("max_connections_per_address bounds one sender and leaves room for others", function()
    local e, port = start 'host = "0.0.0.0", max_connections = 50, max_connections_per_address = 10,'
    local flood, open = {}, 0
    for i = 1, 200 do flood[i] = net.connect(port, { from = "127.0.0.9" }) end
    sys.wait_until(function() return e:channel("in").connections == 10 end, 5, "10 of them")
    for _, c in ipairs(flood) do
      if not sys.poll(c.fd, "in", 0) then open = open + 1 end
    end
    assert.equal(10, open)
    for i = 1, 10 do
      assert.equal("AA", traffic.exchange(net.connect(port), "O" .. i))
    end
    flood[1]:close()
    for _, c in ipairs(flood) do if c.fd then c:close() end end
    sys.wait_until(function() return e:channel("in").connections <= 10 end, 5, "they are gone")
    assert.equal("AA", traffic.exchange(net.connect(port, { from = "127.0.0.9" }), "F1"))
    assert.truthy(e:log():find("too_many_connections_of_address", 1, true))
  end)

  it("frames that never end are cut at max_message; what they hold is given back", function()
    local e, port = start "max_message = 1000000,"
    traffic.exchange(net.connect(port), "W1")
    local before, chunk = rss(e), ("x"):rep(100000)
    for _ = 1, 50 do
      local c = net.connect(port)
      c:send "\11MSH|^~\\&|A|B|C|D|2026||ADT^A01|BIG|P|2.5\r"
      for _ = 1, 30 do
        if not c:send(chunk, 2) then break end
      end
      local reply = c:recv_frame(5)
      if reply then assert.equal("AR", net.field(reply, "MSA", 1)) end
      c:close()
    end
    assert.equal("AA", traffic.exchange(net.connect(port), "W2"))
    print(("## 50 endless frames: hub %d kB before, %d kB after"):format(before, rss(e)))
    assert.equal(2, e:channel("in").received)
    if os.getenv "MODE" == "release" then assert.truthy(rss(e) < before + 16 * 1024) end
  end)

  it("garbage of all kinds: nothing is kept that is no message, nobody else notices", function()
    local e, port = start()
    math.randomseed(7)
    local honest = net.connect(port)
    for round = 1, 60 do
      local c = net.connect(port)
      local bytes = {}
      for i = 1, math.random(1, 3000) do bytes[i] = string.char(math.random(0, 255)) end
      local text = table.concat(bytes)
      if round % 3 == 0 then text = "\11" .. text .. "\28\r" end
      c:send(text)
      if round % 2 == 0 then c:reset() else c:close() end
      assert.equal("AA", traffic.exchange(honest, "H" .. round))
    end
    sys.wait_until(function() -- answered at commit; the script comes behind
      local c = e:channel "in"
      return c.processed == 60 and c.received == c.processed + c.rejected
    end, 5, "60 processed, all else rejected")
  end)

  it("one that sends as fast as it can does not starve another", function()
    local e, port = start()
    local quiet = net.connect(port)
    local alone = median_ms(quiet, "A", 20)
    local greedy = {}
    local batch = {}
    for i = 1, 200 do batch[i] = net.frame(traffic.adt("G" .. i)) end
    batch = table.concat(batch)
    local script = site.new { ["flood.lua"] = "" } -- a process of its own floods: `lunate send`
    script:write("m.hl7", traffic.adt "G")
    for i = 1, 4 do
      greedy[i] = proc.spawn { site.binary(), "send", "127.0.0.1:" .. port, script.path .. "/m.hl7",
        "--count", "1000000", "--connections", "64" }
    end
    local pipelined = net.connect(port) -- and one that never reads its replies
    pipelined:set_rcvbuf(2048)
    for _ = 1, 20 do pipelined:send(batch, 0.1) end
    local among = median_ms(quiet, "B", 20)
    print(("## ACK p50: %.1f ms alone, %.1f ms beside 256 busy connections"):format(alone, among))
    for i = 1, 4 do greedy[i]:close() end
    assert.truthy(e:running())
    assert.equal("AA", traffic.exchange(quiet, "C1"))
  end)
end)
