-- Weighs the rules: what of a status document is as it should not be. Gives events
-- { rule, kind, subject, text, cause, to, after }: `cause` is what they are grouped by, so that ten
-- queues of one dead receiver make one message. Texts hold names, numbers and states; nothing of a
-- message, and nothing that a receiver or a script said (it may quote a message).
local units = require "lunate.alerts.units"
local time = require "lunate.cli.time"

local M = {}

local function number(v) return type(v) == "number" and v or 0 end

local function seconds(iso)
  local us = type(iso) == "string" and time.parse(iso)
  return us and us / 1e6 or nil
end

local function matches(list, ...)
  for _, pattern in ipairs(list) do
    for _, name in ipairs { ... } do
      if name:find(pattern) then return true end
    end
  end
  return false
end

-- Whether a rule is about CHANNEL, or CHANNEL/DEST.
local function concerns(rule, channel, dest)
  local full = dest and channel .. "/" .. dest or channel
  if rule.only and not matches(rule.only, channel, full) then return false end
  return not (rule.except and matches(rule.except, channel, full))
end

-- What holds up a destination: its receiver's address, when that is what cannot be reached.
local function cause_of(x, c, d, rule)
  if x.store_ill then return "store" end
  if x.down[c.name] then return "channel " .. c.name end
  if d and d.retrying_since and type(d.retrying_since) == "string" and type(d.to) == "string" then
    return "receiver " .. (d.to:match "^(.*):%d+$" or d.to)
  end
  return "rule " .. rule.name
end

local function each_dest(x, rule, fn)
  for _, c in ipairs(x.doc.channels) do
    for _, d in ipairs(c.destinations or {}) do
      if concerns(rule, c.name, d.name) then fn(c, d, c.name .. "/" .. d.name) end
    end
  end
end

local function each_channel(x, rule, fn)
  for _, c in ipairs(x.doc.channels) do
    if concerns(rule, c.name) then fn(c) end
  end
end

local kinds = {}

function kinds.queue_age(x, rule, add)
  local most = tonumber(rule.limit)
  each_dest(x, rule, function(c, d, name)
    if number(d.queued) > 0 and number(d.oldest_s) > most then
      add(name, ("%s: %d queued, the oldest waits %s (%s)"):format(name, d.queued,
        units.span(d.oldest_s), d.state), cause_of(x, c, d, rule))
    end
  end)
end

function kinds.queue_depth(x, rule, add)
  local most = tonumber(rule.limit)
  each_dest(x, rule, function(c, d, name)
    if number(d.queued) > most then
      add(name, ("%s: %d queued (%s)"):format(name, d.queued, d.state), cause_of(x, c, d, rule))
    end
  end)
  each_channel(x, rule, function(c)
    if number(c.pending) > most then
      add(c.name, ("%s: %d wait for the script (%s)"):format(c.name, c.pending, c.state),
        cause_of(x, c, nil, rule))
    end
  end)
end

function kinds.silence(x, rule, add)
  each_channel(x, rule, function(c)
    if c.listen == "" or c.state ~= "running" then return end -- from another channel, or not on
    local text
    if rule.limit == "learned" then
      text = x.usual:unusual(c.name, x.now)
    else
      local last = x.usual:last_in(c.name)
      local quiet = last and x.now - last
      if quiet and quiet > tonumber(rule.limit) then
        text = ("nothing received for %s"):format(units.span(quiet))
      end
    end
    if text then add(c.name, c.name .. ": " .. text, cause_of(x, c, nil, rule)) end
  end)
end

function kinds.error_rate(x, rule, add)
  each_channel(x, rule, function(c)
    local received, bad = x.rates:of(c.name, rule.window, x.now)
    if received and received >= rule.least and bad * 100 > received * tonumber(rule.limit) then
      local text = "%s: %d of %d messages (%d%%) failed in the script or were no HL7, in %s"
      add(c.name, text:format(c.name, bad, received, bad * 100 / received,
        units.span(rule.window)), cause_of(x, c, nil, rule))
    end
  end)
end

-- A channel's count of parked messages has its destinations' in it.
function kinds.parked(x, rule, add)
  local most = tonumber(rule.limit)
  each_channel(x, rule, function(c)
    local own = number(c.parked)
    for _, d in ipairs(c.destinations or {}) do own = own - number(d.parked) end
    if own > most then
      add(c.name, ("%s: %d parked by the script"):format(c.name, own), cause_of(x, c, nil, rule))
    end
  end)
  each_dest(x, rule, function(c, d, name)
    if number(d.parked) > most then
      add(name, ("%s: %d parked"):format(name, d.parked), cause_of(x, c, nil, rule))
    end
  end)
end

-- Why no connection comes about is said by the system or by OpenSSL, not by a receiver's message.
local plain_reasons = { "cannot connect", "no TLS with", "connection closed",
  "no acknowledgement", "the receiver did not finish the TLS" }

local function why(d)
  local text = type(d.last_error) == "string" and d.last_error or ""
  for _, begin in ipairs(plain_reasons) do
    if text:sub(1, #begin) == begin then return ": " .. text:match "^[^;]*" end
  end
  return ""
end

function kinds.disconnected(x, rule, add)
  local most = tonumber(rule.limit)
  each_dest(x, rule, function(c, d, name)
    local since = seconds(d.retrying_since)
    if since and d.state ~= "held" and x.now - since > most then
      add(name, ("%s: %s has not taken a message for %s, %d queued%s"):format(name, d.to,
        units.span(x.now - since), number(d.queued), why(d)), cause_of(x, c, d, rule))
    end
  end)
end

local function certificate(x, rule, add, name, whose, iso)
  local ends = seconds(iso)
  local left = ends and ends - x.now
  if not left or left > tonumber(rule.limit) then return end
  add(name .. (whose == "its" and "" or " (receiver)"), left < 0
    and ("%s: %s certificate expired %s ago"):format(name, whose, units.span(-left))
    or ("%s: %s certificate expires in %s"):format(name, whose, units.span(left)),
    "rule " .. rule.name)
end

function kinds.certificate(x, rule, add)
  local admin = x.doc.admin
  if type(admin) == "table" and type(admin.tls) == "table" then
    certificate(x, rule, add, "admin", "its", admin.tls.expires)
  end
  each_channel(x, rule, function(c)
    if type(c.tls) == "table" then certificate(x, rule, add, c.name, "its", c.tls.expires) end
  end)
  each_dest(x, rule, function(_, d, name)
    if type(d.tls) ~= "table" then return end
    certificate(x, rule, add, name, "its", d.tls.expires)
    certificate(x, rule, add, name, "the receiver's", d.tls.peer_expires)
  end)
end

function kinds.disk_free(x, rule, add)
  local free, all = x.disk_free, x.disk_size
  if not free or all == 0 then return end
  local share = rule.limit:match "^(.*)%%$"
  if share and free * 100 < all * share or not share and free < tonumber(rule.limit) then
    add("disk", ("the store's disk has %s free of %s (%d%%)"):format(units.size(free),
      units.size(all), free * 100 / all), "store")
  end
end

-- What the hub says of a channel that is not as it should be: its own words, none of a message's.
local function channel_why(c)
  local text = type(c.error) == "string" and c.error or ""
  return text ~= "" and c.state ~= "stopped" and ": " .. text:sub(1, 200) or ""
end

function kinds.channel_down(x, rule, add)
  each_channel(x, rule, function(c)
    if x.down[c.name] then
      add(c.name, ("%s: %s%s"):format(c.name, c.state == "running" and "does not listen" or c.state,
        channel_why(c)), x.store_ill and "store" or "channel " .. c.name)
    end
  end)
end

function kinds.store(x, rule, add)
  local kept = x.doc.store or {}
  local failure = type(kept.failure) == "string" and kept.failure or ""
  if x.store_ill then
    add("store", ("the store takes no messages (%s): senders are answered AR"):format(
      failure ~= "" and failure or x.doc.state), "store")
  end
  local function look(name, text)
    if type(text) == "string" and text:find("cannot be read from the store", 1, true) then
      add(name, name .. ": " .. text, "store damaged")
    end
  end
  for _, c in ipairs(x.doc.channels) do
    look(c.name, c.error)
    for _, d in ipairs(c.destinations or {}) do look(c.name .. "/" .. d.name, d.last_error) end
  end
  local archive = type(kept.archive) == "table" and kept.archive.failure
  if type(archive) == "string" and archive ~= "" then
    add("archive", "the archive has a fault (what is not in it is not trimmed): " .. archive,
      "rule " .. rule.name)
  end
end

-- The audit log cannot be written (nothing can be viewed), or does not arrive where it is kept.
function kinds.audit_behind(x, rule, add)
  local audit = type(x.doc.audit) == "table" and x.doc.audit or {}
  local failure = type(audit.failure) == "string" and audit.failure or ""
  if failure ~= "" then
    add("audit", "the audit log cannot be written, views are refused: " .. failure,
      "rule " .. rule.name)
  end
  local s = type(audit.syslog) == "table" and audit.syslog
  if s and number(s.behind_s) > tonumber(rule.limit) then
    local reason = type(s.failure) == "string" and s.failure or ""
    add("audit syslog", ("%d entries of the audit log have not reached their repository, the "
      .. "oldest for %s%s"):format(number(s.behind), units.span(s.behind_s),
      reason ~= "" and ": " .. reason or ""), "rule " .. rule.name)
  end
end

-- on_error = "stop": paused like a channel that somebody paused, but nobody did (core/hub/work.c).
local function stopped_itself(c)
  return c.state == "paused" and type(c.error) == "string"
    and c.error:find('(on_error = "stop")', 1, true) ~= nil
end

local calm = { running = true, paused = true, stopping = true, draining = true }

--- look(x, settings): events. x: now, doc, usual, rates, disk_free, disk_size; doc nil: the engine
-- gave none (x.why says why), and nothing else can be said.
function M.look(x, settings)
  local events = {}
  x.down, x.store_ill = {}, false
  if x.doc then
    x.store_ill = x.doc.state == "store failing" or x.doc.state == "store full"
    for _, c in ipairs(x.doc.channels) do
      x.down[c.name] = not calm[c.state] or stopped_itself(c)
        or c.state == "running" and c.listen ~= "" and c.listening == false
    end
  end
  for _, rule in ipairs(settings.rules) do
    local function add(subject, text, cause)
      events[#events + 1] = { rule = rule.name, kind = rule.kind, subject = subject, text = text,
        cause = cause, to = rule.to, after = rule.after }
    end
    if rule.kind == "engine" then
      if not x.doc then
        add("engine", "the engine does not answer: " .. tostring(x.why), "engine")
      end
    elseif x.doc then
      kinds[rule.kind](x, rule, add)
    end
  end
  return events
end

return M
