-- `lunate eval -c CHANNEL FILE...`: the channel's script on the messages of files; sends nothing.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local loader = require "lunate.cli.loader"
local worker = require "lunate.cli.worker"
local differ = require "lunate.cli.differ"

local M = {}

function M.define(parser)
  parser:option("-c --channel", "the channel"):count(1)
  parser:argument("files", "files with messages; - is standard input"):args "+"
  parser:flag("--diff", "show outputs as differences to the input")
  parser:flag("--json", "one object a line")
end

local function print_output(o, input, diff)
  if not o.raw then
    print(("-> %s: %s: %s"):format(o.dest, o.kind, o.reason or ""))
    return
  end
  print(("-> %s%s"):format(o.dest, o.raw == input and " (as received)" or ""))
  for _, line in ipairs(diff and differ.lines(input, o.raw) or differ.segments(o.raw)) do
    print("  " .. term.printable(line))
  end
end

local function print_text(r, input, diff)
  for _, l in ipairs(r.log) do
    io.stderr:write(("%s %s: %s\n"):format(l.level, l.where, term.printable(l.text)))
  end
  if r.state ~= "done" then
    local text = r.reason .. (r.where ~= "" and (" (%s)"):format(r.where) or "")
    print(("%s: %s"):format(r.state == "limit" and "error" or r.state, text))
    if r.trace ~= "" then io.stderr:write(r.trace, "\n") end
    return
  end
  for _, o in ipairs(r.outputs) do print_output(o, input, diff) end
  if #r.outputs == 0 then print "done, nothing to send" end
end

local function print_json(r, file, n)
  local list, log = {}, {}
  for i, o in ipairs(r.outputs) do
    list[i] = json.object("destination", o.dest, "kind", o.kind, "reason", o.reason,
      "changed", o.changed, "raw", o.raw,
      "raw_base64", o.raw and not json.is_text(o.raw) and sys.base64(o.raw) or nil)
  end
  for i, l in ipairs(r.log) do
    log[i] = json.object("level", l.level, "where", l.where, "text", l.text)
  end
  print(json.encode(json.object("file", file, "message", n, "state", r.state, "reason", r.reason,
    "where", r.where, "trace", r.trace, "duration_us", r.duration_us, "outputs", json.list(list),
    "log", json.list(log))))
end

local function failed(r)
  if r.state == "error" or r.state == "limit" then return true end
  for _, o in ipairs(r.outputs) do
    if o.kind == "error" then return true end
  end
  return false
end

local function start(s, channel)
  local w, err = worker.start(s, channel)
  if not w then fail.fail(1, "%s", err) end
  return w
end

function M.run(args)
  local s = loader.load()
  local channel = s.by_name[args.channel]
  if not channel then
    fail.fail(1, "the site has no channel \"%s\" (it has: %s)", args.channel,
      table.concat(site.channels(), ", "))
  end
  if channel.failed then
    for _, e in ipairs(s.errors) do
      if e.channel == args.channel then fail.fail(1, "%s", e.text) end
    end
  end
  local status, w = 0, start(s, channel)
  for _, file in ipairs(args.files) do
    local text, err
    if file == "-" then text = io.read "*a" else text, err = site.read(file) end
    if not text then fail.fail(1, "%s", err) end
    local messages = sys.messages(text)
    if #messages == 0 then fail.fail(1, "%s: no message found: no line starts with MSH", file) end
    for n, bytes in ipairs(messages) do
      local r = w:run(bytes)
      if r.state == "limit" then w = start(s, channel) end
      if failed(r) then status = 1 end
      if args.json then print_json(r, file, n) else print_text(r, bytes, args.diff) end
    end
  end
  w:close()
  return status
end

return M
