-- What of a status document needs somebody: notes { level, text, command }, most urgent first.
-- Levels: 2 a hand, 1 an eye, 0 nothing. Leaves .level in each channel and destination.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"

local M = {}

local calm = { running = true, sending = true, idle = true, connecting = true }
local OLD_S = 60
local START_S, MANY = 2, 3

-- What somebody said about what is wrong, when the engine knows it.
local function because(text)
  return type(text) == "string" and text ~= "" and ": " .. text or ""
end

--- Seconds since an ISO time of the document; nil when it has none.
function M.since(doc, iso)
  local us = type(iso) == "string" and time.parse(iso)
  return us and math.max(0, doc.now - us / 1e6) or nil
end

local function waiting(d)
  local old = type(d.oldest_s) == "number" and d.oldest_s or 0
  return ("%s waiting, the oldest %s"):format(term.number(d.queued), term.age(old)), old
end

-- The first message of a queue is named: of two who do what they read here, the second must not set
-- aside the next one.
local function skip(d, name)
  local first = type(d.first) == "number" and " " .. d.first or ""
  return ("lunate skip %s%s --reason TEXT"):format(name, first)
end

-- What to do about a queue that retries. To set a message aside helps against a message, not
-- against a receiver that is not there.
local function advice(d, name)
  local why = type(d.last_error) == "string" and d.last_error or ""
  local to = type(d.to) == "string" and d.to or ""
  if why:find "^cannot connect" then
    return "is it up, and can we reach it? nc -vz " .. to:gsub(":(%d+)$", " %1")
  elseif why:find "TLS" then
    return "lunate tls check " .. to
  elseif why:find "^no acknowledgement" or why:find "^connection closed" then
    return "ask those who run it what became of the first; to set it aside: " .. skip(d, name)
  end
  return skip(d, name) .. " (sets the first aside)"
end

-- What blocks a destination's queue: level, text, command.
local function blocked(doc, c, d, name)
  local n, old = waiting(d)
  if d.state == "held" then
    return 1, ("%s: held, %s waiting%s"):format(name, term.number(d.queued), because(d.last_error)),
      "lunate release " .. name
  end
  if d.state == "removed" and d.queued > 0 then
    return 2, ("%s: no longer in the script, %s"):format(name, n),
      "put it back into the script to have them sent"
  end
  if d.state == "stopped" and c.state == "stopped" or d.queued == 0 then return 0 end
  local since = M.since(doc, d.retrying_since)
  if since or not calm[d.state] then -- while it tries once more, too
    return old > OLD_S and 2 or 1, ("%s: %s%s, %s%s"):format(name, since and "retrying" or d.state,
      since and since >= 1 and " for " .. term.age(since) or "", n, because(d.last_error)),
      advice(d, name)
  end
  if because(d.last_error):find("cannot be read from the store", 1, true) then
    return 2, ("%s: stuck, %s%s"):format(name, n, because(d.last_error)),
      "lunate verify, then " .. skip(d, name)
  end
  if old > OLD_S then
    return 1, ("%s: slow, %s%s"):format(name, n, because(d.last_error)),
      ("lunate messages %s --state queued"):format(c.name)
  end
  return 0
end

local function script_parked(c)
  local n = c.parked or 0
  for _, d in ipairs(c.destinations or {}) do n = n - (d.parked or 0) end
  return n
end

-- Whether the script that is to run waits for its turn, or for the old one.
local function waits(c) return because(c.waits_for) ~= "" and not tonumber(c.starting_s) end

-- A script starts within milliseconds, as a rule. many: they are told in one line.
local function look_at_start(note, c, many)
  local s = tonumber(c.starting_s)
  if because(c.waits_for) == "" or s and s < START_S or not s and many then return 0 end
  return note(1, ("%s: %s"):format(c.name, c.waits_for), s and "what does it do outside of its "
    .. "functions? after 10 s of processor time, or 60 s, it is ended" or nil)
end

-- True when it was said for all of them.
local function look_at_turns(note, channels)
  local n = 0
  for _, c in ipairs(channels) do n = n + (waits(c) and 1 or 0) end
  if n <= MANY then return false end
  note(1, ("%s wait for their scripts to be started or swapped in"):format(
    term.count(n, "channel")),
    "they take their turns, a few at a time; until a new script runs, the old one goes on")
  return true
end

local function look_at_channel(note, doc, c)
  local list = ("lunate messages %s --state parked"):format(c.name)
  local level = 0
  if c.state == "paused" then
    level = note(1, ("%s: paused, %s waiting%s"):format(c.name, term.number(c.pending or 0),
      because(c.error)), "lunate resume " .. c.name)
  elseif c.state == "stopping" or c.state == "draining" then
    level = note(1, ("%s: %s"):format(c.name, c.state), "lunate start " .. c.name)
  elseif c.state == "stopped" then
    level = note(1, c.name .. ": stopped", "lunate start " .. c.name)
  elseif not calm[c.state] then
    level = note(2, ("%s: %s%s"):format(c.name, c.state, because(c.error)),
      c.listen ~= "" and c.listening == false and c.script ~= ""
      and "the port is tried again every few seconds" or nil)
  elseif because(c.error):find("cannot be read from the store", 1, true) then
    level = note(2, c.name .. because(c.error),
      ("lunate verify, then lunate skip %s --reason TEXT"):format(c.name))
  elseif because(c.error) ~= "" then
    level = note(1, c.name .. because(c.error), "lunate check, then lunate reload " .. c.name)
  end
  if type(c.rolled_back) == "table" then
    local since = M.since(doc, c.rolled_back.since)
    level = math.max(level, note(1, ("%s: rolled back to %s%s%s, on disk is %s"):format(c.name,
      c.rolled_back.to, since and since >= 1 and " " .. term.age(since) .. " ago" or "",
      because(c.rolled_back.reason), c.rolled_back.disk),
      ("mend the files, then lunate reload %s"):format(c.name)))
  end
  local parked = script_parked(c)
  if parked > 0 then
    level = note(2, ("%s: %s parked by the script"):format(c.name, term.count(parked, "message")),
      list)
  end
  c.level = level
end

-- A certificate that ends soon: in words, with the level.
local function look_at_cert(note, doc, name, whose, iso, command)
  local us = type(iso) == "string" and time.parse(iso)
  local left = us and us / 1e6 - doc.now
  if not left or left > 30 * 86400 then return 0 end
  if left < 0 then
    return note(2, ("%s: %s certificate expired %s ago"):format(name, whose, term.age(-left)),
      command)
  end
  return note(left < 7 * 86400 and 2 or 1,
    ("%s: %s certificate expires in %s"):format(name, whose, term.age(left)), command)
end

local function look_at_tls(note, doc, name, tls)
  if type(tls) ~= "table" then return 0 end
  return math.max(
    look_at_cert(note, doc, name, "its", tls.expires, "renew it, then lunate reload"),
    look_at_cert(note, doc, name, "the receiver's", tls.peer_expires, "tell those who run it"))
end

local function look_at_dest(note, doc, c, d)
  local name = c.name .. "/" .. d.name
  d.level = note(blocked(doc, c, d, name))
  if (d.parked or 0) > 0 then
    local text = ("%s: %s parked"):format(name, term.count(d.parked, "message"))
    d.level = math.max(d.level, note(2, text, ("lunate messages %s --state parked"):format(c.name)))
  end
end

-- Alerts mostly tell what stands here anyway: one line for them, and what keeps them from people.
local function look_at_alerts(note, alerts)
  if type(alerts) ~= "table" then return end
  if alerts.state == "down" then
    note(2, "the alerter does not run: no alerts are sent; it is being started again", nil)
  elseif type(alerts.trouble) == "string" and alerts.trouble ~= "" then
    note(2, "alerts do not reach " .. alerts.trouble, "lunate alerts test")
  end
  local n = { firing = 0, silenced = 0, acknowledged = 0 }
  for _, e in ipairs(alerts.firing or {}) do n[e.state] = (n[e.state] or 0) + 1 end
  local quiet = n.silenced + n.acknowledged
  if n.firing + quiet == 0 then return end
  note(1, (n.firing == 1 and "1 alert is firing" or ("%d alerts are firing"):format(n.firing))
    .. (quiet > 0 and (", %d silenced or acknowledged"):format(quiet) or ""), "lunate alerts")
end

local function look_at_audit(note, audit)
  if type(audit) ~= "table" then return end
  if because(audit.failure) ~= "" then
    note(2, "the audit log cannot be written, views are refused" .. because(audit.failure))
  end
  local s = audit.syslog
  if type(s) ~= "table" or because(s.failure) == "" then return end
  local behind, old = s.behind or 0, s.behind_s or 0
  local age = behind > 0 and (", the oldest %s old"):format(term.age(old)) or ""
  note(old > OLD_S and 2 or 1, ("the audit log does not reach its repository, %s behind%s%s")
    :format(term.number(behind), age, because(s.failure)),
    "nothing is lost: it is sent when that is mended")
end

local function look_at_admin(note, doc, admin)
  if type(admin) ~= "table" then return end
  if because(admin.failure) ~= "" then
    local how = admin.listen == "" and "closed" or "as before"
    note(2, "the admin address is " .. how .. because(admin.failure),
      "lunate check, then lunate reload")
  end
  look_at_tls(note, doc, "the admin address", admin.tls)
end

--- The notes of a document (doc.now: seconds since 1970).
function M.look(doc)
  local notes = {}
  local function note(level, text, command)
    if text then
      notes[#notes + 1] = { level = level, text = text, command = command, n = #notes }
    end
    return level
  end
  if type(doc.reload_error) == "string" and doc.reload_error ~= "" then
    local spec = doc.reload_error:match "spec/[%w_%-./]+_spec%.lua"
    local tests = doc.reload_error:find("reload_tests", 1, true)
    note(2, "the last reload was refused: " .. doc.reload_error,
      tests and "lunate test" .. (spec and " " .. spec or "") or "lunate check")
  end
  look_at_alerts(note, doc.alerts)
  look_at_audit(note, doc.audit)
  look_at_admin(note, doc, doc.admin)
  local archive = doc.store and doc.store.archive
  if type(archive) == "table" and because(archive.failure) ~= "" then
    note(2, "the archive has a fault" .. because(archive.failure),
      "what cannot be archived is not trimmed: the store grows until that is mended")
  end
  local many = look_at_turns(note, doc.channels)
  for _, c in ipairs(doc.channels) do
    look_at_channel(note, doc, c)
    c.level = math.max(c.level, look_at_start(note, c, many))
    c.level = math.max(c.level, look_at_tls(note, doc, c.name, c.tls))
    c.worst = c.level
    for _, d in ipairs(c.destinations or {}) do
      look_at_dest(note, doc, c, d)
      d.level = math.max(d.level, look_at_tls(note, doc, c.name .. "/" .. d.name, d.tls))
      c.worst = math.max(c.worst, d.level)
    end
  end
  table.sort(notes, function(a, b)
    if a.level ~= b.level then return a.level > b.level end
    return a.n < b.n
  end)
  return notes
end

return M
