-- `lunate verify` on real files: what is in order is called so, what is wrong is named, and no file
-- makes it crash or hang.
local st = require "support.store"
local C = st.C
local lunate = os.getenv "LUNATE" or "build/lunate"

local function verify(dir)
  return st.sh("LD_PRELOAD= timeout 60 " .. lunate .. " verify " .. dir)
end

-- A store in which everything there can be has happened. Channel 1's message k stands at place k.
local function live(dir)
  local s = assert(st.open(dir))
  local a, b = s:channel "a", s:channel "b"
  local lab, ehr = s:dest(a, "lab"), s:dest(a, "ehr")
  local function take(i) assert(i) end
  for k = 1, 300 do
    take(s:append(a, { raw = "MARKER" .. k .. ("m"):rep(k), control_id = "ID" .. k,
      patient = { "P" .. k % 9, "Q", "P" .. k % 9 } }))
    if k == 3 then
      take(s:result(a, k, { state = "parked", reason = "bad", where = "a.lua:1", trace = "t" }))
    elseif k == 7 then
      take(s:result(a, k, { state = "filtered", reason = "no" }))
    elseif k < 280 then
      take(s:result(a, k, { kv = { { "k", ("%d"):format(k) } }, items = {
        { dest = lab, kind = "bytes", data = "MARKER" .. k .. ("n"):rep(k) },
        { dest = ehr, kind = k % 2 == 0 and "input" or "filtered", data = "odd" } } }))
    end
  end
  for k = 1, 200 do
    if k ~= 3 and k ~= 7 then
      take(s:outcome(a, lab, k, 0, { reply = "AA", state = k == 5 and "parked" or "sent" }))
    end
  end
  take(s:event(a, 2, C.LN_EV_LOG, "one"))
  take(s:event(a, 2, C.LN_EV_LOG, "two"))
  take(s:append(b, { raw = ("L"):rep(300000), control_id = "LONG" }))
  take(s:result(b, 1, {}))
  take(s:append(b, { raw = "x", kind = C.LN_R_UNREADABLE }))
  take(s:result(b, 2, { state = "rejected" }))
  assert.is_true(s:wait())
  return s, a, b
end

-- Changes byte `at` (from 0) of the store's file.
local function flip(dir, at)
  local f = assert(io.open(dir .. "/data.mdb", "r+b"))
  f:seek("set", at)
  local byte = f:read(1):byte()
  f:seek("set", at)
  f:write(string.char((byte + 1) % 256))
  f:close()
end

describe("lunate verify", function()
  local dir, pristine, damage
  setup(function()
    damage = st.program "damage"
    pristine = st.folder()
    live(pristine):close()
  end)
  teardown(st.clean)
  before_each(function()
    dir = st.folder()
    assert.equal(0, (st.sh(("mkdir %s && cp %s/data.mdb %s/"):format(dir, pristine, dir))))
  end)
  after_each(function() st.sh("rm -rf " .. dir) end)

  it("finds a store in order, running or not", function()
    local status, text = verify(dir)
    assert.matches("302 messages in 2 channels, .*all in order", text)
    assert.equal(0, status)
    local other = st.folder()
    local s = live(other)
    status, text = verify(other)
    assert.equal(0, status, text)
    s:close()
  end)

  it("finds it in order after trimming and indexing", function()
    local s, a, b = live(dir .. "2")
    for k = 1, 5000 do
      s:append(b, { raw = "y" .. k, control_id = "I" .. k, patient = { "Z" .. k % 3 } })
      s:result(b, k + 2, { state = k % 1000 == 0 and "parked" or "done" })
      if k % 1000 == 0 then s:wait() end
    end
    C.ln_store_retain(s.s, b, 0, 100000)
    assert.is_true(st.until_true(function()
      s:call("ln_store_set_mode", a, C.LN_MODE_RUN)
      s:wait()
      return s:state(b).bytes <= 100000
    end, 30))
    s:close()
    local status, text = verify(dir .. "2")
    st.sh("rm -rf " .. dir .. "2")
    assert.equal(0, status, text)
  end)

  for what, pattern in pairs {
    count = "a: messages: it counts 301, there are 300",
    queue = "a: queue of lab: it counts 81, there are 79",
    cursor = "a/279: it has a result before its turn",
    result = "a/2: it has no result, and the channel is past it",
    outcome = "a/2: output 0 has no outcome, and lab is past it",
    receipt = "a/2: it is missing: the channel's map leads to place 2",
    note = "a: parked messages: it counts 1, there are 0",
    orphan = "an outcome belongs to no message %(place 5000%)",
    map = "a/301: it is missing",
  } do
    it("names a wrong " .. what, function()
      assert.equal(0, (st.sh(("LD_PRELOAD= %s %s %s"):format(damage, what, dir))))
      local status, text = verify(dir)
      assert.equal(1, status, text)
      assert.matches(pattern, text)
    end)
  end

  it("names the message whose bytes were changed", function()
    local all = st.content(dir .. "/data.mdb")
    for _, k in ipairs { 1, 44, 299 } do
      -- a page that is no longer in use may hold a copy: change them all
      local at, n = all:find("MARKER" .. k .. "m", 1, true), 0
      while at do
        flip(dir, at + 5)
        n = n + 1
        at = all:find("MARKER" .. k .. "m", at + 1, true)
      end
      assert.is_true(n > 0)
      local status, text = verify(dir)
      assert.equal(1, status)
      assert.matches(("a/%d: what was received is damaged"):format(k), text, 1, true)
      local _, json = st.sh("LD_PRELOAD= " .. lunate .. " verify --json " .. dir)
      assert.matches(('"channel":"a","seq":%d,"what":"what was received is damaged"'):format(k),
        json, 1, true)
    end
    local _, text = verify(dir)
    for _, k in ipairs { 1, 44, 299 } do
      assert.matches(("a/%d: what was received is damaged"):format(k), text, 1, true)
    end
    assert.is_nil(text:find("a/45:", 1, true))
  end)

  it("names the long message of which a part was changed", function()
    local all, at = st.content(dir .. "/data.mdb"), 0
    while true do
      at = all:find(("L"):rep(4000), at + 1, true)
      if not at then break end
      flip(dir, at + 2000)
      at = at + 50000
    end
    local status, text = verify(dir)
    assert.equal(1, status)
    assert.is_truthy(text:find("part %d+ of its content is damaged")
      or text:find "a message cannot be read", text)
  end)

  it("ends with 0 or 1 and says why, wherever a byte was changed", function()
    local len, wrong = #st.content(dir .. "/data.mdb"), 0
    math.randomseed(7)
    for round = 1, 40 do
      st.sh(("cp %s/data.mdb %s/"):format(pristine, dir))
      -- half of them within what LMDB keeps at the front of a page
      local page = math.random(0, len / 4096 - 1) * 4096
      flip(dir, page + (round % 2 == 0 and math.random(0, 40) or math.random(0, 4095)))
      local status, text = verify(dir)
      assert.is_true(status == 0 or status == 1, ("round %d: %s %s"):format(round, status, text))
      assert.is_true(#text > 10)
      wrong = wrong + status
    end
    assert.is_true(wrong > 8, wrong .. " of 40 were found")
  end)

  it("says when the file is cut off", function()
    local len = #st.content(dir .. "/data.mdb")
    for _, cut in ipairs { 0, 100, 4096, 8192, math.floor(len / 3), len - 65536 } do
      st.sh(("cp %s/data.mdb %s/; truncate -s %d %s/data.mdb"):format(pristine, dir, cut, dir))
      local status, text = verify(dir)
      assert.equal(1, status, cut .. ": " .. text)
      assert.matches(dir, text, 1, true)
    end
  end)

  it("goes on looking while an engine writes", function()
    local child = st.program "child"
    local pid = st.start(("%s run %s-live 0 20"):format(child, dir))
    assert.is_true(st.until_true(function()
      return (st.sh("LD_PRELOAD= test -s " .. dir .. "-live/data.mdb")) == 0
    end, 10))
    local looks = 0
    while st.alive(pid) and looks < 8 do
      local status, text = verify(dir .. "-live")
      assert.equal(0, status, text)
      looks = looks + 1
    end
    st.sh("kill " .. pid)
    st.until_true(function() return not st.alive(pid) end, 10)
    st.sh("rm -rf " .. dir .. "-live")
    assert.is_true(looks > 0)
  end)

  it("has nothing to say of what is not a store", function()
    local status, text = verify "/nonexistent"
    assert.equal(1, status)
    assert.matches("^lunate verify: no store in /nonexistent", text)
    for _, bytes in ipairs { "", "hello", ("x"):rep(20000) } do
      st.sh(("mkdir -p %s-other; printf %%s %s > %s-other/data.mdb"):format(dir, bytes, dir))
      status, text = verify(dir .. "-other")
      assert.equal(1, status)
      assert.matches("/data.mdb is not a Lunate store: .*`lunate restore DIR %-%-force`", text)
    end
    st.sh("rm -rf " .. dir .. "-other")
  end)
end)
