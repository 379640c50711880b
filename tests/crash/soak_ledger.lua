-- What may arrive at one receiver of the soak, and in which order. A sender's messages (s, n) come in
-- the order of n; what was set aside (refused, skipped) may come later; a second time comes only what
-- a kill, an outage or somebody's resend explains. Remembers exceptions alone: memory stays flat.
local M = {}
local Ledger = {}
Ledger.__index = Ledger

M.UNCOMMITTED = 65 -- of a destination's last deliveries, after a kill -9 of the hub (docs/operations.md)

--- A ledger named `name`; wants(n): is the nth message of a sender meant for this receiver?
function M.new(name, wants, senders)
  local l = setmetatable({ name = name, wants = wants, last = {}, gaps = {}, may = {}, credit = 0, taken = 0,
    twice = 0, replayed = 0, unsure = 0, refusals = 0, faults = {} }, Ledger)
  for _, s in ipairs(senders) do l.last[s], l.gaps[s], l.may[s] = 0, {}, {} end
  return l
end

function Ledger:fault(format, ...)
  self.faults[#self.faults + 1] = self.name .. ": " .. format:format(...)
end

--- Up to `n` deliveries may be made again, until the first that is new.
function Ledger:replay(n)
  self.credit = math.max(self.credit, n)
end

--- One more copy of (s, n) may come.
function Ledger:expect(s, n)
  self.may[s][n] = (self.may[s][n] or 0) + 1
end

-- It is sent again although it was taken: the engine does not know that. True when a kill explains it.
function Ledger:forgotten(s, n)
  if self.credit == 0 or self.gaps[s][n] then return false end
  self.credit, self.replayed = self.credit - 1, self.replayed + 1
  if self.may[s][n] then self.unsure = self.unsure + 1 end
  return true
end

--- (s, n) was set aside before it was sent.
function Ledger:skipped(s, n)
  if n > self.last[s] then self:advance(s, n) else self:forgotten(s, n) end
  self.gaps[s][n] = true
end

-- All that stands between the last one and n was set aside, or was not meant for this receiver.
function Ledger:advance(s, n)
  for m = self.last[s] + 1, n - 1 do
    if self.wants(m) and not self.gaps[s][m] then
      self:fault("S%d-%d came before S%d-%d", s, n, s, m)
      self.gaps[s][m] = true
    end
  end
  self.last[s] = math.max(n, self.last[s])
end

function Ledger:check(s, n)
  if not self.last[s] or not self.wants(n) then self:fault("S%d-%d is not meant for it", s, n) end
  if n > self.last[s] then
    self:advance(s, n)
    self.credit = 0
    return true
  end
end

--- The receiver has refused it: it is parked.
function Ledger:refused(s, n)
  self.refusals = self.refusals + 1
  if self:check(s, n) then
    self.gaps[s][n] = true
  else
    self:forgotten(s, n)
    self:expect(s, n)
  end
end

--- The receiver has taken it.
function Ledger:arrived(s, n)
  self.taken = self.taken + 1
  if self:check(s, n) then return end
  if self.gaps[s][n] then
    self.gaps[s][n] = nil
    return
  end
  self.twice = self.twice + 1
  if self:forgotten(s, n) then return end
  local may = self.may[s][n] or 0
  if may > 0 then
    self.may[s][n] = may > 1 and may - 1 or nil
  else
    self:fault("S%d-%d came again, and nothing explains it", s, n)
  end
end

--- A list of what is missing, when sender s was told AA for its first `acked[s]` messages.
function Ledger:missing(acked)
  local list = {}
  for s, last in pairs(self.last) do
    for n in pairs(self.gaps[s]) do list[#list + 1] = ("S%d-%d"):format(s, n) end
    for n = last + 1, acked[s] do
      if self.wants(n) then list[#list + 1] = ("S%d-%d"):format(s, n) end
    end
  end
  table.sort(list)
  return list
end

return M
