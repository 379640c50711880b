-- Workers that misbehave: a library that is preloaded into them spoils a share of what they tell the
-- hub (badworker.c says how). FRAMES in the environment says how many spoiled records (a million:
-- `FRAMES=1000000 make test SPEC=tests/e2e/worker_fuzz_spec.lua`), SEED which.
-- Guards: the hub goes on; what was acknowledged is kept, in order; a channel whose worker is sound
-- notices nothing; nobody reaches what is another's; the log holds no content.
local ffi = require "ffi"
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local traffic = require "support.traffic"

local total = math.max(tonumber(os.getenv "FRAMES") or 0, 5000)
local seed = os.getenv "SEED" or "1"
local NAME = "QUILLFEATHER"
local BURST = 40

local script = [[
return channel {
  source = mllp.listen { port = %d },
  ack = %q,
  limits = { seconds = 0.3, attempts = 3 },
  %s
  transform = function(msg)
    for i = 1, 20 do log.info("line " .. i .. " of " .. msg["PID-5.1"]) end
    kv.count = tostring((tonumber(kv.count) or 0) + 1)
    msg["ZKV-1"] = kv.count
  end,
  destinations = {
    out = mllp.send { host = "127.0.0.1", port = %d, timeout = 1,
      retry = { first = 0.02, max = 0.05, attempts = 2 } },
    %s
  },
}]]

-- What it is told may be no message: then it answers nothing, and that one is parked.
local function receiver()
  return net.receiver { answer = function(text)
    local ok, reply = pcall(net.ack, text)
    return ok and reply or { close = true }
  end }
end

local function counters(path)
  local n = ffi.new "uint64_t[37]"
  local data = tmp.read(path)
  ffi.copy(n, data, ffi.sizeof(n))
  local t = { started = tonumber(n[0]), sent = tonumber(n[1]), lies = tonumber(n[2]),
    nonsense = tonumber(n[3]), asked = tonumber(n[4]), kinds = {} }
  for i = 0, 31 do t.kinds[i + 1] = tonumber(n[5 + i]) end
  t.spoiled = t.lies + t.nonsense
  return t
end

local function fds(pid)
  local _, out = proc.run { "ls", ("/proc/%d/fd"):format(pid) }
  return select(2, out:gsub("%d+", ""))
end

local function compile()
  local lib = tmp.dir() .. "/badworker.so"
  assert.equal(0, (proc.run { "gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Werror", "-o", lib,
    "tests/e2e/badworker.c", env = { LD_PRELOAD = false } }))
  local before = os.getenv "LD_PRELOAD" -- a sanitizer must be first
  return before and before ~= "" and before .. ":" .. lib or lib
end

local function begin(only)
  local w = { names = { "one", "two", "three", "keep" }, channel = {}, forbidden = net.listen {},
    granted = net.listen {}, path = tmp.file(("\0"):rep(4096)) }
  local modes = { one = "commit", two = "transform", three = "delivery", keep = "commit" }
  local files = {
    ["channels/sink.lua"] = 'return channel { source = channel.from "one" }',
    ["lunate.lua"] = 'return { log = { level = "warn" } }',
  }
  for _, name in ipairs(w.names) do
    local c = { name = name, port = net.free_port(), to = receiver(), sent = {}, answered = 0, codes = {} }
    w.channel[name] = c
    files["channels/" .. name .. ".lua"] = script:format(c.port, modes[name],
      name == "three" and ('allow = { net = { "127.0.0.1:%d" } },'):format(w.granted.port) or "", c.to.port,
      name == "one" and 'relay = channel.to "sink",' or "")
  end
  w.s = site.new(files)
  w.e = w.s:start { env = { LD_PRELOAD = compile(), BADWORKER = w.path, BADWORKER_OF = "one two three",
    BADWORKER_SEED = seed, BADWORKER_FORBIDDEN = w.forbidden.port, BADWORKER_ONLY = only or false }, timeout = 30 }
  for _, name in ipairs(w.names) do
    w.channel[name].conn = assert(net.connect(w.channel[name].port))
  end
  return w
end

local function step(w)
  for _, name in ipairs(w.names) do w.channel[name].to:step(0) end
end

local function send(c, n)
  local frames = {}
  for i = 1, n do
    local id = ("%s-%d"):format(c.name:upper(), #c.sent + 1)
    c.sent[#c.sent + 1] = id
    frames[i] = net.frame(traffic.adt(id, { name = NAME .. "^ANNA" }))
  end
  assert(c.conn:send(table.concat(frames), 30))
end

-- Every message has one answer, its own, in the order they were sent.
local function take_answers(w, c)
  local reply, why = c.conn:recv_frame(0)
  while reply do
    c.answered = c.answered + 1
    local id, code = net.field(reply, "MSA", 2), net.field(reply, "MSA", 1)
    assert.equal(c.sent[c.answered], id)
    assert.equal(1, select(2, reply:gsub("%f[^\r%z]MSA|", "")))
    c.codes[code] = (c.codes[code] or 0) + 1
    reply, why = c.conn:recv_frame(0)
  end
  assert.equal("timeout", why, w.e:running() and "" or w.e:log():sub(-3000))
  return c.answered == #c.sent
end

local function round(w)
  local deadline = sys.now() + sys.patience(120)
  for _, name in ipairs(w.names) do send(w.channel[name], BURST) end
  repeat
    local all = true
    step(w)
    for _, name in ipairs(w.names) do all = take_answers(w, w.channel[name]) and all end
    if not all then sys.sleep(0.001) end
    assert.is_true(w.e:running(), "the engine ended")
    assert.is_true(sys.now() < deadline, "messages were not answered")
  until all
end

local function settle(w)
  sys.wait_until(function()
    step(w)
    for _, c in ipairs(w.e:status().channels) do
      if c.pending > 0 then return false end
      for _, d in ipairs(c.destinations) do
        if d.queued > 0 then return false end
      end
    end
    return true
  end, 120, "an end of what waits")
end

local function kept(w, name)
  local list = {}
  local rows = w.s:json_lines("messages", name, "--limit", "9999999")
  for i = #rows, 1, -1 do list[#list + 1] = rows[i].control_id end
  return list, rows
end

-- Nothing but its own messages, each as its script made it.
local function check_clean(w)
  local c, k = w.channel.keep, w.e:channel "keep"
  assert.same({ #c.sent, #c.sent, 0, 0, 0, 0 },
    { k.received, k.processed, k.filtered, k.errors, k.parked, k.worker_restarts })
  assert.same({ AA = #c.sent }, c.codes)
  assert.same(c.sent, c.to:ids())
  for i, f in ipairs(c.to.frames) do
    local text = traffic.adt(c.sent[i], { name = NAME .. "^ANNA", more = "ZKV|" .. i .. "\r" })
    if f.text ~= text then assert.equal(text, f.text) end
  end
end

local function check_others(w)
  for _, name in ipairs { "one", "two", "three" } do
    local c = w.channel[name]
    local ids = kept(w, name)
    assert.equal(#c.sent, #ids, name)
    for i, id in ipairs(ids) do
      if id ~= c.sent[i] then assert.equal(c.sent[i], id) end
    end
    for _, f in ipairs(c.to.frames) do
      for _, other in ipairs(w.names) do
        assert.is_true(other == name or not f.text:find(other:upper() .. "-", 1, true), f.text)
      end
    end
  end
  local _, rows = kept(w, "sink")
  for _, r in ipairs(rows) do assert.is_nil((tostring(r.control_id):find "^%u+%-"
    and not tostring(r.control_id):find "^ONE%-") or nil) end
  assert.is_nil(w.forbidden:accept(0))
end

describe("e2e/worker frames", function()
  after_each(site.cleanup)

  -- Each found by the other test, or by looking for what it may not find.
  for name, case in pairs {
    ["HELLO again and again is not answered each time"] = { "7:1", 'why="sent what no worker sends"' },
    ["a failure to load is none once it has loaded"] = { "11:9", 'why="sent what no worker sends"' },
    ["a place is a line of the channel's files"] = { "12:10", "channel=%s seq=0 at=- length=0" },
    ["lines of a message have an end"] = { "13:10", 'why="sent what no worker sends"' },
  } do
    it(name, function()
      local w = begin(case[1])
      round(w)
      settle(w)
      check_clean(w)
      check_others(w)
      assert.equal(0, w.e:stop(30))
      local log = w.e:log()
      local found = false
      for _, at in ipairs(w.names) do found = found or log:find(case[2]:format(at), 1, true) ~= nil end
      assert.is_true(found, log:sub(-3000))
      assert.is_nil(log:find(NAME, 1, true))
    end)
  end

  it("spoiled by their workers hurt these alone", function()
    local w = begin()
    local n, rounds, first_kb, first_fds = counters(w.path), 0, nil, nil
    while n.spoiled < total do
      round(w)
      rounds, n = rounds + 1, counters(w.path)
      if rounds % 20 == 1 then
        assert.equal(5, #w.e:status().channels)
        while w.granted:accept(0) do end
      end
      if not first_kb and n.spoiled > total / 4 then
        first_kb, first_fds = proc.proc_status(w.e.pid, "RssAnon"), fds(w.e.pid)
      end
    end
    settle(w)
    local grown = proc.proc_status(w.e.pid, "RssAnon") - first_kb
    if os.getenv "FRAMES" then
      print(("## %d records of %d were spoiled (%d lies, %d nonsense), %d connections asked for, %d workers, "
        .. "%d messages, %+d kB"):format(n.spoiled, n.sent, n.lies, n.nonsense, n.asked, n.started,
        rounds * BURST * #w.names, grown))
      print("## by kind: " .. table.concat(n.kinds, " "))
    end
    assert.is_true(n.nonsense > 3 and n.lies > 100 and n.asked > 0, "the library is not at work")
    check_clean(w)
    check_others(w)
    assert.is_true(fds(w.e.pid) <= first_fds + 12, "descriptors")
    if (os.getenv "MODE" or "release") == "release" then
      assert.is_true(grown < 32768, ("grew by %d kB"):format(grown))
    end
    assert.equal(0, w.e:stop(30))
    local log = w.e:log()
    site.has(log, 'why="sent what no worker sends"')
    assert.is_nil(log:find(NAME, 1, true))
    assert.is_nil(log:find("worker lost channel=keep", 1, true))
    assert.equal(0, (w.s:run "verify"))
  end)
end)
