-- `lunate deid [FILE...]`: messages without what identifies the patient; pseudonyms from a key.
local deid = require "lunate.deid"
local deid_rules = require "lunate.cli.deid_rules"
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"
local json = require "lunate.cli.json"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"

local M = {}

function M.define(parser)
  parser:argument("files", "files with messages; standard input without"):args "*"
  parser:option("--key-file", "a file with the key"):argname "FILE"
  parser:option("--key-env", "the environment variable with the key"):argname "NAME"
  parser:option("--rules", "a Lua file that changes the rules"):argname "FILE"
  parser:flag("--keep-providers", "leave the names and ids of clinicians alone")
  parser:option("--report", "what was changed, on stderr: counts, never values")
    :choices { "text", "json", "none" }:default "text"
  parser:flag("--lines", "a segment a line, instead of the wire form (as on a terminal)")
end

local LEAST = 16
local how = "make one with `openssl rand -hex 32 > deid.key`, keep it secret, and give "
  .. "--key-file deid.key"

local function key_of(args)
  local key, from
  if args.key_file and args.key_env then fail.usage "--key-file or --key-env: one of them" end
  if args.key_file then
    local f, err = io.open(args.key_file, "rb")
    key = f and f:read "*a"
    if f then f:close() end
    if not key then fail.fail(2, "the key: %s; %s", err or args.key_file .. ": no file", how) end
    from = args.key_file
  elseif args.key_env then
    key, from = os.getenv(args.key_env), "the variable " .. args.key_env
    if not key then fail.fail(2, "the variable %s is not set; %s", args.key_env, how) end
  else
    fail.fail(2, "a key is needed: the same key gives the same pseudonyms; %s", how)
  end
  key = key:gsub("%s+$", "")
  if #key < LEAST then
    fail.fail(2, "the key in %s has %d bytes, %d are the least; %s", from, #key, LEAST, how)
  end
  return key
end

local function report_text(run)
  local list = run:report()
  io.stderr:write(("%s, changed:\n"):format(term.count(run.messages, "message")))
  for _, r in ipairs(list) do
    io.stderr:write(("  %-10s %-8s %9s\n"):format(r.path, r.rule, term.number(r.count)))
  end
end

local function report_json(run)
  local list = {}
  for i, r in ipairs(run:report()) do
    list[i] = json.object("path", r.path, "rule", r.rule, "count", r.count)
  end
  io.stderr:write(json.encode(json.object("messages", run.messages, "changed", json.list(list))),
    "\n")
end

function M.run(args)
  local options = args.rules and deid_rules.load(args.rules) or {}
  if args.keep_providers then options.providers = "keep" end
  local run = deid.new(key_of(args), options)
  local screen = sys.isatty(1)
  local function put(text)
    if not (args.lines or screen) then return io.write(text) end
    for line in text:gmatch "[^\r]+" do
      io.write(screen and term.printable(line) or line:gsub("\n", "\\X0A\\"), "\n")
    end
  end
  local head
  io.stdout:setvbuf "full"
  local status = input.each("deid", args.files, function(piece)
    if piece.envelope then
      if not piece.envelope:find "^.T" then head = piece.envelope .. "\r" end
      return put(run:envelope(piece.envelope, head))
    end
    put(run:message(piece.msg))
  end, { envelopes = true })
  if args.report == "json" then report_json(run) end
  if args.report == "text" then report_text(run) end
  return status
end

return M
