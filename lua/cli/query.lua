-- `lunate query PATH... [FILE...]`: values by path, a line per message, tab between paths.
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local query_path = require "lunate.cli.query_path"

local M = {}

function M.define(parser)
  parser:argument("words", "paths, then files; standard input without a file"):args "+"
  parser:flag("--raw", "bytes as they stand, no unescaping")
  parser:flag("--rows", "a line per value of the paths with *, instead of one per message")
  parser:option("--where", "only messages where PATH=VALUE, PATH!=VALUE or PATH~PATTERN")
    :count "*"
  parser:flag("--header", "first a line with the paths")
  parser:flag("--file", "first a column with the file's name")
  parser:flag("--json", "one object a line")
end

local function sort_words(words)
  local paths, files = {}, {}
  for _, word in ipairs(words) do
    local path = #files == 0 and query_path.read(word)
    if path then paths[#paths + 1] = path else files[#files + 1] = word end
  end
  for _, file in ipairs(files) do
    local near = file:upper()
    if not sys.kind(file) and near:find "^%u[%u%d][%u%d]%-%d" and query_path.read(near) then
      fail.usage(near == file and "%s: paths stand before the files, and there is no such file"
        or "%s: no such file; a path is written in capitals", file)
    end
  end
  if #paths == 0 then fail.usage("\"%s\" is not a path, as in PID-5.1", words[1]) end
  return paths, files
end

-- ---- --where ------------------------------------------------------------------------------------

local tests = {
  ["="] = function(v, want) return v == want end,
  ["~"] = function(v, want) return v:find(want) ~= nil end,
}

local function conditions(words)
  local list = {}
  for i, word in ipairs(words) do
    local left, no, op, want = word:match "^([^=!~]+)(!?)([=~])(.*)$"
    local path = left and query_path.read(left)
    if not path then fail.usage("\"%s\" is not PATH=VALUE, as in --where PID-3=4711", word) end
    if op == "~" and not pcall(string.find, "", want) then
      fail.usage("\"%s\" is no Lua pattern", want)
    end
    list[i] = { path = path, no = no == "!", test = tests[op], want = want }
  end
  return list
end

-- True when one value of the path passes; with !, when none does.
local function holds(msg, c, raw)
  local list, n
  if c.path.many then
    list, n = query_path.several(msg, c.path, raw)
  else
    list, n = { query_path.one(msg, c.path.text, raw) }, 1
  end
  for i = 1, n do
    if c.test(list[i] or "", c.want) then return not c.no end
  end
  return c.no
end

-- ---- output -------------------------------------------------------------------------------------

-- A line stays a line and a column a column.
local function plain(v)
  if v == nil then return "" end
  return (v:gsub("[\t\r\n]", " "))
end

local function joined(list, n)
  local out = {}
  for i = 1, n do
    if list[i] then out[#out + 1] = plain(list[i]) end
  end
  return table.concat(out, ", ")
end

-- several: of several files, each JSON document names its own.
local function printer(paths, args, several)
  local shown = sys.isatty(1) and term.printable or function(text) return text end
  local function put(file, cells, values)
    if not args.json then
      for i, cell in ipairs(cells) do cells[i] = shown(cell) end
      io.write(args.file and file .. "\t" or "", table.concat(cells, "\t"), "\n")
      return
    end
    local members = { "file", (several or args.file) and file or nil }
    for i, path in ipairs(paths) do
      members[2 * i + 1] = path.text
      members[2 * i + 2] = values[i] == nil and json.null or values[i]
    end
    io.write(json.encode(json.object(unpack(members, 1, 2 * #paths + 2))), "\n")
  end

  local function line(piece, values, counts)
    local cells = {}
    for i = 1, #paths do
      local v = values[i]
      if not counts[i] then
        cells[i] = plain(v)
      else
        cells[i] = joined(v, counts[i])
        if args.json then
          for k = 1, counts[i] do v[k] = v[k] == nil and json.null or v[k] end
          values[i] = json.list(v)
        end
      end
    end
    put(piece.name, cells, values)
  end

  local function row(piece, values)
    local cells = {}
    for i = 1, #paths do cells[i] = plain(values[i]) end
    put(piece.name, cells, values)
  end

  return line, row
end

function M.run(args)
  local paths, files = sort_words(args.words)
  local where = conditions(args.where)
  local by = args.rows and query_path.rows_of(paths)
  local print_line, print_row = printer(paths, args, #files > 1)
  io.stdout:setvbuf "full"
  if args.header and not args.json then
    local cells = {}
    for i, path in ipairs(paths) do cells[i] = path.text end
    io.write(args.file and "file\t" or "", table.concat(cells, "\t"), "\n")
  end
  return input.each("query", files, function(piece)
    local msg = piece.msg
    for _, c in ipairs(where) do
      if not holds(msg, c, args.raw) then return end
    end
    if by then
      return query_path.rows(msg, paths, by, args.raw, function(values)
        print_row(piece, values)
      end)
    end
    local values, counts = {}, {}
    for i, path in ipairs(paths) do
      if path.many then
        values[i], counts[i] = query_path.several(msg, path, args.raw)
      else
        values[i] = query_path.one(msg, path.text, args.raw)
      end
    end
    print_line(piece, values, counts)
  end)
end

return M
