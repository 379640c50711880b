-- The long run: `make crash [ROUNDS=n]`.
local site = require "support.site"
local rounds = require "crash.rounds"

describe("crash/kill", function()
  after_each(site.cleanup)

  it("loses nothing that was acknowledged", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    local r = rounds.run(tonumber(os.getenv "ROUNDS") or 200, seed)
    io.stderr:write(("## %d kills (%d of the hub), %d acknowledged, 0 lost, order kept; %d came "
      .. "twice, %d were sent again by their senders; worst kill %d more than those; seed %d\n")
      :format(r.kills, r.hub_kills, r.acked, r.dups, r.resent, r.worst, seed))
    assert.is_true(r.acked > r.kills)
  end)
end)
