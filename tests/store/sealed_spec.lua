-- Encryption at rest: nothing of a patient stands in the files, nothing that was changed or moved is
-- read, no nonce is used twice, keys are changed at any moment without a loss.
local st = require "support.store"
local ln = st.ln
local ffi, C = st.ffi, st.C
local lunate = os.getenv "LUNATE" or "build/lunate"

local ONE, TWO = ("1a"):rep(32), ("2b"):rep(32)
local MARKS = { "RAWMARK", "CTRLMARK", "PATMARK", "OUTMARK", "REPLYMARK", "REASONMARK", "KVNAMEMARK",
  "KVVALUEMARK", "EVENTMARK", "TRACEMARK", "LONGMARK", "PEERMARK" }

-- Every kind of record, with marks. Messages 1..n of channel "a", a long one in "b".
local function live(dir, n, from)
  local s = assert(st.open(dir))
  local a, b = s:channel "a", s:channel "b"
  local lab = s:dest(a, "lab")
  for k = from or 1, n do
    assert(s:append(a, { raw = "RAWMARK" .. k .. ("m"):rep(k), control_id = "CTRLMARK" .. k,
      patient = { "PATMARK" .. k % 9 }, peer = "PEERMARK" }))
    if k % 10 == 3 then
      assert(s:result(a, k, { state = "parked", reason = "REASONMARK", where = "a.lua:1",
        trace = "TRACEMARK" }))
    else
      assert(s:result(a, k, { kv = { { "KVNAMEMARK" .. k % 5, "KVVALUEMARK" .. k } }, items = {
        { dest = lab, kind = "bytes", data = "OUTMARK" .. k .. ("n"):rep(k) } } }))
      assert(s:outcome(a, lab, k, 0, { reply = "REPLYMARK" .. k, reason = "REASONMARK" }))
    end
    assert(s:event(a, k, C.LN_EV_LOG, "EVENTMARK" .. k))
  end
  assert(s:append(b, { raw = ("LONGMARK"):rep(30000), control_id = "CTRLMARKLONG" }))
  assert.is_true(s:wait())
  return s, a, b
end

-- Keeps a script version of one file, as what the channel runs.
local function keep_version(s, chan)
  local file = ffi.new "struct ln_version_file[1]"
  local path, text = "channels/a.lua", ("return channel {} -- "):rep(20)
  local packed = ffi.new "struct ln_buf"
  assert.equal(0, C.ln_version_pack(ln.span(text), packed))
  file[0].path, file[0].len = ln.span(path), #text
  file[0].packed.ptr, file[0].packed.len = packed.data, packed.len
  ffi.fill(file[0].hash, 32, 7)
  local v = ffi.new("struct ln_version", { first_us = 1, last_us = 1, nfile = 1, file = file })
  ffi.fill(v.hash, 32, 9)
  v.id = 0x0909090909090909ull
  local slot, i = s:slot()
  assert.equal(0, C.ln_store_version(s.s, chan, v, s.so.collect_done, slot))
  assert.is_true(s:wait())
  assert.equal(0, s:code(i))
  C.ln_buf_fini(packed)
end

local function marks_in(dir)
  local found, all = {}, st.content(dir .. "/data.mdb")
  for _, m in ipairs(MARKS) do
    if all:find(m, 1, true) then found[#found + 1] = m end
  end
  return found
end

local function check(s, a, n)
  st.read(s, function(r)
    for k = 1, n do
      local m = assert(r:receipt(a, k))
      assert.equal("RAWMARK" .. k .. ("m"):rep(k), m.raw)
      assert.same({ { a, k } }, r:find(C.LN_INDEX_CONTROL_ID, 0, "CTRLMARK" .. k))
      if k % 10 ~= 3 then
        assert.equal("OUTMARK" .. k .. ("n"):rep(k), (r:output(a, k, 0)))
        assert.equal("REPLYMARK" .. k, r:outcome(a, k, 0).reply)
      end
    end
    local kv, count = r:kv(a), 0
    for _, pair in ipairs(kv) do
      count = count + 1
      assert.matches("^KVNAMEMARK%d$", pair[1])
      assert.matches("^KVVALUEMARK%d+$", pair[2])
    end
    assert.equal(5, count)
  end)
end

local function verify(dir, key)
  local site = dir .. "-site"
  st.sh(("mkdir -p %s"):format(site))
  local f = assert(io.open(site .. "/lunate.lua", "w"))
  f:write(key and 'return { encryption = { key_command = "echo ' .. key .. '" } }' or "return {}")
  f:close()
  local status, text = st.sh(("LD_PRELOAD= timeout 60 %s -C %s verify %s"):format(lunate, site, dir))
  st.sh("rm -rf " .. site)
  return status, text
end

describe("an encrypted store", function()
  local dir
  before_each(function()
    dir = st.folder()
    st.keys(ONE)
  end)
  after_each(function()
    st.keys(nil)
    st.clean()
  end)

  it("holds nothing of a patient in clear, nor does its backup", function()
    local s, a = live(dir, 300)
    check(s, a, 300)
    local err, copy = ffi.new "struct ln_err", dir .. "-copy"
    assert.equal(0, C.ln_store_backup(dir, copy, err), ffi.string(err.text))
    s:close()
    assert.same({}, marks_in(dir))
    assert.same({}, marks_in(copy))
    local _, mode = st.sh("stat -c %a " .. dir .. " " .. dir .. "/data.mdb " .. copy .. "/data.mdb")
    assert.equal("700\n600\n600\n", mode)
    s = assert(st.open(copy))
    check(s, a, 300)
    s:close()
    st.sh("rm -rf " .. copy)
    -- the test can fail: in clear they are all there
    st.keys(nil)
    live(dir .. "-clear", 300):close()
    assert.equal(#MARKS, #marks_in(dir .. "-clear"))
    st.sh("rm -rf " .. dir .. "-clear")
  end)

  it("finds by ids across thousands of messages, merged blocks and restarts", function()
    local s = assert(st.open(dir))
    local a = s:channel "a"
    for k = 1, 9000 do
      assert(s:append(a, { raw = "x" .. k, control_id = "I" .. k, patient = { "P" .. k % 1000 } }))
      if k % 1000 == 0 then assert.is_true(s:wait()) end
    end
    for _ = 1, 2 do
      st.read(s, function(r)
        for _, k in ipairs { 1, 77, 4096, 4097, 8500, 9000 } do
          assert.same({ { a, k } }, r:find(C.LN_INDEX_CONTROL_ID, 0, "I" .. k))
        end
        assert.equal(9, #r:find(C.LN_INDEX_PATIENT, a, "P5"))
        assert.same({}, r:find(C.LN_INDEX_PATIENT, a, "P1000"))
      end)
      s:close()
      s = assert(st.open(dir))
    end
    s:close()
    assert.equal(0, (verify(dir, ONE)))
  end)

  it("is refused without its key, and with another", function()
    live(dir, 20):close()
    st.keys(nil)
    local s, code, text = st.open(dir)
    assert.is_nil(s)
    assert.equal(C.LN_EKEY, code)
    assert.matches("is encrypted, and no key is named: lunate.lua needs encryption", text, 1, true)
    st.keys(TWO)
    s, code, text = st.open(dir)
    assert.is_nil(s)
    assert.equal(C.LN_EKEY, code)
    assert.matches("is encrypted with key %x+, which is not in test keys: put that key there", text)
    local status, said = verify(dir)
    assert.equal(0, status, said)
    assert.matches("no key at hand", said)
    status, said = verify(dir, TWO)
    assert.equal(1, status)
    assert.matches("is encrypted with key", said)
    status, said = verify(dir, ONE)
    assert.equal(0, status, said)
    assert.is_nil(said:find "no key at hand")
    local err, aside = ffi.new "struct ln_err", ffi.new "char[4096]"
    assert.equal(C.LN_EKEY, C.ln_store_restore(dir, dir .. "-new", false, aside, 4096, err))
  end)

  it("takes over a store in clear, keeps what is older readable, and can rewrite it", function()
    st.keys(nil)
    local s, a = live(dir, 50)
    s:close()
    st.keys(ONE)
    s = live(dir, 100, 51)
    check(s, a, 100)
    s:close()
    s = assert(st.open(dir))
    check(s, a, 100)
    local r = ffi.new "struct ln_reader *[1]"
    local ks = ffi.new "struct ln_key_state"
    assert.equal(0, C.ln_reader_of(s.s, r))
    assert.equal(0, C.ln_reader_begin(r[0]))
    assert.equal(0, C.ln_read_key_state(r[0], ks))
    C.ln_reader_close(r[0])
    assert.same({ true, 102, 51, 1 }, { ks.sealed, tonumber(ks.messages), tonumber(ks.clear),
      tonumber(ks.generations) })
    s:close()
    local status, text = verify(dir, ONE)
    assert.equal(0, status, text)
    assert.matches("51 of them", text)
    assert.is_true(#marks_in(dir) > 3)
    local n, err = ffi.new "uint64_t[1]", ffi.new "struct ln_err"
    assert.equal(0, C.ln_store_encrypt(dir, nil, nil, n, err), ffi.string(err.text))
    assert.equal(102, tonumber(n[0]))
    assert.same({}, marks_in(dir))
    status, text = verify(dir, ONE)
    assert.equal(0, status, text)
    s = assert(st.open(dir))
    check(s, a, 100)
    assert.equal(100, s:state(a).received)
    assert.equal(10, s:state(a).parked)
    s:close()
  end)

  it("never uses a nonce twice under a key", function()
    local child = st.program "child"
    for _ = 1, 5 do -- lives that end by kill
      local pid, out = st.start(("%s run %s 0 30"):format(child, dir))
      st.until_true(function() return #st.content(out) > 200 or not st.alive(pid) end)
      st.sh("kill -9 " .. pid)
      st.until_true(function() return not st.alive(pid) end)
    end
    local nonces = st.program "nonces"
    local status, text = st.sh(("LD_PRELOAD= %s %s"):format(nonces, dir))
    assert.equal(0, status, text)
    local records, generations, double = text:match "(%d+) records, (%d+) generations, (%d+) double"
    assert.is_true(tonumber(records) > 50, text)
    assert.is_true(tonumber(generations) >= 4, text)
    assert.equal("0", double)
  end)

  it("goes on with a new key while it runs, and after any kill in between", function()
    local both = TWO .. "\n" .. ONE
    local s, a = live(dir, 40)
    local out, err = ffi.new "struct ln_keys *[1]", ffi.new "struct ln_err"
    assert.equal(0, C.ln_keys_parse(ln.span(both), "test", out, err))
    local slot, i = s:slot()
    assert.equal(0, C.ln_store_rekey(s.s, out[0], s.so.collect_done, slot))
    assert.is_true(s:wait())
    assert.equal(0, s:code(i))
    check(s, a, 40)
    s:close()
    assert.equal(1, (verify(dir, ONE)))
    st.keys(TWO) -- the old one is no longer needed
    s = assert(st.open(dir))
    check(s, a, 40)
    s:close()
    -- with both, the other way round: taken into use by the next start
    st.keys(ONE .. "\n" .. TWO)
    s = live(dir, 60, 41)
    s:close()
    st.keys(ONE)
    s = assert(st.open(dir))
    check(s, a, 60)
    s:close()
    -- killed anywhere in a life that rotates: one of the two opens it, both do always
    local child = st.program "child"
    for round = 1, 8 do
      local first, second = ONE, TWO
      if round % 2 == 0 then first, second = TWO, ONE end
      local pid, file = st.start(("LUNATE_TEST_KEYS='%s\n%s' %s run %s-r 0 10"):format(first, second,
        child, dir))
      st.until_true(function() return #st.content(file) > round * 20 or not st.alive(pid) end)
      st.sh("kill -9 " .. pid)
      st.until_true(function() return not st.alive(pid) end)
      st.keys(second .. "\n" .. first)
      s = assert(st.open(dir .. "-r"))
      assert.is_true(s:state(1).received > 0)
      s:close()
    end
    st.sh("rm -rf " .. dir .. "-r")
  end)

  it("opens nothing that was changed, and verify names it", function()
    local store, a = live(dir, 60)
    keep_version(store, a)
    store:close()
    local tamper = st.program "tamper"
    for what, pattern in pairs {
      receipt = "a/2: what was received was changed",
      result = "a/2: its result was changed",
      outcome = "a/2: the outcome of output 0 was changed",
      event = "a/2: an event was changed",
      kv = "a: a kv pair was changed",
      numbers = "a: the channel's record of numbers was changed",
      swap = "a/%d+: what was received was changed",
      clear = "a/2: what was received was changed",
      clearkv = "a: a kv pair was changed",
      part = "b/1: what was received cannot be put together",
      version = "a: a script version was changed",
      file = "a script's file was changed",
      count = "the count of a script's file was changed",
      now = "a: the note of which script version runs was changed",
    } do
      local copy = dir .. "-" .. what
      st.sh(("mkdir %s; cp %s/data.mdb %s/"):format(copy, dir, copy))
      local status, text = st.sh(("LD_PRELOAD= %s %s %s"):format(tamper, what, copy))
      assert.equal(0, status, what .. ": " .. text)
      status, text = verify(copy, ONE)
      assert.equal(1, status, what .. ": " .. text)
      assert.matches(pattern, text)
      st.sh("rm -rf " .. copy)
    end
  end)

  it("has its sums outside: damage is found and named without a key", function()
    live(dir, 60):close()
    local len, found = #st.content(dir .. "/data.mdb"), 0
    math.randomseed(3)
    for _ = 1, 30 do
      local copy = dir .. "-flip"
      st.sh(("rm -rf %s; mkdir %s; cp %s/data.mdb %s/"):format(copy, copy, dir, copy))
      local at = math.random(8192, len - 1)
      local f = assert(io.open(copy .. "/data.mdb", "r+b"))
      f:seek("set", at)
      local byte = f:read(1):byte()
      f:seek("set", at)
      f:write(string.char((byte + 1) % 256))
      f:close()
      local blind, text = verify(copy)
      assert.is_true(blind == 0 or blind == 1, text)
      found = found + blind
      st.sh("rm -rf " .. copy)
    end
    assert.is_true(found > 5, found .. " of 30")
  end)
end)
