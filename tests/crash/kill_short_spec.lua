-- The short form of crash/kill_spec.lua, part of every `make test`.
local site = require "support.site"
local rounds = require "crash.rounds"

describe("crash/kill (short)", function()
  after_each(site.cleanup)

  it("loses nothing that was acknowledged", function()
    local r = rounds.run(10, os.time())
    assert.is_true(r.acked > r.kills)
  end)
end)
