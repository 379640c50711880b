-- Notices on their way to targets: one at a time per target, each in a process of its own, tried
-- again with back-off for a day, at most `per_hour` messages an hour. Over that, what is due is
-- gathered and goes out as one digest as soon as there is room.
--
-- state.outbox[target][id]: { notice, attempts, next, since }. It is on disk before a try, and
-- taken out after the target has taken it: after a crash a message may come twice, with the same
-- Message-ID or id.
local wire = require "lunate.wire"
local compose = require "lunate.alerts.compose"

local M = {}
local Outbox = {}
Outbox.__index = Outbox

local HOUR, DAY = 3600, 86400
local kept = { "status", "id", "cause", "times", "since", "at", "next", "items", "ended" }

--- new(state, about, log): about has site, host, path, folder.
function M.new(state, about, log)
  return setmetatable({ state = state, about = about, log = log, flying = {}, trouble = {},
    held = {}, sent = 0, failed = 0 }, Outbox)
end

--- Takes a notice. A newer one of the same alert takes the place of what has not gone out yet.
function Outbox:put(notice)
  for _, name in ipairs(notice.to) do
    local box = self.state.outbox[name] or {}
    self.state.outbox[name] = box
    local old = box[notice.id]
    if old and notice.status == "resolved" then -- never told: it is told with its end
      local ended = {}
      for _, list in ipairs { old.notice.ended, notice.ended } do
        for _, e in ipairs(list) do ended[#ended + 1] = e end
      end
      notice = setmetatable({ ended = ended }, { __index = notice })
    end
    local copy = {}
    for _, k in ipairs(kept) do copy[k] = notice[k] end
    box[notice.id] = { notice = copy, attempts = old and old.attempts or 0, next = 0,
      since = old and old.since or notice.at }
  end
end

-- Messages that a target had within the hour.
local function within_hour(list, now)
  while list[1] and list[1] <= now - HOUR do table.remove(list, 1) end
  return #list
end

-- When the next may go to a target that has had these: the last quarter of an hour's messages is
-- kept for what comes later, so that something new is told within minutes, and not an hour later.
local function opens(list, per_hour, now)
  local had, spare = within_hour(list, now), math.floor(per_hour / 4)
  if had >= per_hour then return list[1] + HOUR end
  if had < per_hour - spare then return now end
  return math.max(now, list[had] + HOUR / (spare + 1))
end

local function due(box, now)
  local ids = {}
  for id, m in pairs(box) do
    if m.next <= now then ids[#ids + 1] = id end
  end
  table.sort(ids, function(a, b)
    if box[a].since ~= box[b].since then return box[a].since < box[b].since end
    return a < b
  end)
  return ids
end

-- What a sender needs to know of a target and a message.
local function request(target, about, notices, id)
  local pairs_of = {}
  local function add(name, value)
    if value then
      pairs_of[#pairs_of + 1] = name
      pairs_of[#pairs_of + 1] = tostring(value)
    end
  end
  local function path(p) return p and (p:sub(1, 1) == "/" and p or about.path .. "/" .. p) end
  add("kind", target.kind)
  add("site", about.path)
  add("timeout", math.floor(tonumber(target.timeout)))
  add("ca", path(target.ca))
  if target.kind == "mail" then
    add("url", target.smtp)
    for _, name in ipairs { "from", "to", "user", "password", "tls" } do add(name, target[name]) end
    add("password_file", path(target.password_file))
    add("body", compose.mail(notices, about, target, id))
  elseif target.kind == "webhook" then
    add("url", target.url)
    local headers = {}
    if target.token then headers[1] = "Authorization: Bearer " .. target.token end
    headers[#headers + 1] = target.secret_headers
    add("headers", headers[1] and table.concat(headers, "\n"))
    add("body", compose.json(notices, about))
  else
    for word in target.command:gmatch "[^\n]+" do add("arg", word) end
    add("id", id)
    add("status", #notices == 1 and notices[1].status or "digest")
    add("title", compose.title(notices, about.site))
    add("host", about.host)
    add("body", compose.json(notices, about) .. "\n")
  end
  return wire.pack("4" .. ("b"):rep(#pairs_of), #pairs_of, unpack(pairs_of))
end

--- Starts a sender; a flight to be looked at with M.look; nil, why.
function M.launch(target, about, notices, id, now)
  local stream, err = wire.spawn "alert-send"
  if not stream then return nil, err end
  local ok, why = stream:send(wire.REQUEST, request(target, about, notices, id))
  if not ok then return nil, why end
  return { stream = stream, till = now + tonumber(target.timeout) + 5 }
end

--- How a flight ended: true, or false and why; nil while it is under way.
function M.look(flight, now)
  local kind, payload = flight.stream:receive(0.001)
  if not kind and payload == "timeout" then
    if now < flight.till then return nil end
    payload = "it took too long"
  end
  flight.stream:close()
  if kind ~= wire.REPLY then return false, "the sender ended: " .. tostring(payload) end
  local _, status, text = wire.unpack("1b", payload)
  return status == 0, text
end

-- What the message says that is the last one before they are gathered.
local function note(had, per_hour, now)
  local spare = math.floor(per_hour / 4)
  if had + 1 ~= per_hour - spare and had + 1 ~= per_hour then return nil end
  return ("This is the last message for now: so many were sent within an hour (alerts.per_hour). "
    .. "What comes is gathered and sent when there is room again (after %s at the latest)."):format(
    os.date("%H:%M", now + (had + 1 < per_hour and HOUR / (spare + 1) or HOUR)))
end

function Outbox:launch(name, target, ids, about_note, now)
  local box, notices = self.state.outbox[name], {}
  for i, id in ipairs(ids) do notices[i] = box[id].notice end
  local about = setmetatable({ note = about_note }, { __index = self.about })
  local n = notices[1]
  local id = ("%s.%s.%d"):format(n.id, n.status, #ids > 1 and #ids + 1000 or n.times or 1)
  local flight, err = M.launch(target, about, notices, id, now)
  if not flight then
    self.log("error", "not_sent", ('target=%s why="%s"'):format(name, err))
    return
  end
  flight.ids, flight.sent = ids, {}
  for i, one in ipairs(ids) do flight.sent[i] = box[one] end
  self.flying[name] = flight
end

local function land(self, name, flight, ok, why, now)
  local box = self.state.outbox[name] or {}
  self.flying[name] = nil
  if ok then
    self.sent = self.sent + 1
    local list = self.state.sent[name] or {}
    self.state.sent[name] = list
    list[#list + 1] = now
    for i, id in ipairs(flight.ids) do
      if box[id] == flight.sent[i] then box[id] = nil end -- else a newer one took its place
    end
    if self.trouble[name] then self.log("info", "sends_again", "target=" .. name) end
    self.trouble[name] = nil
    return
  end
  self.failed = self.failed + 1
  self.trouble[name] = why
  for _, id in ipairs(flight.ids) do
    local m = box[id]
    if m then
      m.attempts = m.attempts + 1
      m.next = now + math.min(300, 10 * 2 ^ (m.attempts - 1))
      if now - m.since > DAY then box[id] = nil end
    end
  end
  self.log("error", "not_sent", ('target=%s why="%s"'):format(name, why:gsub('[%c"]', " ")))
end

--- Looks at what is under way and starts what is due. save() is called before anything is sent;
-- returns whether the state changed.
function Outbox:pump(settings, now, save)
  local changed = false
  for name, flight in pairs(self.flying) do
    local ok, why = M.look(flight, now)
    if ok ~= nil then
      land(self, name, flight, ok, why, now)
      changed = true
    end
  end
  for name, box in pairs(self.state.outbox) do
    local target = settings.targets[name]
    if not target then
      self.state.outbox[name], changed = nil, true -- it was taken out of the site
    elseif not self.flying[name] and next(box) then
      local list = self.state.sent[name] or {}
      local ids, open = due(box, now), opens(list, settings.per_hour, now)
      if #ids > 0 and open <= now then
        if self.held[name] or #ids > 3 then -- all in one
          self.log("info", "digest", ("target=%s alerts=%d"):format(name, #ids))
        else
          ids = { ids[1] }
        end
        if save then save() end
        self:launch(name, target, ids, note(#list, settings.per_hour, now), now)
      end
      self.held[name] = #ids > 0 and open > now and open or nil
    else
      self.held[name] = nil
    end
  end
  return changed
end

--- Whether anything is under way.
function Outbox:busy()
  return next(self.flying) ~= nil
end

--- That a target gets nothing at the moment, and until when; nil when it does.
function Outbox:held_back(name)
  local till = self.held[name]
  return till and ("held back until %s, so many were sent within an hour (alerts.per_hour)"):format(
    os.date("%H:%M", till))
end

--- Why alerts do not reach people: one line, "" when they do.
function Outbox:why()
  local list = {}
  for name, why in pairs(self.trouble) do list[#list + 1] = name .. ": " .. why end
  for name in pairs(self.held) do
    if not self.trouble[name] then list[#list + 1] = name .. ": " .. self:held_back(name) end
  end
  table.sort(list)
  return table.concat(list, "; ")
end

--- The settings changed: what targets that are gone had to complain of is forgotten.
function Outbox:forget_trouble(settings)
  for name in pairs(self.trouble) do
    if not settings.targets[name] then self.trouble[name] = nil end
  end
end

return M
