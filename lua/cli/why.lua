-- Options of the verbs that the audit log records: why somebody does it, and that it is an
-- emergency. Those that need a reason define it themselves.
local M = {}

-- The reason is a word of their request.
M.own = { skip = true, settle = true, reposition = true, rollback = true }
local asks = {}
for name in ([[messages tail show trace resend replay profile backup restore start stop drain pause
  resume hold release step reload]]):gmatch "%S+" do
  asks[name] = true
end

--- Adds the options to a verb's parser.
function M.define(parser, verb)
  if asks[verb] then parser:option("--reason", "why, kept in the audit log") end
  if asks[verb] or M.own[verb] then
    parser:flag("--break-glass", "an emergency: rights for 15 minutes; needs --reason")
  end
end

return M
