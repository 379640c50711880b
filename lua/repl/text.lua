-- What the REPL's child writes for people: colour, columns, bytes from outside made harmless. Set
-- once per question (lunate.repl.inside), since the terminal may have changed.
local M = { colour = false, plain = false, width = 80 }
local char, byte, sub, match, rep = string.char, string.byte, string.sub, string.match, string.rep

local codes = { red = "31", green = "32", yellow = "33", cyan = "36", bold = "1", dim = "2" }

--- The text in a colour.
function M.paint(colour, text)
  if not M.colour or text == "" then return text end
  return ("\27[%sm%s\27[0m"):format(codes[colour], text)
end

-- Well-formed UTF-8 beyond ASCII, by its length.
local sequences = {
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]", "^\237[\128-\159][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]", "^\244[\128-\143][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
}

-- Bytes that are no UTF-8 are shown as ISO 8859-1, which is what they are most of the time.
local function high(run)
  local out, at = {}, 1
  while at <= #run do
    local found
    for i = 1, #sequences do
      found = match(run, sequences[i], at)
      if found then break end
    end
    if found and found > "\194\159" then
      out[#out + 1], at = found, at + #found
    elseif found then -- a control character
      out[#out + 1], at = "·", at + 2
    else
      local b = byte(run, at)
      out[#out + 1] = b < 160 and "·" or char(b < 192 and 194 or 195, b < 192 and b or b - 64)
      at = at + 1
    end
  end
  return table.concat(out)
end
--- Bytes beyond ASCII as UTF-8.
M.utf8 = high

--- Bytes for a terminal: UTF-8, control characters as dots (line feeds and tabs stay with `lines`).
function M.printable(text, lines)
  text = text:gsub(lines and "[%z\1-\8\11-\31\127]" or "[%z\1-\31\127]", "·")
  if not text:find "[\128-\255]" then return text end
  return (text:gsub("[\128-\255]+", high):gsub("\226\128[\168-\174]", "·")
    :gsub("\226\129[\166-\169]", "·"))
end

--- Columns of UTF-8 text.
function M.columns(text)
  local _, n = text:gsub("[^\128-\191]", "")
  return n
end

--- Cut to n columns.
function M.cut(text, n)
  if #text <= n or M.columns(text) <= n then return text end
  if n < 1 then return "" end
  local at, seen = 1, 0
  while at <= #text and seen < n - 1 do
    seen = seen + 1
    at = at + 1
    while match(text, "^[\128-\191]", at) do at = at + 1 end
  end
  return sub(text, 1, at - 1) .. "…"
end

--- Padded to n columns.
function M.pad(text, n)
  return text .. rep(" ", n - M.columns(text))
end

-- For a narrow terminal: the first and the last cell of each row.
local function narrow(rows)
  local out = {}
  for i, row in ipairs(rows) do
    local last = #row > 1 and row[#row] or nil
    if #row == 4 then last = row[2] end
    out[i] = { row[1], last }
  end
  return out
end

--- Rows of cells as lines: columns aligned, the last one cut at the terminal's edge. colours: one
-- per column, or nil. o.indent: blanks before each row; o.most: rows at most.
function M.rows(rows, colours, o)
  local indent, wide, out = o and o.indent or "", {}, {}
  if M.width < 50 and not M.plain then
    rows, colours = narrow(rows), colours and { colours[1], colours[3] }
  end
  for _, row in ipairs(rows) do
    for i = 1, #row - 1 do wide[i] = math.max(wide[i] or 0, M.columns(row[i])) end
  end
  -- On a narrow terminal names make way for values.
  for i in ipairs(wide) do wide[i] = math.min(wide[i], math.max(3, math.floor(M.width / 2.5))) end
  for n, row in ipairs(rows) do
    if o and o.most and n > o.most then
      out[#out + 1] = indent .. M.paint("dim", ("… and %d more"):format(#rows - o.most))
      break
    end
    local line, used = { indent }, #indent
    for i, cell in ipairs(row) do
      local room = M.width - 1 - used
      if i < #row then
        cell = M.pad(M.cut(cell, wide[i]), wide[i]) .. "  "
      elseif not M.plain then
        cell = M.cut(cell, math.max(room, 4))
      end
      used = used + M.columns(cell)
      line[#line + 1] = colours and colours[i] and M.paint(colours[i], cell) or cell
    end
    out[#out + 1] = (table.concat(line):gsub("%s+$", ""))
  end
  return table.concat(out, "\n")
end

-- Columns without what only colours.
local function visible(text)
  return M.columns((text:gsub("\27%[[%d;]*m", "")))
end

--- Text in lines no longer than the terminal, broken at blanks.
function M.wrap(text, indent)
  indent = indent or ""
  local out, line = {}, indent
  for word in text:gmatch "%S+" do
    if #line > #indent and visible(line) + 1 + visible(word) >= M.width then
      out[#out + 1], line = line, indent
    end
    line = line .. (#line > #indent and " " or "") .. word
  end
  out[#out + 1] = line
  return table.concat(out, "\n")
end

--- A line as it is, where the terminal is wide enough or there is none; else in several.
function M.fold(line)
  if M.plain or visible(line) < M.width then return line end
  return M.wrap(line, line:match "^ *")
end

--- What the first texts of all candidates ({ text, ... }) begin with.
function M.common(list)
  local prefix = list[1][1]
  for i = 2, #list do
    local other, n = list[i][1], 0
    while n < #prefix and n < #other and prefix:byte(n + 1) == other:byte(n + 1) do n = n + 1 end
    prefix = prefix:sub(1, n)
  end
  return prefix
end

return M
