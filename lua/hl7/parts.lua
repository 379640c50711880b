-- A message taken apart into plain strings and put together again: what tools need that touch every
-- field. Scripts use the message object; this is quicker when all of a message is wanted.
local find, sub, concat = string.find, string.sub, table.concat

local M = {}

--- The pieces of text between the (one-byte) separators; the whole of it when there is none.
function M.split(text, separator)
  if not separator or not find(text, separator, 1, true) then return { text } end
  local list, n, at = {}, 0, 1
  while true do
    local stop = find(text, separator, at, true)
    n = n + 1
    if not stop then
      list[n] = sub(text, at)
      return list
    end
    list[n] = sub(text, at, stop - 1)
    at = stop + 1
  end
end
local split = M.split

--- The segments of a wire form (CR behind each), as strings.
function M.lines(wire)
  if sub(wire, -1) == "\r" then wire = sub(wire, 1, -2) end
  return split(wire, "\r")
end

--- True for the names of segments whose field 1 is the separator itself.
function M.is_header(name)
  return name == "MSH" or name == "BHS" or name == "FHS"
end

--- One segment: { name = "PID", [1] = raw field, ... }. Of a header segment, [1] is the separator
-- and [2] the encoding characters.
function M.fields(line, separator)
  local name = sub(line, 1, 3)
  if M.is_header(name) and sub(line, 4, 4) == separator then
    if #line == 4 then return { name = name, header = true, separator } end
    local list = split(sub(line, 5), separator)
    table.insert(list, 1, separator)
    list.name, list.header = name, true
    return list
  end
  local list = split(line, separator)
  list.name = table.remove(list, 1)
  return list
end

--- The other way round.
function M.line(segment, separator)
  if #segment == 0 then return segment.name end
  if segment.header then
    return segment.name .. separator .. concat(segment, separator, 2)
  end
  return segment.name .. separator .. concat(segment, separator)
end

--- All segments of a message object, and its delimiters.
function M.message(msg)
  local d = msg:delimiters()
  local list = M.lines(tostring(msg))
  for i, line in ipairs(list) do list[i] = M.fields(line, d.field) end
  return list, d
end

--- The wire form of such a list.
function M.wire(list, separator)
  local out = {}
  for i, segment in ipairs(list) do out[i] = M.line(segment, separator) end
  out[#out + 1] = ""
  return concat(out, "\r")
end

return M
