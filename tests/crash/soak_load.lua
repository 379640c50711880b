-- The outside of the soak: paced stop-and-wait senders that send again what was not acknowledged, and
-- receivers that can be away, silent, or refuse. All in this process, driven by load:turn().
local net = require "support.net"
local sys = require "support.sys"
local ledger = require "crash.soak_ledger"

local M = {}
local Load = {}
Load.__index = Load

local REPLY_S = 60 -- longer than any pause: no reply by then is a fault

local function filler(n)
  return n % 50 == 0 and ("NTE|1||" .. ("x"):rep(4000) .. "\r") or ("NTE|1||" .. ("x"):rep(n * 37 % 300) .. "\r")
end

local function message(s, n)
  local id = ("S%d-%d"):format(s, n)
  return "MSH|^~\\&|EHR|HOSP|LAB|HOSP|20261123||ADT^A01^ADT_A01|" .. id .. "|P|2.5.1\rPID|1||" .. id
    .. "^^^HOSP^MR||Muster^Anna\r" .. filler(n), id
end

--- channels: name -> port; dests: list of { name, channel (that is sent to), wants }; `each` senders a
-- channel, `rate` messages a second in all.
function M.new(channels, dests, each, rate)
  local l = setmetatable({ senders = {}, receivers = {}, acked = {}, allowed = {}, faults = {}, ms = {}, tries = 0,
    resent = 0, reconnects = 0, nacked = 0, count = 0 }, Load)
  local by = {}
  for name, port in pairs(channels) do
    by[name] = {}
    for _ = 1, each do
      local s = { id = #l.senders + 1, channel = name, port = port, next = 1, due = 0, permits = 0, allowed = 0 }
      l.senders[s.id], l.acked[s.id] = s, 0
      table.insert(by[name], s.id)
    end
  end
  l.period = #l.senders / rate
  for _, d in ipairs(dests) do
    local r = { mode = "AA", ledger = ledger.new(d.name, d.wants, by[d.channel]), on_frame = d.on_frame }
    l.receivers[d.name] = r
    r.port = net.free_port()
    l:open(d.name)
  end
  return l
end

function Load:fault(format, ...)
  self.faults[#self.faults + 1] = format:format(...)
end

local function answer(self, r, text)
  local id = net.field(text, "MSH", 10)
  local s, n = id:match "^S(%d+)%-(%d+)$"
  s, n = tonumber(s), tonumber(n)
  if r.on_frame then
    local wrong = r.on_frame(text)
    if wrong then r.ledger:fault("%s: %s", id, wrong) end
  end
  if r.mode == "silent" then return end
  if r.mode == "AE" then
    r.left = r.left - 1
    if r.left <= 0 then r.mode = "AA" end
    r.ledger:refused(s, n)
    return net.ack(text, "AE", "not now")
  end
  if r.mode == "AR" then return net.ack(text, "AR") end
  r.ledger:arrived(s, n)
  self.count = self.count + 1
  return net.ack(text)
end

--- The receiver is there (again).
function Load:open(name)
  local r = self.receivers[name]
  r.mode = "AA"
  r.at = net.receiver { port = r.port, answer = function(text) return answer(self, r, text) end }
end

--- The receiver is gone, with its connections; what it had answered may come again.
function Load:away(name)
  local r = self.receivers[name]
  r.at:close()
  r.at = nil
  r.ledger:replay(1)
end

--- Whatever an engine that has been killed had sent is taken in; from now on its last ones may come again.
function Load:killed(replays)
  for _, r in pairs(self.receivers) do
    local deadline = sys.now() + 5
    while r.at and #r.at.conns > 0 and sys.now() < deadline do r.at:step(0.01) end
    r.ledger:replay(replays)
  end
end

--- Connections of a channel (nil: of all) may end until closing_ends is called as often, and then for a while.
function Load:may_close(channel)
  for _, s in ipairs(self.senders) do
    if not channel or s.channel == channel then s.permits = s.permits + 1 end
  end
end

function Load:closing_ends(channel, seconds)
  for _, s in ipairs(self.senders) do
    if not channel or s.channel == channel then
      s.permits, s.allowed = s.permits - 1, math.max(s.allowed, sys.now() + seconds)
    end
  end
end

local function drop(self, s, why)
  if s.conn then
    s.conn:close()
    self.reconnects = self.reconnects + 1
    if s.permits == 0 and sys.now() > s.allowed then
      self:fault("connection of S%d to %s ended (%s) at S%d-%d", s.id, s.channel, why, s.id, s.next)
    end
  end
  s.conn, s.waiting = nil, nil
  s.due = sys.now() + 0.1
end

local function send(self, s, now)
  if not s.conn then
    local ok, conn = pcall(net.connect, s.port, { timeout = 0.2 })
    s.conn = ok and conn or nil
    if not s.conn then
      s.due = now + 0.1
      return
    end
  end
  local text, id = message(s.id, s.next)
  self.tries = self.tries + 1
  if s.tried == s.next then
    self.resent = self.resent + 1
    for _, r in pairs(self.receivers) do
      if r.ledger.last[s.id] and r.ledger.wants(s.next) then r.ledger:expect(s.id, s.next) end
    end
  end
  s.tried, s.waiting, s.at = s.next, id, now
  if not s.conn:send(net.frame(text), 0.5) then drop(self, s, "while sending") end
end

local function receive(self, s, now)
  local reply, why = s.conn:recv_frame(0)
  if not reply then
    if why ~= "timeout" then drop(self, s, why) end
    if s.waiting and now - s.at > REPLY_S then drop(self, s, "no reply") end
    return
  end
  if net.field(reply, "MSA", 2) ~= s.waiting then
    self:fault("%s was answered with %s", s.waiting, reply:gsub("\r", " "))
  end
  self.ms[#self.ms + 1] = (now - s.at) * 1000
  s.waiting = nil
  s.due = math.max(s.due + self.period, now - self.period * 10)
  if net.field(reply, "MSA", 1) == "AA" then
    self.acked[s.id], s.next = s.next, s.next + 1
  else
    self.nacked = self.nacked + 1
    self:fault("S%d-%d: %s", s.id, s.next, reply:gsub("\r", " "))
    s.due = now + 0.5
  end
end

--- A few milliseconds of sending (unless quiet) and receiving.
function Load:turn()
  local now = sys.now()
  for _, s in ipairs(self.senders) do
    if s.waiting then receive(self, s, now) elseif now >= s.due and not self.quiet then send(self, s, now) end
  end
  for _, r in pairs(self.receivers) do
    if r.at then
      r.at:step(0)
      if #r.at.frames > 0 then r.at.frames = {} end
    end
  end
  sys.sleep(0.002)
end

--- The time to an acknowledgement that p per cent stay under, in ms; `forget` begins anew.
function Load:percentile(p, forget)
  local list = self.ms
  table.sort(list)
  if forget then self.ms = {} end
  return list[math.max(1, math.ceil(#list * p / 100))] or 0
end

function Load:waiting()
  for _, s in ipairs(self.senders) do if s.waiting then return true end end
end

--- Number of messages acknowledged.
function Load:total()
  local n = 0
  for _, a in ipairs(self.acked) do n = n + a end
  return n
end

--- All faults so far: the outside's and every ledger's.
function Load:wrong()
  local list = {}
  for _, f in ipairs(self.faults) do list[#list + 1] = f end
  for _, r in pairs(self.receivers) do for _, f in ipairs(r.ledger.faults) do list[#list + 1] = f end end
  return list
end

return M
