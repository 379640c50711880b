local ln = require "support.ln"
local sys = require "support.sys"
local C, ffi = ln.C, ln.ffi

local VT, FS, CR, LF = "\11", "\28", "\r", "\n"
local MSG = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1\r"
local names = { "junk", "no_cr", "fs_inside", "vt_inside", "restart", "no_vt", "empty" }

local function reader(max)
  local m = ffi.gc(ffi.new "struct ln_mllp", C.ln_mllp_fini)
  C.ln_mllp_init(m, max or 0)
  return m
end

local used, frame = ffi.new "size_t[1]", ffi.new "struct ln_span"

-- Feeds one piece; adds what comes out to `events`.
local function feed(m, piece, events)
  local at = 0
  local p = ffi.cast("const char *", piece)
  while true do
    local e = C.ln_mllp_feed(m, p + at, #piece - at, used, frame)
    at = at + tonumber(used[0])
    if e ~= C.LN_MLLP_FRAME then
      if e ~= C.LN_MLLP_MORE then
        events[#events + 1] = e == C.LN_MLLP_TOO_BIG and "too big" or "no memory"
        return false
      end
      assert(at == #piece)
      return true
    end
    assert(frame.ptr ~= nil)
    events[#events + 1] = "=" .. ffi.string(frame.ptr, frame.len)
  end
end

local function counts(m)
  local t = {}
  for i, name in ipairs(names) do
    local n = tonumber(m.deviations[i - 1])
    if n > 0 then t[name] = n end
  end
  return t
end

-- All pieces, then the end of the stream: events and counts.
local function read(pieces, max)
  local m, events = reader(max), {}
  for _, piece in ipairs(type(pieces) == "table" and pieces or { pieces }) do
    if not feed(m, piece, events) then return events, counts(m), m end
  end
  if C.ln_mllp_finish(m, frame) == C.LN_MLLP_FRAME then
    events[#events + 1] = "=" .. ffi.string(frame.ptr, frame.len)
  end
  return events, counts(m), m
end

-- What the reader should do, said another way: over the whole stream, with any look-ahead.
local function model(s, max)
  local events, n = {}, {}
  local function note(name, by) n[name] = (n[name] or 0) + (by or 1) end
  local function header(at)
    local id = s:sub(at, at + 2)
    return (id == "MSH" or id == "BHS" or id == "FHS") and s:find("^%p", at + 3) ~= nil
  end
  local function header_may_come(at)
    local rest = s:sub(at)
    return #rest < 4 and (("MSH"):sub(1, #rest) == rest or ("BHS"):sub(1, #rest) == rest or
      ("FHS"):sub(1, #rest) == rest)
  end
  local at = 1
  local function inside(start)
    local i = start
    while i <= #s do
      local c, after = s:sub(i, i), s:sub(i + 1, i + 1)
      local function over() return max and i - start > max end
      local ends, skip
      if over() then return "too big" end
      if c == FS then
        if after == CR then
          ends, skip = i, 2
        elseif after == VT or after == "" then
          ends, skip = i, 1
          note "no_cr"
        elseif after == LF and (s:sub(i + 2, i + 2) == VT or i + 1 == #s) then
          ends, skip = i, 2
          note "no_cr"
          note "junk"
        else
          note "fs_inside"
        end
      elseif c == VT then
        if header(i + 1) then
          note "restart"
          start = i + 1
          i = i + 4
        elseif header_may_come(i + 1) then
          return nil
        else
          note "vt_inside"
        end
      end
      if ends then
        local text = s:sub(start, ends - 1)
        if text == "" then note "empty" end
        events[#events + 1] = "=" .. text
        return ends + skip
      end
      i = i + 1
    end
    -- The limit shows with the byte behind it.
    return nil
  end
  while at and at <= #s do
    local word = at > 1 and s:sub(at - 1, at - 1):find "%w"
    if s:sub(at, at) == VT then
      at = inside(at + 1)
    elseif not word and header(at) then
      note "no_vt"
      at = inside(at)
    elseif not word and header_may_come(at) then
      break
    else
      note "junk"
      at = at + 1
    end
    if at == "too big" then
      events[#events + 1] = at
      break
    end
  end
  return events, n
end

local function check(stream, events, n)
  local e, c = read(stream)
  assert.same(events, e)
  assert.same(n or {}, c)
end

describe("hl7/mllp", function()
  it("finds frames, several in one write", function()
    check(VT .. MSG .. FS .. CR, { "=" .. MSG })
    check(VT .. MSG .. FS .. CR .. VT .. "two" .. FS .. CR, { "=" .. MSG, "=two" })
  end)

  it("returns a frame that lies whole in the input in place, without a copy", function()
    local m = reader()
    local text = VT .. MSG .. FS .. CR
    local p = ffi.cast("const char *", text)
    assert.equal(C.LN_MLLP_FRAME, C.ln_mllp_feed(m, p, #text, used, frame))
    assert.is_true(frame.ptr == p + 1)
    assert.equal(0, tonumber(m.part.cap))
  end)

  it("takes a missing CR before the next VT, and at the end of the stream", function()
    check(VT .. "a" .. FS .. VT .. "b" .. FS .. CR, { "=a", "=b" }, { no_cr = 1 })
    check(VT .. "a" .. FS, { "=a" }, { no_cr = 1 })
    check(VT .. "a" .. FS .. LF .. VT .. "b" .. FS .. LF, { "=a", "=b" }, { no_cr = 2, junk = 2 })
  end)

  it("says when a frame may be at its end, and ends it when told so", function()
    local m, events = reader(), {}
    feed(m, VT .. "a", events)
    assert.is_false(C.ln_mllp_pending_end(m))
    assert.equal(C.LN_MLLP_MORE, C.ln_mllp_finish(m, frame))
    feed(m, FS, events)
    assert.is_true(C.ln_mllp_pending_end(m))
    assert.equal(C.LN_MLLP_FRAME, C.ln_mllp_finish(m, frame))
    assert.equal("a", ln.str(frame))
    assert.is_false(C.ln_mllp_inside(m))
    -- The CR comes late: junk, not a frame.
    feed(m, CR .. VT .. "b" .. FS .. CR, events)
    assert.same({ "=b" }, events)
    assert.same({ no_cr = 1, junk = 1 }, counts(m))
  end)

  it("keeps FS as data when anything else follows", function()
    check(VT .. "a" .. FS .. "b" .. FS .. FS .. CR, { "=a" .. FS .. "b" .. FS }, { fs_inside = 2 })
    check(VT .. "a" .. FS .. LF .. "b" .. FS .. CR, { "=a" .. FS .. LF .. "b" }, { fs_inside = 1 })
  end)

  it("starts again at VT and a header, keeps any other VT as data", function()
    check(VT .. "MSH|^~\\&|lost" .. VT .. MSG .. FS .. CR, { "=" .. MSG }, { restart = 1 })
    check(VT .. "a" .. VT .. "b" .. VT .. "MSHx" .. VT .. VT .. "BHS" .. FS .. CR,
      { "=a" .. VT .. "b" .. VT .. "MSHx" .. VT .. VT .. "BHS" }, { vt_inside = 4 })
  end)

  it("skips and counts what stands between frames", function()
    check("\r\n\0 junk" .. VT .. "a" .. FS .. CR .. LF .. VT .. "b" .. FS .. CR, { "=a", "=b" },
      { junk = 9 })
  end)

  it("takes a frame without VT when it starts with a header", function()
    check("\r\n" .. MSG .. FS .. CR .. MSG .. FS .. CR, { "=" .. MSG, "=" .. MSG },
      { junk = 2, no_vt = 2 })
    check("xMSH|a" .. FS .. CR, {}, { junk = 8 })
  end)

  it("returns an empty frame, so that it can be answered", function()
    check(VT .. FS .. CR .. VT .. FS .. VT .. "a" .. FS .. CR, { "=", "=", "=a" },
      { empty = 2, no_cr = 1 })
  end)

  it("gives the same frames and counts however the stream is cut", function()
    math.randomseed(20260101)
    local tokens = { VT, FS, CR, LF, FS .. CR, VT .. "MSH|", "MSH|", "MSH", "BHS^", "FHS", "M", "S",
      "H", "B", "a", "|", "\0", VT .. MSG .. FS .. CR, "text text text", VT .. FS .. CR, FS .. VT }
    for round = 1, 4000 do
      local parts = {}
      for i = 1, math.random(1, 14) do parts[i] = tokens[math.random(#tokens)] end
      local stream = table.concat(parts)
      local max = round % 4 == 0 and math.random(1, 20) or nil
      local want, want_n = model(stream, max)
      local pieces, at = {}, 1
      while at <= #stream do
        local n = math.random(1, math.random(1, #stream))
        pieces[#pieces + 1] = stream:sub(at, at + n - 1)
        at = at + n
      end
      local whole, n1 = read(stream, max)
      local cut, n2 = read(pieces, max)
      if max and (whole[#whole] == "too big" or want[#want] == "too big") then
        assert.same(whole, cut, ("%q"):format(stream))
      else
        assert.same(want, whole, ("%q"):format(stream))
        assert.same(want_n, n1, ("%q"):format(stream))
      end
      assert.same(whole, cut, ("%q"):format(stream))
      assert.same(n1, n2, ("%q"):format(stream))
    end
  end)

  it("refuses a frame over the limit before it takes memory for it", function()
    local limit = 100000
    assert.same({ "=" .. ("x"):rep(limit) }, (read(VT .. ("x"):rep(limit) .. FS .. CR, limit)))
    local events, _, m = read(VT .. MSG .. ("x"):rep(limit) .. FS .. CR, limit)
    assert.same({ "too big" }, events)
    -- What is given back is the beginning, enough for its header to be read.
    assert.equal(4096, tonumber(frame.len))
    assert.equal(MSG, ffi.string(frame.ptr, #MSG))
    assert.is_true(m.part.cap < 10000)
    local pieces = { VT }
    for i = 1, 300 do pieces[i + 1] = ("y"):rep(1000) end
    events, _, m = read(pieces, limit)
    assert.same({ "too big" }, events)
    assert.is_true(m.part.cap <= limit * 2)
    assert.same({ "too big" }, (read({ VT, "abcde", "f" .. FS, CR }, 5)))
    assert.same({ "=abcde" }, (read({ VT, "abcde", FS, CR }, 5)))
  end)

  it("stays failed after a frame that is too big", function()
    local events, _, m = read(VT .. "abcdef", 3)
    assert.same({ "too big" }, events)
    feed(m, FS .. CR .. VT .. "a" .. FS .. CR, events)
    assert.same({ "too big", "too big" }, events)
  end)

  it("holds memory only while a frame is unfinished", function()
    local m, events = reader(), {}
    feed(m, VT .. ("x"):rep(100000), events)
    assert.is_true(C.ln_mllp_inside(m))
    assert.equal(100000, tonumber(C.ln_mllp_held(m)))
    feed(m, FS .. CR, events)
    assert.is_false(C.ln_mllp_inside(m))
    assert.equal(0, tonumber(C.ln_mllp_held(m)))
    assert.equal(0, tonumber(m.part.cap))
    feed(m, "MS", events)
    assert.equal(0, tonumber(C.ln_mllp_held(m)))
  end)

  it("is linear: byte by byte, and with nothing but VT or FS inside", function()
    local byte = ffi.new "char[1]"
    sys.linear(400000, function(n)
      local m = reader()
      byte[0] = 11
      for i = 0, n do
        assert(C.ln_mllp_feed(m, byte, 1, used, frame) == C.LN_MLLP_MORE)
        byte[0] = 32 + i % 64
      end
    end)
    for _, c in ipairs { VT, FS, VT .. "MSH" } do
      sys.linear(500000, function(n)
        assert.equal(1, #read(VT .. c:rep(n / #c) .. "end" .. FS .. CR))
      end)
    end
  end)

  it("writes strictly", function()
    local b = ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
    assert.equal(0, C.ln_mllp_write(b, ln.span "abc"))
    assert.equal(0, C.ln_mllp_write(b, ln.span ""))
    assert.equal(VT .. "abc" .. FS .. CR .. VT .. FS .. CR, ffi.string(b.data, b.len))
  end)

  it("names its deviations", function()
    for i, name in ipairs(names) do
      assert.equal(name, ffi.string(C.ln_mllp_deviation_name(i - 1)))
    end
    assert.equal("unknown", ffi.string(C.ln_mllp_deviation_name(99)))
  end)
end)
