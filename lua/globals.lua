-- What Lunate adds to a script's globals: hl7, json, log, kv, lookup, now, env, secret, print,
-- channel and mllp. The same in a channel script and under `lunate lua`.
local lookup = require "lunate.lookup"
local channel = require "lunate.channel"
local hl7json = require "lunate.hl7.json"
local secrets = require "lunate.secrets"
local http = require "lunate.http"
local format, concat, select, tostring, type = string.format, table.concat, select, tostring, type
local sort = table.sort
local levels = { debug = 0, info = 1, warn = 2, error = 3 }

local function make_log(core)
  local log = {}
  for name, level in pairs(levels) do
    log[name] = function(fmt, ...)
      if select("#", ...) > 0 then
        fmt = format(fmt, ...)
      else
        fmt = tostring(fmt)
      end
      core.log(level, fmt)
    end
  end
  return log
end

local function make_kv(core)
  local get, set, keys = core.kv.get, core.kv.set, core.kv.keys
  local kv = { get = get, set = set, delete = core.kv.delete }
  function kv.keys(prefix)
    local list = keys(prefix)
    sort(list)
    return list
  end
  return setmetatable(kv, {
    __index = function(_, key) return get(key) end,
    __newindex = function(_, key, value) set(key, value) end,
    __metatable = false,
  })
end

--- globals(core) -> table of names and values.
return function(core)
  local env, now = core.env, core.now
  local g = {
    hl7 = core.hl7,
    json = core.json,
    log = make_log(core),
    kv = make_kv(core),
    lookup = lookup.new(core.file, core.paths, core.outside, core.reading),
    secret = secrets.getter(core),
    http = http(core),
    channel = channel.constructor(core),
    mllp = channel.mllp(core),
  }
  if type(g.hl7) ~= "table" then error "no hl7 module" end
  local as_json = hl7json(g.hl7, g.json)
  require("lunate.hl7.core").source = core.file -- for errors that name a line of a profile
  g.hl7.to_json, g.hl7.from_json = as_json.to_json, as_json.from_json
  function g.now(fmt) return now(fmt) end
  function g.env(name, default)
    local value = env(name)
    if value == nil then return default end
    return value
  end
  function g.print(...)
    local list = {}
    for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
    core.log(levels.info, concat(list, "\t"))
  end
  return g
end
