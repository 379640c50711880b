-- Character sets as scripts see them: text is UTF-8, untouched bytes stay, nothing is lost silently.
local hl7 = require "support.hl7"

local function msg(name, fields, policy)
  local head = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.5||||||" .. name
  return hl7.parse(head .. "\r" .. fields .. "\r", policy and { charset = policy })
end

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(err):gsub("^[^:]*:%d+: ", ""))
end

describe("script/charset", function()
  it("reads every set of table 0211", function()
    local cases = {
      { "UNICODE UTF-8", "M\195\188ller", "Müller" },
      { "8859/1", "M\252ller", "Müller" },
      { "8859/2", "\163\243d\188", "Łódź" },
      { "8859/3", "\161", "Ħ" },
      { "8859/4", "\163", "Ŗ" },
      { "8859/5", "\184\210\208\221", "Иван" },
      { "8859/6", "\229\205\229\207", "محمد" },
      { "8859/7", "\193\237\237\225", "Αννα" },
      { "8859/8", "\249\236\229\237", "שלום" },
      { "8859/9", "\221\254\253k", "İşık" },
      { "8859/15", "\164 \188uvre", "€ Œuvre" },
      { "KS X 1001", "\177\232\195\182\188\246", "김철수" },
      { "CNS 11643-1992", "\196\227", "中" },
      { "GB 18030-2000", "\206\210\149\50\130\54", "我𠀀" },
      { "BIG-5", "\164\164\165\124", "中四" },
      { "~ISO IR87", "\27$B45<T\27(B", "患者" },
      { "ISO IR6~ISO IR159", "\27$(D0!\27(B", "丂" },
      { "ISO IR14~ISO IR13~ISO IR87", "\212\207\192 \27$B;3ED\27(B", "ﾔﾏﾀ 山田" },
    }
    for _, c in ipairs(cases) do
      local name, bytes, text = c[1], c[2], c[3]
      local m = msg(name, "PID|1||3^^^X||" .. bytes .. "^E\\T\\" .. bytes .. "|x")
      assert.equal(text, m["PID-5.1"], name)
      assert.equal("E&" .. text, m["PID-5.2"], name)
      assert.equal("x", m["PID-6"], name)
      assert.equal(bytes, m:raw "PID-5.1", name)
      m["PID-6"] = text .. "|" .. text
      assert.equal(text .. "|" .. text, m["PID-6"], name)
      assert.equal(text .. "|" .. text, assert(hl7.parse(tostring(m)))["PID-6"], name)
      m["PID-8"] = text
      assert.equal(bytes, m:raw "PID-8", name)
      assert.equal(bytes, m:raw "PID-5.1", name)
      assert.is_nil(select(2, m:charset()), name)
    end
  end)

  it("finds delimiters between characters, not inside them", function()
    -- 0x7c | in BIG-5 and GB 18030, 0x5c \ and 0x5e ^ in both; all of them in ISO 2022
    local big5 = msg("BIG-5", "PID|1||\165\124^\179\92^\164\94|\179\126~\164\38|x")
    assert.equal("四", big5["PID-3.1"])
    assert.equal("許", big5["PID-3.2"])
    assert.equal("x", big5["PID-5"])
    assert.equal(2, #big5.PID[4])
    local gb = msg("GB 18030-2000", "PID|1||\129\124^\129\92\129\94|x")
    assert.equal(2, #gb.PID[3]:rep(1))
    assert.equal("x", gb["PID-4"])
    local jis = msg("~ISO IR87", "PID|1||\27$B!|!^!~!\\!&\27(B^b|x")
    assert.equal("b", jis["PID-3.2"])
    assert.equal("x", jis["PID-4"])
    jis["PID-3.3"] = "c"
    assert.equal("\27$B!|!^!~!\\!&\27(B^b^c", jis:raw "PID-3")
    assert.same({ "c" }, jis:all "PID-3[*].3")
    jis:set_raw("PID-6.2", "\27$B!|\27(B")
    assert.equal("^\27$B!|\27(B", jis:raw "PID-6")
    assert.equal("would end", fails(jis.set_raw, jis, "PID-6.2", "\27$B!|\27(B|"):match "would end")
  end)

  it("finds MSH-18 behind such characters", function()
    local m = assert(hl7.parse "MSH|^~\\&|\27$B!|!|!|\27(B|B|C|D|2026||ADT^A01|7|P|2.5||||||~ISO IR87\rPID|1\r")
    assert.equal("7", m.control_id)
    assert.equal("ISO IR87", m:charset())
    m = assert(hl7.parse "MSH|^~\\&|\165\124|B|C|D|2026||ADT^A01|7|P|2.5||||||BIG-5\rPID|1\r")
    assert.equal("四", m["MSH-3"])
    assert.equal("7", m.control_id)
  end)

  it("refuses what the set lacks, at the script's line", function()
    local m = msg("8859/1", "PID|1||3||M\252ller")
    local before = tostring(m)
    assert.equal("byte 2: the character U+20AC cannot be written in the message's character set, 8859/1",
      fails(function() m["PID-5.2"] = "x€" end))
    assert.truthy(select(2, pcall(function() m["PID-5.2"] = "x€" end)):find("charset_spec.lua:", 1, true))
    assert.equal(before, tostring(m))
    assert.truthy(fails(function() msg("ASCII", "PID|1")["PID-5"] = "ü" end):find("ASCII", 1, true))
    assert.truthy(fails(function() msg("~ISO IR87", "PID|1")["PID-5"] = "－" end):find("U+FF0D", 1, true))
    m = msg("8859/1", "PID|1", { default = "8859/2", substitute = "?" })
    m["PID-5.2"] = "x€ü"
    assert.equal("x?\252", m:raw "PID-5.2")
    m = msg("~ISO IR87", "PID|1", { default = "ASCII", substitute = "?" })
    m["PID-5"] = "－€"
    assert.equal("−?", m["PID-5"]) -- the twin that the set has, then the substitute
  end)

  it("keeps bytes that are no characters, and says where they are", function()
    local m = msg("UNICODE UTF-8", "PID|1||3||M\252ller|x")
    assert.equal("M\252ller", m["PID-5"])
    local name, problem = m:charset()
    assert.equal("UNICODE UTF-8", name)
    assert.equal("PID-5: byte 2 is no character of UNICODE UTF-8", problem)
    m["PID-6"] = m["PID-5"]
    assert.equal("M\252ller", m:raw "PID-6")
    m = msg("BIG-5", "PID|1||3||\255\164\164\250\64|x")
    assert.equal("\255中\250\64", m["PID-5"])
    m["PID-6"] = m["PID-5"]
    assert.equal(m:raw "PID-5", m:raw "PID-6")
    m = msg("8859/3", "PID|1||3||\165")
    m["PID-6"] = m["PID-5"]
    assert.equal("\165", m:raw "PID-6")
    -- a byte that would be read as another character is refused
    assert.truthy(fails(function() msg("8859/1", "PID|1")["PID-5"] = "\252" end)
      :find("no UTF-8 text", 1, true))
  end)

  it("goes by the policy where MSH-18 says nothing that is known", function()
    local bytes = "PID|1||3||M\252ller"
    for _, name in ipairs { "", "PRELIM", "ISO IR 999", "8859", "ASCII", "UNICODE UTF-16" } do
      assert.equal("M\252ller", msg(name, bytes)["PID-5"], name)
      assert.equal("Müller", msg(name, bytes, { default = "8859/1" })["PID-5"], name)
      assert.equal("Müller", msg(name, bytes, "8859/1")["PID-5"], name)
      assert.truthy(select(2, msg(name, bytes):charset()), name)
    end
    assert.equal("Müller", msg("8859/1", bytes, { default = "8859/2" })["PID-5"])
    assert.equal("Mјler", msg("8859/1", "PID|1||3||M\188ler", { force = "WINDOWS-1251" })["PID-5"])
    assert.equal("\195\188", msg("8859/1", "PID|1||3||\195\188", { force = "UNICODE UTF-8" })["PID-5"])
    assert.equal("Ã¼", msg("8859/1", "PID|1||3||\195\188", { force = "8859/1" })["PID-5"])
    assert.equal("Ã¼é", msg("8859/1", "PID|1||3||\195\188\233")["PID-5"])
    for _, name in ipairs { "8859/1", "~ISO IR87" } do -- UTF-8 under another name
      local m = msg(name, "PID|1||3||\195\188", "trust")
      assert.equal("ü", m["PID-5"])
      assert.truthy(select(2, m:charset()):find("another", 1, true))
    end
    assert.equal("患者", msg("", "PID|1||3||\27$B45<T\27(B")["PID-5"])
    assert.equal("山田", msg("", "PID|1||3||\142\82\147\99", { force = "SHIFT_JIS" })["PID-5"])
  end)

  it("says what is wrong with a policy", function()
    assert.truthy(fails(msg, "", "PID", { force = "8859/77" }):find("no character set '8859/77'", 1, true))
    assert.truthy(fails(msg, "", "PID", { force = "UNICODE UTF-16" }):find("cannot travel", 1, true))
    assert.truthy(fails(msg, "", "PID", { forced = "8859/1" }):find("default", 1, true))
    assert.truthy(fails(msg, "", "PID", { force = "ASCII", default = "ASCII" }):find("either", 1, true))
  end)

  it("converts a message when MSH-18 is set, or by msg:convert", function()
    local m = msg("8859/1", "PID|1||3||M\252ller^\\XE9\\^\\X00FF\\|x\rNTE|1||\252")
    m["MSH-18"] = "UNICODE UTF-8"
    assert.equal("M\195\188ller^\195\169", m:raw("PID-5"):sub(1, 10))
    assert.equal("Müller", m["PID-5"])
    assert.equal("ü", m:raw "NTE-3")
    assert.equal("UNICODE UTF-8", m:charset())
    m.MSH[18] = "GB 18030-2000"
    assert.equal("Müller", m["PID-5.1"])
    assert.equal("GB 18030-2000", m:raw "MSH-18")
    local before = tostring(m)
    assert.equal("PID-5, byte 2: the character U+00FC cannot be written in the message's character set, BIG-5",
      fails(function() m["MSH-18"] = "BIG-5" end))
    assert.equal(before, tostring(m))
    assert.truthy(fails(function() m["MSH-18"] = "8859" end):find("set_raw", 1, true))
    assert.equal(before, tostring(m))
    m:set_raw("MSH-18", "8859") -- the name alone
    assert.equal("Müller", m["PID-5.1"])
    m["MSH-18"] = nil
    assert.equal("Müller", m["PID-5.1"])
    m:convert("8859/1")
    assert.equal("M\252ller", m:raw "PID-5.1")
    assert.equal("8859/1", m:raw "MSH-18")
    m:convert("ASCII", { substitute = "_" })
    assert.equal("M_ller", m:raw "PID-5.1")
    m = msg("UNICODE UTF-8", "PID|1||3||患者^A&B^x")
    m:convert "~ISO IR87"
    assert.equal("\27$B45<T\27(B^A&B^x", m:raw "PID-5")
    assert.equal("~ISO IR87", m:raw "MSH-18")
    m:convert "UNICODE UTF-8"
    assert.equal("患者^A&B^x", m:raw "PID-5")
  end)

  it("copies parts into the set and the delimiters of another message", function()
    local jis = msg("~ISO IR87", "PID|1||3||\27$B!|45<T\27(B^A\\T\\B^x")
    local utf = hl7.parse "MSH#!@%*#A\rPID#1\r"
    utf["PID-5"] = jis.PID[5]
    assert.equal("●患者!A&B!x", utf:raw "PID-5")
    local latin = msg("8859/1", "PID|1||3||M\252ller^E")
    utf["PID-5"] = latin.PID[5]
    assert.equal("Müller!E", utf:raw "PID-5")
    assert.truthy(fails(function() latin["PID-6"] = jis.PID[5] end):find("U+", 1, true))
    local copy = jis:copy()
    assert.equal("●患者", copy["PID-5"])
    assert.equal(jis, copy)
    utf:add(jis.PID, utf.PID)
    assert.equal("●患者", utf["PID[2]-5"])
    assert.equal("A&B", utf["PID[2]-5.2"])
  end)

  it("reads switches in \\C..\\ and \\M..\\ where MSH-18 names the sets", function()
    local m = msg("~ISO IR87", "PID|1||3||a\\M2442\\45<T\\C2842\\b^\\H\\c\\E\\C2842|x")
    assert.equal("a患者b", m["PID-5.1"])
    assert.equal("\\H\\c\\C2842", m["PID-5.2"])
    assert.equal("x", m["PID-6"])
    m = msg("8859/1~8859/2", "PID|1||3||\252\\C2D42\\\163\\C2D41\\\252")
    assert.equal("üŁü", m["PID-5.1"])
    m = msg("", "PID|1||3||\\M2442\\45<T\\C2842\\")
    assert.equal("\\M2442\\45<T\\C2842\\", m["PID-5.1"])
  end)

  it("begins no sequence with the end of a command, in any set", function()
    for _, name in ipairs { "8859/1", "~ISO IR87", "SHIFT_JIS" } do
      local m = msg(name, "PID|1||3||\\H\\T\\N\\^\\.in+4\\F\\^a\\T\\b")
      assert.equal("\\H\\T\\N\\", m["PID-5.1"])
      assert.equal("\\.in+4\\F\\", m["PID-5.2"])
      assert.equal("a&b", m["PID-5.3"])
    end
  end)

  it("answers in the sender's set", function()
    local m = msg("8859/1", "PID|1||3||M\252ller")
    local a = m:ack { code = "AE", text = "Müller: unbekannt €" }
    assert.truthy(tostring(a):find("M\252ller: unbekannt ?", 1, true))
    assert.equal("Müller: unbekannt ?", a["ERR-8"])
    assert.equal("8859/1", a["MSH-18"])
  end)

  it("reads files in UTF-16 and UTF-32, which then are UTF-8", function()
    local function wide(text, size, little)
      return (text:gsub(".", function(c)
        local zero = ("\0"):rep(size - 1)
        return little and c .. zero or zero .. c
      end))
    end
    local text = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.5||||||UNICODE UTF-16\rPID|1||3\r"
    for _, b in ipairs { wide(text, 2, true), wide(text, 2, false), wide(text, 4, true),
      wide(text, 4, false), "\255\254" .. wide(text, 2, true), "\254\255" .. wide(text, 2, false) } do
      local m = assert(hl7.parse(b))
      assert.equal("3", m["PID-3"])
      assert.equal("UNICODE UTF-8", m["MSH-18"])
    end
  end)

  it("reads a long message across the index's blocks", function()
    local lines = {}
    for i = 1, 400 do
      lines[i] = ("OBX|%d|ST|\27$B!|!|!|45<T\27(B||\27$B!|!|!|45<T\27(B%s|x"):format(i, ("y"):rep(i % 7))
    end
    local m = msg("~ISO IR87", table.concat(lines, "\r"))
    assert.equal(401, #m)
    for i = 1, 400 do
      assert.equal("●●●患者" .. ("y"):rep(i % 7), m["OBX[" .. i .. "]-5"])
      assert.equal("x", m["OBX[" .. i .. "]-6"])
    end
  end)
end)
