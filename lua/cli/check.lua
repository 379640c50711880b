-- `lunate check`: loads the site as the engine would, says what is wrong with file:line.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local loader = require "lunate.cli.loader"
local site = require "lunate.cli.site"

local M = {}

function M.define(parser)
  parser:flag("--json", "one JSON document")
end

local function print_json(s)
  local channels, errors, warnings = {}, {}, {}
  for i, c in ipairs(s.channels) do
    channels[i] = json.object("name", c.name, "script", c.script, "ok", not c.failed)
  end
  for i, e in ipairs(s.errors) do
    errors[i] = json.object("channel", e.channel ~= "" and e.channel or nil, "text", e.text)
  end
  for i, w in ipairs(s.warnings) do
    warnings[i] = json.object("channel", w.channel ~= "" and w.channel or nil, "text", w.text)
  end
  print(json.encode(json.object("ok", #s.errors == 0, "channels", json.list(channels),
    "errors", json.list(errors), "warnings", json.list(warnings))))
end

local SECONDS = 2 -- for all names together

-- Names that the engine would not find now: of receivers, and of what it is to listen on. It tries
-- again and again, so that is no mistake.
local function look_up_hosts(s)
  local hosts, users = {}, {}
  local function note(host, channel, what)
    if not host then return end
    if not users[host] then hosts[#hosts + 1] = host end
    users[host] = users[host] or {}
    table.insert(users[host], { channel = channel, what = what })
  end
  for _, c in ipairs(s.channels) do
    note(c.settings["source.host"], c, "source")
    for dest in (c.settings.destinations or ""):gmatch "[^\n]+" do
      note(c.settings["dest." .. dest .. ".host"], c, "destination " .. dest)
    end
  end
  local unresolved = #hosts > 0 and sys.unresolved(hosts, SECONDS) or {}
  for _, host in ipairs(hosts) do
    for _, u in ipairs(unresolved[host] and users[host] or {}) do
      s.warnings[#s.warnings + 1] = { channel = u.channel.name,
        text = ("%s: %s: \"%s\" has no address at the moment: %s"):format(
          u.channel.script, u.what, host, unresolved[host]) }
    end
  end
end

-- Addresses to listen on that are not this machine's: the site may be meant for another one.
local function look_for_foreign(s)
  for _, c in ipairs(s.channels) do
    local host = c.settings["source.host"]
    if host and sys.foreign(host) then
      s.warnings[#s.warnings + 1] = { channel = c.name,
        text = ("%s: source: %s is no address of this machine: here the channel could not listen "
          .. "(\"0.0.0.0\" is all of its addresses)"):format(c.script, host) }
    end
  end
end

-- Whether a program is there: a path, or a name on PATH. A path from some folder is not judged.
local function is_there(program)
  if program:sub(1, 1) == "/" then return sys.kind(program) == "file" end
  if program:find("/", 1, true) then return true end
  for folder in (os.getenv "PATH" or "/usr/bin:/bin"):gmatch "[^:]+" do
    if sys.kind(folder .. "/" .. program) == "file" then return true end
  end
  return false
end

-- Programs that alerts would go through. It may be that they are installed later.
local function look_for_commands(s)
  for key, value in pairs(s.settings or {}) do
    local target = key:match "^alerts%.target%.([%w_-]+)%.command$"
    local program = target and value:match "^[^\n]*"
    if program and not is_there(program) then
      s.warnings[#s.warnings + 1] = { channel = "", text = ("lunate.lua: alerts: target %s: "
        .. "there is no program %s: its alerts would reach nobody"):format(target, program) }
    end
  end
end

-- The store's key, which may be kept from the machine that checks.
local function look_for_key(s)
  local file = (s.settings or {})["encryption.key_file"]
  if not file or file == "" or sys.kind(site.file(file)) == "file" then return end
  s.warnings[#s.warnings + 1] = { channel = "", text = ("lunate.lua: encryption: there is no file "
    .. "%s: here the engine would not start (`lunate key new` makes a key for a new store)")
    :format(file) }
end

function M.run(args)
  local s = loader.load()
  look_up_hosts(s)
  look_for_foreign(s)
  look_for_commands(s)
  look_for_key(s)
  if args.json then
    print_json(s)
    return #s.errors == 0 and 0 or 1
  end
  for _, w in ipairs(s.warnings) do io.stderr:write("warning: ", w.text, "\n") end
  for _, e in ipairs(s.errors) do io.stderr:write(e.text, "\n") end
  if #s.errors > 0 then
    fail.fail(1, "%s in %s", term.count(#s.errors, "mistake"), term.count(#s.channels, "channel"))
  end
  print(("%s, all well"):format(term.count(#s.channels, "channel")))
  return 0
end

return M
