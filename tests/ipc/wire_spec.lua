local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local function buffer()
  return ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
end

local kind, used, input = ffi.new "uint8_t[1]", ffi.new "size_t[1]", ffi.new "struct ln_wire_in"

local function next_record(bytes, max)
  local code = C.ln_wire_next(bytes, #bytes, max or 1000, kind, input, used)
  return code, tonumber(used[0])
end

describe("ipc/wire", function()
  it("reads back what was written", function()
    local b = buffer()
    local at = C.ln_wire_begin(b, 7)
    C.ln_wire_u8(b, 0xfe)
    C.ln_wire_u16(b, 0xfedc)
    C.ln_wire_u32(b, 0xfedcba98)
    C.ln_wire_u64(b, 0xfedcba9876543210ULL)
    C.ln_wire_f64(b, -1.5e300)
    C.ln_wire_bytes(b, ln.span "a\0b")
    C.ln_wire_bytes(b, ln.span "")
    assert.equal(0, C.ln_wire_end(b, at))
    local bytes = ffi.string(b.data, b.len)
    assert.equal("\7", bytes:sub(5, 5))
    assert.same({ 0, #bytes }, { next_record(bytes) })
    assert.equal(7, kind[0])
    assert.equal(0xfe, C.ln_wire_get_u8(input))
    assert.equal(0xfedc, C.ln_wire_get_u16(input))
    assert.equal(0xfedcba98, C.ln_wire_get_u32(input))
    assert.equal(0xfedcba9876543210ULL, C.ln_wire_get_u64(input))
    assert.equal(-1.5e300, C.ln_wire_get_f64(input))
    assert.equal("a\0b", ln.str(C.ln_wire_get_bytes(input)))
    assert.is_false(C.ln_wire_done(input))
    assert.equal("", ln.str(C.ln_wire_get_bytes(input)))
    assert.is_true(C.ln_wire_done(input))
  end)

  it("takes records one by one, and waits for the rest", function()
    local b = buffer()
    for i = 1, 3 do
      local at = C.ln_wire_begin(b, i)
      C.ln_wire_bytes(b, ln.span(("x"):rep(i)))
      assert.equal(0, C.ln_wire_end(b, at))
    end
    local bytes = ffi.string(b.data, b.len)
    for i = 1, 3 do
      for n = 0, 8 + i do
        local code, need = next_record(bytes:sub(1, n))
        assert.equal(C.LN_EAGAIN, code)
        assert.equal(n < 5 and 0 or 9 + i, need)
      end
      local code, n = next_record(bytes)
      assert.same({ 0, 9 + i }, { code, n })
      assert.equal(i, kind[0])
      assert.equal(("x"):rep(i), ln.str(C.ln_wire_get_bytes(input)))
      bytes = bytes:sub(n + 1)
    end
    assert.equal("", bytes)
  end)

  it("refuses lengths of nothing and over the limit", function()
    assert.equal(C.LN_EPARSE, (next_record "\0\0\0\0\1"))
    assert.equal(C.LN_EPARSE, (next_record("\11\0\0\0\1", 10)))
    assert.equal(C.LN_EAGAIN, (next_record("\10\0\0\0\1", 10)))
    assert.equal(C.LN_EPARSE, (next_record("\255\255\255\255\1", 0xffffffffffffULL)))
  end)

  it("stays bad after the first field that is not there", function()
    local function over(payload)
      local p = ffi.cast("const char *", payload)
      return ffi.new("struct ln_wire_in", { p, p + #payload, false })
    end
    local payload = "\1\2\3"
    local w = over(payload)
    assert.equal(0, C.ln_wire_get_u32(w))
    assert.is_true(w.bad)
    assert.equal(0, C.ln_wire_get_u8(w)) -- though a byte would be there
    assert.is_false(C.ln_wire_done(w))
    payload = "\4\0\0\0abc"
    w = over(payload)
    assert.equal("", ln.str(C.ln_wire_get_bytes(w)))
    assert.is_true(w.bad)
    payload = "\255\255\255\255abc"
    w = over(payload)
    assert.equal("", ln.str(C.ln_wire_get_bytes(w)))
    assert.is_true(w.bad)
  end)

  it("takes a record out again that could not be written", function()
    local b = buffer()
    local first = C.ln_wire_begin(b, 1)
    assert.equal(0, C.ln_wire_end(b, first))
    local at = C.ln_wire_begin(b, 2)
    C.ln_wire_bytes(b, ffi.new("struct ln_span", { "x", 600 * 1024 * 1024 })) -- over LN_WIRE_MAX
    assert.equal(C.LN_ENOMEM, C.ln_wire_end(b, at))
    assert.equal(5, tonumber(b.len))
    at = C.ln_wire_begin(b, 3) -- and the next one is fine
    C.ln_wire_u8(b, 1)
    assert.equal(0, C.ln_wire_end(b, at))
    assert.equal("\1\0\0\0\1\2\0\0\0\3\1", ffi.string(b.data, b.len))
  end)
end)
