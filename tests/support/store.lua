-- The store for specs: opens it in a folder of its own, makes operations from Lua tables, collects
-- what `done` is told in C (tests/store/collect.c).
local ln = require "support.ln"
local ffi, C = ln.ffi, ln.C

pcall(ffi.cdef, [[
struct ln_collected { int64_t order, code; uint64_t seq; };
struct ln_collect { int64_t told, cap; struct ln_collected at[?]; };
void collect_into(struct ln_collect *c);
void collect_done(void *arg, int code, uint64_t seq);
struct pollfd { int fd; short events, revents; };
int poll(struct pollfd *fds, unsigned long n, int timeout);
int getpid(void);
int setenv(const char *name, const char *value, int overwrite);
]])

local M = { ln = ln, ffi = ffi, C = C }
M.WHOLE = 0xffffffff -- LN_WHOLE
local CAP = 40000
local folders = {}
local loaded

local function sh(cmd)
  local p = io.popen("{ " .. cmd .. "; } 2>&1; echo \"status=$?\"")
  local out = p:read "*a"
  p:close()
  local text, status = out:match "^(.*)status=(%d+)\n$"
  return tonumber(status), text
end
M.sh = sh

--- Folder that M.clean removes.
function M.folder(base)
  local f = (base or "/tmp") .. "/lunate-store-" .. C.getpid() .. "-" .. (#folders + 1)
  sh("rm -rf " .. f)
  folders[#folders + 1] = f
  return f
end

function M.clean()
  for _, f in ipairs(folders) do sh("rm -rf " .. f) end
  folders = {}
end

--- Compiles a C file of tests/store against the mode's objects. Returns the program's path.
function M.compile(name, flags, sources)
  local out = M.folder() .. "." .. name
  local status, text = sh(("%s -std=c11 -D_GNU_SOURCE -g -O1 -Icore %s -o %s tests/store/%s.c %s")
    :format(os.getenv "CC" or "gcc", flags or "", out, name, sources or ""))
  assert(status == 0, text)
  folders[#folders + 1] = out
  return out
end

local san = { asan = "-fsanitize=address,undefined -fno-sanitize-recover=all",
  tsan = "-fsanitize=thread" }

--- Compiles tests/store/NAME.c with the store's own sources (in the mode given, or the run's).
function M.program(name, mode)
  mode = mode or os.getenv "MODE"
  return M.compile(name, san[mode] or "-O2",
    "core/store/*.c core/crypt/*.c core/base/*.c -llmdb -lzstd -lcrypto -pthread")
end

--- Stores are opened with these keys from now on (hexadecimal, a line each; nil: with none), by this
--- process, and by programs of ours through LUNATE_TEST_KEYS.
function M.keys(text)
  local out, err = ffi.new "struct ln_keys *[1]", ffi.new "struct ln_err"
  if text then
    assert(C.ln_keys_parse(ln.span(text), "test keys", out, err) == 0, ffi.string(err.text))
  end
  C.ln_store_keys(out[0])
  ffi.C.setenv("LUNATE_TEST_KEYS", text or "", 1)
end

--- Calls describe once for a store in clear and once for an encrypted one.
function M.both(name, body)
  local spec = getfenv(2) -- busted gives its words to the specs alone
  for _, how in ipairs { "in clear", "encrypted" } do
    spec.describe(name .. " " .. how, function()
      spec.setup(function() M.keys(how == "encrypted" and ("5a"):rep(32) or nil) end)
      spec.teardown(function() M.keys(nil) end)
      body(how == "encrypted")
    end)
  end
end

local function collector()
  if not loaded then
    local so = M.compile("collect", "-shared -fPIC")
    loaded = ffi.load(so)
  end
  return loaded
end

local Store = {}
Store.__index = Store

--- Opens a store; options: reserve, map_size. Returns nil, code, text when it can't be.
function M.open(path, options)
  options = options or {}
  local out, err = ffi.new "struct ln_store *[1]", ffi.new "struct ln_err"
  local opt = ffi.new("struct ln_store_options", {
    path = path, reserve = options.reserve or 0, map_size = options.map_size or 0 })
  local rc = C.ln_store_open(opt, out, err)
  if rc ~= 0 then return nil, rc, ffi.string(err.text) end
  local s = setmetatable({ s = out[0], path = path, n = 0, so = collector() }, Store)
  s.c = ffi.new("struct ln_collect", CAP)
  s.c.cap = CAP
  return s
end

function Store:close()
  self.so.collect_into(self.c)
  C.ln_store_close(self.s)
  self.s = nil
end

function Store:slot()
  self.n = self.n + 1
  assert(self.n < CAP)
  return ffi.cast("void *", ffi.cast("intptr_t", self.n - 1)), self.n - 1
end

--- Dispatches until everything asked for so far has been told, or for at most `seconds`.
function Store:wait(seconds)
  local deadline = C.ln_mono_us() + (seconds or 20) * 1e6
  local pfd = ffi.new "struct pollfd[1]"
  self.so.collect_into(self.c)
  while self.c.told < self.n and C.ln_mono_us() < deadline do
    pfd[0].fd, pfd[0].events = C.ln_store_fd(self.s), 1
    C.poll(ffi.cast("void *", pfd), 1, 50) -- another spec file may have declared it first
    C.ln_store_dispatch(self.s)
  end
  return self.c.told == self.n
end

--- What operation i was told: code, or nil when not yet.
function Store:code(i)
  if self.c.at[i].order == 0 then return nil end
  return tonumber(self.c.at[i].code)
end

function Store:order(i) return tonumber(self.c.at[i].order) end

function M.receipt(t)
  local keep = { t }
  local function span(s)
    keep[#keep + 1] = s or ""
    return ln.span(s or "")
  end
  local r = ffi.new "struct ln_receipt"
  r.kind = t.kind or C.LN_R_RECEIVED
  r.time_us = t.time_us or C.ln_now_us()
  r.origin_chan, r.origin_seq = t.origin_chan or 0, t.origin_seq or 0
  r.peer, r.control_id, r.type = span(t.peer), span(t.control_id), span(t.type)
  r.only_dest, r.raw = span(t.only_dest), span(t.raw)
  r.npatient = #(t.patient or {})
  for i, p in ipairs(t.patient or {}) do r.patient[i - 1] = span(p) end
  return r, keep
end

--- Returns index (for code and order) and seq; or nil and the code.
function Store:append(chan, t)
  local r, keep = M.receipt(t)
  local arg, i = self:slot()
  local seq = ffi.new "uint64_t[1]"
  local rc = C.ln_store_append(self.s, chan, r, t.must or false, self.so.collect_done, arg, seq)
  if rc ~= 0 then self.n = self.n - 1; return nil, rc end
  return i, tonumber(seq[0]), keep
end

local kinds = { bytes = 1, input = 2, same = 3, filtered = 4, parked = 5, forwarded = 6 }
local states = { done = 1, filtered = 2, parked = 3, rejected = 4 }

function Store:result(chan, seq, t)
  local items, kv = t.items or {}, t.kv or {}
  local citems = ffi.new("struct ln_item[?]", #items + 1)
  local ckv = ffi.new("struct ln_kv_write[?]", #kv + 1)
  for i, it in ipairs(items) do
    local c = citems[i - 1]
    c.dest, c.kind, c.same = it.dest or 0, kinds[it.kind], it.same or 0
    c.to_chan, c.to_seq = it.to_chan or 0, it.to_seq or 0
    c.data = ln.span(it.data or "")
  end
  for i, w in ipairs(kv) do
    ckv[i - 1].key = ln.span(w[1])
    ckv[i - 1].deleted = w[2] == nil
    if w[2] then ckv[i - 1].value = ln.span(w[2]) end
  end
  local p = ffi.new "struct ln_processed"
  p.state, p.time_us = states[t.state or "done"], t.time_us or C.ln_now_us()
  p.duration_us, p.attempts, p.script = t.duration_us or 0, t.attempts or 0, t.script or 0
  local reason, where, trace = t.reason or "", t.where or "", t.trace or ""
  p.reason, p.where, p.trace = ln.span(reason), ln.span(where), ln.span(trace)
  if t.ack then ffi.copy(p.ack, t.ack) end
  p.nitems, p.items, p.nkv, p.kv = #items, citems, #kv, ckv
  local arg, i = self:slot()
  local rc = C.ln_store_result(self.s, chan, seq, p, self.so.collect_done, arg)
  if rc ~= 0 then self.n = self.n - 1; return nil, rc end
  return i
end

local outs = { sent = 1, parked = 2, skipped = 3 }
function Store:outcome(chan, dest, seq, n, t)
  t = t or {}
  local o = ffi.new "struct ln_outcome"
  local reply, reason = t.reply or "", t.reason or ""
  o.state, o.tries = outs[t.state or "sent"], t.tries or 1
  o.first_us, o.time_us = t.first_us or 0, t.time_us or 0
  o.reply, o.reason = ln.span(reply), ln.span(reason)
  local arg, i = self:slot()
  local rc = C.ln_store_outcome(self.s, chan, dest, ffi.new("struct ln_pos", { seq, n }), o,
    self.so.collect_done, arg)
  if rc ~= 0 then self.n = self.n - 1; return nil, rc end
  return i
end

function Store:event(chan, seq, kind, text, dest)
  local e = ffi.new("struct ln_event", { kind = kind, time_us = 1, dest = dest or 0,
    text = ln.span(text) })
  local arg, i = self:slot()
  local rc = C.ln_store_event(self.s, chan, seq, e, self.so.collect_done, arg)
  if rc ~= 0 then self.n = self.n - 1; return nil, rc end
  return i
end

--- Any call that ends in (done, arg): s:call("ln_store_unpark", chan, seq, n).
function Store:call(name, ...)
  local arg, i = self:slot()
  local args = { ... }
  args[#args + 1] = self.so.collect_done
  args[#args + 1] = arg
  local rc = C[name](self.s, unpack(args))
  if rc ~= 0 then self.n = self.n - 1; return nil, rc end
  return i
end

function Store:channel(name) return C.ln_store_channel(self.s, name) end
function Store:dest(chan, name) return C.ln_store_dest(self.s, chan, name) end
function Store:begin() C.ln_store_begin(self.s) end
function Store:finish() C.ln_store_end(self.s) end

local function channel_table(st)
  local t = { dest = {} }
  for _, k in ipairs { "id", "first_seq", "next_seq", "cursor", "attempts", "mode", "received",
    "filtered", "processed", "errors", "parked", "rejected", "bytes" } do
    t[k] = tonumber(st[k])
  end
  t.name = ffi.string(st.name)
  for i = 0, st.ndest - 1 do
    local d = st.dest[i]
    t.dest[i + 1] = { id = d.id, name = ffi.string(d.name), held = d.held,
      seq = tonumber(d.cursor.seq), n = d.cursor.n, queued = tonumber(d.queued),
      sent = tonumber(d.sent), parked = tonumber(d.parked), skipped = tonumber(d.skipped),
      filtered = tonumber(d.filtered) }
  end
  return t
end

function Store:state(chan)
  local st = ffi.new "struct ln_channel_state"
  local rc = C.ln_store_channel_state(self.s, chan, st)
  if rc ~= 0 then return nil, rc end
  return channel_table(st)
end

function Store:stat()
  local st = ffi.new "struct ln_store_stat"
  C.ln_store_stat(self.s, st)
  return st
end

-- ---- readers

local Reader = {}
Reader.__index = Reader

--- A reader of an open store (table) or of a folder (string).
function M.reader(of)
  local out = ffi.new "struct ln_reader *[1]"
  local rc
  if type(of) == "string" then
    local err = ffi.new "struct ln_err"
    rc = C.ln_reader_open(of, out, err)
    if rc ~= 0 then return nil, rc, ffi.string(err.text) end
  else
    rc = C.ln_reader_of(of.s, out)
    if rc ~= 0 then return nil, rc end
  end
  return setmetatable({ r = out[0] }, Reader)
end

--- Starts a command in the background with stdout in a file. Returns pid and that file.
function M.start(cmd)
  local out = M.folder() .. ".out"
  folders[#folders + 1] = out
  -- sanitizers that this process was started with are not for the child
  local p = io.popen(("LD_PRELOAD= %s >%s 2>%s.err & echo $!"):format(cmd, out, out))
  local pid = p:read "*n"
  p:close()
  folders[#folders + 1] = out .. ".err"
  return pid, out
end

function M.content(file)
  local f = io.open(file, "rb")
  local text = f and f:read "*a" or ""
  if f then f:close() end
  return text
end

--- Waits until fn returns something true, at most `seconds`.
function M.until_true(fn, seconds)
  local deadline = C.ln_mono_us() + (seconds or 10) * 1e6
  while true do
    local v = fn()
    if v or C.ln_mono_us() > deadline then return v end
    C.poll(nil, 0, 5)
  end
end

function M.alive(pid)
  local f = io.open("/proc/" .. pid .. "/stat")
  local line = f and f:read "*a" or ""
  if f then f:close() end
  return line ~= "" and not line:match "%) Z"
end

function Reader:begin() return C.ln_reader_begin(self.r) end
function Reader:finish() C.ln_reader_end(self.r) end
function Reader:close() C.ln_reader_close(self.r) end

local str = ln.str
local function receipt_table(r)
  local t = { kind = r.kind, time_us = tonumber(r.time_us), origin_chan = r.origin_chan,
    origin_seq = tonumber(r.origin_seq), peer = str(r.peer), control_id = str(r.control_id),
    type = str(r.type), only_dest = str(r.only_dest), raw = str(r.raw), patient = {} }
  for i = 0, r.npatient - 1 do t.patient[i + 1] = str(r.patient[i]) end
  return t
end

function Reader:receipt(chan, seq)
  local r = ffi.new "struct ln_receipt"
  local rc = C.ln_read_receipt(self.r, chan, seq, r)
  if rc ~= 0 then return nil, rc end
  return receipt_table(r)
end

local function walk(name)
  return function(self, chan, seq)
    local r, at = ffi.new "struct ln_receipt", ffi.new("uint64_t[1]", seq)
    local rc = C[name](self.r, chan, at, r)
    if rc ~= 0 then return nil, rc end
    return tonumber(at[0]), receipt_table(r)
  end
end
Reader.from = walk "ln_read_receipt_from"
Reader.back = walk "ln_read_receipt_back"

function Reader:result(chan, seq)
  local p = ffi.new "struct ln_processed"
  local rc = C.ln_read_result(self.r, chan, seq, p)
  if rc ~= 0 then return nil, rc end
  local t = { state = p.state, attempts = p.attempts, duration_us = p.duration_us,
    script = tonumber(p.script), ack = ffi.string(p.ack), reason = str(p.reason),
    where = str(p.where), trace = str(p.trace), items = {} }
  for i = 0, p.nitems - 1 do
    local it = p.items[i]
    t.items[i + 1] = { dest = it.dest, kind = it.kind, same = it.same, to_chan = it.to_chan,
      to_seq = tonumber(it.to_seq), data = str(it.data) }
  end
  return t
end

function Reader:output(chan, seq, n)
  local out = ffi.new "struct ln_span"
  local rc = C.ln_read_output(self.r, chan, seq, n, out)
  if rc ~= 0 then return nil, rc end
  return str(out)
end

--- Next output at or behind (seq, n): seq, n, bytes, receipt time; or nil, code, seq, n.
function Reader:next_output(chan, dest, seq, n)
  local pos, bytes = ffi.new("struct ln_pos", { seq, n }), ffi.new "struct ln_span"
  local t = ffi.new "int64_t[1]"
  local rc = C.ln_read_next_output(self.r, chan, dest, pos, bytes, t)
  if rc ~= 0 then return nil, rc, tonumber(pos.seq), pos.n end
  return tonumber(pos.seq), pos.n, str(bytes), tonumber(t[0])
end

function Reader:outcome(chan, seq, n)
  local o = ffi.new "struct ln_outcome"
  local rc = C.ln_read_outcome(self.r, chan, seq, n, o)
  if rc ~= 0 then return nil, rc end
  return { state = o.state, tries = o.tries, first_us = tonumber(o.first_us),
    time_us = tonumber(o.time_us), reply = str(o.reply), reason = str(o.reason) }
end

function Reader:events(chan, seq)
  local list, i, e = {}, ffi.new "uint32_t[1]", ffi.new "struct ln_event"
  while C.ln_read_event(self.r, chan, seq, i, e) == 0 do
    list[#list + 1] = { kind = e.kind, dest = e.dest, text = str(e.text) }
  end
  return list
end

function Reader:kv(chan)
  local t, key, value = {}, ln.span "", ffi.new "struct ln_span"
  while C.ln_read_kv_next(self.r, chan, key, value) == 0 do
    t[#t + 1] = { str(key), str(value) }
  end
  table.sort(t, function(a, b) return a[1] < b[1] end)
  return t
end

function Reader:parked(chan)
  local t, seq, n = {}, ffi.new "uint64_t[1]", ffi.new "uint32_t[1]"
  while C.ln_read_next_parked(self.r, chan, seq, n) == 0 do
    t[#t + 1] = { tonumber(seq[0]), n[0] == M.WHOLE and "whole" or n[0] }
  end
  return t
end

function Reader:seq_at(chan, time_us)
  local seq = ffi.new "uint64_t[1]"
  local rc = C.ln_read_seq_at(self.r, chan, time_us, seq)
  if rc ~= 0 then return nil, rc end
  return tonumber(seq[0])
end

function Reader:find(index, chan, key, max)
  local found, n = ffi.new("struct ln_found[?]", max or 100), ffi.new "unsigned[1]"
  local rc = C.ln_find(self.r, index, chan, ln.span(key), found, max or 100, n)
  if rc ~= 0 then return nil, rc end
  local t = {}
  for i = 0, n[0] - 1 do t[i + 1] = { found[i].chan, tonumber(found[i].seq) } end
  return t
end

function Reader:channel(chan)
  local st = ffi.new "struct ln_channel_state"
  local rc = C.ln_read_channel(self.r, chan, st)
  if rc ~= 0 then return nil, rc end
  return channel_table(st)
end

function Reader:channel_id(name) return C.ln_read_channel_id(self.r, name) end

function Reader:channels()
  local list, st, id = {}, ffi.new "struct ln_channel_state", 0
  while C.ln_read_next_channel(self.r, id, st) == 0 do
    list[#list + 1] = channel_table(st)
    id = st.id
  end
  return list
end

--- Runs fn with a reader of the store or folder in one transaction.
function M.read(of, fn)
  local r = assert(M.reader(of))
  assert(r:begin() == 0)
  local ok, err = pcall(fn, r)
  r:finish()
  r:close()
  if not ok then error(err, 0) end
end

return M
