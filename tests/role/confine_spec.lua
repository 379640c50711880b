-- What stands behind Lua's sandbox: a process that has lost all of Lua's walls still cannot reach
-- out. Each way is tried by a child of our own, before and after it confines itself.
local ffi = require "ffi"
local ln = require "support.ln"
local peer = require "support.peer"
local tmp = require "support.tmp"

pcall(ffi.cdef, [[
int fork(void); void _exit(int); int waitpid(int, int *, int);
int socket(int, int, int); int open(const char *, int, ...); int execv(const char *, char *const *);
int kill(int, int); int getppid(void); int unlink(const char *); int ptrace(int, int, void *, void *);
void *mmap(void *, size_t, int, int, int, long); int mprotect(void *, size_t, int);
long recvmsg(int, void *, int); int connect(int, const void *, unsigned);
int prctl(int, ...);
int setuid(unsigned); int getuid(void); int chown(const char *, unsigned, unsigned);
]])
local C = ffi.C
require("jit").off() -- children would want executable memory, for what was compiled before, too
require("jit").flush()
local sanitized = os.getenv "MODE" == "asan"

-- Runs fn in a child; true when it gave true.
local function child(fn)
  local pid = C.fork()
  if pid == 0 then
    local ok, value = pcall(fn)
    C._exit(ok and value and 0 or (ok and 1 or 2))
  end
  local status = ffi.new "int[1]"
  C.waitpid(pid, status, 0)
  assert.is_true(status[0] == 0 or status[0] == 256, "the child ended with " .. status[0])
  return status[0] == 0
end

-- o: jit, net, read (paths)
local function confined(site, fn, o)
  o = o or {}
  local paths = ffi.new("const char *[?]", #(o.read or {}) + 1, o.read or {})
  local how = ffi.new("struct ln_confine", { site = site, jit = o.jit or false, net = o.net or false, read = paths,
    nread = #(o.read or {}) })
  return child(function()
    C.prctl(38, ffi.cast("long", 1), ffi.cast("long", 0), ffi.cast("long", 0), ffi.cast("long", 0))
    ln.C.ln_confine_user(site or "/")
    assert(ln.C.ln_confine(how) == 3)
    return fn()
  end)
end

local function reads(path) return C.open(path, 0) >= 0 end

-- name -> a function that is true when the way out is open
local function ways(site)
  local page = 4096
  return {
    ["a TCP socket"] = function() return C.socket(2, 1, 0) >= 0 end,
    ["a UDP socket"] = function() return C.socket(2, 2, 0) >= 0 end,
    ["a Unix socket"] = function() return C.socket(1, 1, 0) >= 0 end,
    ["a netlink socket"] = function() return C.socket(16, 3, 0) >= 0 end,
    ["a new process"] = function()
      local pid = C.fork()
      if pid == 0 then C._exit(0) end
      return pid > 0
    end,
    ["another program"] = function()
      local argv = ffi.new("char *[2]", ffi.cast("char *", "true"))
      C.execv("/bin/true", argv) -- comes back only when refused
      return false
    end,
    ["a signal to the parent"] = function() return C.kill(C.getppid(), 0) == 0 end,
    ["tracing"] = function() return C.ptrace(0, 0, nil, nil) == 0 end,
    ["writing in the site"] = function() return C.open(site .. "/lib/m.lua", 1) >= 0 end,
    ["a new file"] = function() return C.open(site .. "/new", 65, ffi.cast("int", 384)) >= 0 end,
    ["removing a file"] = function() return C.unlink(site .. "/lib/victim") == 0 end,
    ["/etc/passwd"] = function() return reads "/etc/passwd" end,
    ["memory of others"] = function() return reads "/proc/self/mem" end,
    ["the store"] = function() return reads(site .. "/data/data.mdb") end,
    ["a store further down"] = function() return reads(site .. "/var/lib/data/data.mdb") end,
    ["hidden files"] = function() return reads(site .. "/.env") end,
    ["executable memory"] = function()
      local p = C.mmap(nil, page, 7, 34, -1, 0)
      return p ~= ffi.cast("void *", -1)
    end,
    ["memory made executable"] = function()
      local p = C.mmap(nil, page, 3, 34, -1, 0)
      return C.mprotect(p, page, 5) == 0
    end,
  }
end

local function new_site()
  local site = tmp.dir()
  for path, text in pairs { ["lib/m.lua"] = "", ["lib/victim"] = "", ["tables/t.csv"] = "", [".env"] = "",
    ["data/data.mdb"] = "x", ["var/lib/data/data.mdb"] = "x", ["var/lib/other"] = "", top = "" } do
    tmp.write(site .. "/" .. path, text)
  end
  return site
end

describe("role/confine", function()
  after_each(peer.cleanup)
  if sanitized then
    pending "sanitizers need what confinement takes away"
    return
  end

  it("closes ways that are open without it", function()
    local site, open = new_site(), 0
    for name, try in pairs(ways(site)) do
      if name ~= "another program" and child(try) then open = open + 1 end
    end
    assert.truthy(open >= 12, open .. " ways are open to an unconfined process")
    site = new_site()
    for name, try in pairs(ways(site)) do
      assert.is_false(confined(site, try), name)
    end
    assert.is_true(tmp.read(site .. "/lib/victim") == "")
  end)

  it("leaves what a script may have", function()
    local site = new_site()
    for _, path in ipairs { "/lib/m.lua", "/tables/t.csv", "/top", "/var/lib/other" } do
      assert.is_true(confined(site, function() return reads(site .. path) end), path)
    end
    assert.is_true(confined(site, function()
      return #string.rep("x", 1e7) == 1e7 and os.date "%Z" ~= nil and os.time() > 0
    end))
  end)

  it("lets the JIT make code, when the channel asks for it", function()
    local site = new_site()
    assert.is_true(confined(site, function()
      local p = C.mmap(nil, 4096, 3, 34, -1, 0)
      return C.mprotect(p, 4096, 5) == 0
    end, { jit = true }))
  end)

  it("opens what allow.read names, and nothing around it", function()
    local site, out = new_site(), tmp.dir()
    for _, path in ipairs { "/codes/a.csv", "/codes/sub/b.csv", "/one.csv", "/two.csv" } do
      tmp.write(out .. path, "x")
    end
    assert(os.execute(("ln -s ../two.csv %s/codes/link; ln -s codes %s/folder"):format(out, out)) == 0)
    local read = { out .. "/codes", out .. "/one.csv", out .. "/folder" }
    local function may(path, o)
      return confined(site, function() return reads(out .. path) end, o or { read = read })
    end
    for _, path in ipairs { "/codes/a.csv", "/codes/sub/b.csv", "/one.csv", "/codes/../codes/a.csv" } do
      assert.is_true(may(path), path)
      assert.is_false(may(path, {}), path)
    end
    for _, path in ipairs { "/two.csv", "/codes/link", "/codes/../two.csv" } do
      assert.is_false(may(path), path)
    end
    assert.is_false(may("/codes/a.csv", { read = { out .. "/folder" } })) -- a link by now
    assert.is_false(confined(site, function() return C.open(out .. "/one.csv", 1) >= 0 end, { read = read }))
    assert.is_false(confined(site, ways(site)["/etc/passwd"], { read = read }))
  end)

  it("lets a channel with allow.net take descriptors from one socket, and make none", function()
    local site = new_site()
    local msg = ffi.new "char[256]"
    local function takes(fd)
      return function()
        C.recvmsg(fd, msg, 64)
        return ffi.errno() ~= 38 -- ENOSYS: the filter's answer
      end
    end
    assert.is_true(confined(site, takes(4), { net = true }))
    assert.is_false(confined(site, takes(5), { net = true }))
    assert.is_false(confined(site, takes(4)))
    for _, name in ipairs { "a TCP socket", "a UDP socket", "a Unix socket", "a netlink socket" } do
      assert.is_false(confined(site, ways(site)[name], { net = true }), name)
    end
    assert.is_false(confined(site, function() return C.connect(4, msg, 16) == 0 or ffi.errno() ~= 38 end,
      { net = true }))
  end)

  it("lets the loader read everywhere, write nowhere", function()
    local site = new_site()
    assert.is_true(confined(nil, function() return reads "/etc/passwd" end))
    assert.is_false(confined(nil, ways(site)["writing in the site"]))
    assert.is_false(confined(nil, ways(site)["a TCP socket"]))
  end)

  it("takes the rights of the site's owner when started as root", function()
    if C.getuid() ~= 0 then return pending "not root" end
    local site = new_site()
    assert.equal(0, C.chown(site, 12345, 12345))
    assert.is_true(confined(site, function()
      return C.getuid() == 12345 and C.setuid(0) ~= 0
    end))
    assert.is_true(confined(new_site(), function()
      return C.getuid() == 0 and C.setuid(12345) ~= 0 -- root without a single capability
    end))
  end)

  it("holds for a real worker", function()
    local site = new_site()
    local w = assert(peer.worker { [[log.info("%s", tostring(io.open "lib/m.lua" ~= nil))]],
      site = site })
    assert.equal("done", w:run("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r").verdict)
    assert.equal("true", w.logs[1].text)
    local status = tmp.read(("/proc/%d/status"):format(w.proc.pid))
    assert.equal("2", status:match "Seccomp:%s*(%d)")
    assert.equal("1", status:match "NoNewPrivs:%s*(%d)")
    assert.equal("0000000000000000", status:match "CapEff:%s*(%x+)")
  end)
end)
