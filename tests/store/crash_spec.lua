-- A process that is killed at any moment loses nothing that it was told is durable.
local st = require "support.store"
local C = st.C

--- What the child said: highest number per kind, and all appended ones in order.
local function said(file)
  local got = { A = {}, R = 0, O = 0 }
  for kind, seq in st.content(file):gmatch "(%u) 1 (%d+)\n" do
    seq = tonumber(seq)
    if kind == "A" then got.A[#got.A + 1] = seq else got[kind] = math.max(got[kind] or 0, seq) end
  end
  return got
end

local function raw_of(n)
  return ("MSH|^~\\&|A|B|||||ADT^A01|N%d|P|2.5\rPID|1||%d\r"):format(n, n)
    .. ("x"):rep(n * 37 % 1500)
end

--- Opens what was left and checks it against what was said. Returns the channel's state.
local function check(dir, got)
  local s = assert(st.open(dir))
  local c, two = s:state(1), s:state(2)
  assert.is_true(c.cursor > got.R, "a result is missing")
  assert.is_true(c.dest[1].seq >= got.O, "an outcome is missing")
  assert.equal(c.processed, c.dest[1].sent + c.dest[1].queued)
  st.read(s, function(r)
    local last = 0
    for _, seq in ipairs(got.A) do
      assert.is_true(seq > last, "told out of order")
      last = seq
      local m = assert(r:receipt(1, seq))
      assert.equal(raw_of(tonumber(m.control_id:sub(2))), m.raw)
    end
    if last > 0 then
      local id = r:receipt(1, last).control_id
      assert.same({ { 1, last } }, r:find(C.LN_INDEX_CONTROL_ID, 1, id))
    end
    -- every message below the cursor has its result, none from it on; forwards are there in step
    local n, processed, forwards, queued = 0, 0, 0, 0
    local seq, m = r:from(1, c.first_seq)
    local before = 0
    while seq do
      n = n + 1
      local number = m.control_id ~= "" and tonumber(m.control_id:sub(2)) or before + 1
      assert.is_true(number > before, "out of order")
      before = number
      local p = r:result(1, seq)
      assert.equal(seq < c.cursor, p ~= nil)
      if p then
        processed = processed + 1
        if not r:outcome(1, seq, 0) then queued = queued + 1 end
        if p.items[2] then
          forwards = forwards + 1
          local f = assert(r:receipt(2, p.items[2].to_seq))
          assert.same({ 1, seq }, { f.origin_chan, f.origin_seq })
        end
      end
      seq, m = r:from(1, seq + 1)
    end
    assert.same({ c.received, c.processed, c.dest[1].queued, two.received },
      { n, processed, queued, forwards })
  end)
  s:close()
  return c
end

st.both("store, killed", function()
  after_each(st.clean)

  it("loses nothing that it said is durable", function()
    local child, dir = st.program "child", st.folder()
    math.randomseed(os.time())
    local rounds = tonumber(os.getenv "STORE_KILLS" or 12)
    local total = 0
    for round = 1, rounds do
      local pid, out = st.start(("%s run %s 0 %d"):format(child, dir, math.random(100)))
      st.until_true(function() return #st.content(out) > 0 or not st.alive(pid) end)
      C.poll(nil, 0, math.random(0, 150))
      st.sh("kill -9 " .. pid)
      assert.is_true(st.until_true(function() return not st.alive(pid) end))
      local got = said(out)
      assert.equal("", st.content(out .. ".err"))
      assert.is_true(#got.A > 0, "round " .. round)
      check(dir, got)
      total = total + #got.A
    end
    assert.is_true(total > rounds * 10)
  end)

  it("goes on beside readers that are stopped or killed in a transaction", function()
    local child, dir = st.program "child", st.folder()
    assert.equal(0, (st.sh(("LD_PRELOAD= %s run %s 100 >/dev/null"):format(child, dir))))
    local pids = {}
    for k = 1, 3 do
      local pid, out = st.start(child .. " read " .. dir)
      assert.is_true(st.until_true(function() return st.content(out):find "r 0 0" end) ~= nil)
      pids[k] = pid
    end
    st.sh("kill -STOP " .. pids[1])
    st.sh("kill -9 " .. pids[2])
    local status, text = st.sh(("LD_PRELOAD= timeout 60 %s run %s 3000 >/dev/null"):format(
      child, dir))
    st.sh("kill -9 " .. table.concat(pids, " "))
    assert.same({ 0, "" }, { status, text })
    local s = assert(st.open(dir))
    assert.equal(3100, s:state(1).received)
    s:close()
  end)

  it("loses nothing and does nothing twice when writes fail", function()
    local child, dir = st.program "child", st.folder()
    local faults = st.compile("faults", "-shared -fPIC", "-ldl -lpthread")
    assert.equal(0, (st.sh(("LD_PRELOAD= %s run %s 10 >/dev/null"):format(child, dir))))
    local runtime = "" -- a sanitizer's has to be the first
    if os.getenv "MODE" == "asan" then
      runtime = select(2, st.sh "gcc -print-file-name=libasan.so"):gsub("%s+$", "")
    end
    for _, what in ipairs { "meta-before", "meta-after", "data", "sync" } do
      local out = st.folder()
      local cmd = ("FAIL=%s EVERY=23 LD_PRELOAD='%s %s' timeout 120 %s run %s 3000 >%s 2>%s.err")
        :format(what, runtime, faults, child, dir, out, out)
      local status = st.sh(cmd)
      local log = st.content(out .. ".err")
      st.sh("rm -f " .. out .. ".err")
      assert.equal(0, status, what .. ": " .. log:sub(1, 2000))
      assert.matches("store failing", log)
      assert.matches("store recovered", log)
      local got = said(out)
      local c = check(dir, got)
      assert.equal(0, c.dest[1].queued)
      assert.is_true(#got.A > 100)
    end
  end)
end)
