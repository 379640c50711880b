-- `lunate` in a site's specs: channels to be run on messages, and the site's samples.
--   local adt = lunate.channel "adt_to_lab"
--   local r = adt:run(lunate.sample "adt_a01")
--   assert.equal("done", r.state)
--   assert.equal("DOE", r:to("lab")["PID-5.1"])
-- Scripts run in a worker, as they do in the engine: the same sandbox, the same limits.
local sys = require "lunate.sys"
local site = require "lunate.cli.site"
local loader = require "lunate.cli.loader"
local worker = require "lunate.cli.worker"
local time = require "lunate.cli.time"
local golden = require "lunate.spec.golden"
local trace = require "lunate.cli.trace"

-- watch: "lines" for coverage; then `counts` has hits by file and line.
local M = { golden = golden.golden, counts = {}, watched = {},
  quietly = function(f, ...) return f(...) end }
local Channel, Result = {}, {}
Channel.__index, Result.__index = Channel, Result

local loaded

--- The first message that goes to a destination, as a message object; nil when none does.
function Result:to(dest)
  for _, o in ipairs(self.outputs) do
    if o.dest == dest and o.raw then return assert(require("hl7").parse(o.raw)) end
  end
end

-- CE is treated as AE is and CR as AR, when the policy does not name them (lua/channel.lua).
local done = { park = "parked", retry = "retried", stop = "stopped" }

--- What the engine would do when a destination answered so: "sent", "parked", "retried" or
-- "stopped". code: AA, AE, AR, CA, CE or CR.
function Result:reply(dest, code)
  local settings = self.settings
  if settings["dest." .. dest .. ".kind"] ~= "mllp" then
    error(("the channel has no destination \"%s\" that answers"):format(dest), 2)
  end
  if code == "AA" or code == "CA" then return "sent" end
  local action = settings[("dest.%s.on_reply.%s"):format(dest, code)]
  return done[action] or error(("no reply is called %s"):format(tostring(code)), 2)
end

-- The next key and value that kv holds at the start.
local function kv_pairs(kv)
  local json, key, value = require "json", nil, nil
  return function()
    key, value = next(kv, key)
    if key ~= nil then return key, json.encode(value) end
  end
end

local function clock_us(text)
  local us = text and time.parse(text)
  if text and not us then error(("\"%s\" is no time (20260105083000)"):format(text), 3) end
  return us
end

local function start(self)
  local o = self.options
  local w, err = worker.start(loaded, self.channel, { kv = o.kv and kv_pairs(o.kv) or nil,
    clock = self.clock, watch = M.watch, http = o.http })
  if not w then error(err, 3) end
  self.worker = w
  if M.watch then M.watched[#M.watched + 1] = w end
end

local function count(w)
  if M.watch then trace.count(M.counts, trace.decode(w:trace(), true)) end
end

--- Runs the channel's filter and transform on a message (bytes or a message object). Gives
-- { state = "done" | "filtered" | "error" | "limit", reason, where, trace,
-- outputs = { { dest, kind = "bytes" | "filtered" | "error", raw, changed, reason } }, log }
-- and the methods to(dest) and reply(dest, code).
function Channel:run(message)
  if not self.worker then start(self) end
  local r = M.quietly(self.worker.run, self.worker, tostring(message))
  if r.state == "limit" then
    count(self.worker)
    self.worker = nil
  end
  r.settings = self.channel.settings
  return setmetatable(r, Result)
end

--- From the next message on the script is told this time (20260105083000, an ISO time; nil: the
-- real one) by now(), os.time(), os.date() and hl7.time.
function Channel:at(text)
  self.clock = clock_us(text)
  if self.worker then self.worker:set_clock(self.clock or 0) end
  return self
end

--- Forgets kv: the next message finds what lunate.channel was given.
function Channel:restart()
  if self.worker then
    count(self.worker)
    self.worker:close()
  end
  self.worker = nil
  return self
end

--- What ran in all workers so far, for `lunate test --coverage`.
function M.collect()
  for _, w in ipairs(M.watched) do
    if not w.closed then count(w) end
  end
  return M.counts, loaded
end

--- A channel of the site; raises what `lunate check` would say of it. o: clock (the time that the
-- script is told), kv (a table: what kv holds at the start), http (function(request) that answers
-- what the script asks over HTTP).
function M.channel(name, o)
  loaded = loaded or loader.load()
  local c = loaded.by_name[name]
  if not c then error(("the site has no channel \"%s\""):format(name), 2) end
  for _, e in ipairs(loaded.errors) do
    if e.channel == name then error(e.text, 2) end
  end
  return setmetatable({ channel = c, options = o or {}, clock = clock_us(o and o.clock) }, Channel)
end

--- The messages of samples/NAME.hl7 as bytes with CR as segment end; the first one first.
function M.samples(name)
  local path = site.file("samples/" .. name .. ".hl7")
  local text, err = site.read(path)
  if not text then error(err, 2) end
  local list = sys.messages(text)
  for i, bytes in ipairs(list) do
    list[i] = bytes:gsub("\r\n", "\r"):gsub("\n", "\r")
  end
  if #list == 0 then error(path .. " holds no message", 2) end
  return list
end

--- The first message of samples/NAME.hl7.
function M.sample(name)
  return M.samples(name)[1]
end

return M
