-- Reads a site folder, evaluates it, checks it as a whole, and emits it as records
-- (core/ipc/proto.h). Runs in the loader's trusted state; the site's own Lua runs in sandboxed
-- states of its own (core.evaluate). Each file is read once: what was checked is handed over.
local channel = require "lunate.channel"
local lexer = require "lunate.lexer"
local lookup = require "lunate.lookup"
local locate = require "lunate.locate"
local nearest = require "lunate.nearest"
local tls_files = require "lunate.tls_files"
local schema = require "lunate.schema"
local secrets = require "lunate.secrets"
local grants = require "lunate.grants"

local sort, concat, format = table.sort, table.concat, string.format

-- All files below dir whose names match, as path -> text; errors go to fail(path, why).
local function read_tree(core, dir, pattern, into, fail, depth)
  if depth > 8 then return fail(dir, "folders nested deeper than 8") end
  for _, entry in ipairs(core.list(dir) or {}) do
    local path = dir .. "/" .. entry.name
    local hidden = entry.name:sub(1, 1) == "." -- editors' and version control's
    if entry.kind == "folder" and not hidden then
      read_tree(core, path, pattern, into, fail, depth + 1)
    elseif entry.name:match(pattern) and not hidden then
      local text, err = core.read(path)
      if text then into[path] = text else fail(path, err) end
    end
  end
end

local function sorted_keys(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  sort(list)
  return list
end

-- The channels that channels/ has, in order of names: { name, path, folder }.
local function find_channels(core, fail)
  local list, seen = {}, {}
  for _, entry in ipairs(core.list "channels" or {}) do
    local name, path = entry.name:match "^([^.].*)%.lua$", "channels/" .. entry.name
    local folder = entry.kind == "folder" and path or nil
    if folder then
      name, path = entry.name:match "^[^.].*$", folder .. "/init.lua"
    end
    if name then
      if not channel.name_of(name) then
        fail("", "%s: a channel's name has up to 64 letters, digits, _ and -", path)
      elseif folder and core.kind(path) ~= "file" then
        fail("", "%s: a channel's folder needs an init.lua", folder)
      elseif seen[name] then
        fail(name, "%s: there is also %s; a channel is one or the other", path, seen[name])
      else
        seen[name] = path
        list[#list + 1] = { name = name, path = path, folder = folder }
      end
    end
  end
  sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function by_key(settings)
  local t = {}
  for i = 1, #settings, 2 do t[settings[i]] = settings[i + 1] end
  return t
end

local function line_of(c, ...)
  return format("%s:%d", c.path, locate(c.text)({ ... }, 1) or 1)
end

-- The limits of loading are not the channel's own: what went over one says so.
local function of_loading(why)
  return (why:gsub("used more than limits%.memory_mb = (%d+)$",
    "used more than %1 MB while it was loaded, the most that loading may")
    :gsub("ran longer than limits%.seconds = ([%d.]+)$",
      "ran longer than %1 s while it was loaded, the most that loading may"))
end

-- A worker would end as soon as it starts, or at its first message (core/script/state.c, on_hook).
local function fits(c, mb, fail)
  local most = tonumber(c.settings["limits.memory_mb"])
  if mb <= most * 7 / 8 then return true end
  fail(c.name, "%s: the script holds %.0f MB once it is loaded, limits.memory_mb is %d",
    line_of(c, "limits", "memory_mb"), mb, most)
end

-- The channel's own files on disk, path -> text; errors go to fail(format, ...).
local function read_files(core, c, fail)
  local files = {}
  if c.folder then
    read_tree(core, c.folder, "%.lua$", files, function(path, why) fail("%s: %s", path, why) end, 1)
  end
  if not files[c.path] then
    local text, err = core.read(c.path)
    if text then files[c.path] = text else fail("%s: %s", c.path, err) end
  end
  return files
end

-- Look-ups of tables that are not there: a mistake, but the message that needs it may never come.
local function check_lookups(core, name, texts, shared)
  for _, path in ipairs(sorted_keys(texts)) do
    local calls = path:match "%.lua$" and lexer.calls(texts[path], "lookup", "row") or {}
    for _, call in ipairs(calls) do
      local why = lookup.missing(call.name, shared)
      if why then core.emit_warning(name, format("%s:%d: %s", path, call.line, why), "true") end
    end
  end
end

-- The files of a version that the engine has kept, path -> text, and which one is the script.
local function kept_files(c, kept)
  local files = {}
  for _, file in ipairs(kept) do files[file[1]] = file[2] end
  local path = "channels/" .. c.name .. ".lua"
  return files, files[path] and path or "channels/" .. c.name .. "/init.lua"
end

-- A channel with a pin (core.pins) runs from that: what is on disk is only shown to the engine, so
-- that it can say that they differ, and may be as broken as it likes.
local function read_channel(core, c, shared, defaults, fail)
  local kept = core.pins[c.name]
  local files = read_files(core, c, function(...)
    if not kept then fail(c.name, ...) end
  end)
  if not kept and not files[c.path] then return end
  for _, path in ipairs(sorted_keys(files)) do core.emit_file(path, files[path]) end
  if kept then
    files, c.path = kept_files(c, kept)
  else
    check_lookups(core, c.name, files, shared)
    for path, content in pairs(shared) do files[path] = content end
  end
  c.text = files[c.path]
  local ok = true
  local asked = secrets.collect(core, files, function(why)
    ok = false
    fail(c.name, "%s", why)
  end, function(why) core.emit_warning(c.name, why, "false") end)
  for _, path in ipairs(sorted_keys(asked)) do
    core.emit_file(path, asked[path])
    files[path] = asked[path]
  end
  if not ok then return end
  local settings, errors, mb = core.evaluate("channel", c.path, files, defaults)
  for _, e in ipairs(errors) do
    -- A call that is the file's last thing (return channel(1)) leaves no line behind.
    if not e:find "^[^:\n]+:%d+: " then e = c.path .. ": " .. e end
    fail(c.name, "%s", secrets.mask(asked, of_loading(e)))
  end
  if #errors > 0 then return end
  grants.resolve(core, c, settings, fail)
  c.settings = by_key(settings)
  if not kept then grants.warn_of_lookups(core, c, files) end
  if fits(c, mb, fail) then
    core.emit_settings(c.name, settings)
    tls_files(core, c, fail)
    grants.take_ca(core, c, fail)
  end
end

-- ---- the site as a whole ------------------------------------------------------------------------

local function lines(text)
  local list = {}
  for line in (text or ""):gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

local any = { ["0.0.0.0"] = true, ["::"] = true, ["*"] = true }

local function check_ports(channels, fail)
  local taken = {} -- port -> list of { host, who }
  local function take(port, host, who, blame)
    for _, other in ipairs(taken[port] or {}) do
      if other.host == host or any[other.host] or any[host] then
        return blame(other.who)
      end
    end
    taken[port] = taken[port] or {}
    table.insert(taken[port], { host = host, who = who })
  end
  for _, c in ipairs(channels) do
    local s = c.settings
    if s and s["source.kind"] == "mllp" then
      take(s["source.port"], s["source.host"], format("channel %s", c.name), function(who)
        fail(c.name, "%s: port %s on %s is taken by %s", line_of(c, "source", "port"),
          s["source.port"], s["source.host"], who)
      end)
    end
  end
end

-- The channels that c hands messages to: name -> destination.
local function targets(c)
  local t = {}
  for _, dest in ipairs(lines(c.settings.destinations)) do
    local to = c.settings["dest." .. dest .. ".to"]
    if to then t[to] = dest end
  end
  return t
end

local function contains(list, value)
  for _, v in ipairs(list) do
    if v == value then return true end
  end
  return false
end

local function unknown(name, by_name)
  local near = nearest(name, sorted_keys(by_name))
  return near and near ~= name and format(" (did you mean '%s'?)", near) or ""
end

local function check_target(c, to, dest, by_name, fail)
  local where, target = line_of(c, "destinations", dest), by_name[to]
  if not target then
    fail(c.name, "%s: no channel '%s'%s", where, to, unknown(to, by_name))
  elseif target.settings and not (target.settings["source.kind"] == "channel"
    and contains(lines(target.settings["source.from"]), c.name)) then
    fail(c.name, "%s: channel '%s' does not take messages from here; its source must be "
      .. 'channel.from "%s"', where, to, c.name)
  end
end

local function check_origin(c, from, by_name, fail)
  local where, origin = line_of(c, "source"), by_name[from]
  if not origin then
    fail(c.name, "%s: no channel '%s'%s", where, from, unknown(from, by_name))
  elseif origin.settings and not targets(origin)[c.name] then
    fail(c.name, "%s: channel '%s' hands nothing to here; it needs a destination "
      .. 'channel.to "%s"', where, from, c.name)
  end
end

-- A cycle would turn one message into messages without end.
local function check_cycles(channels, by_name, fail)
  local state, path = {}, {}
  local function visit(c)
    state[c.name] = "open"
    path[#path + 1] = c.name
    for _, to in ipairs(sorted_keys(targets(c))) do
      local target = by_name[to]
      if target and target.settings then
        if state[to] == "open" then
          local from = 1
          while path[from] ~= to do from = from + 1 end
          fail(c.name, "%s: channels in a circle: %s -> %s", line_of(c, "destinations",
            targets(c)[to]), concat(path, " -> ", from), to)
        elseif not state[to] then
          visit(target)
        end
      end
    end
    path[#path] = nil
    state[c.name] = "done"
  end
  for _, c in ipairs(channels) do
    if c.settings and not state[c.name] then visit(c) end
  end
end

local function check_links(channels, fail)
  local by_name = {}
  for _, c in ipairs(channels) do by_name[c.name] = c end
  for _, c in ipairs(channels) do
    if c.settings then
      local t = targets(c)
      for _, to in ipairs(sorted_keys(t)) do check_target(c, to, t[to], by_name, fail) end
      for _, from in ipairs(lines(c.settings["source.from"])) do
        check_origin(c, from, by_name, fail)
      end
    end
  end
  check_cycles(channels, by_name, fail)
end

local function check_tables(core, shared, fail)
  for _, path in ipairs(sorted_keys(shared)) do
    if path:match "%.csv$" then
      local t, err = lookup.parse(shared[path], path)
      if not t then fail("", "%s", err) end
    end
  end
  check_lookups(core, "", shared, shared)
end

-- Files that alert targets name: a mistake, but none that keeps the engine from running.
local function check_alert_files(core, settings, text)
  for _, target in ipairs(lines(settings["alerts.targets"])) do
    for _, key in ipairs { "password_file", "ca" } do
      local path = settings[format("alerts.target.%s.%s", target, key)]
      local at = format("lunate.lua:%d", locate(text)({ "alerts", "targets", target, key }, 1) or 1)
      if path and core.kind(path) ~= "file" then
        core.emit_warning("", format("%s: %s %s: there is no such file", at, key, path), "true")
      elseif path and key == "password_file" and (core.mode(path) or 0) % 64 ~= 0 then
        core.emit_warning("", format("%s: %s: others can read the password: chmod 600 %s", at, path,
          path), "false")
      end
    end
  end
end

-- Certificates: as above. What carries the audit log elsewhere reads its files itself, with each
-- connection; those of the admin address go to the engine.
local function check_site_tls(core, settings, text)
  local looks = setmetatable({
    emit_tls = function(name, key, path, content)
      if key:find "^admin%." then core.emit_tls(name, key, path, content) end
    end,
  }, { __index = core })
  tls_files(looks, { name = "", path = "lunate.lua", settings = settings, text = text },
    function(_, fmt, ...) core.emit_warning("", format(fmt, ...), "true") end)
  local host = settings["admin.host"]
  if host and settings["admin.tls"] ~= "true" and not schema.loopback(host) then
    core.emit_warning("", format("lunate.lua:%d: admin on %s is in clear, and tokens with it: "
      .. "admin_tls = { cert = ..., key = ... } encrypts it", locate(text)({ "admin" }, 1) or 1,
      host), "false")
  end
end

local function read_site_file(core, fail)
  local text = ""
  if core.kind "lunate.lua" then
    local err
    text, err = core.read "lunate.lua"
    if not text then
      fail("", "lunate.lua: %s", err)
      text = ""
    end
  end
  local missing
  local files = secrets.collect(core, { ["lunate.lua"] = text }, function(why)
    missing = true
    fail("", "%s", why)
  end, function(why) core.emit_warning("", why, "false") end)
  files["lunate.lua"] = text
  local settings, errors = {}, {}
  if not missing then settings, errors = core.evaluate("site", "lunate.lua", files, {}) end
  files["lunate.lua"] = nil
  for _, e in ipairs(errors) do fail("", "%s", secrets.mask(files, of_loading(e))) end
  if missing or #errors > 0 then
    settings = core.evaluate("site", "lunate.lua", { ["lunate.lua"] = "" }, {})
  end
  require "lunate.access_ids"(core, settings)
  core.emit_site(settings)
  check_alert_files(core, by_key(settings), text)
  check_site_tls(core, by_key(settings), text)
  return by_key(settings)
end

local function channel_defaults(site)
  local d = {}
  for _, key in ipairs { "limits.seconds", "limits.memory_mb", "limits.attempts", "retention.days",
    "retention.mb", "archive" } do
    d[key] = site[key]
  end
  return d
end

--- load(core): core has list, kind, read (paths relative to the site), evaluate, and emit_*.
return function(core)
  core.pins = core.pins or {}
  channel.constructor(core)
  local function fail(name, fmt, ...) core.emit_error(name, format(fmt, ...)) end
  local function fail_file(path, why) fail("", "%s: %s", path, why) end
  local shared = {}
  local site = read_site_file(core, fail)
  read_tree(core, "lib", "%.lua$", shared, fail_file, 1)
  read_tree(core, "tables", "%.csv$", shared, fail_file, 1)
  local channels = find_channels(core, fail)
  if core.kind "channels" ~= "folder" then
    fail("", "channels: there is no such folder in this site")
  end
  for _, c in ipairs(channels) do
    local kept = core.pins[c.name]
    core.emit_begin(c.name, kept and select(2, kept_files(c, kept)) or c.path)
    read_channel(core, c, shared, channel_defaults(site), fail)
  end
  check_ports(channels, fail)
  check_links(channels, fail)
  grants.check(core, site, channels, fail)
  check_tables(core, shared, fail)
  for _, path in ipairs(sorted_keys(shared)) do core.emit_shared(path, shared[path]) end
  core.emit_done()
end
