-- How verbs end early: fail(status, "what, where, what to do") unwinds to lunate.cli.main, which
-- prints the line on stderr. Statuses: 1 what was asked about is wrong, 2 usage, 3 no engine.
local M = {}

--- Ends the verb with an exit status and one line (which may be nil: already said).
function M.fail(status, text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error(setmetatable({ status = status, text = text }, M), 0)
end

--- Ends the verb because its words or options are wrong.
function M.usage(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error(setmetatable({ status = 2, text = text, usage = true }, M), 0)
end

--- True when an error value is one of ours.
function M.is(value)
  return getmetatable(value) == M
end

return M
