-- The control socket under requests that no command line would send: half of them mutated from real
-- ones. REQUESTS in the environment says how many (a million: `REQUESTS=1000000 make test
-- SPEC=tests/e2e/control_fuzz_spec.lua`), SEED which.
local ffi = require "ffi"
local bit = require "bit"
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local traffic = require "support.traffic"
local control = require "support.control_fake"
local C = sys.C

if not pcall(ffi.typeof, "struct fuzz_un") then
  ffi.cdef "struct fuzz_un { uint16_t family; char path[108]; };"
end

local total = tonumber(os.getenv "REQUESTS") or 4000
local seed = tonumber(os.getenv "SEED") or 7

local random = math.random
local function one_of(list) return list[random(#list)] end

local channels = { "adt", "orders", "nosuch", "", ("x"):rep(300), "adt/out", "../adt", "adt\n" }
local queues = { "adt/out", "orders/out", "adt/", "/out", "adt", "adt/nosuch", "adt/out/out", "\255/\254", "" }
local dests = { "out", "nosuch", "", "out/out" }
local numbers = { "1", "2", "5", "0", "-1", "18446744073709551615", "99999999999999999999", "1e9", "0x10", "nan",
  "0.01", "", " 1", "end", "start" }
local texts = { "because", "", ("long "):rep(2000), "\27[31m", '"quoted"', "%s%n", "\195\40",
  traffic.adt "EDITED" }
local flags = { "0", "1", "", "x" }
local verbs = {
  { "status" }, { "metrics" }, { "version" }, { "start", channels }, { "start", channels }, { "stop", channels },
  { "stop", channels, numbers }, { "pause", channels }, { "resume", channels }, { "drain", channels, { "0.01" } },
  { "settle", channels, numbers, texts }, { "edit", channels, numbers, texts }, { "hold", queues },
  { "release", queues }, { "step", queues }, { "step", queues, numbers }, { "skip", queues, texts },
  { "skip", queues, texts, numbers }, { "head", queues }, { "edit", channels, numbers, texts, numbers },
  { "resend", channels, numbers, dests, flags, { "", "parked" }, numbers },
  { "reposition", queues, numbers, numbers, numbers, numbers, texts }, { "nosuch", texts }, {},
}
-- Views are processes: rarer. What stands before a request: why, as whom.
local views = { { "view", { "80", "0", "", "-1", "99999999999", "x" }, { "", "1", "12c", "\255" },
  { "messages", "show", "tail", "trace", "audit", "token", "versions", "replay", "profile", "resend", "settle", "view",
    "status", "run", "nosuch", "", "--help", "-C" }, { "adt", "adt/1", "list", "-c", "--script", "--state", "--where",
    "../..", "", ("y"):rep(70000), "\0" }, texts } }
local contexts = { "reason", "token", "break_glass", "true", "", "nosuch", ("z"):rep(5000), "\0\255",
  "lunate_0123456789abcdef_AAAA", "INC-17" }
local rare = { { "reload" }, { "reload", channels }, { "reload", channels, texts },
  { "reload", channels, texts, texts }, { "key", { "rotate", "status", "" } },
  { "rollback", channels, { "", "previous", "000000", "zz" }, texts } }
local alerts = { "alerts", { "list", "ack", "silence", "unsilence", "test", "history", "nosuch", "" }, texts, numbers,
  flags, texts, texts }

local function words_of(verb)
  local list = {}
  for i, w in ipairs(verb) do list[i] = type(w) == "table" and one_of(w) or w end
  return list
end

-- A change somewhere: bits, lengths, cut, doubled, moved, or noise alone.
local mutations = {
  function(s) local i = random(#s)
    return s:sub(1, i - 1) .. string.char(bit.bxor(s:byte(i), bit.lshift(1, random(0, 7)))) .. s:sub(i + 1) end,
  function(s) local i = random(#s) return s:sub(1, i - 1) .. string.char(random(0, 255)) .. s:sub(i + 1) end,
  function(s) return s:sub(1, random(#s)) end,
  function(s) local i = random(#s) return s:sub(1, i) .. s:sub(i - random(0, i - 1), i) .. s:sub(i + 1) end,
  function(s) local i, n = random(#s), one_of { 0, 1, 0x7fffffff, -1, 65536 }
    return s:sub(1, i - 1) .. control.u32(n) .. s:sub(i + 4) end,
  function(s) return s .. s:sub(random(#s)) end,
  function() local t = {}
    for i = 1, random(60) do t[i] = string.char(random(0, 255)) end
    return table.concat(t) end,
}

local function context()
  local list = {}
  for i = 1, random(0, 7) do list[i] = one_of(contexts) end
  return control.context(list)
end

local function frame()
  local kind = random(150) -- a context that makes no sense ends the connection, and what is behind it
  if kind <= 3 then return kind == 1 and one_of(mutations)(context()) or context() end
  if kind == 4 and random(3) == 1 then
    local view = control.request(words_of(one_of(views)))
    return random(2) == 1 and view or one_of(mutations)(view)
  end
  local request = control.request(words_of(random(3000) == 1 and one_of(rare)
    or random(300) == 1 and alerts or one_of(verbs)))
  return random(2) == 1 and request or one_of(mutations)(request)
end

local function connect(path)
  local a = ffi.new "struct fuzz_un"
  a.family = 1
  ffi.copy(a.path, path)
  local fd = C.socket(1, 0x80001, 0)
  if C.connect(fd, ffi.cast("void *", a), ffi.sizeof(a)) ~= 0 then
    C.close(fd)
    return nil, sys.errtext()
  end
  sys.nonblock(fd, true)
  return fd
end

-- Sends a burst in pieces, reads what comes or does not; how many requests it held.
local function burst(path)
  local fd = assert(connect(path))
  local n, parts = random(40), {}
  for i = 1, n do parts[i] = frame() end
  local data, at, read = table.concat(parts), 1, random(4) > 1
  while at <= #data do
    local size = random(3) == 1 and random(50) or 65536
    local from = ffi.cast("const char *", data) + at - 1
    local sent = tonumber(C.send(fd, from, math.min(size, #data - at + 1), 0x4000))
    if sent <= 0 then
      if ffi.errno() ~= sys.EAGAIN then break end
      if read then sys.read(fd) end
      if not sys.poll(fd, "out", 0.05) then break end
    else
      at = at + sent
    end
  end
  while read and sys.poll(fd, "in", 0.002) do
    local got = sys.read(fd)
    if not got or got == "" then break end
  end
  C.close(fd)
  return n
end

local function fds(pid)
  local _, out = proc.run { "ls", ("/proc/%d/fd"):format(pid) }
  return select(2, out:gsub("%d+", ""))
end

describe("e2e/control socket", function()
  after_each(site.cleanup)

  it("outlives hostile requests; what they may not touch goes on", function()
    math.randomseed(seed)
    local port, adt = net.free_port(), net.free_port()
    local receiver = net.receiver {}
    local s = site.new {
      ["channels/adt.lua"] = traffic.channel(adt, receiver.port),
      ["channels/orders.lua"] = traffic.channel(net.free_port(), net.free_port()),
      ["channels/keep.lua"] = traffic.channel(port, nil),
      ["store.key"] = ("ab"):rep(32) .. "\n",
      ["lunate.lua"] = 'return { encryption = { key_file = "store.key" }, alerts = { targets = {\n'
        .. 't = { command = { "true" } } } } }',
    }
    proc.run { "chmod", "600", s.path .. "/store.key" }
    local e = s:start()
    local conn = assert(net.connect(port))
    traffic.send_all(assert(net.connect(adt)), traffic.ids("A", 20))
    receiver:run_for(0.2)
    local path, done, kept = s.path .. "/data/control.sock", 0, 0
    local first_fds, first_kb
    while done < total do
      for _ = 1, 50 do done = done + burst(path) end
      kept = kept + 1
      assert.equal("AA", (traffic.exchange(conn, "K" .. kept)), e:log())
      assert.is_true(e:running())
      receiver:step(0)
      if not first_fds and done > total / 4 then
        sys.sleep(0.2)
        first_fds, first_kb = fds(e.pid), proc.proc_status(e.pid, "VmRSS")
      end
    end
    s:run("resume", "adt")
    s:run("start", "adt")
    sys.wait_until(function() return fds(e.pid) <= first_fds + 8 end, 20, "closed descriptors")
    if (os.getenv "MODE" or "release") == "release" then
      local grown = proc.proc_status(e.pid, "VmRSS") - first_kb
      assert.is_true(grown < 16384, ("grew by %d kB"):format(grown))
    end
    local k = e:channel "keep"
    assert.equal(kept, k.received)
    assert.equal("running", k.state)
    assert.equal(0, e:stop(30))
    local verbs_done, n = {}, 0 -- real ones were among them; which, depends on what cut them off
    for verb in e:log():gmatch " control (%S+)" do
      n = n + (verbs_done[verb] and 0 or 1)
      verbs_done[verb] = true
    end
    assert.is_true(n >= 5, n .. " verbs had an effect")
    assert.equal(0, (s:run "verify"))
  end)
end)
