-- Entries of the audit log as DICOM audit messages (DICOM PS3.15 A.5), which IHE ATNA takes: codes
-- of DCM (PS3.16 CID 400 to 405), and for what DICOM has no code Lunate's own.
local M = {}

local function code(value, text, system)
  return { value, system or "DCM", text }
end

local application = code("110100", "Application Activity")
local log_used = code("110101", "Audit Log Used")
local export = code("110106", "Export")
local import = code("110107", "Import")
local query = code("110112", "Query")
local alert = code("110113", "Security Alert")
local login = code("110114", "User Authentication")
local record = code("110110", "Patient Record")

-- action -> event id, action code (C R U D E), event type.
local events = {
  ["engine.start"] = { application, "E", code("110120", "Application Start") },
  ["engine.stop"] = { application, "E", code("110121", "Application Stop") },
  show = { record, "R" }, ["repl.get"] = { record, "R" }, edit = { record, "U" },
  messages = { query, "E" }, tail = { query, "E" }, trace = { query, "E" }, replay = { query, "E" },
  profile = { query, "E" }, ["repl.recent"] = { query, "E" }, ["resend.find"] = { query, "E" },
  ["settle.find"] = { query, "E" },
  resend = { export, "R" }, backup = { export, "R" }, restore = { import, "C" },
  login = { login, "E", code("110122", "Login") },
  ["break-glass"] = { alert, "E", code("110127", "Emergency Override Started") },
  ["token.new"] = { alert, "C", code("110136", "Security Roles Changed") },
  ["token.revoke"] = { alert, "D", code("110136", "Security Roles Changed") },
  config = { alert, "E", code("110131", "Software Configuration") },
  reload = { alert, "E", code("110131", "Software Configuration") },
  rollback = { alert, "E", code("110131", "Software Configuration") },
  ["audit.list"] = { log_used, "R" }, ["audit.verify"] = { log_used, "R" },
  ["audit.export"] = { log_used, "R" },
}

local outcomes = { ok = "0", failed = "4", denied = "8" }

local function escape(text)
  return (text:gsub("[%z\1-\8\11\12\14-\31]", "?"):gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;",
    [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function element(name, c)
  return ('<%s csd-code="%s" codeSystemName="%s" originalText="%s"/>'):format(name, escape(c[1]),
    c[2], escape(c[3]))
end

local function event(e)
  local known = events[e.action] or { application, "E", code(e.action, e.action, "lunate") }
  if e.outcome == "denied" then
    known = { alert, "E", code("110132", "Use of Restricted Function") }
  end
  local time = e.time:gsub("Z$", "+00:00")
  return ('<EventIdentification EventActionCode="%s" EventDateTime="%s" '
    .. 'EventOutcomeIndicator="%s">'):format(known[2], time, outcomes[e.outcome] or "4")
    .. element("EventID", known[1])
    .. (known[3] and element("EventTypeCode", known[3]) or "")
    .. (e.text and "<EventOutcomeDescription>" .. escape(e.text) .. "</EventOutcomeDescription>"
      or "") .. "</EventIdentification>"
end

local function participant(e)
  local from = e.from and e.from:match "ssh (%S+)" or e.from
  local point = ""
  if from then
    point = (' NetworkAccessPointID="%s" NetworkAccessPointTypeCode="%s"'):format(escape(from),
      from:find "^[%x.:]+$" and "2" or "5")
  end
  return ('<ActiveParticipant UserID="%s" AlternativeUserID="%s" UserIsRequestor="true"%s>')
    :format(escape(e.user or e.uid and tostring(e.uid) or "lunate"), e.pid or "", point)
    .. (e.role and element("RoleIDCode", code(e.role, e.role, "lunate")) or "")
    .. "</ActiveParticipant>"
end

local function object(id, text, detail)
  local out = ('<ParticipantObjectIdentification ParticipantObjectID="%s" '
    .. 'ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">'):format(escape(id))
    .. element("ParticipantObjectIDTypeCode", code("message", text, "lunate"))
  for _, pair in ipairs(detail or {}) do
    if pair[2] then
      out = out .. ('<ParticipantObjectDetail type="%s" value="%s"/>'):format(pair[1],
        require("lunate.sys").base64(pair[2]))
    end
  end
  return out .. "</ParticipantObjectIdentification>"
end

--- One entry as one XML document, on one line. source: what names this site.
function M.message(e, source)
  local out = { '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>', event(e), participant(e),
    ('<AuditSourceIdentification AuditSourceID="%s">%s</AuditSourceIdentification>'):format(
      escape(source), '<AuditSourceTypeCode csd-code="4"/>') }
  out[#out + 1] = object(e.object or e.action, "object of the entry", { { "action", e.action },
    { "query", e.query }, { "shown", e.shown }, { "reason", e.reason },
    { "entry", ("%.0f"):format(e.seq) }, { "hash", e.hash } })
  out[#out + 1] = "</AuditMessage>"
  return table.concat(out)
end

return M
