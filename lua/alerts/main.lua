-- The alerter's loop (core/role/alerter.c): every few seconds a status document, the rules over it,
-- what is new into the outbox, senders for what is due; between that what the hub says. All state
-- is on disk before it matters: a kill -9 loses nothing and at most repeats one message.
local wire = require "lunate.wire"
local beside = require "lunate.beside"
local core = require "lunate.alerter"
local sys = require "lunate.sys"
local json = require "json"
local settings_of = require "lunate.alerts.settings"
local rules = require "lunate.alerts.rules"
local track = require "lunate.alerts.track"
local rates = require "lunate.alerts.rates"
local usual = require "lunate.alerts.usual"
local outbox = require "lunate.alerts.outbox"
local answers = require "lunate.alerts.answers"

local STATE, USUAL = "alerts.json", "alerts-usual.txt"
local USUAL_EVERY = 300

local A = { tests = {} } -- the alerter

local function log(level, event, text)
  local levels = { debug = 0, info = 1, warn = 2, error = 3 }
  A.hub:send(wire.LOG, wire.pack("81bb", 0, levels[level], event, text))
end

local function read(name)
  local f = io.open(A.folder .. "/" .. name, "rb")
  if not f then return nil end
  local text = f:read "*a"
  f:close()
  return text
end

local function keep(name, text)
  local ok, why = core.replace(A.folder, name, text)
  if not ok and not A.complained then
    log("error", "not_kept", ('file=%s why="%s"'):format(name, why))
  end
  A.complained = not ok
end

-- A state that cannot be read is begun anew: what is firing is told again.
local function read_state()
  local text = read(STATE)
  local ok, t = pcall(json.decode, text or "")
  local state = track.new()
  if ok and type(t) == "table" then
    for key, value in pairs(state) do
      if type(t[key]) == type(value) then state[key] = t[key] end
    end
  elseif text then
    log("warn", "state_unreadable", "file=" .. STATE .. " begun=anew")
  end
  return state
end

function A.save()
  keep(STATE, json.encode(A.state))
end

-- ---- the hub ------------------------------------------------------------------------------------

local function take_settings(payload)
  local all, at = {}, 1
  while at <= #payload do
    local behind, key, value = wire.unpack("bb", payload, at)
    all[key], at = value, behind
  end
  A.settings = settings_of(all)
  A.about.site = A.settings.site or A.site:match "[^/]+$" or "lunate"
  A.window = 0
  for _, rule in ipairs(A.settings.rules) do A.window = math.max(A.window, rule.window or 0) end
  if A.outbox then A.outbox:forget_trouble(A.settings) end
  A.next = 0
end

local function report()
  local list = track.firing(A.state, sys.now())
  local n = math.min(#list, 500)
  local parts = { wire.pack("b884", A.outbox:why(), A.outbox.sent, A.outbox.failed, n) }
  for i = 1, n do
    local e = list[i]
    parts[#parts + 1] = wire.pack("bbbb8", e.rule, e.subject, e.text, e.state, e.since * 1e6)
  end
  A.hub:send(wire.ALERTS, table.concat(parts))
end

-- A request of `lunate alerts`: answered now, or, a test, when its senders have ended.
local function take_ask(payload)
  local at, id, n = wire.unpack("84", payload)
  local words = {}
  for i = 1, n do at, words[i] = wire.unpack("b", payload, at) end
  answers.answer(A, words, function(status, text)
    A.hub:send(wire.ALERTS_ANSWER, wire.pack("81b", id, status, text))
  end)
  report()
end

local function take(kind, payload)
  if kind == wire.SITE then
    take_settings(payload)
  elseif kind == wire.ALERTS_ASK then
    take_ask(payload)
  end
end

-- ---- the engine ---------------------------------------------------------------------------------

-- The status document; nil and why.
local function status()
  local stream, err = wire.connect(A.folder, "control.sock")
  if not stream then return nil, err end
  local ok, why = stream:send(wire.REQUEST, wire.pack("4b", 1, "status"))
  local kind, payload = nil, why
  if ok then kind, payload = stream:receive(10) end
  stream:close()
  if kind ~= wire.REPLY then
    return nil, payload == "timeout" and "no answer within 10 s" or payload
  end
  local _, code, text = wire.unpack("1b", payload)
  local good, doc = pcall(json.decode, text)
  if code ~= 0 or not good or type(doc) ~= "table" or type(doc.channels) ~= "table" then
    return nil, "its status cannot be read"
  end
  return doc
end

local function look()
  local doc, why = status()
  local now = sys.now()
  local x = { doc = doc, why = why, now = now, usual = A.usual, rates = A.rates }
  x.disk_free, x.disk_size = core.disk(A.folder)
  if doc then
    A.usual:take(doc, now)
    A.rates:take(doc, now, A.window)
    if now - A.usual_kept >= USUAL_EVERY or now < A.usual_kept then
      A.usual_kept = now
      keep(USUAL, A.usual:write())
    end
  end
  local events = rules.look(x, A.settings)
  local notices, changed = track.step(A.state, events, now, A.settings, doc ~= nil)
  for _, n in ipairs(notices) do
    A.outbox:put(n)
    log("info", n.status, ('id=%s cause="%s" alerts=%d over=%d times=%d'):format(n.id, n.cause,
      #n.items, #n.ended, n.times))
  end
  if changed or #notices > 0 then A.save() end
end

-- ---- life ---------------------------------------------------------------------------------------

local function start()
  local settings
  A.hub, A.site, A.folder, settings = beside()
  if not A.hub then return false end
  A.about = { host = core.hostname() or "?", path = A.site, folder = A.folder }
  A.state = read_state()
  A.usual = usual.read(read(USUAL))
  A.rates = rates.new()
  A.outbox = outbox.new(A.state, A.about, log)
  take_settings(settings)
  return true
end

local function turn()
  local now = sys.now()
  if now >= A.next or A.next - now > A.settings.every then
    look()
    A.next = sys.now() + A.settings.every
    report()
  end
  if A.outbox:pump(A.settings, sys.now(), A.save) then
    A.save()
    report()
  end
  answers.pump(A)
  local busy = A.outbox:busy() or next(A.tests)
  local wait = busy and 0.05 or math.min(A.settings.every, math.max(0.01, A.next - sys.now()))
  local kind, payload = A.hub:receive(wait)
  if kind then
    take(kind, payload)
  elseif payload ~= "timeout" then
    return false
  end
  return true
end

return function()
  if not start() then return 1 end
  A.usual_kept = sys.now() - USUAL_EVERY + 30
  report()
  while turn() do end -- the hub is gone: so is this process
  keep(USUAL, A.usual:write())
  return 0
end
