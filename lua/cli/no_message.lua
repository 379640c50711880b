-- Why there is no message in a text: for verbs over files, when they have found none.
local hl7 = require "hl7"

--- "no message found: ...": what is wrong with the first line that nearly begins one. where: what
-- that line is called, when the text is not the whole of the file.
return function(text, where)
  local at, head = ("\n" .. text):match "[\r\n\v\191][ \t]*()(MSH[^\r\n]*)"
  local _, err = hl7.parse((head or "MSH|^") .. "\r")
  if not err then return "no message found: no line starts with MSH" end
  local _, before = text:sub(1, at - 2):gsub("\r\n", "\n"):gsub("[\r\n]", "")
  return ("no message found: %s starts with MSH, but has %s (as in MSH|^~\\&|)"):format(
    where or "line " .. before + 1, (tostring(err):gsub("^byte %d+: ", "")))
end
