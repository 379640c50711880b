-- The site that -C named: where its data lies, and talking to its engine.
local sys = require "lunate.sys"
local wire = require "lunate.wire"
local fail = require "lunate.cli.fail"
local patience = require "lunate.cli.patience"
local store = require "lunate.store"

local M = {}

--- The site's folder as given.
function M.path()
  return sys.site()
end

--- A path in the site's folder.
function M.file(name)
  if name:sub(1, 1) == "/" or sys.site() == "." and name ~= "" then return name end
  return sys.site() .. "/" .. name
end

--- The text of a file, or nil and why.
function M.read(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text, why = f:read "*a"
  f:close()
  return text, why and ("%s: %s"):format(path, why)
end

-- Where the store lies although lunate.lua does not load: somebody is editing it, and the engine
-- must be reached all the same. Its `data` as the text has it, when a store is there; else nil.
local function data_of_broken(text)
  local named = text:match "%f[%w_]data%s*=%s*[\"']([^\"'\n]+)[\"']"
  for _, name in ipairs { named or "data", "data" } do
    if sys.kind(M.file(name) .. "/data.mdb") then return name end
  end
end

local warned

local function broken(text, err)
  local data = data_of_broken(text)
  if not data then fail.fail(1, "%s", err) end
  if not warned then
    io.stderr:write(("warning: %s (the store is found all the same: %s)\n"):format(err,
      M.file(data)))
    warned = true
  end
  return { data = data }
end

-- lunate.lua is plain configuration: it gets `env` and the harmless part of the library, and it may
-- not be needed at all.
local function settings()
  local text = M.read(M.file "lunate.lua")
  if not text then return {} end
  local chunk, err = loadstring(text, "@" .. M.file "lunate.lua")
  if not chunk then return broken(text, err) end
  local ok, value = pcall(setfenv(chunk, {
    env = os.getenv, secret = function() return "" end, tonumber = tonumber, tostring = tostring,
    string = string, table = table,
    math = math, pairs = pairs, ipairs = ipairs, type = type, error = error, assert = assert,
  }))
  if not ok then return broken(text, tostring(value)) end
  return type(value) == "table" and value or {}
end

--- The folder of the store and of the control socket.
function M.data()
  local data = settings().data
  return M.file(type(data) == "string" and data or "data")
end

--- The same; ends the verb when there is no store in it.
function M.own_store()
  local data = M.data()
  if not sys.kind(M.path()) then fail.fail(1, "there is no folder %s", M.path()) end
  if not sys.kind(data .. "/data.mdb") then
    fail.fail(1, "%s has no store yet: %s/data.mdb is made when its engine first runs", M.path(),
      data)
  end
  return data
end

--- Where the store's key comes from, as lunate.lua says: file, command (at most one); nil: it is
--- not encrypted.
function M.key_source()
  local e = settings().encryption
  if type(e) ~= "table" then return nil end
  return type(e.key_file) == "string" and e.key_file or nil,
    type(e.key_command) == "string" and e.key_command or nil
end

--- Reads the site's keys, when it has any: stores are then opened with them. Ends the verb when
--- they cannot be read, unless `lenient`: then it says so.
function M.unlock(lenient)
  local file, command = M.key_source()
  if not file and not command then return true end
  local ok, err = store.keys(M.path(), file, command)
  if not ok and not lenient then fail.fail(1, "%s", err) end
  return ok, err
end

--- Opens a store with the site's keys: a reader, or nil and why.
function M.open_store(folder)
  M.unlock()
  return store.open(folder)
end

--- True when the folder is a site: it has lunate.lua, or channels/.
function M.is_site()
  return sys.kind(M.file "lunate.lua") == "file" or sys.kind(M.file "channels") == "folder"
end

--- Names of the site's channels, as its folder has them, sorted.
function M.channels()
  local names = {}
  for _, name in ipairs(sys.list(M.file "channels") or {}) do
    local base = name:match "^(.+)%.lua$"
    if base then
      names[#names + 1] = base
    elseif sys.kind(M.file("channels/" .. name .. "/init.lua")) == "file" then
      names[#names + 1] = name
    end
  end
  return names
end

--- What to say of a folder that is no site.
function M.no_site()
  return ("%s is no site (it has neither lunate.lua nor channels/): lunate new site DIR makes one")
    :format(M.path())
end

--- What to say of a channel that is not there.
function M.no_channel(name)
  if not M.is_site() then return M.no_site() end
  local names = M.channels()
  return ("the site has no channel \"%s\"%s"):format(name, #names > 0
    and (" (it has: %s)"):format(table.concat(names, ", "))
    or (": lunate new channel %s makes one"):format(name))
end

-- Reads PARTs up to the REPLY: status, text, list of parts.
local function reply(wait)
  local parts = {}
  while true do
    local kind, payload = wait:receive()
    if not kind then return nil, payload end
    if kind == wire.PART then
      local _, part = wire.unpack("b", payload)
      parts[#parts + 1] = part
    elseif kind == wire.REPLY then
      local _, status, text = wire.unpack("1b", payload)
      return status, text, parts
    end
  end
end

--- The folders that may hold a control socket: the owner's, and the one for others.
local function sockets()
  local access = settings().access
  local run = type(access) == "table" and type(access.socket) == "string" and access.socket or "run"
  return { M.data(), M.file(run) }
end

-- A stream to the engine; nil, why, true when nobody listens.
local function connect()
  local err, nobody
  for i, folder in ipairs(sockets()) do
    local stream, why, none = wire.connect(folder, "control.sock")
    if stream then return stream end
    if i == 1 then
      err, nobody = why, none
    elseif not none then
      err, nobody = why, false
    end
  end
  return nil, err, nobody
end

--- What goes before a request: why, a token, that it is an emergency. Set once for a run.
M.context = {}

local function send_context(stream)
  local pairs_, token = {}, M.context.token
  if M.context.reason then pairs_ = { "reason", M.context.reason } end
  if M.context.break_glass then
    pairs_[#pairs_ + 1] = "break_glass"
    pairs_[#pairs_ + 1] = "true"
  end
  if not token then token = os.getenv "LUNATE_TOKEN" end
  if token and token ~= "" then
    pairs_[#pairs_ + 1] = "token"
    pairs_[#pairs_ + 1] = token
  end
  if #pairs_ == 0 then return true end
  return stream:send(wire.CONTEXT, wire.pack(("b"):rep(#pairs_), unpack(pairs_)))
end

-- A fresh connection to the engine; ends the verb when there is none.
local function dial()
  local stream, err, nobody = connect()
  if stream then return stream end
  if not sys.kind(M.path()) then fail.fail(3, "there is no folder %s", M.path()) end
  if nobody then
    fail.fail(3, "no engine is running for %s (start one with: lunate -C %s run)", M.path(),
      M.path())
  end
  fail.fail(3, "cannot reach the engine of %s: %s", M.path(), err)
end

local reading = { status = true, metrics = true, head = true }

local function only_reads(words)
  return reading[words[1]] or words[1] == "alerts" and (words[2] == "list" or words[2] == "usual")
end

--- Asks the engine: its text (a JSON document) and the list of parts. Ends the verb when there is
-- no engine, or it does not answer (3), or it says no (its status). o.seconds: for the answer, of
-- an engine that is there (nil: it bounds its waiting itself); o.quiet: nothing on stderr.
function M.request(words, o)
  local stream = dial()
  local wait = patience.new(stream, connect, { reads = only_reads(words),
    most = o and o.seconds, quiet = o and o.quiet })
  local request = wire.pack("4" .. ("b"):rep(#words), #words, unpack(words))
  local status, text, parts = send_context(stream), nil, nil
  if status then status, text = stream:send(wire.REQUEST, request, 60) end
  if not status and text == "timeout" then text = "hung" end
  if status then status, text, parts = reply(wait) end
  if not status then text = wait:told(M.path(), text) end
  stream:close()
  if status ~= 0 then fail.fail(status or 3, "%s", text) end
  return text, parts
end

--- True when the store is somebody else's (or a token is to be used): the engine has to show it.
function M.is_foreign()
  if (os.getenv "LUNATE_TOKEN" or "") ~= "" then return true end
  local kind, why = sys.kind(M.data() .. "/data.mdb")
  return not kind and why == "Permission denied"
end

local function show(number, text)
  local out = number == 2 and io.stderr or io.stdout
  out:write(text)
  out:flush()
end

--- Has the engine run a verb that reads the store: the exit status. What it prints is printed, or
--- goes to take(stream, text): 1 output, 2 errors.
function M.view(words, take)
  local stream = dial()
  local terminal = (sys.isatty(1) and "1" or "") .. (sys.isatty(2) and "2" or "")
  if require("lunate.cli.term").coloured() then terminal = terminal .. "c" end
  local list = { "view", ("%d"):format(sys.width()), terminal, unpack(words) }
  local sent = send_context(stream)
    and stream:send(wire.REQUEST, wire.pack("4" .. ("b"):rep(#list), #list, unpack(list)))
  local wait, why = patience.new(stream, connect, { reads = true }), nil
  while sent do
    local kind, payload = wait:receive()
    why = payload
    if not kind then break end
    local _, number, text = wire.unpack("1b", payload)
    if kind == wire.PART then
      (take or show)(number, text)
    elseif kind == wire.REPLY then
      stream:close()
      if number ~= 0 and text ~= "" then fail.fail(number, "%s", text) end
      return number
    end
  end
  fail.fail(3, "%s", wait:told(M.path(), why))
end

--- Splits "CHANNEL/REST"; ends the verb when it is not that.
function M.split(word, what)
  local channel, rest = word:match "^([^/]+)/([^/]+)$"
  if not channel then fail.usage("\"%s\" is not %s", word, what) end
  return channel, rest
end

--- Splits "CHANNEL/SEQ".
function M.split_message(word)
  local channel, seq = M.split(word, "CHANNEL/SEQ, as in adt_to_lab/17")
  if not seq:match "^%d+$" or #seq > 15 then
    fail.usage("\"%s\" is not CHANNEL/SEQ, as in adt_to_lab/17", word)
  end
  return channel, tonumber(seq)
end

return M
