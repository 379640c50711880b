-- msg:validate and hl7.profile as scripts see them. What the documents show: tests/docs.
local hl7 = require "support.hl7"

local function message(lines, kind, version)
  return assert(hl7.parse(("MSH|^~\\&|A|B|C|D|20260101||%s|M1|P|%s\r%s\r"):format(kind, version,
    table.concat(lines, "\r"))))
end

-- "severity path rule" of each problem, sorted as found.
local function found(m, o)
  local list = {}
  for i, p in ipairs(m:validate(o)) do
    list[i] = ("%s %s %s"):format(p.severity, p.path, p.rule)
  end
  return list
end

local function adt(lines, version)
  local all = { "EVN||20260101" }
  for _, line in ipairs(lines) do all[#all + 1] = line end
  return message(all, "ADT^A01^ADT_A01", version or "2.5.1")
end

local PID, PV1 = "PID|1||7^^^H^MR||DOE^JO", "PV1|1|I"

describe("script/validate", function()
  it("has nothing to say of a message that is well", function()
    assert.same({}, found(adt { PID, PV1 }))
    assert.same({}, found(message({ PID, "OBR|1|||GLU^Glucose^L",
      "OBX|1|NM|GLU^Glucose^L||-1.5e|mg/dL|||||F" }, "ORU^R01^ORU_R01", "2.5.1"),
      { severity = "error", limit = 0 }))
  end)

  it("reads and changes nothing", function()
    local m = adt { PID .. "|\\X0D\\|2026||~||^^^", PV1, "Z", "ZZZ|" }
    local before = tostring(m)
    m:validate()
    assert.equal(before, tostring(m))
  end)

  describe("data types", function()
    local function of(type, value)
      local m = message({ PID, "OBR|1|||A^B^L", "OBX|1|" .. type .. "|A^B^L||" .. value ..
        "||||||F" }, "ORU^R01^ORU_R01", "2.5.1")
      local list = {}
      for _, p in ipairs(m:validate { severity = "warning" }) do list[#list + 1] = p.severity end
      return table.concat(list, " ")
    end

    it("dates and times", function()
      for value, want in pairs {
        ["2026"] = "", ["202602"] = "", ["20240229"] = "", ["20000229"] = "", ["\"\""] = "",
        ["20230229"] = "error", ["19000229"] = "error", ["20261301"] = "error",
        ["2026010"] = "error", ["202"] = "error", ["2026-01-01"] = "error",
        ["01/02/2026"] = "error", ["today"] = "error", ["202601011200"] = "warning",
        [" 20260101"] = "warning", ["20260101 "] = "warning",
      } do
        assert.equal(want, of("DT", value), "DT " .. value)
      end
      for value, want in pairs {
        ["202601012359"] = "", ["20260101235959.1234+0100"] = "", ["2026-0500"] = "",
        ["202601012400"] = "error", ["20260101236"] = "error", ["20260101235959."] = "error",
        ["20260101+1500"] = "error", ["20260101+01:00"] = "error", ["2026.5"] = "error",
        ["2026010112000012"] = "error", ["20260101120000.123456"] = "warning",
      } do
        assert.equal(want, of("DTM", value), "DTM " .. value)
        assert.equal(want, of("TS", value), "TS " .. value)
      end
      for value, want in pairs { ["12"] = "", ["1230"] = "", ["123015.5-0500"] = "",
        ["24"] = "error", ["1"] = "error", ["12:30"] = "error", ["noon"] = "error" } do
        assert.equal(want, of("TM", value), "TM " .. value)
      end
    end)

    it("numbers", function()
      for value, want in pairs { ["1"] = "", ["-1.50"] = "", ["+.5"] = "", ["1."] = "",
        ["1,5"] = "error", ["<5"] = "error", ["1e5"] = "error", ["-"] = "error", ["."] = "error",
        [" 5"] = "warning", ["0x10"] = "error" } do
        assert.equal(want, of("NM", value), "NM " .. value)
      end
      for value, want in pairs { ["3"] = "", ["-3"] = "error", ["3.0"] = "error" } do
        assert.equal(want, of("SI", value), "SI " .. value)
      end
      assert.equal("", of("SN", ">^5"))
      assert.equal("error", of("SN", ">^five"))
      assert.equal("error", of("SN", "^1^-^x"))
    end)

    it("in components and subcomponents, with their paths", function()
      local m = adt { "PID|1||7^^^H^MR^^20261340~8^^^&1.2&ISO||DOE^JO^^^^^^^^X&Y", PV1 }
      assert.same({ "error PID-3.7 type" }, found(m, { severity = "error" }))
      local p = m:validate { severity = "error" }[1]
      assert.same({ "20261340", 8, "102", "PID^1^3^1^7" }, { p.value, p.length, p.code,
        p.err.location })
    end)

    it("of OBX-5 by OBX-2", function()
      assert.equal("warning", of("QQ", "x"))
      assert.equal("warning", of("", "x"))
      assert.equal("", of("CE", "A^B^L"))
      assert.equal("warning", of("TX", "a^b"))
      assert.equal("", of("ED", "^IM^PDF^Base64^JVBERi0="))
    end)
  end)

  it("required: vital fields are errors, others warnings, components info", function()
    assert.same({ "error PID-3 required", "warning PID-5 required" },
      found(adt { "PID|1||^^^||", PV1 }))
    assert.same({ "info PID-3[2].1 required" }, found(adt({ "PID|1||7^^^H^MR~^^^H^MR||DOE^^^^^^L", PV1 },
      "2.7"), { severity = "info" }))
  end)

  it("tables: HL7's are warnings, user-defined ones and other versions' info", function()
    local m = adt { "PID|1||7||DOE||20200101|Q||||||||||||||||||||||Q", PV1 }
    assert.same({ "info PID-8 table", "warning PID-30 table" }, found(m))
    m["PID-30"] = "Y"
    m:set_raw("PID-8", "\\X46\\") -- F
    assert.same({}, found(m))
  end)

  it("a coded field with another coding system is not of the table", function()
    local m = adt { "PID|1||7||DOE|||||XX^Some^L", PV1 }
    assert.same({}, found(m))
    m["PID-10.3"] = "HL70005"
    assert.same(0, #found(m, { severity = "warning" }))
  end)

  it("leaves alone what was found to be no mistake in real messages", function()
    local m = adt({ PID, PV1 .. ("|"):rep(48) .. "4^^^A" }, "2.8")
    m["MSH-18"] = "ASCII"
    assert.same({}, found(m, { severity = "warning" })) -- table 0203 is not for PV1-50.1
    m = message({ PID, "OBR|1|||A^B^L", "OBX|1|CWE|A&IMP^B^L||A^B^L||||||F" }, "ORU^R01", "2.3")
    assert.same({}, found(m, { severity = "warning" }))
    m = message({ "MSA|AA|1", "QAK|1|OK", "QPD|Z34^A^L|1|a^b|c~d|e", "PID|||1||DOE", "OBX|1" },
      "RSP^K11^RSP_K11", "2.5.1")
    for _, p in ipairs(m:validate { severity = "warning" }) do assert.matches("^OBX%-", p.path) end
  end)

  it("repetitions, extra parts, lengths", function()
    assert.same({ "warning PID-8 repeat" }, found(adt { PID .. "|||F~M", PV1 }))
    assert.same({ "info PID-40 extra" }, found(adt({ PID .. ("|"):rep(35) .. "x", PV1 }, "2.5.1")))
    assert.same({ "info PID-3.11 extra" }, found(adt { "PID|1||7^^^^^^^^^^x||DOE", PV1 }))
    assert.same({ "warning PID-23 extra" }, found(adt { PID .. ("|"):rep(18) .. "a^b", PV1 }))
    assert.same({ "info PID-3.1 length" }, found(adt { "PID|1||1234567890123456||DOE", PV1 }))
    assert.same({}, found(adt { "PID|1||\195\164\195\164\195\164\195\1641234567890||DOE", PV1 }))
  end)

  it("segments: unknown ones, broken lines, Z segments anywhere", function()
    assert.same({ "warning QQQ segment", "warning QQQ structure" },
      found(adt { PID, "QQQ|1", PV1 }))
    local m = adt { "ZZ1|a", PID, "ZZ2", PV1, "ZZ3||" }
    assert.same({}, found(m))
    m = adt { PID, PV1, "DG1|1||", "secret text|x", "more" }
    local list = m:validate { severity = "error" }
    assert.same({ 1, "DG1", "segment" }, { #list, list[1].path, list[1].rule })
    assert.is_nil((list[1].text .. tostring(list)):find "secret")
    assert.same({ "info SPM segment", "warning SPM structure" },
      found(message({ "EVN|A01|", PID, PV1, "SPM|1|||S" }, "ADT^A01", "2.3")))
  end)

  describe("header", function()
    local function header(line)
      return found(assert(hl7.parse(line .. "\rZZZ|1\r")))
    end

    it("says what a receiver cannot do without", function()
      local list = header "MSH|^~\\&|A|B|C|D|20260101"
      assert.same({ "error MSH-9 header", "warning MSH-12 header", "error MSH-10 header",
        "warning MSH-11 header" }, list)
    end)

    it("delimiters", function()
      assert.equal("error MSH-2 header", header("MSH|^^\\&|A|B|C|D|2026||ACK|1|P|2.5")[1])
      assert.equal("warning MSH-2 header", header("MSH|^~|A|B|C|D|2026||ACK|1|P|2.5")[1])
      assert.equal("info MSH-2 header", header("MSH#!@%*#A#B#C#D#2026##ACK#1#P#2.5")[1])
    end)

    it("types, events, versions that nobody knows", function()
      assert.same({ "warning MSH-12.1 header" }, { header("MSH|^~\\&|A|B|C|D|2026||ZZZ^Z01|1|P|9.9")[1] })
      assert.equal("warning MSH-9.1 header", header("MSH|^~\\&|A|B|C|D|2026||QQQ^Q99|1|P|2.5")[1])
      assert.equal("warning MSH-9.2 header", header("MSH|^~\\&|A|B|C|D|2026||ADT^Q99|1|P|2.5")[1])
    end)
  end)

  describe("structure", function()
    local function of(kind, version, names)
      local lines = {}
      for name in names:gmatch "%S+" do lines[#lines + 1] = name .. "|" end
      local list = {}
      for _, p in ipairs(message(lines, kind, version):validate()) do
        if p.rule == "structure" then list[#list + 1] = p.severity .. " " .. p.path end
      end
      return list
    end

    it("is content with what the standard allows", function()
      for _, case in ipairs {
        { "ORU^R01", "2.5.1", "PID NTE NK1 PV1 PV2 ORC OBR NTE OBX NTE NTE OBX SPM OBX ORC OBR OBX DSC" },
        { "ORU^R01", "2.3", "PID PV1 OBR OBX NTE OBX OBR OBX PID OBR OBX" },
        { "ORU^R01", "2.5.1", "OBR" },
        { "ADT^A01", "2.5.1", "EVN PID PD1 NK1 NK1 PV1 PV2 OBX AL1 DG1 PR1 ROL PR1 GT1 IN1 IN2 IN1 ACC PDA" },
        { "ADT^A08", "2.3.1", "EVN PID PV1" },
        { "SIU^S12", "2.5.1", "SCH TQ1 NTE PID PV1 RGS AIS NTE AIG AIL AIL NTE AIP RGS AIS" },
        { "OML^O21", "2.5.1", "PID PV1 IN1 AL1 ORC TQ1 OBR DG1 OBX SPM SAC ORC OBR SPM" },
        { "MDM^T02", "2.5.1", "EVN PID PV1 ORC OBR TXA OBX NTE OBX" },
        { "MDM^T02", "2.4", "EVN PID PV1 TXA OBX OBX" },
        { "VXU^V04", "2.5.1", "PID PD1 NK1 PV1 ORC RXA RXR OBX NTE ORC RXA OBX" },
        { "RDE^O11", "2.5.1", "PID AL1 ORC RXE TQ1 RXR RXC OBX ORC RXO RXR RXE TQ1 RXR" },
        { "OMG^O19", "2.8", "PID ORC OBR PV1 AL1 ORC OBR TQ1 OBX ORC OBR OBX" },
      } do
        assert.same({}, of(unpack(case)), table.concat(case, " "))
      end
    end)

    it("says what is missing, too many, out of order, without a place", function()
      for _, case in ipairs {
        { "ADT^A01", "2.5.1", "EVN PV1", { "error PID" } },
        { "ADT^A01", "2.5.1", "PID", { "warning EVN", "warning PV1" } },
        { "ADT^A01", "2.5.1", "EVN PID PV1 PID", { "warning PID[2]" } },
        { "ADT^A01", "2.5.1", "EVN PV1 PID", { "warning PID" } },
        { "ADT^A01", "2.5.1", "EVN PID PV1 OBR", { "warning OBR" } },
        { "ORU^R01", "2.5.1", "PID OBX", { "error OBR" } },
        { "ORU^R01", "2.5.1", "PID OBR OBX SPM ORC SPM", { "error OBR[2]" } },
        { "SIU^S12", "2.5.1", "SCH PID", { "error RGS" } },
        { "SIU^S12", "2.5.1", "SCH AIS", { "error RGS" } },
        { "MDM^T02", "2.5.1", "EVN PID PV1 TXA", { "error OBX" } },
        { "VXU^V04", "2.5.1", "PID ORC ORC RXA", { "error RXA" } },
        { "ZZZ^Z01", "2.5.1", "PID", { "info MSH-9" } },
      } do
        assert.same(case[4], of(unpack(case, 1, 3)), table.concat(case, " ", 1, 3))
      end
    end)

    it("MSH-9.3 that names another one", function()
      local m = adt { PID, PV1 }
      m["MSH-9.3"] = "ADT_A99"
      assert.same({ "warning MSH-9.3 structure" }, found(m))
    end)
  end)

  it("stops listing at the limit, but counts", function()
    local lines = { PID }
    for i = 1, 1500 do lines[#lines + 1] = "OBX|" .. i .. "|NM|A^B^L||x||||||F" end
    table.insert(lines, 2, "OBR|1|||A^B^L")
    local list = message(lines, "ORU^R01^ORU_R01", "2.5.1"):validate()
    assert.same({ 1000, 1500, 500 }, { #list, list.errors, list.left_out })
    assert.equal(3, #message(lines, "ORU^R01^ORU_R01", "2.5.1"):validate { limit = 3 })
  end)

  it("does not look into fields of more than 256 KiB", function()
    local function obx(n)
      return message({ PID, "OBR|1|||A^B^L", "OBX|1|NM|A^B^L||" .. ("x"):rep(n) .. "||||||F" },
        "ORU^R01^ORU_R01", "2.5.1"):validate()
    end
    assert.equal(1, obx(262143).errors)
    assert.equal(0, obx(262144).errors)
  end)

  it("lives with whatever bytes there are", function()
    math.randomseed(7)
    local bytes = "|^~\\&\r\"AZ09 .-:\0\255"
    for _ = 1, 300 do
      local t = {}
      for i = 1, 200 do
        local at = math.random(#bytes)
        t[i] = bytes:sub(at, at)
      end
      local m = hl7.parse("MSH|^~\\&|A||||2026||ADT^A01|1|P|2.5\rPID|" .. table.concat(t))
      assert.is_table(m:validate())
    end
  end)

  it("wrong options are errors at the caller's line", function()
    local m = adt { PID, PV1 }
    for _, o in ipairs { { severty = "error" }, { severity = "bad" }, { limit = "x" },
      { profile = {} }, "adt", 5 } do
      local ok, why = pcall(function() m:validate(o) end)
      assert.is_false(ok)
      assert.matches("validate_spec.lua:%d+: validate", why)
    end
  end)
end)
