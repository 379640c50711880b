-- Power cut: of what was written since the last completed sync, any part may be missing or torn (in
-- sectors of 512 bytes), in any order. What had been reported durable before must be there.
local st = require "support.store"
local ffi = st.ffi

local SECTOR = 512

--- The recording as a list of { kind, offset, data }.
local function events_of(file)
  local text, list, at = st.content(file), {}, 1
  while at + 16 <= #text do
    local kind = text:sub(at, at)
    local n = ffi.new "uint64_t[2]"
    ffi.copy(n, text:sub(at + 1, at + 16), 16)
    local off, len = tonumber(n[0]), tonumber(n[1])
    if at + 16 + len > #text then break end
    list[#list + 1] = { kind, off, text:sub(at + 17, at + 16 + len) }
    at = at + 17 + len
  end
  return list
end

--- A file in memory that grows.
local function image(bytes)
  local im = { cap = math.max(#bytes * 2, 1024 * 1024), size = #bytes }
  im.buf = ffi.new("uint8_t[?]", im.cap)
  ffi.copy(im.buf, bytes, #bytes)
  function im.write(off, data, from, len)
    if off + len > im.cap then
      local cap = (off + len) * 2
      local buf = ffi.new("uint8_t[?]", cap)
      ffi.copy(buf, im.buf, im.size)
      im.buf, im.cap = buf, cap
    end
    ffi.copy(im.buf + off, ffi.cast("const uint8_t *", data) + from, len)
    im.size = math.max(im.size, off + len)
  end
  return im
end

--- Applies a random part of a write: nothing, all, or some of its sectors.
local function tear(im, w)
  local fate = math.random(3)
  if fate == 1 then return end
  if fate == 2 then return im.write(w[2], w[3], 0, #w[3]) end
  local at = 0
  while at < #w[3] do
    local n = math.min(SECTOR - (w[2] + at) % SECTOR, #w[3] - at)
    if math.random(2) == 1 then im.write(w[2] + at, w[3], at, n) end
    at = at + n
  end
end

local function shuffle(list)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
end

--- Walks the recording; at each cut calls fn(image as a string, marks so far).
local function replay(base, events, cuts, fn)
  local disk = image(base) -- what is safely on the disk
  local loose = {}         -- written, not yet synced
  local marks = { A = {}, R = 0, O = 0 }
  local during             -- what a sync that has begun will have made safe
  for i, e in ipairs(events) do
    local kind = e[1]
    if kind == "W" then
      loose[#loose + 1] = e
    elseif kind == "D" then
      disk.write(e[2], e[3], 0, #e[3])
      for k = #loose, 1, -1 do
        if loose[k][2] == e[2] and loose[k][3] == e[3] then table.remove(loose, k) break end
      end
    elseif kind == "S" then
      during = #loose
    elseif kind == "s" then
      for k = 1, during do disk.write(loose[k][2], loose[k][3], 0, #loose[k][3]) end
      local rest = {}
      for k = during + 1, #loose do rest[#rest + 1] = loose[k] end
      loose = rest
    elseif kind == "T" then
      error "the store truncates its file: teach this spec"
    elseif kind == "M" then
      local what, seq = e[3]:match "^(%u) 1 (%d+)\n$"
      seq = tonumber(seq)
      if what == "A" then
        marks.A[#marks.A + 1] = seq
      else
        marks[what] = math.max(marks[what], seq)
      end
    end
    if cuts[i] then
      local after = image(ffi.string(disk.buf, disk.size))
      local order = {}
      for k = 1, #loose do order[k] = loose[k] end
      if math.random(2) == 1 then shuffle(order) end
      for _, w in ipairs(order) do tear(after, w) end
      fn(ffi.string(after.buf, after.size), marks, i)
    end
  end
end

local function check(dir, bytes, marks, at)
  local f = assert(io.open(dir .. "/data.mdb", "wb"))
  f:write(bytes)
  f:close()
  local s, _, text = st.open(dir)
  assert(s, ("cut after event %d: %s"):format(at, text or ""))
  local c = s:state(1)
  assert.is_true(c.cursor > marks.R, "a result is missing")
  assert.is_true(c.dest[1].seq >= marks.O, "an outcome is missing")
  st.read(s, function(r)
    for _, seq in ipairs(marks.A) do
      local m = r:receipt(1, seq)
      assert.is_true(m ~= nil, ("cut after event %d: message %d is missing"):format(at, seq))
      local n = tonumber(m.control_id:sub(2))
      assert.equal(("x"):rep(n * 37 % 1500), m.raw:match "\r(x*)$")
    end
    for seq = c.first_seq, c.cursor - 1 do
      if r:receipt(1, seq) then assert(r:result(1, seq)) end
    end
  end)
  -- it must also be able to go on
  local i = assert(s:append(1, { raw = "after", control_id = "AFTER" }))
  assert.is_true(s:wait())
  assert.equal(0, s:code(i))
  s:close()
end

describe("store, power cut", function()
  after_each(st.clean)

  it("has every message that was reported durable, wherever the power went", function()
    math.randomseed(tonumber(os.getenv "SEED") or os.time())
    local child, dir, copy = st.program("child", "release"), st.folder(), st.folder()
    local recorder = st.compile("powercut", "-shared -fPIC", "-ldl -lpthread")
    local recording = st.folder()
    assert.equal(0, (st.sh(("LD_PRELOAD= %s run %s 300 20 >/dev/null"):format(child, dir))))
    local base = st.content(dir .. "/data.mdb")
    local status, text = st.sh(("RECORD=%s LD_PRELOAD=%s %s run %s 500 20 >/dev/null"):format(
      recording, recorder, child, dir))
    assert.same({ 0, "" }, { status, text })
    local events = events_of(recording)
    st.sh("rm -f " .. recording)
    local kinds = {}
    for _, e in ipairs(events) do kinds[e[1]] = (kinds[e[1]] or 0) + 1 end
    assert.is_true((kinds.s or 0) >= 10 and (kinds.D or 0) >= 10 and kinds.M == 1500)
    -- replayed to its end it is the file itself: the recorder has missed nothing
    local whole = image(base)
    for _, e in ipairs(events) do
      if e[1] == "W" then whole.write(e[2], e[3], 0, #e[3]) end
    end
    assert.is_true(ffi.string(whole.buf, whole.size) == st.content(dir .. "/data.mdb"))
    local cuts, n = {}, 0
    local want = tonumber(os.getenv "STORE_CUTS" or 100)
    for i, e in ipairs(events) do -- around every sync, and at random in between
      local near = e[1] ~= "M" and e[1] ~= "W"
      if math.random() < (near and 2 or 0.5) * want / #events then cuts[i] = true end
    end
    st.sh("mkdir -p " .. copy)
    replay(base, events, cuts, function(bytes, marks, at)
      n = n + 1
      check(copy, bytes, marks, at)
    end)
    assert.is_true(n > want / 4)
  end)

  -- Guards the test itself: a file whose syncs did nothing must be found out.
  it("would notice a store that does not sync", function()
    local child, dir, copy = st.program("child", "release"), st.folder(), st.folder()
    local recorder = st.compile("powercut", "-shared -fPIC", "-ldl -lpthread")
    local recording = st.folder()
    assert.equal(0, (st.sh(("LD_PRELOAD= %s run %s 50 20 >/dev/null"):format(child, dir))))
    local base = st.content(dir .. "/data.mdb")
    st.sh(("RECORD=%s LD_PRELOAD=%s %s run %s 300 20 >/dev/null"):format(recording, recorder,
      child, dir))
    local events, kept, cuts = events_of(recording), {}, {}
    st.sh("rm -f " .. recording .. "; mkdir -p " .. copy)
    for _, e in ipairs(events) do
      if e[1] ~= "S" and e[1] ~= "s" then kept[#kept + 1] = e end
    end
    for i = 1, 10 do cuts[#kept - i * 7] = true end
    local found = 0
    replay(base, kept, cuts, function(bytes)
      -- in a process of its own: such a file may point beyond its end
      local f = assert(io.open(copy .. "/data.mdb", "wb"))
      f:write(bytes)
      f:close()
      local status, text = st.sh(("LD_PRELOAD= timeout 20 %s run %s 1 >/dev/null"):format(
        child, copy))
      if status ~= 0 or text ~= "" then found = found + 1 end
    end)
    assert.is_true(found > 0)
  end)
end)
