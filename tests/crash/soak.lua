-- A soak: a paced load through several channels while operators, receivers and kills do what they do.
-- Guards: nothing acknowledged is lost, order is kept, nothing comes twice that a kill or an operator does
-- not explain, counts reconcile, the store is in order, memory stays flat.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local tmp = require "support.tmp"
local load_ = require "crash.soak_load"
local acts = require "crash.soak_acts"
local rooms = require "crash.soak_site"
local check = require "crash.soak_check"

local World = {}
World.__index = World

function World:note(text)
  self.say(("%7.1f  %s"):format(sys.now() - self.began, text))
end

function World.pick(_, list) return list[math.random(#list)] end
function World.between(_, a, b) return a + math.random() * (b - a) end
function World.chance(_, p) return math.random() < p end

function World:number()
  self.n = self.n + 1
  return self.n
end

--- Takes a lock for the act that runs now; false when another has it.
function World:lock(name)
  local me = coroutine.running()
  if self.locks[name] then return false end
  self.locks[name] = me
  return true
end

function World:unlock(name)
  self.locks[name] = nil
end

--- Lets the load go on for that long.
function World.pause(_, seconds)
  local till = sys.now() + seconds
  repeat coroutine.yield() until sys.now() >= till
end

--- Runs a verb to its end: status, stdout, stderr.
function World:verb(...)
  local p = proc.spawn { site.binary(), "-C", self.site.path, ... }
  local began = sys.now()
  while p:running() do
    coroutine.yield()
    if sys.now() - began > sys.patience(120) then
      self.load:fault("lunate %s does not end", table.concat({ ... }, " "))
      break
    end
  end
  local status, out, err = p.status, p:out(), p:err()
  p:close()
  os.execute("rm -rf " .. p.folder)
  self:note(("lunate %s: %s%s"):format(table.concat({ ... }, " "), tostring(status),
    status ~= 0 and " " .. err:gsub("%s+$", "") or ""))
  return status, out, err
end

--- The same for a verb that has to succeed once there is an engine.
function World:must(...)
  local deadline = sys.now() + sys.patience(60)
  while true do
    local status, out, err = self:verb(...)
    if status == 0 or err:find "no message to resend" then return out end
    if sys.now() > deadline then
      self.load:fault("lunate %s: %s %s", table.concat({ ... }, " "), tostring(status), err)
      return
    end
    self:pause(0.3)
  end
end

--- Writes the site's files anew, with one setting changed.
function World:change(name, value)
  if name then self.settings[name] = value end
  for path, text in pairs(rooms.files(self.settings)) do self.site:write(path, text) end
end

function World.folder() return tmp.dir() .. "/copy" end

--- May this channel's worker (nil: the hub) be ended now? Not while memory is watched.
function World:may_restart(channel)
  if not self.watched then return true end
  return channel ~= nil and channel ~= "count"
end

--- channel -> pid of its worker
function World:workers()
  local list = {}
  for _, c in ipairs(proc.children(self.engine.pid)) do
    local name = c.state ~= "Z" and (tmp.read("/proc/" .. c.pid .. "/cmdline") or ""):match "worker (%w+)"
    if name then list[name] = c.pid end
  end
  return list
end

function World:ended(hard)
  if hard then
    self.engine:kill9()
  else
    self.engine:signal(proc.TERM)
    local deadline = sys.now() + sys.patience(30)
    while self.engine:running() and sys.now() < deadline do coroutine.yield() end
    if self.engine:running() or self.engine.proc.status ~= 0 then
      self.load:fault("SIGTERM: %s\n%s", tostring(self.engine.proc.status), self.engine:log())
      self.engine:kill9()
    end
  end
  self.kills = self.kills + 1
end

function World:begin()
  self.engine = self.site:spawn()
  local deadline = sys.now() + sys.patience(30)
  repeat
    self:pause(0.02)
    local running = self.engine:running()
    if ("\n" .. self.engine:log()):find "\nready\n" then return end
  until not running or sys.now() > deadline
  error("the engine does not start:\n" .. self.engine:log())
end

-- ---- the run ----

local function step(w, running)
  w.load:turn()
  for i = #running, 1, -1 do
    local act = running[i]
    local ok, err = coroutine.resume(act.co, w)
    if not ok then error(act.name .. ": " .. tostring(err)) end
    if coroutine.status(act.co) == "dead" then
      for name, owner in pairs(w.locks) do if owner == act.co then w.locks[name] = nil end end
      table.remove(running, i)
    end
  end
  if #w.load:wrong() > 0 then error(table.concat(w.load:wrong(), "\n"), 0) end
end

local function draw()
  local sum = 0
  for _, weight in pairs(acts.weights) do sum = sum + weight end
  local at = math.random() * sum
  local names = {}
  for name in pairs(acts.weights) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    at = at - acts.weights[name]
    if at <= 0 then return name end
  end
  return names[#names]
end

local function make(o)
  local ports = { adt = net.free_port(), count = net.free_port(), flt = net.free_port() }
  local kv = 0
  local function counted(text)
    local n = tonumber(net.field(text, "PID", 2)) or 0
    if n > kv + 1 then return ("kv was %d after %d"):format(n, kv) end
    kv = math.max(kv, n)
  end
  local load = load_.new(ports, {
    { name = "adt/out", channel = "adt", wants = rooms.all }, { name = "lab/lab", channel = "adt", wants = rooms.even },
    { name = "count/out", channel = "count", wants = rooms.all, on_frame = counted },
    { name = "flt/out", channel = "flt", wants = rooms.third },
  }, o.senders or 4, o.rate or 300)
  local out = {}
  for name, r in pairs(load.receivers) do out[name] = r.port end
  local settings = { ports = ports, out = out, mb = o.mb or 2 }
  return setmetatable({ load = load, settings = settings, site = site.new(rooms.files(settings)), locks = {}, n = 0,
    samples = {}, kills = 0, began = sys.now(), say = o.say, long = o.seconds > 300, done = {} }, World)
end

local function settle(w, running)
  w.load.quiet = true
  local deadline = sys.now() + sys.patience(180)
  while #running > 0 or w.load:waiting() do
    step(w, running)
    assert(sys.now() < deadline, "acts or senders do not come to an end")
  end
  local function idle()
    for _, c in ipairs(w.engine:status().channels) do
      if c.pending > 0 then return false end
      for _, d in ipairs(c.destinations) do if d.queued > 0 then return false end end
    end
    return true
  end
  local last
  running[1] = { name = "settle", co = coroutine.create(function()
    repeat
      for name in pairs(rooms.channels) do w:must("resend", name, "--state", "parked", "--yes") end
      repeat w:pause(0.3) until idle()
      last = w:must("messages", "--state", "parked")
    until not last:find "%S" or sys.now() > deadline
  end) }
  while #running > 0 do
    step(w, running)
    assert(sys.now() < deadline, "queues do not drain: " .. tostring(last))
  end
end

--- Runs for o.seconds with seed o.seed; o.say(text) is told everything. Raises at the first fault.
function World.run(o)
  math.randomseed(o.seed)
  local w = make(o)
  w.engine = w.site:start()
  local running, next_act, next_sample = {}, sys.now() + 0.5, sys.now() + (o.every or 30)
  local ends, half = w.began + o.seconds, w.began + o.seconds / 2
  local last_kills = ends - o.seconds * 0.04
  while sys.now() < ends do
    step(w, running)
    local now = sys.now()
    w.watched = w.long and now > half and now < last_kills
    if now > next_act and #running < (o.at_once or 4) then
      local name = draw()
      running[#running + 1] = { name = name, co = coroutine.create(acts[name]) }
      w.done[name] = (w.done[name] or 0) + 1
      next_act = now + w:between(0.1, o.pause or 3)
    end
    if now > next_sample then
      check.sample(w)
      next_sample = now + (o.every or 30)
    end
  end
  w:note "the load ends"
  settle(w, running)
  local faults = check.reconcile(w)
  assert(#faults == 0, table.concat(faults, "\n"))
  assert(w.engine:stop(30) == 0, "the engine's end")
  w.say(site.must(w.site, "verify", { timeout = 600 }):gsub("%s+$", "") )
  check.memory(w)
  assert(#faults == 0, table.concat(faults, "\n"))
  return w
end

return World
