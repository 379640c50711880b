-- `lunate deid`: nothing that identifies is left, the rest is, and a key makes pseudonyms.
local site = require "support.site"
local tmp = require "support.tmp"
local json = require "support.json"
local hl7 = require "support.hl7"

local KEY = tmp.file(("k"):rep(32), "key")
local s = site.new()

local function deid(text, ...)
  local args = { "deid", "--key-file", KEY, ... }
  args[#args + 1] = { input = text }
  local status, out, err = s:run(unpack(args))
  return out, err, status
end

local function message(version, ...)
  return ("MSH|^~\\&|EHR|HOSP|LAB|CITY|20261123101112||ADT^A01|C1|P|%s\r"):format(version)
    .. table.concat({ ... }, "\r") .. "\r"
end

-- {n} becomes a word of its own, {d} a number of its own; they are returned in a list.
local function marked(template)
  local marks = {}
  local text = template:gsub("{([nd])}", function(kind)
    local n = #marks + 1
    marks[n] = kind == "n" and "Qz" .. ("abcdefghij"):sub(n % 10 + 1, n % 10 + 1)
      .. string.char(97 + math.floor(n / 10) % 26, 97 + math.floor(n / 260)) .. "wx" or tostring(70300000 + 7 * n)
    return marks[n]
  end)
  return text, marks
end

local SEGMENTS = {
  "EVN|A01|20261123||||20261123",
  "PID|1|{d}^^^H|{d}^1^M10^H&1.2&ISO^MR~{n}{d}^^^H^SS|{d}|{n}&{n}&{n}^{n}^{n}^{n}^{n}^{n}^L~{n}^{n}|{n}^{n}|19620320"
    .. "|F|{n}^{n}|2106-3^White^H|{d} {n}&{n}&{d}^{n}^{n}^{n}^{d}^{n}^H^{n}^{n}^{n}|{n}|{d}^PRN^PH^{n}@{n}.com^1^212"
    .. "^{d}^{d}^{n}^{n}~+1 (212) {d} x12|{d}|eng|S|CAT|{d}^^^H^AN|{d}|{d}^NY^20301231|{d}^^^H||{n}||1||||20200101",
  "PD1|||{n}^^{d}|{n}{d}^{n}^{n}",
  "NK1|1|{n}^{n}|SPO^Spouse|{n}^^{n}^NY^12345|{d}|{d}||||{n}||{d}|{n}^^{d}|||19300101||||||||||{n}^{n}||||{n}^{n}"
    .. "|{d}|{n}^^{n}|{d}||||{d}|{n}",
  "PV1|1|I|ICU^101^1^H|||ICU2|{d}^{n}&{n}^{n}^{n}^{n}^DR|{d}^{n}^{n}||MED|||||||||{d}^^^H^VN",
  "GT1|1|{d}|{n}^{n}|{n}^{n}|{n}^^{n}^NY^12345|{d}|{d}|19200101|||SLF|{d}||||{n}^{n}|{n}^^{n}|{d}|{d}",
  "IN1|1|PLAN^Plan^L|{d}|{n}|{n}^^{n}|{n}^{n}|{d}|{d}|{n}|{d}|{n}|||{d}||{n}^{n}|SEL|19620320|{n}^^{n}|||||||||{d}"
    .. "||||||||{d}|||||||||||||{d}",
  "IN2|{d}|{d}|{d}^{n}^{n}|||{d}|{n}^{n}|{d}|{n}^{n}|{d}|SPO|{n}|{n}",
  "ACC|20261101|||||||{n} fell|{n}",
  "OBR|1|{d}^H|{d}^H|GLU^Glucose^L|||20261123||||||{n} note|||{d}^{n}^{n}|{d}|{n}|{n}",
  "OBX|1|FT|COM^Comment^L|1|seen with {n} {n}\\.br\\call {d}||||||F|||20261123||{d}^{n}^{n}",
  "OBX|2|ST|COM||{n}||||||F", "OBX|3|XPN|X||{n}^{n}||||||F", "OBX|4|CX|X||{d}^^^H||||||F", "OBX|5|||{n}|{n}",
  "OBX|6|ED|PDF||H^TEXT^PDF^Base64^{n}{n}||||||F", "OBX|7|QQ|X||{n}^{n}&{n}~{n}", "OBX|8|RP|X||{n}^H^TEXT",
  "OBX|9|XAD|X||{n}^{n}^{n}", "OBX|10|PN|X||{n}^{n}", "OBX|11|TN|X||{d}", "OBX|12|CWE|X||C^Code^L^^^^^^{n}",
  "OBX|13|NM|X||{n}", "OBX|14|DT|X||{n}", "OBX|15|TX|X||{n}~{n}",
  "NTE|1||{n} {n} of {n}", "AL1|1|DA|P^Penicillin|SV|{n} rash", "DG1|1|I9|786^Pain^I9|{n}|20261123",
  "MRG|{d}^^^H|{d}|{d}|{d}|{d}|{d}|{n}^{n}", "ZPD|{n}|{d}^{n}&{n}~{n}|{n}", "ZZZ{n}|{n}", "{n}", "{n} {n}",
  "XYZ|{n}^{n}", "PID|2||{d}||{n}^{n}|||||||{n}^^{n}",
}

describe("role/deid", function()
  teardown(site.cleanup)

  it("leaves none of the marked values, in any version, on stdout or stderr", function()
    for _, version in ipairs { "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5.1", "2.7", "2.8.2", "", "9.9" } do
      for _, options in ipairs { {}, { "--rules", tmp.file("return { text = 'scrub' }", "r.lua") } } do
        local free = #options > 0 -- with scrub, free text keeps words that are nowhere else
        local list = {}
        for i, segment in ipairs(SEGMENTS) do
          list[i] = free and segment:find "^OBX|[125]|" and "OBX|1|ST|A||x" or segment
          if free and segment:find "^[NADO][TLGB][E1R]" then list[i] = "NTE|1||x" end
          if free and segment:find "^OBX|15" or free and segment:find "^ACC" then list[i] = "NTE|1||x" end
        end
        local text, marks = marked(message(version, unpack(list)))
        local out, err, status = deid(text, unpack(options))
        assert.equal(0, status, err)
        local low = (out .. err):lower()
        for _, mark in ipairs(marks) do
          if low:find(mark:lower(), 1, true) then
            error(("version %s: %s is left: %s"):format(version, mark, low:match("[^\r]*" .. mark:lower() .. "[^\r]*")))
          end
        end
      end
    end
  end)

  it("finds names and ids of the patient where nobody looks for them", function()
    local text = message("2.5.1", "PID|1||4711007^^^H||Bergmann-Zoe^Hildegard|||F||||||||||88123",
      "OBX|1|CE|X^for HILDEGARD^L||A^Bergmann said^L", "OBX|2|NM|X||4711007", "PV1|1|I|BERGMANN|Hildegard",
      "AL1|1||P^zoe 88123^L")
    local out = deid(text):lower()
    for _, word in ipairs { "hildegard", "bergmann", "zoe", "4711007", "88123" } do
      assert.is_nil(out:find(word, 1, true), word)
    end
    assert.truthy(out:find("x^for [removed]^l", 1, true))
    assert.truthy(out:find("a^[removed] said^l", 1, true))
  end)

  it("keeps structure: the same segments, fields, repetitions, nulls; what does not identify stays", function()
    local text = message("2.5.1", "PID|1||4711^^^H^MR~||DOE^EVE||19620320|F|||\"\"||||||S",
      "OBX|1|NM|GLU^Glucose^L||182|mg/dL|70-105|H|||F|||20261123101112.123+0100", "OBX|2|ST|X||POSITIVE",
      "OBX|3|ST|X||1:40",
      "ZPD|a|b^c~d")
    local out = deid(text)
    local before, after = hl7.parse(text), hl7.parse(out)
    assert.equal(#before, #after)
    for _, path in ipairs { "MSH-3", "MSH-4", "MSH-9.2", "MSH-12", "PID-1", "PID-8", "PID-11", "PID-16", "PID-3[1].4",
      "PID-3[1].5", "OBX[1]-3.2", "OBX[1]-5", "OBX[1]-6", "OBX[1]-7", "OBX[1]-8", "OBX[2]-5", "OBX[3]-5" } do
      assert.equal(before[path], after[path], path)
    end
    assert.equal(2, #after.PID[3])
    assert.equal("ZPD||^~", after:raw "ZPD")
    assert.matches("^2026%d%d%d%d101112%.123%+0100$", after["OBX[1]-14"]:gsub("^2025", "2026"))
  end)

  it("the same key gives the same, another key something else; ids keep their shape and differ", function()
    local list = {}
    for i = 1, 2000 do list[i] = message("2.5.1", ("PID|1||AB-%04d-x||DOE^EVE"):format(i)) end
    local text = table.concat(list)
    local out = deid(text)
    assert.equal(out, (deid(text)))
    local other = tmp.file(("j"):rep(32), "other")
    assert.not_equal(out, (select(2, s:run("deid", "--key-file", other, { input = text }))))
    local seen, n = {}, 0
    for id in out:gmatch "PID|1||([^|]*)|" do
      assert.matches("^%u%u%-%d%d%d%d%-%l$", id)
      assert.is_nil(seen[id])
      seen[id], n = true, n + 1
    end
    assert.equal(2000, n)
    local _, ids = out:gsub("|C1|", "")
    assert.equal(0, ids)
  end)

  it("shifts dates by whole days per patient, keeps intervals and precision, hides ages over 89", function()
    local function dates(id, ...)
      local out = deid(message("2.5.1", "PID|1||" .. id .. "||A^B||" .. (... or ""))
        .. message("2.5.1", "PID|1||" .. id, "OBX|1|DT|X||20260301", "OBX|2|TS|X||20260311123000+0100",
          "OBX|3|DT|X||202603", "OBX|4|DT|X||2026", "OBX|5|DT|X||1.3.2026"))
      local list = {}
      for v in out:gmatch "OBX|%d|%u%u|X||([^\r]*)" do list[#list + 1] = v end
      return list, hl7.parse(out)["PID-7"]
    end
    local function days(v)
      return os.time { year = v:sub(1, 4), month = v:sub(5, 6), day = v:sub(7, 8), hour = 12 } / 86400
    end
    local a, born = dates("1000", "19300501")
    assert.equal("1936", born) -- 96 years old in 2026: 90
    assert.equal(10, math.floor(days(a[2]) - days(a[1]) + 0.5))
    assert.equal("123000+0100", a[2]:sub(9))
    assert.equal(6, #a[3])
    assert.same({ "2026", "" }, { a[4], a[5] })
    assert.is_true(a[1] < "20260301" and a[1] > "20250228")
    local b, young = dates("2000", "19800501")
    assert.not_equal(a[1], b[1])
    assert.equal(8, #young)
  end)

  it("zip codes, ages, e-mail, phones, names in the style of the original", function()
    local out = deid(message("2.5.1", "PID|1||1||DOE^J.^EVE^^DR||19620320|F|||1 A St^^B^NY^12345-6789^USA~x^^y^^10234||"
      .. "(555)123-4567~^^^a@b.org", "OBX|1|NM|30525-0^Age^LN||97", "OBX|2|NM|30525-0^Age^LN||45"))
    local m = hl7.parse(out)
    assert.same({ "123", "NY", "USA", "102" == m["PID-11[2].5"] and "102" or m["PID-11[2].5"] },
      { m["PID-11.5"], m["PID-11.4"], m["PID-11.6"], m["PID-11[2].5"] })
    assert.equal("000", m["PID-11[2].5"])
    assert.matches("^%(%d%d%d%)555%-%d%d%d%d$", m["PID-13"])
    assert.matches("^user%d+@example.org$", m["PID-13[2].4"])
    assert.matches("^%u+$", m["PID-5.1"])
    assert.matches("^%u%.$", m["PID-5.2"])
    assert.equal("DR", m["PID-5.5"])
    assert.same({ "90", "45" }, { m["OBX[1]-5"], m["OBX[2]-5"] })
  end)

  it("reports counts, never values", function()
    local text = message("2.5.1", "PID|1||4711^^^H||DOE^EVE") .. message("2.5.1", "PID|1||4712^^^H||DOE^EVA")
    local _, err = deid(text, "--report", "json")
    local d = json.decode(err)
    assert.equal(2, d.messages)
    local by = {}
    for _, r in ipairs(d.changed) do by[r.path .. " " .. r.rule] = r.count end
    assert.same({ 2, 2, 2 }, { by["PID-3 id"], by["PID-5 family"], by["PID-5 given"] })
    assert.equal("", (select(2, deid(text, "--report", "none"))))
    assert.matches("^2 messages, changed:\n", (select(2, deid(text))))
  end)

  it("lets no control character through to a terminal", function()
    local file = tmp.file(message("2.5", "PID|1||7", "NTE|1||\27[31m\7x", "ZZ1|\27]0;x\7"))
    local p = io.popen(("script -qec '%s deid --key-file %s --report none %s' /dev/null"):format(
      site.binary(), KEY, file))
    local out = p:read "*a"
    p:close()
    assert.truthy(out:find("ZZ1|", 1, true), out)
    assert.is_nil(out:gsub("\r?\n", ""):find "%c")
  end)

  it("takes rules of a site", function()
    local rules = tmp.file([[return { fields = { ["ZPD-1"] = "keep", ["ZPD-2.2"] = "id", ["PID-10"] = "remove" },
      segments = { ZOK = "keep" }, types = { XON = "keep" }, dates = "year",
      providers = "keep" }]], "rules.lua")
    local m = hl7.parse((deid(message("2.5.1", "PID|1||1||DOE^EVE||19620320|||2106-3^White", "PV1|1|I|||||7^WHO^DR",
      "PD1|||Clinic", "ZPD|north|a^777|c", "ZOK|x|DOE"), "--rules", rules)))
    assert.same({ "north", nil, nil, "x", "Clinic", "1962", "WHO" }, { m["ZPD-1"], m["ZPD-2.1"], m["ZPD-3"], m["ZOK-1"],
      m["PD1-3"], m["PID-7"], m["PV1-7.2"] })
    assert.matches("^%d%d%d$", m["ZPD-2.2"])
    assert.is_nil(m["PID-10"])
    assert.equal("[removed]", m["ZOK-2"])
    for _, bad in ipairs { "return 1", "return {", "return { fields = { PID = 'keep' } }", "return { nope = 1 }",
      "return { fields = { ['PID-3'] = 'nope' } }", "return { dates = 'x' }", "os.exit(7)" } do
      local status, out, err = s:run("deid", "--key-file", KEY, "--rules", tmp.file(bad, "rules.lua"), { input = "" })
      assert.same({ 2, "" }, { status, out })
      assert.matches("rules.lua", err)
    end
  end)

  it("without a key, or with a short one: says how to make one", function()
    for _, o in ipairs { {}, { "--key-env", "LN_NO_SUCH_KEY" }, { "--key-file", s.path .. "/none" },
      { "--key-file", tmp.file("short\n", "key") } } do
      local words = { "deid", unpack(o) }
      words[#words + 1] = { input = message "2.5" }
      local status, out, err = s:run(unpack(words))
      assert.same({ 2, "" }, { status, out })
      assert.matches("openssl rand %-hex 32", err)
    end
    local _, out = s:run("deid", "--key-env", "LN_KEY",
      { input = message "2.5", env = { LN_KEY = ("k"):rep(32) .. "\n" } })
    assert.equal((deid(message "2.5")), out)
  end)

  it("takes batches, frames, several files; other delimiters; what is no HL7 stays out", function()
    local one = message("2.5.1", "PID|1||1||DOE^EVE")
    local out = deid("BHS|^~\\&|A|B|||2026||DOE batch|DOE|77\r" .. one .. "BTS|1|DOE\r")
    assert.is_nil(out:find "DOE")
    assert.matches("^BHS|^~\\&|A|B|||2026||||%d%d\rMSH.*BTS|1|[^\r]*\r$", out)
    local err
    out, err = deid("\v" .. one .. "\28\rjunk DOE\r")
    assert.is_nil((out .. err):find "DOE")
    out, err = deid("junk DOE\n" .. one)
    assert.is_nil((out .. err):find "DOE")
    out = deid "MSH#!@%*#A#B\rPID#1##7!!!H@8##DOE*N!EVE\r"
    assert.is_nil(out:find "DOE")
    assert.matches("PID#1##%d!!!H@%d##%u+%*!%u+\r", out)
  end)
end)
