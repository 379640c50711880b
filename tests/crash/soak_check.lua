-- What the soak measures while it runs, and what has to agree at its end.
local sys = require "support.sys"
local tmp = require "support.tmp"
local rooms = require "crash.soak_site"

local M = {}

local function anonymous(pid)
  return tonumber((tmp.read("/proc/" .. pid .. "/status") or ""):match "RssAnon:%s*(%d+)")
end

local function megabytes(w)
  local f = io.open(w.site.path .. "/data/data.mdb")
  if not f then return "-" end
  local n = f:seek "end"
  f:close()
  return ("%.1f"):format(n / 2 ^ 20)
end

--- Says what has been acknowledged, how fast, and what memory the processes have of their own.
function M.sample(w)
  local minute = (sys.now() - w.began) / 60
  local row = { minute = minute, hub = anonymous(w.engine.pid) }
  for name, pid in pairs(w:workers()) do row[name] = anonymous(pid) end
  if w.watched then w.samples[#w.samples + 1] = row end
  w.say(("%7.1f  == %d acknowledged, p50 %.1f p99 %.1f ms; anonymous KB: hub %s adt %s lab %s count %s flt %s; "
    .. "data.mdb %s MB; this process %d MB"):format(minute * 60, w.load:total(), w.load:percentile(50),
    w.load:percentile(99, true), row.hub or "-", row.adt or "-", row.lab or "-", row.count or "-",
    row.flt or "-", megabytes(w), collectgarbage "count" / 1024))
end

--- KB a minute by least squares over the samples of one process from the ith on; and its mean.
function M.slope(w, name, i)
  local n, sx, sy, sxx, sxy = 0, 0, 0, 0, 0
  for at, row in ipairs(w.samples) do
    local x, y = row.minute, row[name]
    if y and at >= i then n, sx, sy, sxx, sxy = n + 1, sx + x, sy + y, sxx + x * x, sxy + x * y end
  end
  local d = n * sxx - sx * sx
  return d > 0 and (n * sxy - sx * sy) / d or 0, n > 0 and sy / n or 0
end

--- Says how memory went in the second half, and in the last quarter.
function M.memory(w)
  for _, name in ipairs { "hub", "count" } do
    local slope, mean = M.slope(w, name, 1)
    local last = M.slope(w, name, #w.samples / 2)
    w.say(("memory of %s in the second half: %.0f KB on average, %+.1f KB a minute; in the last quarter %+.1f")
      :format(name, mean, slope, last))
  end
end

--- A list of what is wrong in the counts of the engine against those of the load.
function M.reconcile(w)
  local faults = {}
  local function fault(...) faults[#faults + 1] = string.format(...) end
  for name, r in pairs(w.load.receivers) do
    local acked = {}
    for s in pairs(r.ledger.last) do acked[s] = w.load.acked[s] end
    local missing = r.ledger:missing(acked)
    if #missing > 0 then fault("%s: %d missing, first %s", name, #missing, missing[1]) end
    local c = w.engine:channel(name:match "^[^/]+")
    local d = c.dest[name:match "[^/]+$"]
    w.say(("%s: taken %d (%d twice, %d of them replayed after kills, %d unsure), refused %d; status: received %d, "
      .. "processed %d, filtered %d, errors %d, parked %d, sent %d, restarts %d"):format(name, r.ledger.taken,
      r.ledger.twice, r.ledger.replayed, r.ledger.unsure, r.ledger.refusals, c.received, c.processed, c.filtered,
      c.errors, c.parked, d.sent, c.worker_restarts))
    local gap = d.sent - (r.ledger.taken - r.ledger.replayed)
    if gap < 0 or gap > r.ledger.unsure then
      fault("%s: status says %d sent, %d were taken, %d of them again after kills", name, d.sent, r.ledger.taken,
        r.ledger.replayed)
    end
    if c.processed + c.filtered ~= c.received then fault("%s: not all received ones have a result", name) end
    if c.errors > 0 or c.parked > 0 or c.pending > 0 then fault("%s has errors, parked or pending ones", name) end
  end
  for name, room in pairs(rooms.channels) do
    local received, acked = w.engine:channel(name).received, 0
    for _, s in ipairs(w.load.senders) do
      if s.channel == name then acked = acked + w.load.acked[s.id] end
    end
    if room.mllp and received < acked then fault("%s: %d received, %d acknowledged", name, received, acked) end
  end
  return faults
end

return M
