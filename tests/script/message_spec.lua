-- The contract of the message object, row by row.
local hl7 = require "support.hl7"

local head = "MSH|^~\\&|ADT1|GHH|LAB|GHL|20261123||ADT^A01^ADT_A01|M1|P|2.5.1"
local pid = "PID|1||1^^^GHH^MR~2^^^SSA&1.2&ISO^SS||VAN DER BERG&VAN DER&BERG^EVE^E||1962|F"

local function message(...)
  return assert(hl7.parse(table.concat({ head, ... }, "\r") .. "\r"))
end

local function lines(m)
  return (tostring(m):gsub("^[^\r]*\r", ""):gsub("\r", "\n"))
end

--- The error of fn, which must name the line that the call stands in.
local function failure(fn)
  local line = debug.getinfo(fn, "S").linedefined
  local ok, err = pcall(fn)
  assert.is_false(ok, "no error")
  local where, at, text = tostring(err):match "^(.-):(%d+): (.*)$"
  assert.is_truthy(where and where:find("message_spec", 1, true), tostring(err))
  assert.equal(line, tonumber(at), err)
  return text
end

local function has(text, wanted)
  assert.is_truthy(text:find(wanted, 1, true), ("%q lacks %q"):format(text, wanted))
end

describe("script/message", function()
  describe('msg["PID-5.1"]', function()
    it("gives unescaped text, nil when absent or empty, hl7.null when null", function()
      local m = message("PID|1||a\\T\\b^^\"\"~2||x|\"\"|")
      assert.equal("a&b", m["PID-3.1"])
      assert.equal("a&b", m["PID-3"])
      assert.equal("a&b", m["PID-3.1.1"])
      assert.is_nil(m["PID-3.2"])
      assert.is_nil(m["PID-3.9.9"])
      assert.equal(hl7.null, m["PID-3.3"])
      assert.equal("2", m["PID-3[2]"])
      assert.is_nil(m["PID-3[3].1"])
      assert.is_nil(m["PID-4"])
      assert.equal(hl7.null, m["PID-6"])
      assert.is_nil(m["PID-7"])
      assert.is_nil(m["PID-99"])
      assert.is_nil(m["PV1-2"])
      assert.equal('""', hl7.null)
    end)

    it("gives MSH-1 and MSH-2 as they stand", function()
      local m = message()
      assert.equal("|", m["MSH-1"])
      assert.equal("^~\\&", m["MSH-2"])
      assert.equal("^~\\&", m["MSH-2.1"])
      assert.is_nil(m["MSH-2.2"])
      assert.equal("ADT1", m["MSH-3"])
    end)

    it("gives the nth segment of a name", function()
      local m = message("OBX|1", "NTE|a", "OBX|2", "OBX|3", "ZPD|x|y")
      assert.equal("1", m["OBX-1"])
      assert.equal("3", m["OBX[3]-1"])
      assert.is_nil(m["OBX[4]-1"])
      assert.equal("y", m["ZPD-2"])
    end)

    it("blames the caller's line for a wrong path", function()
      local m = message(pid)
      has(failure(function() return m["PID-x"] end), "expected a field number at character 5")
      has(failure(function() return m["PID-0"] end), "counted from 1")
      has(failure(function() return m["PID-5..1"] end), "expected a component number")
      has(failure(function() return m["OBX[*]-5"] end), "msg:all")
      has(failure(function() return m[5] end), "a number")
      has(failure(function() return m.patient end), "has no 'patient'")
      has(failure(function() m["PID-x"] = "v" end), "expected a field number")
      has(failure(function() m[{}] = "v" end), "a table")
      has(failure(function() local _ = m:raw "PID-5.1.1.1" end), "unexpected character")
      has(failure(function() m.each = 1 end), "is a method")
    end)
  end)

  describe('msg["PID-5.1"] = v', function()
    it("escapes, creates what is missing, replaces the whole level", function()
      local m = message(pid)
      m["PID-5.1"] = "A|B&C"
      assert.equal("A\\F\\B\\T\\C^EVE^E", m:raw "PID-5")
      assert.equal("A|B&C", m["PID-5.1"])
      m["PID-5"] = "DOE"
      assert.equal("DOE", m:raw "PID-5")
      m["PID-3"] = "9"
      assert.equal("9~2^^^SSA&1.2&ISO^SS", m:raw "PID-3")
      m["PID-3[4].4.2"] = "x"
      assert.equal("9~2^^^SSA&1.2&ISO^SS~~^^^&x", m:raw "PID-3")
      m["PID-10.3"] = "deep"
      assert.equal("||^^deep", lines(m):match "F(||.*)\n")
    end)

    it("creates segments", function()
      local m = message "PID|1"
      m["ZPD-2.1"] = "z"
      m["OBX[3]-1"] = 3
      m["PV1-3"] = nil
      m["PV1-3"] = ""
      assert.equal("PID|1\nZPD||z\nOBX\nOBX\nOBX|3\n", lines(m))
      m["OBX[4]-1"] = "4"
      m["NTE-1"] = "n"
      assert.equal("PID|1\nZPD||z\nOBX\nOBX\nOBX|3\nOBX|4\nNTE|n\n", lines(m))
      has(failure(function() m["OBX[5000]-1"] = "x" end), "at most 1000")
      has(failure(function() m["pid-1"] = "x" end), "wrong segment name")
    end)

    it("clears with nil and empty text, writes the explicit null", function()
      local m = message "PID|1|a|b^c~d|e"
      m["PID-2"] = nil
      m["PID-3.2"] = ""
      m["PID-4"] = hl7.null
      assert.equal('PID|1||b^~d|""\n', lines(m))
      assert.equal(hl7.null, m["PID-4"])
      m["PID-3"] = nil
      assert.equal('PID|1||~d|""\n', lines(m))
    end)

    it("writes numbers with all their digits, refuses what is no value", function()
      local m = message "PID|1"
      m["PID-2"] = 12
      m["PID-3"] = 1.5
      m["PID-4"] = 123456789012345
      assert.equal("PID|1|12|1.5|123456789012345\n", lines(m))
      has(failure(function() m["PID-2"] = 0 / 0 end), "no value")
      has(failure(function() m["PID-2"] = true end), "a boolean is no value")
      has(failure(function() m["PID-2"] = {} end), "a table is no value")
      has(failure(function() m["PID"] = "x" end), "names a segment")
      has(failure(function() m["MSH-2"] = "x" end), "delimiters")
      has(failure(function() m["MSH-1"] = "x" end), "delimiters")
    end)

    it("keeps any text", function()
      local m = message "PID|1"
      local text = {}
      for i = 0, 255 do text[#text + 1] = string.char(i) end
      text = table.concat(text) .. "\r\n\\X41\\ \\T\\ \\"
      m["PID-5.2.3"] = text
      assert.equal(text, m["PID-5.2.3"])
      assert.equal(text, assert(hl7.parse(tostring(m)))["PID-5.2.3"])
    end)

    it("writes every place that a wildcard names", function()
      local m = message("PID|1||a^b~c^d", "OBX|1", "OBX|2|x")
      m["PID-3[*].2"] = "z"
      m["OBX[*]-2"] = "v"
      assert.equal("PID|1||a^z~c^z\nOBX|1|v\nOBX|2|v\n", lines(m))
      m["PID-3[*]"] = nil
      m["OBX[*]-2"] = nil
      m["NK1[*]-2"] = "x"
      m["PID-4[*]"] = "x"
      assert.equal("PID|1||\nOBX|1|\nOBX|2|\n", lines(m))
    end)

    it("copies a part of a message, in its own delimiters", function()
      local from = assert(hl7.parse "MSH#!@%*#A\rPID#1##1!a%T%b*c@2#x^y\rNTE#1#t%F%\r")
      local m = message "PID|1|x"
      m["PID-3"] = from.PID[3]
      assert.equal("1^a*b&c~2", m:raw "PID-3")
      m["PID-4"] = from.PID[4]
      assert.equal("x^y", m["PID-4"])
      m["PID-5[2]"] = from.PID[3]:rep(1)
      assert.equal("~1^a*b&c", m:raw "PID-5")
      m["PID-6.1"] = from.PID[3]
      assert.equal("1", m:raw "PID-6")
      m["PID-7"] = from.PID[3][2]
      assert.equal("a*b&c", m:raw "PID-7")
      m.PID[8][2] = m.PID[3][2]
      assert.equal("^a*b&c", m:raw "PID-8")
      m.PID[2] = from.PID[9]
      assert.equal("", m.PID:raw():match "^PID|1|(.-)|")
      has(failure(function() m["PID-2"] = from.PID end), "msg:add")
    end)
  end)

  it("msg:raw, msg:set_raw: bytes as they stand", function()
    local m = message("PID|1||a\\T\\b^c~d\\.br\\|")
    assert.equal("a\\T\\b^c~d\\.br\\", m:raw "PID-3")
    assert.equal("a\\T\\b^c", m:raw "PID-3[1]")
    assert.equal("a\\T\\b", m:raw "PID-3.1")
    assert.equal("d\\.br\\", m:raw "PID-3[2].1.1")
    assert.is_nil(m:raw "PID-4")
    assert.is_nil(m:raw "ZZZ-4")
    assert.equal("PID|1||a\\T\\b^c~d\\.br\\|", m:raw "PID")
    assert.equal(head, m:raw "MSH")
    m:set_raw("PID-3", "x^y~\\Z9\\")
    m:set_raw("PID-5.2", "p&q")
    assert.equal("PID|1||x^y~\\Z9\\||^p&q\n", lines(m))
    m:set_raw("PID-3[2]", "r")
    m:set_raw("PID-5", nil)
    assert.equal("PID|1||x^y~r||\n", lines(m))
    has(failure(function() m:set_raw("PID-3", "a|b") end), "a separator at byte 2")
    has(failure(function() m:set_raw("PID-3.1", "a~b") end), "would end the component")
    has(failure(function() m:set_raw("PID-3", "a\rb") end), "a carriage return at byte 2")
  end)

  it("msg:all: lists", function()
    local m = message("PID|1||a^b~c~~d^e", "OBX|1||||x", "OBX|2", "OBX|3||||y\\T\\")
    assert.same({ "x", "y&" }, m:all "OBX[*]-5")
    assert.same({ "a", "c", "d" }, m:all "PID-3[*].1")
    assert.same({ "a", "c", "d" }, m:all "PID-3[*]")
    assert.same({ "b", "e" }, m:all "PID-3[*].2")
    assert.same({ "a" }, m:all "PID-3")
    assert.same({}, m:all "ZZZ[*]-1")
    assert.same({ "^~\\&" }, m:all "MSH[*]-2[*]")
    assert.equal(3, #m:all "OBX")
    assert.equal("3", m:all("OBX[*]")[3][1].value)
    assert.equal(1, #m:all "OBX[2]")
  end)

  describe("by index", function()
    it("reads", function()
      local m = message(pid)
      assert.equal("VAN DER BERG", tostring(m.PID[5][1]))
      assert.equal("VAN DER", m.PID[5][1][2].value)
      assert.equal("EVE", m.PID[5][2].value)
      assert.equal("SSA", tostring(m.PID[3]:rep(2)[4]))
      assert.equal("ISO", m.PID[3]:rep(2)[4][3].value)
      assert.equal("VAN DER BERG", tostring(m.PID[5]))
      assert.equal("VAN DER BERG", m.PID[5].value)
      assert.is_nil(m.PID[9].value)
      assert.equal("", tostring(m.PID[9][3]))
      assert.is_nil(m.PID[9]:rep(4)[3][2].value)
      assert.equal("F", m["PID"][8].value)
      assert.is_nil(m.PV1)
      assert.is_nil(m["OBX[2]"])
    end)

    it("counts", function()
      local m = message(pid)
      assert.equal(2, #m.PID[3])
      assert.equal(0, #m.PID[4])
      assert.equal(1, #m.PID[5])
      assert.equal(0, #m.PID[77])
      assert.equal(3, #m.PID[5]:rep(1))
      assert.equal(3, #m.PID[5][1])
      assert.equal(8, #m.PID)
      assert.equal(12, #m.MSH)
      assert.equal(2, #m)
    end)

    it("writes", function()
      local m = message(pid)
      m.PID[5][1] = "DOE"
      m.PID[5][2][2] = "x"
      m.PID[3]:rep(2)[4] = "S"
      m.PID[7] = "1970"
      m.PID[8].value = "M"
      m.PID[10] = hl7.null
      assert.equal('PID|1||1^^^GHH^MR~2^^^S^SS||DOE^EVE&x^E||1970|M||""\n', lines(m))
      m.PID[10] = nil
      assert.is_nil(m.PID[10].value)
      m.PID["11[2].3"] = "c"
      assert.equal("c", m.PID["11[2].3"])
      assert.equal("~^^c", m:raw "PID-11")
      m.PID[3]:rep(1):set_raw "q^w"
      assert.equal("q^w", m.PID[3]:rep(1):raw())
    end)

    it("acts as text", function()
      local m = message(pid)
      assert.equal("van der berg", m.PID[5][1]:lower())
      assert.equal("VAN", m.PID[5]:match "^%u+")
      assert.equal("<EVE>", "<" .. m.PID[5][2] .. ">")
      assert.is_true(m.PID[5][2] == message(pid).PID[5][2])
      assert.is_false(m.PID[5][2] == m.PID[5][3])
      assert.equal(pid, tostring(m.PID))
      assert.equal("PID", m.PID.segment_name)
      local ids = {}
      for id in m.PID[3]:each() do ids[#ids + 1] = id[1].value end
      assert.same({ "1", "2" }, ids)
    end)

    it("blames the caller's line", function()
      local m = message(pid)
      has(failure(function() return m.PID[0] end), "counted from 1")
      has(failure(function() return m.PID[1.5] end), "counted from 1")
      has(failure(function() return m.PID[5][1][1][1] end), "no parts")
      has(failure(function() m.PID[5][1][1][1] = "x" end), "no parts")
      has(failure(function() return m.PID["3[*]"] end), "several")
      has(failure(function() return m.PID[{}] end), "a table")
      has(failure(function() m.PID[3] = {} end), "a table is no value")
      has(failure(function() local _ = m.PID[3]:rep(0) end), "counted from 1")
    end)
  end)

  describe("by name", function()
    it("reads and writes", function()
      local m = message(pid)
      assert.equal("EVE", m.PID.patient_name.given_name.value)
      assert.equal("VAN DER BERG", tostring(m.PID.patient_name.family_name))
      assert.equal("VAN DER", m.PID.patient_name.family_name.own_surname_prefix.value)
      assert.equal("SSA", m.PID.patient_identifier_list:rep(2).assigning_authority.value)
      assert.equal("F", m.PID.administrative_sex.value)
      assert.equal("ADT", m.MSH.message_type.message_code.value)
      m.PID.patient_name.family_name = "DOE"
      m.PID.patient_address.city = "OSLO"
      assert.equal("DOE^EVE^E", m:raw "PID-5")
      assert.equal("OSLO", m["PID-11.3"])
    end)

    it("knows the names of every version, the message's own first", function()
      local function in_version(v)
        return assert(hl7.parse(head:gsub("2%.5%.1$", v) .. "\rPID|||3|||||8||10||||||||||||22\r"))
      end
      assert.equal("10", in_version("2.1").PID.ethnic_group.value)
      assert.equal("22", in_version("2.5").PID.ethnic_group.value)
      assert.equal("22", in_version("2.9").PID.ethnic_group.value)
      assert.equal("22", in_version("").PID.ethnic_group.value)
      assert.equal("8", in_version("2.2").PID.administrative_sex.value)
      assert.equal("3", in_version("2.8.2").PID.patient_id_internal_id.value)
    end)

    it("takes the data type of OBX-5 from OBX-2", function()
      local m = message "OBX|1|CWE|||a^b"
      assert.equal("b", m.OBX.observation_value.text.value)
    end)

    it("suggests the nearest name", function()
      local m = message(pid, "ZPD|1")
      has(failure(function() return m.PID.patient_nane end), "did you mean 'patient_name'?")
      has(failure(function() return m.PID["PID-5.1"] end), "['5.1'], not ['PID-5.1']")
      has(failure(function() m.PID["PID-5"] = "x" end), "['5'], not ['PID-5']")
      has(failure(function() return m.PID.patient_name.famly end), "did you mean 'family_name'?")
      has(failure(function() m.PID.patient_names = "x" end), "did you mean 'patient_name'?")
      has(failure(function() return m.ZPD.name end), "does not know segment ZPD")
      has(failure(function() return m.PID.administrative_sex.foo end), "use numbers")
    end)
  end)

  it("msg.type, event, version, control_id", function()
    local m = message()
    assert.same({ "ADT", "A01", "2.5.1", "M1" }, { m.type, m.event, m.version, m.control_id })
    m.event = "A08"
    assert.equal("ADT^A08^ADT_A01", m:raw "MSH-9")
    local bare = assert(hl7.parse "MSH|^~\\&\r")
    assert.is_nil(bare.type or bare.event or bare.version or bare.control_id)
    local batch = assert(hl7.parse("BHS|^~\\&|X\r" .. head .. "\rBTS|1\r"))
    assert.equal("ADT", batch.type)
  end)

  describe("each", function()
    local function walk(iterator)
      local out = {}
      for seg in iterator do out[#out + 1] = seg.segment_name .. (seg[1].value or "") end
      return table.concat(out, " ")
    end

    it("walks segments in order", function()
      local m = message("OBR|1", "OBX|1", "NTE|a", "OBX|2", "OBR|2", "OBX|3", "ZZZ")
      assert.equal("OBX1 OBX2 OBX3", walk(m:each "OBX"))
      assert.equal("MSH| OBR1 OBX1 NTEa OBX2 OBR2 OBX3 ZZZ", walk(m:each()))
      assert.equal("", walk(m:each "PID"))
    end)

    it("of a segment walks those that follow, up to the next of its name", function()
      local m = message("OBX|0", "OBR|1", "OBX|1", "NTE|a", "OBX|2", "OBR|2", "OBX|3")
      local out = {}
      for obr in m:each "OBR" do out[#out + 1] = walk(obr:each "OBX") end
      assert.same({ "OBX1 OBX2", "OBX3" }, out)
      assert.equal("OBX1 NTEa OBX2", walk(m.OBR:each()))
      has(failure(function() m.OBX:each "OBX" end),
        'each of an OBX goes up to the next OBX and has none in it; all of them: msg:each "OBX"')
    end)

    it("goes on while segments are added and removed", function()
      local m = message("OBX|1", "NTE|x", "OBX|2", "NTE|y", "OBX|3")
      for obx in m:each "OBX" do m:add("NTE", obx)[1] = "new" end
      for nte in m:each "NTE" do
        if nte[1].value ~= "new" then m:remove(nte) end
      end
      assert.equal("OBX|1\nNTE|new\nOBX|2\nNTE|new\nOBX|3\nNTE|new\n", lines(m))
    end)
  end)

  describe("structure", function()
    it("add, remove, move", function()
      local m = message("PID|1", "PV1|1")
      local nte = m:add("NTE", m.PID)
      nte[3] = "text"
      m:add "ZZ1"
      assert.equal("PID|1\nNTE|||text\nPV1|1\nZZ1\n", lines(m))
      m:move(m.PV1, m.PID)
      m:remove(m.ZZ1)
      assert.equal("PID|1\nPV1|1\nNTE|||text\n", lines(m))
      has(failure(function() m:add "NOTE" end), "wrong segment name")
      has(failure(function() m:add("NTE", message(pid).PID) end), "another message")
      has(failure(function() m:remove(m.MSH) end), "header segment")
    end)

    it("add copies a segment of another message", function()
      local from = assert(hl7.parse "MSH#!@%*#A\rOBX#1##a!b@c*d%T%#\"\"\r")
      local m = message "PID|1"
      local obx = m:add(from.OBX)
      assert.equal("PID|1\nOBX|1||a^b~c&d*|\"\"\n", lines(m))
      m:add(obx, m.PID)[1] = 2
      assert.equal("PID|1\nOBX|2||a^b~c&d*|\"\"\nOBX|1||a^b~c&d*|\"\"\n", lines(m))
    end)

    it("a handle of a removed segment says so", function()
      local m = message("OBX|1", "OBX|2")
      local first, second, field = m.OBX, m["OBX[2]"], m.OBX[1]
      m:remove(first)
      assert.equal("2", second[1].value)
      has(failure(function() return first[1] end), "stale handle")
      has(failure(function() return field.value end), "stale handle")
      has(failure(function() first[1] = "x" end), "stale handle")
      has(failure(function() m:remove(first) end), "stale handle")
    end)

    it("handles keep their message alive", function()
      local handles = {}
      for i = 1, 200 do handles[i] = message("PID|" .. i).PID[1] end
      collectgarbage()
      collectgarbage()
      for i = 1, 200 do assert.equal(tostring(i), handles[i].value) end
    end)

    it("copy stands on its own", function()
      local m = message(pid)
      m["PID-8"] = "M"
      local c = m:copy()
      assert.is_true(c == m)
      c["PID-8"] = "F"
      assert.equal("M", m["PID-8"])
      assert.equal("F", c["PID-8"])
      assert.is_false(c == m)
    end)
  end)

  it("msg:ack", function()
    local m = message(pid)
    local a = m:ack { code = "AE", text = "no such patient" }
    assert.same({ "ACK", "A01", "2.5.1" }, { a.type, a.event, a.version })
    assert.same({ "AE", "M1" }, { a["MSA-1"], a["MSA-2"] })
    assert.same({ "LAB", "ADT1" }, { a["MSH-3"], a["MSH-5"] })
    assert.is_not_nil(a.ERR)
    assert.equal("AA", m:ack()["MSA-1"])
    assert.not_equal(m:ack().control_id, m:ack().control_id)
    has(failure(function() m:ack { code = "XX" } end), "XX")
    has(failure(function() m:ack { cod = "AA" } end), "no 'cod'")
  end)

  describe("msg:ack { problems }", function()
    local problems = {
      { path = "PID-3[2].4", code = "101", severity = "error", text = "required" },
      { path = "PV1", code = "100", severity = "warning", text = "missing | here" },
    }
    local function errs(version, o)
      local m = message(pid)
      m.version = version
      o.problems = o.problems or problems
      local wire = tostring(m:ack(o))
      return wire:match "\rMSA|%w+|M1(.*)$"
    end

    it("an ERR for each from 2.5 on, with its severity", function()
      assert.equal("|PID-3[2].4: required\r" ..
        "ERR||PID^1^3^2^4|101^Required field missing^HL70357|E||||required\r" ..
        "ERR||PV1^1|100^Segment sequence error^HL70357|W||||missing \\F\\ here\r",
        errs("2.5.1", { code = "AE" }))
      assert.equal("\rERR||PV1^1|100^Segment sequence error^HL70357|W||||missing \\F\\ here\r",
        errs("2.8", { code = "AA", problems = { problems[2] } }))
    end)

    it("repetitions of ERR-1 before, the errors alone when there are any", function()
      local three = { problems[1], problems[2], { path = "OBX[2]-5", text = "x" } }
      assert.equal("|no\rERR|PID^1^3^101&Required field missing&HL70357~" ..
        "OBX^2^5^207&Application internal error&HL70357\r",
        errs("2.4", { code = "AE", text = "no", problems = three }))
      assert.equal("|no\rERR|PV1^1^^100&Segment sequence error&HL70357\r",
        errs("2.3", { code = "AE", text = "no", problems = { problems[2] } }))
      assert.equal("\r", errs("2.3", { code = "AA" }))
    end)

    it("an empty list is as none; wrong ones are errors at the caller's line", function()
      assert.equal("\rERR|||207^Application internal error^HL70357|E\r",
        errs("2.5.1", { code = "AE", problems = {} }))
      local m = message(pid)
      has(failure(function() m:ack({ problems = "x" }) end), "problems is a list")
      has(failure(function() m:ack({ problems = { 1 } }) end), "problem 1 is a table")
      has(failure(function() m:ack({ problems = { { path = 5 } } }) end), "path of problem 1")
      has(failure(function() m:ack({ problems = { { severity = "E" } } }) end), "severity")
    end)

    it("writes at most 100", function()
      local many = {}
      for i = 1, 250 do many[i] = problems[1] end
      local _, n = errs("2.5", { code = "AE", problems = many }):gsub("\rERR", "")
      assert.equal(100, n)
    end)
  end)

  it("tostring: untouched parts byte for byte, CR after every segment", function()
    local odd = head .. "|||\rPID|^^|~~|\\x|\0\255\rZ\rpid|1\r"
    assert.equal(odd, tostring(assert(hl7.parse(odd))))
    assert.equal(odd, tostring(assert(hl7.parse((odd:gsub("\r", "\r\n"))))))
    assert.equal(odd, tostring(assert(hl7.parse((odd:gsub("\r", "\n"))))))
    local m = assert(hl7.parse(odd))
    m["PID-2[2]"] = "x"
    assert.equal((odd:gsub("~~", "~x~")), tostring(m))
  end)

  it("reading never changes a message", function()
    local m = message(pid, "OBX|1||||v")
    local before = tostring(m)
    for _, read in ipairs {
      function() return m["PID-99[3].4.5"] end, function() return m["ZZZ[3]-1"] end,
      function() return m.PID[88][7][6].value end, function() return m:raw "PID-70" end,
      function() return m.PID.patient_address.city.value end, function() return m.PV1 end,
    } do
      assert.is_nil(read())
    end
    assert.same({}, m:all "OBX[*]-9[*]")
    assert.equal(0, #m.PID[40])
    assert.equal(before, tostring(m))
  end)

  describe("hl7.parse", function()
    it("says byte offset and why", function()
      local m, err = hl7.parse "hello"
      assert.is_nil(m)
      has(err, "byte 0: no MSH, BHS or FHS")
      m, err = hl7.parse "\r\nMSH|"
      assert.is_nil(m)
      has(err, "byte 6: no encoding characters")
      has(failure(function() hl7.parse(nil) end), "string expected")
    end)

    it("takes large input without a copy, and keeps it", function()
      local m = hl7.parse(head .. "\rOBX|1|ED|||" .. ("x"):rep(200000) .. "\r")
      collectgarbage()
      assert.equal(200000, #m["OBX-5"])
      m["OBX-5.2"] = ("y"):rep(100000)
      collectgarbage()
      assert.equal(100000, #m["OBX-5.2"])
    end)

    it("leaves nothing behind", function()
      collectgarbage()
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 20 do
        local m = hl7.parse(head .. "\r" .. ("OBX|1|NM|||5\r"):rep(5000))
        for obx in m:each "OBX" do obx[5] = "6" end
        assert.equal(5001, #m)
      end
      collectgarbage()
      collectgarbage()
      assert.is_true(collectgarbage "count" - before < 500)
    end)
  end)

  it("hl7.new", function()
    local m = hl7.new { type = "ADT", event = "A01", version = "2.4", structure = "ADT_A01" }
    assert.same({ "ADT", "A01", "2.4" }, { m.type, m.event, m.version })
    assert.equal("ADT^A01^ADT_A01", m:raw "MSH-9")
    assert.is_truthy(m["MSH-7"]:find "^%d%d%d%d%d%d%d%d%d%d%d%d%d%d")
    assert.is_true(#m.control_id > 0 and #m.control_id <= 20)
    assert.equal("P", m["MSH-11"])
    assert.not_equal(m.control_id, hl7.new({ type = "ADT" }).control_id)
    local other = hl7.new { type = "ACK", delimiters = "#!@%*", time = "2026", control_id = "7" }
    assert.equal("MSH#!@%*#####2026##ACK#7#P#2.5.1\r", tostring(other))
    has(failure(function() hl7.new {} end), "needs a type")
    has(failure(function() hl7.new { type = "ADT", evnt = "A01" } end), "no 'evnt'")
    has(failure(function() hl7.new { type = "ADT", delimiters = "||" } end), "hl7.new")
  end)

  it("hl7.escape, hl7.unescape", function()
    assert.equal("a\\T\\b", hl7.escape "a&b")
    assert.equal("a&b", hl7.unescape "a\\T\\b")
    local m = assert(hl7.parse "MSH#!@%*#A\r")
    assert.equal("a%T%b&", hl7.escape("a*b&", m))
    assert.equal("a*b", hl7.unescape("a%T%b", m))
  end)

  it("survives misuse", function()
    local m = message(pid)
    for _, v in ipairs { 1, "x", {}, io.stdout, m.PID } do
      assert.is_false(pcall(m.each, v == m.PID and io.stdout or v))
      assert.is_false(pcall(m.raw, v, "PID-1"))
      assert.is_false(pcall(m.copy, v))
    end
    assert.equal("message", getmetatable(m))
    assert.equal("segment", getmetatable(m.PID))
    local index = debug.getmetatable(m).__index
    assert.is_false(pcall(index, {}, "PID-1"))
    assert.is_false(pcall(index, io.stdout, "PID-1"))
    assert.is_false(pcall(debug.getmetatable(m.PID).__index, io.stdout, 1))
    assert.is_false(pcall(debug.getmetatable(m.PID[1]).__index, m, 1))
  end)

  -- Segments made for a value that then could not be written stayed, empty.
  it("an assignment that fails makes no segments", function()
    local wire = "MSH|^~|A\rOBX|1\r"
    local m = assert(hl7.parse(wire))
    has(failure(function() m["OBX[3]-5"] = "a|b" end), "no escape character")
    has(failure(function() m["ZPD-1.1.2"] = "a" end), "no subcomponent separator")
    has(failure(function() m:set_raw("ZPD-1.1", "a^b") end), "separator at byte 2")
    has(failure(function() m["NTE-1"] = {} end), "a table is no value")
    has(failure(function() m["ZPD-1"] = hl7.parse(wire) end), "a message is no value")
    assert.equal(wire, tostring(m))
    m["OBX[3]-5"] = "a"
    assert.equal(wire .. "OBX\rOBX|||||a\r", tostring(m))
    local latin = assert(hl7.parse "MSH|^~\\&|A||||||ADT^A01|1|P|2.5||||||8859/1\r")
    local before = tostring(latin)
    has(failure(function() latin["ZPD-1"] = "\226\130\172" end), "U+20AC")
    assert.equal(before, tostring(latin))
  end)

  it("says so when a path is in small letters, unless the message has such a segment", function()
    local m = hl7.parse "MSH|^~\\&|A\rPID|1\rzzz|low\r"
    for _, read in ipairs { function() return m["pid-5.1"] .. "" end, function() return m:raw("Pid-5") .. "" end,
      function() return #m.pid end, function() return #m:all "pid-5" end, function() return #m:all "pid[*]-5" end,
      function() return #m:all "pid" end, function() m["pid-5"] = nil end,
      function() m["pid[*]-5"] = "x" end } do
      local ok, err = pcall(read)
      assert.is_false(ok)
      assert.truthy(err:find("message_spec.lua:%d+: "), err)
    end
    assert.equal("low", m["zzz-1"])
    assert.same({ "low" }, m:all "zzz[*]-1")
    assert.is_nil(m["ZZZ-1"])
    assert.same({}, m:all "ZZZ[*]-1")
  end)

  it("says so when no segment could have the name, unless it is a local one or there", function()
    local m = hl7.parse "MSH|^~\\&|A\rPID|1\rAB|short\r"
    for path, text in pairs { PID5 = "no segment is named 'PID5': did you mean 'PID-5'?",
      ["PID5-1"] = "'PID5'", ["PIDD-5"] = "a name has three characters", ["1AB-1"] = "'1AB'" } do
      for _, read in ipairs { function() return m[path] .. "" end, function() return m:raw(path) .. "" end,
        function() return #m:all(path) end, function() m[path] = nil end } do
        local ok, err = pcall(read)
        assert.is_false(ok)
        assert.truthy(err:find("message_spec.lua:%d+: "), err)
      end
      has(failure(function() return m[path] .. "" end), text)
    end
    assert.equal("short", m["AB-1"])
    assert.is_nil(m["ZPID-1"])
    assert.is_nil(m["ZP-1"])
  end)

  it("puts repetitions in and takes them out", function()
    local m = hl7.parse "MSH|^~\\&|A\rPID|1||a^1~b~c\r"
    m.PID[3]:insert(2)[2] = "x"
    assert.equal("a^1~^x~b~c", m:raw "PID-3")
    m.PID[3]:insert(1)
    assert.equal("~a^1~^x~b~c", m:raw "PID-3")
    for _, left in ipairs { "a^1~^x~b~c", "^x~b~c", "b~c", "c", nil } do
      m.PID[3]:remove(1)
      assert.equal(left, m:raw "PID-3")
    end
    m.PID[3]:remove(1)
    m.PID[9]:insert().value = "new"
    assert.equal("PID|1||||||||new", m:raw "PID")
    assert.is_false(pcall(function() m.PID[9]:insert(3) end))
    assert.is_false(pcall(function() m.MSH[2]:insert() end))
  end)
end)
