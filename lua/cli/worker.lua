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
local modes = { lines = 1, values = 2 }
local levels = { [0] = "debug", "info", "warn", "error" }

local HELD, FAKED = 2, 3 -- enum ln_allow_net

--- Tells a worker what the channel's `allow` names, when it names something. What it would do over
-- the network it tells us (M.asked); faked: and waits for an answer.
function M.allow(stream, settings, faked)
  local paths, net = {}, faked and FAKED or (settings["allow.net"] or "") ~= "" and HELD or 0
  for path in (settings["allow.read"] or ""):gmatch "[^\n]+" do paths[#paths + 1] = path end
  if #paths == 0 and net == 0 then return end
  stream:send(wire.ALLOW, wire.pack("1b4" .. ("b"):rep(#paths), net, "", #paths, unpack(paths)))
end

--- An HTTP record as { method, url, headers = { [name in lower case] = value }, body }.
function M.asked(payload)
  local _, method, url, lines, body = wire.unpack("bbbb", payload)
  local request = { method = method, url = url, headers = {}, body = body ~= "" and body or nil }
  for name, value in lines:gmatch "([^:\r\n]+): ([^\r\n]*)" do
    request.headers[name:lower()] = value
  end
  return request
end

-- Hands a worker what a spec's function gave: { status, headers, body }, or nil and why.
local function answer(stream, told, why)
  if type(told) ~= "table" then
    return stream:send(wire.HTTP_TOLD, wire.pack("4bb", 0, "", tostring(why or "no answer")))
  end
  local lines = {}
  for name, value in pairs(told.headers or {}) do
    lines[#lines + 1] = ("%s\n%s\n"):format(tostring(name):lower(), tostring(value))
  end
  stream:send(wire.HTTP_TOLD, wire.pack("4bb", told.status or 200, table.concat(lines),
    told.body or ""))
end

--- Starts a worker for a channel of a loaded site (lunate.cli.loader): worker, or nil and why.
-- o: kv (function that gives the next key and value that kv holds at the start), clock (us, what
-- scripts are told of the time), watch ("lines" or "values": Worker:trace).
function M.start(s, channel, o)
  o = o or {}
  local stream, err = wire.spawn "worker"
  if not stream then return nil, err end
  local w = setmetatable({ stream = stream, seq = 0, name = channel.name,
    seconds = tonumber(channel.settings["limits.seconds"]) or 5 }, Worker)
  local memory = tonumber(channel.settings["limits.memory_mb"]) or 128
  local jit = channel.settings.jit == "true" and not o.watch and 1 or 0
  if stream:receive(10) ~= wire.HELLO then return nil, "the worker did not start" end
  M.allow(stream, channel.settings, o.http)
  w.http = o.http
  stream:send(wire.CHANNEL, wire.pack("bbbd41", channel.name, assert(sys.realpath(site.path())),
    channel.script, w.seconds, memory, jit))
  for _, list in ipairs { channel.files, s.shared } do
    for _, file in ipairs(list) do stream:send(wire.FILE, wire.pack("bb", file[1], file[2])) end
  end
  if o.kv then
    for key, value in o.kv do stream:send(wire.KV, wire.pack("bb", key, value)) end
  end
  if o.watch then stream:send(wire.WATCH, wire.pack("1", modes[o.watch])) end
  if o.clock then stream:send(wire.CLOCK, wire.pack("8", o.clock)) end
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

local function kv_writes(payload, at)
  local after, n = wire.unpack("4", payload, at)
  local list = {}
  for i = 1, after and n or 0 do
    local deleted, key, value
    after, deleted, key, value = wire.unpack("1bb", payload, after)
    if not after then break end
    list[i] = { key = key, value = deleted == 0 and value or nil }
  end
  return list
end

--- A RESULT's payload as what Worker:run gives, but for the log. w: { destinations }; input: the
-- message.
function M.result(w, payload, input)
  local at, _, verdict, us, reason, where, trace, n = wire.unpack("814bbb4", payload)
  if not at then return { state = "error", reason = "the worker's answer cannot be read" } end
  local list, behind = outputs(w, payload, at, n)
  resolve(list or {}, input)
  return { state = verdicts[verdict], duration_us = us, reason = reason, where = where,
    trace = trace, outputs = list or {}, kv = behind and kv_writes(payload, behind) or {} }
end

--- What scripts are told of the time from now on, in microseconds; 0 = the real one.
function Worker:set_clock(us)
  self.clock = us
  self.stream:send(wire.CLOCK, wire.pack("8", us))
end

--- Hands the worker a message, and does not wait: answers come in the same order (Worker:take).
function Worker:give(bytes, clock)
  self.seq = self.seq + 1
  if clock and clock ~= self.clock then
    self:set_clock(clock)
  end
  return self.stream:send(wire.MESSAGE, wire.pack("88b", self.seq, clock or 0, bytes))
end

--- The next answer: the input was `bytes`. nil, "timeout" or "closed" when there is none.
function Worker:take(bytes)
  local log, requests, more = {}, {}, 0
  while true do
    local kind, payload = self.stream:receive(self.seconds + 2 + more)
    if kind == wire.READING then
      more = wire.READING_S
    elseif kind == wire.LOG then
      local _, _, level, where, text = wire.unpack("81bb", payload)
      log[#log + 1] = { level = levels[level], where = where, text = text }
    elseif kind == wire.HTTP then
      local request = M.asked(payload)
      requests[#requests + 1] = request
      if self.http then answer(self.stream, self.http(request)) end
    elseif kind == wire.TRACE then
      self.traced = payload
    elseif kind == wire.RESULT then
      local r = M.result(self, payload, bytes)
      r.log, r.requests = log, requests
      return r
    elseif not kind then
      return nil, payload, log
    end
  end
end

--- What to say of a message that no answer came for.
function Worker:lost(why, log)
  return { state = "limit", where = "", trace = "", outputs = {}, kv = {}, log = log or {},
    requests = {},
    reason = why == "timeout" and ("the script took more than %g s"):format(self.seconds)
      or "the script ended its worker" }
end

--- What a run wrote to kv, as text: a list of lines "kv.seen = 4".
function M.kv_text(r)
  local out = {}
  table.sort(r.kv, function(a, b) return a.key < b.key end)
  for i, write in ipairs(r.kv) do
    local key = write.key:find "^[%a_][%w_]*$" and "." .. write.key or ("[%q]"):format(write.key)
    out[i] = ("kv%s = %s"):format(key, write.value or "nil")
  end
  return out
end

--- Runs the script on one message: { state = "done" | "filtered" | "error" | "limit", reason,
-- where, trace, duration_us, outputs = { { dest, kind = "bytes" | "filtered" | "error", raw,
-- changed, reason } }, kv = { { key, value } }, log = { { level, where, text } } }.
function Worker:run(bytes)
  self:give(bytes)
  local r, why, log = self:take(bytes)
  if r then return r end
  self:close()
  return self:lost(why, log)
end

--- What the script did line by line since this was asked last (lunate.cli.trace reads it); "" when
-- the worker is gone. For workers started with `watch`.
function Worker:trace()
  local kind, payload
  local at_limit = self.traced
  self.traced = nil
  if at_limit then return at_limit end
  self.stream:send(wire.WATCH, wire.pack("1", 0))
  repeat
    kind, payload = self.stream:receive(self.seconds + 2)
  until not kind or kind == wire.TRACE
  return kind and payload or ""
end

function Worker:close()
  self.closed = true
  self.stream:close()
end

return M
