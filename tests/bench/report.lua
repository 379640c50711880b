-- Tables: for a terminal, or as Markdown.
local ffi = require "ffi"
ffi.cdef "int isatty(int);"

local M = { markdown = false }

local function pad(text, width, right)
  local gap = (" "):rep(width - #text)
  return right and gap .. text or text .. gap
end

--- Prints a table: title, head (list of texts), rows (lists of texts); the first column is left.
function M.table(title, head, rows)
  local width = {}
  for _, row in ipairs { head, unpack(rows) } do
    for i, text in ipairs(row) do width[i] = math.max(width[i] or 0, #text) end
  end
  local function line(row)
    local cells = {}
    for i = 1, #head do cells[i] = pad(row[i] or "", width[i], i > 1) end
    if M.markdown then return "| " .. table.concat(cells, " | ") .. " |" end
    return "  " .. table.concat(cells, "  ")
  end
  print((M.markdown and "\n### " or "\n") .. title .. (M.markdown and "\n" or ""))
  print(line(head))
  local rule = {}
  for i = 1, #head do rule[i] = ("-"):rep(width[i] + 1) .. (i > 1 and ":" or "-") end
  if M.markdown then print("|" .. table.concat(rule, "|") .. "|") end
  for _, row in ipairs(rows) do print(line(row)) end
  io.flush()
end

--- A line of text below a table.
function M.note(fmt, ...)
  print((M.markdown and "\n" or "  ") .. fmt:format(...))
  io.flush()
end

--- A whole number with thousands marked.
function M.count(v)
  local s = ("%.0f"):format(v)
  local n
  repeat s, n = s:gsub("^(%-?%d+)(%d%d%d)", "%1,%2") until n == 0
  return s
end

--- A number with its spread: "0.52 (0.49-0.55)".
function M.spread(format, median, least, greatest)
  return (format .. " (" .. format .. "-" .. format .. ")"):format(median, least, greatest)
end

--- Microseconds as milliseconds.
function M.ms(us) return ("%.2f"):format(us / 1000) end

local shown = false
--- What is being done now, on a terminal.
function M.progress(text)
  if ffi.C.isatty(2) == 0 or os.getenv "TERM" == "dumb" then return end
  io.stderr:write("\r\27[K", text)
  shown = true
end

function M.clear()
  if shown then io.stderr:write "\r\27[K" end
  shown = false
end

return M
