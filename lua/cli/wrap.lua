-- Puts pieces of text (with colours) behind a label, broken into lines that fit the screen.
local term = require "lunate.cli.term"
local width = require "lunate.cli.width"
local find, sub = string.find, string.sub

local M = {}

-- The words of a piece: a line may end behind each.
local function words(text)
  if not find(text, " ", 1, true) then return { text } end
  local list, at = {}, 1
  while at <= #text do
    local stop = find(text, " ", at, true) or #text
    list[#list + 1] = sub(text, at, stop)
    at = stop + 1
  end
  return list
end

-- Trailing blanks of a line are of no use to anybody.
local function finish(line)
  return sub(line, -1) == " " and line:gsub(" +$", "") or line
end

--- add(out, label, indent, pieces, columns, over): appends lines; pieces: text, colour (or false),
--- text, ...; lines behind the first are indented. columns nil: one line, however long. `over`: by
--- how much the label is wider than the indent.
function M.add(out, label, indent, pieces, columns, over)
  if not columns and #pieces == 2 and not pieces[2] then
    out[#out + 1] = finish(label .. pieces[1])
    return
  end
  local room = columns and math.max(8, columns - indent)
  local line, left = label, room and room - (over or 0)
  local empty = true
  local function flush()
    out[#out + 1] = finish(line)
    line, left, empty = (" "):rep(indent), room, true
  end
  local function put(text, colour)
    line, empty = line .. (colour and term.paint(colour, text) or text), false
  end
  local function place(text, colour)
    local n = width.columns(text)
    if n > left and not empty and width.columns(finish(text)) > left then
      flush()
      if sub(text, 1, 1) == " " then text = text:gsub("^ +", "") end
      n = width.columns(text)
    end
    local at = 1
    while n > left and at <= #text do -- longer than a line
      local last, used = width.take(text, left, at, empty)
      put(sub(text, at, last), colour)
      at, n = last + 1, n - used
      if not find(text, "[^ ]", at) then -- blanks that need not be seen
        left = left - used
        return
      end
      flush()
    end
    put(sub(text, at), colour)
    left = left - n
  end
  for i = 1, #pieces, 2 do
    local text, colour = pieces[i], pieces[i + 1]
    if not room then
      put(text, colour)
    else
      for _, word in ipairs(words(text)) do place(word, colour) end
    end
  end
  if not empty or line == label then out[#out + 1] = finish(line) end
end

return M
