-- make soak [MINUTES=60] [SEED=n]: the soak, told line by line. Status 0 when every promise was kept.
package.path = "tests/?.lua;" .. package.path
local soak = require "crash.soak"
local site = require "support.site"
local proc = require "support.proc"

local minutes = tonumber(os.getenv "MINUTES") or 60
local seed = tonumber(os.getenv "SEED") or os.time()

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

say(("soak of %g minutes, seed %d"):format(minutes, seed))
local ok, w = xpcall(soak.run, debug.traceback, { seconds = minutes * 60, seed = seed, say = say,
  rate = tonumber(os.getenv "RATE"), every = tonumber(os.getenv "EVERY"), pause = tonumber(os.getenv "PAUSE") })
if ok then
  local list = {}
  for name, n in pairs(w.done) do list[#list + 1] = name .. " " .. n end
  table.sort(list)
  say(("%d acknowledged, %d ends of the engine, none lost, in order, counts agree; begun: %s"):format(w.load:total(),
    w.kills, table.concat(list, ", ")))
  site.cleanup()
else
  say("FAULT: " .. tostring(w) .. "\nthe site is left below " .. (os.getenv "TMPDIR" or "/tmp"))
  proc.cleanup()
end
os.exit(ok and 0 or 1)
