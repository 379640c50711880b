-- What operators, receivers and bad luck do during the soak. Each act is a coroutine: w:verb and w:pause
-- give way to the load. Acts lock what they act on, so that two never mean the same thing.
local proc = require "support.proc"
local ledger = require "crash.soak_ledger"

local M = {}

local DESTS = { "adt/out", "lab/lab", "count/out", "flt/out" }
local CHANNELS = { "adt", "lab", "count", "flt" }

local function channel_of(dest) return dest:match "^[^/]+" end

function M.hold(w)
  local d = w:pick(DESTS)
  if not w:lock(d) then return end
  w:must("hold", d)
  w:pause(w:between(0.3, w.long and 20 or 1.5))
  if w:chance(0.3) then w:verb("step", d) end
  w:must("release", d)
end

function M.pause(w)
  local c = w:pick(CHANNELS)
  if not w:lock(c) then return end
  w:must("pause", c)
  w:pause(w:between(0.2, w.long and 8 or 1))
  w:must("resume", c)
end

function M.stop(w)
  local c = w:pick(CHANNELS)
  if not w:may_restart(c) or not w:lock(c) then return end
  w.load:may_close(c)
  w:must("stop", c, "--grace", "2")
  for _, d in ipairs(DESTS) do
    if channel_of(d) == c then w.load.receivers[d].ledger:replay(1) end
  end
  w:pause(w:between(0.1, w.long and 5 or 0.5))
  w:must("start", c)
  w.load:closing_ends(c, 5)
end

function M.outage(w)
  local d = w:pick(DESTS)
  if not w:lock(d) then return end
  w.load:away(d)
  w:pause(w:between(0.2, w.long and 15 or 1))
  w.load:open(d)
end

function M.silent(w)
  local d = w:pick(DESTS)
  if not w:lock(d) then return end
  w.load.receivers[d].mode = "silent"
  w:pause(w:between(0.2, w.long and 8 or 1))
  w.load.receivers[d].mode = "AA"
end

function M.again_later(w)
  local d = w:pick(DESTS)
  if not w:lock(d) then return end
  w.load.receivers[d].mode = "AR"
  w:pause(w:between(0.2, w.long and 5 or 1))
  w.load.receivers[d].mode = "AA"
end

function M.refuse(w)
  local d = w:pick(DESTS)
  if not w:lock(d) then return end
  local r = w.load.receivers[d]
  r.mode, r.left = "AE", math.random(20)
  w:pause(w:between(0.5, 2))
  r.mode = "AA"
  w:pause(0.2)
  w:must("resend", channel_of(d), "--state", "parked", "--dest", d:match "[^/]+$", "--yes")
end

function M.skip(w)
  local d = w:pick { "adt/out", "lab/lab", "flt/out" }
  if not w:lock(d) or not w:lock "engine" then return end
  w:must("hold", d)
  w:pause(0.5)
  local status, out = w:verb("skip", d, "--reason", "soak")
  local message = out:match "lunate show (%S-)%)"
  if status == 0 and message then
    local _, doc = w:verb("show", message, "--json")
    local s, n = doc:match '"control_id":%s*"S(%d+)%-(%d+)"'
    w.load.receivers[d].ledger:skipped(tonumber(s), tonumber(n))
  end
  w:must("release", d)
  w:unlock "engine"
  w:must("resend", channel_of(d), "--state", "parked", "--dest", d:match "[^/]+$", "--yes")
end

function M.resend(w)
  local c = w:pick(CHANNELS)
  local _, out = w:verb("messages", c, "--state", "sent", "--limit", "1", "--json")
  local seq, s, n = out:match '"seq":(%d+)', out:match '"control_id":%s*"S(%d+)%-(%d+)"'
  if not s then return end
  for d, r in pairs(w.load.receivers) do
    if (channel_of(d) == c or c == "adt" and d == "lab/lab") and r.ledger.wants(tonumber(n)) then
      r.ledger:expect(tonumber(s), tonumber(n))
    end
  end
  w:verb("resend", c .. "/" .. seq, w:chance(0.5) and "--reprocess" or "--all")
end

function M.reload(w)
  if not w:lock "reload" then return end
  local n = w:number()
  local change = w:pick { "mark", "table", "limit", "timeout", "copy" }
  local value = "m" .. n
  if change == "copy" then value = n % 2 == 0 end
  if change == "limit" or change == "timeout" then value = 2 + n % 4 end
  w:change(change, value)
  w:must("reload")
end

function M.refused(w)
  if not w:lock "reload" or not w:lock "engine" then return end
  local path = w:pick { "channels/adt.lua", "channels/flt.lua", "lib/rules.lua", "tables/names.csv" }
  w.site:write(path, path:match "csv$" and 'V,"open' or w:pick { "return channel {", "error 'no'",
    "while true do end" })
  local status = w:verb "reload"
  if status ~= 1 then w.load:fault("a reload of a broken %s ended with %s", path, status) end
  w:change()
  w:must("reload")
end

function M.worker(w)
  local workers = w:workers()
  local c = w:pick(CHANNELS)
  if not w:may_restart(c) or not workers[c] then return end
  w:note("kill -9 of the worker of " .. c)
  proc.kill(workers[c], proc.KILL)
end

function M.engine(w)
  if not w:lock "engine" or not w:may_restart() then return end
  w.load:may_close()
  w:note "kill -9 of the engine"
  w:ended(true)
  w.load:killed(ledger.UNCOMMITTED)
  w:pause(w:between(0, w.long and 3 or 0.3))
  w:begin()
  w.load:closing_ends(nil, 5)
end

function M.orderly(w)
  if not w:lock "engine" or not w:may_restart() then return end
  w.load:may_close()
  w:note "SIGTERM to the engine"
  w:ended(false)
  w.load:killed(1)
  w:begin()
  w.load:closing_ends(nil, 5)
end

function M.backup(w)
  if not w:lock "backup" then return end
  local to = w:folder()
  local status = w:verb("backup", to)
  if status == 0 then
    local ok, out, err = w:verb("verify", to)
    if ok ~= 0 then w.load:fault("a backup is not in order: %s%s", out, err) end
  end
  os.execute("rm -rf " .. to)
end

--- name -> how often, relative to the others
M.weights = { hold = 4, pause = 3, stop = 3, outage = 4, silent = 2, again_later = 3, refuse = 3, skip = 2,
  resend = 4, reload = 5, refused = 2, worker = 5, engine = 3, orderly = 1, backup = 1 }

return M
