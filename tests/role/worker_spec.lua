-- A real worker process over its socket. Guards promise 2: a script can only hurt itself, and
-- says where.
local peer = require "support.peer"
local proc = require "support.proc"
local sys = require "support.sys"

local function adt(id, name)
  return ("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|%s|P|2.5\rPID|1||77||%s^Jane\r"):format(id,
    name or "doe")
end

local two = [[
return channel {
  source = mllp.listen { port = 1 },
  %s
  destinations = {
    b = mllp.send { host = "h", port = 1, %s },
    a = mllp.send { host = "h", port = 1, %s },
  },
}]]

local function kinds(r)
  local list = {}
  for i, o in ipairs(r.outputs) do list[i] = o.dest .. ":" .. o.kind end
  return table.concat(list, " ")
end

describe("role/worker", function()
  after_each(peer.cleanup)

  it("transforms, and says what went where", function()
    local w = assert(peer.worker { 'msg["PID-5.1"] = msg["PID-5.1"]:upper()' })
    local r = assert(w:run(adt("1")))
    assert.equal("done", r.verdict)
    assert.equal(1, r.seq)
    assert.equal("out:bytes", kinds(r))
    assert.equal(adt("1", "DOE"), r.outputs[1].data)
  end)

  it("refers to the input and to earlier outputs instead of repeating them", function()
    local w = assert(peer.worker { script = two:format("", "", "") })
    assert.same({ "a", "b" }, w.dests)
    assert.equal("a:input b:input", kinds(w:run(adt("1"))))
    w = assert(peer.worker { script = two:format(
      'transform = function(m) m["PID-5.1"] = "X" end,', "", "") })
    local r = w:run(adt("1"))
    assert.equal("a:bytes b:same", kinds(r))
    assert.equal(0, r.outputs[2].same)
  end)

  it("gives each destination its own copy", function()
    local w = assert(peer.worker { script = two:format("",
      [[transform = function(m) return { m, "RAW", m } end]],
      [[transform = function(m) m["PID-5.1"] = "A" end]]) })
    local r = w:run(adt("1"))
    assert.equal("a:bytes b:input b:bytes b:input", kinds(r))
    assert.equal(adt("1", "A"), r.outputs[1].data)
    assert.equal("RAW", r.outputs[3].data)
  end)

  it("filters with a reason, for all and for one destination", function()
    local w = assert(peer.worker { script = two:format(
      'filter = function(m) return m.type == "ADT", "not an ADT" end,',
      'filter = function(m) return m["PID-5.1"] == "doe", "not Doe" end', "") })
    local r = w:run((adt("1"):gsub("ADT", "ORU")))
    assert.equal("filtered", r.verdict)
    assert.equal("not an ADT", r.reason)
    r = w:run(adt("1", "roe"))
    assert.equal("a:input b:filtered", kinds(r))
    assert.equal("not Doe", r.outputs[2].data)
    assert.equal("a:input b:input", kinds(w:run(adt("2"))))
  end)

  it("takes a message, a string, a list or nothing from a transform", function()
    for body, want in pairs {
      ["return msg:copy()"] = "out:input", ['return "x"'] = "out:bytes", ["return {}"] = "",
      ['return { "x", msg, "x" }'] = "out:bytes out:input out:same", [""] = "out:input",
    } do
      local r = assert(peer.worker { body }):run(adt("1"))
      assert.equal("done:" .. want, r.verdict .. ":" .. kinds(r), body)
    end
    for body, want in pairs {
      ["return 5"] = "returned a number", ["return { 5 }"] = "item 1 is a number",
      ["return { a = 1 }"] = "not a list", ["return false"] = "returned a boolean",
      ['return ""'] = "an empty string: return nil to send", ['return { msg, "" }'] = "item 2 is an empty string",
      ['return "\\11MSH|\\28\\r"'] = "begins with MLLP's start byte",
      ['return tostring(msg) .. "\\28\\rMSH|"'] = "holds MLLP's end of a frame",
      ['msg:set_raw("PID-5", "X\\28")'] = "holds MLLP's end of a frame",
    } do
      local r = assert(peer.worker { body }):run(adt("1"))
      assert.equal("error", r.verdict)
      assert.truthy(r.reason:find(want, 1, true), r.reason)
    end
  end)

  it("tells of an error by line and trace, and goes on", function()
    local w = assert(peer.worker { script = [[
local function deep(msg)
  if msg.control_id == "1" then error("no such thing") end
end
return channel {
  source = mllp.listen { port = 1 },
  transform = function(msg)
    deep(msg)
    return nil
  end,
}]] })
    local r = w:run(adt("1"))
    assert.equal("error", r.verdict)
    assert.equal("no such thing", r.reason)
    assert.equal("channels/x.lua:2", r.where)
    assert.truthy(r.trace:find("channels/x.lua:7", 1, true), r.trace)
    assert.equal("done", w:run(adt("2")).verdict)
  end)

  it("keeps a destination's error to that destination, and its kv writes too", function()
    local w = assert(peer.worker { script = two:format(
      'transform = function() kv.set("n", 1) end,', "",
      'transform = function(m) kv.set("n", 2) kv.set("x", 1) local y = nil + 1 end') })
    local r = w:run(adt("1"))
    assert.equal("done", r.verdict)
    assert.equal("a:error b:input", kinds(r))
    assert.truthy(r.outputs[1].data:find("^channels/x%.lua:6: attempt to perform arithmetic"))
    assert.same({ n = "1" }, r.kv)
  end)

  it("does not run what does not parse", function()
    local w = assert(peer.worker { "error 'never'" })
    local r = w:run("hello world")
    assert.equal("error", r.verdict)
    assert.truthy(r.reason:find("does not parse", 1, true), r.reason)
    assert.equal("error", w:run(adt("1")).verdict)
  end)

  it("keeps kv between messages, takes back what a failed message wrote", function()
    local w = assert(peer.worker { kv = { n = "41", t = '{"a":[1,2]}' }, [[
      kv.n = kv.n + 1
      kv.set("name", msg["PID-5.1"])
      if msg.control_id == "2" then error "x" end
      if msg.control_id == "3" then kv.delete "t" end
      log.info("%d %s %s", kv.n, kv.t and kv.t.a[2], kv.get "name")]] })
    assert.same({ n = "42", name = '"doe"' }, w:run(adt("1")).kv)
    assert.same({}, w:run(adt("2", "roe")).kv)
    assert.same({ n = "43", name = '"doe"', t = false }, w:run(adt("3")).kv)
    assert.equal("42 2 doe", w.logs[1].text)
    assert.equal("43 nil doe", w.logs[2].text)
    assert.same({ n = "44", name = '"\255"' }, w:run(adt("4", "\255")).kv)
  end)

  it("sends log lines before the result, with their place", function()
    local w = assert(peer.worker { "\nlog.warn('id %s', msg.control_id)\nprint('a', 1)" })
    w:run(adt("9"))
    assert.same({ { seq = 1, level = 2, where = "channels/x.lua:3", text = "id 9" },
      { seq = 1, level = 1, where = "channels/x.lua:4", text = "a\t1" } }, w.logs)
  end)

  local limits = {
    ["an endless loop"] = "while true do end",
    ["a loop around pcall"] = "while true do pcall(function() while true do end end) end",
    ["a handler that never ends"] =
      "local function f() while true do end end while true do xpcall(f, f) end",
    ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["coroutines without end"] = [[while true do
      local c = coroutine.create(function() while true do coroutine.yield() end end)
      for _ = 1, 1000 do pcall(coroutine.resume, c) end end]],
    ["a loop in sort"] = "table.sort({3,2,1,5,4}, function(a, b) while true do end end)",
    ["a loop in gsub"] = "('x'):gsub('x', function() while true do end end)",
    ["a loop in __index"] =
      "local t = setmetatable({}, { __index = function() while true do end end }) return t.y",
    ["a loop in loaded text"] = "load('while true do end')()",
    ["a loop in tostring"] =
      "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
  }
  for name, body in pairs(limits) do
    it("ends " .. name .. " at the soft limit, with the line", function()
      local w = assert(peer.worker { seconds = 0.3, "\n" .. body })
      local began = sys.now()
      local r = assert(w:run(adt("1")))
      assert.equal("limit", r.verdict)
      assert.equal("ran longer than limits.seconds = 0.3", r.reason)
      assert.truthy(r.where:find "^channels/x%.lua:%d+$", r.where)
      assert.is_true(sys.now() - began < sys.patience(2))
      assert.equal(0, w.proc:wait(5))
    end)
  end

  it("gives back earlier results while a later message runs on", function()
    local w = assert(peer.worker { seconds = 4,
      "if msg.control_id == '2' then while true do end end" })
    local began = sys.now()
    w:send_raw(peer.message(1, adt("1")) .. peer.message(2, adt("2")))
    assert.equal(1, w:result().seq)
    assert.is_true(sys.now() - began < sys.patience(3))
    assert.equal("limit", w:result().verdict)
  end)

  it("ends what holds too much memory, with the line; garbage does not count", function()
    for _, body in ipairs {
      "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
      "local s = ('x'):rep(2^29)",
      "pcall(string.rep, 'x', 2^29) return 'swallowed'",
      "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1e5) .. #t end) end",
      "local s = 'x' while true do s = s .. s end",
    } do
      local w = assert(peer.worker { memory_mb = 32, "\n" .. body })
      local r = assert(w:run(adt("1"), 30))
      assert.equal("limit", r.verdict, body)
      assert.equal("used more than limits.memory_mb = 32", r.reason)
      assert.equal("channels/x.lua:3", r.where, body)
      assert.equal(0, w.proc:wait(5))
    end
    local w = assert(peer.worker { memory_mb = 32,
      "for i = 1, 2000 do local s = ('x'):rep(1e5) .. i end" })
    assert.equal("done", w:run(adt("1"), 30).verdict)
    w = assert(peer.worker { memory_mb = 32, -- 20 MB held, 10 times that thrown away
      "local t = {} for i = 1, 200 do t[i] = ('x'):rep(1e5) .. i end "
      .. "for i = 1, 2000 do local s = ('y'):rep(1e5) .. i end" })
    assert.equal("done", w:run(adt("1"), 30).verdict)
  end)

  it("leaves to SIGKILL what no hook reaches", function()
    local w = assert(peer.worker { seconds = 0.2, "('a'):rep(60):find(('a*'):rep(60) .. 'b')" })
    assert.equal("timeout", select(2, w:run(adt("1"), 0.6)))
    w.proc:kill(proc.KILL)
    assert.equal("signal 9", w.proc:wait(5))
  end)

  it("limits how long a script takes to load", function()
    local w, err = peer.worker { seconds = 0.2,
      script = "local x = 1\nwhile true do x = x + 1 end" }
    assert.is_nil(w)
    assert.equal("channels/x.lua:2: ran longer than limits.seconds = 0.2", err)
  end)

  it("says why a script does not load", function()
    local function why(script)
      return select(2, peer.worker { script = script })
    end
    assert.truthy(why "return channel {":find "^channels/x%.lua:1: unexpected symbol near '<eof>'")
    assert.truthy(why "\nerror 'no'":find "^channels/x%.lua:2: no$")
    assert.truthy(why "return {}":find "must end with: return channel")
    assert.truthy(why "\27LJ\2":find "bytecode")
    assert.truthy(why [[return channel { source = mllp.listen { prot = 1 } }]]
      :find "unknown key 'prot' in mllp.listen %(did you mean 'port'%?%)")
  end)

  it("sees lib/ through require, tables/ through lookup, and nothing else", function()
    local files = { ["lib/a.lua"] = "x = 1 return { up = function(s) return s:upper() end }",
      ["lib/b/c.lua"] = "return require('a').up('c')",
      ["tables/t.csv"] = "#code,text\nA,Apple\n" }
    local w = assert(peer.worker { files = files, [[
      log.info("%s %s %s %s", require("a").up "q", require "b.c", lookup("t", "A"), x)
      log.info("%s", select(2, pcall(require, "aa")))]] })
    w:run(adt("1"))
    assert.equal("Q C Apple nil", w.logs[1].text)
    assert.truthy(w.logs[2].text:find("module 'aa' not found, did you mean 'a'?", 1, true))
  end)

  it("answers 10,000 pipelined messages in order", function()
    local w = assert(peer.worker { 'msg["PID-5.1"] = msg["PID-5.1"]:upper()' })
    local sent, got = 0, 0
    while got < 10000 do
      if sent < 10000 and sent - got < 64 then
        local batch = {}
        while sent < 10000 and sent - got < 64 do
          sent = sent + 1
          batch[#batch + 1] = peer.message(sent, adt(tostring(sent)))
        end
        w:send_raw(table.concat(batch))
      end
      local r = assert(w:result())
      got = got + 1
      assert.equal(got, r.seq)
      assert.equal(adt(tostring(got), "DOE"), r.outputs[1].data)
    end
  end)

  it("carries on after SIGSTOP, and ends with its socket", function()
    local w = assert(peer.worker { "" })
    assert.equal("done", w:run(adt("1")).verdict)
    w.proc:kill(proc.STOP)
    w:send_raw(peer.message(2, adt("2")))
    assert.equal("timeout", select(2, w:result(0.2)))
    w.proc:kill(proc.CONT)
    assert.equal(2, w:result().seq)
    w.proc:kill(proc.TERM)
    w.proc:kill(proc.INT)
    assert.equal("done", w:run(adt("3")).verdict)
    w:close()
    assert.equal(0, w.proc:wait(5))
  end)

  it("ends on records that make no sense", function()
    for _, junk in ipairs { "\255\255\255\255\1", peer.record(99, ""), peer.record(6, "short"),
      peer.record(5, ""), "\0\0\0\0\0" } do
      local w = assert(peer.worker { "" })
      w:send_raw(junk)
      assert.equal(1, w.proc:wait(5))
      w:close()
    end
  end)

  it("holds nothing but its socket, is small, and is called by its channel", function()
    local w = assert(peer.worker { name = "adt_to_lab", "" })
    w:run(adt("1"))
    local pid = w.proc.pid
    local f = io.open("/proc/" .. pid .. "/cmdline")
    assert.equal("lunate: worker adt_to_lab", (f:read "*a":gsub("%z.*", "")))
    f:close()
    f = io.open("/proc/" .. pid .. "/limits")
    assert.truthy(f:read "*a":find "Max core file size%s+0%s+0")
    f:close()
    if os.getenv "MODE" == "release" then
      assert.is_true(proc.proc_status(pid, "VmRSS") < 6 * 1024, "RSS over 6 MB")
    end
  end)
end)
