-- Waits for what the engine sends, and knows a long task from an engine that hangs: when nothing
-- has come for a while, a second connection asks for its version, which any engine that goes on
-- answers at once. Only silence there has a bound; how long a task takes, the engine says itself.
local wire = require "lunate.wire"

local M = {}
local Patience = {}
Patience.__index = Patience

local LOOK, SAY = 2, 5 -- seconds of silence
local READ, CHANGE = 10, 60 -- the end

--- new(stream, dial, o): dial() gives another stream to the engine, nil and why. o.reads: nothing
--- is changed by what was asked; o.most: seconds in all (nil: no bound); o.quiet: says nothing.
function M.new(stream, dial, o)
  return setmetatable({ stream = stream, dial = dial, o = o, silent = 0, waited = 0 }, Patience)
end

function Patience:alive()
  if self.probe then self.probe:close() end
  self.probe, self.silent = nil, 0
end

-- Asks whether the engine is there. That it does not want to talk (closed) is an answer, too.
function Patience:look()
  if not self.probe and self.silent >= LOOK then
    local probe = self.dial()
    if probe and probe:send(wire.REQUEST, wire.pack("4b", 1, "version")) then self.probe = probe end
  end
  if not self.probe then return end
  local kind, why = self.probe:receive(0.05)
  if kind or why ~= "timeout" then self:alive() end
end

local function engine(stream)
  local pid = stream:peer()
  return "the engine" .. (pid and (" (pid %d)"):format(pid) or "")
end

function Patience:say()
  if self.said or self.o.quiet or self.silent < SAY then return end
  io.stderr:write(("waiting for %s, which does not answer ...\n"):format(engine(self.stream)))
  self.said = true
end

--- The next record: type, payload. nil and why: "closed", "timeout", "hung", or another.
function Patience:receive()
  while true do
    local kind, payload = self.stream:receive(1)
    if kind or payload ~= "timeout" then
      self:alive()
      self.waited = 0
      return kind, payload
    end
    self.silent, self.waited = self.silent + 1, self.waited + 1
    self:look()
    self:say()
    local hung = self.silent >= (self.o.reads and READ or CHANGE)
    if hung or self.waited >= (self.o.most or math.huge) then
      local why = hung and "hung" or "timeout"
      if self.probe then self.probe:close() end
      return nil, why
    end
  end
end

--- What to tell of an engine that gave no answer.
function Patience:told(site, why)
  local pid = self.stream:peer()
  local text
  if why == "hung" then
    text = ("the engine of %s%s does not answer%s"):format(site,
      pid and (" (pid %d)"):format(pid) or "",
      pid and (": ps -o stat,wchan -p %d says why (T: stopped, D: waits for a disk)"):format(pid)
      or "")
  else
    text = ("the engine of %s gave no answer (%s)"):format(site,
      why == "timeout" and ("within %d s, though it runs"):format(self.waited)
      or why == "closed" and "it went away" or why or "it went away")
  end
  if self.o.reads then return text end
  return text .. "; what was asked may have been done, or be done yet: look before you ask again"
end

return M
