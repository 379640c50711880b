-- Two messages compared for counting kinds of difference over many of them: hl7.diff, with places
-- that are alike under one name, and differences of the clock told from others.
local diff = require "lunate.hl7.diff"

local M = {}

-- Fourteen digits or more, with a fraction and a zone perhaps: the digits.
local function time_digits(text)
  local digits = text:match "^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d)%.?%d*[+-]?%d*$"
  return digits
end

local NEAR = 5 -- seconds

local function is_near(digits, now_us)
  for d = -NEAR, NEAR do
    local t = math.floor(now_us / 1e6) + d
    if os.date("%Y%m%d%H%M%S", t) == digits or os.date("!%Y%m%d%H%M%S", t) == digits then
      return true
    end
  end
  return false
end

-- The time that stands in an id of hl7.new (core/script/message_new.c), in microseconds.
local function id_time(text)
  return #text == 16 and text:match "^%w+$" and tonumber(text:sub(1, 11), 36) or nil
end

-- Both are times of when the message was processed, give or take, or ids that hl7.new made then.
local function is_clock(old, new, now_us)
  if not old or not new or not now_us or #old ~= #new then return false end
  local a, b = id_time(old), id_time(new)
  if a and b and math.abs(a - now_us) < NEAR * 1e6 and math.abs(b - now_us) < NEAR * 1e6 then
    return true
  end
  a, b = time_digits(old), time_digits(new)
  return a and b and is_near(a, now_us) and is_near(b, now_us) or false
end

--- A path without the number of the segment: OBX[3]-5 and OBX[4]-5 are OBX[*]-5.
function M.kind_of(path)
  return (path:gsub("^(%w+)%[%d+%]", "%1[*]"))
end

--- each(old, new, now_us, ignore, found): calls found(kind, path, old, new). kind: "field",
-- "clock" (other by the time of processing alone), "added", "removed", "moved" (path is the
-- segment's name), "bytes" (line ends, or not HL7). now_us: the time that the script was told.
-- ignore: paths that are left out, or nil.
function M.each(old, new, now_us, ignore, found)
  local ok, list = pcall(diff.diff, old, new)
  if not ok or #list == 0 then
    return found("bytes", ok and "line ends" or "not HL7, other bytes")
  end
  if ignore then list = diff.diff(old, new, { ignore = ignore }) end
  for _, d in ipairs(list) do
    local whole = d.path:match "^(%w+)$" or d.path:match "^(%w+)%[%d+%]$"
    if whole then
      found(d.kind == "changed" and "field" or d.kind, whole, d.from, d.to)
    else
      local kind = is_clock(d.from, d.to, now_us) and "clock" or "field"
      found(kind, M.kind_of(d.path), d.from, d.to)
    end
  end
end

return M
