-- What becomes of events over time: firing, grouped by cause, told, repeated with back-off,
-- resolved; silenced, acknowledged. Gives notices, which lua/alerts/outbox.lua sees delivered. All
-- it knows is the table it is given (kept on disk by lua/alerts/main.lua); time is an argument.
--
-- state.events[key]:  { rule, kind, subject, text, cause, to, since, firing, told, clear_since }
-- state.groups[cause]: { id, since, times, last, next, to = { [target] = true }, ended = { ... } }
-- state.silences:     { { rule, subject, till, reason, by, at } }; acks on groups: group.ack
local M = {}

local function key_of(e) return e.rule .. "\n" .. e.subject end

function M.new()
  return { events = {}, groups = {}, silences = {}, outbox = {}, sent = {}, serial = 0 }
end

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end
M.sorted = sorted

--- The silence that an event falls under, or nil.
function M.silenced(state, e, now)
  for _, s in ipairs(state.silences) do
    if s.till > now and (s.rule == "*" or s.rule == e.rule)
      and (s.subject == "" or s.subject == e.subject
      or e.subject:sub(1, #s.subject + 1) == s.subject .. "/") then
      return s
    end
  end
end

local function begin(e, old, now)
  local text, to = e.text, e.to
  local s = old or { rule = e.rule, kind = e.kind, subject = e.subject, since = now,
    firing = false }
  s.text, s.to, s.clear_since = text, to, nil
  if not s.firing then
    s.cause = e.cause -- it keeps the group in which it was told
    s.firing = now - s.since >= e.after
  end
  return s
end

-- What is over: after `clear` seconds without it, so that what comes and goes is one alert.
local function clear(state, key, s, now, settings)
  if not s.firing then
    state.events[key] = nil
    return true
  end
  s.clear_since = s.clear_since or now
  if now - s.clear_since < settings.clear then return false end
  local g = state.groups[s.cause]
  if g and s.told then
    g.ended[#g.ended + 1] = { rule = s.rule, kind = s.kind, subject = s.subject, text = s.text,
      since = s.since, till = s.clear_since }
    while #g.ended > 200 do table.remove(g.ended, 1) end
  end
  state.events[key] = nil
  return true
end

-- Events as they are seen now; whether anything changed that must not be forgotten.
local function observe(state, events, now, settings, known)
  local seen, changed = {}, false
  for _, e in ipairs(events) do
    local key = key_of(e)
    local old = state.events[key]
    local was = old and old.firing
    seen[key] = true
    state.events[key] = begin(e, old, now)
    changed = changed or state.events[key].firing ~= (was or false)
  end
  for _, key in ipairs(sorted(state.events)) do
    local s = state.events[key]
    -- Without a status document nothing can be said to be over, but that the engine answers again.
    if not seen[key] and (known or s.kind == "engine") then
      changed = clear(state, key, s, now, settings) or changed
    end
  end
  return changed
end

local function by_cause(state, now)
  local groups = {}
  for _, key in ipairs(sorted(state.events)) do
    local s = state.events[key]
    if s.firing then
      local g = groups[s.cause] or { all = 0, loud = {}, news = false }
      groups[s.cause] = g
      g.all = g.all + 1
      if not M.silenced(state, s, now) then
        g.loud[#g.loud + 1] = s
        g.news = g.news or not s.told
      end
    end
  end
  return groups
end

local function targets(g, list, settings)
  for _, s in ipairs(list) do
    for _, name in ipairs(s.to or settings.names) do g.to[name] = true end
  end
  local names = {}
  for _, name in ipairs(sorted(g.to)) do
    if settings.targets[name] then names[#names + 1] = name end
  end
  return names
end

local function items(list)
  local out = {}
  for i, s in ipairs(list) do
    out[i] = { rule = s.rule, kind = s.kind, subject = s.subject, text = s.text, since = s.since,
      till = s.clear_since }
  end
  return out
end

-- When a group with something to tell is due.
local function due(g, now_group, now, settings)
  if g.times == 0 then return now - g.since >= settings.wait end
  if now_group.news then
    return now - g.last >= math.max(60, 4 * settings.wait) or settings.wait < 1
  end
  return not g.ack and now >= g.next
end

local function tell(cause, g, list, now, settings, notices)
  local again = settings.again
  g.times, g.last = g.times + 1, now
  g.next = now + math.min(again.max, again.first * again.factor ^ (g.times - 1))
  notices[#notices + 1] = { status = "firing", id = g.id, cause = cause, times = g.times,
    since = g.since, at = now, next = g.next, items = items(list), ended = g.ended,
    to = targets(g, list, settings) }
  if g.times > 1 and g.ack then
    for _, s in ipairs(list) do
      if not s.told then g.ack = nil end -- something new: that was not acknowledged
    end
  end
  for _, s in ipairs(list) do s.told = true end
  g.ended = {}
end

local function new_group(state, now)
  state.serial = state.serial + 1
  return { id = ("%s-%d"):format(os.date("!%m%d%H%M%S", now), state.serial), since = now, times = 0,
    to = {}, ended = {} }
end

--- step(state, events, now, settings, known): notices, changed. known: a status document was had.
function M.step(state, events, now, settings, known)
  local notices = {}
  local changed = observe(state, events, now, settings, known)
  local groups = by_cause(state, now)
  for cause, now_group in pairs(groups) do
    local g = state.groups[cause]
    if not g and #now_group.loud > 0 then
      g = new_group(state, now)
      state.groups[cause], changed = g, true
    end
    if g and #now_group.loud > 0 and due(g, now_group, now, settings) then
      tell(cause, g, now_group.loud, now, settings, notices)
      changed = true
    end
  end
  for _, cause in ipairs(sorted(state.groups)) do
    local g = state.groups[cause]
    if not groups[cause] then
      if g.times > 0 then
        notices[#notices + 1] = { status = "resolved", id = g.id, cause = cause, since = g.since,
          at = now, items = {}, ended = g.ended, times = g.times, to = targets(g, {}, settings) }
      end
      state.groups[cause], changed = nil, true
    end
  end
  for i = #state.silences, 1, -1 do
    if state.silences[i].till <= now then
      table.remove(state.silences, i)
      changed = true
    end
  end
  return notices, changed
end

--- What is firing, for people: { rule, subject, text, since, state, cause, id }, oldest first.
function M.firing(state, now)
  local list = {}
  for _, key in ipairs(sorted(state.events)) do
    local s = state.events[key]
    if s.firing then
      local g, silence = state.groups[s.cause], M.silenced(state, s, now)
      list[#list + 1] = { rule = s.rule, subject = s.subject, text = s.text, since = s.since,
        cause = s.cause, id = g and g.id, times = g and g.times or 0, silence = silence,
        ack = g and g.ack,
        state = silence and "silenced" or g and g.ack and "acknowledged" or "firing" }
    end
  end
  table.sort(list, function(a, b)
    if a.since ~= b.since then return a.since < b.since end
    return a.rule .. a.subject < b.rule .. b.subject
  end)
  return list
end

return M
