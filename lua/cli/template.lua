-- What `lunate new` writes. @NAME@, @PORT@ and @NEXT@ are filled in.
local M = {}

M.site = [[
-- The site: what holds for all channels. Everything here may be left out.
return {
  data = "data", -- the store: every message received, and what became of it
}
]]

M.channel = [[
-- @NAME@: says in a line what comes in, what happens to it, and where it goes.
return channel {
  -- Where messages come from. 127.0.0.1 is this machine alone; "0.0.0.0" is every network.
  source = mllp.listen { port = @PORT@, host = "127.0.0.1" },

  -- A message goes on when this gives true. Otherwise it is filtered (the sender gets AA all the
  -- same) and the second value says why: `lunate show` tells.
  filter = function(msg)
    return msg.type == "ADT", "not an ADT"
  end,

  -- Edit the message in place. A path is SEGMENT-FIELD.COMPONENT; absent values are nil.
  transform = function(msg)
    msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper()
  end,

  -- Where it goes. Each destination has its own queue: a slow one holds up no other.
  destinations = {
    receiver = mllp.send { host = "127.0.0.1", port = @NEXT@ },
  },
}
]]

M.sample = table.concat({
  "MSH|^~\\&|EHR|GENERAL|LUNATE|GENERAL|20260105083000||ADT^A01^ADT_A01|SAMPLE0001|P|2.5.1",
  "EVN|A01|20260105083000",
  "PID|1||100001^^^GENERAL^MR||Sample^Patient^A||19800101|F|||1 Test Street^^Testville^^00000",
  "PV1|1|I|WARD1^101^A||||||||||||||||V0001",
  "",
}, "\n")

M.spec = [[
-- Run with `lunate test`. lunate.channel runs the script in a worker, as the engine does.
-- What else there is (golden files, a fixed clock, coverage): `lunate help test`, docs/testing.md.
describe("@NAME@", function()
  local channel = lunate.channel "@NAME@"

  it("upper-cases the family name", function()
    local r = channel:run(lunate.sample "@NAME@")
    assert.sends(r, "receiver")
    assert.field(r:to "receiver", "PID-5.1", "SAMPLE")
  end)

  it("filters what is not an ADT", function()
    local msg = hl7.parse(lunate.sample "@NAME@")
    msg["MSH-9.1"] = "ORU"
    assert.filtered(channel:run(msg), "not an ADT")
  end)

  -- Whatever the sender writes: 100 messages made at random, the smallest that fails is shown.
  it("takes any ADT", function()
    for_all(messages { type = "ADT" }, function(msg)
      assert.sends(channel:run(msg), "receiver")
    end)
  end)
end)
]]

-- For lua-language-server: the Lua of channel scripts, and where Lunate's definitions are.
M.luarc = [[
{
  "runtime.version": "LuaJIT",
  "runtime.path": ["?.lua", "lib/?.lua", "lib/?/init.lua"],
  "runtime.builtin": { "debug": "disable", "ffi": "disable", "jit": "disable" },
  "workspace.library": [".lunate/types"],
  "workspace.checkThirdParty": false,
  "workspace.preloadFileSize": 1000
}
]]

return M
