-- Known ways out of a Lua sandbox, each tried by a script in a real worker: each must fail.
local peer = require "support.peer"
local tmp = require "support.tmp"

local msg = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r"

-- Runs statements in a worker; gives back what they logged, or the error.
local function run(body, o)
  o = o or {}
  o[1] = body
  local w, err = peer.worker(o)
  if not w then return "load: " .. err end
  local r = w:run(msg)
  if r.verdict ~= "done" then return r.verdict .. ": " .. r.reason end
  return w.logs[1] and w.logs[1].text or ""
end

local function value(expression, o)
  return run("log.info('%s', tostring(" .. expression .. "))", o)
end

describe("script/sandbox", function()
  after_each(peer.cleanup)

  it("has no names that lead out", function()
    for _, name in ipairs {
      "debug", "ffi", "jit", "package", "module", "dofile", "loadfile", "getfenv", "setfenv",
      "newproxy", "gcinfo", "string.dump", "os.execute", "os.exit", "os.remove", "os.rename",
      "os.tmpname", "os.setlocale", "os.getenv", "io.popen", "io.output", "io.input", "io.tmpfile",
      "io.stdout", "io.stderr", "io.read", "io.write", "core", "arg", "_LOADED",
      "coroutine.debug", "string.buffer", "table.new", "math.debug", "lunate",
    } do
      assert.equal("nil", value(name), name)
    end
  end)

  it("requires nothing but lib/ and its public modules", function()
    for _, name in ipairs { "ffi", "jit", "jit.util", "debug", "io", "os", "package",
      "string.buffer", "table.new", "lunate.sandbox", "lunate.channel", "lunate.sys", "../lib/a",
      "/etc/passwd", "a/b", "channels.x" } do
      assert.equal("false", value(("(pcall(require, %q))"):format(name)), name)
    end
    assert.equal("true true", run(
      "log.info('%s %s', require 'hl7' == hl7, require 'json' == json)"))
  end)

  it("keeps bytecode out, in every door", function()
    local dumped = string.dump(function() return 1 end):gsub(".", function(c)
      return ("\\%03d"):format(c:byte())
    end)
    for _, call in ipairs { "load('%s')", "loadstring('%s')", "load('%s', 'x', 'b')",
      "load('%s', 'x', 'bt')", "load(coroutine.wrap(function() coroutine.yield '%s' end))" } do
      assert.equal("nil", value((call:gsub("%%s", (dumped:gsub("%%", "%%%%"))))), call)
    end
    local files = { ["lib/m.lua"] = string.dump(function() return 1 end) }
    assert.equal("false", value("(pcall(require, 'm'))", { files = files }))
  end)

  it("gives loaded text the sandbox and nothing more", function()
    assert.equal("nil nil", run [[
      local f = load("return tostring(debug) .. ' ' .. tostring(io.popen)")
      log.info(f())]])
    assert.equal("true", value "load('return _G')() == _G")
    assert.equal("true", value "_G._G == _G and rawget(_G, 'string') == nil")
    assert.equal("5", value "load('return x', 'c', 't', { x = 5 })()")
    assert.equal("false", value "(pcall(load, 'return 1', 'c', 't', 5))")
    assert.truthy(value("(select(2, load('return', 'c', 'b')))"):find "only text")
  end)

  it("shows no metatable to change", function()
    for _, object in ipairs { "''", "_G", "channel", "kv", "lookup", "json.null", "io.open('f')",
      "json.decode '[]'", "json.number '1.10'", "msg" } do
      local site = tmp.dir()
      tmp.write(site .. "/f", "x")
      local got = run(("log.info(type(getmetatable(%s)))"):format(object), { site = site })
      assert.is_true(got == "boolean" or got == "string", object .. ": " .. got)
    end
    assert.equal("false", value "(pcall(setmetatable, _G, {}))")
    assert.truthy(run "getmetatable('').__index = nil":find "^error: attempt to index a boolean")
  end)

  it("keeps a script's globals from its modules, and theirs from it", function()
    local o = { files = { ["lib/m.lua"] = "leak = 1 return function() return mine, leak end" } }
    assert.equal("nil 1 nil", run([[mine = 2
      local f = require "m"
      local a, b = f()
      log.info("%s %s %s", tostring(a), tostring(b), tostring(leak))]], o))
  end)

  it("finds no way in through what C functions hand out", function()
    assert.equal("false", value "(pcall(collectgarbage))")
    assert.equal("false", value "(pcall(collectgarbage, 'stop'))")
    assert.equal("number", run "log.info(type(collectgarbage 'count'))")
    assert.equal("false false", run [[
      local f = function() end
      log.info("%s %s", tostring(pcall(function() return string.dump(f) end)),
        tostring(pcall(function() return debug.getregistry() end)))]])
    -- functions of another environment are not to be re-rooted
    assert.equal("nil", value "(setfenv or getfenv)")
    -- xpcall's handler gets the message only, and no traceback to climb
    assert.equal("false:x", run [[
      local ok, m = xpcall(function() error("x", 0) end, function(m) return m end)
      log.info("%s:%s", tostring(ok), m)]])
    assert.equal("true:1:2", run [[
      local ok, a, b = xpcall(function(...) return ... end, print, 1, 2)
      log.info("%s:%s:%s", tostring(ok), a, b)]])
  end)

  it("reads files of the site, and no others", function()
    local site, outside = tmp.dir(), tmp.dir()
    tmp.write(site .. "/a.txt", "one\ntwo\n")
    tmp.write(site .. "/data/data.mdb", "store")
    tmp.write(site .. "/data/sub/x", "store")
    tmp.write(outside .. "/secret", "secret")
    os.execute(("ln -s %s/secret %s/link; mkfifo %s/fifo"):format(outside, site, site))
    local o = { site = site }
    assert.equal("one", value("io.open('a.txt'):read()", o))
    assert.equal("one", value(("io.open(%q, 'rb'):read()"):format(site .. "/a.txt"), o))
    assert.equal("two", run("for l in io.lines 'a.txt' do x = l end log.info(x)", o))
    for _, path in ipairs { "/etc/passwd", "../../etc/passwd", outside .. "/secret", "link",
      "fifo", ".", "data/data.mdb", "data/sub/x", "data/lock.mdb", "/proc/self/environ",
      "/dev/zero", "nope",
      "a.txt\0x" } do
      path = ("%q"):format(path):gsub("%z", "0")
      assert.equal("nil", value(("(io.open(%s))"):format(path), o), path)
      assert.equal("false", value(("(pcall(io.lines, %s))"):format(path), o), path)
    end
    for _, mode in ipairs { "w", "a", "r+", "rw", "" } do
      assert.equal("false", value(("(pcall(io.open, 'a.txt', %q))"):format(mode), o), mode)
    end
    assert.equal("nil", value("(io.open('a.txt'):write 'x')", o))
    assert.equal("false", value("(pcall(io.lines))", o))
    assert.equal("one\ntwo\n", tmp.read(site .. "/a.txt"))
  end)

  it("reads what allow.read names, too", function()
    local site, out = tmp.dir(), tmp.dir()
    for path, text in pairs { ["codes/a.csv"] = "A,1\n", ["codes/my.key"] = "key", ["one.csv"] = "B,1\n",
      ["two.csv"] = "C,1\n", ["codes/store/data.mdb"] = "store", ["codes/store/x"] = "store" } do
      tmp.write(out .. "/" .. path, text)
    end
    os.execute(("ln -s ../two.csv %s/codes/link; ln -s one.csv %s/alias"):format(out, out))
    local o = { site = site, read = { out .. "/codes", out .. "/one.csv" } }
    local function read(path) return value(("(io.open(%q) or { read = tostring }):read()"):format(path), o) end
    assert.equal("A,1", read(out .. "/codes/a.csv"))
    assert.equal("B,1", read(out .. "/one.csv"))
    assert.equal("B,1", read(out .. "/alias"))
    assert.equal("1", value(("lookup(%q, 'A')"):format(out .. "/codes/a.csv"), o))
    for _, path in ipairs { "/two.csv", "/codes/link", "/codes/../two.csv", "/codes/my.key", "/codes",
      "/codes/store/x", "/codesx", "/codes/none" } do
      assert.equal("nil", value(("(io.open(%q))"):format(out .. path), o), path)
      assert.equal("false", value(("(pcall(io.lines, %q))"):format(out .. path), o), path)
      assert.equal("false", value(("(pcall(lookup, %q, 'C'))"):format(out .. path), o), path)
    end
    assert.equal("nil", value(("(io.open(%q))"):format(out .. "/one.csv"), { site = site }))
    local _, why = peer.worker { site = site, read = o.read, script = ("assert(io.open(%q))")
      :format(out .. "/one.csv") }
    assert.truthy(why:find("not while the script is loaded", 1, true), why)
  end)

  it("has what it promises", function()
    for _, name in ipairs { "math.floor", "table.concat", "string.format", "bit.band", "os.time",
      "os.date", "os.clock", "os.difftime", "coroutine.wrap", "unpack", "select", "next", "pcall",
      "json.encode", "hl7.parse", "log.error", "kv.get", "now", "env", "print", "require" } do
      assert.equal("function", run(("log.info(type(%s))"):format(name)), name)
    end
    assert.equal("there nil d", run("log.info('%s %s %s', env 'LN_T', tostring(env 'LN_N'), "
      .. "env('LN_N', 'd'))", { env = { LN_T = "there", LN_N = false } }))
    assert.truthy(run "log.info(now())":find "^%d%d%d%d%d%d%d%d%d%d%d%d%d%d[+-]%d%d%d%d$")
    assert.truthy(run "log.info(now '!%Y-%m')":find "^%d%d%d%d%-%d%d$")
  end)
end)
