-- As a service: what systemd is told, the forms of the log, its rotation, and a new binary put in place
-- of the old one while messages come in.
local ffi = require "ffi"
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local json = require "support.json"
local traffic = require "support.traffic"
local C = ffi.C

-- A datagram socket for NOTIFY_SOCKET: receive(seconds) gives what came, or nil.
local function notify_socket()
  local path = tmp.dir() .. "/notify"
  local fd = C.socket(1, 2 + sys.O_NONBLOCK + sys.O_CLOEXEC, 0)
  local address = ffi.new("struct { uint16_t family; char path[108]; }", { 1, path })
  assert(C.bind(fd, address, ffi.sizeof(address)) == 0, "bind")
  local buf = ffi.new "char[512]"
  return {
    path = path,
    receive = function(seconds)
      if not sys.poll(fd, "in", sys.patience(seconds)) then return nil end
      local n = C.recv(fd, buf, 512, 0)
      return n > 0 and ffi.string(buf, n) or nil
    end,
    close = function() C.close(fd) end,
  }
end

describe("e2e/service", function()
  after_each(site.cleanup)

  it("tells the service manager: ready, alive, stopping", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()) }
    local manager = notify_socket()
    local e = s:start { env = { NOTIFY_SOCKET = manager.path, WATCHDOG_USEC = 1000000,
      WATCHDOG_PID = false } }
    assert.equal("READY=1", manager.receive(5))
    assert.equal("WATCHDOG=1", manager.receive(10))
    assert.equal("WATCHDOG=1", manager.receive(10))
    e.proc:kill(proc.TERM)
    local last
    repeat last = manager.receive(10) until last ~= "WATCHDOG=1"
    assert.equal("STOPPING=1", last)
    assert.equal(0, e.proc:wait(20))
    manager.close()
  end)

  it("does not look after a watchdog that is another process's", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()) }
    local manager = notify_socket()
    local e = s:start { env = { NOTIFY_SOCKET = manager.path, WATCHDOG_USEC = 100000,
      WATCHDOG_PID = 1 } }
    assert.equal("READY=1", manager.receive(5))
    sys.sleep(1.2)
    assert.equal(0, e:stop())
    assert.equal("STOPPING=1", manager.receive(5))
    manager.close()
  end)

  it("writes its log as JSON, a document a line", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port) }
    local e = s:start { options = { "--log", "json" } }
    local c = net.connect(port)
    c:send "\vgarbage \"quoted\" = x\28\r"
    c:close()
    site.wait_until(function() return e:log():find '"worker"' end, 5, "the worker")
    assert.equal(0, e:stop())
    local events = {}
    for line in e:log():gmatch "[^\n]+" do
      if line ~= "ready" then
        local doc = json.decode(line)
        for _, key in ipairs { "time", "level", "area", "event" } do
          assert.equal("string", type(doc[key]), line)
        end
        for _, value in pairs(doc) do assert.equal("string", type(value), line) end
        events[doc.area .. " " .. doc.event] = doc
      end
    end
    assert.truthy(events["hub started"].pid:find "^%d+$")
    assert.truthy(events["worker ready"].channel == "in")
  end)

  it("logs to a file, and opens it again when it was moved away", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()) }
    local log = tmp.dir() .. "/lunate.log"
    local e = s:start { options = { "--log-file", log } }
    assert.equal("ready\n", e:log())
    site.wait_until(function() return tmp.read(log):find "hub started" end, 5, "the log")
    assert(os.rename(log, log .. ".1"))
    e.proc:kill(proc.USR1)
    site.wait_until(function() return io.open(log) ~= nil end, 5, "a new file")
    assert.equal(0, e:stop())
    assert.truthy(tmp.read(log):find "hub drained")
    assert.is_nil(tmp.read(log .. ".1"):find "hub drained")
  end)

  it("says what is wrong with its options", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()) }
    local status, _, err = s:run("run", "--log", "xml")
    assert.equal(2, status)
    assert.truthy(err:find('--log is text or json, not "xml"', 1, true))
    status, _, err = s:run("run", "--log-file", "/nonexistent/x.log")
    assert.equal(1, status)
    assert.truthy(err:find("/nonexistent/x.log: No such file", 1, true))
    status, _, err = s:run("run", "now")
    assert.equal(2, status)
    assert.truthy(err:find "takes no words")
  end)

  -- What an upgrade does: the binary is replaced on disk, the service stopped and started. Senders
  -- that get no acknowledgement send again; nothing is lost, nothing overtakes.
  it("is upgraded under traffic: nothing lost, order kept", function()
    local port, to, kept = net.free_port(), net.free_port(), tmp.dir()
    local receiver = proc.spawn { site.binary(), "listen", to, "--out", kept, "--quiet" }
    site.wait_until(function() return receiver:err():find "ready" end, 10, "the receiver")
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, to) }
    local binary = tmp.dir() .. "/lunate"
    local function install()
      assert.equal(0, proc.run { "cp", site.binary(), binary .. ".new" })
      assert(os.rename(binary .. ".new", binary))
    end
    install()
    local function start()
      local e = proc.spawn { binary, "-C", s.path, "run" }
      site.wait_until(function() return e:err():find "ready\n" end, 10, "ready")
      return e
    end
    local e, acked, sent = start(), {}, 0
    local function send_one()
      sent = sent + 1
      local id = "U" .. sent
      for _ = 1, 200 do -- until it is acknowledged: the sender's own retries
        local ok, code = pcall(function()
          local c = assert(net.connect(port))
          local got = traffic.exchange(c, id)
          c:close()
          return got
        end)
        if ok and code == "AA" then
          acked[#acked + 1] = id
          return
        end
        sys.sleep(0.02)
      end
      error("no acknowledgement for " .. id)
    end
    for _ = 1, 3 do
      for _ = 1, 30 do send_one() end
      install()
      e:kill(proc.TERM)
      e:wait(20)
      e = start()
    end
    for _ = 1, 10 do send_one() end
    local order
    site.wait_until(function()
      local seen
      seen, order = {}, {}
      for n = 1, math.huge do
        local f = io.open(("%s/%06d.hl7"):format(kept, n))
        if not f then break end
        local id = f:read("*a"):match "|(U%d+)|"
        f:close()
        if not id then break end -- being written
        if not seen[id] then order[#order + 1] = id end
        seen[id] = true
      end
      return #order >= #acked
    end, 20, "all messages")
    assert.same(acked, order)
    e:kill(proc.TERM)
    assert.equal(0, e:wait(20))
  end)
end)
