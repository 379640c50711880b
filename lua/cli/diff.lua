-- `lunate diff A B`: how messages differ, by segment and field. Status 0: the same, 1: different,
-- 2: wrong usage, or a file that cannot be read.
local diff = require "lunate.hl7.diff"
local fail = require "lunate.cli.fail"
local ignored = require "lunate.hl7.ignore"
local input = require "lunate.cli.input"
local json = require "lunate.cli.json"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local text = require "lunate.cli.diff_text"

local M = {}

function M.define(parser)
  parser:argument("a", "the first file; - is standard input")
  parser:argument("b", "the second file")
  parser:option("--ignore", "paths to leave out, as in MSH-7,MSH-10,OBX-14"):count "*"
    :argname "PATHS"
  parser:flag("--ignore-empty", "absent and empty are the same")
  parser:option("--by", "several messages: which one belongs to which"):choices { "id", "order" }
    :default "id"
  parser:flag("-q --quiet", "print nothing, only the status")
  parser:flag("--json", "one JSON document")
end

local function read(file)
  local list, status = input.all("diff", file)
  if status ~= 0 then fail.fail(2) end
  return list
end

-- ---- which message belongs to which -------------------------------------------------------------

local function by_order(a, b)
  local pairs_, only_a, only_b = {}, {}, {}
  for i = 1, math.max(#a, #b) do
    if a[i] and b[i] then
      pairs_[#pairs_ + 1] = { a[i], b[i] }
    else
      table.insert(a[i] and only_a or only_b, a[i] or b[i])
    end
  end
  return pairs_, only_a, only_b
end

-- By control id; the nth of an id with the nth. In order when no id is in both files.
local function by_id(a, b)
  local waiting, pairs_, only_a, only_b, taken = {}, {}, {}, {}, {}
  for _, piece in ipairs(b) do
    local id = piece.msg.control_id or ""
    waiting[id] = waiting[id] or { n = 0 }
    table.insert(waiting[id], piece)
  end
  for _, piece in ipairs(a) do
    local list = waiting[piece.msg.control_id or ""]
    local other = list and list[list.n + 1]
    if other then
      list.n = list.n + 1
      pairs_[#pairs_ + 1], taken[other] = { piece, other }, true
    else
      only_a[#only_a + 1] = piece
    end
  end
  if #pairs_ == 0 then return by_order(a, b) end
  for _, piece in ipairs(b) do
    if not taken[piece] then only_b[#only_b + 1] = piece end
  end
  return pairs_, only_a, only_b
end

-- ---- JSON ---------------------------------------------------------------------------------------

-- A value that is no text is given as base64.
local function value(v)
  if v == nil or json.is_text(v) then return v end
  return nil, sys.base64(v)
end

local function difference(d, version)
  local from, from64 = value(d.from)
  local to, to64 = value(d.to)
  return json.object("kind", d.kind, "path", d.path, "last", d.last, "segment", d.segment, "name",
    text.name(d.path, version), "from", from, "from_base64", from64, "to", to, "to_base64", to64,
    "from_path", d.from_path, "from_at", d.from_at, "to_at", d.to_at)
end

local function about(piece)
  return json.object("message", piece.n, "control_id", piece.msg.control_id, "type",
    piece.msg:raw "MSH-9")
end

local function document(args, found, only_a, only_b, same)
  local messages, a, b = {}, {}, {}
  for i, f in ipairs(found) do
    local list = {}
    for k, d in ipairs(f.list) do list[k] = difference(d, f.b.msg.version) end
    messages[i] = json.object("a", f.a.n, "b", f.b.n, "control_id", f.b.msg.control_id, "type",
      f.b.msg:raw "MSH-9", "differences", json.list(list))
  end
  for i, piece in ipairs(only_a) do a[i] = about(piece) end
  for i, piece in ipairs(only_b) do b[i] = about(piece) end
  return json.object("a", args.a, "b", args.b, "same", same, "messages", json.list(messages),
    "only_a", json.list(a), "only_b", json.list(b))
end

-- ---- text ---------------------------------------------------------------------------------------

local function title(piece)
  return term.printable(("message %d  %s  control id %s"):format(piece.n,
    piece.msg:raw "MSH-9" or "(no type)", piece.msg.control_id or "(none)"))
end

local function print_text(args, found, only_a, only_b)
  local columns = sys.isatty(1) and math.max(20, sys.width()) or nil
  local several, differ = #found + #only_a + #only_b > 1, 0
  for _, f in ipairs(found) do
    if #f.list > 0 then
      if several then
        print((differ > 0 and "\n" or "") .. term.paint("cyan", title(f.b)))
      end
      differ = differ + 1
      for _, line in ipairs(text.lines(f.list, f.b.msg.version, columns)) do print(line) end
    end
  end
  for _, side in ipairs { { only_a, args.a }, { only_b, args.b } } do
    for _, piece in ipairs(side[1]) do
      print(term.paint("cyan", ("only in %s: %s"):format(term.printable(side[2]), title(piece))))
    end
  end
  if several then
    print(("\n%s compared: %d differ, %d only in the first file, %d only in the second"):format(
      term.count(#found, "pair"), differ, #only_a, #only_b))
  end
end

function M.run(args)
  local ignore = table.concat(args.ignore, ",")
  local ok, why = ignored.new(ignore)
  if not ok then fail.usage("%s", why) end
  if args.a == "-" and args.b == "-" then fail.usage "only one of them can be standard input" end
  local a, b = read(args.a), read(args.b)
  local couples, only_a, only_b = (args.by == "id" and by_id or by_order)(a, b)
  local same, found = #only_a == 0 and #only_b == 0, {}
  io.stdout:setvbuf "full"
  for i, couple in ipairs(couples) do
    local list = diff.diff(couple[1].msg, couple[2].msg,
      { ignore = ignore, ignore_empty = args.ignore_empty })
    found[i] = { a = couple[1], b = couple[2], list = list }
    same = same and #list == 0
  end
  if args.json then
    print(json.encode(document(args, found, only_a, only_b, same)))
  elseif not args.quiet then
    print_text(args, found, only_a, only_b)
  end
  return same and 0 or 1
end

return M
