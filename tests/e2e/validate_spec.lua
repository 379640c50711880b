-- A channel that validates: what its sender is told, what the operator sees.
local site = require "support.site"
local net = require "support.net"

local profile = [[
return hl7.profile { base = "2.5.1", rules = { ["PID-3.5"] = { "R", values = { "MR" } } } }
]]

local script = [[
local adt = require "adt"
return channel {
  source = mllp.listen { port = %d },
  ack = "transform",
  filter = function(msg)
    local problems = msg:validate(adt)
    if not problems.valid then error(problems:least "error") end
    return true
  end,
}
]]

local function message(o)
  return ("MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|%s|P|%s\rEVN||20260101\r"):format(o.id,
    o.version or "2.5.1") .. ("PID|1||7^^^H^%s||DOE^JO||%s\rPV1|1|I\r"):format(o.type or "MR",
    o.birth or "19620101")
end

describe("e2e/validate", function()
  after_each(site.cleanup)

  local function begin()
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = script:format(port), ["lib/adt.lua"] = profile }
    return s, s:start(), net.connect(port)
  end

  it("answers AE with an ERR per problem, AA when there is none", function()
    local s, e, conn = begin()
    local reply = assert(net.exchange(conn, message { id = "M1", type = "XX", birth = "19621340" }))
    assert.equal("\rMSA|AE|M1|PID-3.5: none of the values that are expected\r" ..
      "ERR||PID^1^3^1^5|103^Table value not found^HL70357|E||||none of the values that are " ..
      "expected\rERR||PID^1^7|102^Data type error^HL70357|E||||there is no such month\r",
      reply:match "\rMSA.*$")
    reply = assert(net.exchange(conn, message { id = "M2", version = "2.3", birth = "1962013" }))
    assert.equal("\rMSA|AE|M2|PID-7: half a day\rERR|PID^1^7^102&Data type error&HL70357\r",
      reply:match "\rMSA.*$")
    reply = assert(net.exchange(conn, message { id = "M3" }))
    assert.equal("\rMSA|AA|M3\r", reply:match "\rMSA.*$")
    local m = s:json("show", "adt/1")
    assert.equal("parked", m.state)
    local _, out = s:run("show", "adt/1")
    assert.matches("E 102 PID-7: there is no such month", out, 1, true)
    assert.equal(0, e:stop())
  end)

  it("no text of the message is in the log", function()
    local _, e, conn = begin()
    assert(net.exchange(conn, message { id = "M1", birth = "SECRETSECRET" }))
    assert.equal(0, e:stop())
    assert.is_nil(e:log():find "SECRET")
  end)

  it("a wrong profile is refused by check, at its line", function()
    local s = site.new { ["channels/adt.lua"] = script:format(net.free_port()),
      ["lib/adt.lua"] = "local x = 1\nreturn hl7.profile {\n  base = '2.5.1',\n" ..
        "  rules = {\n    ['PID-3'] = { 'R',\n      mx = 1 },\n  },\n}\n" }
    local status, out, err = s:run "check"
    assert.equal(1, status)
    assert.matches("lib/adt.lua:6: profile: 'mx' is not known in a rule (did you mean 'max'?)",
      out .. err, 1, true)
  end)
end)
