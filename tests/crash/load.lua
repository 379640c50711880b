-- A load for crash tests: stop-and-wait senders that behave as real ones do (send again what was
-- not acknowledged, on a new connection), and a receiver, all in this process. Records what was
-- acknowledged and what arrived, and checks the promises on both.
local net = require "support.net"
local sys = require "support.sys"

local M = {}
local Load = {}
Load.__index = Load

local function message(id)
  return "MSH|^~\\&|EHR|HOSP|LAB|HOSP|20261123||ADT^A01^ADT_A01|" .. id .. "|P|2.5.1\r"
    .. "PID|1||" .. id .. "^^^HOSP^MR||Muster^Anna\r"
end

--- n senders to `port`, a receiver on a free port (load.receiver.port).
function M.new(port, n)
  local l = setmetatable({ port = port, senders = {}, acked = {}, nacked = 0, seen = {}, dups = 0,
    disorder = {}, last = {}, resent = 0, reconnects = 0, ms = {} }, Load)
  for i = 1, n do l.senders[i] = { id = i, next = 1 } end
  l.receiver = net.receiver {
    answer = function(text)
      l:arrived(net.field(text, "MSH", 10))
      return net.ack(text)
    end,
  }
  return l
end

-- A sender's messages come in order; one that came before is a duplicate, never a step back in time
-- beyond the window of duplicates.
function Load:arrived(id)
  local s, n = id:match "^S(%d+)%-(%d+)$"
  s, n = tonumber(s), tonumber(n)
  if self.seen[id] then
    self.dups = self.dups + 1
    return
  end
  self.seen[id] = true
  if n ~= (self.last[s] or 0) + 1 then
    self.disorder[#self.disorder + 1] = ("%s came first after %s"):format(id, self.last[s] or 0)
  end
  self.last[s] = n
end

local function reconnect(self, s)
  if s.conn then
    s.conn:close()
    self.reconnects = self.reconnects + 1
  end
  s.conn, s.waiting = nil, nil
  local ok, conn = pcall(net.connect, self.port, { timeout = 0.2 })
  if ok and conn then s.conn = conn end
  return s.conn
end

local function turn(self, s)
  if not s.conn and not reconnect(self, s) then return end
  if not s.waiting then
    s.waiting = ("S%d-%d"):format(s.id, s.next)
    if s.tried == s.waiting then self.resent = self.resent + 1 end
    s.tried, s.at = s.waiting, sys.now()
    if not s.conn:send(net.frame(message(s.waiting)), 0.2) then
      reconnect(self, s)
      return
    end
  end
  local reply, why = s.conn:recv_frame(0)
  if reply then
    assert(net.field(reply, "MSA", 2) == s.waiting, "acknowledgement of another message")
    self.ms[#self.ms + 1] = (sys.now() - s.at) * 1000
    if net.field(reply, "MSA", 1) == "AA" then
      self.acked[#self.acked + 1] = s.waiting
      s.next = s.next + 1
    else
      self.nacked = self.nacked + 1
    end
    s.waiting = nil
  elseif why ~= "timeout" then
    reconnect(self, s)
  end
end

--- Sends and receives for that long.
function Load:run(seconds)
  local deadline = sys.now() + seconds
  repeat
    for _, s in ipairs(self.senders) do turn(self, s) end
    self.receiver:step(0.0005)
  until sys.now() > deadline
end

--- The time to an acknowledgement that p per cent stay under, in ms, since the last call.
function Load:percentile(p)
  local list = self.ms
  self.ms = {}
  table.sort(list)
  return list[math.max(1, math.ceil(#list * p / 100))] or 0
end

--- No more is sent; waits until all that was acknowledged has come. Returns a list of what did not.
function Load:settle(seconds)
  for _, s in ipairs(self.senders) do
    if s.conn then s.conn:close() end
    s.conn, s.waiting = nil, nil
  end
  local deadline = sys.now() + sys.patience(seconds)
  local missing
  repeat
    local pause = sys.now() + math.min(0.3, #self.acked / 1e5) -- looking through them takes its time
    repeat self.receiver:step(0.01) until sys.now() >= pause
    missing = {}
    for _, id in ipairs(self.acked) do
      if not self.seen[id] then missing[#missing + 1] = id end
    end
  until #missing == 0 or sys.now() > deadline
  return missing
end

return M
