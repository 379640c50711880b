-- What `lunate alerts` asks of the alerter: list, test, silence, unsilence, ack. Answers are JSON
-- texts with status 0, or one line with status 1.
local json = require "lunate.cli.json"
local sys = require "lunate.sys"
local track = require "lunate.alerts.track"
local outbox = require "lunate.alerts.outbox"
local usual = require "lunate.alerts.usual"

local M = {}

local function iso(t) return t and sys.iso(t * 1e6) or nil end

local function count_waiting(state)
  local n = 0
  for _, box in pairs(state.outbox) do
    for _ in pairs(box) do n = n + 1 end
  end
  return n
end

local function list(a, _, done)
  local now, firing, silences, targets = sys.now(), {}, {}, {}
  for i, e in ipairs(track.firing(a.state, now)) do
    local why = e.silence or e.ack
    firing[i] = json.object("id", e.id, "rule", e.rule, "subject", e.subject, "text", e.text,
      "since", iso(e.since), "state", e.state, "cause", e.cause, "messages", e.times, "reason",
      why and why.reason, "by", why and why.by)
  end
  for i, s in ipairs(a.state.silences) do
    silences[i] = json.object("rule", s.rule, "subject", s.subject, "until", iso(s.till), "reason",
      s.reason, "by", s.by)
  end
  for i, name in ipairs(a.settings.names) do
    targets[i] = json.object("name", name, "kind", a.settings.targets[name].kind, "trouble",
      a.outbox.trouble[name], "held", a.outbox:held_back(name))
  end
  done(0, json.encode(json.object("firing", json.list(firing), "silences", json.list(silences),
    "targets", json.list(targets), "waiting", count_waiting(a.state))))
end

local function rule_named(a, name)
  if name == "*" then return true end
  for _, rule in ipairs(a.settings.rules) do
    if rule.name == name then return true end
  end
end

local function names(a)
  local all = {}
  for i, rule in ipairs(a.settings.rules) do all[i] = rule.name end
  return table.concat(all, ", ")
end

-- words: silence RULE SUBJECT SECONDS REASON BY
local function silence(a, words, done)
  local rule, subject, reason, by = words[2], words[3], words[5], words[6]
  local seconds = tonumber(words[4])
  if not rule_named(a, rule) then
    return done(1, ("there is no rule %s; there are %s"):format(rule, names(a)))
  end
  if not seconds then return done(2, "silence: not a time") end
  for i = #a.state.silences, 1, -1 do
    local s = a.state.silences[i]
    if s.rule == rule and s.subject == subject then table.remove(a.state.silences, i) end
  end
  local till = sys.now() + seconds
  table.insert(a.state.silences, { rule = rule, subject = subject, till = till, reason = reason,
    by = by, at = sys.now() })
  a.save()
  done(0, json.encode(json.object("rule", rule, "subject", subject, "until", iso(till))))
end

local function unsilence(a, words, done)
  local n = 0
  for i = #a.state.silences, 1, -1 do
    local s = a.state.silences[i]
    if s.rule == words[2] and (words[3] == "" or s.subject == words[3]) then
      table.remove(a.state.silences, i)
      n = n + 1
    end
  end
  if n == 0 then return done(1, ("nothing of %s is silenced"):format(words[2])) end
  a.save()
  done(0, json.encode(json.object("rule", words[2], "ended", n)))
end

-- words: ack ID|RULE REASON BY
local function ack(a, words, done)
  local n = 0
  for _, e in ipairs(track.firing(a.state, sys.now())) do
    local g = a.state.groups[e.cause]
    if g and (g.id == words[2] or e.rule == words[2]) then
      g.ack = { reason = words[3], by = words[4], at = sys.now() }
      n = n + 1
    end
  end
  if n == 0 then
    return done(1, ("nothing that fires is called %s (lunate alerts)"):format(words[2]))
  end
  a.save()
  done(0, json.encode(json.object("acknowledged", n)))
end

-- words: test TARGET|"" ; the answer comes when all senders have ended.
local function test(a, words, done)
  local now = sys.now()
  local wanted = words[2] ~= "" and { words[2] } or a.settings.names
  local t = { flights = {}, results = {}, done = done }
  for _, name in ipairs(wanted) do
    local target = a.settings.targets[name]
    if not target then
      return done(1, ("there is no target %s; there are %s"):format(name,
        table.concat(a.settings.names, ", ")))
    end
    local notice = { status = "test", id = ("test-%d"):format(now), cause = "test", items = {},
      ended = {}, since = now, at = now }
    local flight, err = outbox.launch(target, a.about, { notice },
      ("test.%.3f.%s"):format(now, name), now)
    if flight then
      flight.began = now
      t.flights[name] = flight
    else
      t.results[#t.results + 1] = json.object("target", name, "kind", target.kind, "ok", false,
        "error", err)
    end
  end
  a.tests[t] = true
end

-- words: usual ; what has been learned of each channel.
local function learned(a, _, done)
  local out, now = {}, sys.now()
  for _, name in ipairs(track.sorted(a.usual.channels)) do
    local k = a.usual:known(name, now)
    out[#out + 1] = json.object("channel", name, "hours", k.hours, "hour", k.slot, "weeks", k.weeks,
      "per_hour", math.floor(k.mean * 10 + 0.5) / 10, "pause", math.floor(k.pause * 10 + 0.5) / 10,
      "last", iso(k.last))
  end
  done(0, json.encode(json.object("weeks_needed", usual.WEEKS, "channels", json.list(out))))
end

local verbs = { list = list, silence = silence, unsilence = unsilence, ack = ack, test = test,
  usual = learned }

--- Answers one request: done(status, text), now or later.
function M.answer(a, words, done)
  local verb = verbs[words[1]]
  if not verb then return done(2, "alerts knows no " .. tostring(words[1])) end
  verb(a, words, done)
end

--- Looks at tests under way.
function M.pump(a)
  local now = sys.now()
  for t in pairs(a.tests) do
    for name, flight in pairs(t.flights) do
      local ok, why = outbox.look(flight, now)
      if ok ~= nil then
        t.flights[name] = nil
        t.results[#t.results + 1] = json.object("target", name, "kind", a.settings.targets[name]
          and a.settings.targets[name].kind or "?", "ok", ok, "error", not ok and why or nil,
          "seconds", math.floor((now - flight.began) * 100) / 100)
      end
    end
    if not next(t.flights) then
      a.tests[t] = nil
      t.done(0, json.encode(json.object("targets", json.list(t.results))))
    end
  end
end

return M
