-- `lunate versions CHANNEL`: the script versions that the store keeps, when they ran, on how many
-- messages. `lunate rollback CHANNEL [VERSION]`: the engine runs one of them, at once. And the
-- exact script that handled a message, for `show --script`.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local audit = require "lunate.cli.audit"
local history = require "lunate.cli.history"

local M = {}

function M.define(parser, verb)
  parser:argument("channel", "the channel")
  if verb == "rollback" then
    parser:argument("version", "how its name begins (lunate versions); left out: the one before")
      :args "?"
    parser:option("--reason", "why, shown until the rollback ends")
    parser:flag("--json", "print the engine's answer")
  else
    parser:flag("--json", "one JSON document per line")
  end
end

-- The channel's versions, newest first, with their runs put together: messages, from_us, to_us.
local function collect(reader, c)
  local list, by_id = reader:versions(c.id), {}
  for _, v in ipairs(list) do
    by_id[v.id], v.messages, v.runs = v, 0, {}
  end
  for _, run in ipairs(reader:runs(c.id)) do
    local v = by_id[run.id]
    if v then
      v.messages = v.messages + run.messages
      v.from_us, v.to_us = v.from_us or run.first_us, run.last_us
      v.runs[#v.runs + 1] = run
    end
  end
  table.sort(list, function(a, b)
    if a.last_us ~= b.last_us then return a.last_us > b.last_us end
    return a.id < b.id
  end)
  return list, reader:version_now(c.id)
end

local function commit_of(v)
  if v.git == "" then return nil end
  return v.git:sub(1, 10) .. (v.dirty and " and changes" or "")
end

local function state_of(v, now)
  if v.id == now.pin then return "rolled back to" end
  if v.id == now.id then return "runs" end
  return v.id == now.pin_from and "rolled back from" or ""
end

local function document(v, now)
  local runs, files = {}, {}
  for i, r in ipairs(v.runs) do
    runs[i] = json.object("first", r.first_seq, "last", r.last_seq, "messages", r.messages,
      "from", time.iso(r.first_us), "to", time.iso(r.last_us))
  end
  for i, f in ipairs(v.files) do files[i] = f.path end
  return json.object("version", v.id, "state", state_of(v, now), "messages", v.messages,
    "loaded", time.iso(v.first_us), "loaded_last", time.iso(v.last_us),
    "git", v.git ~= "" and v.git or json.null, "changed", v.git ~= "" and v.dirty,
    "runs", json.list(runs), "files", json.list(files))
end

local function row(v, now)
  local ran = v.from_us and ("%s to %s"):format(time.text(v.from_us):sub(1, 16),
    time.text(v.to_us):sub(1, 16)) or "no message kept"
  print(("%s  %s  %s  %s%s"):format(v.id:sub(1, 8), term.fit(term.number(v.messages), 11, true),
    term.fit(ran, 36), term.fit(state_of(v, now), 16),
    commit_of(v) and "  git " .. commit_of(v) or ""))
end

local function list(args)
  local h = history.open()
  local c = h:channel(args.channel)
  audit.put { action = "versions", object = c.name, reason = args.reason }
  local versions, now = collect(h.reader, c)
  if args.json then
    for _, v in ipairs(versions) do print(json.encode(document(v, now))) end
    return 0
  end
  if #versions == 0 then
    io.stderr:write(("no version of %s is kept: none has run yet\n"):format(c.name))
    return 0
  end
  print(term.paint("bold", ("%s  %s  %s"):format(term.fit("version", 8),
    term.fit("messages", 11, true), "ran")))
  for _, v in ipairs(versions) do row(v, now) end
  if now.pin ~= "" then
    local why = now.reason ~= "" and " (" .. now.reason .. ")" or ""
    print(("rolled back %s%s; lunate reload %s runs the files on disk, when they are mended")
      :format(time.text(now.pin_us):sub(1, 16), why, c.name))
  end
  return 0
end

local function rollback(args)
  local version = (args.version or ""):lower()
  if version ~= "" and not version:find "^%x+$" then
    fail.usage("\"%s\" is no version: lunate versions %s lists them", args.version, args.channel)
  end
  local text = site.request({ "rollback", args.channel, version, args.reason or "" })
  if args.json then
    print(text)
    return 0
  end
  local answer = require("json").decode(text)
  if answer.disk == "" then
    print(("%s: runs %s, which is what is on disk"):format(args.channel, answer.script:sub(1, 8)))
  else
    print(("%s: rolled back to %s; it stays so, also after restarts and reloads of all.")
      :format(args.channel, answer.script:sub(1, 8)))
    print(("The files on disk are %s: mend them, then lunate reload %s."):format(
      answer.disk:sub(1, 8), args.channel))
  end
  return 0
end

--- The kept version that a result names; nil when it is not kept (any more).
function M.of(reader, c, result)
  if not result or result.script == "" then return nil end
  for _, v in ipairs(reader:versions(c.id)) do
    if v.id == result.script then return v end
  end
end

--- The commit a version is, for people; nil when it is not known.
M.commit_of = commit_of

--- Prints the script that handled a message, byte for byte; others of its files by `path`.
function M.print_script(h, c, result, message, path)
  if not result or result.script == "" then
    fail.fail(1, "%s: no script has handled it%s", message, result and "" or " yet")
  end
  local v = M.of(h.reader, c, result)
  if not v then
    fail.fail(1, "%s: its script, %s, is not kept", message, result.script:sub(1, 8))
  end
  local own = "channels/" .. c.name
  local others, found = {}, nil
  for _, f in ipairs(v.files) do
    local is = path and f.path == path
      or not path and (f.path == own .. ".lua" or f.path == own .. "/init.lua")
    if is then found = f else others[#others + 1] = f.path end
  end
  if not found then
    fail.fail(1, "%s: version %s has no file %s (it has: %s)", message, v.id:sub(1, 8),
      path or own .. ".lua", table.concat(others, ", "))
  end
  io.write((assert(h.reader:version_file(found.hash), "a file of this version is not kept")))
  if not path and #others > 0 then
    io.stdout:flush()
    io.stderr:write(("also in version %s (--file PATH prints one): %s\n"):format(v.id:sub(1, 8),
      table.concat(others, ", ")))
  end
  return 0
end

function M.run(args, verb)
  if verb == "rollback" then return rollback(args) end
  return list(args)
end

return M
