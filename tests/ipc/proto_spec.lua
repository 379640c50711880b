local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local function le(n, v)
  local bytes = {}
  for i = 1, n do
    bytes[i] = string.char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(bytes)
end
local function bytes(s) return le(4, #s) .. s end

-- A RESULT payload, built by hand from the description in ipc/proto.h.
local function payload(o)
  local parts = { le(8, o.seq or 1), le(1, o.verdict or 1), le(4, o.duration or 0),
    bytes(o.reason or ""), bytes(o.where or ""), bytes(o.trace or ""),
    le(4, o.noutputs or #(o.outputs or {})) }
  for _, out in ipairs(o.outputs or {}) do
    parts[#parts + 1] = le(2, out.dest or 0) .. le(1, out.kind) .. le(4, out.same or 0) ..
      bytes(out.data or "")
  end
  parts[#parts + 1] = le(4, o.nkv or #(o.kv or {}))
  for _, kv in ipairs(o.kv or {}) do
    parts[#parts + 1] = le(1, kv.deleted and 1 or 0) .. bytes(kv[1]) .. bytes(kv[2] or "")
  end
  return table.concat(parts) .. (o.more or "")
end

local alive = {} -- the texts that spans point to
local function read(text, ndest)
  alive[#alive + 1] = text
  local p = ffi.cast("const char *", text)
  local input = ffi.new("struct ln_wire_in", { p, p + #text, false })
  local r = ffi.gc(ffi.new "struct ln_result", C.ln_result_fini)
  return C.ln_result_read(input, ndest or 4, r), r
end

local full = {
  seq = 77, verdict = C.LN_V_DONE, duration = 1234, reason = "why", where = "channels/x.lua:3",
  trace = "line\nline",
  outputs = { { dest = 0, kind = C.LN_O_BYTES, data = "MSH|1" }, { dest = 1, kind = C.LN_O_INPUT },
    { dest = 2, kind = C.LN_O_SAME, same = 0 }, { dest = 3, kind = C.LN_O_FILTERED, data = "no" },
    { dest = 3, kind = C.LN_O_ERROR, data = "bad" } },
  kv = { { "k", "v" }, { "gone", deleted = true } },
}

describe("ipc/proto result", function()
  it("is read as it stands, and written back the same", function()
    local text = payload(full)
    local code, r = read(text)
    assert.equal(0, code)
    assert.equal(77, tonumber(r.seq))
    assert.equal(C.LN_V_DONE, r.verdict)
    assert.equal(1234, r.duration_us)
    assert.same({ "why", "channels/x.lua:3", "line\nline" },
      { ln.str(r.reason), ln.str(r.where), ln.str(r.trace) })
    assert.same({ 5, 2 }, { r.noutputs, r.nkv })
    for i, o in ipairs(full.outputs) do
      local got = r.outputs[i - 1]
      assert.same({ o.dest, o.kind, o.same or 0, o.data or "" },
        { got.dest, got.kind, got.same, ln.str(got.data) })
    end
    assert.same({ "k", "v", false, "gone", true }, { ln.str(r.kv[0].key), ln.str(r.kv[0].value),
      r.kv[0].deleted, ln.str(r.kv[1].key), r.kv[1].deleted })
    local b = ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
    assert.equal(0, C.ln_result_write(b, r))
    assert.equal(le(4, #text + 1) .. le(1, C.LN_P_RESULT) .. text, ffi.string(b.data, b.len))
  end)

  it("may hold nothing", function()
    local code, r = read(payload {})
    assert.equal(0, code)
    assert.same({ 0, 0 }, { r.noutputs, r.nkv })
  end)

  it("refuses what does not add up, and leaves nothing to free", function()
    local BYTES, SAME = C.LN_O_BYTES, C.LN_O_SAME
    for what, o in pairs {
      ["verdict 0"] = { verdict = 0 },
      ["verdict too high"] = { verdict = 5 },
      ["kind 0"] = { outputs = { { kind = 0 } } },
      ["kind too high"] = { outputs = { { kind = 6 } } },
      ["unknown destination"] = { outputs = { { kind = BYTES, dest = 4 } } },
      ["same as itself"] = { outputs = { { kind = SAME, same = 0 } } },
      ["same as a later one"] = { outputs = { { kind = SAME, same = 1 }, { kind = BYTES } } },
      ["same as what is no bytes"] = { outputs = { { kind = C.LN_O_INPUT }, { kind = SAME } } },
      ["more outputs said than there"] = { outputs = { { kind = BYTES } }, noutputs = 2 },
      ["fewer outputs said than there"] = { outputs = { { kind = BYTES } }, noutputs = 0 },
      ["outputs beyond the bytes"] = { noutputs = 99999 },
      ["outputs beyond the limit"] = { noutputs = 100001, more = ("\0"):rep(2000000) },
      ["all the outputs there could be"] = { noutputs = 0xffffffff },
      ["kv beyond the bytes"] = { nkv = 99999 },
      ["kv beyond the limit"] = { nkv = 100001, more = ("\0"):rep(1000000) },
      ["something behind the end"] = { more = "x" },
    } do
      local code, r = read(payload(o))
      assert.equal(C.LN_EPARSE, code, what)
      assert.is_true(r.outputs == nil and r.kv == nil, what)
    end
  end)

  it("refuses every cut", function()
    local text = payload(full)
    for n = 0, #text - 1 do assert.equal(C.LN_EPARSE, (read(text:sub(1, n))), n) end
  end)
end)
