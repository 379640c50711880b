-- What people see: colour when it is wanted, columns, ages and sizes in words.
local sys = require "lunate.sys"
local width = require "lunate.cli.width"
local readable = require "lunate.repl.text"

local M = {}

local codes = { red = "31", yellow = "33", green = "32", cyan = "36", bold = "1",
  dim = "2" }
local coloured

--- True when stdout is a terminal that wants colour.
function M.coloured()
  if coloured == nil then
    local no = os.getenv "NO_COLOR"
    coloured = sys.isatty(1) and os.getenv "TERM" ~= "dumb" and (no == nil or no == "")
  end
  return coloured
end

--- The text in a colour, when stdout is a terminal that wants it.
function M.paint(colour, text)
  if not colour or not M.coloured() then return text end
  return ("\27[%sm%s\27[0m"):format(codes[colour], text)
end

M.columns = width.columns

--- Padded to n columns; cut, with a dot, when longer.
function M.fit(text, n, right)
  local have = width.columns(text)
  if have > n then
    local bytes, used = width.take(text, n - 1)
    text, have = text:sub(1, bytes) .. "…", used + 1
  end
  local pad = (" "):rep(n - have)
  return right and pad .. text or text .. pad
end

--- A name padded to n columns; cut in the middle when longer: they differ at their ends.
function M.fit_name(text, n)
  if #text <= n or #text ~= M.columns(text) then return M.fit(text, n) end
  local tail = math.floor((n - 1) / 2)
  return text:sub(1, n - 1 - tail) .. "…" .. text:sub(-tail)
end

--- Cut, with a dot, when longer than n columns.
function M.clip(text, n)
  return M.columns(text) > n and M.fit(text, n) or text
end

--- Bytes from outside for a terminal: control characters (C1, and those that turn the direction of
--- text, too) become dots, what is no UTF-8 is taken as ISO 8859-1.
function M.printable(text)
  if not text:find "[%c\128-\255]" then return text end
  return readable.printable(text)
end

--- 12345 as 12,345.
function M.number(n)
  local s = ("%.0f"):format(n)
  local head, rest = s:match "^(%-?%d%d?%d?)(.*)$"
  while #rest % 3 ~= 0 do
    head, rest = s:sub(1, #head - 1), s:sub(#head)
  end
  return head .. rest:gsub("%d%d%d", ",%0")
end

--- Bytes in words: 12.3 MB.
function M.bytes(n)
  if n < 1000 then return ("%d bytes"):format(n) end
  for _, unit in ipairs { "KB", "MB", "GB", "TB" } do
    n = n / 1000
    if n < 999.5 then return (n < 10 and "%.1f %s" or "%.0f %s"):format(n, unit) end
  end
  return ("%.0f PB"):format(n / 1000)
end

--- Seconds in words: 3 min, 2 h 10 min, 4 days.
function M.age(s)
  if s < 1 then return "now" end
  if s < 90 then return ("%d s"):format(s) end
  if s < 5400 then return ("%d min"):format(s / 60) end
  if s < 36 * 3600 then return ("%d h %02d min"):format(s / 3600, s % 3600 / 60) end
  return s < 2 * 86400 and "1 day" or ("%d days"):format(s / 86400)
end

--- Seconds in at most 7 columns: 12 s, 3 min, 2.5 h, 4 d.
function M.short_age(s)
  if s < 1 then return "now" end
  if s < 90 then return ("%d s"):format(s) end
  if s < 5400 then return ("%d min"):format(s / 60) end
  if s < 36 * 3600 then return ("%.1f h"):format(s / 3600) end
  return ("%d d"):format(s / 86400)
end

--- A number in at most 7 columns: 12,345, 1.23 M.
function M.short(n)
  if n < 1e6 then return M.number(n) end
  for _, unit in ipairs { "M", "G", "T" } do
    n = n / (unit == "M" and 1e6 or 1e3)
    if n < 999.5 then return (n < 10 and "%.2f %s" or "%.0f %s"):format(n, unit) end
  end
  return ("%.0e"):format(n)
end

--- Text as lines of at most n columns, broken at blanks where there are some.
function M.wrap(text, n)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if line ~= "" and M.columns(line) + 1 + M.columns(word) > n then
      lines[#lines + 1], line = line, word
    else
      line = line == "" and word or line .. " " .. word
    end
    while M.columns(line) > n do -- a word that is longer than a line
      local cut = line:sub(1, n):gsub("[\192-\255][\128-\191]*$", "")
      lines[#lines + 1], line = cut, line:sub(#cut + 1)
    end
  end
  if line ~= "" then lines[#lines + 1] = line end
  return lines
end

--- "1 message", "2 messages".
function M.count(n, word)
  return ("%s %s%s"):format(M.number(n), word, n == 1 and "" or "s")
end

return M
