-- Differences between then and now, counted by kind. Memory stays flat: few kinds, a few examples
-- and a few pairs of values of each.
local M = {}
local Tally = {}
Tally.__index = Tally

local KINDS, PAIRS = 1000, 64

--- new(examples): how many examples of each kind are kept (at least 3).
function M.new(examples)
  return setmetatable({ list = {}, by_key = {}, examples = math.max(3, examples or 0), changed = 0,
    compared = 0, clock = 0, beyond = 0 }, Tally)
end

local function pair_key(old, new)
  return (old or "\1") .. "\0" .. (new or "\1")
end

local function count_pair(g, old, new)
  if old == nil and new == nil then return end
  local key = pair_key(old, new)
  local p = g.pairs[key]
  if not p then
    if g.npairs >= PAIRS then
      g.other = g.other + 1
      return
    end
    p = { old = old, new = new, count = 0 }
    g.pairs[key], g.npairs = p, g.npairs + 1
  end
  p.count = p.count + 1
end

-- A difference of the message at hand.
function Tally:add(kind, title, old, new)
  if kind == "clock" then
    self.clocked = true
    return
  end
  local key = kind .. "\0" .. title
  local g = self.by_key[key]
  if not g then
    if #self.list >= KINDS then
      self.beyond, self.differs = self.beyond + 1, true
      return
    end
    g = { kind = kind, title = title, messages = 0, places = 0, examples = {}, pairs = {},
      npairs = 0, other = 0, order = #self.list + 1 }
    self.by_key[key], self.list[g.order] = g, g
  end
  g.places = g.places + 1
  count_pair(g, old, new)
  if g.last ~= self.compared then
    g.last, g.messages = self.compared, g.messages + 1
    if #g.examples < self.examples then
      g.examples[#g.examples + 1] = { seq = self.item.seq, control_id = self.item.control_id,
        old = old, new = new }
    end
  end
  self.differs = true
end

--- Compares one message: compare(add) calls add(kind, title, old, new) for each difference.
-- item: { seq, control_id }.
function Tally:message(item, compare)
  self.compared, self.item, self.differs, self.clocked = self.compared + 1, item, false, false
  compare(function(...) self:add(...) end)
  if self.differs then self.changed = self.changed + 1 end
  if self.clocked then self.clock = self.clock + 1 end
end

-- What may harm most comes first.
local order = { error = 1, filtered = 2, sends_not = 3, sends = 4, count = 5, filtered_not = 6,
  no_error = 7, segment = 8, moved = 9, field = 10, bytes = 11, reason = 12 }

--- The kinds in the order of weight, then of how many messages they are of.
function Tally:kinds()
  table.sort(self.list, function(a, b)
    local x, y = order[a.kind] or 99, order[b.kind] or 99
    if x ~= y then return x < y end
    if a.messages ~= b.messages then return a.messages > b.messages end
    return a.order < b.order
  end)
  return self.list
end

--- The most frequent pairs of values of a kind, at most n, and how many values are not among them.
function M.top(g, n)
  local list = {}
  for _, p in pairs(g.pairs) do list[#list + 1] = p end
  table.sort(list, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return pair_key(a.old, a.new) < pair_key(b.old, b.new)
  end)
  local rest = g.other
  for i = #list, n + 1, -1 do
    rest = rest + list[i].count
    list[i] = nil
  end
  return list, rest
end

return M
