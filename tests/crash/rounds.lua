-- kill -9 of the hub and of workers at random moments under load. Guards: nothing acknowledged is
-- lost, order is kept, and what is sent twice is bounded by what was in flight.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local load_ = require "crash.load"

local SENDERS = 8
local UNCOMMITTED = 64 -- outcomes that may be on their way to the disk (core/hub/dest.c)

local M = {}

local CHANNEL = [[
return channel {
  source = mllp.listen { port = %d },
  transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,
  destinations = {
    out = mllp.send { port = %d, host = "127.0.0.1", retry = { first = 0.02, max = 0.1 } },
  },
}]]

--- Runs the rounds; returns figures for the report. Raises at the first broken promise.
function M.run(rounds, seed)
  math.randomseed(seed)
  local port = net.free_port()
  local load = load_.new(port, SENDERS)
  local s = site.new { ["channels/adt.lua"] = CHANNEL:format(port, load.receiver.port) }
  local e = s:start()
  local kills, worst, hub_kills = 0, 0, 0
  for round = 1, rounds do
    load:run(0.02 + math.random() * 0.15)
    local dups, resent = load.dups, load.resent
    if math.random(4) == 1 then
      for _, pid in ipairs(e:workers()) do proc.kill(pid, proc.KILL) end
    else
      e:kill9()
      hub_kills = hub_kills + 1
      if math.random(3) == 1 then load:run(0.02) end
      e = s:start()
    end
    kills = kills + 1
    load:run(0.1)
    local twice = load.dups - dups - (load.resent - resent)
    worst = math.max(worst, twice)
    assert(twice <= UNCOMMITTED + 1,
      ("round %d (seed %d): %d sent twice after one kill"):format(round, seed, twice))
    assert(#load.disorder == 0,
      ("round %d (seed %d): order broken: %s"):format(round, seed, load.disorder[1] or ""))
  end
  local missing = load:settle(20)
  assert(#missing == 0, ("seed %d: %d acknowledged messages did not arrive, first %s\n%s"):format(
    seed, #missing, tostring(missing[1]), e:log()))
  local ok = pcall(sys.wait_until, function()
    load.receiver:step(0)
    return e:channel "adt".dest.out.queued == 0
  end, 10, "an empty queue")
  local out = e:channel "adt".dest.out
  assert(ok, ("seed %d: %d queued, %s, last error: %s\n%s"):format(seed, out.queued, out.state,
    out.last_error, e:log()))
  assert(e:channel "adt".parked == 0, "something was parked")
  assert(e:stop() == 0)
  load.receiver:close()
  return { kills = kills, hub_kills = hub_kills, acked = #load.acked, dups = load.dups,
    resent = load.resent, worst = worst }
end

return M
