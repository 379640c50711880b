-- `lunate eval -c CHANNEL FILE...`: the channel's script on the messages of files; sends nothing.
local hl7 = require "hl7"
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local loader = require "lunate.cli.loader"
local worker = require "lunate.cli.worker"
local differ = require "lunate.cli.differ"
local trace = require "lunate.cli.trace"
local annotate = require "lunate.cli.annotate"
local html = require "lunate.cli.annotate_html"
local coverage = require "lunate.cli.coverage"

local M = {}

function M.define(parser)
  parser:option("-c --channel", "the channel"):count(1)
  parser:argument("files", "files with messages; standard input without one, or for -"):args "*"
  parser:flag("--diff", "show outputs as differences to the input")
  parser:flag("--annotate", "show the script with what it read and wrote on each line")
  parser:flag("--html", "the annotated script as one HTML page")
  parser:flag("--coverage", "show which lines ran, over all messages")
  parser:option("--lcov", "write the coverage to FILE, for genhtml and editors"):argname "FILE"
  parser:flag("--json", "one object a line")
end

local function print_output(o, input, diff)
  if not o.raw then
    local none = o.kind == "filtered" and "its filter gave no reason" or ""
    print(("-> %s: %s: %s"):format(o.dest, o.kind, (o.reason or "") ~= "" and o.reason or none))
    return
  end
  print(("-> %s%s"):format(o.dest, o.raw == input and " (as received)" or ""))
  for _, line in ipairs(diff and differ.lines(input, o.raw) or differ.segments(o.raw)) do
    print("  " .. term.printable(line))
  end
end

-- Which message of several this is: file, place, type, control id.
local function print_head(m)
  local msg = hl7.parse(m.bytes)
  local place = m.of > 1 and (", message %d of %d"):format(m.n, m.of) or ""
  print(term.paint("bold", term.printable(("%s%s: %s  %s"):format(m.file, place,
    msg and (msg:raw "MSH-9" or "no type") or "not HL7", msg and msg.control_id or ""))))
end

local function print_text(r, input, diff)
  for _, l in ipairs(r.log) do
    io.stderr:write(("%s %s: %s\n"):format(l.level, l.where, term.printable(l.text)))
  end
  for _, request in ipairs(r.requests) do
    local where = request.url:match "^%a+://[^/?#]+" or "" -- the rest may hold a secret
    io.stderr:write(("held back: %s %s\n"):format(request.method, term.printable(where)))
  end
  if r.state ~= "done" then
    local silent = r.state == "filtered" and r.reason == ""
    local text = silent and "the filter gave no reason" or r.reason
    if r.where ~= "" then text = ("%s (%s)"):format(text, r.where) end
    print(("%s: %s"):format(r.state == "limit" and "error" or r.state, text))
    if r.trace ~= "" then io.stderr:write(r.trace, "\n") end
    return
  end
  for _, o in ipairs(r.outputs) do print_output(o, input, diff) end
  if #r.outputs == 0 then print "done, nothing to send" end
  for _, line in ipairs(worker.kv_text(r)) do print(term.printable(line)) end
end

local function print_json(r, m, files)
  local list, log, writes = {}, {}, {}
  for i, o in ipairs(r.outputs) do
    list[i] = json.object("destination", o.dest, "kind", o.kind, "reason", o.reason,
      "changed", o.changed, "raw", o.raw,
      "raw_base64", o.raw and not json.is_text(o.raw) and sys.base64(o.raw) or nil)
  end
  for i, l in ipairs(r.log) do
    log[i] = json.object("level", l.level, "where", l.where, "text", l.text)
  end
  for i, w in ipairs(r.kv) do writes[i] = json.object("key", w.key, "value", w.value) end
  local msg = hl7.parse(m.bytes)
  print(json.encode(json.object("file", m.file, "message", m.n, "control_id",
    msg and msg.control_id or nil, "state", r.state, "reason", r.reason,
    "where", r.where, "trace", r.trace, "duration_us", r.duration_us, "outputs", json.list(list),
    "kv", json.list(writes), "log", json.list(log), "annotations", files and annotate.json(files))))
end

local function failed(r)
  if r.state == "error" or r.state == "limit" then return true end
  for _, o in ipairs(r.outputs) do
    if o.kind == "error" then return true end
  end
  return false
end

local function start(s, channel, watch)
  local w, err = worker.start(s, channel, { watch = watch })
  if not w then fail.fail(1, "%s", err) end
  if watch == "values" then w:trace() end -- of loading the script
  return w
end

-- Prints what became of one message { bytes, file, n, of }, in the form that was asked for.
local function tell(args, job, r, m)
  local bytes, files = m.bytes, nil
  if job.watch == "values" then
    files = annotate.view(trace.decode(job.worker:trace()), job.sources, job.channel.script)
  end
  if args.html then
    io.write(html.message(("%s, message %d"):format(m.file, m.n), bytes, r, files))
  elseif args.json then
    print_json(r, m, files)
  elseif not args.coverage then
    if m.of > 1 or #args.files > 1 then print_head(m) end
    print_text(r, bytes, args.diff)
    if files then annotate.print(files) end
  end
end

local function finish(args, job)
  if job.watch ~= "lines" then return end
  trace.count(job.counts, trace.decode(job.worker:trace(), true))
  local list = coverage.summary(job.counts, job.sources)
  if args.lcov then coverage.lcov(list, args.lcov, sys.realpath(site.path())) end
  if args.json then print(json.encode(coverage.json(list))) else coverage.print(list) end
end

local function watch_mode(args)
  if #args.files == 0 then
    if sys.isatty(0) then fail.usage "which file? samples/NAME.hl7, or - for what is typed" end
    args.files = { "-" }
  end
  if args.lcov then args.coverage = true end
  if args.html then args.annotate = true end
  if args.html and args.json then fail.usage "--html or --json, not both" end
  if args.annotate and args.coverage then fail.usage "--annotate or --coverage, not both" end
  return args.annotate and "values" or args.coverage and "lines" or nil
end

-- The messages of a file: { bytes, file, n, of } each.
local function messages(file)
  local text, err
  local name = file == "-" and "standard input" or file
  if file == "-" then text = io.read "*a" else text, err = site.read(file) end
  if not text then fail.fail(1, "%s", err) end
  local list = sys.messages(text)
  if #list == 0 then fail.fail(1, "%s: %s", name, require "lunate.cli.no_message"(text)) end
  for n, bytes in ipairs(list) do list[n] = { bytes = bytes, file = file, n = n, of = #list } end
  return list
end

function M.run(args)
  local s = loader.load()
  local channel = s.by_name[args.channel]
  if not channel then fail.fail(1, "%s", site.no_channel(args.channel)) end
  if channel.failed then
    for _, e in ipairs(s.errors) do
      if e.channel == args.channel then fail.fail(1, "%s", e.text) end
    end
  end
  local watch = watch_mode(args)
  local job = { watch = watch, channel = channel, counts = {}, sources = trace.sources(s, channel) }
  job.worker = start(s, channel, watch)
  if args.html then io.write(html.head(args.channel)) end
  local status = 0
  for _, file in ipairs(args.files) do
    for _, m in ipairs(messages(file)) do
      local r = job.worker:run(m.bytes)
      tell(args, job, r, m)
      if r.state == "limit" then
        if watch == "lines" then
          trace.count(job.counts, trace.decode(job.worker:trace(), true))
        end
        job.worker = start(s, channel, watch)
      end
      if failed(r) then status = 1 end
    end
  end
  finish(args, job)
  job.worker:close()
  return status
end

return M
