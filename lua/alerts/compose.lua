-- An alert's words: a title, a text for mail, a JSON document for webhooks and commands.
local json = require "lunate.cli.json"
local units = require "lunate.alerts.units"
local sys = require "lunate.sys"

local M = {}

local MOST = 30 -- items in a text: one message tells of a flood, and is none

local function clock(t) return os.date("%Y-%m-%d %H:%M:%S %Z", t) end

local function count(n, what) return n == 1 and "1 " .. what or ("%d %ss"):format(n, what) end

-- "parked: 3 things, the first ..." in one line.
local function gist(n)
  local list = #n.items > 0 and n.items or n.ended
  local first = list[1] and list[1].text or n.cause
  if #list > 1 then return ("%s (and %d more)"):format(first, #list - 1) end
  return first
end

--- The title of a notice (or of a digest of several).
function M.title(notices, site)
  local n = notices[1]
  if #notices > 1 then
    return ("[%s] %s"):format(site, count(#notices, "alert"))
  elseif n.status == "test" then
    return ("[%s] test: alerts reach this place"):format(site)
  elseif n.status == "resolved" then
    return ("[%s] resolved: %s"):format(site, gist(n))
  end
  return ("[%s] %s"):format(site, gist(n))
end

local function add_list(add, head, list, line)
  if #list == 0 then return end
  add(head)
  for i = 1, math.min(#list, MOST) do add("  " .. line(list[i])) end
  if #list > MOST then add(("  and %d more: lunate alerts"):format(#list - MOST)) end
  add ""
end

local function body(n, add)
  if n.status == "test" then
    add("This is a test. Nothing is wrong; alerts of this site reach this place.")
    add ""
    return
  end
  add_list(add, "Firing:", n.items, function(e)
    return ("%s  (rule %s, since %s)"):format(e.text, e.rule, clock(e.since))
  end)
  add_list(add, "Over:", n.ended, function(e)
    return ("%s  (rule %s, %s, lasted %s)"):format(e.text, e.rule, clock(e.since),
      units.span(math.max(0, (e.till or n.at) - e.since)))
  end)
  if n.status == "firing" and n.next then
    add(("Message %d of this alert; the next at %s if it goes on."):format(n.times, clock(n.next)))
    add(("No more of it: lunate alerts ack %s --reason TEXT"):format(n.id))
  end
end

--- The text of one notice or of a digest. about: site (its name), host, path, note.
function M.text(notices, about)
  local lines = {}
  local function add(text) lines[#lines + 1] = text end
  for i, n in ipairs(notices) do
    if #notices > 1 then add(("%d. %s"):format(i, M.title({ n }, about.site))) end
    body(n, add)
  end
  if about.note then add(about.note) end
  add ""
  add(("Site %s on %s (%s). lunate status, lunate alerts and docs/runbooks.md say more."):format(
    about.site, about.host, about.path))
  return table.concat(lines, "\n")
end

local function iso(t) return t and sys.iso(t * 1e6) or nil end

local function event(e)
  return json.object("rule", e.rule, "kind", e.kind, "subject", e.subject, "text", e.text, "since",
    iso(e.since), "ended", iso(e.till))
end

local function events(list)
  local out = {}
  for i = 1, math.min(#list, 200) do out[i] = event(list[i]) end
  return json.list(out)
end

--- The JSON document of one notice or of a digest.
function M.json(notices, about)
  local list = {}
  for i, n in ipairs(notices) do
    list[i] = json.object("id", n.id, "status", n.status, "cause", n.cause, "since", iso(n.since),
      "times", n.times, "firing", events(n.items), "over", events(n.ended))
  end
  return json.encode(json.object("site", about.site, "host", about.host, "status",
    #notices == 1 and notices[1].status or "digest", "id", notices[1].id, "title",
    M.title(notices, about.site), "at", iso(notices[1].at), "note", about.note, "alerts",
    json.list(list)))
end

-- A header's value in ASCII: encoded words of RFC 2047 where it is not.
local function encoded(text)
  text = text:gsub("%c", " ")
  if not text:find "[\128-\255]" then return text:sub(1, 300) end
  local parts = {}
  for piece in text:sub(1, 300):gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    local last = parts[#parts]
    if last and #last + #piece <= 42 then
      parts[#parts] = last .. piece
    else
      parts[#parts + 1] = piece
    end
  end
  for i, p in ipairs(parts) do parts[i] = "=?UTF-8?B?" .. sys.base64(p) .. "?=" end
  return table.concat(parts, "\r\n ")
end

--- A mail as SMTP takes it. target: from, to (lines); id: of this very message.
function M.mail(notices, about, target, id)
  local domain = target.from:match "@(.*)$"
  local head = {
    "Date: " .. os.date("!%a, %d %b %Y %H:%M:%S +0000", notices[1].at),
    "From: Lunate <" .. target.from .. ">",
    "To: " .. target.to:gsub("\n", ",\r\n "),
    "Subject: " .. encoded(M.title(notices, about.site)),
    ("Message-ID: <%s@%s>"):format(id, domain),
    "Auto-Submitted: auto-generated",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: base64",
  }
  local coded = sys.base64(M.text(notices, about) .. "\n"):gsub(("."):rep(76), "%0\r\n")
  return table.concat(head, "\r\n") .. "\r\n\r\n" .. coded .. "\r\n"
end

return M
