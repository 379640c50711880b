-- Times as people write and read them. Inside, a time is microseconds since 1970 (UTC).
local sys = require "lunate.sys"

local M = {}

local spans = { s = 1, m = 60, min = 60, h = 3600, d = 86400, w = 604800 }

-- Seconds since 1970 of a calendar time in UTC: days by counting, no time zone in it.
local function utc(y, mo, d, h, mi, s)
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) +
    math.floor((153 * (mo - 3) + 2) / 5) + d - 1 - 719468
  return ((days * 24 + h) * 60 + mi) * 60 + s
end

local function calendar(y, mo, d, h, mi, s, zone)
  y, mo, d = tonumber(y), tonumber(mo) or 1, tonumber(d) or 1
  h, mi, s = tonumber(h) or 0, tonumber(mi) or 0, tonumber(s) or 0
  if mo < 1 or mo > 12 or d < 1 or d > 31 or h > 24 or mi > 59 or s >= 61 then return nil end
  if zone == "Z" then return utc(y, mo, d, h, mi, s) end
  local sign, zh, zm = zone:match "^([+-])(%d%d):?(%d%d)$"
  if sign then
    local offset = (zh * 60 + zm) * 60
    return utc(y, mo, d, h, mi, s) - (sign == "-" and -offset or offset)
  end
  if zone ~= "" then return nil end
  local whole = math.floor(s)
  local t = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = whole }
  return t and t + (s - whole)
end

--- A point in time: a span before now (30s, 10m, 2h, 3d, 1w), ISO (2026-11-23T10:00:00Z, a date)
-- or HL7 (20261123100000+0100); without a zone it is local time. Microseconds, or nil.
function M.parse(text)
  local n, unit = text:match "^(%d+%.?%d*)%s*(%a+)$"
  if n and spans[unit] then return (sys.now() - n * spans[unit]) * 1e6 end
  local y, mo, d, rest = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$"
  local seconds
  if y then
    local h, mi, tail = rest:match "^[T ](%d%d):(%d%d)(.*)$"
    local s, zone = (tail or rest):match "^:(%d%d%.?%d*)(.*)$"
    seconds = calendar(y, mo, d, h, mi, s, zone or tail or rest)
  else
    local digits, fraction, zone = text:match "^(%d+)(%.?%d*)(.*)$"
    if not digits or #digits < 4 or #digits > 14 or #digits % 2 == 1 then return nil end
    local p = { digits:match "^(%d%d%d%d)(%d?%d?)(%d?%d?)(%d?%d?)(%d?%d?)(%d?%d?)$" }
    if p[6] ~= "" then p[6] = p[6] .. fraction end
    seconds = calendar(p[1], p[2], p[3], p[4], p[5], p[6], zone)
  end
  return seconds and seconds * 1e6
end

--- For people: local time, "2026-11-23 23:19:22.123".
function M.text(us)
  local s = math.floor(us / 1e6)
  return os.date("%Y-%m-%d %H:%M:%S", s) .. (".%03d"):format(math.floor((us - s * 1e6) / 1000))
end

--- The time of day alone.
function M.clock(us)
  return M.text(us):sub(12)
end

--- For programs: "2026-11-23T23:19:22.123Z".
M.iso = sys.iso

return M
