-- Reloads under load: time to the ACK at 64 connections, paced, while a shared module is changed and
-- all channels are reloaded, one reload after another, against the same without, in turns.
local rig = require "bench.rig"
local report = require "bench.report"
local site = require "support.site"
local proc = require "support.proc"
local sys = require "support.sys"
local json = require "support.json"

local CHANNELS, RATE, RELOADS = 8, 200, 20

local function send(e, n)
  return proc.spawn { site.binary(), "send", e.targets, rig.file, "--json", "--unique-ids", "--connections", 64,
    "--count", n, "--rate", RATE, "--timeout", 60 }
end

-- Reloads until the senders are done, at most `most` times; how many.
local function reload(e, p, most, mark)
  local n = 0
  while n < most and p:running() do
    n = n + 1
    e.site:write("lib/rules.lua", ('return { mark = "%s.%d" }'):format(mark, n))
    site.must(e.site, "reload", { timeout = 60 })
  end
  return n
end

local function measure(e, reloads, mark)
  local p = send(e, RATE * (rig.quick and 3 or 6))
  sys.sleep(0.5)
  local n = reloads > 0 and reload(e, p, reloads, mark) or 0
  if p:wait(120) ~= 0 then error("send: " .. p:err()) end
  local l = json.decode(p:out()).latency_ms
  p:close()
  return { p50 = l.p50 * 1000, p99 = l.p99 * 1000, max = l.max * 1000 }, n
end

return function()
  local e = rig.engine(CHANNELS)
  local receiver = rig.receiver(e.out, 10000000)
  local quiet, busy, reloads = { runs = {} }, { runs = {} }, 0
  measure(e, 0)
  for round = 1, rig.repeats do
    report.progress(("reload  round %d of %d"):format(round, rig.repeats))
    quiet.runs[round] = measure(e, 0)
    local n
    busy.runs[round], n = measure(e, math.ceil(RELOADS / rig.repeats), round)
    reloads = reloads + n
  end
  report.clear()
  receiver:close()
  rig.stop(e)
  local rows = {}
  for i, list in ipairs { quiet, busy } do
    local _, _, max = rig.of(list, "max")
    rows[i] = { i == 1 and "no reload" or "while reloading", report.ms((rig.of(list, "p50"))),
      report.ms((rig.of(list, "p99"))), report.ms(max) }
  end
  report.table(("Reload: %d channels, 64 connections, %d messages/s"):format(CHANNELS, RATE),
    { "", "ACK p50 ms", "p99 ms", "max ms" }, rows)
  report.note("%d reloads of all channels; p99 while reloading %s of that without", reloads,
    report.spread("%.2f", rig.ratio(busy, quiet, "p99")))
end
