local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local function write(fn)
  local b = ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
  fn(b)
  return ffi.string(b.data, b.len)
end

describe("base/json", function()
  it("puts commas where they belong and nowhere else", function()
    assert.equal('{"a":[1,2.50,null,true],"b":{}}', write(function(b)
      C.ln_json_open(b, 123)
      C.ln_json_key(b, "a")
      C.ln_json_open(b, 91)
      C.ln_json_int(b, 1)
      C.ln_json_num(b, 2.5, 2)
      C.ln_json_null(b)
      C.ln_json_bool(b, true)
      C.ln_json_close(b, 93)
      C.ln_json_key(b, "b")
      C.ln_json_open(b, 123)
      C.ln_json_close(b, 125)
      C.ln_json_close(b, 125)
    end))
  end)

  it("escapes what must be, keeps UTF-8, replaces what is not UTF-8", function()
    local s = 'a"\\\n\1é\xff\xed\xa0\x80'
    local out = write(function(b) C.ln_json_str(b, ln.span(s)) end)
    local bad = "\xef\xbf\xbd"
    assert.equal('"a\\"\\\\\\n\\u0001é' .. bad .. bad .. bad .. bad .. '"', out)
  end)
end)
