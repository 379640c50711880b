local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local live = {}

local function parse(bytes)
  local m, err = ffi.new "struct ln_message", ffi.new "struct ln_err"
  local rc = C.ln_message_init(m, ln.span(bytes), err)
  if rc ~= 0 then return nil, ffi.string(err.text), tonumber(err.offset), rc end
  live[#live + 1] = { m, bytes }
  return m
end

local function wire(m)
  local n = tonumber(C.ln_message_wire_len(m))
  local out = ffi.new("char[?]", n + 1)
  out[n] = 0x55
  C.ln_message_wire(m, out)
  assert.equal(0x55, out[n])
  return ffi.string(out, n)
end

local function part(f, r, c, s)
  return ffi.new("struct ln_part", { f, r or 0, c or 0, s or 0 })
end

local function raw(m, slot, ...)
  local out = ffi.new "struct ln_span"
  assert.equal(0, C.ln_field_get(m, slot, part(...), out))
  return out.ptr ~= nil and ffi.string(out.ptr, out.len) or nil
end

local function set(m, slot, where, text, as_raw)
  local err = ffi.new "struct ln_err"
  local rc = C.ln_field_set(m, slot, part(unpack(where)), ln.span(text), not as_raw, err)
  return rc == 0 or nil, ffi.string(err.text)
end

local function names(m)
  local out, slot = {}, 0xffffffff
  while true do
    slot = C.ln_message_next(m, ln.span "", slot)
    if slot == 0xffffffff then return table.concat(out, " ") end
    out[#out + 1] = ln.str(C.ln_message_name(m, slot))
  end
end

local head = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1"

describe("hl7/message", function()
  after_each(function()
    for _, l in ipairs(live) do C.ln_message_fini(l[1]) end
    live = {}
  end)

  describe("line ends", function()
    local function lines(bytes) return names((assert(parse(bytes)))) end

    it("are CR, LF, CRLF, or a mixture", function()
      for _, e in ipairs { "\r", "\n", "\r\n" } do
        local m = parse(head .. e .. "PID|1" .. e .. "ZZZ" .. e)
        assert.equal("MSH PID ZZZ", names(m))
        assert.equal(head .. "\rPID|1\rZZZ\r", wire(m))
        assert.equal(head .. "\rPID|1\r", wire(parse(head .. e .. "PID|1")))
      end
      assert.equal("MSH EVN PID", lines(head .. "\nEVN|A01\rPID|1\r\n"))
    end)

    it("a bare LF in a message of CRs is data", function()
      local m = parse(head .. "\rOBX|1|TX|||line one\nOBX|is text\rNTE|1\r\n")
      assert.equal("MSH OBX NTE", names(m))
      assert.equal("line one\nOBX", raw(m, 1, 5))
      assert.equal("MSH NTE", lines(head .. "\nmore text\rNTE|1\r"))
      assert.equal("MSH", lines(head .. "\r\n\n"))
    end)

    it("empty lines are kept inside and dropped at the ends", function()
      local m = parse("\r\n\r\n" .. head .. "\r\rPID|1\r\r\r")
      assert.equal("MSH PID", names(m))
      assert.equal(head .. "\r\rPID|1\r", wire(m))
    end)
  end)

  it("skips what stands before the header", function()
    for _, junk in ipairs { "\239\187\191", "\11", "  \r\n\t", "# comment\r\n\n", "x\rMSH\r",
      "\239\187\191\r\n" } do
      local m = assert(parse(junk .. head .. "\rPID|1\r"))
      assert.equal(head .. "\rPID|1\r", wire(m), junk)
    end
  end)

  it("says where and why it can read nothing", function()
    for bytes, offset in pairs { [""] = 0, ["  \r\n"] = 4, ["hello"] = 0, ["  PID|1"] = 2,
      ["MSH"] = 3, ["MSH|"] = 4, ["MSHA^~"] = 3, ["MSH||x"] = 4, [" MSH|abc|"] = 5,
      ["\0\0"] = 2 } do
      local m, err, at, rc = parse(bytes)
      assert.is_nil(m, bytes)
      assert.equal(-6, rc)
      assert.equal(offset, at, bytes)
      assert.is_truthy(err:find("byte " .. offset, 1, true), err)
    end
  end)

  it("reads delimiters of every kind", function()
    local function roles(h)
      local d = parse(h .. "\r").delims
      return (("%c%c%c%c%c%c"):format(d.field, d.component % 256, d.repetition % 256,
        d.escape % 256, d.subcomponent, d.truncation):gsub("%z", "."))
    end
    assert.equal("|^~\\&.", roles "MSH|^~\\&|A")
    assert.equal("|^~\\&#", roles "MSH|^~\\&#|A")
    assert.equal("#!@%*.", roles "MSH#!@%*#A")
    assert.equal("^~|\\&.", roles "MSH^~|\\&^A")
    assert.equal("|^....", roles "MSH|^|A")
    assert.equal("|^~...", roles "MSH|^~")
    assert.equal("|^~\\..", roles "MSH|^~\\|")
    assert.equal("|^~.&.", roles "MSH|^~&|A")
    assert.equal("|^~\\&.", roles "MSH|^~\\\\&|A")
    assert.equal("|^...@", roles "MSH|^^^^@|A")
    assert.equal("|^~\\&.", roles "BHS|^~\\&|A")
    assert.equal("|^.\\&.", roles "MSH|^\203\156\\&|A") -- UTF-8: one place without a role
    assert.equal("|^\166\\&.", roles "MSH|^\166\\&|A")
    assert.equal("|^~.&.", roles "MSH|^~\27&|A")
    assert.equal("|^~\\&.", roles "FHS|^~\\&|A")
  end)

  it("keeps trailing delimiters, names alone and any bytes", function()
    local body = "PID|||^^~~&&||\rPD1\rZ\r \r||||\rZPAS|x\rNTE|\0\1\255|\128\r0|1\r"
    local m = parse(head .. "|||\r" .. body)
    assert.equal(head .. "|||\r" .. body, wire(m))
    assert.is_true(m.exact)
    assert.equal("^^~~&&", raw(m, 1, 3))
    assert.equal("", raw(m, 1, 5))
    assert.is_nil(raw(m, 1, 6))
    assert.is_nil(raw(m, 2, 1))
  end)

  it("counts MSH-1 and MSH-2 and never cuts them", function()
    local m = parse(head .. "\r")
    assert.equal("|", raw(m, 0, 1))
    assert.equal("^~\\&", raw(m, 0, 2))
    assert.equal("^~\\&", raw(m, 0, 2, 1, 1, 1))
    assert.is_nil(raw(m, 0, 2, 1, 2))
    assert.equal("A", raw(m, 0, 3))
    assert.equal("A01", raw(m, 0, 9, 1, 2))
    assert.is_nil((set(m, 0, { 1 }, "#")))
    assert.is_nil((set(m, 0, { 2, 1, 1 }, "#")))
  end)

  it("cuts parts", function()
    local m = parse(head .. "\rPID|1||a^b&c&d^~e~^f|\r")
    assert.equal("a^b&c&d^~e~^f", raw(m, 1, 3))
    assert.equal("a^b&c&d^", raw(m, 1, 3, 1))
    assert.equal("b&c&d", raw(m, 1, 3, 1, 2))
    assert.equal("d", raw(m, 1, 3, 1, 2, 3))
    assert.is_nil(raw(m, 1, 3, 1, 2, 4))
    assert.equal("", raw(m, 1, 3, 1, 3))
    assert.is_nil(raw(m, 1, 3, 1, 4))
    assert.equal("", raw(m, 1, 3, 3, 1))
    assert.is_nil(raw(m, 1, 3, 4))
  end)

  describe("edits", function()
    local function edited(field, where, text, as_raw)
      local m = parse(head .. "\rPID|1||" .. field .. "|x\r")
      assert(set(m, 1, { 3, unpack(where) }, text, as_raw))
      return wire(m):match "PID|1||(.*)|x\r$"
    end

    it("replace one part and create what is missing", function()
      assert.equal("Z^b~c", edited("a^b~c", { 1, 1 }, "Z"))
      assert.equal("a^Z~c", edited("a^b~c", { 1, 2 }, "Z"))
      assert.equal("a^b^^Z~c", edited("a^b~c", { 1, 4 }, "Z"))
      assert.equal("a^b~c&Z", edited("a^b~c", { 2, 1, 2 }, "Z"))
      assert.equal("a^b~c~~^^&Z", edited("a^b~c", { 4, 3, 2 }, "Z"))
      assert.equal("Z~c", edited("a^b~c", { 1 }, "Z"))
      assert.equal("Z", edited("a^b~c", {}, "Z"))
      assert.equal("~Z", edited("", { 2 }, "Z"))
      assert.equal("", edited("a", { 1, 1, 1 }, ""))
      assert.equal("^b~c", edited("a^b~c", { 1, 1 }, ""))
      assert.equal("a", edited("a", { 1, 5 }, ""))
      assert.equal("\\F\\\\R\\", edited("a", {}, "|~"))
      assert.equal("p^q~r", edited("a", {}, "p^q~r", true))
    end)

    it("leave every other byte alone", function()
      local m = parse(head .. "\rPID|a|b||c^^\rPD1\rOBX|1|\n\r")
      assert(set(m, 1, { 8, 1, 2 }, "Z"))
      assert(set(m, 1, { 1 }, ""))
      assert(set(m, 2, { 2 }, "n"))
      assert.equal(head .. "\rPID||b||c^^||||^Z\rPD1||n\rOBX|1|\n\r", wire(m))
      assert.equal("^Z", raw(m, 1, 8))
      assert.equal("", raw(m, 1, 7))
      assert.is_nil(raw(m, 1, 9))
    end)

    it("that change nothing touch nothing", function()
      local m = parse(head .. "\rPID|a|b\r")
      assert(set(m, 1, { 1, 1, 1, 1 }, "a"))
      assert(set(m, 1, { 9, 3, 3 }, ""))
      assert.is_false(m.touched)
    end)

    it("refuse raw values that would cut a level above", function()
      local m = parse(head .. "\rPID|a|b\r")
      for _, v in ipairs { "x|y", "x\ry" } do assert.is_nil((set(m, 1, { 1 }, v, true))) end
      assert.is_true(set(m, 1, { 1 }, "x~y", true))
      assert.is_nil((set(m, 1, { 1, 1 }, "x~y", true)))
      assert.is_true(set(m, 1, { 1, 1 }, "x^y", true))
      assert.is_nil((set(m, 1, { 1, 1, 1 }, "x^y", true)))
      assert.is_true(set(m, 1, { 1, 1, 1 }, "x&y", true))
      local ok, why = set(m, 1, { 1, 1, 1, 1 }, "x&y", true)
      assert.is_nil(ok)
      assert.is_truthy(why:find("byte 2", 1, true))
    end)

    it("need the delimiters that they use", function()
      local m = parse "MSH|^|A\rPID|1\r"
      local ok, why = set(m, 1, { 1, 2 }, "x")
      assert.is_nil(ok)
      assert.is_truthy(why:find("no repetition separator", 1, true))
      assert.is_true(set(m, 1, { 1, 1, 2 }, "x"))
    end)

    it("agree with a plain model over random edits", function()
      math.randomseed(11)
      for _ = 1, 300 do
        local m = parse(head .. "\rPID|a^b|~|c&d^e\rPD1\r")
        local want = {}
        for _ = 1, 20 do
          local slot, f = math.random(1, 2), math.random(1, 12)
          local r, c, s = math.random(1, 3), math.random(1, 3), math.random(1, 3)
          local text = ("|^~\\&\rxyz"):sub(math.random(1, 9), math.random(1, 9)) .. "v"
          assert(set(m, slot, { f, r, c, s }, text))
          want[("%d %d %d %d %d"):format(slot, f, r, c, s)] = text
        end
        local again = parse(wire(m))
        assert.equal(wire(m), wire(again))
        for key, text in pairs(want) do
          local slot, f, r, c, s = key:match "(%d+) (%d+) (%d+) (%d+) (%d+)"
          for _, msg in ipairs { m, again } do
            local got = raw(msg, tonumber(slot), tonumber(f), tonumber(r), tonumber(c), tonumber(s))
            local out = ffi.new("char[?]", #got + 1)
            assert.equal(text, ffi.string(out, C.ln_unescape(msg.delims, ln.span(got), out)))
          end
        end
      end
    end)
  end)

  describe("structure", function()
    local function add(m, name, after)
      local slot, err = ffi.new "uint32_t[1]", ffi.new "struct ln_err"
      local rc = C.ln_message_add(m, ln.span(name), after or 0xffffffff, slot, err)
      return rc == 0 and slot[0] or nil, ffi.string(err.text)
    end

    it("adds, removes and moves segments", function()
      local err = ffi.new "struct ln_err"
      local m = parse(head .. "\rOBR|1\rOBX|1\rOBX|2\r")
      local nte = add(m, "NTE", 2)
      assert(set(m, nte, { 1 }, "n"))
      add(m, "ZZ1")
      assert.equal(head .. "\rOBR|1\rOBX|1\rNTE|n\rOBX|2\rZZ1\r", wire(m))
      assert.equal(0, C.ln_message_remove(m, 2, err))
      assert.equal("MSH OBR NTE OBX ZZ1", names(m))
      assert.equal(0, C.ln_message_move(m, 1, 3, err))
      assert.equal("MSH NTE OBX OBR ZZ1", names(m))
      assert.equal(0, C.ln_message_move(m, 3, 5, err) - C.ln_message_move(m, 3, 5, err))
      assert.equal(-2, C.ln_message_remove(m, 0, err))
      assert.equal(-2, C.ln_message_move(m, 0, 3, err))
    end)

    it("finds the nth of a name, in a loop too", function()
      local t = { head }
      for i = 1, 2000 do
        t[#t + 1] = "OBX|" .. i
        t[#t + 1] = "NTE"
      end
      local m = parse(table.concat(t, "\r"))
      for i = 1, 2000 do
        assert.equal(tostring(i), raw(m, C.ln_message_find(m, ln.span "OBX", i), 1))
      end
      assert.equal("7", raw(m, C.ln_message_find(m, ln.span "OBX", 7), 1))
      assert.equal(0xffffffff, C.ln_message_find(m, ln.span "OBX", 2001))
      assert.equal(0xffffffff, C.ln_message_find(m, ln.span "OB", 1))
    end)

    it("refuses names that no reader would take", function()
      local m = parse(head .. "\r")
      for _, name in ipairs { "", "PI", "PIDX", "pid", "P-D", "1AB", "P\rD" } do
        assert.is_nil((add(m, name)), name)
      end
    end)
  end)

  describe("size", function()
    it("a million segments and a 50 MB field take time in proportion", function()
      local many = head .. "\r" .. ("OBX|1|NM|a||5\r"):rep(1000000)
      local m = parse(many)
      assert.equal(1000001, m.count)
      assert.equal("5", raw(m, C.ln_message_find(m, ln.span "OBX", 1000000), 5))
      assert(set(m, 500000, { 5 }, "6"))
      assert.equal(#many, #wire(m))
      C.ln_message_fini(m)
      local big = head .. "\rOBX|1|ED|||^^^Base64^" .. ("A"):rep(50 * 1024 * 1024) .. "|||F\r"
      m = parse(big)
      assert.equal("F", raw(m, 1, 8))
      assert.equal(50 * 1024 * 1024, #raw(m, 1, 5, 1, 5))
      assert(set(m, 1, { 5, 1, 4 }, "Hex"))
      assert.equal(#big - 3, #wire(m))
      require("support.sys").linear(100000, function(n)
        m = parse(head .. "\r" .. ("OBX|1|NM|a||5\r"):rep(n))
        assert.equal("5", raw(m, C.ln_message_find(m, ln.span "OBX", n), 5))
        C.ln_message_fini(m)
      end)
    end)

    it("editing one field again and again stays small", function()
      local m = parse(head .. "\rPID|1\r")
      for i = 1, 20000 do assert(set(m, 1, { 3, i % 50 + 1 }, "v" .. i)) end
      local text = {}
      for i = 1, 3000 do
        text[i] = "x"
        if i % 100 == 0 then assert(set(m, 1, { 5 }, table.concat(text))) end
      end
      assert.equal(3000, #raw(m, 1, 5))
    end)
  end)
end)
