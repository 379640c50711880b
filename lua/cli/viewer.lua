-- luacheck: ignore 121 122 (what goes out is taken over)
-- Runs a verb for somebody who may not read the store: what they print goes over their connection,
-- and in front of the store stands what they may see. Channels they have no role over are not
-- there; of others an observer sees states, times and numbers, and no content.
local view = require "lunate.view_core"
local sys = require "lunate.sys"
local store = require "lunate.store"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"

local OBSERVER, VIEWER, DEVELOPER = 1, 2, 4
local WITHHELD = "(withheld)"

-- ---- what goes out ------------------------------------------------------------------------------

local function stream(number)
  local s = {}
  function s:write(...)
    local parts = { ... }
    for i = 1, #parts do parts[i] = tostring(parts[i]) end
    local text = table.concat(parts)
    if text ~= "" then view.say(number, text) end
    return self
  end
  function s.flush() end
  function s.setvbuf() end
  return s
end

local function redirect(p)
  io.stdout, io.stderr = stream(1), stream(2)
  io.write = function(...) return io.stdout:write(...) end
  function _G.print(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    io.stdout:write(table.concat(parts, "\t"), "\n")
  end
  local columns, terminal = tonumber(p.words[1]) or 80, p.words[2]
  function sys.isatty(fd) return terminal:find(tostring(fd), 1, true) ~= nil end
  function sys.width() return columns end
  sys.interrupted = view.gone
  local getenv = os.getenv
  function os.getenv(name) -- luacheck: ignore
    if name == "NO_COLOR" then return not terminal:find("c", 1, true) and "1" or nil end
    if name == "TERM" then return "xterm" end
    if name == "LUNATE_TOKEN" then return nil end
    return getenv(name)
  end
end

-- ---- what is read -------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

function Reader:may(channel, role)
  return (self.roles[channel] or 0) >= role
end

function Reader:channels()
  local list = {}
  self.roles = {}
  for _, c in ipairs(self.reader:channels()) do
    local role = self.params.channels[c.name] or self.params.all
    if role < self.least then role = 0 end -- of the verb
    self.roles[c.id] = role
    if role >= OBSERVER then list[#list + 1] = c end
  end
  return list
end

function Reader:receipt(channel, ...)
  local r = self:may(channel, OBSERVER) and self.reader:receipt(channel, ...) or nil
  if r and not self:may(channel, VIEWER) then
    r.patients = {}
    if r.raw then r.raw = "" end
  end
  return r
end

function Reader:result(channel, ...)
  local r = self:may(channel, OBSERVER) and self.reader:result(channel, ...) or nil
  if r and not self:may(channel, VIEWER) then
    if r.reason ~= "" then r.reason = WITHHELD end
    r.trace = ""
    for _, item in ipairs(r.items) do
      if item.reason then item.reason = WITHHELD end
    end
  end
  return r
end

function Reader:outcome(channel, ...)
  local o = self:may(channel, OBSERVER) and self.reader:outcome(channel, ...) or nil
  if o and not self:may(channel, VIEWER) then
    o.reply = ""
    if o.reason ~= "" then o.reason = WITHHELD end
  end
  return o
end

local plain = { ack = true }

function Reader:events(channel, ...)
  if not self:may(channel, OBSERVER) then return {} end
  local list = self.reader:events(channel, ...)
  if not self:may(channel, VIEWER) then
    for _, e in ipairs(list) do
      local copy = e.kind == "operator" and e.text:match "^[%a ]+ as [%w_-]+/%d+$"
      if not plain[e.kind] then e.text = copy or WITHHELD end
    end
  end
  return list
end

function Reader:output(channel, ...)
  return self:may(channel, VIEWER) and self.reader:output(channel, ...) or nil
end

function Reader:find(index, key, channel)
  local least, list = index == "patient" and VIEWER or OBSERVER, {}
  for _, f in ipairs(self.reader:find(index, key, channel)) do
    if self:may(f.channel, least) then list[#list + 1] = f end
  end
  return list
end

function Reader:parked(channel, ...)
  if self:may(channel, OBSERVER) then return self.reader:parked(channel, ...) end
end

function Reader:seq_at(channel, ...)
  return self:may(channel, OBSERVER) and self.reader:seq_at(channel, ...) or nil
end

-- Which versions there were; what stands in them is for developers.
function Reader:versions(channel)
  local list = self:may(channel, OBSERVER) and self.reader:versions(channel) or {}
  for _, v in ipairs(self:may(channel, DEVELOPER) and list or {}) do
    for _, f in ipairs(v.files) do self.files[f.hash] = true end
  end
  return list
end

function Reader:version_file(hash)
  if self.files[hash] then return self.reader:version_file(hash) end
  fail.fail(1, "scripts are shown to developers of the channel")
end

function Reader:version_now(channel)
  return self:may(channel, DEVELOPER) and self.reader:version_now(channel)
    or { id = "", pin = "", pin_from = "", reason = "" }
end

function Reader:runs(channel)
  return self:may(channel, DEVELOPER) and self.reader:runs(channel) or {}
end

function Reader:kv(channel, ...)
  if self:may(channel, VIEWER) then return self.reader:kv(channel, ...) end
end

function Reader:close()
  self.reader:close()
end

-- Whatever else a reader can do is the owner's.
setmetatable(Reader, { __index = function()
  return function() fail.fail(1, "that is only shown to the site's owner") end
end })

local function guard(p)
  local open = store.open
  function store.open(folder)
    local reader, err = open(folder)
    if not reader then return nil, err end
    local r = setmetatable({ reader = reader, params = p, roles = {}, files = {},
      least = require("lunate.audit_core").view_role(p.words[3]) }, Reader)
    r:channels()
    return r
  end
  for _, name in ipairs { "verify", "backup", "restore" } do
    store[name] = function() fail.fail(1, "that is only done for the site's owner") end
  end
  function site.data() return p.data end
  function site.request() fail.fail(1, "a view asks the engine for nothing") end
end

-- The site's keys, for a store that is encrypted: lunate.lua cannot be read later.
local function unlock()
  local ok, why = site.unlock(true)
  function site.unlock(lenient)
    if not ok and not lenient then fail.fail(1, "%s", why) end
    return ok, why
  end
end

-- Files would be read with the engine's rights: none but the audit log's.
local function no_files(p)
  local open = io.open
  function io.open(path, mode)
    if path:sub(1, #p.data + 7) == p.data .. "/audit/" and not path:find("..", 1, true)
      and (mode or "r"):sub(1, 1) == "r" then
      return open(path, mode)
    end
    return nil, "only the site's owner can read files here"
  end
  io.lines, io.popen, loadfile, dofile = nil, nil, nil, nil -- luacheck: ignore
  os.execute, os.remove, os.rename, os.tmpname = nil, nil, nil, nil -- luacheck: ignore
end

-- Words that name a file for C to read.
local function check(words)
  for _, word in ipairs(words) do
    if word:find "^%-%-public%-key" or word:find "^%-%-syslog" then
      fail.fail(1, "%s names a file: that is only done for the site's owner", word)
    end
  end
end

return function()
  local p = view.params()
  redirect(p)
  guard(p)
  unlock()
  no_files(p)
  local words = {}
  for i = 3, #p.words do words[#words + 1] = p.words[i] end
  local ok, err = pcall(check, words)
  if not ok then
    io.stderr:write("lunate ", words[1], ": ", fail.is(err) and err.text or tostring(err), "\n")
    return 1
  end
  return require "lunate.cli.main"(words)
end
