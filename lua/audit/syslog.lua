-- Messages of RFC 5424, framed as RFC 5425 wants it (their length in bytes, a blank, the message),
-- as IHE ITI-20 (ATNA) has them: facility 10, severity 5, the document behind a byte order mark.
local atna = require "lunate.cli.atna"

local M = {}

local PRI, BOM = 10 * 8 + 5, "\239\187\191"

-- PRINTUSASCII, or "-".
local function word(text, most)
  text = tostring(text or ""):gsub("[^\33-\126]", "_"):sub(1, most)
  return text ~= "" and text or "-"
end

local function frame(time, host, pid, id, text)
  local m = ("<%d>1 %s %s lunate %s %s - %s%s"):format(PRI, word(time, 32), word(host, 255),
    word(pid, 128), id, BOM, text)
  return ("%d %s"):format(#m, m)
end

--- An entry of the log. host: our name; source: what names this site.
function M.entry(e, host, source)
  return frame(e.time, host, e.pid, "IHE+RFC-3881", atna.message(e, source))
end

--- The signed head, in the words that `audit verify --syslog` knows. site: its path.
function M.head(text, host, pid, site)
  local time = text:match "time=(%S+)"
  return frame(time, host, pid, "LUNATE+HEAD", ("audit head site=%s %s"):format(site, text))
end

return M
