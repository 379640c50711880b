-- channel { ... }, mllp.listen, mllp.send, channel.from, channel.to: what a channel script builds
-- its description from, and the check of what it returns. The list of settings that come out stands
-- in core/ipc/proto.h; every one of them is given, defaults filled in.
local schema = require "lunate.schema"
local tls = require "lunate.tls"
local grants = require "lunate.grants"
local type, error, ipairs, pairs, setmetatable = type, error, ipairs, pairs, setmetatable
local number, choice = schema.number, schema.choice

local M = {}

-- What each constructor made: object -> { kind =, args =, line = }. Weak, so that nothing is kept.
local made = setmetatable({}, { __mode = "k" })

local function make(kind, args, where)
  local object = {}
  made[object] = { kind = kind, args = args, line = tonumber(where:match ":(%d+)$") }
  return object
end

local function name_of(v)
  if type(v) ~= "string" then return nil, "must be a channel's name, not a " .. type(v) end
  if not v:find "^[%w_-]+$" or #v > 64 then
    return nil, "is not a name of up to 64 letters, digits, _ and -"
  end
  return v
end
M.name_of = name_of

local action = choice("park", "retry", "stop")

-- charset: "trust", a name, { default = name } or { force = name }, with substitute = character. A
-- name alone means `plain`. Destinations take a name only: what goes out is in that set.
local function charset(core, plain)
  local function text_of(v)
    if type(v) == "string" then return v == "trust" and v or plain .. " " .. v end
    if type(v) ~= "table" then return nil, "must be a name or a table, not a " .. type(v) end
    for k, e in pairs(v) do
      if k ~= "default" and k ~= "force" and k ~= "substitute" or type(e) ~= "string" then
        return nil, "takes default or force, and substitute: texts"
      end
    end
    if v.default and v.force then return nil, "takes default or force, not both" end
    local word = v.force and "force " .. v.force or v.default and "default " .. v.default
    return (word or "trust") .. "\t" .. (v.substitute or "")
  end
  return function(v)
    local text, err = text_of(v)
    if not text then return nil, err end
    if plain == "force" and text:sub(1, 6) ~= "force " then
      return nil, 'must be the name of what goes out: "8859/1", or { force = "8859/1", '
        .. 'substitute = "?" }'
    end
    err = core.charset(text)
    if err then return nil, "is wrong: " .. err end
    return text
  end
end

local function listen_keys(core)
  local function address(v)
    if type(v) == "string" and core.is_address(v) then return v end
    return nil, 'must be an address like "192.0.2.7" or a net like "192.0.2.0/24"'
  end
  return {
    port = { check = number(1, 65535, true), required = true },
    host = { check = schema.host, default = "127.0.0.1" },
    idle_timeout = { check = number(0, 31536000), default = "0" },
    max_message = { check = number(64, 268435456, true), default = "52428800" },
    max_connections = { check = number(1, 1000000, true), default = "1000" },
    max_connections_per_address = { check = number(0, 1000000, true), default = "0" },
    frame_timeout = { check = number(0.1, 86400), default = "60" },
    allow = { check = schema.list(address), default = "" },
    ack_mode = { check = choice("original", "enhanced"), default = "original" },
    duplicates = { check = choice("process", "ack", "flag"), default = "process" },
    duplicate_window = { check = number(1, 31536000), default = "86400" },
    tls = {},
    charset = { check = charset(core, "default"), default = "trust" },
  }
end

local script_keys = {
  filter = { check = schema.func, default = "false" },
  transform = { check = schema.func, default = "false" },
}

local function with_script(keys)
  for k, v in pairs(script_keys) do keys[k] = v end
  return keys
end

-- retry.on.CLASS: what to do about a failed try of that class, and when: "ACTION first factor max
-- attempts", "-" where `retry` itself says it. unsent: the message did not leave us, so that there
-- is nothing to count and nothing to set aside. reply: on_reply says what to do.
local function try_class(unsent, reply)
  local times = { first = number(0.01, 86400), factor = number(1, 100), max = number(0.01, 86400),
    attempts = number(1, 1000000, true) }
  local function refuse(what)
    return nil, ('cannot be %s: a receiver that is not there must not park a queue; take { first ='
      .. ' ..., factor = ..., max = ... }, "retry" or "stop"'):format(what)
  end
  return function(v)
    if type(v) == "string" and not reply then
      if unsent and v == "park" then return refuse '"park"' end
      local text, err = action(v)
      return text and text .. " - - - -", err
    end
    if type(v) ~= "table" then
      return nil, "must be a table { first, factor, max" .. (unsent and "" or ", attempts") .. " }"
        .. (reply and "; what to do, on_reply says" or ', "retry"' .. (unsent and "" or ', "park"')
          .. ' or "stop"')
    end
    local words = {}
    for key in pairs(v) do
      if not times[key] then return nil, ("takes no %s"):format(tostring(key)) end
    end
    if unsent and v.attempts then return refuse "counted" end
    for i, key in ipairs { "first", "factor", "max", "attempts" } do
      local text, err = "-", nil
      if v[key] ~= nil then text, err = times[key](v[key]) end
      if not text then return nil, key .. " " .. err end
      words[i] = text
    end
    return "retry " .. table.concat(words, " ")
  end
end

local send_keys = with_script {
  host = { check = schema.host, required = true },
  port = { check = number(1, 65535, true), required = true },
  timeout = { check = number(0.1, 86400), default = "10" },
  ack_mode = { check = choice("original", "enhanced"), default = "original" },
  retry = { keys = {
    first = { check = number(0.01, 86400), default = "1" },
    factor = { check = number(1, 100), default = "2" },
    max = { check = number(0.01, 86400), default = "60" },
    attempts = { check = number(1, 1000000, true), default = "0" },
    on = { keys = {
      connect = { check = try_class(true), default = "" },
      tls = { check = try_class(true), default = "" },
      timeout = { check = try_class(), default = "" },
      closed = { check = try_class(), default = "" },
      AE = { check = try_class(false, true), default = "" },
      AR = { check = try_class(false, true), default = "" },
      CE = { check = try_class(false, true), default = "" },
      CR = { check = try_class(false, true), default = "" },
    } },
  } },
  stop_after_parks = { check = number(0, 1000000, true), default = "0" },
  tls = {},
}

-- CE is treated as AE is and CR as AR, unless they are set.
local function reply_keys(on_reply)
  if type(on_reply) ~= "table" then on_reply = {} end
  local ae, ar = action(on_reply.AE) or "park", action(on_reply.AR) or "retry"
  return {
    AE = { check = action, default = ae },
    AR = { check = action, default = ar },
    CE = { check = action, default = ae },
    CR = { check = action, default = ar },
  }
end

local to_keys = with_script { to = { check = name_of, required = true } }

--- The settings that the worker needs, too.
local function charset_of(settings, key)
  for i = 1, #settings, 2 do
    if settings[i] == key then return settings[i + 1] end
  end
end

--- mllp(core) -> the table `mllp` of scripts.
function M.mllp(core)
  local function constructor(kind, name)
    return function(args)
      if type(args) ~= "table" then error(name .. " takes a table: " .. name .. " { ... }", 2) end
      return make(kind, args, core.where())
    end
  end
  return {
    listen = constructor("mllp.listen", "mllp.listen"),
    send = constructor("mllp.send", "mllp.send"),
  }
end

--- constructor(core) -> the callable table `channel` of scripts.
function M.constructor(core)
  M.listen_keys = listen_keys(core)
  grants.is_address = core.is_address or grants.is_address
  send_keys.charset = { check = charset(core, "force"), default = "" }
  to_keys.charset = send_keys.charset
  local channel = {}
  --- channel.from "name", or a list of names.
  function channel.from(names)
    return make("channel.from", { from = names }, core.where())
  end
  --- channel.to("name" [, { filter =, transform = }])
  function channel.to(name, args)
    if args ~= nil and type(args) ~= "table" then
      error('channel.to takes a name and a table: channel.to("name", { filter = ... })', 2)
    end
    local all = {}
    for k, v in pairs(args or {}) do all[k] = v end
    all.to = name
    return make("channel.to", all, core.where())
  end
  return setmetatable(channel, {
    __call = function(_, args)
      if type(args) ~= "table" then error("channel takes a table: channel { ... }", 2) end
      return make("channel", args, core.where())
    end,
    __metatable = false,
  })
end

local from_keys = { from = { check = schema.list(name_of), required = true } }

local function check_source(ctx, source)
  local what = made[source]
  if source == nil then
    ctx.fail({}, "channel needs a source: mllp.listen { ... } or channel.from \"name\"")
  elseif not what or (what.kind ~= "mllp.listen" and what.kind ~= "channel.from") then
    ctx.fail({ "source" }, "source must be mllp.listen { ... } or channel.from \"name\"")
  elseif what.kind == "mllp.listen" then
    ctx.set("source.kind", "mllp")
    schema.check(ctx, M.listen_keys, what.args, { "source" }, "mllp.listen", "source.")
    tls.listen(ctx, what.args.tls, { "source", "tls" }, "source.")
  else
    ctx.set("source.kind", "channel")
    schema.check(ctx, from_keys, what.args, { "source" }, "channel.from", "source.")
  end
end

local function check_destination(ctx, name, dest)
  local where, prefix = { "destinations", name }, "dest." .. name .. "."
  local what = made[dest]
  if not what or (what.kind ~= "mllp.send" and what.kind ~= "channel.to") then
    ctx.fail(where, "destination '%s' must be mllp.send { ... } or channel.to \"name\"", name)
    return nil
  end
  local mllp = what.kind == "mllp.send"
  ctx.set(prefix .. "kind", mllp and "mllp" or "channel")
  if mllp then send_keys.on_reply = { keys = reply_keys(what.args.on_reply) } end
  schema.check(ctx, mllp and send_keys or to_keys, what.args, where, what.kind, prefix)
  if mllp then tls.send(ctx, what.args.tls, schema.extend(where, "tls"), prefix) end
  return { name = name, filter = what.args.filter, transform = what.args.transform,
    charset = charset_of(ctx.settings, prefix .. "charset") }
end

-- Returns the destinations in order of their names: their numbers on the wire.
local function check_destinations(ctx, list)
  if list == nil then list = {} end
  if type(list) ~= "table" or made[list] then
    ctx.fail({ "destinations" },
      "destinations must be a table of names: { lab = mllp.send { ... } }")
    list = {}
  end
  local names, plan = {}, {}
  for _, name in ipairs(schema.sorted(list)) do
    if type(name) ~= "string" or not name_of(name) then
      ctx.fail({ "destinations", type(name) == "string" and name or nil },
        "a destination's name has up to 64 letters, digits, _ and -")
    else
      names[#names + 1] = name
      plan[#plan + 1] = check_destination(ctx, name, list[name])
    end
  end
  if #names > 1000 then ctx.fail({ "destinations" }, "more than 1000 destinations") end
  ctx.set("destinations", table.concat(names, "\n"))
  return plan
end

local function channel_keys(defaults)
  local function d(key, text) return defaults[key] or text end
  return with_script {
    source = {}, destinations = {},
    ack = { check = choice("commit", "transform", "delivery", "none"), default = "commit" },
    on_error = { check = choice("park", "stop"), default = "park" },
    jit = { check = schema.flag, default = "false" },
    limits = { keys = M.limit_keys(d) },
    retention = { keys = M.retention_keys(d) },
    archive = { check = M.archive, default = d("archive", "") },
    allow = { keys = grants.keys() },
  }
end

--- A folder, or false: none.
function M.archive(v)
  if v == false then return "" end
  local text, err = schema.text(v)
  return text, err and "must be a folder, or false"
end

function M.limit_keys(d)
  return {
    seconds = { check = number(0.1, 3600), default = d("limits.seconds", "5") },
    memory_mb = { check = number(8, 16384, true), default = d("limits.memory_mb", "128") },
    attempts = { check = number(1, 1000, true), default = d("limits.attempts", "3") },
  }
end

--- 0 = no limit.
function M.retention_keys(d)
  return {
    days = { check = number(0, 36500), default = d("retention.days", "0") },
    mb = { check = number(0, 1e9, true), default = d("retention.mb", "0") },
  }
end

--- The keys of each table of a channel script, for editors: { ListenOptions = { port = ... } ... }.
function M.known_keys()
  M.constructor {}
  return { ChannelOptions = channel_keys {}, ListenOptions = M.listen_keys,
    SendOptions = send_keys }
end

--- check(value, info) -> settings { key, value, key, value ... }, errors { "file:line: what" ... },
--- and plan { filter, transform, { name, filter, transform } ... }. value: what the script gave;
--- info: path, text, and defaults { ["limits.seconds"] = "5" ... } of the site.
function M.check(value, info)
  local what = value ~= nil and made[value] or nil
  local ctx = schema.context(info.path, info.text, what and what.line or 1)
  if not what or what.kind ~= "channel" then
    ctx.fail({}, "the script must end with: return channel { ... }")
    return ctx.settings, ctx.errors
  end
  local args = what.args
  ctx.set("script", info.path)
  schema.check(ctx, channel_keys(info.defaults or {}), args, {}, "channel", "")
  check_source(ctx, args.source)
  local source = made[args.source]
  if args.ack == "delivery" and source and source.args.duplicates == "ack" then
    ctx.fail({ "source", "duplicates" }, 'duplicates = "ack" does not go with ack = "delivery": a '
      .. 'sender without an answer yet sends again, and would be told AA before any delivery')
  end
  local plan = check_destinations(ctx, args.destinations)
  plan.filter, plan.transform = args.filter, args.transform
  plan.charset = charset_of(ctx.settings, "source.charset")
  return ctx.settings, ctx.errors, plan
end

return M
