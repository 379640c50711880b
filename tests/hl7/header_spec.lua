local ln = require "support.ln"
local sys = require "support.sys"
local C, ffi = ln.C, ln.ffi

local alive = {} -- the texts that spans point to
local function read(text)
  alive[#alive + 1] = text
  local h, err = ffi.new "struct ln_header", ffi.new "struct ln_err"
  local code = C.ln_header_read(ln.span(text), h, err)
  return h, code, ffi.string(err.text), tonumber(err.offset)
end

local function delims(text)
  local h, code = read(text)
  local d, s = h.delims, ""
  for _, role in ipairs { "field", "component", "repetition", "escape", "subcomponent",
    "truncation" } do
    s = s .. (d[role] == 0 and "." or string.char(d[role] % 256))
  end
  return s, code
end

local function messages(text)
  local pos, m, list = ffi.new "size_t[1]", ffi.new "struct ln_span", {}
  while C.ln_batch_next(ln.span(text), pos, m) do list[#list + 1] = ln.str(m) end
  assert.equal("", ln.str(m))
  return list
end

local ADT = "MSH|^~\\&|APP|FAC|RAPP|RFAC|20260101||ADT^A01^ADT_A01|ID1|P|2.5.1|||AL|NE||UTF-8\r"
local ids = "PID|1|x|111^^^H^MR~222&sub^^^H~~\"\"~333^4||DOE\r"

describe("hl7/header", function()
  it("gives the fields of MSH, counted as HL7 counts them", function()
    local h, code = read(ADT .. "EVN|A01\r" .. ids)
    assert.equal(0, code)
    assert.equal(C.LN_HEADER_MSH, h.kind)
    assert.equal(ADT:sub(1, -2), ln.str(h.segment))
    for n, want in pairs { [1] = "|", [2] = "^~\\&", [3] = "APP", [6] = "RFAC", [8] = "",
      [9] = "ADT^A01^ADT_A01", [10] = "ID1", [12] = "2.5.1", [18] = "UTF-8", [19] = "" } do
      assert.equal(want, ln.str(h.field[n]), "MSH-" .. n)
    end
    assert.equal("A01", ln.str(C.ln_header_component(h, 9, 2)))
    assert.equal("ADT_A01", ln.str(C.ln_header_component(h, 9, 3)))
    for _, no in ipairs { { 9, 4 }, { 19, 1 }, { 0, 1 }, { 21, 1 }, { 9, 0 }, { 2, 2 } } do
      assert.equal("", ln.str(C.ln_header_component(h, no[1], no[2])))
    end
    assert.equal("^~\\&", ln.str(C.ln_header_component(h, 2, 1)))
  end)

  it("gives the first part of a component of the first repetition", function()
    local h = read "MSH|^~\\&|A&sub^B~C^D|"
    assert.equal("A", ln.str(C.ln_header_component(h, 3, 1)))
    assert.equal("B", ln.str(C.ln_header_component(h, 3, 2)))
    assert.equal("", ln.str(C.ln_header_component(h, 3, 3)))
  end)

  it("gives the patient ids of the first PID", function()
    local function patients(text)
      local h, list = read(text), {}
      for i = 1, h.npatient do list[i] = ln.str(h.patient[i - 1]) end
      return list
    end
    assert.same({ "111", "222", "333" }, patients(ADT .. "EVN|A01\r" .. ids))
    for _, ending in ipairs { "\n", "\r\n", "\r\n\r\n" } do
      assert.same({ "111", "222", "333" }, patients((ADT .. "EVN|\r" .. ids):gsub("\r", ending)))
    end
    assert.same({}, patients(ADT .. "EVN|A01\rPID|1|2"))
    assert.same({ "9" }, patients(ADT .. "NTE|1||PID|\rPID|1||9"))
    assert.same({}, patients(ADT .. "NTE|1||PID|1||8\r"))
    assert.same({}, patients(ADT .. "MSH|^~\\&|\r" .. ids))
    assert.same({ "1", "2", "3", "4", "5", "6", "7", "8" },
      patients(ADT .. "PID|||1~2~3~4~5~6~7~8~9~10\r"))
    assert.same({ "111~222" }, patients "MSH|^|A\rPID|||111~222^x\r")
  end)

  it("splits before a header with blanks in front of it, but for text that looks like one", function()
    local pos, m = ffi.new "size_t[1]", ffi.new "struct ln_span"
    local function split(text)
      local list = {}
      pos[0] = 0
      while C.ln_batch_next(ln.span(text), pos, m) do list[#list + 1] = ln.str(m) end
      return list
    end
    assert.same({ "MSH|^~\\&|A\r", "MSH|^~\\&|B\r" }, split "MSH|^~\\&|A\r \tMSH|^~\\&|B\r")
    assert.same({ "MSH|^~\\&|A\n\n", "MSH|^~\\&|B\n" }, split " MSH|^~\\&|A\n\n MSH|^~\\&|B\n")
    assert.same({ "MSH|^~\\&|A\r  MSH is text\r MSH-7\r" }, split "MSH|^~\\&|A\r  MSH is text\r MSH-7\r")
    assert.same({ "MSH|^~\\&|A\rNTE|1||x\n MSH#^~\r" }, split "MSH|^~\\&|A\rNTE|1||x\n MSH#^~\r")
  end)

  it("tells a batch of no messages from one that lost them", function()
    local function empty(text) return C.ln_batch_is_empty(ln.span(text)) end
    for _, text in ipairs { "BHS|^~\\&|A\rBTS|0\r", "BHS|^~\\&\rBTS\r", "FHS|^~\\&\nFTS|0",
      "\239\187\191FHS#!@%*#A\rBHS#!@%*\rBTS#00#x\rFTS#1\r" } do
      assert.is_true(empty(text), text)
    end
    for _, text in ipairs { "", "\r", "BTS|0\r", "BHS|^~\\&|A\r", "BHS|^~\\&|A\rBTS|1\r", "BHS|^~\\&\rPID|1\rBTS|0\r",
      "BHS|^~\\&\rMSH|^~\\&\rBTS|0\r", "MSH|^~\\&\rBTS|0\r", "BHS|^~\\&\rBTSX\rBTS|0\r", "BHS|^~\\&\rBTS|10\r" } do
      assert.is_false(empty(text), text)
    end
  end)

  it("reads any number of encoding characters, by place", function()
    for text, want in pairs {
      ["MSH|^~\\&|"] = "|^~\\&.", ["MSH|^~\\&#|"] = "|^~\\&#", ["MSH|^~\\|"] = "|^~\\..",
      ["MSH|^~|"] = "|^~...", ["MSH|^|"] = "|^....", ["MSH|^"] = "|^....",
      ["MSH^~|\\&^"] = "^~|\\&.", ["MSH#$*!?%#"] = "#$*!?%", ["FHS|^~\\&|"] = "|^~\\&.",
      ["BHS|^~\\&\rMSH|^~\\&"] = "|^~\\&.",
      ["MSH|^~&|"] = "|^~.&.",        -- escape character left out
      ["MSH|^~\\\\&|"] = "|^~\\&.",   -- and doubled
      ["MSH|^~\\\\&#|"] = "|^~\\&#",
      ["MSH|^^^^|"] = "|^....",
      ["MSH|^\203\156\\&|"] = "|^.\\&.", -- a tilde that is none: two bytes, one place
      ["MSH|^\166\\&|"] = "|^\166\\&.", -- the broken bar of 8859/1
      ["MSH|^\27\\&|"] = "|^.\\&.", -- a place without role, as it has a meaning of its own
      ["MSH|^~\\& |"] = "|^~\\&.", ["MSH|^~\\&#12|"] = "|^~\\&#",
    } do
      local got, code = delims(text)
      assert.equal(want, got, text)
      assert.equal(0, code, text)
    end
  end)

  it("looks behind a byte order mark, blanks and line ends", function()
    for _, front in ipairs { "\239\187\191", " \t", "\r\n\n", "\239\187\191\r\n ", "\0", "\11" } do
      local h, code = read(front .. ADT)
      assert.equal(0, code)
      assert.equal(#front, tonumber(h.offset))
      assert.equal("ID1", ln.str(h.field[10]))
    end
  end)

  it("says where and why there is no header, never what stood there", function()
    local function fails(text, kind, offset, why)
      local h, code, err, at = read(text)
      assert.equal(C.LN_EPARSE, code, text)
      assert.equal(kind, tonumber(h.kind), text)
      assert.equal(offset, at, text)
      assert.equal(why, err, text)
    end
    fails("", 0, 0, "empty")
    fails(" \r\n", 0, 3, "nothing but blanks")
    fails("hello world", 0, 0, "does not start with MSH, BHS or FHS")
    fails("\nPID|1", 0, 1, "does not start with MSH, BHS or FHS")
    fails("MSH", 0, 3, "header segment without a field separator")
    fails("MSHA^~\\&A", 0, 3, "header segment without a field separator")
    fails("MSH|SENDER|FAC", 0, 4, "header segment without encoding characters")
    fails("MSH|", 1, 4, "MSH without encoding characters")
    fails("BHS||x", 2, 4, "BHS without encoding characters")
    fails("MSH|\r^~\\&|", 1, 4, "MSH without encoding characters")
  end)

  it("keeps what could be read of a header without encoding characters", function()
    local h = read "MSH||A|B|C|D|||ADT|ID9|P|2.3\r"
    assert.equal("ID9", ln.str(h.field[10]))
  end)

  it("walks a batch", function()
    local m1, m2 = ADT .. "PID|1\r", ADT .. "PID|2\r"
    local fhs, bhs, bts, fts = "FHS|^~\\&|\r", "BHS|^~\\&|\r", "BTS|2\r", "FTS\r"
    assert.same({ m1, m2 }, messages(fhs .. bhs .. m1 .. m2 .. bts .. fts))
    assert.same({ m1, m2 }, messages(bhs .. m1 .. bts .. bhs .. m2 .. bts))
    assert.same({ m1, m2 }, messages(m1 .. m2))
    assert.same({ m1 }, messages("\239\187\191\r\n" .. m1))
    assert.same({ m1:sub(1, -2) }, messages(m1:sub(1, -2)))
    assert.same({}, messages(fhs .. bhs .. bts .. fts))
    assert.same({}, messages "")
    assert.same({}, messages "no message")
    assert.same({ "MSH|^\r" }, messages "MSH|^\rFTS")
  end)

  it("walks batches with LF and CRLF ends", function()
    for _, ending in ipairs { "\n", "\r\n" } do
      local m = (ADT .. "PID|1\r"):gsub("\r", ending)
      local head = ("BHS|^~\\&|\r"):gsub("\r", ending)
      assert.same({ m, m }, messages(head .. m .. m .. "BTS|2" .. ending))
    end
  end)

  it("splits at segment starts only", function()
    local m = ADT .. "OBX|1|TX|||see MSH|^~\\&|\nMSH-7\nMSH\\F\\^~\\E\\\\T\\\nBTS\r" ..
      "MSH-10 is empty\r"
    assert.same({ m }, messages(m))
    -- LF ends no segment here, but a field separator cannot stand in text: a message per line.
    local line = (ADT .. "PID|1")
    assert.same({ line .. "\n", line .. "\n" }, messages(line .. "\n" .. line .. "\n"))
    -- Another separator, after a true segment end.
    assert.same({ ADT, "MSH#*~\\&#\r" }, messages(ADT .. "MSH#*~\\&#\r"))
    -- A header that can't be read is a message of its own, to be refused, not swallowed.
    assert.same({ ADT, "MSH||A\r", "MSH|" }, messages(ADT .. "MSH||A\rMSH|"))
  end)

  it("is linear in whatever comes", function()
    for _, unit in ipairs { "\n", "\r", "A\n", "A\r", "MSH|^\r", "MSH|^\n", "PID\r", "~", " " } do
      sys.linear(400000, function(n)
        local text = "MSH|^~\\&|" .. (unit == "~" and "\rPID|||" or "\n") .. unit:rep(n / #unit)
        read(text)
        messages(text)
      end)
    end
    sys.linear(400000, function(n)
      messages((" "):rep(n) .. ("MSH|^\r"):rep(n / 6))
      messages("MSH|^|" .. ("x"):rep(n) .. "\r" .. ("MSH|^\r"):rep(n / 6))
    end)
  end)
end)
