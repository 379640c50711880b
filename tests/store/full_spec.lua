-- A full disk: messages are refused, never lost; results and outcomes still go in; when there is
-- room again, it goes on by itself.
local st = require "support.store"
local C = st.C

st.both("store, full disk", function()
  local dir, mounted, s
  before_each(function()
    dir = st.folder()
    st.sh("mkdir -p " .. dir)
    mounted = st.sh("mount -t tmpfs -o size=16m tmpfs " .. dir) == 0
  end)
  after_each(function()
    if s and s.s then s:close() end
    if mounted then st.sh("umount " .. dir) end
    st.clean()
  end)

  local function go(reserve, floor)
    if not mounted then return pending "needs root, to mount a small tmpfs" end
    st.sh(("head -c 6000000 /dev/zero > %s/filler"):format(dir))
    s = assert(st.open(dir .. "/data", { reserve = reserve }))
    local chan = s:channel "a"
    local lab = s:dest(chan, "lab")
    local ok, refused, at_once = {}, 0, 0
    local raw = ("MSH|^~\\&|"):rep(1000)
    local function push(n)
      local asked = {}
      for _ = 1, n do
        local i, seq = s:append(chan, { raw = raw })
        if i then asked[#asked + 1] = { i, seq } else
          assert.equal(C.LN_EFULL, seq)
          at_once = at_once + 1
        end
      end
      assert.is_true(s:wait())
      local good = 0
      for _, a in ipairs(asked) do
        if s:code(a[1]) == 0 then
          ok[#ok + 1] = a[2]
          good = good + 1
        else
          assert.equal(C.LN_EFULL, s:code(a[1]))
          refused = refused + 1
        end
      end
      return good
    end
    repeat local good = push(50) until good < 50
    assert.is_true(#ok > 100)
    for _ = 1, 5 do push(50) end
    assert.is_true(refused + at_once > 0)
    local stat = s:stat()
    assert.is_true(stat.full or stat.failing)
    assert.is_true(#st.ffi.string(stat.failure) > 10)
    -- results and outcomes go in while the disk is as full as that
    if floor then
      for k = 1, 100 do
        s:result(chan, ok[k], { items = { { dest = lab, kind = "input" } } })
        s:outcome(chan, lab, ok[k], 0, { reply = "MSA|AA" })
      end
      assert.is_true(s:wait(5))
      assert.equal(100, s:state(chan).dest[1].sent)
      assert.equal(0, push(1))
    else -- nothing at all is left: they wait, in order, and are told when they are in
      for k = 1, 100 do s:result(chan, ok[k], { kv = { { "k" .. k, ("v"):rep(2000) } } }) end
      s:wait(1)
    end
    os.remove(dir .. "/filler")
    assert.is_true(s:wait(10))
    assert.is_true(st.until_true(function()
      C.ln_store_dispatch(s.s)
      return push(1) == 1
    end, 5))
    assert.equal(50, push(50))
    assert.equal(ok[101], s:state(chan).cursor)
    stat = s:stat()
    assert.same({ false, false, "" }, { stat.full, stat.failing, st.ffi.string(stat.failure) })
    s:close()
    s = assert(st.open(dir .. "/data", { reserve = reserve }))
    assert.same({ #ok, 100 }, { s:state(chan).received, s:state(chan).processed })
    st.read(s, function(r)
      for _, seq in ipairs(ok) do assert.equal(raw, r:receipt(chan, seq).raw) end
    end)
  end

  it("keeps a reserve for results and outcomes", function() go(2000000, true) end)
  it("holds when the disk is full to the last byte", function() go(1, false) end)

  it("refuses when the map is full, and takes again after trimming", function()
    s = assert(st.open(dir .. "/data", { map_size = 8 * 1048576 }))
    local chan = s:channel "a"
    local raw, last = ("MSH|^~\\&|"):rep(400), 0
    local deadline = C.ln_mono_us() + 20e6
    repeat
      local i, seq = s:append(chan, { raw = raw })
      s:wait()
      local fine = i and s:code(i) == 0
      if fine then last = seq end
    until not fine or C.ln_mono_us() > deadline
    assert.is_true(last > 500)
    assert.is_true(st.until_true(function() return s:stat().full end, 2))
    for seq = 1, last do assert(s:result(chan, seq, {})) end
    assert.is_true(s:wait())
    C.ln_store_retain(s.s, chan, 0, 100000)
    assert.is_true(st.until_true(function()
      C.ln_store_dispatch(s.s)
      local i = s:append(chan, { raw = raw })
      s:wait()
      return i and s:code(i) == 0
    end, 20))
  end)
end)
