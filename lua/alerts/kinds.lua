-- The kinds of alert rules: what each takes, and its default. A rule whose name is a kind's is of
-- that kind; under another name it says so: kind = "queue_age".
local units = require "lunate.alerts.units"

local span = units.check

local function count(v)
  local n = tonumber(v)
  if not n or n < 0 or n ~= math.floor(n) then return nil, "must be a whole number" end
  return ("%.0f"):format(n)
end

local function percent(v)
  local n = units.percent(v)
  if not n then return nil, 'must be a share, as in "5%"' end
  return ("%.14g"):format(n)
end

local function learned(v)
  if v == "learned" then return v end
  local text, err = span(v)
  return text, err and 'must be "learned", or a time, as in "2h"'
end

local function room(v)
  local n = units.percent(v)
  if n then return ("%.14g%%"):format(n) end
  n = units.bytes(v)
  if not n then return nil, 'must be a share or a size, as in "10%" or "5GB"' end
  return ("%.0f"):format(n)
end

-- limit: the key of the threshold, check its check; after: how long it must be so before it counts.
return {
  queue_age = { limit = "over", check = span, default = "600", after = 0 },
  queue_depth = { limit = "over", check = count, default = "10000", after = 60 },
  silence = { limit = "over", check = learned, default = "learned", after = 0 },
  error_rate = { limit = "over", check = percent, default = "10", after = 0,
    more = { window = { check = span, default = "900" },
      least = { check = count, default = "20" } } },
  parked = { limit = "over", check = count, default = "0", after = 0 },
  disconnected = { limit = "over", check = span, default = "300", after = 0 },
  certificate = { limit = "under", check = span, default = "1209600", after = 0 },
  disk_free = { limit = "under", check = room, default = "10%", after = 0 },
  channel_down = { after = 60 },
  store = { after = 0 },
  audit_behind = { limit = "over", check = span, default = "600", after = 0 },
  engine = { after = 30 },
}
