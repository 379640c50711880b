-- Runs a channel's script on messages in a worker of our own, exactly as the engine does, and gives
-- back what it decided. Nothing is stored or sent.
local wire = require "lunate.wire"
local sys = require "lunate.sys"
local site = require "lunate.cli.site"

local M = {}
local Worker = {}
Worker.__index = Worker

local verdicts = { "done", "filtered", "error", "limit" }
local kinds = { "bytes", "input", "same", "filtered", "error" }
local levels = { [0] = "debug", "info", "warn", "error" }

--- Starts a worker for a channel of a loaded site (lunate.cli.loader): worker, or nil and why.
function M.start(s, channel)
  local stream, err = wire.spawn "worker"
  if not stream then return nil, err end
  local w = setmetatable({ stream = stream, seq = 0, name = channel.name,
    seconds = tonumber(channel.settings["limits.seconds"]) or 5 }, Worker)
  local memory = tonumber(channel.settings["limits.memory_mb"]) or 128
  local jit = channel.settings.jit == "true" and 1 or 0
  if stream:receive(10) ~= wire.HELLO then return nil, "the worker did not start" end
  stream:send(wire.CHANNEL, wire.pack("bbbd41", channel.name, assert(sys.realpath(site.path())),
    channel.script, w.seconds, memory, jit))
  for _, list in ipairs { channel.files, s.shared } do
    for _, file in ipairs(list) do stream:send(wire.FILE, wire.pack("bb", file[1], file[2])) end
  end
  stream:send(wire.START, "")
  local kind, payload = stream:receive(w.seconds + 10)
  if kind ~= wire.READY then
    local _, text = nil, payload
    if kind == wire.FAILED then _, text = wire.unpack("b", payload) end
    return nil, text
  end
  local at, n = wire.unpack("4", payload)
  w.destinations = {}
  for i = 1, n do at, w.destinations[i] = wire.unpack("b", payload, at) end
  return w
end

local function outputs(w, payload, at, n)
  local list = {}
  for i = 1, n do
    local dest, kind, same, bytes
    at, dest, kind, same, bytes = wire.unpack("214b", payload, at)
    if not at then return nil end
    list[i] = { dest = w.destinations[dest + 1] or "?", kind = kinds[kind], same = same,
      bytes = bytes }
  end
  return list, at
end

-- Whatever way the worker told of the bytes that would be sent: kind "bytes", with `changed`.
local function resolve(list, input)
  for _, o in ipairs(list) do
    if o.kind == "input" then
      o.raw = input
    elseif o.kind == "bytes" then
      o.raw = o.bytes
    elseif o.kind == "same" then
      o.raw = list[o.same + 1] and list[o.same + 1].raw
    else
      o.reason = o.bytes
    end
    if o.raw then o.kind, o.changed = "bytes", o.raw ~= input end
    o.bytes, o.same = nil, nil
  end
end

local function result(w, payload, input)
  local at, _, verdict, us, reason, where, trace, n = wire.unpack("814bbb4", payload)
  if not at then return { state = "error", reason = "the worker's answer cannot be read" } end
  local list = outputs(w, payload, at, n)
  resolve(list or {}, input)
  return { state = verdicts[verdict], duration_us = us, reason = reason, where = where,
    trace = trace, outputs = list or {} }
end

--- Runs the script on one message: { state = "done" | "filtered" | "error" | "limit", reason,
-- where, trace, duration_us, outputs = { { dest, kind = "bytes" | "filtered" | "error", raw,
-- changed, reason } }, log = { { level, where, text } } }.
function Worker:run(bytes)
  self.seq = self.seq + 1
  local log = {}
  self.stream:send(wire.MESSAGE, wire.pack("88b", self.seq, math.floor(sys.now() * 1e6), bytes))
  while true do
    local kind, payload = self.stream:receive(self.seconds + 2)
    if kind == wire.LOG then
      local _, _, level, where, text = wire.unpack("81bb", payload)
      log[#log + 1] = { level = levels[level], where = where, text = text }
    elseif kind == wire.RESULT then
      local r = result(self, payload, bytes)
      r.log = log
      return r
    elseif not kind then
      self:close()
      local why = payload == "timeout" and ("the script took more than %g s"):format(self.seconds)
        or "the script ended its worker"
      return { state = "limit", reason = why, where = "", trace = "", outputs = {}, log = log }
    end
  end
end

function Worker:close()
  self.stream:close()
end

return M
