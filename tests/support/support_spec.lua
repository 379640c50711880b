local sys = require "support.sys"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"
local site = require "support.site"

describe("support", function()
  local fds
  before_each(function() fds = sys.open_fds() end)
  after_each(function()
    site.cleanup()
    assert.same(fds, sys.open_fds())
  end)

  it("runs a process with input, environment and folder", function()
    local dir = tmp.dir()
    local status, out, err = proc.run { "sh", "-c", "pwd; cat; echo $WORD >&2; exit 3",
      cwd = dir, input = "in\n", env = { WORD = "w" } }
    assert.equal(3, status)
    assert.equal(dir .. "\nin\n", out)
    assert.equal("w\n", err)
    assert.equal("timeout", (proc.run { "sleep", "60", timeout = 0.05 }))
    assert.has_error(function() proc.spawn { "/no/such/program" } end)
  end)

  it("talks to a process through pipes and reports its signal", function()
    local p = proc.spawn { "cat", stdin = "pipe", stdout = "pipe" }
    assert(p:write "hello")
    assert.equal("hello", p:read(5))
    assert.is_true(p:running())
    p:kill(proc.TERM)
    assert.equal("signal 15", p:wait(5))
  end)

  it("gives a descriptor to a process", function()
    local l = net.listen()
    local p = proc.spawn { "sh", "-c", "test -e /proc/self/fd/7", fds = { [7] = l.fd } }
    assert.equal(0, p:wait(5))
  end)

  it("ends what a test left running", function()
    local p = proc.spawn { "sleep", "60" }
    proc.cleanup()
    assert.is_false(proc.exists(p.pid))
  end)

  for _, host in ipairs { "127.0.0.1", "::1" } do
    it("carries bytes over " .. host, function()
      local l = net.listen { host = host }
      local a = assert(net.connect(l.port, { host = host }))
      local b = assert(l:accept())
      local big = ("x"):rep(300000)
      assert(a:send(big:sub(1, 60000)))
      a:shutdown()
      assert.same({ big:sub(1, 60000), "closed" }, { b:recv_all() })
      assert(b:send "back")
      assert.equal("back", a:recv())
      assert.same({ nil, "timeout" }, { a:recv(0.01) })
      b:reset()
      assert.same({ nil, "reset" }, { a:recv() })
      l:close()
      assert.same({ nil, "refused" }, { net.connect(l.port, { host = host }) })
    end)
  end

  it("finds a free port", function()
    local port = net.free_port()
    assert.equal(port, net.listen({ port = port }).port)
    assert.has_error(function() net.listen { port = port } end)
  end)

  it("receives frames, answers, delays, closes", function()
    local replies = {
      function(t) return net.ack(t, "AE", "no") end,
      function() return { text = "late", after = 0.05 } end,
      function() return nil end,
      function() return { raw = "\11x", close = true } end,
    }
    local r = net.receiver { answer = function(text, _, self)
      return replies[#self.frames](text)
    end }
    local c = net.connect(r.port)
    assert(c:send("junk" .. net.frame "MSH|^~\\&|||||||ADT|one|P|2.3\r" .. net.frame "two"))
    r:run_for_frames(2)
    r:run_for(0.1)
    assert.equal("AE", net.field(c:recv_frame(), "MSA", 1))
    assert.equal("late", c:recv_frame())
    c:send(net.frame "three" .. net.frame "four")
    r:run_for_frames(4)
    assert.same({ nil, "closed", "\11x" }, { c:recv_frame() })
    assert.same({ "one" }, r:ids())
    assert.equal("junk", r.junk)
    assert.equal(1, r.accepted)
  end)

  it("decodes JSON", function()
    assert.same({ a = { 1, -2.5e3, true, json.null, "\195\169\240\159\152\128\n" }, b = {} },
      json.decode '{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83d\\ude00\\n"],"b":{}} ')
    for _, bad in ipairs { "", "{", "[1,]", "nul", '"\1"', "1 2", '{"a"}' } do
      assert.has_error(function() json.decode(bad) end)
    end
  end)

  it("says what an engine wrote when it is not ready", function()
    local s = site.new { ["channels/x.lua"] = "text" }
    assert.equal("text", s:read "channels/x.lua")
    local real = site.binary
    local path = tmp.file "#!/bin/sh\necho broken >&2\nexit 1\n"
    os.execute("chmod +x " .. tmp.quote(path))
    site.binary = function() return path end
    local ok, err = pcall(s.start, s)
    site.binary = real
    assert.is_false(ok)
    assert.truthy(err:find("ended with 1; its stderr:\nbroken", 1, true), err)
  end)
end)
