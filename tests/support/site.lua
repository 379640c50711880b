-- A site in a temporary folder and an engine that runs it. `after_each(site.cleanup)` ends engines
-- and other processes, closes sockets, removes folders, and fails when a child was left behind.
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local net = require "support.net"
local json = require "support.json"

local M = { wait_until = sys.wait_until, patience = sys.patience }
local Site, Engine = {}, {}
Site.__index, Engine.__index = Site, Engine

--- The binary under test.
function M.binary()
  return assert(os.getenv "LUNATE", "run tests with `make test`")
end

--- Makes a site folder from { ["channels/x.lua"] = "text", ... }. o: base (where, e.g. a tmpfs).
function M.new(files, o)
  local s = setmetatable({ path = tmp.dir(o and o.base) }, Site)
  for name, text in pairs(files or {}) do s:write(name, text) end
  return s
end

--- Writes a file of the site.
function Site:write(name, text)
  return tmp.write(self.path .. "/" .. name, text)
end

function Site:read(name)
  return tmp.read(self.path .. "/" .. name)
end

--- Runs `lunate -C SITE verb args...` to the end: status, stdout, stderr. A table as last argument
-- gives options of proc.run (env, input, timeout).
function Site:run(...)
  local args = { ... }
  local o = type(args[#args]) == "table" and table.remove(args) or {}
  local argv = { M.binary(), "-C", self.path, unpack(args) }
  for k, v in pairs(o) do argv[k] = v end
  return proc.run(argv)
end

--- Runs a verb that must end with 0: its stdout; raises with its stderr otherwise.
function M.must(s, ...)
  local status, out, err = s:run(...)
  if status ~= 0 then error(("lunate %s: %s %s"):format(table.concat({ ... }, " "), status, err), 2) end
  return out
end

--- Raises, with all of the text, when it does not hold these very words.
function M.has(text, part)
  if not text:find(part, 1, true) then error(("%q is not in:\n%s"):format(part, text), 2) end
end

--- Runs a verb with --json and decodes its document; raises with stderr when it fails.
function Site:json(...)
  local args = { ... }
  args[#args + 1] = "--json"
  local status, out, err = self:run(unpack(args))
  if status ~= 0 then
    error(("lunate %s: status %s: %s%s"):format(table.concat(args, " "), status, err, out), 2)
  end
  return json.decode(out), out
end

--- The same for verbs that print one document a line.
function Site:json_lines(...)
  local args = { ... }
  args[#args + 1] = "--json"
  local status, out, err = self:run(unpack(args))
  if status ~= 0 then
    error(("lunate %s: status %s: %s%s"):format(table.concat(args, " "), status, err, out), 2)
  end
  return json.lines(out)
end

--- Starts the engine without waiting for it. o: env, args (list, before `run`), wrap (list, put in
-- front, e.g. { "prlimit", "--nofile=64" }).
function Site:spawn(o)
  o = o or {}
  local argv = {}
  for _, w in ipairs(o.wrap or {}) do argv[#argv + 1] = w end
  for _, w in ipairs { M.binary(), "-C", self.path } do argv[#argv + 1] = w end
  for _, w in ipairs(o.args or {}) do argv[#argv + 1] = w end
  argv[#argv + 1] = "run"
  for _, w in ipairs(o.options or {}) do argv[#argv + 1] = w end
  argv.env, argv.cwd = o.env, o.cwd
  local e = setmetatable({ site = self, proc = proc.spawn(argv) }, Engine)
  e.pid = e.proc.pid
  return e
end

--- Starts the engine and waits for its line `ready`; raises with its stderr when it does not come.
function Site:start(o)
  local began = sys.now()
  local e = self:spawn(o)
  local ok, why = e:wait_ready(o and o.timeout or 10)
  if not ok then
    local text = e:log()
    e:kill9()
    error(("engine %s; its stderr:\n%s"):format(why, text), 2)
  end
  e.ready_s = sys.now() - began
  return e
end

--- True when `ready` stands on a line of stderr; nil, why when it ended or takes too long.
function Engine:wait_ready(seconds)
  local deadline, pause = sys.now() + sys.patience(seconds), 0.001
  while true do
    local running = self.proc:running()
    if ("\n" .. self:log()):find "\nready[\r]?\n" then return true end
    if not running then return nil, "ended with " .. tostring(self.proc.status) end
    if sys.now() > deadline then return nil, ("not ready in %g s"):format(sys.patience(seconds)) end
    sys.sleep(pause)
    pause = math.min(pause * 1.3, 0.01)
  end
end

--- Its stderr so far.
function Engine:log()
  return self.proc:err()
end

function Engine:running()
  return self.proc:running()
end

--- `lunate status --json`, decoded.
function Engine:status()
  return (self.site:json "status")
end

--- The status of one channel, with its destinations by name in .dest; raises when there is none.
function Engine:channel(name)
  for _, c in ipairs(self:status().channels) do
    if c.name == name then
      c.dest = {}
      for _, d in ipairs(c.destinations or {}) do c.dest[d.name] = d end
      return c
    end
  end
  error("no channel " .. name .. " in status", 2)
end

--- Ids of its worker processes.
function Engine:workers()
  local list = {}
  for _, c in ipairs(proc.children(self.pid)) do
    local title = tmp.read("/proc/" .. c.pid .. "/cmdline") or ""
    if c.state ~= "Z" and title:find "^lunate: worker " then list[#list + 1] = c.pid end
  end
  return list
end

function Engine:signal(n)
  self.proc:kill(n)
end

--- SIGTERM and wait: exit status. Raises, with stderr, when it does not end in time.
function Engine:stop(seconds)
  self.proc:kill(proc.TERM)
  local status = self.proc:wait(seconds or 15)
  if not status then
    local text = self:log()
    self:kill9()
    error(("engine did not stop within %g s; its stderr:\n%s"):format(seconds or 15, text), 2)
  end
  return status
end

--- SIGKILL and wait.
function Engine:kill9()
  self.proc:kill(proc.KILL)
  self.proc:wait(10)
  return self.proc.status
end

--- For after_each: ends and removes all that was made through these modules; no child may be left.
function M.cleanup()
  proc.cleanup()
  net.cleanup()
  tmp.cleanup()
  local names = {}
  for _, c in ipairs(proc.children(sys.C.getpid())) do
    names[#names + 1] = c.name .. " " .. c.pid
  end
  if #names > 0 then error("children left behind: " .. table.concat(names, ", "), 0) end
end

return M
