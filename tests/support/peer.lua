-- The other end of a worker or loader: speaks records with a real process over a socketpair.
local ffi = require "ffi"
local sys = require "support.sys"
local proc = require "support.proc"
local tmp = require "support.tmp"
local C = sys.C

if not pcall(function() return C.socketpair end) then
  ffi.cdef "int socketpair(int, int, int, int *);"
end

local M = {
  HELLO = 1, CHANNEL = 2, FILE = 3, KV = 4, START = 5, MESSAGE = 6, READY = 7, FAILED = 8,
  RESULT = 9, LOG = 10, SITE = 11, BEGIN = 12, SETTINGS = 13, ERROR = 14, SHARED = 15, DONE = 16,
  ALLOW = 26, READING = 121,
}
local verdicts = { "done", "filtered", "error", "limit" }
local kinds = { "bytes", "input", "same", "filtered", "error" }
local Peer = {}
Peer.__index = Peer
local open = {}

local function number(v, n)
  local out = {}
  for i = 1, n do
    out[i] = string.char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(out)
end

local function bytes(s) return number(#s, 4) .. s end

local function f64(v)
  return ffi.string(ffi.new("double[1]", v), 8)
end

M.number, M.bytes = number, bytes

-- A reader over a payload: get.u8(), get.u32(), get.bytes() ...
local function reader(text)
  local at = 1
  local get = {}
  local function num(n)
    local v = 0
    for i = n - 1, 0, -1 do v = v * 256 + text:byte(at + i) end
    at = at + n
    return v
  end
  function get.u8() return num(1) end
  function get.u16() return num(2) end
  function get.u32() return num(4) end
  function get.u64() return num(8) end
  function get.bytes()
    local n = num(4)
    at = at + n
    return text:sub(at - n, at - 1)
  end
  function get.more() return at <= #text end
  return get
end

--- Starts `lunate ROLE` with our socket as its descriptor 3.
function M.spawn(role, o)
  local pair = ffi.new "int[2]"
  assert(C.socketpair(1, 0x80001, 0, pair) == 0, "socketpair")
  local argv = { assert(os.getenv "LUNATE"), role, fds = { [3] = pair[1] } }
  for k, v in pairs(o or {}) do argv[k] = v end
  local p = setmetatable({ proc = proc.spawn(argv), fd = pair[0], buf = "" }, Peer)
  C.close(pair[1])
  open[p] = true
  return p
end

function Peer:send_raw(text)
  local at, data = 0, ffi.cast("const char *", text)
  while at < #text do
    local n = tonumber(C.send(self.fd, data + at, #text - at, 0x4000))
    if n < 0 then return nil, sys.errtext() end
    at = at + n
  end
  return true
end

function M.record(kind, payload)
  return number(#payload + 1, 4) .. string.char(kind) .. payload
end

function Peer:send(kind, payload)
  return self:send_raw(M.record(kind, payload or ""))
end

--- The next record: type, payload; nil, "end" or "timeout".
function Peer:receive(seconds)
  local deadline = sys.now() + sys.patience(seconds or 10)
  while true do
    if #self.buf >= 5 then
      local n = reader(self.buf).u32()
      if #self.buf >= n + 4 then
        local kind, payload = self.buf:byte(5), self.buf:sub(6, n + 4)
        self.buf = self.buf:sub(n + 5)
        return kind, payload
      end
    end
    if not sys.poll(self.fd, "in", math.max(0, deadline - sys.now())) then return nil, "timeout" end
    local data = sys.read(self.fd)
    if not data or data == "" then return nil, "end" end
    self.buf = self.buf .. data
  end
end

function Peer:close()
  if self.fd then C.close(self.fd) end
  self.fd = nil
  open[self] = nil
end

function M.cleanup()
  for p in pairs(open) do p:close() end
  proc.cleanup()
  tmp.cleanup()
end

-- ---- worker ----

--- Starts a worker on a script. o: name, path, files (path -> text), kv, seconds, memory_mb, jit,
-- site, env, read (paths of ALLOW). The script is o.script, or only the transform's body as o[1]. Returns it when READY
-- came, or nil and the text of FAILED.
function M.worker(o)
  local w = M.spawn("worker", { env = o.env })
  local script = o.script or ("return channel { source = mllp.listen { port = 1 }, destinations = "
    .. "{ out = mllp.send { host = 'h', port = 1 } },\ntransform = function(msg) %s\nend }")
    :format(o[1])
  local path = o.path or "channels/x.lua"
  assert(w:receive() == M.HELLO)
  w.site = o.site or tmp.dir()
  if o.read then
    local paths = {}
    for i, p in ipairs(o.read) do paths[i] = bytes(p) end
    w:send(M.ALLOW, number(0, 1) .. bytes "" .. number(#paths, 4) .. table.concat(paths))
  end
  w:send(M.CHANNEL, bytes(o.name or "x") .. bytes(w.site) .. bytes(path) .. f64(o.seconds or 5)
    .. number(o.memory_mb or 128, 4) .. number(o.jit and 1 or 0, 1))
  w:send(M.FILE, bytes(path) .. bytes(script))
  for p, text in pairs(o.files or {}) do w:send(M.FILE, bytes(p) .. bytes(text)) end
  for k, v in pairs(o.kv or {}) do w:send(M.KV, bytes(k) .. bytes(v)) end
  w:send(M.START)
  w.logs = {}
  local kind, payload = w:next(20)
  if kind == M.FAILED then
    w:close()
    return nil, reader(payload).bytes()
  end
  assert(kind == M.READY, "no READY: " .. tostring(payload))
  local get = reader(payload)
  w.dests = {}
  for i = 1, get.u32() do w.dests[i] = get.bytes() end
  return w
end

-- The next record that is neither a log line, which is kept, nor tells of a table.
function Peer:next(seconds)
  while true do
    local kind, payload = self:receive(seconds)
    if kind == M.LOG then
      local get = reader(payload)
      self.logs[#self.logs + 1] = { seq = get.u64(), level = get.u8(), where = get.bytes(),
        text = get.bytes() }
    elseif kind ~= M.READING then
      return kind, payload
    end
  end
end

function M.message(seq, raw)
  return M.record(M.MESSAGE, number(seq, 8) .. number(0, 8) .. bytes(raw))
end

--- The next result, decoded; nil and why.
function Peer:result(seconds)
  local kind, payload = self:next(seconds)
  if kind ~= M.RESULT then return nil, payload end
  local get = reader(payload)
  local r = { seq = get.u64(), verdict = verdicts[get.u8()], us = get.u32(), reason = get.bytes(),
    where = get.bytes(), trace = get.bytes(), outputs = {}, kv = {} }
  for i = 1, get.u32() do
    local o = { dest = self.dests[get.u16() + 1], kind = kinds[get.u8()], same = get.u32(),
      data = get.bytes() }
    r.outputs[i] = o
  end
  for _ = 1, get.u32() do
    local deleted, key, value = get.u8() == 1, get.bytes(), get.bytes()
    r.kv[key] = not deleted and value
  end
  assert(not get.more(), "something follows the result")
  return r
end

--- Gives one message and waits for its result.
function Peer:run(raw, seconds)
  self.seq = (self.seq or 0) + 1
  self:send_raw(M.message(self.seq, raw))
  return self:result(seconds)
end

-- ---- loader ----

local function pairs_of(get)
  local t = {}
  while get.more() do
    local k = get.bytes()
    t[k] = get.bytes()
  end
  return t
end

--- Loads a site folder: { site = settings, channels = name -> { path, files, settings }, errors =
-- list of texts, blame = the channel of each, shared, order }.
function M.load(folder, o)
  local p = M.spawn("loader", o)
  local s = { channels = {}, errors = {}, shared = {}, order = {}, blame = {} }
  assert(p:receive() == M.HELLO)
  p:send(M.START, bytes(folder))
  local current
  while true do
    local kind, payload = p:receive(20)
    if not kind then error("loader: " .. payload) end
    local get = reader(payload)
    if kind == M.SITE then s.site = pairs_of(get)
    elseif kind == M.BEGIN then
      local name = get.bytes()
      current = { path = get.bytes(), files = {} }
      s.channels[name] = current
      s.order[#s.order + 1] = name
    elseif kind == M.FILE then
      local path = get.bytes()
      current.files[path] = get.bytes()
    elseif kind == M.SETTINGS then
      local name = get.bytes()
      s.channels[name].settings = pairs_of(get)
    elseif kind == M.ERROR then
      s.blame[#s.blame + 1] = get.bytes()
      s.errors[#s.errors + 1] = get.bytes()
    elseif kind == M.SHARED then
      local path = get.bytes()
      s.shared[path] = get.bytes()
    elseif kind == M.DONE then break end
  end
  s.status = p.proc:wait(5)
  p:close()
  return s
end

return M
