-- Processes for the tests: spawn, feed, read, kill, wait. proc.cleanup() (in after_each) ends what
-- is left and reaps it; nothing outlives a test.
local ffi = require "ffi"
local bit = require "bit"
local sys = require "support.sys"
local tmp = require "support.tmp"
local C = sys.C

local M = { TERM = 15, KILL = 9, STOP = 19, CONT = 18, HUP = 1, INT = 2, USR1 = 10, SEGV = 11 }
local Proc = {}
Proc.__index = Proc
local left = {}

local function environment(changes)
  local list = {}
  local i = 0
  while C.environ[i] ~= nil do
    local entry = ffi.string(C.environ[i])
    if changes[entry:match "^[^=]*"] == nil then list[#list + 1] = entry end
    i = i + 1
  end
  for k, v in pairs(changes) do
    if v then list[#list + 1] = k .. "=" .. tostring(v) end
  end
  return list
end

-- A char *[] ending in NULL; the second value keeps the strings alive.
local function strings(list)
  local array = ffi.new("const char *[?]", #list + 1)
  local kept = { array }
  for i, word in ipairs(list) do
    kept[i + 1] = tostring(word)
    array[i - 1] = kept[i + 1]
  end
  return ffi.cast("char *const *", array), kept
end

local function pipe()
  local fds = ffi.new "int[2]"
  assert(C.pipe2(fds, sys.O_CLOEXEC) == 0, "pipe2")
  return fds[0], fds[1]
end

-- Descriptors to be given to the child are first moved high, so that none overwrites another.
local function lift(fd)
  local high = C.fcntl(fd, 1030, ffi.cast("int", 200)) -- F_DUPFD_CLOEXEC
  assert(high >= 0, "fcntl")
  return high
end

-- One of the child's standard streams. Returns our end of the pipe, or the file's path.
local function redirect(p, actions, fd, how, given)
  if how == "inherit" then return end
  if how == "pipe" then
    local r, w = pipe()
    local theirs, ours = (fd == 0) and r or w, (fd == 0) and w or r
    local high = lift(theirs)
    C.close(theirs)
    given[#given + 1] = high
    C.posix_spawn_file_actions_adddup2(actions, high, fd)
    return ours
  end
  if how == "file" then
    how = p.folder .. "/" .. (fd == 1 and "stdout" or "stderr")
  elseif how == "null" then
    how = "/dev/null"
  end
  local flags = sys.O_RDONLY
  if fd ~= 0 then flags = bit.bor(sys.O_WRONLY, sys.O_CREAT, sys.O_APPEND) end
  C.posix_spawn_file_actions_addopen(actions, fd, how, flags, 420)
  return how
end

--- Spawns a process.
-- o: the argv in o itself (o[1] the program, looked up in PATH); env (name -> value; false unsets);
-- cwd; stdin, stdout, stderr: "null", "pipe", "inherit", "file" (collected, see :out() and :err())
-- or a path. Defaults: stdin null, stdout and stderr file. fds: { [number in child] = our fd }.
function M.spawn(o)
  local p = setmetatable({ name = o[1], folder = tmp.dir() }, Proc)
  local actions, attr = ffi.new "char[512]", ffi.new "char[1024]"
  local set, none = ffi.new "char[256]", ffi.new "char[256]"
  C.posix_spawn_file_actions_init(actions)
  C.posix_spawnattr_init(attr)
  C.sigfillset(set)
  C.sigemptyset(none)
  C.posix_spawnattr_setsigdefault(attr, set)
  C.posix_spawnattr_setsigmask(attr, none)
  C.posix_spawnattr_setflags(attr, 0x0c) -- SETSIGDEF, SETSIGMASK
  local given = {}
  p.stdin = redirect(p, actions, 0, o.stdin or "null", given)
  p.stdout = redirect(p, actions, 1, o.stdout or "file", given)
  p.stderr = redirect(p, actions, 2, o.stderr or "file", given)
  for number, fd in pairs(o.fds or {}) do
    local high = lift(fd)
    given[#given + 1] = high
    C.posix_spawn_file_actions_adddup2(actions, high, number)
  end
  if o.cwd then C.posix_spawn_file_actions_addchdir_np(actions, o.cwd) end
  local argv, keep1 = strings(o)
  local envp, keep2 = strings(environment(o.env or {}))
  local pid = ffi.new "int[1]"
  local e = C.posix_spawnp(pid, o[1], actions, attr, argv, envp)
  C.posix_spawn_file_actions_destroy(actions)
  C.posix_spawnattr_destroy(attr)
  for _, fd in ipairs(given) do C.close(fd) end
  p.keep = { keep1, keep2 }
  if e ~= 0 then
    p:close_pipes()
    error(("cannot start %s: %s"):format(o[1], sys.errtext(e)), 2)
  end
  p.pid = pid[0]
  left[p] = true
  return p
end

--- Runs to the end: status, stdout, stderr. status: exit status, "signal N", or "timeout" (killed).
-- o as for spawn, and timeout (default 30 s), input (text for its stdin).
function M.run(o)
  if o.input then o.stdin = tmp.file(o.input) end
  local p = M.spawn(o)
  local status = p:wait(o.timeout or 30)
  if not status then
    p:kill(M.KILL)
    p:wait(5)
    status = "timeout"
  end
  local out, err = p:out(), p:err()
  p:close()
  tmp.drop(p.folder, "stdout", "stderr")
  if o.input then tmp.drop(o.stdin:match "^(.*)/file$", "file") end
  return status, out, err
end

--- Sends a signal (number; default TERM). Nothing when it has ended already.
function Proc:kill(signal)
  if not self.status then C.kill(self.pid, signal or M.TERM) end
  return self
end

local function reap(self)
  if self.status then return true end
  local st = ffi.new "int[1]"
  local got = C.waitpid(self.pid, st, 1)
  if got == 0 then return false end
  local code = got > 0 and st[0] or 0
  if bit.band(code, 0x7f) == 0 then
    self.status = bit.band(bit.rshift(code, 8), 0xff)
  else
    self.status = "signal " .. bit.band(code, 0x7f)
  end
  return true
end

--- Waits for its end: exit status, or "signal N"; nil when it still runs after `seconds`.
function Proc:wait(seconds)
  local deadline, pause = sys.now() + sys.patience(seconds or 10), 0.0005
  while not reap(self) do
    if sys.now() > deadline then return nil end
    sys.sleep(pause)
    pause = math.min(pause * 1.5, 0.01)
  end
  return self.status
end

--- True while it runs (a zombie does not).
function Proc:running()
  return not reap(self)
end

local function text_of(where)
  return type(where) == "string" and tmp.read(where) or ""
end

--- What it wrote to stdout (when that is a file) so far.
function Proc:out()
  return text_of(self.stdout)
end

--- What it wrote to stderr (when that is a file) so far.
function Proc:err()
  return text_of(self.stderr)
end

--- Writes to its stdin (a pipe): true, or nil and why.
function Proc:write(text)
  local at = 0
  local bytes = ffi.cast("const char *", text)
  while at < #text do
    local n = tonumber(C.write(self.stdin, bytes + at, #text - at))
    if n < 0 and ffi.errno() ~= sys.EINTR then return nil, sys.errtext() end
    at = at + math.max(n, 0)
  end
  return true
end

--- One read from its stdout (a pipe): data, "" at the end, nil after `seconds`.
function Proc:read(seconds)
  if not sys.poll(self.stdout, "in", sys.patience(seconds or 5)) then return nil end
  return sys.read(self.stdout)
end

--- Closes its stdin (a pipe).
function Proc:close_stdin()
  if type(self.stdin) == "number" then C.close(self.stdin) end
  self.stdin = nil
end

function Proc:close_pipes()
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    if type(self[name]) == "number" then
      C.close(self[name])
      self[name] = nil
    end
  end
end

--- Ends it for certain, reaps it, closes its pipes.
function Proc:close()
  if not self.status then
    self:kill(M.KILL)
    self:wait(10)
  end
  self:close_pipes()
  left[self] = nil
end

--- Processes that the main thread of pid started: a list of { pid, name, state }.
function M.children(pid)
  local list = {}
  for id in (tmp.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch "%d+" do
    local name, state = (tmp.read("/proc/" .. id .. "/stat") or ""):match "%((.*)%) (%S)"
    if name then list[#list + 1] = { pid = tonumber(id), name = name, state = state } end
  end
  return list
end

--- True while a process with that id exists (whosever child it is) and is not a zombie.
function M.exists(pid)
  local stat = tmp.read("/proc/" .. pid .. "/stat")
  return stat ~= nil and stat:match "%) (%S)" ~= "Z"
end

--- A number out of /proc/PID/status, e.g. "VmRSS" (kB).
function M.proc_status(pid, key)
  local text = tmp.read("/proc/" .. pid .. "/status") or ""
  return tonumber(text:match(key .. ":%s*(%d+)"))
end

--- Sends a signal to any process by its id (workers, say).
function M.kill(pid, signal)
  return C.kill(pid, signal or M.TERM) == 0
end

--- Ends and reaps all that is left.
function M.cleanup()
  for p in pairs(left) do p:close() end
  left = {}
end

return M
