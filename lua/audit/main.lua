-- The loop of audit-send (core/role/audit_send.c): entries of the audit log, in order, to an audit
-- record repository. Syslog has no answers, so a connection is a batch: it carries what is there
-- and what comes within a second, then the signed head, and ends in order. Only when the repository
-- has ended it, too, has it read everything; only then the mark moves. Whatever goes wrong before
-- that, the entries behind the mark are sent again: none is lost, some may come twice, with the
-- same number and hash.
local wire = require "lunate.wire"
local beside = require "lunate.beside"
local core = require "lunate.audit_send"
local sys = require "lunate.sys"
local syslog = require "lunate.audit.syslog"
local hostname = require "lunate.alerter".hostname
local time = require "lunate.cli.time"
local decode = require("json").decode

local EVERY, REPORT = 0.5, 10 -- s: between looks at the log; between reports
local LINGER, OPEN_MAX, BATCH_MAX = 1, 20, 2000 -- s, s, entries of one connection
local CHUNK = 64 * 1024
local PATIENCE, FINISH = 15, 30 -- s
local FIRST, MOST, AGAIN = 1, 60, 600 -- s: back-off; the same failure is logged again after so long

local A = { sent = 0, failure = "", reported = 0, next_try = 0, backoff = 0, log_until = 0 }

local function log(level, event, fmt, ...)
  local levels = { info = 1, warn = 2, error = 3 }
  A.hub:send(wire.LOG, wire.pack("81bb", 0, levels[level], event, fmt:format(...)))
end

local function plain(text) return (tostring(text):gsub('[%c"]', " ")) end

-- ---- what is told -------------------------------------------------------------------------------

local function report()
  local marked, head = 0, 0
  if A.log then marked, head = core.state() end
  local oldest = head > marked and A.oldest or 0
  A.hub:send(wire.AUDIT_STATE, wire.pack("b8888", A.failure, marked, head, oldest, A.sent))
  A.reported = sys.now()
end

-- Back to the mark; the next try waits. The log has a line when the reason is another, or old.
local function fail(why, now)
  core.close()
  A.open = nil
  if A.log then core.rewind() end
  A.backoff = math.min(MOST, math.max(FIRST, A.backoff * 2))
  A.next_try = now + A.backoff
  if why ~= A.failure or now >= A.log_until then
    log("error", "not_sent", 'to=%s why="%s"', A.to, plain(why))
    A.log_until = now + AGAIN
  end
  A.failure = why
  report()
end

local function arrived(n)
  if A.failure ~= "" then log("info", "sends_again", "to=%s entries=%d", A.to, n) end
  A.failure, A.backoff, A.log_until, A.oldest = "", 0, 0, nil
  A.sent = A.sent + n
  report()
end

-- ---- one connection -----------------------------------------------------------------------------

-- What verify would find is told there, too, in a message of its own.
local function remark(file, note, e)
  log("error", "log_changed", 'file=%s why="%s"', plain(file), plain(note))
  return syslog.entry({ seq = e.seq, time = sys.iso(sys.now() * 1e6), action = "audit.broken",
    outcome = "failed", object = file, text = note, pid = A.pid, hash = e.hash }, A.host, A.name)
end

-- Entries from where we are, up to a chunk: text, how many; nil, why.
local function gather()
  local parts, size, n = {}, 0, 0
  while size < CHUNK and A.open.n + n < BATCH_MAX do
    local line, file, note = core.next()
    if line == nil then return nil, file end
    if not line then break end
    local ok, e = pcall(decode, line)
    if not ok or type(e) ~= "table" or type(e.action) ~= "string" or type(e.time) ~= "string" then
      e = { seq = 0, time = sys.iso(sys.now() * 1e6), action = "audit.unreadable",
        outcome = "failed", object = file }
    end
    if note ~= "" then parts[#parts + 1] = remark(file, note, e) end
    parts[#parts + 1] = syslog.entry(e, A.host, A.name)
    A.oldest = A.oldest or time.parse(e.time) or sys.now() * 1e6
    size, n = size + #parts[#parts], n + 1
  end
  return table.concat(parts), n
end

-- All is there: the head behind it, and the end.
local function finish(now)
  local n, head = A.open.n, core.head()
  local ok, why = true, nil
  if head ~= "" then ok, why = core.send(syslog.head(head, A.host, A.pid, A.real), PATIENCE) end
  if ok then ok, why = core.finish(FINISH) end
  if ok then ok, why = core.mark() end
  if not ok then return fail(why, now) end
  A.open, A.busy = nil, true
  arrived(n)
end

local function connect()
  local ok, why = core.connect(A.settings)
  if not ok then return nil, why end
  A.open.connected = true
  return true
end

local function step(now)
  A.open = A.open or { n = 0, since = now, last = now }
  local text, n = gather()
  local ok, why = text, n
  if ok and n > 0 then
    if not A.open.connected then ok, why = connect() end
    if ok then ok, why = core.send(text, PATIENCE) end
    A.open.n, A.open.last, A.busy = A.open.n + n, now, true
  elseif ok and A.open.connected then
    ok, why = core.look()
  end
  if not ok then return fail(why, now) end
  if not A.open.connected then
    A.open = nil
    if A.failure ~= "" then arrived(0) end -- what was wrong with the log is not any more
  elseif A.open.n >= BATCH_MAX or now - A.open.last >= LINGER or now - A.open.since >= OPEN_MAX then
    finish(now)
  end
end

-- ---- the loop -----------------------------------------------------------------------------------

local files = { ca = true, cert = true, key = true, crl = true }

local function take_settings(payload)
  local s, at = { timeout = PATIENCE }, 1
  while at <= #payload do
    local behind, key, value = wire.unpack("bb", payload, at)
    key, at = key:match "^audit%.syslog%.(.*)$", behind
    if key then key = key:match "^tls%.(.*)$" or key end
    if key and files[key] and value:sub(1, 1) ~= "/" then value = A.site .. "/" .. value end
    if key then s[key] = value end
  end
  A.settings = s
  A.to = (s.host:find ":" and "[%s]:%s" or "%s:%s"):format(s.host, s.port)
  A.next_try, A.backoff, A.log_until = 0, 0, 0
  if A.open then -- whoever it went to: nothing of it is known to have arrived
    core.close()
    core.rewind()
    A.open = nil
  end
end

-- The log is there when the engine has written its first entry.
local function open_log(now)
  local ok, why = core.open(A.data)
  A.log = ok or nil
  if ok then core.confine() end
  if ok == nil then fail(why, now) end
end

local function turn()
  local now = sys.now()
  if now >= A.next_try or A.next_try - now > MOST then
    if not A.log then open_log(now) end
    if A.log then step(now) end
  end
  if sys.now() - A.reported >= REPORT or sys.now() < A.reported then
    report()
  end
  local kind, payload = A.hub:receive(A.busy and 0.001 or EVERY)
  A.busy = false
  if kind == wire.SITE then
    take_settings(payload)
  elseif not kind then
    return payload == "timeout"
  end
  return true
end

return function()
  local settings
  A.hub, A.site, A.data, settings = beside()
  if not A.hub then return 1 end
  A.real = sys.realpath(A.site) or A.site
  A.name, A.host, A.pid = A.real:match "[^/]*$", hostname(), core.pid()
  take_settings(settings)
  report()
  while turn() do end -- until the hub is gone
  return 0
end
