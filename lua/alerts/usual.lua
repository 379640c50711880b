-- What is usual for each channel: learned, so that silence can be told from a quiet hour.
--
-- Learned are, per channel, the mean number of messages in each of the 168 hours of a week (local
-- time), and its burstiness: how much silence is usual, counted in messages. A pause is worth the
-- messages that usually come in its time: a night in which two messages come is worth 2, ten
-- minutes at a rate of 300 an hour are worth 50. So one number per channel serves all hours.
-- An hour counts when it was watched for nine tenths. Hours are averaged plainly for 4 weeks, then
-- older weeks fade by a quarter a week; one flood counts at most three times the usual. Hours of
-- silence teach when the silence has ended by itself; when it was unusual, they count a quarter.
-- A channel has a baseline for an hour after WEEKS of it. Silence is unusual when every hour it
-- spans has a baseline, and it is worth over LEAST messages and over twice the longest usual pause.
-- Stopped, paused, and time in which the engine or this process did not run teach nothing, and
-- silence is counted from their end.
local units = require "lunate.alerts.units"

local M = {}
local Usual = {}
Usual.__index = Usual

local WEEKS, LEAST, TIMES = 2, 10, 2
M.WEEKS = WEEKS
local FADE, PAUSE_FADE = 0.25, 0.02
local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

local function slot_of(t)
  local d = os.date("*t", t)
  return (d.wday - 1) * 24 + d.hour + 1
end

--- The hour of the week in words: "Thu 02-03 h".
function M.hour(slot)
  local h = (slot - 1) % 24
  return ("%s %02d-%02d h"):format(days[math.floor((slot - 1) / 24) + 1], h, (h + 1) % 24)
end

function M.new()
  return setmetatable({ channels = {} }, Usual)
end

local function fresh()
  local c = { mean = {}, weeks = {}, pause = 0, zeros = 0 }
  for i = 1, 168 do c.mean[i], c.weeks[i] = 0, 0 end
  return c
end

-- The messages that usually come from `from` to `to`; nil when an hour of it has no baseline.
local function worth(c, from, to)
  local sum, t = 0, from
  if to - from > 7 * 86400 then t = to - 7 * 86400 end
  while t < to do
    local d = os.date("*t", t)
    local slot = (d.wday - 1) * 24 + d.hour + 1
    local ends = math.min(t + 3600 - d.min * 60 - d.sec, to)
    if c.weeks[slot] < WEEKS then return nil end
    sum = sum + c.mean[slot] * (ends - t) / 3600
    t = ends
  end
  return sum
end

local function learn(c, slot, n)
  local weeks, mean = c.weeks[slot], c.mean[slot]
  if weeks >= WEEKS then n = math.min(n, 3 * mean + 10) end
  local part = math.max(1 / (weeks + 1), FADE)
  if c.alarm then part = part / 4 end -- it was silent beyond the usual: perhaps for good
  c.mean[slot] = mean + part * (n - mean)
  c.weeks[slot] = weeks + 1
end

-- An hour is over. One without a message teaches when the silence has ended by itself: until then
-- it may be what ought to be told.
local function learn_hour(c)
  if c.watched < 3240 then
    c.zeros = 0
    return
  end
  if c.count == 0 then
    c.zeros = math.min(168, c.zeros + 1)
  else
    learn(c, c.slot, c.count)
  end
end

-- The silence is over: the hours before this one, back to its begin.
local function learn_zeros(c)
  for i = 1, c.zeros do learn(c, (c.slot - 1 - i) % 168 + 1, 0) end
  c.zeros = 0
end

-- A pause ended: how much of one is usual. One beyond that counts as a little more than the usual.
local function learn_pause(c, from, to)
  local w = worth(c, from, to)
  if not w then return end
  if c.pause > 0 and w > TIMES * c.pause and w > LEAST then w = 1.25 * c.pause end
  c.pause = math.max(w, c.pause * (1 - PAUSE_FADE * (to - from) / 86400))
end

-- What came of one channel since it was looked at last.
local function take(c, now, received, on, gap)
  local slot = slot_of(now)
  local came = c.received and received > c.received and received - c.received or 0
  if c.slot ~= slot then
    if c.slot then learn_hour(c) end
    c.slot, c.count, c.watched = slot, 0, 0
  end
  if not c.received or received < c.received then came, c.last = 0, now end
  c.received = received
  if not on or gap then c.last, c.zeros = now, 0 end -- not the sender's silence
  if came > 0 then
    if on and not gap then
      learn_zeros(c)
      learn_pause(c, c.last, now)
    end
    c.last, c.alarm = now, false
  end
  c.count = c.count + came
  if on and not gap and c.seen then c.watched = c.watched + math.min(now - c.seen, 60) end
  c.seen = now
end

--- Takes a status document. Time that was not watched (over 5 minutes) is nobody's silence.
function Usual:take(doc, now)
  local started = now - (tonumber(doc.uptime_s) or 0)
  for _, ch in ipairs(doc.channels) do
    local c = self.channels[ch.name] or fresh()
    self.channels[ch.name] = c
    local gap = c.seen and (now - c.seen > 300 or now < c.seen or c.seen < started) or false
    take(c, now, tonumber(ch.received) or 0, ch.state == "running" and ch.listening ~= false, gap)
  end
end

--- When the channel's last message came, or its silence began to count.
function Usual:last_in(name)
  return self.channels[name] and self.channels[name].last
end

--- Why the channel's silence is unusual, in words; nil when it is not, or nothing is known.
function Usual:unusual(name, now)
  local c = self.channels[name]
  if not c or not c.last then return nil end
  if c.calm and c.calm[1] == c.last and now - c.calm[2] < 60 then return nil end -- not each time
  local w = worth(c, c.last, now)
  if not w or w <= LEAST or w <= TIMES * c.pause then
    c.calm = { c.last, now }
    return nil
  end
  c.alarm = true
  local slot = slot_of(now)
  return ("nothing received for %s, in which about %d messages usually come (%s, learned over %d"
    .. " weeks); the longest usual pause is worth %d"):format(units.span(now - c.last), w,
    M.hour(slot), c.weeks[slot], math.ceil(c.pause))
end

--- What is known of a channel: hours with a baseline, this hour's mean and weeks, pause, last.
function Usual:known(name, now)
  local c = self.channels[name]
  if not c then return nil end
  local n, slot = 0, slot_of(now)
  for i = 1, 168 do
    if c.weeks[i] >= WEEKS then n = n + 1 end
  end
  return { hours = n, slot = M.hour(slot), mean = c.mean[slot], weeks = c.weeks[slot],
    pause = c.pause, last = c.last }
end

-- ---- on disk: a line per channel, about 1 KB ----------------------------------------------------

local fields = { "pause", "zeros", "received", "last", "seen", "slot", "count", "watched" }

--- Text that read() takes.
function Usual:write()
  local names, out = {}, { "lunate usual 1" }
  for name in pairs(self.channels) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local c = self.channels[name]
    local parts = { name }
    for _, f in ipairs(fields) do parts[#parts + 1] = c[f] and ("%.14g"):format(c[f]) or "-" end
    for i = 1, 168 do parts[#parts + 1] = ("%.4g/%d"):format(c.mean[i], c.weeks[i]) end
    out[#out + 1] = table.concat(parts, " ")
  end
  return table.concat(out, "\n") .. "\n"
end

local function read_line(line)
  local words = {}
  for w in line:gmatch "%S+" do words[#words + 1] = w end
  if #words ~= 1 + #fields + 168 then return nil end
  local c = fresh()
  for i, f in ipairs(fields) do c[f] = tonumber(words[i + 1]) end
  for i = 1, 168 do
    local mean, weeks = words[1 + #fields + i]:match "^(.-)/(%d+)$"
    c.mean[i], c.weeks[i] = tonumber(mean) or 0, tonumber(weeks) or 0
  end
  c.pause, c.zeros, c.count, c.watched = c.pause or 0, c.zeros or 0, c.count or 0, c.watched or 0
  return words[1], c
end

--- read(text): what write gave; a line that is damaged is left out (it is learned again).
function M.read(text)
  local u = M.new()
  if not text or not text:find "^lunate usual 1\n" then return u end
  for line in text:gmatch "[^\n]+" do
    local name, c = read_line(line)
    if name then u.channels[name] = c end
  end
  return u
end

return M
