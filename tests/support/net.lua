-- TCP and MLLP for the tests, independent of Lunate's own code: everything is non-blocking with
-- poll and a timeout in seconds. net.cleanup() (in after_each) closes what is left open.
local ffi = require "ffi"
local bit = require "bit"
local sys = require "support.sys"
local C = sys.C

local M = {}
local Conn, Listener, Receiver = {}, {}, {}
Conn.__index, Listener.__index, Receiver.__index = Conn, Listener, Receiver
local open = {}

local SOCK = bit.bor(1, 2048, 0x80000) -- STREAM, NONBLOCK, CLOEXEC
local NOSIGNAL = 0x4000

local function address(host, port)
  local ip6 = host:find(":", 1, true) ~= nil
  local a = ffi.new(ip6 and "struct sys_in6" or "struct sys_in")
  a.family = ip6 and 10 or 2
  a.port = bit.bor(bit.lshift(bit.band(port, 255), 8), bit.rshift(port, 8))
  assert(C.inet_pton(a.family, host, a.addr) == 1, "not an address: " .. host)
  return a, ffi.sizeof(a), a.family
end

local function option(fd, level, name, value)
  C.setsockopt(fd, level, name, ffi.new("int[1]", value), 4)
end

local function adopt(kind, fd)
  local s = setmetatable({ fd = fd, buf = "" }, kind)
  open[s] = true
  return s
end

-- The last error of a socket: text, errno; nil when there is none.
local function pending_error(fd)
  local e, len = ffi.new "int[1]", ffi.new("unsigned[1]", 4)
  C.getsockopt(fd, 1, 4, e, len)
  if e[0] ~= 0 then return sys.errtext(e[0]), e[0] end
end

--- Connects. o: host (127.0.0.1), timeout (5 s), rcvbuf, sndbuf (bytes), from (an address).
-- Returns a connection, or nil and why ("refused", "timeout", ...).
function M.connect(port, o)
  o = o or {}
  local a, len, family = address(o.host or "127.0.0.1", port)
  local fd = C.socket(family, SOCK, 0)
  assert(fd >= 0, "socket")
  if o.rcvbuf then option(fd, 1, 8, o.rcvbuf) end
  if o.sndbuf then option(fd, 1, 7, o.sndbuf) end
  if o.from then
    local own, size = address(o.from, 0)
    assert(C.bind(fd, own, size) == 0, "bind")
  end
  option(fd, 6, 1, 1)
  local err, code
  if C.connect(fd, a, len) ~= 0 then
    code = ffi.errno()
    if code == sys.EINPROGRESS then
      if sys.poll(fd, "out", o.timeout or 5) then
        err, code = pending_error(fd)
      else
        err = "timeout"
      end
    else
      err = sys.errtext(code)
    end
  end
  if err then
    C.close(fd)
    return nil, code == sys.ECONNREFUSED and "refused" or err
  end
  return adopt(Conn, fd)
end

--- Connects as soon as somebody listens; raises after `seconds`.
function M.connect_when_open(port, seconds, o)
  return sys.wait_until(function() return M.connect(port, o) end, seconds or 5,
    "listener on port " .. port)
end

--- Listens. o: host (default 127.0.0.1), port (default: a free one), backlog.
function M.listen(o)
  o = o or {}
  local host = o.host or "127.0.0.1"
  local a, len, family = address(host, o.port or 0)
  local fd = C.socket(family, SOCK, 0)
  assert(fd >= 0, "socket")
  option(fd, 1, 2, 1)
  if C.bind(fd, a, len) ~= 0 or C.listen(fd, o.backlog or 128) ~= 0 then
    local text = sys.errtext()
    C.close(fd)
    error(("cannot listen on %s port %d: %s"):format(host, o.port or 0, text), 2)
  end
  local l = adopt(Listener, fd)
  C.getsockname(fd, a, ffi.new("unsigned[1]", len))
  l.port = bit.bor(bit.lshift(bit.band(a.port, 255), 8), bit.rshift(a.port, 8))
  l.host = host
  return l
end

--- A port that is free at the moment of asking. Ports below the range that the kernel hands out for
-- outgoing connections, so that no client's own port takes it before it is used.
local last_port = 20000 + (C.getpid() * 37) % 10000
function M.free_port(host)
  for _ = 1, 1000 do
    last_port = last_port + 1
    if last_port > 31999 then last_port = 20000 end
    local ok, l = pcall(M.listen, { host = host, port = last_port })
    if ok then
      l:close()
      return last_port
    end
  end
  error("no free port", 2)
end

--- The next connection, or nil, "timeout".
function Listener:accept(timeout)
  local deadline = sys.now() + (timeout or 5)
  repeat
    local fd = C.accept4(self.fd, nil, nil, bit.band(SOCK, bit.bnot(1)))
    if fd >= 0 then
      option(fd, 6, 1, 1)
      return adopt(Conn, fd)
    end
    if ffi.errno() ~= sys.EAGAIN then error("accept: " .. sys.errtext(), 2) end
  until not sys.poll(self.fd, "in", math.max(0, deadline - sys.now()))
  return nil, "timeout"
end

local function close(self)
  if self.fd then C.close(self.fd) end
  self.fd = nil
  open[self] = nil
end
Listener.close, Conn.close = close, close

--- Sends all of it: true, or nil, why ("timeout", "closed", ...), bytes sent.
function Conn:send(data, timeout)
  local at, bytes = 0, ffi.cast("const char *", data)
  local deadline = sys.now() + (timeout or 5)
  while at < #data do
    local n = tonumber(C.send(self.fd, bytes + at, #data - at, NOSIGNAL))
    if n >= 0 then
      at = at + n
    else
      local e = ffi.errno()
      if e == sys.EPIPE or e == sys.ECONNRESET then return nil, "closed", at end
      if e ~= sys.EAGAIN and e ~= sys.EINTR then return nil, sys.errtext(e), at end
      if not sys.poll(self.fd, "out", math.max(0, deadline - sys.now())) then
        return nil, "timeout", at
      end
    end
  end
  return true
end

local chunk = ffi.new "char[65536]"

local function receive(self)
  local n = tonumber(C.recv(self.fd, chunk, 65536, 0))
  if n > 0 then return ffi.string(chunk, n) end
  if n == 0 then return nil, "closed" end
  local e = ffi.errno()
  if e == sys.ECONNRESET then return nil, "reset" end
  return nil, (e == sys.EAGAIN or e == sys.EINTR) and "timeout" or sys.errtext(e)
end

--- What has arrived (at least a byte): data, or nil and "timeout", "closed" or "reset".
function Conn:recv(timeout)
  if self.buf ~= "" then
    local data = self.buf
    self.buf = ""
    return data
  end
  if not sys.poll(self.fd, "in", timeout or 5) then return nil, "timeout" end
  return receive(self)
end

--- Everything up to and with the plain text `mark`; nil, why, what came instead.
function Conn:recv_until(mark, timeout)
  local deadline = sys.now() + (timeout or 5)
  local from = 1
  while true do
    local _, stop = self.buf:find(mark, from, true)
    if stop then
      local data = self.buf:sub(1, stop)
      self.buf = self.buf:sub(stop + 1)
      return data
    end
    from = math.max(1, #self.buf - #mark + 1)
    if not sys.poll(self.fd, "in", math.max(0, deadline - sys.now())) then
      return nil, "timeout", self.buf
    end
    local data, why = receive(self)
    if data then
      self.buf = self.buf .. data
    elseif why ~= "timeout" then
      return nil, why, self.buf
    end
  end
end

--- Everything up to the peer's end; second value how it ended ("closed", "reset", "timeout").
function Conn:recv_all(timeout)
  local deadline = sys.now() + (timeout or 5)
  local parts = {}
  while true do
    local data, why = self:recv(math.max(0, deadline - sys.now()))
    if not data then return table.concat(parts), why end
    parts[#parts + 1] = data
  end
end

--- One MLLP frame's data; nil, why, what came instead. Strict: VT data FS CR and nothing else.
function Conn:recv_frame(timeout)
  local data, why, rest = self:recv_until("\28\r", timeout)
  if not data then return nil, why, rest end
  if data:sub(1, 1) ~= "\11" then return nil, "no VT at the start", data end
  return data:sub(2, -3)
end

--- Half-closes: no more will be sent, reading goes on.
function Conn:shutdown()
  C.shutdown(self.fd, 1)
end

--- Closes with a reset (RST) in place of an orderly end.
function Conn:reset()
  C.setsockopt(self.fd, 1, 13, ffi.new("struct sys_linger", { 1, 0 }), 8)
  self:close()
end

--- Limits the receive buffer, so that a peer's writes block soon.
function Conn:set_rcvbuf(bytes)
  option(self.fd, 1, 8, bytes)
end

---------------------------------------------------------------------------------------------- MLLP

--- VT text FS CR.
function M.frame(text)
  return "\11" .. text .. "\28\r"
end

--- Sends one message and returns the reply's data; nil and why.
function M.exchange(conn, text, timeout)
  local ok, why = conn:send(M.frame(text), timeout)
  if not ok then return nil, why end
  return conn:recv_frame(timeout)
end

--- Field n of a segment (HL7's own count: MSH-1 is the separator), first segment of that name.
function M.field(text, segment, n)
  for line in text:gmatch "[^\r\n]+" do
    if line:sub(1, 3) == segment then
      local sep = line:sub(4, 4)
      local fields = {}
      for f in (line .. sep):gmatch("([^" .. sep:gsub("%W", "%%%0") .. "]*)" ..
        sep:gsub("%W", "%%%0")) do
        fields[#fields + 1] = f
      end
      if segment == "MSH" then table.insert(fields, 2, sep) end
      return fields[n + 1]
    end
  end
end

--- A plain acknowledgement of a message with code "AA", "AE", ...
function M.ack(text, code, note)
  local id = M.field(text, "MSH", 10) or ""
  return "MSH|^~\\&|R|R|S|S|20260101000000||ACK|R" .. id .. "|P|" ..
    (M.field(text, "MSH", 12) or "2.5") .. "\rMSA|" .. (code or "AA") .. "|" .. id ..
    (note and "|" .. note or "") .. "\r"
end

--- A receiver that runs inside the test, driven by receiver:step().
-- o: host, port, answer = function(text, conn, receiver) -> reply. A reply is a string (framed and
-- sent), nothing (no answer), or a table { text =, raw = bytes as they are, after = seconds,
-- close = true, reset = true }. Default: AA.
-- receiver.frames: a list of { text =, conn =, at = seconds }; receiver.conns: open connections;
-- receiver.accepted how many there were; receiver.junk bytes that were no frame.
function M.receiver(o)
  o = o or {}
  local r = setmetatable({ frames = {}, conns = {}, later = {}, accepted = 0, junk = "" }, Receiver)
  r.listener = M.listen(o)
  r.port, r.host = r.listener.port, r.listener.host
  r.answer = o.answer or function(text) return M.ack(text) end
  open[r] = true
  return r
end

local function carry_out(conn, reply)
  if not conn.fd then return end
  if reply.text then conn:send(M.frame(reply.text)) end
  if reply.raw then conn:send(reply.raw) end
  if reply.reset then
    conn:reset()
  elseif reply.close then
    conn:close()
  end
end

local function take_frames(self, conn)
  local n = 0
  while conn.fd do
    local start = conn.buf:find("\11", 1, true)
    local stop = start and conn.buf:find("\28\r", start, true)
    if not stop then break end
    self.junk = self.junk .. conn.buf:sub(1, start - 1)
    local text = conn.buf:sub(start + 1, stop - 1)
    conn.buf = conn.buf:sub(stop + 2)
    n = n + 1
    self.frames[#self.frames + 1] = { text = text, conn = conn, at = sys.now() }
    local reply = self.answer(text, conn, self)
    if type(reply) == "string" then reply = { text = reply } end
    if reply and reply.after then
      self.later[#self.later + 1] = { at = sys.now() + reply.after, conn = conn, reply = reply }
    elseif reply then
      carry_out(conn, reply)
    end
  end
  return n
end

local function read_conn(self, conn)
  local parts = { conn.buf }
  local why
  repeat
    local data, err = receive(conn)
    parts[#parts + 1], why = data, err
  until not data
  conn.buf = table.concat(parts)
  local n = take_frames(self, conn)
  if why and why ~= "timeout" and conn.fd then
    conn.ended = why
    conn:close()
  end
  return n
end

local function answer_later(self)
  local now = sys.now()
  for i = #self.later, 1, -1 do
    if self.later[i].at <= now then
      local l = table.remove(self.later, i)
      carry_out(l.conn, l.reply)
    end
  end
end

--- Waits up to `timeout` (default 0) for something to come, takes it in, answers what is due.
-- Returns the number of frames taken.
function Receiver:step(timeout)
  answer_later(self)
  local list = { self.listener }
  for i = #self.conns, 1, -1 do
    if self.conns[i].fd then
      list[#list + 1] = self.conns[i]
    else
      table.remove(self.conns, i)
    end
  end
  timeout = timeout or 0
  for _, l in ipairs(self.later) do timeout = math.min(timeout, math.max(0, l.at - sys.now())) end
  local p = ffi.new("struct sys_pollfd[?]", #list)
  local first = self.deaf and 1 or 0 -- a deaf receiver leaves connections in the backlog
  for i, c in ipairs(list) do
    p[i - 1].fd, p[i - 1].events = c.fd, sys.POLLIN
  end
  C.poll(p + first, #list - first, math.ceil(timeout * 1000))
  local n = 0
  for i = 2, #list do
    if p[i - 1].revents ~= 0 then n = n + read_conn(self, list[i]) end
  end
  if first == 0 and p[0].revents ~= 0 then
    local conn = self.listener:accept(0)
    if conn then
      self.accepted = self.accepted + 1
      self.conns[#self.conns + 1] = conn
      conn.number = self.accepted
    end
  end
  answer_later(self)
  return n
end

--- Steps until fn(receiver) is truthy; raises after `seconds`.
function Receiver:run_until(fn, seconds, what)
  local deadline = sys.now() + sys.patience(seconds or 5)
  while true do
    local ok = fn(self)
    if ok then return ok end
    if sys.now() > deadline then
      error(("%s: did not happen within %g s (%d frames came)"):format(what or "condition",
        sys.patience(seconds or 5), #self.frames), 2)
    end
    self:step(0.02)
  end
end

--- Steps until n frames have come in all; returns them.
function Receiver:run_for_frames(n, seconds)
  self:run_until(function() return #self.frames >= n end, seconds, n .. " frames")
  return self.frames
end

--- Steps for that long, whatever comes.
function Receiver:run_for(seconds)
  local deadline = sys.now() + seconds
  while sys.now() < deadline do self:step(math.min(0.02, math.max(0, deadline - sys.now()))) end
end

--- The texts of all frames in order.
function Receiver:texts()
  local list = {}
  for i, f in ipairs(self.frames) do list[i] = f.text end
  return list
end

--- MSH-10 of all frames in order.
function Receiver:ids()
  local list = {}
  for i, f in ipairs(self.frames) do list[i] = M.field(f.text, "MSH", 10) end
  return list
end

function Receiver:close()
  for _, c in ipairs(self.conns) do c:close() end
  self.listener:close()
  self.conns = {}
  open[self] = nil
end

--- Closes all sockets that are left.
function M.cleanup()
  for s in pairs(open) do s:close() end
  open = {}
end

return M
