-- `lunate validate [FILE...]`: messages against the standard's dictionary and a profile of the
-- site. The values are those of the user's own file, on the user's own terminal: shown, but cut.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local input = require "lunate.cli.input"
local profile_file = require "lunate.cli.profile_file"
local site_dictionary = require "lunate.cli.site_dictionary"
local problem_kinds = require "lunate.cli.problem_kinds"

local M = {}

local VALUE = 40 -- columns of a value that are shown
local colours = { error = "red", warning = "yellow", info = "dim" }
local rank = { info = 1, warning = 2, error = 3 }

function M.define(parser)
  parser:argument("files", "files with messages; standard input without a file"):args "*"
  parser:option("--profile", "a profile: the name of a module in lib/, or a file")
  site_dictionary.define(parser)
  parser:option("--severity", "show problems from this level on: error, warning or info")
    :choices { "error", "warning", "info" }:default "warning"
  parser:flag("--summary", "count the kinds of problems over all messages")
  parser:flag("--json", "one object a line; one document with --summary")
end

local function shown(p)
  if not p.value or p.value == "" then return "" end
  local text = term.fit(term.printable(p.value), VALUE):gsub("%s+$", "")
  local long = p.length > #p.value and (" (%d bytes)"):format(p.length) or ""
  return (": \"%s\"%s"):format(text, long)
end

local function heading(piece, list)
  local msg = piece.msg
  local kind = msg.MSH and (msg.type or "?") .. (msg.event and "^" .. msg.event or "") or "batch"
  return ("%s: message %d: %s %s, version %s%s: %s"):format(piece.name, piece.n,
    term.printable(kind), term.printable(msg.MSH and msg.control_id or "-"), list.version,
    list.profile and ", " .. list.profile or "", (tostring(list):gsub(";.*", "")))
end

local function print_text(piece, list)
  io.write(term.paint(list.valid and "bold" or "red", heading(piece, list)), "\n")
  for _, p in ipairs(list) do
    io.write("  ", term.paint(colours[p.severity], term.fit(p.severity, 8)), " ",
      term.fit(p.path, math.max(14, term.columns(p.path))), " ", p.text, term.printable(shown(p)),
      p.title and term.paint("dim", (" (%s)"):format(p.title)) or "", "\n")
  end
  if list.left_out > 0 then
    io.write(("  and %d more\n"):format(list.left_out))
  end
end

local function object(p)
  return json.object("path", p.path, "rule", p.rule, "severity", p.severity, "text", p.text,
    "title", p.title, "value", p.value, "length", p.length, "code", p.code,
    "err", json.object("location", p.err.location, "code", p.err.code, "severity", p.err.severity))
end

local function print_json(piece, list)
  local problems, msg = {}, piece.msg
  for i, p in ipairs(list) do problems[i] = object(p) end
  local has = msg.MSH ~= nil
  io.write(json.encode(json.object("file", piece.name, "message", piece.n,
    "type", has and msg.type or nil, "event", has and msg.event or nil,
    "control_id", has and msg.control_id or nil, "version", list.version,
    "structure", list.structure, "profile", list.profile, "valid", list.valid,
    "errors", list.errors, "warnings", list.warnings, "infos", list.infos,
    "left_out", list.left_out > 0 and list.left_out or nil,
    "problems", json.list(problems))), "\n")
end

-- ---- summary ------------------------------------------------------------------------------------

local function print_summary(kinds, as_json)
  if as_json then
    io.write(json.encode(json.object("messages", kinds.messages, "wrong", kinds.wrong,
      "errors", kinds.errors, "warnings", kinds.warnings, "infos", kinds.infos,
      "kinds", kinds:json())), "\n")
    return
  end
  local list = kinds:sorted()
  io.write(("%s, %d of them with errors\n"):format(term.count(kinds.messages, "message"),
    kinds.wrong))
  if #list > 0 then io.write("messages  times  what\n") end
  for _, k in ipairs(list) do
    local p = k.problem
    io.write(("%8d %6d  %s %s %s%s\n"):format(k.messages, k.count,
      term.paint(colours[p.severity], term.fit(p.severity, 8)),
      term.fit(k.path, math.max(12, #k.path)), p.text,
      p.title and term.paint("dim", (" (%s)"):format(p.title)) or ""))
  end
  if kinds.more > 0 then io.write(("%d more of further kinds\n"):format(kinds.more)) end
end

-- ---- batches ------------------------------------------------------------------------------------

-- BTS-1 says how many messages a batch has.
local function envelope(piece, state)
  local name, sep = piece.envelope:match "^(%u%u%u)(.?)"
  if name == "BHS" then
    state.count = 0
  elseif name == "BTS" and sep ~= "" then
    local said = piece.envelope:sub(5):match("^%d+")
    if said and tonumber(said) ~= state.count then
      io.stderr:write(("lunate validate: %s: byte %.0f: BTS-1 says %s messages, the batch has %d\n")
        :format(piece.name, piece.offset, said, state.count))
      state.wrong = true
    end
    state.count = 0
  end
end

function M.run(args)
  site_dictionary.load(args)
  local profile = args.profile and profile_file.load(args.profile)
  local options = { profile = profile, severity = args.severity }
  local summary, batch, hidden = problem_kinds.new(), { count = 0 }, 0
  local least = rank[args.severity]
  local status = input.each("validate", args.files, function(piece)
    if piece.envelope then return envelope(piece, batch) end
    batch.count = batch.count + 1
    local list = piece.msg:validate(options)
    if not list.valid then batch.wrong = true end
    hidden = hidden + (least > 1 and list.infos or 0) + (least > 2 and list.warnings or 0)
    if args.summary then
      summary:add(list, ("%s: message %d"):format(piece.name, piece.n))
    elseif args.json then
      print_json(piece, list)
    else
      print_text(piece, list)
    end
  end, { envelopes = true })
  if args.summary then print_summary(summary, args.json) end
  if hidden > 0 and not args.json then
    io.write(term.paint("dim", ("%s below --severity %s not shown\n"):format(
      term.count(hidden, "problem"), args.severity)))
  end
  return batch.wrong and 1 or status
end

return M
