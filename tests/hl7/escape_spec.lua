local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local function delims(s)
  local d = ffi.new "struct ln_delims"
  d.field = s:byte(1)
  for i, role in ipairs { "component", "repetition", "escape", "subcomponent", "truncation" } do
    d[role] = s:byte(i + 1) or 0
  end
  return d
end

local usual = delims "|^~\\&"

local function unescape(raw, d)
  local out = ffi.new("char[?]", #raw + 1)
  return ffi.string(out, C.ln_unescape(d or usual, ln.span(raw), out))
end

local function escape(text, d)
  local n, err = ffi.new "size_t[1]", ffi.new "struct ln_err"
  local rc = C.ln_escape_len(d or usual, ln.span(text), n, err)
  if rc ~= 0 then return nil, ffi.string(err.text) end
  local len = tonumber(n[0])
  local out = ffi.new("char[?]", len + 1)
  out[len] = 0x55
  C.ln_escape(d or usual, ln.span(text), out)
  assert.equal(0x55, out[len])
  return ffi.string(out, len)
end

local function reencode(from, to, raw)
  local n, err = ffi.new "size_t[1]", ffi.new "struct ln_err"
  local rc = C.ln_reencode(from, to, ln.span(raw), nil, n, err)
  if rc ~= 0 then return nil, ffi.string(err.text) end
  local out = ffi.new("char[?]", tonumber(n[0]) + 1)
  assert.equal(0, C.ln_reencode(from, to, ln.span(raw), out, n, err))
  return ffi.string(out, n[0])
end

describe("hl7/escape", function()
  it("decodes delimiters, bytes and line breaks", function()
    assert.equal("|^&~\\", unescape "\\F\\\\S\\\\T\\\\R\\\\E\\")
    assert.equal("a\r\nb", unescape "a\\X0d0A\\b")
    assert.equal("a\nb", unescape "a\\.br\\b")
    assert.equal("A & B", unescape "A \\T\\ B")
    assert.equal("#", unescape("\\P\\", delims "|^~\\&#"))
    assert.equal("*|@", unescape("!R!!F!!T!", delims "|^*!@"))
  end)

  it("leaves what it does not know as it is", function()
    for _, raw in ipairs {
      "\\H\\bold\\N\\", "\\.sp 2\\", "\\C2842\\", "\\M2042\\", "\\Z01\\", "\\Q\\", "\\P\\",
      "C:\\dir\\file", "\\\\srv\\x", "\\", "a\\", "\\F", "\\\\", "\\X\\", "\\X1\\", "\\X0G\\",
      "\\X0D", "\\f\\", "\\.br", "\\e\\",
    } do
      assert.equal(raw, unescape(raw))
    end
  end)

  it("is not misled by what stands before a sequence", function()
    assert.equal("\\|", unescape "\\\\F\\")
    assert.equal("a\\b&", unescape "a\\b\\T\\")
  end)

  -- The end of \H\ was taken for the beginning of \T\, and a highlighted letter T was read as &.
  it("begins no sequence with the end of a command that it leaves as it is", function()
    for _, raw in ipairs {
      "\\H\\T\\N\\", "\\H\\X41\\N\\", "\\.sp 2\\F\\", "\\.in+4\\E\\N\\", "\\C2842\\T\\", "\\Z01\\S\\",
      "\\X041\\R\\",
    } do
      assert.equal(raw, unescape(raw))
    end
    assert.equal("\\H\\A & B\\N\\", unescape "\\H\\A \\T\\ B\\N\\")
  end)

  it("escapes what would be read otherwise, and nothing else", function()
    assert.equal("\\F\\\\S\\\\T\\\\R\\\\E\\", escape "|^&~\\")
    assert.equal("a\\.br\\b\\X0D0A\\c\\X0D\\", escape "a\nb\r\nc\r")
    assert.equal("\\X0B\\x\\X1C\\", escape "\11x\28")
    assert.equal("M\195\188ller #1 \0\9", escape "M\195\188ller #1 \0\9")
    assert.equal("a#b\\P\\", escape("a#b#", delims "|^~\\&#"))
    assert.equal("a&b", escape("a&b", delims "|^~\\"))
  end)

  it("refuses what it has no escape character for", function()
    assert.equal("a&b", escape("a&b", delims "|^~"))
    local out, err = escape("a|b", delims "|^~")
    assert.is_nil(out)
    assert.is_truthy(err:find("byte 2", 1, true) and err:find("no escape character", 1, true))
  end)

  it("gives back every text", function()
    math.randomseed(7)
    local alphabet = "|^~\\&#FSTREPX0dDA.br\r\n\0\11\28x"
    for _, d in ipairs { usual, delims "|^~\\&#", delims "#!@%*", delims "|^~\\" } do
      for _ = 1, 5000 do
        local t = {}
        for i = 1, math.random(0, 12) do
          local k = math.random(#alphabet)
          t[i] = alphabet:sub(k, k)
        end
        t = table.concat(t)
        assert.equal(t, unescape(escape(t, d), d))
      end
    end
  end)

  it("carries a part over to other delimiters", function()
    local other = delims "#!@%*"
    assert.equal("a!b*c@d", reencode(usual, other, "a^b&c~d"))
    assert.equal("%H%x%N% %.br% %X0D%", reencode(usual, other, "\\H\\x\\N\\ \\.br\\ \\X0D\\"))
    -- what is escaped there and plain here, and the other way round
    assert.equal("|&^", reencode(usual, other, "\\F\\\\T\\\\S\\"))
    assert.equal("1%F%2%S%3", reencode(usual, other, "1#2!3"))
    assert.equal("C:\\x\\y %E%", reencode(usual, other, "C:\\x\\y %"))
    assert.equal("a\\b^\\", reencode(usual, usual, "a\\b^\\"))
    assert.is_nil((reencode(usual, delims "|^~", "a&b")))
    assert.is_nil((reencode(delims "$^~\\&", delims "|^~", "a|b")))
  end)
end)
