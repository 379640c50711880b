local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local function parse(text, inner)
  local p, err = ffi.new "struct ln_path", ffi.new "struct ln_err"
  local fn = inner and C.ln_path_parse_field or C.ln_path_parse
  local rc = fn(ln.span(text), p, err)
  if rc ~= 0 then return nil, ffi.string(err.text), tonumber(err.offset) end
  local function n(v) return v == 0xffffffff and "*" or v end
  return { ffi.string(p.name), n(p.segment), p.field, n(p.repetition), p.component,
    p.subcomponent }
end

describe("hl7/path", function()
  it("reads every form", function()
    assert.same({ "PID", 1, 0, 0, 0, 0 }, parse "PID")
    assert.same({ "OBX", 3, 0, 0, 0, 0 }, parse "OBX[3]")
    assert.same({ "PID", 1, 5, 0, 0, 0 }, parse "PID-5")
    assert.same({ "PID", 1, 5, 0, 1, 0 }, parse "PID-5.1")
    assert.same({ "PID", 1, 3, 2, 4, 1 }, parse "PID-3[2].4.1")
    assert.same({ "OBX", 12, 5, 0, 0, 0 }, parse "OBX[12]-5")
    assert.same({ "ZPD", "*", 2, "*", 1, 0 }, parse "ZPD[*]-2[*].1")
    assert.same({ "pv1", 1, 2, 0, 0, 0 }, parse "pv1-2")
    assert.same({ "", 1, 3, 2, 4, 1 }, parse("3[2].4.1", true))
  end)

  it("says what is wrong, and at which character", function()
    for text, wanted in pairs {
      [""] = { "expected a segment name", 0 },
      ["-5"] = { "expected a segment name", 0 },
      ["PID-"] = { "expected a field number", 4 },
      ["PID-x"] = { "expected a field number", 4 },
      ["PID-0"] = { "counted from 1, not 0", 4 },
      ["PID-5."] = { "expected a component number", 6 },
      ["PID-5.1."] = { "expected a subcomponent number", 8 },
      ["PID-5.1.1.1"] = { "unexpected character", 9 },
      ["PID-5 "] = { "unexpected character", 5 },
      ["PID-5[]"] = { "expected a number or *", 6 },
      ["PID-5[1"] = { "expected ]", 7 },
      ["PID-5.*"] = { "expected a component number", 6 },
      ["PID[0]-5"] = { "counted from 1, not 0", 4 },
      ["PID 5"] = { "expected - and a field number", 3 },
      ["PID.5"] = { "expected - and a field number", 3 },
      ["PID-65536"] = { "number too large", 4 },
      ["PID-99999999999999999999"] = { "number too large", 4 },
      ["PID\0-5"] = { "expected - and a field number", 3 },
      [("A"):rep(16) .. "-1"] = { "segment name too long", 15 },
    } do
      local path, err, offset = parse(text)
      assert.is_nil(path, text)
      assert.is_truthy(err:find(wanted[1], 1, true), text .. ": " .. err)
      assert.equal(wanted[2], offset, text)
    end
  end)
end)
