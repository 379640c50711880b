-- What `lunate new` writes. @NAME@, @PORT@, @NEXT@, @TYPE@, @CALLED@ ("an ADT"), @OTHER@ (another
-- type) and @FAMILY@ (what the sample's PID-5.1 becomes) are filled in.
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
    return msg.type == "@TYPE@", "not @CALLED@"
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

M.spec = [[
-- Run with `lunate test`. lunate.channel runs the script in a worker, as the engine does.
-- What else there is (golden files, a fixed clock, coverage): `lunate help test`, docs/testing.md.
describe("@NAME@", function()
  local channel = lunate.channel "@NAME@"

@NAMED@
  it("filters what is not @CALLED@", function()
    local msg = hl7.parse(lunate.sample "@NAME@")
    msg["MSH-9.1"] = "@OTHER@"
    assert.filtered(channel:run(msg), "not @CALLED@")
  end)
@ANY@end)
]]

-- For a sample with a patient's name in it, and for one without.
M.named = [[
  it("upper-cases the family name", function()
    local r = channel:run(lunate.sample "@NAME@")
    assert.sends(r, "receiver")
    assert.field(r:to "receiver", "PID-5.1", @FAMILY@)
  end)
]]
M.nameless = [[
  it("sends the sample on", function()
    assert.sends(channel:run(lunate.sample "@NAME@"), "receiver")
  end)
]]

-- For a type of which messages can be made at random.
M.any = [[

  -- Whatever the sender writes: 100 messages made at random, the smallest that fails is shown.
  it("takes any @TYPE@", function()
    for_all(messages { type = "@TYPE@" }, function(msg)
      assert.sends(channel:run(msg), "receiver")
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
