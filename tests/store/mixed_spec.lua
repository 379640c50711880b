-- Many channels in one store: what each of them sees is its own, whatever came between, was trimmed
-- from the middle or lies in which part of the store's maps. Nothing here knows LMDB.
local st = require "support.store"
local C = st.C

st.both("a store with many channels", function()
  local s, dir
  before_each(function()
    dir = st.folder()
    s = assert(st.open(dir))
  end)
  after_each(function()
    if s and s.s then s:close() end
    st.clean()
  end)

  local CHANNELS, random = 9, 0
  -- the same in each run, on every machine
  local function next_random(n)
    random = (random * 1103515245 + 12345) % 2147483648
    return math.floor(random / 65536) % n + 1
  end

  --- Appends n messages over the channels, in bursts; kept[chan][seq] = raw.
  local function fill(chans, kept, n)
    local left = n
    while left > 0 do
      local c = chans[next_random(CHANNELS)]
      local burst = next_random(10) == 1 and 150 or next_random(6)
      for _ = 1, math.min(burst, left) do
        local raw = ("%d of %d"):format(left, c)
        local _, seq = s:append(c, { raw = raw, control_id = "M" .. left, patient = { "P" .. left % 50 },
          time_us = (n - left + 1) * 1000 })
        kept[c][seq] = raw
        left = left - 1
      end
      if next_random(20) == 1 then assert.is_true(s:wait()) end
    end
    assert.is_true(s:wait())
  end

  local function check(of, chans, kept)
    st.read(of, function(r)
      for _, c in ipairs(chans) do
        local order = {}
        for seq in pairs(kept[c]) do order[#order + 1] = seq end
        table.sort(order)
        local seen, seq, m = {}, r:from(c, 0)
        while seq do
          seen[#seen + 1] = seq
          assert.equal(kept[c][seq], m.raw)
          seq, m = r:from(c, seq + 1)
        end
        assert.same(order, seen)
        local back = {}
        seq = r:back(c, 1e15)
        while seq do
          table.insert(back, 1, seq)
          seq = seq > 0 and r:back(c, seq - 1) or nil
        end
        assert.same(order, back)
        for i = 1, #order do -- between what is left: the neighbours
          local at = order[i]
          assert.equal(kept[c][at], r:receipt(c, at).raw)
          if i > 1 and order[i - 1] < at - 1 then
            assert.equal(C.LN_ENOTFOUND, select(2, r:receipt(c, at - 1)))
            assert.equal(at, (r:from(c, order[i - 1] + 1)))
            assert.equal(order[i - 1], (r:back(c, at - 1)))
          end
        end
      end
    end)
  end

  local function setup()
    local chans, kept = {}, {}
    for i = 1, CHANNELS do
      chans[i] = s:channel("c" .. i)
      s:dest(chans[i], "lab")
      kept[chans[i]] = {}
    end
    return chans, kept
  end

  it("walks each of them both ways, before and after a restart", function()
    local chans, kept = setup()
    random = 1
    fill(chans, kept, 6000)
    check(s, chans, kept)
    s:close()
    check(dir, chans, kept)
    s = assert(st.open(dir))
    fill(chans, kept, 500)
    check(s, chans, kept)
  end)

  it("finds by time in each of them", function()
    local chans, kept = setup()
    random = 2
    fill(chans, kept, 3000)
    st.read(s, function(r)
      for _, c in ipairs(chans) do
        for _, t in ipairs { 0, 1000, 777000, 1500500, 2999000 } do
          local want
          for seq = 1, #kept[c] do
            if not want and r:receipt(c, seq).time_us >= t then want = seq end
          end
          assert.equal(want, (r:seq_at(c, t)))
        end
        assert.equal(C.LN_ENOTFOUND, select(2, r:seq_at(c, 3000001)))
      end
    end)
  end)

  it("trims each by its own rule, around what is parked", function()
    local chans, kept = setup()
    random = 3
    fill(chans, kept, 6000)
    for i, c in ipairs(chans) do
      for seq = 1, #kept[c] do
        local stays = seq % 97 == 0
        assert(s:result(c, seq, { state = stays and "parked" or "done", items = not stays
          and { { dest = 1, kind = "bytes", data = "out " .. seq } } or nil }))
        if not stays then assert(s:outcome(c, 1, seq, 0, { reply = "AA " .. seq })) end
      end
      s:wait()
      if i % 3 ~= 0 then -- every third keeps all
        C.ln_store_retain(s.s, c, 0, 1)
        for seq in pairs(kept[c]) do
          if seq % 97 ~= 0 then kept[c][seq] = nil end
        end
      end
    end
    local function count(c)
      local n = 0
      for _ in pairs(kept[c]) do n = n + 1 end
      return n
    end
    local total = 0
    for _, c in ipairs(chans) do total = total + count(c) end
    assert.is_true(st.until_true(function()
      s:call("ln_store_set_mode", chans[3], C.LN_MODE_RUN)
      s:wait()
      return tonumber(s:stat().messages) == total
    end, 60))
    check(s, chans, kept)
    st.read(s, function(r)
      for i, c in ipairs(chans) do
        for seq in pairs(kept[c]) do
          if seq % 97 ~= 0 then
            assert.equal("out " .. seq, r:output(c, seq, 0))
            assert.equal("AA " .. seq, r:outcome(c, seq, 0).reply)
          end
        end
        assert.equal(i % 3 == 0 and "table" or "nil", type(r:outcome(c, 1, 0)))
        for id = 1, 6000, 41 do
          for _, hit in ipairs(r:find(C.LN_INDEX_CONTROL_ID, c, "M" .. id)) do
            assert.equal(c, hit[1])
            assert.is_string(kept[c][hit[2]])
          end
        end
      end
    end)
    s:close()
    check(dir, chans, kept)
    s = assert(st.open(dir))
    fill(chans, kept, 300) -- numbers and places go on
    check(s, chans, kept)
  end)

  it("starts at new places when everything has been trimmed", function()
    local c = s:channel "a"
    for seq = 1, 10 do
      s:append(c, { raw = "x", control_id = "SAME" })
      s:result(c, seq, {})
    end
    s:wait()
    C.ln_store_retain(s.s, c, 0, 1)
    assert.is_true(st.until_true(function()
      s:call("ln_store_set_mode", c, C.LN_MODE_RUN)
      s:wait()
      return tonumber(s:stat().messages) == 0
    end, 20))
    s:close()
    s = assert(st.open(dir))
    assert.equal(11, select(2, s:append(c, { raw = "y", control_id = "SAME" })))
    s:wait()
    st.read(s, function(r)
      assert.same({ { c, 11 } }, r:find(C.LN_INDEX_CONTROL_ID, 0, "SAME"))
      assert.equal(C.LN_ENOTFOUND, select(2, r:result(c, 11)))
    end)
  end)
end)
