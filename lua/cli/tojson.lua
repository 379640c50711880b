-- `lunate json [FILE...]`: messages as JSON (docs/json.md), a line each, and back.
local hl7 = require "hl7"
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"
local cli_json = require "lunate.cli.json"
local named = require "lunate.hl7.named"
local site_dictionary = require "lunate.cli.site_dictionary"
local form = require "lunate.hl7.json"(hl7, require "json")
local charset = require "lunate.hl7.json_charset"(hl7)

local M = {}

function M.define(parser)
  parser:argument("files", "files with messages (with --back: JSON); standard input without")
    :args "*"
  parser:flag("--back", "JSON to messages, in the wire form")
  parser:flag("--named", "with the dictionary's names, for reading; there is no way back from it")
  site_dictionary.define(parser)
end

-- ---- there --------------------------------------------------------------------------------------

local makers = {
  null = cli_json.null,
  list = cli_json.list,
  object = function(list) return cli_json.object(unpack(list)) end,
}

local function print_named(piece)
  local msg = charset.to_utf8(piece.msg) or piece.msg
  local segments = named.new(msg, hl7, makers)
  io.write(cli_json.encode(cli_json.object("type", msg.type, "event", msg.event, "version",
    msg.version, "control_id", msg.control_id, "segments", cli_json.list(segments))), "\n")
end

local function print_lossless(piece)
  io.write(form.to_json(piece.msg), "\n")
end

-- ---- back ---------------------------------------------------------------------------------------

-- The documents of a file, with the number of their first line: one a line, or spread over lines
-- with the last brace at the start of one, as jq and editors write them.
local function documents(f)
  local number, open, from = 0, nil, nil
  return function()
    for line in f:lines() do
      number = number + 1
      if open then
        open[#open + 1] = line
        if line:find "^}%s*$" then
          local text = table.concat(open, "\n")
          open = nil
          return text, from
        end
      elseif line:find "^%s*{%s*$" or (line:find "^{" and not line:find "}%s*$") then
        open, from = { line }, number
      elseif line:find "%S" then
        return line, number
      end
    end
    if open then
      local text = table.concat(open, "\n")
      open = nil
      return text, from
    end
  end
end

local function back(file)
  local f, err = io.stdin, nil
  if file ~= "-" then f, err = input.open(file) end
  local why = f and select(2, f:read(0))
  if why then f, err = nil, file .. ": " .. why end
  if not f then fail.fail(1, "%s", err) end
  local status, name = 0, file == "-" and "standard input" or file
  for text, line in documents(f) do
    local msg, reason = form.from_json(text)
    if msg then
      io.write(tostring(msg))
    else
      status = 1
      io.stderr:write(("lunate json: %s:%d: %s\n"):format(name, line, reason))
    end
  end
  if file ~= "-" then f:close() end
  return status
end

function M.run(args)
  io.stdout:setvbuf "full"
  if args.back and args.named then fail.usage "--named is for reading: there is no way back" end
  if args.named then site_dictionary.load(args) end
  if not args.back then
    return input.each("json", args.files, args.named and print_named or print_lossless)
  end
  local status = 0
  if #args.files == 0 then args.files = { "-" } end
  for _, file in ipairs(args.files) do status = math.max(status, back(file)) end
  return status
end

return M
