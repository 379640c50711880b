-- msg:groups and msg:tree by their properties: every segment is in one place, in order, whatever was
-- left out, repeated or put in between.
local hl7 = require "support.hl7"

local function message(lines)
  return hl7.parse("MSH|^~\\&|A|B|C||2026||ORU^R01^ORU_R01|1|P|2.5.1\r" .. table.concat(lines, "\r") .. "\r")
end

local function names(list)
  local t = {}
  for i, s in ipairs(list) do t[i] = s.segment_name end
  return table.concat(t, " ")
end

describe("script/groups", function()
  it("puts every segment in one place, in the message's order", function()
    local state = 7
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return math.floor(state / 65536) % n
    end
    local all = { "PID|1", "NTE|1", "PV1|1", "ORC|RE", "OBR|1", "OBX|1", "OBX|2", "NTE|2", "SPM|1", "ZZ1|x", "DSC|1" }
    for _ = 1, 300 do
      local lines = {}
      for i = 1, random(30) do lines[i] = all[1 + random(#all)] end
      local m = message(lines)
      local before, want = tostring(m), { "MSH" }
      for i, line in ipairs(lines) do want[i + 1] = line:sub(1, 3) end
      local tree = m:tree()
      assert.equal(table.concat(want, " "), names(tree:segments()))
      assert.equal(before, tostring(tree))
      local inside = 0
      for g in m:groups "ORDER_OBSERVATION" do
        inside = inside + #g:segments()
        assert.is_true(#g:segments() > 0)
      end
      assert.is_true(inside <= #lines)
      assert.equal(before, tostring(m))
    end
  end)

  it("gives orders with what belongs to them, also when a segment stands in between", function()
    local m = message { "PID|1", "ORC|A", "OBR|1", "OBX|1", "ZZ1|x", "OBX|2", "NTE|1", "ORC|B", "OBR|2", "OBX|3" }
    local seen = {}
    for order in m:groups "ORDER_OBSERVATION" do
      local n = 0
      for _ in order:each "OBX" do n = n + 1 end
      seen[#seen + 1] = order.ORC[1].value .. n
    end
    assert.same({ "A2", "B1" }, seen)
  end)

  it("leaves a misplaced segment where it stands, and tells of it", function()
    local m = hl7.parse("MSH|^~\\&|A|B|C||2026||ADT^A01^ADT_A01|1|P|2.5.1\rEVN|A01\rPID|1\rPV1|1|I\r"
      .. "PR1|1||a\rPV1|2|O\rROL|x\rPR1|2||b\r")
    local tree, wrong = m:tree()
    assert.equal("MSH EVN PID PV1 PR1 PV1 ROL PR1", names(tree:segments()))
    assert.same({ "PV1 6 many" }, { ("%s %d %s"):format(wrong[1].name, wrong[1].number, wrong[1].rule) })
    local groups = {}
    for g in m:groups "PROCEDURE" do groups[#groups + 1] = names(g:segments()) end
    assert.same({ "PR1 PV1 ROL", "PR1" }, groups)
    assert.equal("I", tree["PV1-2"])
    assert.equal("O", tree["PV1[2]-2"])
  end)

  it("writes through to the message", function()
    local m = message { "PID|1", "OBR|1", "OBX|1", "OBR|2", "OBX|1" }
    for order in m:groups "ORDER_OBSERVATION" do
      for obx in order:each "OBX" do obx[11] = "C" .. order.OBR[1].value end
    end
    assert.same({ "C1", "C2" }, m:all "OBX[*]-11")
  end)

  it("is removed with all that is in it, or not at all", function()
    local m = message { "PID|1", "OBR|1", "OBX|1||A", "NTE|1", "OBX|2||B", "OBR|2", "NTE|9", "OBX|1||C" }
    for result in m:groups "OBSERVATION" do
      if result["OBX-3"] ~= "B" then m:remove(result) end
    end
    assert.equal("MSH PID OBR OBX OBR NTE", names(m:tree():segments()))
    local tree, before = m:tree(), tostring(m)
    assert.error_matches(function() m:remove(tree) end, "the group holds the header, which cannot be removed")
    local other = message { "PID|1", "OBR|1" }
    local group = other:groups "ORDER_OBSERVATION"()
    assert.error_matches(function() m:remove(group) end, "the segment belongs to another message")
    assert.equal(before, tostring(m))
    other:remove(other.OBR)
    assert.error_matches(function() other:remove(group) end, "removed from its message")
    assert.error_matches(function() m:remove {} end, "segment expected")
  end)

  it("says which groups there are when one is asked for that is not", function()
    local m = message { "PID|1" }
    local ok, err = pcall(m.groups, m, "ORDER_OBSERVATON")
    assert.is_false(ok)
    assert.truthy(err:find("ORDER_OBSERVATION", 1, true), err)
  end)

  it("blames the caller's line for what is wrong", function()
    local m = message { "PID|1", "OBR|1", "OBX|1" }
    local root = m:tree()
    for want, fn in pairs {
      ["message expected, got number"] = function() return (m.groups(5)) end,
      ["message expected, got table: write msg:validate"] = function() return (m.validate({})) end,
      ["group expected, got nil: write group:each"] = function() return (root.each()) end,
      ["structure is a name"] = function() return (m:tree { structure = {} }) end,
      ["version is a text"] = function() return (m:tree { version = {} }) end,
      ["a table is no value"] = function() root["OBX-5"] = {} end,
      ["counted from 1, not 0"] = function() return (root["OBX-0"]) end,
    } do
      local ok, err = pcall(fn)
      assert.is_false(ok, want)
      assert.truthy(err:find("groups_spec.lua:%d+: .*" .. want), err)
    end
  end)
end)
