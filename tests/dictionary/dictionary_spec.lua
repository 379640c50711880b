-- hl7.dictionary as scripts see it, over all versions.
local site = require "support.site"
local json = require "support.json"
local net = require "support.net"
local proc = require "support.proc"

local function run(script)
  local s = site.new { ["x.lua"] = script }
  local status, out, err = s:run("lua", s.path .. "/x.lua")
  assert.equal(0, status, err)
  return json.decode(out)
end

describe("dictionary", function()
  after_each(site.cleanup)

  it("knows fields, components and data types by version", function()
    local r = run [[
      local d = hl7.dictionary
      local old, new = d.field("PID-3", "2.2"), d.field("PID-3", "2.5.1")
      local cx = d.type("CX", "2.5.1")
      print(json.encode { new_type = new.type, name = new.name, repeats = new.repeats,
        old_type = old.type,
        assigning = d.field("PID-3.4", "2.5.1").name, first = cx.components[1].name, n = cx.count })
    ]]
    assert.same({ new_type = "CX", name = "patient_identifier_list", repeats = true, old_type = "CM_PAT_ID",
      assigning = "assigning_authority", first = "id_number", n = 10 }, r)
  end)

  it("knows tables, structures and events", function()
    local r = run [[
      local d = hl7.dictionary
      local s = d.structure("ORU_R01", "2.5.1")
      local names = {}
      for i, c in ipairs(s.children) do names[i] = c.name end
      print(json.encode { sex = d.table("0001").codes.F, event = d.event("ADT", "A04", "2.5.1"),
        names = names, segments = #d.names "segments" })
    ]]
    assert.equal("Female", r.sex)
    assert.equal("ADT_A01", r.event)
    assert.equal("MSH", r.names[1])
    assert.equal("PATIENT_RESULT", r.names[3])
    assert.is_true(r.segments >= 180)
  end)

  it("says why it has nothing, and never raises for a name it does not know", function()
    local r = run [[
      local d = hl7.dictionary
      local out = {}
      for _, call in ipairs { { "segment", "QQQ" }, { "field", "PID-999" }, { "type", "XX" }, { "table", "8888" },
        { "structure", "NOPE" } } do
        local v, why = d[call[1] ](call[2], "2.5.1")
        out[#out + 1] = v == nil and type(why) == "string" and #why > 5
      end
      print(json.encode(out))
    ]]
    assert.same({ true, true, true, true, true }, r)
  end)

  it("a site's Z segments have names in its channels", function()
    local s = site.new {
      ["lib/pets.lua"] = [[hl7.dictionary.extend { segments = { ZPD = {
        { name = "animal", type = "CWE" } } } }]],
      ["channels/x.lua"] = [[require "pets"
        return channel {
          source = mllp.listen { port = 1 },
          transform = function(msg)
            msg.ZPD.animal.text = msg.ZPD.animal.identifier:lower()
            msg:add "ZZZ"[1] = (select(2, pcall(function() return msg.ZPD.animl end)))
          end,
          destinations = { out = mllp.send { host = "127.0.0.1", port = 1 } },
        }]],
    }
    local status, out, err = s:run("eval", "-c", "x", "-", {
      input = "MSH|^~\\&|A||||2026||ADT^A01|1|P|2.5\rZPD|CAT\r" })
    assert.equal(0, status, err)
    assert.matches("ZPD|CAT^cat\n", out, 1, true)
    assert.matches("ZZZ|.*no field 'animl' in ZPD", out)
  end)

  it("costs a worker nothing that does not ask it", function()
    if os.getenv "MODE" == "asan" then return pending "memory is asan's" end
    local port = net.free_port()
    local s = site.new { ["channels/x.lua"] = ([[return channel {
      source = mllp.listen { port = %d }, ack = "transform",
      transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end }]])
      :format(port) }
    local e = s:start()
    local conn = net.connect(port)
    for i = 1, 50 do
      local reply = net.exchange(conn, ("MSH|^~\\&|A||||2026||ADT^A01|%d|P|2.5\rPID|||1||DOE\r")
        :format(i))
      assert.matches("MSA|AA|", reply, 1, true)
    end
    local kb = proc.proc_status(e:workers()[1], "VmRSS")
    assert.is_true(kb < 6000, kb .. " kB")
    e:stop()
  end)

  it("can be added to by a site", function()
    local r = run [[
      hl7.dictionary.extend { segments = { ZPD = { { name = "registration_state", type = "ST" } } } }
      print(json.encode { hl7.dictionary.field("ZPD-1", "2.5.1").name })
    ]]
    assert.same({ "registration_state" }, r)
  end)
end)
