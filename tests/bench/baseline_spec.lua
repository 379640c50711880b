-- The programs that the benchmark compares with do what they say, else the comparison is void.
local ffi = require "ffi"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"
local site = require "support.site"

local function compile(name)
  local exe = tmp.dir() .. "/" .. name
  local status, _, err = proc.run { "cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
    "-Werror", "-pthread", "-o", exe, "tests/bench/" .. name .. ".c", "-llmdb",
    env = { LD_PRELOAD = false } }
  assert.equal(0, status, err)
  return exe
end

local function start(...)
  local argv = { ... }
  argv.env = { LD_PRELOAD = false }
  local p = proc.spawn(argv)
  site.wait_until(function() return p:err():find "ready" end, 5, function()
    return "ready from " .. argv[1] .. ": " .. p:err()
  end)
  return p
end

-- Records in an LMDB environment, by LMDB's own count.
local function entries(dir)
  if not pcall(ffi.typeof, "struct bench_lmdb_stat") then
    ffi.cdef [[
      struct bench_lmdb_stat { unsigned psize, depth; size_t branch, leaf, overflow, entries; };
      int mdb_env_create(void **);
      int mdb_env_open(void *, const char *, unsigned, unsigned);
      int mdb_env_stat(void *, struct bench_lmdb_stat *);
      void mdb_env_close(void *);
    ]]
  end
  local lmdb, env, stat = ffi.load "lmdb", ffi.new "void *[1]", ffi.new "struct bench_lmdb_stat"
  assert(lmdb.mdb_env_create(env) == 0)
  assert(lmdb.mdb_env_open(env[0], dir, 0x20000, 384) == 0) -- MDB_RDONLY
  assert(lmdb.mdb_env_stat(env[0], stat) == 0)
  lmdb.mdb_env_close(env[0])
  return tonumber(stat.entries)
end

local function message(id)
  return "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|" .. id .. "|P|2.5\rPID|1\r"
end

describe("bench baselines", function()
  after_each(site.cleanup)

  local function answers(port)
    local conns = {}
    for i = 1, 8 do conns[i] = assert(net.connect(port)) end
    for round = 1, 20 do
      for i, c in ipairs(conns) do assert(c:send(net.frame(message(round .. "x" .. i)))) end
      for i, c in ipairs(conns) do
        local reply = assert(c:recv_frame())
        assert.equal("AA", net.field(reply, "MSA", 1))
        assert.equal(round .. "x" .. i, net.field(reply, "MSA", 2))
      end
    end
    -- Cut in pieces, several in one write, and a peer that goes away in between.
    conns[1]:send(net.frame(message "gone"))
    conns[1]:reset()
    local text = net.frame(message "a") .. net.frame(message "b")
    for at = 1, #text, 50 do assert(conns[2]:send(text:sub(at, at + 49))) end
    assert.equal("a", net.field(conns[2]:recv_frame(), "MSA", 2))
    assert.equal("b", net.field(conns[2]:recv_frame(), "MSA", 2))
    for i = 3, #conns do conns[i]:close() end
    return 8 * 20 + 3
  end

  it("bench_ack acknowledges", function()
    local port = net.free_port()
    start(compile "bench_ack", port)
    answers(port)
  end)

  it("bench_lmdb acknowledges what it has stored", function()
    local port, dir = net.free_port(), tmp.dir()
    local p = start(compile "bench_lmdb", port, dir .. "/db")
    local n = answers(port)
    p:kill(proc.KILL)
    p:wait(5)
    assert.equal(n, entries(dir .. "/db"))
  end)

  it("bench_sync tells the time of one sync", function()
    local status, out, err = proc.run { compile "bench_sync", tmp.dir(), "50" }
    assert.equal(0, status, err)
    local r = json.decode(out)
    assert.equal(50, r.count)
    assert.is_true(r.p50_us > 0 and r.p50_us <= r.p90_us and r.p90_us <= r.p99_us)
  end)

  it("bench_prompt sees a prompt through its colours, and a program that shows none", function()
    local exe = compile "bench_prompt"
    local status, out = proc.run { exe, "me> ", "sh", "-c",
      "printf '\\033[36mm\\033[0me> '; exec sleep 100" }
    assert.equal(0, status)
    assert.is_true(tonumber(out) > 0)
    local err
    status, out, err = proc.run { exe, "me> ", "echo", "nothing" }
    assert.equal("", out)
    assert.equal(1, status)
    assert.matches("no prompt from echo:\nnothing", err)
    assert.equal(0, (proc.run { exe, "", "true" }))
  end)
end)
