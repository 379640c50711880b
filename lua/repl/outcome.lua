-- What `.run` shows: what the filter said, per destination what goes out as a difference to what
-- came in, field by field.
local hl7 = require "hl7"
local diff = require "lunate.hl7.diff"
local diff_text = require "lunate.cli.diff_text"
local readable = require "lunate.repl.readable"
local text = require "lunate.repl.text"
local paint, printable = text.paint, text.printable

local M = {}
local MOST = 100 -- lines of a difference

-- A message of these bytes in UTF-8, for people; nil when they are none.
local function for_people(bytes)
  local msg = hl7.parse(bytes)
  return msg and hl7.parse(readable(msg))
end

--- The difference of two messages as text.
function M.diff(before, after)
  local a, b = for_people(before), for_people(after)
  if not a or not b then return "  " .. printable(after) end
  local columns = not text.plain and text.width - 3 or nil
  local lines = diff_text.lines(diff.diff(a, b), b.version, columns)
  if #lines == 0 then return "  the same but for how it is written" end
  if #lines > MOST then
    local more = #lines - MOST
    for i = #lines, MOST + 1, -1 do lines[i] = nil end
    lines[#lines + 1] = ("… and %d more lines"):format(more)
  end
  for i, line in ipairs(lines) do
    if columns and not line:find "^ " then lines[i] = text.cut(line, columns) end
  end
  return "  " .. table.concat(lines, "\n  ")
end

local function milliseconds(us)
  return us < 1000 and ("%d us"):format(us) or ("%.1f ms"):format(us / 1000)
end

local function one_output(item, before, shown)
  local to = paint("bold", "-> " .. item.dest)
  if item.kind == "filtered" then
    return ("%s: %s: %s"):format(to, paint("yellow", "filtered"),
      item.reason ~= "" and printable(item.reason) or "its filter gave no reason")
  elseif item.kind == "error" then
    return ("%s: %s: %s"):format(to, paint("red", "error"), printable(item.reason))
  elseif item.raw == before then
    return to .. ": as received"
  elseif shown[item.raw] then
    return ("%s: the same as to %s"):format(to, shown[item.raw])
  end
  shown[item.raw] = item.dest
  return to .. "\n" .. M.diff(before, item.raw)
end

--- The text of a result (lunate.repl.child) on `before`; o.filter: the channel has a filter.
function M.text(r, before, o)
  local out, shown = {}, {}
  if r.state == "filtered" then
    return text.fold(("%s: %s"):format(paint("yellow", "filtered"),
      r.reason ~= "" and printable(r.reason) or "the filter gave no reason"))
  end
  if r.state ~= "done" then return paint("red", "error: ") .. printable(r.reason, true) end
  out[1] = text.fold(("%s in %s"):format(o.filter and "passed the filter, done" or
    "done (there is no filter)", milliseconds(r.duration_us)))
  for _, item in ipairs(r.outputs) do out[#out + 1] = one_output(item, before, shown) end
  if #r.outputs == 0 then out[#out + 1] = "nothing goes out" end
  return table.concat(out, "\n")
end

return M
