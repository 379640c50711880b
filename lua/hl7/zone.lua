-- Time zones from the system's tzdata (TZif files, RFC 8536, with the rule at their end for the
-- years to come). A zone is read once and kept, so that what runs later needs no file.
local core = require "lunate.hl7.core"
local calendar = require "lunate.hl7.calendar"
local byte, floor = string.byte, math.floor

local M = {}
local loaded = {}

local function int32(s, at)
  local a, b, c, d = byte(s, at, at + 3)
  local n = ((a * 256 + b) * 256 + c) * 256 + d
  return n >= 2147483648 and n - 4294967296 or n
end

local function int64(s, at)
  return int32(s, at) * 4294967296 + int32(s, at + 4) % 4294967296
end

-- ---- the rule for the years to come: "CET-1CEST,M3.5.0,M10.5.0/3" ---------------------------

-- "-1", "5:30", "+02:00:00" in seconds, and what follows.
local function clock(text)
  local sign, h, rest = text:match "^([+-]?)(%d+)(.*)$"
  if not h then return nil, text end
  local s = tonumber(h) * 3600
  for _, unit in ipairs { 60, 1 } do
    local n, after = rest:match "^:(%d%d)(.*)$"
    if not n then break end
    s, rest = s + tonumber(n) * unit, after
  end
  return sign == "-" and -s or s, rest
end

local function zone_name(text)
  local name, rest = text:match "^<([^>]+)>(.*)$"
  if not name then name, rest = text:match "^(%a+)(.*)$" end
  return name, rest or text
end

local function change(text)
  local day, rest = text:match "^,([^,/]+)(.*)$"
  if not day then return nil, text end
  local rule = { time = 7200 }
  local m, w, d = day:match "^M(%d+)%.(%d+)%.(%d+)$"
  if m then
    rule.month, rule.week, rule.weekday = tonumber(m), tonumber(w), tonumber(d)
  else
    rule.leapless, rule.day = day:match "^(J?)(%d+)$"
    rule.day = tonumber(rule.day)
    if not rule.day then return nil, text end
  end
  if rest:sub(1, 1) == "/" then rule.time, rest = clock(rest:sub(2)) end
  return rule.time and rule, rest
end

local function parse_rule(text)
  local rule = {}
  local offset
  rule.std_name, text = zone_name(text)
  if not rule.std_name then return nil end
  offset, text = clock(text)
  if not offset then return nil end
  rule.std = -offset
  if text == "" then return rule end
  rule.dst_name, text = zone_name(text)
  if not rule.dst_name then return nil end
  offset, text = clock(text)
  rule.dst = offset and -offset or rule.std + 3600
  rule.from, text = change(text)
  rule.to, text = change(text)
  return rule.from and rule.to and text == "" and rule or nil
end

-- Seconds since 1970 by the local clock at which a change happens in a year.
local function change_time(rule, year)
  local n
  if rule.month then
    local first = calendar.day_number(year, rule.month, 1)
    n = first + (rule.weekday - calendar.weekday(first)) % 7 + (rule.week - 1) * 7
    if n >= first + calendar.days_in(year, rule.month) then n = n - 7 end
  else
    n = calendar.day_number(year, 1, 1) + rule.day
    if rule.leapless == "J" then
      n = n - 1
      if calendar.is_leap(year) and rule.day >= 60 then n = n + 1 end
    end
  end
  return n * 86400 + rule.time
end

local function by_rule(rule, t)
  if not rule.dst then return rule.std, rule.std_name end
  local year = calendar.date(floor((t + rule.std) / 86400))
  local from = change_time(rule.from, year) - rule.std
  local to = change_time(rule.to, year) - rule.dst
  local summer
  if from < to then
    summer = t >= from and t < to
  else
    summer = not (t >= to and t < from)
  end
  if summer then return rule.dst, rule.dst_name end
  return rule.std, rule.std_name
end

-- ---- files ----------------------------------------------------------------------------------

local function header(s, at)
  if s:sub(at, at + 3) ~= "TZif" or #s < at + 43 then return nil end
  local counts = {}
  for i = 1, 6 do counts[i] = int32(s, at + 16 + i * 4) end
  return { isut = counts[1], isstd = counts[2], leap = counts[3], time = counts[4],
    type = counts[5], char = counts[6] }
end

local function block_len(h, size)
  return h.time * (size + 1) + h.type * 6 + h.char + h.leap * (size + 4) + h.isstd + h.isut
end

local function parse(s)
  local h = header(s, 1)
  if not h then return nil end
  local at, size, read = 45, 4, int32
  if byte(s, 5) >= 50 then -- from version 2 on the same again with 64 bits
    at = at + block_len(h, 4)
    h = header(s, at)
    if not h then return nil end
    at, size, read = at + 44, 8, int64
  end
  if #s < at + block_len(h, size) - 1 or h.type == 0 then return nil end
  local zone = { times = {}, offsets = {}, names = {} }
  local types = at + h.time * (size + 1)
  local chars = types + h.type * 6
  local function type_of(i)
    local name = chars + byte(s, types + i * 6 + 5)
    return int32(s, types + i * 6), s:sub(name, (s:find("\0", name, true) or name) - 1)
  end
  for i = 1, h.time do
    zone.times[i] = read(s, at + (i - 1) * size)
    zone.offsets[i], zone.names[i] = type_of(byte(s, at + h.time * size + i - 1))
  end
  zone.first, zone.first_name = type_of(0)
  local footer = s:sub(at + block_len(h, size)):match "^\n([^\n]*)\n"
  zone.rule = footer and footer ~= "" and parse_rule(footer) or nil
  return zone
end

--- load(name) -> zone, or nil and why. "UTC" needs no file; "local" is the system's own zone.
function M.load(name)
  if loaded[name] then return loaded[name] end
  local zone
  if name == "UTC" then
    zone = { times = {}, offsets = {}, names = {}, first = 0, first_name = "UTC" }
  else
    local file, wanted = name, core.environment "TZ"
    if name == "local" and wanted and wanted ~= "" then file = wanted:gsub("^:", "") end
    local bytes, why = core.zone_file(file)
    if not bytes then
      return nil, ("no time zone \"%s\": %s (is the package tzdata installed?)"):format(name, why)
    end
    zone = parse(bytes)
    if not zone then return nil, ("time zone \"%s\": its file does not read"):format(name) end
  end
  loaded[name] = zone
  return zone
end

--- Offset from UTC in seconds at t (seconds since 1970), and the zone's name then.
function M.offset(zone, t)
  local times = zone.times
  local low, high = 0, #times
  while low < high do
    local mid = floor((low + high + 1) / 2)
    if times[mid] <= t then low = mid else high = mid - 1 end
  end
  if low == #times and zone.rule then return by_rule(zone.rule, t) end
  if low == 0 then return zone.first, zone.first_name end
  return zone.offsets[low], zone.names[low]
end

--- The offsets that a local time (seconds since 1970 by the local clock) may have: none in the hour
--- that is left out in spring, two in the one that comes twice in autumn, the earlier moment first.
function M.offsets_at(zone, clock_time)
  local list, seen = {}, {}
  for _, guess in ipairs { clock_time - 86400, clock_time + 86400 } do
    local offset = M.offset(zone, guess)
    if not seen[offset] and M.offset(zone, clock_time - offset) == offset then
      list[#list + 1] = offset
    end
    seen[offset] = true
  end
  table.sort(list, function(a, b) return a > b end)
  return list
end

return M
