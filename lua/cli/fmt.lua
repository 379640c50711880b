-- `lunate fmt [FILE...]`: messages for people; or back to the wire form, or a segment a line.
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"
local parts = require "lunate.hl7.parts"
local render = require "lunate.cli.render"
local site_dictionary = require "lunate.cli.site_dictionary"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"

local M = {}

function M.define(parser)
  parser:argument("files", "files with messages; standard input without"):args "*"
  parser:flag("--all", "empty fields, too")
  parser:flag("--deep", "a line per component, with its name")
  site_dictionary.define(parser)
  parser:flag("--full", "long values whole (else the first 4,000 bytes)")
  parser:option("--width", "columns (the terminal's; without one lines are not broken)")
  parser:flag("--lines", "only a segment a line")
  parser:flag("--wire", "the bytes as they are sent, CR behind each segment")
end

-- Columns to break lines at; nothing when the output is no terminal.
local function columns(args)
  if args.width then
    local n = tonumber(args.width)
    if not n or n < 20 or n > 10000 or n % 1 ~= 0 then
      fail.usage("--width is a number of columns from 20 on, not \"%s\"", args.width)
    end
    return n
  end
  if sys.isatty(1) then return math.max(20, sys.width()) end
end

local function title(piece)
  local msg = piece.msg
  local text = ("%s  %s  control id %s  %s"):format(("message %d"):format(piece.n),
    (msg:raw "MSH-9" or "(no type)"), msg.control_id or "(none)", piece.name)
  return term.paint("cyan", term.printable(text))
end

local function envelope(line)
  return term.printable(line)
end

-- ---- ways to print ------------------------------------------------------------------------------

local function wire(piece)
  io.write(piece.envelope and piece.envelope .. "\r" or tostring(piece.msg))
end

-- A line feed inside a segment would look like its end.
local function lines(piece, state)
  local show = sys.isatty(1) and term.printable or function(line)
    return (line:gsub("\n", "\\X0A\\"))
  end
  if piece.envelope then return io.write(show(piece.envelope), "\n") end
  if state.any then io.write "\n" end
  state.any = true
  local msg = sys.isatty(1) and render.readable(piece.msg) or piece.msg
  for _, line in ipairs(parts.lines(tostring(msg))) do io.write(show(line), "\n") end
end

local function readable(piece, o)
  if piece.envelope then
    print(envelope(piece.envelope))
    return
  end
  local msg = render.readable(piece.msg)
  local r = render.new(msg, o)
  local list = parts.lines(tostring(msg))
  r:count(list)
  for _, line in ipairs(list) do io.write(table.concat(r:segment(line), "\n"), "\n") end
end

-- A title stands above each message when there are several; so the first one waits for the second.
local function with_titles(o)
  local waiting, many
  local function show(piece)
    if many and not piece.envelope then print(title(piece)) end
    readable(piece, o)
  end
  local function take(piece)
    if waiting then
      many = many or not (waiting.envelope or piece.envelope)
      show(waiting)
      print()
    end
    waiting = piece
  end
  return take, function() if waiting then show(waiting) end end
end

function M.run(args)
  if args.wire and args.lines then fail.usage "--wire and --lines: one of them" end
  io.stdout:setvbuf "full"
  site_dictionary.load(args)
  if args.wire or args.lines then
    local show, state = args.wire and wire or lines, {}
    return input.each("fmt", args.files, function(piece) show(piece, state) end,
      { envelopes = true })
  end
  local take, finish = with_titles { columns = columns(args), all = args.all, deep = args.deep,
    full = args.full }
  local status = input.each("fmt", args.files, take, { envelopes = true })
  finish()
  return status
end

return M
