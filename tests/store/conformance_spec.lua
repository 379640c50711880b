-- What any backend of core/store/store.h must hold. Nothing here knows LMDB.
local st = require "support.store"
local C = st.C

local RAW = "MSH|^~\\&|EHR|H|LUNATE|LAB|20260101||ADT^A01|%s|P|2.5\rPID|1||%s||Miller^Anna\r"
  .. "PV1|1|I\r"
local function raw(id, patient) return RAW:format(id, patient or "P1") end

--- Appends n messages with control ids M1..Mn and processes them with one output each.
local function feed(s, chan, n, dest, from)
  for k = from or 1, (from or 1) + n - 1 do
    local _, seq = s:append(chan, { control_id = "M" .. k, patient = { "P" .. k % 7 },
      raw = raw("M" .. k), time_us = k * 1000 })
    if dest then s:result(chan, seq, { items = { { dest = dest, kind = "input" } } }) end
  end
end

st.both("store", function(encrypted)
  local s, dir
  before_each(function()
    dir = st.folder()
    s = assert(st.open(dir))
  end)
  after_each(function()
    if s and s.s then s:close() end
    st.clean()
  end)
  local function reopen(options)
    s:close()
    s = assert(st.open(dir, options))
  end

  it("gives numbers in order and tells them in order, when they can be read", function()
    local chan = s:channel "a"
    local idx = {}
    for k = 1, 100 do
      local i, seq = s:append(chan, { control_id = "C" .. k, raw = raw("C" .. k), type = "ADT^A01",
        peer = "127.0.0.1:9", patient = { "1", "22" } })
      assert.equal(k, seq)
      idx[k] = i
    end
    assert.is_true(s:wait())
    for k = 1, 100 do
      assert.equal(0, s:code(idx[k]))
      assert.equal(k, s:order(idx[k]))
    end
    st.read(s, function(r)
      local m = r:receipt(chan, 42)
      assert.same({ "C42", raw "C42", "ADT^A01", "127.0.0.1:9", { "1", "22" }, 1 },
        { m.control_id, m.raw, m.type, m.peer, m.patient, m.kind })
      assert.equal(C.LN_ENOTFOUND, select(2, r:receipt(chan, 101)))
      assert.equal(100, (r:back(chan, 5000)))
      assert.equal(7, (r:back(chan, 7)))
      assert.equal(7, (r:from(chan, 7)))
      assert.equal(C.LN_ENOTFOUND, select(2, r:from(chan, 101)))
      assert.equal(C.LN_ENOTFOUND, select(2, r:back(chan, 0)))
    end)
    assert.equal(100, s:state(chan).received)
    assert.equal(0, tonumber(C.ln_store_backlog(s.s)))
  end)

  it("keeps channels apart, also when walking backwards", function()
    local a, b, c = s:channel "a", s:channel "b", s:channel "c"
    assert.same({ 1, 2, 3, 1 }, { a, b, c, s:channel "a" })
    s:append(a, { raw = "one" })
    s:append(c, { raw = "three" })
    s:wait()
    st.read(s, function(r)
      assert.equal(C.LN_ENOTFOUND, select(2, r:from(b, 0)))
      assert.equal(C.LN_ENOTFOUND, select(2, r:back(b, 10)))
      assert.equal("one", select(2, r:back(a, 10)).raw)
      assert.equal("three", select(2, r:from(c, 0)).raw)
      assert.equal(b, r:channel_id "b")
      assert.equal(0, r:channel_id "zzz")
      local names = {}
      for _, ch in ipairs(r:channels()) do names[#names + 1] = ch.name end
      assert.same({ "a", "b", "c" }, names)
    end)
  end)

  it("moves the cursor with a result and refuses one out of turn", function()
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    for k = 1, 4 do s:append(chan, { raw = raw("M" .. k) }) end
    local ok = s:result(chan, 1, { items = { { dest = lab, kind = "bytes", data = "OUT" } } })
    assert.equal(C.LN_EINVAL, select(2, s:result(chan, 1, {})))
    assert.equal(C.LN_EINVAL, select(2, s:result(chan, 9, {})))
    local over = s:result(chan, 3, {}) -- passes 2 over
    s:wait()
    assert.same({ 0, C.LN_EINVAL }, { s:code(ok), s:code(over) })
    assert.equal(2, s:state(chan).cursor)
    st.read(s, function(r)
      assert.equal(C.LN_ENOTFOUND, select(2, r:result(chan, 3)))
      assert.equal("OUT", r:output(chan, 1, 0))
    end)
  end)

  it("keeps everything of a result", function()
    local chan = s:channel "a"
    local lab, ehr = s:dest(chan, "lab"), s:dest(chan, "ehr")
    local input = raw("M1", "4711")
    local changed = input:gsub("Miller^Anna", "MILLER^ANNA") .. "ZPD|1|x\r"
    s:append(chan, { raw = input })
    s:result(chan, 1, { script = 12345, duration_us = 77, attempts = 2, ack = "AA",
      reason = "why", where = "channels/a.lua:7", trace = "traceback",
      items = {
        { dest = lab, kind = "bytes", data = changed },
        { dest = ehr, kind = "same", same = 0 },
        { dest = ehr, kind = "input" },
        { dest = lab, kind = "filtered", data = "not for lab" },
        { dest = ehr, kind = "parked", data = "boom" },
        { kind = "forwarded", to_chan = 3, to_seq = 9 },
        { dest = lab, kind = "bytes", data = "" },
        { dest = lab, kind = "bytes", data = "MSH|other" },
      },
      kv = { { "b", "2" }, { "a", "1" }, { "a\0x", "" } } })
    s:wait()
    st.read(s, function(r)
      local p = r:result(chan, 1)
      assert.same({ 1, 2, 77, 12345, "AA", "why", "channels/a.lua:7", "traceback" },
        { p.state, p.attempts, p.duration_us, p.script, p.ack, p.reason, p.where, p.trace })
      assert.equal(8, #p.items)
      assert.equal(changed, p.items[1].data)
      assert.same({ 3, 9 }, { p.items[6].to_chan, p.items[6].to_seq })
      assert.equal("not for lab", p.items[4].data)
      assert.equal(changed, r:output(chan, 1, 0))
      assert.equal(changed, r:output(chan, 1, 1))
      assert.equal(input, r:output(chan, 1, 2))
      assert.equal(C.LN_ENOTFOUND, select(2, r:output(chan, 1, 3)))
      assert.equal("", r:output(chan, 1, 6))
      assert.equal("MSH|other", r:output(chan, 1, 7))
      assert.same({ { "a", "1" }, { "a\0x", "" }, { "b", "2" } }, r:kv(chan))
      assert.same({ { 1, 4 } }, r:parked(chan))
    end)
    local c = s:state(chan)
    assert.same({ 3, 1, 0 }, { c.dest[1].queued, c.dest[1].filtered, c.dest[1].parked })
    assert.same({ 2, 0, 1 }, { c.dest[2].queued, c.dest[2].filtered, c.dest[2].parked })
  end)

  it("rebuilds outputs byte for byte, whatever was changed", function()
    math.randomseed(7)
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    local outs, ins = {}, {}
    for k = 1, 400 do
      local lines = {}
      for l = 1, math.random(0, 12) do
        lines[l] = ("OBX|%d|NM|%s||%d"):format(l, ("x"):rep(math.random(0, 30)), math.random(1e6))
      end
      local input = table.concat(lines, "\r") .. (math.random(2) == 1 and "\r" or "")
      for _ = 1, math.random(0, 4) do -- change, drop, add, swap segments and bytes
        local at, what = math.random(#lines + 1), math.random(5)
        if what == 1 and lines[at] then table.remove(lines, at)
        elseif what == 2 then table.insert(lines, at, "ZZ" .. math.random(9) .. "|new")
        elseif what == 3 and lines[at] then lines[at] = lines[at]:gsub("x", "yy", 1)
        elseif what == 4 and lines[at] then lines[at], lines[1] = lines[1], lines[at]
        elseif lines[at] then lines[at] = lines[at] .. ("|\0\255"):rep(math.random(20)) end
      end
      ins[k], outs[k] = input, table.concat(lines, "\r") .. (math.random(2) == 1 and "\r" or "")
      s:append(chan, { raw = input })
      s:result(chan, k, { items = { { dest = lab, kind = "bytes", data = outs[k] } } })
    end
    s:wait()
    st.read(s, function(r)
      for k = 1, 400 do
        assert.equal(ins[k], r:receipt(chan, k).raw)
        assert.equal(outs[k], r:output(chan, k, 0))
      end
    end)
  end)

  it("keeps an output that differs little as little", function()
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    local input = "MSH|^~\\&|EHR|H|\rPID|1||4711||Miller\r" .. ("OBX|1|TX|text text text\r"):rep(40)
    s:append(chan, { raw = input })
    s:wait()
    local before = s:state(chan).bytes
    s:result(chan, 1, { items = { { dest = lab, kind = "bytes",
      data = input:gsub("EHR", "LUNATE"):gsub("Miller", "MILLER") .. "ZZZ|1\r" } } })
    s:wait()
    assert.is_true(s:state(chan).bytes - before < 120)
  end)

  it("delivers in order from a destination's cursor", function()
    local chan = s:channel "a"
    local lab, ehr = s:dest(chan, "lab"), s:dest(chan, "ehr")
    for k = 1, 5 do
      s:append(chan, { raw = "in" .. k, time_us = 1000 + k })
      s:result(chan, k, { items = {
        { dest = ehr, kind = k % 2 == 0 and "filtered" or "bytes", data = "ehr" .. k },
        { dest = lab, kind = "bytes", data = "lab" .. k .. "a" },
        { dest = lab, kind = "bytes", data = "lab" .. k .. "b" } } })
    end
    s:wait()
    st.read(s, function(r)
      local got, seq, n = {}, 0, 0
      while true do
        local a, b, bytes, t = r:next_output(chan, lab, seq, n)
        if not a then assert.equal(C.LN_ENOTFOUND, b) break end
        got[#got + 1] = bytes
        assert.equal(1000 + a, t)
        seq, n = a, b + 1
      end
      assert.same({ "lab1a", "lab1b", "lab2a", "lab2b", "lab3a", "lab3b", "lab4a", "lab4b", "lab5a",
        "lab5b" }, got)
    end)
    assert.same({ 3, 10, 2 }, { s:state(chan).dest[ehr].queued, s:state(chan).dest[lab].queued,
      s:state(chan).dest[ehr].filtered })
    assert.is_number(s:outcome(chan, lab, 1, 1, { reply = "ACK", tries = 3, reason = "r" }))
    local one = s:outcome(chan, lab, 1, 2, {})
    local two = s:outcome(chan, lab, 2, 1, { state = "parked", reason = "AE" })
    local wrong = s:outcome(chan, ehr, 2, 0) -- filtered: not an output
    s:wait()
    assert.same({ 0, 0, C.LN_EINVAL }, { s:code(one), s:code(two), s:code(wrong) })
    assert.equal(C.LN_EINVAL, select(2, s:outcome(chan, lab, 1, 2)))
    local d = s:state(chan).dest[lab]
    assert.same({ 7, 2, 1, 2, 2 }, { d.queued, d.sent, d.parked, d.seq, d.n })
    st.read(s, function(r)
      local o = r:outcome(chan, 1, 1)
      assert.same({ 1, 3, "ACK", "r" }, { o.state, o.tries, o.reply, o.reason })
      assert.equal(C.LN_ENOTFOUND, select(2, r:outcome(chan, 3, 1)))
      assert.same({ { 2, 1 } }, r:parked(chan))
      assert.equal("lab2b", select(3, r:next_output(chan, lab, 2, 2)))
    end)
  end)

  it("gives up looking for an output after 1,000 messages and says where to go on", function()
    local chan = s:channel "a"
    local lab, rare = s:dest(chan, "lab"), s:dest(chan, "rare")
    feed(s, chan, 1500, lab)
    s:append(chan, { raw = "x" })
    s:result(chan, 1501, { items = { { dest = rare, kind = "input" } } })
    s:wait()
    st.read(s, function(r)
      local _, rc, seq, n = r:next_output(chan, rare, 1, 0)
      assert.same({ C.LN_EAGAIN, 1001, 0 }, { rc, seq, n })
      assert.equal(1501, (r:next_output(chan, rare, seq, n)))
    end)
    -- its queue was empty: the cursor is where its first output stands
    assert.equal(1501, s:state(chan).dest[rare].seq)
  end)

  it("commits a group in one transaction", function()
    local a, b = s:channel "a", s:channel "b"
    s:append(a, { raw = "x" })
    s:wait()
    s:begin()
    s:append(b, { raw = "x", must = true, kind = C.LN_R_FORWARDED, origin_chan = a,
      origin_seq = 1 })
    st.sh "sleep 0.05" -- the committer is idle: it must not take half of the group
    st.read(s, function(r) assert.is_nil(r:receipt(b, 1)) end)
    s:result(a, 1, { items = { { kind = "forwarded", to_chan = b, to_seq = 1 } } })
    s:finish()
    s:wait()
    st.read(s, function(r)
      local m = r:receipt(b, 1)
      assert.same({ C.LN_R_FORWARDED, a, 1 }, { m.kind, m.origin_chan, m.origin_seq })
      assert.equal(2, r:channel(a).cursor)
    end)
  end)

  it("counts and lists what is parked, and takes it off the list", function()
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    for k = 1, 3 do s:append(chan, { raw = "x" .. k }) end
    s:result(chan, 1, { state = "parked", reason = "boom" })
    s:result(chan, 2, { items = { { dest = lab, kind = "parked", data = "boom" },
      { dest = lab, kind = "input" } } })
    s:outcome(chan, lab, 2, 1, { state = "parked" })
    s:result(chan, 3, { state = "parked" })
    s:wait()
    local c = s:state(chan)
    assert.same({ 2, 3, 0 }, { c.parked, c.errors, c.processed }) -- the second failed for a destination
    assert.same({ 2, 0 }, { c.dest[1].parked, c.dest[1].queued })
    st.read(s, function(r)
      assert.same({ { 1, "whole" }, { 2, 0 }, { 2, 1 }, { 3, "whole" } }, r:parked(chan))
    end)
    s:call("ln_store_unpark", chan, 1, st.WHOLE)
    s:call("ln_store_unpark", chan, 2, 1)
    local never = s:call("ln_store_unpark", chan, 99, 0)
    s:wait()
    assert.equal(0, s:code(never))
    c = s:state(chan)
    assert.same({ 1, 3, 1 }, { c.parked, c.errors, c.dest[1].parked })
    st.read(s, function(r) assert.same({ { 2, 0 }, { 3, "whole" } }, r:parked(chan)) end)
  end)

  it("counts attempts until the result is there, and keeps events in order", function()
    local chan = s:channel "a"
    s:append(chan, { raw = "x" })
    s:event(chan, 1, C.LN_EV_ATTEMPT, "killed")
    s:event(chan, 1, C.LN_EV_LOG, "info x.lua:1: hello", 0)
    s:wait()
    s:event(chan, 1, C.LN_EV_ATTEMPT, "killed again")
    s:event(chan, 1, C.LN_EV_RETRY, "timeout", 4)
    local missing = s:append(chan, { raw = "y" })
    s:wait()
    assert.equal(2, s:state(chan).attempts)
    st.read(s, function(r)
      local e = r:events(chan, 1)
      assert.same({ "killed", "info x.lua:1: hello", "killed again", "timeout" },
        { e[1].text, e[2].text, e[3].text, e[4].text })
      assert.equal(4, e[4].dest)
      assert.same({}, r:events(chan, 2))
    end)
    assert.equal(0, s:code(missing))
    s:result(chan, 1, { state = "filtered", reason = "not an ADT" })
    s:wait()
    assert.same({ 0, 1 }, { s:state(chan).attempts, s:state(chan).filtered })
  end)

  it("keeps kv pairs, replaces and deletes them, refuses long keys", function()
    local chan = s:channel "a"
    for k = 1, 3 do s:append(chan, { raw = "x" .. k }) end
    s:result(chan, 1, { kv = { { "k", "1" }, { ("z"):rep(400), ("v"):rep(100000) } } })
    assert.equal(C.LN_ETOOBIG, select(2, s:result(chan, 2, { kv = { { ("z"):rep(401), "1" } } })))
    s:result(chan, 2, { kv = { { "k", "2" }, { ("z"):rep(400) }, { "never" } } })
    s:wait()
    st.read(s, function(r) assert.same({ { "k", "2" } }, r:kv(chan)) end)
  end)

  it("finds by time", function()
    local chan = s:channel "a"
    feed(s, chan, 1000)
    s:wait()
    st.read(s, function(r)
      assert.equal(1, r:seq_at(chan, 0))
      assert.equal(500, r:seq_at(chan, 500000))
      assert.equal(501, r:seq_at(chan, 500001))
      assert.equal(1000, r:seq_at(chan, 1000000))
      assert.equal(C.LN_ENOTFOUND, select(2, r:seq_at(chan, 1000001)))
    end)
  end)

  it("finds by control id and patient, across blocks and after a restart", function()
    local a, b = s:channel "a", s:channel "b"
    for k = 1, 11000 do
      s:append(k % 3 == 0 and b or a, { control_id = "ID" .. k, raw = "x", time_us = k,
        patient = { "P" .. k % 1000, k % 2 == 0 and "EVEN" or "P" .. k % 1000 } })
      if k % 500 == 0 then assert.is_true(s:wait()) end
    end
    local function check(of)
      st.read(of, function(r)
        for _, k in ipairs { 1, 2, 3, 4095, 4096, 4097, 8191, 8192, 8193, 10999, 11000 } do
          local hits = r:find(C.LN_INDEX_CONTROL_ID, 0, "ID" .. k)
          assert.equal(1, #hits)
          local m = r:receipt(hits[1][1], hits[1][2])
          assert.equal("ID" .. k, m.control_id)
        end
        assert.same({}, r:find(C.LN_INDEX_CONTROL_ID, 0, "ID11001"))
        assert.same({}, r:find(C.LN_INDEX_CONTROL_ID, 0, "ID"))
        local hits, last = r:find(C.LN_INDEX_PATIENT, 0, "P7"), math.huge
        assert.equal(11, #hits)
        for _, h in ipairs(hits) do
          local m = r:receipt(h[1], h[2])
          assert.is_true(m.time_us < last) -- newest first
          last = m.time_us
        end
        assert.equal(4, #r:find(C.LN_INDEX_PATIENT, 0, "P7", 4))
        local only_b = r:find(C.LN_INDEX_PATIENT, b, "P7")
        assert.equal(3, #only_b)
        assert.equal(100, #r:find(C.LN_INDEX_PATIENT, 0, "EVEN"))
        assert.equal(C.LN_EINVAL, select(2, r:find(C.LN_INDEX_PATIENT, 0, "")))
      end)
    end
    check(s)
    reopen()
    check(s)
    s:close()
    check(dir)
    s = assert(st.open(dir))
    s:append(a, { control_id = "ID1", raw = "again", time_us = 20000 })
    s:wait()
    st.read(s, function(r)
      local hits = r:find(C.LN_INDEX_CONTROL_ID, 0, "ID1")
      assert.equal(2, #hits)
      assert.equal("again", r:receipt(hits[1][1], hits[1][2]).raw)
    end)
  end)

  it("keeps numbers, names, modes and holds over a restart", function()
    local a = s:channel "adt"
    local lab = s:dest(a, "lab")
    local ehr = s:dest(a, "ehr")
    feed(s, a, 20, lab)
    for k = 1, 5 do s:outcome(a, lab, k, 0, {}) end
    s:call("ln_store_set_mode", a, C.LN_MODE_PAUSED)
    s:call("ln_store_set_held", a, lab, true)
    s:event(a, 20, C.LN_EV_OPERATOR, "held by me: testing")
    assert.is_number(s:call("ln_store_fence"))
    s:wait()
    local before = s:state(a)
    reopen()
    assert.same(before, s:state(a))
    assert.same({ a, lab, ehr }, { s:channel "adt", s:dest(a, "lab"), s:dest(a, "ehr") })
    assert.same({ 15, true, 5, 6 - 1, 1 }, { before.dest[lab].queued, before.dest[lab].held,
      before.dest[lab].sent, before.dest[lab].seq, before.dest[lab].n })
    assert.equal(C.LN_MODE_PAUSED, before.mode)
    assert.equal(21, select(2, s:append(a, { raw = "next" })))
    assert.equal(s:channel "new", a + 1)
    assert.is_number(s:outcome(a, lab, 6, 0))
    s:wait()
    st.read(s, function(r) assert.same(s:state(a), r:channel(a)) end)
  end)

  it("trims what is done and too much, and nothing else", function()
    local a, b = s:channel "a", s:channel "b"
    local lab = s:dest(a, "lab")
    feed(s, a, 3000, lab)
    feed(s, b, 100)
    for k = 1, 2000 do s:outcome(a, lab, k, 0, {}) end
    s:event(a, 5, C.LN_EV_LOG, "x")
    s:wait()
    local before = s:state(a)
    C.ln_store_retain(s.s, a, 0, 1000) -- bytes: nothing may stay but what is not done
    C.ln_store_retain(s.s, b, 0, 1000) -- nothing of b is done
    local deadline = C.ln_mono_us() + 20e6
    repeat
      s:call("ln_store_set_mode", b, C.LN_MODE_RUN)
      s:wait()
    until s:state(a).first_seq == 2000 or C.ln_mono_us() > deadline
    assert.equal(2000, s:state(a).first_seq)
    assert.is_true(s:state(a).bytes < before.bytes * 0.4)
    assert.same({ 1, 100 }, { s:state(b).first_seq, s:state(b).received })
    assert.equal(1101, tonumber(s:stat().messages))
    st.read(s, function(r)
      assert.equal(2000, (r:from(a, 0)))
      assert.equal(C.LN_ENOTFOUND, select(2, r:result(a, 1999)))
      assert.equal(C.LN_ENOTFOUND, select(2, r:outcome(a, 1999, 0)))
      assert.same({}, r:events(a, 5))
      assert.equal(2001, (r:next_output(a, lab, 2000, 1)))
      assert.equal(1, (r:from(b, 0)))
      assert.same({}, r:find(C.LN_INDEX_CONTROL_ID, a, "M5"))
      assert.same({ { a, 2500 } }, r:find(C.LN_INDEX_CONTROL_ID, a, "M2500"))
    end)
    -- all done: all goes, and the numbers go on
    for k = 2001, 3000 do s:outcome(a, lab, k, 0, {}) end
    s:wait()
    repeat
      s:call("ln_store_set_mode", b, C.LN_MODE_RUN)
      s:wait()
    until s:state(a).bytes <= 1000 or C.ln_mono_us() > deadline
    assert.is_true(s:state(a).bytes <= 1000)
    assert.equal(3001, select(2, s:append(a, { raw = "next" })))
  end)

  it("keeps parked messages until they are too old", function()
    local a = s:channel "a"
    local now = tonumber(C.ln_now_us())
    for k = 1, 10 do
      s:append(a, { raw = "x" .. k, time_us = k <= 4 and now - 3600e6 or now })
      s:result(a, k, { state = (k == 2 or k == 7) and "parked" or "done" })
    end
    s:wait()
    C.ln_store_retain(s.s, a, 7200, 1)
    local function left()
      local t = {}
      st.read(s, function(r)
        local seq = r:from(a, 0)
        while seq do t[#t + 1] = seq; seq = r:from(a, seq + 1) end
      end)
      return t
    end
    local function settle(want)
      local deadline = C.ln_mono_us() + 10e6
      repeat
        s:call("ln_store_set_mode", a, C.LN_MODE_RUN)
        s:wait()
      until #left() == want or C.ln_mono_us() > deadline
    end
    settle(2)
    assert.same({ 2, 7 }, left())
    assert.equal(2, s:state(a).parked)
    C.ln_store_retain(s.s, a, 1800, 1)
    settle(1)
    assert.same({ 7 }, left())
    assert.same({ 1, 7 }, { s:state(a).parked, s:state(a).first_seq })
  end)

  it("carries a message of 50 MB", function()
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    local line = "OBX|1|ED|" .. ("0123456789abcdef"):rep(4095) .. "\r"
    local big = "MSH|^~\\&|\r" .. line:rep(800)
    assert.is_true(#big > 50e6)
    local i = assert(s:append(chan, { raw = big, control_id = "BIG" }))
    assert.is_true(s:wait())
    assert.equal(0, s:code(i))
    -- one more waits: a second big one is refused, a must is not
    s:begin()
    assert(s:append(chan, { raw = big }))
    assert.equal(C.LN_EFULL, select(2, s:append(chan, { raw = big })))
    assert(s:append(chan, { raw = "small", must = true }))
    s:finish()
    s:wait()
    s:result(chan, 1, { items = { { dest = lab, kind = "bytes",
      data = big:gsub("^MSH|", "MSH#") } } })
    local other = ("y"):rep(3e6)
    s:result(chan, 2, { items = { { dest = lab, kind = "bytes", data = other } } })
    s:wait()
    reopen()
    st.read(s, function(r)
      assert.is_true(r:receipt(chan, 1).raw == big)
      assert.is_true(r:output(chan, 1, 0) == big:gsub("^MSH|", "MSH#"))
      assert.is_true(r:output(chan, 2, 0) == other)
      assert.equal("small", r:receipt(chan, 3).raw)
      assert.same({ { chan, 1 } }, r:find(C.LN_INDEX_CONTROL_ID, 0, "BIG"))
      assert.equal(C.LN_ENOTFOUND, select(2, r:result(chan, 3)))
    end)
    assert.is_true(s:state(chan).bytes < 160e6)
  end)

  it("copies itself while running, and the copy opens", function()
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    feed(s, chan, 500, lab)
    s:wait()
    local copy = st.folder()
    local err = st.ffi.new "struct ln_err"
    assert.equal(0, C.ln_store_backup(dir, copy, err))
    feed(s, chan, 10, lab, 501)
    s:wait()
    assert.equal(C.LN_EEXIST, C.ln_store_backup(dir, copy, err))
    st.read(copy, function(r)
      assert.equal(raw "M500", r:receipt(chan, 500).raw)
      assert.equal(C.LN_ENOTFOUND, select(2, r:receipt(chan, 501)))
    end)
    local names = select(2, st.sh("ls " .. copy))
    assert.equal("data.mdb\n", names) -- a reader makes no files
    local t = assert(st.open(copy))
    assert.equal(501, select(2, t:append(chan, { raw = "x" })))
    t:close()
  end)

  it("says what is wrong with a folder", function()
    local _, rc = st.open(dir)
    local text
    assert.equal(C.LN_EBUSY, rc)
    local other = st.program "child"
    local status, said = st.sh(other .. " open " .. dir)
    assert.equal(1, status)
    assert.matches("in use by another engine (process " .. C.getpid() .. ")", said, 1, true)
    _, rc, text = st.open "/proc/none/here"
    assert.is_true(rc < 0)
    assert.matches("/proc/none/here", text, 1, true)
    _, rc, text = st.open "/dev/null"
    assert.is_true(rc < 0)
    assert.matches("/dev/null", text, 1, true)
    _, rc = st.reader "/tmp/no-such-folder"
    assert.equal(C.LN_ENOTFOUND, rc)
    s:close()
    st.sh("head -c 8192 /dev/urandom > " .. dir .. "/data.mdb")
    _, rc, text = st.open(dir)
    assert.equal(C.LN_EPARSE, rc)
    assert.matches(dir, text, 1, true)
  end)

  it("refuses a record or a store from a newer version, and deletes nothing", function()
    if encrypted then return end -- its records cannot be found by what they hold
    local chan = s:channel "a"
    s:append(chan, { raw = "MARKER" .. ("m"):rep(100), peer = "PEER" })
    s:wait()
    s:close()
    local f = io.open(dir .. "/data.mdb", "r+b")
    local all = f:read "*a"
    -- every place a page has that record: version 1, flags, kind, time, channel 1, number 1, no
    -- origin, peer
    local at, n = 0, 0
    while true do
      at = all:find("\1\1\0\0\4PEER", at + 1, true)
      if not at then break end
      assert.equal("\1\2\1", all:sub(at - 11, at - 9))
      f:seek("set", at - 12)
      f:write "\2"
      n = n + 1
    end
    f:close()
    assert.is_true(n > 0)
    s = assert(st.open(dir))
    st.read(s, function(r)
      assert.equal(C.LN_EVERSION, select(2, r:receipt(chan, 1)))
      assert.equal(C.LN_EVERSION, select(2, r:from(chan, 1)))
    end)
    s:close()
    f = io.open(dir .. "/data.mdb", "r+b")
    all = f:read "*a"
    at = 1
    while true do
      at = all:find("format\0\0\0\2", at, true)
      if not at then break end
      f:seek("set", at + 8)
      f:write "\9"
      at = at + 1
    end
    f:close()
    local _, rc, text = st.open(dir)
    assert.equal(C.LN_EVERSION, rc)
    assert.matches("format 9", text, 1, true)
    assert.equal(C.LN_EVERSION, select(2, st.reader(dir)))
    assert.equal(#all, #st.content(dir .. "/data.mdb"))
  end)

  it("makes files that only their owner can read, and leaves none open for children", function()
    local _, modes = st.sh("stat -c '%a %n' " .. dir .. " " .. dir .. "/*")
    for mode, name in modes:gmatch "(%d+) (%S+)" do
      assert.equal(name == dir and "700" or "600", mode)
    end
    local proc = "/proc/" .. C.getpid()
    local _, fds = st.sh("for f in " .. proc .. "/fd/*; do readlink $f | grep -q " .. dir
      .. " && grep flags " .. proc .. "/fdinfo/${f##*/}; done")
    local n = 0
    for flags in fds:gmatch "flags:%s*(%d+)" do
      n = n + 1
      assert.equal(1, math.floor(tonumber(flags, 8) / tonumber("2000000", 8)) % 2)
    end
    assert.is_true(n >= 3)
  end)

  it("tells everything before it closes", function()
    local chan = s:channel "a"
    for _ = 1, 50 do s:append(chan, { raw = "x" }) end
    s:close()
    assert.equal(50, tonumber(s.c.told))
    for i = 0, 49 do assert.equal(0, s:code(i)) end
    s = assert(st.open(dir))
    assert.equal(50, s:state(chan).received)
  end)
end)
