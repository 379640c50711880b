-- hl7.time and msg:groups as scripts see them.
local site = require "support.site"
local json = require "support.json"

local function run(script)
  local s = site.new { ["x.lua"] = script }
  local status, out, err = s:run("lua", s.path .. "/x.lua")
  assert.equal(0, status, err)
  return json.decode(out)
end

describe("script/time_groups", function()
  after_each(site.cleanup)

  it("adds to times and never invents precision", function()
    local r = run [[
      local t = assert(hl7.time.parse "202602281530+0100")
      local ok, why = pcall(function() return hl7.time.parse("2026"):add { hours = 1 } end)
      print(json.encode { tostring(t), tostring(t:add { days = 1 }), ok, why:match "invent" ~= nil,
        hl7.time.parse "20260230" == nil, tostring(hl7.time.parse "202602") })
    ]]
    assert.same({ "202602281530+0100", "202603011530+0100", false, true, true, "202602" }, r)
  end)

  it("gives the orders of a result message with their observations", function()
    local r = run [[
      local m = assert(hl7.parse("MSH|^~\\&|A|B|C||2026||ORU^R01^ORU_R01|1|P|2.5.1\rPID|1||7\r" ..
        "OBR|1\rOBX|1|ST|a||1\rOBX|2|ST|b||2\rOBR|2\rOBX|1|ST|c||3\rZZZ|q\r"))
      local out = {}
      for g in m:groups "ORDER_OBSERVATION" do
        local n = 0
        for _ in g:each "OBX" do n = n + 1 end
        out[#out + 1] = g.OBR[1].value .. ":" .. n
      end
      print(json.encode(out))
    ]]
    assert.same({ "1:2", "2:1" }, r)
  end)
end)
