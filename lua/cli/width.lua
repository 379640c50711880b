-- How many columns UTF-8 text takes on a terminal: two for East Asian and emoji, none for marks
-- that combine. Ranges of Unicode 15 that matter to names and texts; what is not in them takes one.
local byte, find = string.byte, string.find

local M = {}

local two = { 0x1100, 0x115F, 0x231A, 0x231B, 0x2329, 0x232A, 0x2E80, 0x303E, 0x3041, 0xA4CF,
  0xA960, 0xA97F, 0xAC00, 0xD7A3, 0xF900, 0xFAFF, 0xFE30, 0xFE6F, 0xFF01, 0xFF60, 0xFFE0, 0xFFE6,
  0x1F300, 0x1F64F, 0x1F680, 0x1F6FF, 0x1F900, 0x1F9FF, 0x20000, 0x3FFFD }
local none = { 0x0300, 0x036F, 0x0483, 0x0489, 0x0591, 0x05BD, 0x0610, 0x061A, 0x064B, 0x065F,
  0x06D6, 0x06DC, 0x0E31, 0x0E31, 0x0E34, 0x0E3A, 0x0E47, 0x0E4E, 0x1AB0, 0x1AFF, 0x200B, 0x200F,
  0x20D0, 0x20FF, 0x302A, 0x302D, 0x3099, 0x309A, 0xFE00, 0xFE0F, 0xFE20, 0xFE2F, 0xFEFF, 0xFEFF }

local function within(ranges, code)
  for i = 1, #ranges, 2 do
    if code < ranges[i] then return false end
    if code <= ranges[i + 1] then return true end
  end
  return false
end

-- Code point and length of the character at i of valid UTF-8.
local function character(text, i)
  local a, b, c, d = byte(text, i, i + 3)
  if a < 0xC0 then return a, 1 end
  if a < 0xE0 then return (a - 0xC0) * 64 + (b or 0) - 0x80, 2 end
  if a < 0xF0 then return ((a - 0xE0) * 64 + (b or 0) - 0x80) * 64 + (c or 0) - 0x80, 3 end
  return (((a - 0xF0) * 64 + (b or 0) - 0x80) * 64 + (c or 0) - 0x80) * 64 + (d or 0) - 0x80, 4
end

local function columns_of(code)
  if code < 0x300 then return 1 end
  return within(none, code) and 0 or within(two, code) and 2 or 1
end

--- Columns of a text (valid UTF-8, no control characters).
function M.columns(text)
  if not find(text, "[\128-\255]") then return #text end
  local n, i = 0, 1
  while i <= #text do
    local code, len = character(text, i)
    n, i = n + columns_of(code), i + len
  end
  return n
end

--- What fits in n columns from byte `from` on: the last byte, and its columns. A character at least
--- is taken when `some` is set.
function M.take(text, n, from, some)
  from = from or 1
  local last = math.min(#text, from + n - 1)
  if last >= from and not find(text:sub(from, last + 1), "[\128-\255]") then
    return last, last - from + 1
  end
  local used, i = 0, from
  while i <= #text do
    local code, len = character(text, i)
    local w = columns_of(code)
    if used + w > n and not (some and i == from) then break end
    used, i = used + w, i + len
  end
  return i - 1, used
end

return M
