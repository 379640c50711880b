-- The option of verbs that the audit log records: why somebody does it. Those that need a reason
-- define it themselves.
local asks = {}
for name in ([[messages tail show trace resend replay profile backup restore start stop drain pause
  resume hold release step reload]]):gmatch "%S+" do
  asks[name] = true
end

return function(parser, verb)
  if asks[verb] then parser:option("--reason", "why, kept in the audit log") end
end
