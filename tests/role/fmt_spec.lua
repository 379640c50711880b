-- `lunate fmt`: messages for people, and back to the wire form.
local site = require "support.site"
local tmp = require "support.tmp"
local proc = require "support.proc"

local MSG = "MSH|^~\\&|EHR|HOSP|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^HOSP^MR~99^^^SSA^SS||"
  .. "DOE\\T\\SON^JOHN&X||\"\"|F\rZPD|a||b^c\rOBX|1|FT|X||one\\.br\\two\rOBX|2|NM|X||5\r"

local READABLE = [[
MSH  Message header
    1 Field Separator                 |
    2 Encoding Characters             ^~\&
    3 Sending Application             EHR
    4 Sending Facility                HOSP
    7 Date/Time of Message            2026
    9 Message Type                    ADT^A01
   10 Message Control ID              7
   11 Processing ID                   P
   12 Version ID                      2.5.1
PID  Patient identification
    1 Set ID - PID                    1
 3[1] Patient Identifier List         4711^^^HOSP^MR
 3[2]                                 99^^^SSA^SS
    5 Patient Name                    DOE\T\SON^JOHN&X
    7 Date/Time of Birth              "" (null: delete)
    8 Administrative Sex              F  (Female)
ZPD
    1                                 a
    3                                 b^c
OBX[1]  Result
    1 Set ID - OBX                    1
    2 Value Type                      FT  (Formatted text)
    3 Observation Identifier          X
    5 Observation Value               one↵two
OBX[2]  Result
    1 Set ID - OBX                    2
    2 Value Type                      NM  (Numeric)
    3 Observation Identifier          X
    5 Observation Value               5
]]

-- Everything that may upset a terminal or a column.
local ODD = "MSH|^~\\&|A|B|||2026||ORU^R01|1|P|2.5||||||UNICODE UTF-8\rPID|1||7^^^H~8||山田あ&x^太郎^\\T\\é^e\204\129"
  .. "|\"\"\rOBX|1|FT|A||\27[31mred\7\194\155\255 \226\128\174 \t\11\127 " .. ("word "):rep(60) .. ("長"):rep(100)
  .. ("x"):rep(300) .. "|||||Q\r" .. ("Z"):rep(300) .. "|1\r"

local s = site.new()
local function fmt(text, ...)
  local args = { "fmt", ... }
  args[#args + 1] = { input = text }
  return s:run(unpack(args))
end

-- Columns, counted apart from the code under test: the letters of ODD only.
local function columns(line)
  local n = 0
  for c in line:gmatch "[%z\1-\127\192-\255][\128-\191]*" do
    local wide = c:find "^[\227-\233]" and c ~= "\239\191\189" and not c:find "^\226"
    n = n + (c == "\204\129" and 0 or wide and 2 or 1)
  end
  return n
end

describe("role/fmt", function()
  teardown(site.cleanup)

  it("shows a field a line, with names, repetitions, meanings, null", function()
    local status, out, err = fmt(MSG)
    assert.same({ 0, "" }, { status, err })
    assert.equal(READABLE, out)
  end)

  it("takes CR, LF and CRLF, MLLP frames, batches and several files", function()
    for _, ends in ipairs { "\n", "\r\n" } do
      assert.equal(READABLE, (select(2, fmt((MSG:gsub("\r", ends))))))
    end
    assert.equal(READABLE, (select(2, fmt("\v" .. MSG .. "\28\r", "-"))))
    local _, out = fmt("FHS|^~\\&|X\rBHS|^~\\&|Y\r" .. MSG .. "BTS|1\rFTS|1\r")
    assert.equal("FHS|^~\\&|X\n\nBHS|^~\\&|Y\n\n" .. READABLE .. "\nBTS|1\n\nFTS|1\n", out)
    local a, b = tmp.file(MSG, "a.hl7"), tmp.file(MSG .. MSG, "b.hl7")
    local title = "message %d  ADT^A01  control id 7  %s\n"
    _, out = s:run("fmt", a, b)
    assert.equal(title:format(1, a) .. READABLE .. "\n" .. title:format(1, b) .. READABLE .. "\n"
      .. title:format(2, b) .. READABLE, out)
  end)

  it("--all shows empty fields, --deep the components", function()
    local _, out = fmt(MSG, "--all")
    assert.truthy(out:find("\n    2 Patient ID\n 3[1] Patient Identifier List", 1, true))
    assert.truthy(out:find("\n   39 Tribal Citizenship\n", 1, true))
    assert.truthy(out:find("ZPD\n    1                                 a\n    2\n    3", 1, true))
    _, out = fmt(MSG, "--deep")
    assert.truthy(out:find([[
 3[1] Patient Identifier List
3[1].1 ID Number                       4711
3[1].4 Assigning Authority             HOSP
3[1].5 Identifier Type Code            MR  (Medical record number)
]], 1, true))
    assert.truthy(out:find([[
  5.1 Family Name                     DOE\T\SON
5.2.1                                 JOHN
5.2.2                                 X
]], 1, true))
  end)

  it("keeps to 20 to 200 columns and loses no text", function()
    local whole
    for _, width in ipairs { 20, 21, 30, 35, 36, 47, 48, 60, 72, 80, 99, 100, 133, 200 } do
      local status, out = fmt(ODD, "--width", width)
      assert.equal(0, status)
      for line in out:gmatch "[^\n]+" do
        if columns(line) > width then error(("%d columns at width %d: %s"):format(columns(line), width, line)) end
        assert.is_nil(line:find "%s$")
      end
      local value = out:match "\n    5 Observ[^\n]-(·%[31m.-)\n   10 " or out:match "(·%[31m.-)\n   10 "
      value = value:gsub("%s", "")
      whole = whole or value
      assert.equal(whole, value)
      assert.equal(100, select(2, value:gsub("長", "")))
      assert.truthy(value:find(("x"):rep(300), 1, true))
    end
  end)

  it("never lets a control character through", function()
    for _, o in ipairs { {}, { "--deep" }, { "--all", "--full" }, { "--width", "40" } } do
      local _, out = fmt(ODD .. "NTE|1||\n\rNTE|2|\t\v\r\27]0;x\7|\27\r", unpack(o))
      assert.is_nil(out:gsub("\n", ""):find "%c")
      assert.is_nil(out:find "\194[\128-\159]")
      assert.is_nil(out:find("\226\128\174", 1, true))
    end
  end)

  it("--wire gives the bytes back, whatever ends the segments", function()
    for _, ends in ipairs { "\r", "\n", "\r\n" } do
      local status, out = fmt((MSG:gsub("\r", ends)), "--wire")
      assert.same({ 0, MSG }, { status, out })
    end
    local odd = ODD:gsub("\11", "") .. "NTE|1||a\nb|||\r"
    assert.equal(odd, (select(2, fmt(odd, "--wire"))))
    assert.equal("BHS|^~\\&|Y\r" .. MSG .. MSG .. "BTS|2\r",
      (select(2, fmt(("BHS|^~\\&|Y\r" .. MSG .. MSG .. "BTS|2\r"):gsub("\r", "\n"), "--wire"))))
  end)

  it("--lines gives a segment a line, and reads its own output", function()
    local _, out = fmt(MSG .. MSG, "--lines")
    local lines = MSG:gsub("\r", "\n")
    assert.equal(lines .. "\n" .. lines, out)
    assert.equal(MSG .. MSG, (select(2, fmt(out, "--wire"))))
    assert.equal("MSH|^~\\&|A\nNTE|1||a\\X0A\\b\n", (select(2, fmt("MSH|^~\\&|A\rNTE|1||a\nb\r", "--lines"))))
  end)

  it("reads every set that scripts read", function()
    local head = "MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1||||||%s\rPID|1||7||%s\r"
    for name, want in pairs { ["8859/2"] = { "\161b", "Ąb" }, ["8859/1"] = { "caf\233", "café" },
      ["~ISO IR87"] = { "\27$B;3ED\27(B", "山田" }, ["GB 18030-2000"] = { "\214\208", "中" },
      ["8859/1~"] = { "M\195\188ller", "Müller" } } do -- UTF-8 that says 8859/1
      local _, out = fmt(head:format(name, want[1]))
      assert.truthy(out:find("Patient Name                    " .. want[2] .. "\n", 1, true), out)
    end
  end)

  it("knows what the site adds to the dictionary", function()
    local text = "hl7.dictionary.extend { segments = { ZPD = { title = 'Pet data', "
      .. "{ name = 'animal', type = 'ST' } } } }"
    local own = site.new { ["lib/dictionary.lua"] = text, ["lib/pets.lua"] = text:gsub("Pet", "Cat"),
      ["lib/bad.lua"] = "hl7.dictionary.extend { segmets = {} }" }
    local file = tmp.file(MSG)
    assert.truthy(select(2, own:run("fmt", file)):find("ZPD  Pet data\n    1 Animal", 1, true))
    assert.truthy(select(2, own:run("fmt", "--dictionary", "pets", file)):find("ZPD  Cat data", 1, true))
    assert.truthy(select(2, own:run("json", "--named", file)):find('"animal":"a"', 1, true))
    local status, _, err = own:run("fmt", "--dictionary", "bad", file)
    assert.equal(1, status)
    assert.truthy(err:find("bad.lua:1: dictionary.extend knows no 'segmets'", 1, true), err)
    status, _, err = own:run("validate", "--dictionary", "pest", file)
    assert.equal(1, status)
    assert.truthy(err:find('did you mean "pets"', 1, true), err)
  end)

  it("cuts values of megabytes unless --full, and says so", function()
    local long = "MSH|^~\\&|A\rOBX|1|ED|X||" .. ("QUJD"):rep(50000) .. "\r"
    local _, out = fmt(long)
    assert.truthy(out:find("QUJD … (200 KB in all)\n", 1, true))
    assert.is_true(#out < 6000)
    assert.is_true(#select(2, fmt(long, "--full")) > 200000)
  end)

  it("has colour on a terminal only, and fits it", function()
    local file = tmp.file(MSG)
    local function terminal(env)
      local command = ("stty cols 50; %s fmt %s"):format(site.binary(), file)
      local status, out = proc.run { "script", "-qec", command, "/dev/null", env = env }
      assert.equal(0, status)
      return out
    end
    local out = terminal { TERM = "xterm", NO_COLOR = false, COLUMNS = false }
    assert.truthy(out:find("\27[1mPID\27[0m", 1, true))
    assert.truthy(out:find("4711\27[36m^\27[0m", 1, true))
    assert.truthy(out:find("DOE\27[33m&\27[0mSON", 1, true))
    assert.truthy(out:find("Patient Identif…", 1, true))
    for _, env in ipairs { { TERM = "xterm", NO_COLOR = "1" }, { TERM = "dumb", NO_COLOR = false } } do
      assert.is_nil(terminal(env):find "\27")
    end
  end)

  it("says what it cannot read and goes on; wrong usage is 2", function()
    local status, out, err = s:run("fmt", s.path .. "/none.hl7", tmp.file(MSG))
    assert.equal(1, status)
    assert.equal(READABLE, out)
    assert.matches("none.hl7: No such file", err)
    status, out, err = fmt "hello"
    assert.same({ 1, "" }, { status, out })
    assert.matches("standard input: no message found", err)
    for _, words in ipairs { { "--wire", "--lines" }, { "--width", "19" }, { "--width", "x" }, { "--nope" } } do
      status, _, err = fmt(MSG, unpack(words))
      assert.equal(2, status)
      assert.matches("^lunate fmt: .*`lunate help fmt`", err)
    end
  end)
end)
