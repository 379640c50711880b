-- Asks the loader (a child of the same binary) what the site folder holds: the same that the engine
-- asks at its start. Nothing of the site's scripts runs in this process.
local wire = require "lunate.wire"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"

local M = {}

local function key_values(payload, at)
  local t = {}
  while at and at <= #payload do
    local after, key, value = wire.unpack("bb", payload, at)
    if after then t[key] = value end
    at = after
  end
  return t
end

local handlers = {
  [wire.SITE] = function(s, payload) s.settings = key_values(payload, 1) end,
  [wire.BEGIN] = function(s, payload)
    local _, name, script = wire.unpack("bb", payload)
    s.current = { name = name, script = script, files = {}, settings = {} }
    s.channels[#s.channels + 1], s.by_name[name] = s.current, s.current
  end,
  [wire.FILE] = function(s, payload)
    local _, path, text = wire.unpack("bb", payload)
    if s.current then s.current.files[#s.current.files + 1] = { path, text } end
  end,
  [wire.SETTINGS] = function(s, payload)
    local at, name = wire.unpack("b", payload)
    if s.by_name[name] then s.by_name[name].settings = key_values(payload, at) end
  end,
  [wire.ERROR] = function(s, payload)
    local _, name, text = wire.unpack("bb", payload)
    s.errors[#s.errors + 1] = { channel = name, text = text }
    if s.by_name[name] then s.by_name[name].failed = true end
  end,
  [wire.WARNING] = function(s, payload)
    local _, name, text, mistake = wire.unpack("bbb", payload)
    local list = mistake == "true" and s.errors or s.warnings
    list[#list + 1] = { channel = name, text = text }
  end,
  [wire.SHARED] = function(s, payload)
    local _, path, text = wire.unpack("bb", payload)
    s.shared[#s.shared + 1] = { path, text }
  end,
}

local function receive(stream, s)
  while true do
    local kind, payload = stream:receive(10)
    if kind == wire.DONE then return end
    if not kind then
      local blame = s.current and ("%s: the script %s"):format(s.current.script,
        payload == "timeout" and "does not end: a loop at its top level?" or "ended the loader")
      fail.fail(1, "%s", blame or "the loader failed: " .. payload)
    end
    if handlers[kind] then handlers[kind](s, payload) end
  end
end

local Loader = {}
Loader.__index = Loader

function Loader:close()
  self.stream:close()
end

--- The process alone, so that it gets ready meanwhile: for load; nil, why.
function M.spawn()
  local stream, told = wire.spawn "loader"
  if not stream then return nil, told end
  return setmetatable({ stream = stream, told = told }, Loader)
end

--- The site as the engine would load it: { settings, channels = { { name, script, files, settings,
-- failed } }, by_name, shared, errors, warnings = { { channel, text } } }.
-- spawned: what spawn() gave, or nil; the caller closes it.
function M.load(spawned)
  if not sys.kind(site.path()) then fail.fail(1, "there is no folder %s", site.path()) end
  local process, err = spawned, nil
  if not process then process, err = M.spawn() end
  if not process then fail.fail(1, "cannot start the loader: %s", err) end
  local stream = process.stream
  local s = { settings = {}, channels = {}, by_name = {}, shared = {}, errors = {}, warnings = {} }
  local kind, build = stream:receive(10)
  local _, text = nil, nil
  if kind == wire.HELLO then _, text = wire.unpack("b", build) end
  if text ~= wire.BUILD then fail.fail(1, "the loader did not start (%s)", text or build) end
  if not process.told then
    stream:send(wire.START, wire.pack("b", assert(sys.realpath(site.path()))))
  end
  receive(stream, s)
  if not spawned then process:close() end
  return s
end

return M
