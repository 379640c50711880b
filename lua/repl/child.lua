-- The process that evaluates for the REPL (core/role/repl.c), as the REPL sees it: started with a
-- channel's script or none, asked, interrupted, and started anew when it died. Whatever a script
-- does ends there.
local wire = require "lunate.wire"
local sys = require "lunate.sys"
local person = require "lunate.person"
local worker = require "lunate.lazy" "lunate.cli.worker"

local M = {}
local Child = {}
Child.__index = Child

local GRACE = 1.5 -- seconds that a stopped script has to come back, before its process is killed
local levels = { [0] = "debug", "info", "warn", "error" }

--- The process alone, so that it gets ready while scripts are loaded: o.stream of start.
function M.spawn()
  return wire.spawn "repl-child"
end

--- Starts a child. o: site (absolute path or ""), script (relative path or ""), files and shared
-- (lists of { path, text }), kv (an iterator of pairs: what kv holds), seconds, memory_mb, jit;
-- settings (the channel's, for its `allow`);
-- view() -> colour, plain, width, lines. Child, or nil and why it does not load.
function M.start(o)
  local stream, err = o.stream, nil
  if not stream then stream, err = M.spawn() end
  if not stream then return nil, err end
  local kind = stream:receive(10)
  if kind ~= wire.HELLO then
    stream:close()
    return nil, "the child process did not start"
  end
  local c = setmetatable({ stream = stream, seconds = o.seconds or 5, view = o.view, seq = 0,
    write = o.write, log = o.log, asked = {} }, Child)
  if o.settings then worker.allow(stream, o.settings) end
  stream:send(wire.CHANNEL, wire.pack("bbbd41", o.script ~= "" and o.name or "", o.site, o.script,
    c.seconds, o.memory_mb or 256, o.jit and 1 or 0))
  for _, list in ipairs { o.files or {}, o.shared or {} } do
    for _, file in ipairs(list) do stream:send(wire.FILE, wire.pack("bb", file[1], file[2])) end
  end
  if o.kv then
    for key, value in o.kv do stream:send(wire.KV, wire.pack("bb", key, value)) end
  end
  stream:send(wire.START, "")
  local state, payload = c:wait(wire.READY)
  if state == "answer" then
    local at, n = wire.unpack("4", payload)
    c.destinations = {}
    for i = 1, n do at, c.destinations[i] = wire.unpack("b", payload, at) end
    return c
  end
  c:close()
  return nil, payload
end

-- Waits for a record of this kind, showing what scripts print meanwhile: "answer", payload; or
-- "interrupted", "ended" or "failed", why. Ctrl-C stops the script; when that does not bring it
-- back, its process is ended.
function Child:wait(want)
  local deadline = sys.now() + self.seconds + 2
  local killed
  while true do
    local kind, payload = self.stream:receive(0.05)
    if kind == want then return "answer", payload end
    if kind == wire.PRINT or kind == wire.LOG then
      if not killed then self:show(kind, payload) end
    elseif kind == wire.READING then
      deadline = deadline + wire.READING_S
    elseif kind == wire.HTTP then
      local asked = self.asked
      asked[#asked + 1] = worker.asked(payload)
    elseif kind == wire.FAILED then
      local _, text = wire.unpack("b", payload)
      return "failed", text
    elseif not kind and payload ~= "timeout" then
      self:close()
      return "ended", "the script ended its process (out of memory?)"
    end
    if person.interrupted() and not killed then
      self.stream:send(wire.INTERRUPT, "")
      self.write "\n" -- behind the terminal's ^C
      killed, deadline = true, sys.now() + GRACE
    end
    if sys.now() > deadline then
      self:close()
      if killed then return "ended", "interrupted; its process had to be ended" end
      return "ended", ("ran longer than limits.seconds = %g and could not be stopped at a line")
        :format(self.seconds)
    end
  end
end

function Child:show(kind, payload)
  if kind == wire.PRINT then
    local _, text = wire.unpack("b", payload)
    self.write(text)
  else
    local _, _, level, where, text = wire.unpack("81bb", payload)
    self.log(levels[level], where, text)
  end
end

--- Asks: "answer" and a list of texts; "failed", why (the answering itself failed); "ended", why
-- (the process is gone).
function Child:ask(what, ...)
  if not self.stream then return "ended", "the process is gone" end
  local colour, plain, width, lines = self.view()
  local words = { colour and "1" or "0", plain and "1" or "0", tostring(width), tostring(lines),
    what, ... }
  self.stream:send(wire.ASK, wire.pack("4" .. ("b"):rep(#words), #words, unpack(words)))
  local state, payload = self:wait(wire.ANSWER)
  if state ~= "answer" then return state, payload end
  local at, failed, n = wire.unpack("14", payload)
  local list = {}
  for i = 1, n do at, list[i] = wire.unpack("b", payload, at) end
  if failed ~= 0 then return "failed", list[1] end
  return "answer", list
end

--- Runs filter, transform and destinations on bytes, as the engine would: what lunate.cli.worker's
-- run gives; state "ended", reason when the process is gone.
function Child:run(bytes)
  self.seq = self.seq + 1
  self.asked = {}
  self.stream:send(wire.MESSAGE, wire.pack("88b", self.seq, math.floor(sys.now() * 1e6), bytes))
  local state, payload = self:wait(wire.RESULT)
  if state ~= "answer" then return { state = "ended", reason = payload, outputs = {}, kv = {} } end
  local r = worker.result(self, payload, bytes)
  r.requests = self.asked
  return r
end

function Child:close()
  if self.stream then self.stream:close() end
  self.stream = nil
end

return M
