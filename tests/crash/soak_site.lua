-- The soak's site: two hops with a filter, a channel with kv whose sender waits for the script, a
-- channel that filters; retention small enough to be at work all the time.
local M = {}

--- name -> { mllp = has senders, dests = its MLLP destinations }
M.channels = {
  adt = { mllp = true, dests = { "out" } },
  lab = { dests = { "lab" } },
  count = { mllp = true, dests = { "out" } },
  flt = { mllp = true, dests = { "out" } },
}

function M.third(n) return n % 3 ~= 0 end
function M.even(n) return n % 2 == 0 end
function M.all() return true end

local SEND = 'mllp.send { host = "127.0.0.1", port = %d, timeout = %d, retry = { first = 0.05, max = 0.5 } }'

--- The files of the site. o: ports (channel -> port), out (destination -> port), mb (retention), and
-- what reloads change: mark, table, limit, timeout, copy. `count` is the same always: its worker's memory
-- is watched for long.
function M.files(o)
  local function keeping(limit)
    return ("retention = { mb = %g }, limits = { seconds = %d, attempts = 20 },"):format(o.mb, limit)
  end
  local keep = keeping(o.limit or 5)
  local copy = o.copy and ('copy = mllp.send { host = "127.0.0.1", port = %d, filter = function() return false end },')
    :format(o.out["adt/out"]) or ""
  local function to(name, timeout) return SEND:format(o.out[name], timeout or o.timeout or 3) end
  return {
    ["lib/rules.lua"] = ('return { mark = "%s" }'):format(o.mark or "0"),
    ["tables/names.csv"] = ("key,value\nV,%s\n"):format(o.table or "0"),
    ["channels/adt.lua"] = ([[
local rules = require "rules"
return channel {
  source = mllp.listen { port = %d }, %s
  transform = function(msg) msg["PID-5.1"] = rules.mark .. lookup("names", "V", "?") end,
  destinations = { out = %s, next = channel.to "lab", %s },
}]]):format(o.ports.adt, keep, to "adt/out", copy),
    ["channels/lab.lua"] = ([[
return channel {
  source = channel.from "adt", %s
  filter = function(msg) return tonumber(msg.control_id:match "%%-(%%d+)$") %% 2 == 0, "odd" end,
  destinations = { lab = %s },
}]]):format(keep, to "lab/lab"),
    ["channels/count.lua"] = ([[
return channel {
  source = mllp.listen { port = %d }, ack = "transform", %s
  transform = function(msg)
    local n = (kv.get "n" or 0) + 1
    kv.set("n", n)
    msg["PID-2"] = tostring(n)
  end,
  destinations = { out = %s },
}]]):format(o.ports.count, keeping(5), to("count/out", 3)),
    ["channels/flt.lua"] = ([[
return channel {
  source = mllp.listen { port = %d }, %s
  filter = function(msg) return tonumber(msg.control_id:match "%%-(%%d+)$") %% 3 ~= 0, "a third" end,
  destinations = { out = %s },
}]]):format(o.ports.flt, keep, to "flt/out"),
  }
end

return M
