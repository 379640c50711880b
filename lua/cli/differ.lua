-- Two messages compared segment by segment, for people (the engine is lunate.hl7.diff).
local diff = require "lunate.hl7.diff"

local M = {}

--- The segments of a message, whatever ends them.
function M.segments(raw)
  local list = {}
  for segment in raw:gmatch "[^\r\n]+" do list[#list + 1] = segment end
  return list
end

--- Lines "  SEG" (the same), "- SEG" (before), "+ SEG" (after).
M.lines = diff.lines

return M
