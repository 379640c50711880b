-- Many messages through a channel's script in a worker, several under way at a time. A worker that
-- a message ends is started again, with the kv that it had, and the rest goes on in order.
local worker = require "lunate.cli.worker"

local M = {}
local Pipeline = {}
Pipeline.__index = Pipeline

local WINDOW, BYTES = 64, 1024 * 1024

-- The pairs that kv holds at the start, and what was written since.
local function kv_source(self)
  local from, written = self.kv and self.kv(), self.written
  local later
  return function()
    while from do
      local key, value = from()
      if not key then
        from = nil
      elseif not written[key] then
        return key, value
      end
    end
    local w
    repeat
      later, w = next(written, later)
    until not later or w.value
    if later then return later, w.value end
  end
end

--- start(s, channel, o): pipeline, or nil and why. s, channel: of lunate.cli.loader; o.kv: function
-- that gives an iterator of pairs; o.done(item, result).
function M.start(s, channel, o)
  local p = setmetatable({ site = s, channel = channel, kv = o.kv, done = o.done, written = {},
    first = 1, last = 0, sent = 0, bytes = 0, careful = 0 }, Pipeline)
  local w, err = worker.start(s, channel, { kv = kv_source(p) })
  if not w then return nil, err end
  p.worker, p.destinations = w, w.destinations
  return p
end

-- Sends what the window lets through. After a crash one at a time, to see which message it was.
function Pipeline:pump()
  local window = self.careful > 0 and 1 or WINDOW
  while self.sent < self.last and self.sent - self.first + 1 < window do
    local e = self[self.sent + 1]
    self.sent = self.sent + 1
    self.worker:give(e.bytes, e.clock)
  end
end

function Pipeline:again()
  self.worker:close()
  local w, err = worker.start(self.site, self.channel, { kv = kv_source(self) })
  if not w then error("the worker does not start again: " .. tostring(err), 0) end
  self.worker, self.sent = w, self.first - 1
end

function Pipeline:finish_head(r)
  local e = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.bytes = self.bytes - #e.bytes
  if self.careful > 0 then self.careful = self.careful - 1 end
  for _, write in ipairs(r.kv) do self.written[write.key] = write end
  self.done(e.item, r)
end

-- Takes the answer to the oldest message.
function Pipeline:take()
  self:pump()
  local r, why, log = self.worker:take(self[self.first].bytes)
  if r then
    local ended = r.state == "limit"
    self:finish_head(r)
    if ended then self:again() end
  elseif why == "timeout" or self.sent == self.first then
    self:finish_head(self.worker:lost(why, log))
    self:again()
  else
    self.careful = self.sent - self.first + 1
    self:again()
  end
end

--- Runs a message; done(item, result) is called when its turn has come. clock: us, what the script
-- is told of the time.
function Pipeline:push(bytes, item, clock)
  while self.last - self.first + 1 >= WINDOW or (self.bytes > BYTES) do self:take() end
  self.last = self.last + 1
  self.bytes = self.bytes + #bytes
  self[self.last] = { bytes = bytes, item = item, clock = clock }
  self:pump()
end

--- Waits for all that is under way.
function Pipeline:drain()
  while self.first <= self.last do self:take() end
end

function Pipeline:close()
  self.worker:close()
end

return M
